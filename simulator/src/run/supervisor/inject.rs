//! Applying a fault of the plan.

use std::time::Duration;

use rivven_io::sim::disk::{DiskControl, DiskFaults};

use crate::history::event::Mark;
use crate::plan::fault::{Fault, When};
use crate::run::supervisor::{Aimed, Loop, Step, Supervisor};

/// How long a crash waits for its moment.
const WATCH_US_MAX: u64 = 10_000_000;
/// How often it looks.
const WATCH_EVERY_US: u64 = 1_000;

impl Supervisor<'_> {
    pub(super) fn set_disk(&self, change: impl FnOnce(&mut DiskFaults)) {
        let disk = self.node.disk();
        let mut faults = disk.faults();
        change(&mut faults);
        disk.set_faults(faults);
    }

    pub(super) fn inject(&mut self, fault: &Fault) {
        let done = match fault {
            Fault::PowerCut { down_ms } => self.crash(true, *down_ms),
            Fault::Kill { down_ms } => self.crash(false, *down_ms),
            Fault::Stop { down_ms } => self.stop(*down_ms),
            Fault::CrashLoop { crashes, power, after_us, down_ms } => {
                let (power, after_us, down_ms) = (*power, *after_us, *down_ms);
                let next = Loop { left: *crashes, power: !power, after_us, down_ms };
                let crashed = self.crash(power, down_ms);
                if crashed && next.left > 0 {
                    self.loops.push_back(next);
                    *self.tally.process.entry("P6").or_default() += 1;
                }
                crashed
            }
            Fault::CrashAt { when, power, after_us, down_ms, then_us } => {
                let (power, after_us, down_ms) = (*power, *after_us, *down_ms);
                self.begin_watch(when, Aimed { power, after_us, down_ms, then_us: *then_us })
            }
            Fault::FullDisk { free_bytes, for_ms } => {
                let capacity = self.node.disk().used_bytes() + free_bytes;
                self.set_disk(|faults| faults.capacity_bytes = Some(capacity));
                self.may_fail = true;
                self.queue_in(for_ms * 1_000, Step::DiskHasRoom);
                true
            }
            Fault::FailedSync { path, down_ms, then_us } => {
                if *then_us > 0 {
                    let (after_us, down_ms) = (*then_us, *down_ms);
                    let crash = Aimed { power: true, after_us, down_ms, then_us: 0 };
                    self.begin_watch(&When::Fault("D10".to_owned()), crash);
                }
                self.fail_next(fault, path, *down_ms)
            }
            Fault::FailedWrite { path, down_ms } | Fault::FailedRead { path, down_ms } => {
                self.fail_next(fault, path, *down_ms)
            }
            Fault::Stall { for_ms } => {
                self.node.disk().stall_for(Duration::from_millis(*for_ms));
                true
            }
            Fault::SlowDisk { percent, for_ms } => {
                let percent = u32::try_from(*percent).unwrap_or(u32::MAX);
                self.set_disk(|faults| faults.latency_percent = percent);
                self.queue_in(for_ms * 1_000, Step::DiskIsFast);
                true
            }
            Fault::Reset => {
                self.has_connections() && self.world.net().reset_some(self.node.id()) > 0
            }
            Fault::HalfOpen => {
                self.has_connections() && self.world.net().half_open_some(self.node.id()) > 0
            }
            Fault::BlackHole { hole, for_ms } => self.black_hole(*hole, *for_ms),
            Fault::SwapDisks { other, for_ms } => self.swap_disks(*other, *for_ms),
            _ => {
                self.inject_drive(fault) || self.inject_network(fault) || self.inject_process(fault)
            }
        };
        if done {
            self.note_injected(fault, self.node.id());
        }
    }

    /// What the drive itself does wrong.
    fn inject_drive(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::BitRot { path, pick, bytes, down_ms } => {
                let crashed = self.crash(true, *down_ms);
                crashed && self.rot((path, *pick), *bytes)
            }
            Fault::LostEnd { path, pick, down_ms } => {
                let crashed = self.crash(true, *down_ms);
                crashed && self.lose_end((path, *pick))
            }
            Fault::BadSector { path, pick, down_ms } => {
                let crashed = self.crash(true, *down_ms);
                crashed && self.spoil((path, *pick))
            }
            Fault::MisdirectedWrite { path } => self.lie(DiskControl::misdirect_next_write, path),
            Fault::PhantomWrite { path } => self.lie(DiskControl::forget_next_write, path),
            Fault::MisdirectedRead { path } => self.lie(DiskControl::misdirect_next_read, path),
            Fault::OldDisk { age_ms, down_ms } => self.exchange_disk(*age_ms, *down_ms),
            Fault::DiskGone { for_ms, down_ms } => self.take_disk(*for_ms, *down_ms),
            _ => false,
        }
    }

    pub(super) fn note_injected(&mut self, fault: &Fault, node: u64) {
        *self.tally.injected.entry(fault.kind()).or_default() += 1;
        self.mark(Mark::Fault { node, what: format!("{fault:?}") });
    }

    fn stop(&mut self, down_ms: u64) -> bool {
        let Some(life) = &mut self.life else { return false };
        life.stop();
        self.down_ms = down_ms;
        *self.tally.process.entry("P5").or_default() += 1;
        true
    }

    fn fail_next(&mut self, fault: &Fault, path: &str, down_ms: u64) -> bool {
        let disk = self.node.disk();
        match fault {
            Fault::FailedSync { .. } => disk.fail_next_sync(path),
            Fault::FailedWrite { .. } => disk.fail_next_write(path),
            _ => disk.fail_next_read(path),
        }
        self.may_fail = true;
        self.armed = true;
        self.down_ms = down_ms;
        true
    }

    fn has_connections(&self) -> bool {
        self.world.net().connection_count(self.node.id()) > 0
    }

    fn begin_watch(&mut self, when: &When, crash: Aimed) -> bool {
        if self.life.is_none() {
            return false;
        }
        if let When::Path(part) = when {
            let part = part.clone();
            self.set_disk(|faults| {
                faults.only_paths_with = Some(part);
                faults.stall = 1.0;
                faults.stall_min = Duration::from_millis(1);
                faults.stall_max = Duration::from_millis(20);
            });
        }
        let (seen, until_us) = (self.seen(when), self.now_us() + WATCH_US_MAX);
        self.queue_in(WATCH_EVERY_US, Step::Watch { when: when.clone(), seen, until_us, crash });
        true
    }

    fn seen(&self, when: &When) -> u64 {
        let faults =
            |number: &str| self.node.disk().fault_counts().get(number).copied().unwrap_or_default();
        match when {
            When::Path(_) => faults("D13"),
            When::Fault(number) => faults(number),
            When::Probe(name) => {
                rivven_io::probe::hits().get(name.as_str()).copied().unwrap_or_default()
            }
        }
    }

    pub(super) fn watch(&mut self, (when, seen): (When, u64), until_us: u64, crash: Aimed) {
        if self.life.is_some() && self.seen(&when) > seen {
            let Aimed { power, after_us, down_ms, then_us } = crash;
            *self.tally.process.entry("P2").or_default() += 1;
            if then_us > 0 {
                self.loops.push_back(Loop { left: 1, power: !power, after_us: then_us, down_ms });
            }
            self.queue_in(after_us, Step::Crash { power, down_ms });
        } else if self.life.is_some() && self.now_us() < until_us {
            self.queue_in(WATCH_EVERY_US, Step::Watch { when, seen, until_us, crash });
        } else {
            self.end_watch();
        }
    }

    pub(super) fn end_watch(&mut self) {
        self.set_disk(|faults| {
            faults.stall = 0.0;
            faults.only_paths_with = None;
        });
    }
}
