//! The trace of a run: one compact record per event, the last ones kept, and a rolling hash over
//! all of them. Two runs of one seed have equal hashes; the first record that differs shows the
//! leak of non-determinism.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use crate::sim::core::Core;
use crate::sim::exclusive::Exclusive;

/// Records kept in memory for the report of a failure; about 40 bytes each.
pub(crate) const RECORDS_KEPT_MAX: usize = 4096;

/// One event of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Virtual time in nanoseconds since the start of the run.
    pub at_ns: u64,
    /// Id of the node; 0 is the world itself.
    pub node: u64,
    /// What happened, as `area.event`.
    pub kind: &'static str,
    /// Two numbers, whose meaning depends on `kind`.
    pub a: u64,
    pub b: u64,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { at_ns, node, kind, a, b } = self;
        write!(f, "{}.{:09} n{node} {kind} {a} {b}", at_ns / 1_000_000_000, at_ns % 1_000_000_000)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Core>>> = const { RefCell::new(None) };
}

/// Puts an event into the trace of the world that this thread runs; nothing outside of a world.
pub fn event(node: u64, kind: &'static str, a: u64, b: u64) {
    CURRENT.with_borrow(|current| {
        if let Some(core) = current {
            core.event(node, kind, a, b);
        }
    });
}

/// Counts a fault that whoever runs the world made itself, when it changed something; `kind` is its
/// number in the catalogue.
pub fn fault(node: u64, kind: &'static str, detail: u64) {
    CURRENT.with_borrow(|current| {
        if let Some(core) = current {
            core.fault(node, kind, detail);
        }
    });
}

pub(crate) fn set_current(core: Option<Arc<Core>>) {
    CURRENT.with_borrow_mut(|current| *current = core);
}

/// The trace of one world.
pub(crate) struct Trace {
    inner: Exclusive<Inner>,
}

struct Inner {
    hash: u64,
    last: VecDeque<Record>,
    sink: Option<BufWriter<std::fs::File>>,
}

impl Trace {
    pub(crate) fn new() -> Trace {
        let inner = Inner { hash: 0xcbf2_9ce4_8422_2325, last: VecDeque::new(), sink: None };
        Trace { inner: Exclusive::new(inner) }
    }

    pub(crate) fn push(&self, record: Record) {
        let mut inner = self.inner.lock();
        let kind = record.kind.bytes().fold(0_u64, |hash, byte| mix(hash, u64::from(byte)));
        for word in [record.at_ns, record.node, kind, record.a, record.b] {
            inner.hash = mix(inner.hash, word);
        }
        if inner.last.len() == RECORDS_KEPT_MAX {
            inner.last.pop_front();
        }
        inner.last.push_back(record);
        if let Some(sink) = &mut inner.sink {
            // The trace is a diagnosis: a full disk of the host must not end the run.
            let _ = writeln!(sink, "{record}");
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.inner.lock().hash
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.inner.lock().last.iter().copied().collect()
    }

    pub(crate) fn write_to(&self, path: &Path) -> io::Result<()> {
        self.inner.lock().sink = Some(BufWriter::new(std::fs::File::create(path)?));
        Ok(())
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        self.inner.lock().sink.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// One step of a multiply-and-rotate hash: cheap, and each bit of `word` reaches later states.
fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(a: u64) -> Record {
        Record { at_ns: 1_500_000_000, node: 2, kind: "test.event", a, b: 4 }
    }

    #[test]
    fn hash_depends_on_every_record_and_on_their_order() {
        let hash = |records: &[u64]| {
            let trace = Trace::new();
            records.iter().for_each(|a| trace.push(record(*a)));
            trace.hash()
        };
        assert_eq!(hash(&[1, 2]), hash(&[1, 2]));
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
        assert_ne!(hash(&[1]), hash(&[1, 1]));
    }

    #[test]
    fn only_the_last_records_are_kept() {
        let trace = Trace::new();
        (0..RECORDS_KEPT_MAX as u64 + 10).for_each(|a| trace.push(record(a)));
        let kept = trace.records();
        assert_eq!((kept.len(), kept[0].a), (RECORDS_KEPT_MAX, 10));
        assert_eq!(kept[0].to_string(), "1.500000000 n2 test.event 10 4");
    }
}
