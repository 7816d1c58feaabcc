//! A node's disk: what outlives its incarnations, its faults, and the price of each operation.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::Space;
use crate::sim::core::Core;
use crate::sim::disk::faults::{DiskFaults, Lie, OneShot, Target, strikes};
use crate::sim::disk::tree::{InodeId, Tree};
use crate::sim::exclusive::Exclusive;
use crate::sim::incarnation::Incarnation;
use crate::sim::rng::{Stream, stream};
use crate::sim::timer::Sleep;

/// Costs below this are summed up instead of slept: a timer for each would triple the run time.
const SLEEP_NS_MIN: u64 = 100_000;
/// One operation in so many takes eight times as long.
const SLOW_ONE_IN: u64 = 64;

/// A kind of operation, for its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Names,
    Read,
    Write,
    DirectRead,
    DirectWrite,
    Sync,
}

impl Op {
    /// Mean cost in nanoseconds: a base and a price per KiB, of a middling NVMe drive.
    fn cost_ns(self, bytes: usize) -> u64 {
        let (base, per_kib) = match self {
            Op::Names => (10_000, 0),
            Op::Read => (4_000, 100),
            Op::Write => (6_000, 200),
            Op::DirectRead => (80_000, 400),
            Op::DirectWrite => (30_000, 500),
            Op::Sync => (400_000, 500),
        };
        base + per_kib * (bytes as u64).div_ceil(1024)
    }
}

pub(crate) struct DiskState {
    pub(crate) node: u64,
    pub(crate) inner: Exclusive<Inner>,
}

pub(crate) struct Inner {
    pub(crate) tree: Tree,
    pub(crate) faults: DiskFaults,
    pub(crate) one_shots: Vec<OneShot<Target>>,
    pub(crate) lies: Vec<OneShot<Lie>>,
    pub(crate) stalled_until_ns: u64,
    pub(crate) locked: BTreeSet<InodeId>,
    pub(crate) draws: Draws,
    is_gone: bool,
    /// How often the disk went or came back.
    changes: u64,
    write_count: u64,
    crash_count: u64,
    unslept_ns: u64,
    /// What the last operation was charged with; above it, the disk has become slower.
    latency_percent: u32,
}

/// One stream per kind of fault: switching one off leaves the draws of the others as they were.
pub(crate) struct Draws {
    latency: Stream,
    stall: Stream,
    sync: Stream,
    read: Stream,
    write: Stream,
    pub(crate) short_read: Stream,
    pub(crate) short_write: Stream,
    pub(crate) cached: Stream,
    pub(crate) order: Stream,
    pub(crate) rot: Stream,
    pub(crate) astray: Stream,
}

impl DiskState {
    pub(crate) fn new(core: &Arc<Core>, node: u64) -> DiskState {
        let draws_of = |concern| stream(core.seed, concern, node, 0);
        let draws = Draws {
            latency: draws_of("disk.latency"),
            stall: draws_of("disk.stall"),
            sync: draws_of("disk.sync"),
            read: draws_of("disk.read"),
            write: draws_of("disk.write"),
            short_read: draws_of("disk.short_read"),
            short_write: draws_of("disk.short_write"),
            cached: draws_of("disk.cached"),
            order: draws_of("disk.order"),
            rot: draws_of("disk.rot"),
            astray: draws_of("disk.astray"),
        };
        let inner = Inner {
            tree: Tree::new(),
            faults: DiskFaults::default(),
            one_shots: Vec::new(),
            lies: Vec::new(),
            stalled_until_ns: 0,
            locked: BTreeSet::new(),
            draws,
            is_gone: false,
            changes: 0,
            write_count: 0,
            crash_count: 0,
            unslept_ns: 0,
            latency_percent: DiskFaults::default().latency_percent,
        };
        DiskState { node, inner: Exclusive::new(inner) }
    }

    /// Handles and locks of the process end; written bytes stay.
    pub(crate) fn process_gone(&self) {
        let mut inner = self.inner.lock();
        inner.locked.clear();
        inner.tree.close_all();
    }

    /// Each of two disks that no process uses gets the files of the other.
    pub(crate) fn swap_content(&self, other: &DiskState) {
        let (mut own, mut others) = (self.inner.lock(), other.inner.lock());
        std::mem::swap(&mut own.tree, &mut others.tree);
    }

    /// D14: the drive loses its power, and is gone; false if it is gone already.
    pub(crate) fn go(&self, core: &Core) -> bool {
        let mut inner = self.inner.lock();
        if std::mem::replace(&mut inner.is_gone, true) {
            return false;
        }
        inner.changes += 1;
        drop(inner);
        core.event(self.node, "disk.gone", 0, 0);
        self.crash(core);
        true
    }

    /// The drive is back, for processes that start from now on; false if it was not gone.
    pub(crate) fn come_back(&self, core: &Core) -> bool {
        let mut inner = self.inner.lock();
        if !std::mem::take(&mut inner.is_gone) {
            return false;
        }
        inner.changes += 1;
        drop(inner);
        core.event(self.node, "disk.back", 0, 0);
        true
    }

    /// D15: another disk is in the place of this one; how many files are not what they were. To
    /// be called while no process runs.
    pub(crate) fn exchange(&self, core: &Core, tree: Tree) -> u64 {
        let mut inner = self.inner.lock();
        let before = std::mem::replace(&mut inner.tree, tree);
        let paths: BTreeSet<String> =
            before.files(true).into_iter().chain(inner.tree.files(true)).collect();
        let differs = |path: &&String| {
            let path = Path::new(path);
            before.durable_file(path) != inner.tree.durable_file(path)
        };
        let changed = paths.iter().filter(differs).count() as u64;
        drop(inner);
        core.event(self.node, "disk.exchange", changed, 0);
        if changed > 0 {
            core.fault(self.node, "D15", changed);
        }
        changed
    }

