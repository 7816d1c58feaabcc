//! D16: the disks of two brokers are in each other's machines. Neither may touch what it finds
//! there: it says so, and does not start until its own disk is back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::history::event::{CrashKind, Mark};
use crate::plan::SERVER;
use crate::run::supervisor::{DOWN_MS, Step, Supervisor};

/// Exit code of a broker that does not take a data directory for its own.
const EXIT_DIRECTORY: i32 = 3;

/// Whose disk is where; all supervisors of a run share it.
#[derive(Clone, Default)]
pub(super) struct Swaps(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Brokers whose phase with faults has begun and not ended: the others are left in peace.
    open: BTreeSet<u64>,
    /// From each broker to the one whose disk it has.
    has: BTreeMap<u64, u64>,
    /// Brokers whose power went because another one's supervisor swapped the disks.
    cut: BTreeSet<u64>,
    /// Brokers that got their disk back, until they start.
    returned: BTreeSet<u64>,
}

impl Swaps {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supervisor<'_> {
    /// Cuts the power of this broker and of another one, and swaps their disks. Both have to run.
    pub(super) fn swap_disks(&mut self, pick: u64, for_ms: u64) -> bool {
        let others = self.plan.brokers.saturating_sub(1);
        let Some(step) = pick.checked_rem(others) else { return false };
        let other = (self.broker + 1 + step) % self.plan.brokers;
        let may_swap = |broker| {
            let state = self.swaps.lock();
            state.open.contains(broker) && !state.has.contains_key(broker)
        };
        let node = self.world.node(SERVER + other);
        let all_run = self.life.is_some() && node.is_up();
        if !all_run || !may_swap(&self.broker) || !may_swap(&other) {
            return false;
        }
        self.exchange(other);
        self.swaps.lock().has.extend([(self.broker, other), (other, self.broker)]);
        self.queue_in(for_ms * 1_000, Step::DisksReturn);
        true
    }

    /// The phase with faults begins.
    pub(super) fn disks_may_go(&self) {
        self.swaps.lock().open.insert(self.broker);
    }

    /// The phase with faults ends, and a swap that this broker is part of with it.
    pub(super) fn disks_stay(&mut self) {
        self.swaps.lock().open.remove(&self.broker);
        self.return_disks();
    }

    /// Ends a swap that this broker is part of.
    pub(super) fn return_disks(&mut self) {
        let mut state = self.swaps.lock();
        let Some(other) = state.has.remove(&self.broker) else { return };
        state.has.remove(&other);
        state.returned.extend([self.broker, other]);
        drop(state);
        self.exchange(other);
    }

    /// Swaps the disks of two brokers, whether they run or not.
    fn exchange(&mut self, other: u64) {
        let node = self.world.node(SERVER + other);
        if !self.crash(true, DOWN_MS) {
            self.node.power_cut();
        }
        if node.is_up() {
            self.swaps.lock().cut.insert(other);
        }
        node.power_cut();
        self.node.swap_disks(&node);
    }

    /// Whether the process ended because another one's supervisor cut its power.
    pub(super) fn cut_by_another(&mut self, code: Option<i32>) -> bool {
        if !self.swaps.lock().cut.remove(&self.broker) || code.is_some() {
            return false;
        }
        self.life = None;
        self.tally.crashes += 1;
        self.mark(Mark::Crashed { node: self.node.id(), kind: CrashKind::PowerCut });
        self.queue_in(DOWN_MS * 1_000, Step::Start);
        true
    }

    /// The process starts: what it finds from now on is the disk that it has now.
    pub(super) fn looks_anew(&self) {
        self.swaps.lock().returned.remove(&self.broker);
    }

    pub(super) fn has_foreign_disk(&self) -> bool {
        self.swaps.lock().has.contains_key(&self.broker)
    }

    /// Whether the process ended because it found a data directory that is not its own.
    pub(super) fn refuses_foreign(&mut self, code: i32) -> bool {
        let may_have = self.has_foreign_disk() || self.swaps.lock().returned.contains(&self.broker);
        let refuses = may_have && code == EXIT_DIRECTORY;
        if refuses {
            *self.tally.process.entry("D16").or_default() += 1;
        }
        refuses
    }

    /// The broker serves: with another one's disk it must not.
    pub(super) fn serves_foreign(&mut self) {
        if self.has_foreign_disk() {
            let text = "the broker serves a data directory that is another broker's".to_owned();
            self.violate("exit", text);
        }
    }
}
