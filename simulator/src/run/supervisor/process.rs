//! Faults of clocks, processors and tasks, and the memory that a process takes.

use std::time::Duration;

use rivven_io::sim::SimNode;

use crate::oracles::MemoryReading;
use crate::plan::fault::{Fault, Target};
use crate::run::server::Life;
use crate::run::supervisor::{Step, Supervisor};

/// The tasks of the broker of which it is defined what a panic does: a connection's ends that
/// connection, the others end the process, with exit code 4.
const TASKS: [&str; 7] = [
    "connection",
    "wal-committer",
    "segment-writer",
    "checkpointer",
    "cleaner",
    "accept",
    "groups",
];

/// How often the memory of connections is looked at.
const LOOK_EVERY_US: u64 = 20_000;

impl Supervisor<'_> {
    /// Sets the clocks that are wrong from the start of the world on.
    pub(crate) fn set_offsets(&mut self) {
        for fault in &self.plan.faults {
            let Fault::ClockOffset { who, offset_ms } = &fault.what else { continue };
            let Some(node) = self.target(*who) else { continue };
            node.clock().set_offset(*offset_ms);
            self.note_injected(&fault.what, node.id());
        }
    }

    pub(super) fn inject_process(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::ClockDrift { who, drift_ppm, for_ms } => {
                let Some(node) = self.target(*who) else { return false };
                node.clock().set_drift(*drift_ppm);
                self.queue_in(for_ms * 1_000, Step::DriftEnds(node.id()));
                true
            }
            Fault::ClockStep { who, step_ms } => {
                let Some(node) = self.target(*who) else { return false };
                node.clock().step(*step_ms);
                true
            }
            Fault::Pause { who, for_ms } => {
                let Some(node) = self.target(*who) else { return false };
                let is_paused = node.pause();
                if is_paused {
                    self.queue_in(for_ms * 1_000, Step::Resume(node.id()));
                }
                is_paused
            }
            Fault::SlowCpu { poll_us, for_ms } => {
                self.node.set_poll_cost(Duration::from_micros(*poll_us));
                self.queue_in(for_ms * 1_000, Step::CpuIsFast);
                true
            }
            Fault::TaskPanic { task, down_ms } => self.panic_task(task, *down_ms),
            // An offset is there before the first fault.
            _ => false,
        }
    }

    /// Notes what the broker's connections take if it is the most so far, and looks again soon.
    pub(super) fn look_at_memory(&mut self) {
        if let Some(memory) = self.life.as_ref().and_then(Life::memory) {
            let reading = MemoryReading {
                node: self.node.id(),
                at_ns: self.now_us() * 1_000,
                bytes: memory.bytes as u64,
                bytes_max: memory.bytes_max as u64,
                connections: self.world.net().connection_count(self.node.id()) as u64,
            };
            let most = self.memory.map_or(0, |most| most.bytes);
            if reading.bytes > most {
                self.memory = Some(reading);
            }
        }
        self.queue_in(LOOK_EVERY_US, Step::LookAtMemory);
    }

    fn target(&self, who: Target) -> Option<SimNode> {
        let node = match who {
            Target::Broker => self.node.id(),
            Target::Client(pick) => self.client(pick)?,
        };
        Some(self.world.node(node))
    }

    fn panic_task(&mut self, task: &str, down_ms: u64) -> bool {
        let Some(task) = TASKS.iter().find(|known| **known == task) else { return false };
        if self.life.is_none() {
            return false;
        }
        self.node.panic_task(task);
        if *task != "connection" {
            self.may_fail = true;
            self.down_ms = down_ms;
        }
        true
    }

    /// Every process runs, on a fast processor, with clocks that go right, wherever they stand.
    pub(super) fn heal_processes(&self) {
        let clients = self.plan.workload.clients.len() as u64;
        let targets = (0..clients).map(Target::Client).chain([Target::Broker]);
        for node in targets.filter_map(|who| self.target(who)) {
            node.resume();
            node.clock().set_drift(0);
        }
        self.node.set_poll_cost(Duration::ZERO);
    }
}