    /// A power cut.
    pub(crate) fn crash(&self, core: &Core) {
        let mut inner = self.inner.lock();
        inner.locked.clear();
        inner.stalled_until_ns = 0;
        inner.crash_count += 1;
        let mut draw = stream(core.seed, "disk.crash", self.node, inner.crash_count);
        let model = inner.faults.crash;
        let tally = inner.tree.crash(&model, &mut draw);
        drop(inner);
        let counts = [
            ("D1", tally.lost),
            ("D2", tally.torn),
            ("D3", tally.entries_undone),
            ("D4", tally.reordered),
        ];
        for (kind, count) in counts {
            if count > 0 {
                core.fault(self.node, kind, count);
            }
        }
    }
}

impl Inner {
    pub(crate) fn next_write_number(&mut self) -> u64 {
        self.write_count += 1;
        self.write_count
    }

    pub(crate) fn space(&mut self) -> Space {
        /// What a disk without a limit says that it has.
        const UNLIMITED_BYTES: u64 = 1 << 42;
        let total_bytes = self.faults.capacity_bytes.unwrap_or(UNLIMITED_BYTES);
        let available_bytes = total_bytes.saturating_sub(self.tree.used_bytes());
        Space { total_bytes, available_bytes }
    }

    /// Bytes that may still be written.
    pub(crate) fn available_bytes(&mut self) -> u64 {
        self.space().available_bytes
    }

    /// Whether an operation on `path` fails: by a one-shot, or by chance.
    pub(crate) fn fails(&mut self, target: Target, path: &str) -> bool {
        if strikes(&mut self.one_shots, &target, path) {
            return true;
        }
        if !self.faults.apply_to(path) {
            return false;
        }
        let (draw, probability) = match target {
            Target::Read => (&mut self.draws.read, self.faults.read_error),
            Target::Write => (&mut self.draws.write, self.faults.write_error),
            Target::Sync => (&mut self.draws.sync, self.faults.sync_error),
        };
        draw.chance(probability)
    }

    /// How long an operation takes that begins now; 0 if its cost is put to a later one's.
    fn charge_ns(&mut self, core: &Core, node: u64, op: (Op, &str, usize)) -> u64 {
        let (op, path, bytes) = op;
        let now_ns = core.timers.now_ns();
        let mean = op.cost_ns(bytes);
        let spread = self.draws.latency.between(mean / 2, mean + mean / 2);
        let slow = if self.draws.latency.below(SLOW_ONE_IN) == 0 { 8 } else { 1 };
        let percent = self.faults.latency_percent;
        if std::mem::replace(&mut self.latency_percent, percent) < percent {
            core.fault(node, "D13", u64::from(percent));
        }
        self.unslept_ns += spread * slow * u64::from(percent) / 100;
        if self.faults.apply_to(path) && self.draws.stall.chance(self.faults.stall) {
            let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
            let (low, high) = (ns(self.faults.stall_min), ns(self.faults.stall_max));
            let stall_ns = self.draws.stall.between(low, high);
            self.stalled_until_ns = self.stalled_until_ns.max(now_ns.saturating_add(stall_ns));
        }
        let stalled_ns = self.stalled_until_ns.saturating_sub(now_ns);
        if stalled_ns > 0 {
            core.fault(node, "D13", stalled_ns / 1_000_000);
        } else if self.unslept_ns < SLEEP_NS_MIN {
            return 0;
        }
        stalled_ns + std::mem::take(&mut self.unslept_ns)
    }
}

/// A disk as one incarnation may use it.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) state: Arc<DiskState>,
    pub(crate) incarnation: Arc<Incarnation>,
    /// [`Inner::changes`] when the incarnation began.
    changes: u64,
}

impl Port {
    pub(crate) fn new(state: Arc<DiskState>, incarnation: Arc<Incarnation>) -> Port {
        let changes = state.inner.lock().changes;
        Port { state, incarnation, changes }
    }

    /// Whether the disk is there, and was all the time since the incarnation began. What was gone
    /// is another device when it comes back: nothing of it is open.
    pub(crate) fn has_disk(&self) -> bool {
        let inner = self.state.inner.lock();
        !inner.is_gone && inner.changes == self.changes
    }

    /// Takes the time of an operation. Refused if the incarnation is dead before or after, or if
    /// its disk is gone.
    pub(crate) async fn pay(&self, op: Op, path: &str, bytes: usize) -> io::Result<()> {
        self.incarnation.check()?;
        let core = &self.incarnation.core;
        let cost_ns = self.state.inner.lock().charge_ns(core, self.state.node, (op, path, bytes));
        if cost_ns == 0 {
            tokio::task::yield_now().await;
        } else {
            Sleep::new(self.incarnation.clone(), Duration::from_nanos(cost_ns)).await;
        }
        self.incarnation.progress();
        self.incarnation.check()?;
        if self.has_disk() {
            return Ok(());
        }
        self.fault("D14", 0);
        Err(io_failed())
    }

    /// Counts a fault of this disk.
    pub(crate) fn fault(&self, kind: &'static str, detail: u64) {
        self.incarnation.core.fault(self.state.node, kind, detail);
    }

    /// Traces an event of this disk.
    pub(crate) fn event(&self, kind: &'static str, a: u64, b: u64) {
        self.incarnation.core.event(self.state.node, kind, a, b);
    }
}

/// EIO, as the kernel answers it.
pub(crate) fn io_failed() -> io::Error {
    const EIO: i32 = 5;
    io::Error::from_raw_os_error(EIO)
}
