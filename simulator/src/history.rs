//! What clients asked and were told, and what happened to the broker, in the order of virtual time.
//!
//! A history is append-only and bounded. It never holds the bytes of records: a record is known by
//! its value id, and its bytes by a hash that the id's sender recorded (see [`value`]).

pub mod edn;
pub mod event;
pub mod value;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rivven_io::clock::{Clock, Monotonic};

use crate::history::event::{Event, EventKind};
use crate::workload::operations::BegunOperation;

/// Bounds one run's memory at some 400 MB in the worst case; a usual run has some 20,000 events.
pub const EVENTS_MAX: usize = 1_000_000;

/// The client number of the fresh client that reads every partition back at the end.
pub const READ_BACK_CLIENT: u32 = 1_000_000;
/// The client number of the fresh client that probes the broker in the liveness phase.
pub const LIVENESS_CLIENT: u32 = 1_000_002;
/// The client number of the fresh client that sees groups read everything.
pub const SETTLE_CLIENT: u32 = 1_000_004;
/// The client number under which the supervisor records what it does to nodes.
pub const SUPERVISOR: u32 = 1_000_001;

/// Reads what [`History::write_jsonl`] wrote.
///
/// # Errors
/// The first line that is no event.
pub fn read_jsonl(text: &str) -> Result<Vec<Event>, serde_json::Error> {
    text.lines().map(serde_json::from_str).collect()
}

/// One run's history; clients and the supervisor share it behind an `Arc`.
#[derive(Default)]
pub struct History {
    events: Mutex<Vec<Event>>,
    /// What clients began, at most [`EVENTS_MAX`].
    begun: Mutex<Vec<BegunOperation>>,
    /// How often clients did what counts as a fault, by its name in scenario files.
    injected: Mutex<BTreeMap<&'static str, u64>>,
    dropped: AtomicU64,
    next_op: AtomicU64,
    /// What events are timed by, and its reading at virtual time zero.
    clock: Option<(Clock, Monotonic)>,
}

impl History {
    #[must_use]
    pub fn new() -> History {
        History::default()
    }

    /// A history whose events are timed by `clock`, which must be read at virtual time zero: each
    /// node's clock has a zero of its own.
    #[must_use]
    pub fn timed_by(clock: Clock) -> History {
        let zero = clock.now();
        History { clock: Some((clock, zero)), ..History::default() }
    }

    /// Virtual time in nanoseconds since the start of the run; 0 without a clock.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.clock.as_ref().map_or(0, |(clock, zero)| clock.now().0 - zero.0)
    }

    /// A fresh operation id, unique in this history.
    #[must_use]
    pub fn next_op(&self) -> u64 {
        self.next_op.fetch_add(1, Relaxed)
    }

    /// Appends an event; one beyond [`EVENTS_MAX`] is counted and dropped. The world's clock and
    /// the history's differ by some nanoseconds: an event is never timed before the one it follows.
    pub fn record(&self, mut event: Event) {
        let mut events = self.lock();
        if events.len() == EVENTS_MAX {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        event.at_ns = events.last().map_or(0, |last| last.at_ns).max(event.at_ns);
        events.push(event);
    }

    /// Appends what the supervisor did or saw at `at_ns` of virtual time.
    pub fn mark(&self, at_ns: u64, kind: EventKind) {
        self.record(Event { at_ns, client: SUPERVISOR, op: self.next_op(), kind });
    }

    /// Notes that a client begins an operation.
    pub(crate) fn begins(&self, operation: BegunOperation) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.len() < EVENTS_MAX {
            begun.push(operation);
        }
    }

    /// Notes that a client did what counts as a fault.
    pub(crate) fn injects(&self, kind: &'static str) {
        let mut injected = self.injected.lock().unwrap_or_else(PoisonError::into_inner);
        *injected.entry(kind).or_default() += 1;
    }

    /// How often clients did what counts as a fault.
    #[must_use]
    pub fn injected(&self) -> BTreeMap<&'static str, u64> {
        self.injected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every operation that a client began, in the order of virtual time.
    #[must_use]
    pub fn begun(&self) -> Vec<BegunOperation> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events that did not fit. The oracles' verdict counts only if there are none.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests that were answered without an error so far.
    #[must_use]
    pub fn acked_operations(&self) -> u64 {
        let acked = |event: &&Event| matches!(event.kind, EventKind::Ok(_));
        self.lock().iter().filter(acked).count() as u64
    }

    /// The events so far, in the order in which they were recorded.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.lock().clone()
    }

    /// Shows `look` the events from the `from`-th on, and says how many there are.
    pub fn look(&self, from: usize, look: impl FnMut(&Event)) -> usize {
        let events = self.lock();
        events[from..].iter().for_each(look);
        events.len()
    }

    /// Writes one JSON object a line.
    ///
    /// # Errors
    /// What `out` answers.
    pub fn write_jsonl(&self, out: &mut impl Write) -> io::Result<()> {
        for event in &*self.lock() {
            serde_json::to_writer(&mut *out, event)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::event::Mark;

    #[test]
    fn every_event_is_one_json_line_that_reads_back() {
        let history = History::new();
        history.mark(5, EventKind::Mark(Mark::Started { node: 1, incarnation: 2 }));
        history.mark(6, EventKind::Mark(Mark::Healed));
        let mut out = Vec::new();
        history.write_jsonl(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(read_jsonl(&text).unwrap(), history.events());
        assert_eq!((history.len(), history.dropped()), (2, 0));
    }
}
