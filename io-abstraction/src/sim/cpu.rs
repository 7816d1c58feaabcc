//! A node's processor: one core. While polls cost time, the node's tasks run one after the other,
//! in the order in which they were ready; time, timers and the network go on meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::time::Duration;

use crate::sim::core::Core;
use crate::sim::exclusive::Exclusive;
use crate::sim::rng::{Stream, stream};

/// A wait that counts as an effect of a slow processor.
const LATE_NS: u64 = 1_000_000;

/// The processor of one node; it outlives the node's incarnations.
pub(crate) struct Cpu {
    node: u64,
    /// Mean virtual time of a poll; 0: polls cost nothing.
    cost_ns: AtomicU64,
    line: Exclusive<Line>,
}

struct Line {
    busy_until_ns: u64,
    waiting: VecDeque<Arc<Turn>>,
    /// Whether an event is on its way that lets the first one run.
    is_served: bool,
    draws: Stream,
}

/// A task's place in the line.
pub(crate) struct Turn {
    has_come: AtomicBool,
    since_ns: u64,
    waker: Waker,
}

impl Cpu {
    pub(crate) fn new(seed: u64, node: u64) -> Cpu {
        let line = Line {
            busy_until_ns: 0,
            waiting: VecDeque::new(),
            is_served: false,
            draws: stream(seed, "cpu", node, 0),
        };
        Cpu { node, cost_ns: AtomicU64::new(0), line: Exclusive::new(line) }
    }

    pub(crate) fn set_cost(self: &Arc<Cpu>, core: &Arc<Core>, cost: Duration) {
        let cost_ns = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
        self.cost_ns.store(cost_ns, Relaxed);
        if cost_ns == 0 {
            self.line.lock().busy_until_ns = 0;
            while self.serve(core) {}
        }
    }

    /// The process is gone, and with it all that waits.
    pub(crate) fn process_gone(&self) {
        let waiting = std::mem::take(&mut self.line.lock().waiting);
        drop(waiting);
    }

    /// Whether the task that holds `turn` may be polled now; else its waker is called when it may.
    pub(crate) fn may_run(
        self: &Arc<Cpu>,
        core: &Arc<Core>,
        turn: &mut Option<Arc<Turn>>,
        waker: &Waker,
    ) -> bool {
        if let Some(taken) = turn {
            let has_come = taken.has_come.load(Relaxed);
            if has_come {
                *turn = None;
            }
            return has_come;
        }
        if self.cost_ns.load(Relaxed) == 0 {
            return true;
        }
        let now_ns = core.timers.now_ns();
        let mut line = self.line.lock();
        if line.waiting.is_empty() && line.busy_until_ns <= now_ns {
            line.busy_until_ns = now_ns + line.draw(self.cost_ns.load(Relaxed));
            return true;
        }
        let has_come = AtomicBool::new(false);
        let place = Arc::new(Turn { has_come, since_ns: now_ns, waker: waker.clone() });
        line.waiting.push_back(place.clone());
        *turn = Some(place);
        let wait_ns = line.busy_until_ns.saturating_sub(now_ns);
        if !std::mem::replace(&mut line.is_served, true) {
            drop(line);
            self.serve_after(core, wait_ns);
        }
        false
    }

    fn serve_after(self: &Arc<Cpu>, core: &Arc<Core>, wait_ns: u64) {
        let cpu = self.clone();
        let event = move |core: &Arc<Core>| {
            cpu.serve(core);
        };
        core.timers.after(Duration::from_nanos(wait_ns), Box::new(event));
    }

    /// Lets the first one that waits run; whether there was one.
    fn serve(self: &Arc<Cpu>, core: &Arc<Core>) -> bool {
        let now_ns = core.timers.now_ns();
        let mut line = self.line.lock();
        let Some(first) = line.waiting.pop_front() else {
            line.is_served = false;
            return false;
        };
        let cost_ns = line.draw(self.cost_ns.load(Relaxed));
        line.busy_until_ns = now_ns + cost_ns;
        drop(line);
        let waited_ns = now_ns - first.since_ns;
        if waited_ns >= LATE_NS {
            core.fault(self.node, "P9", waited_ns / 1_000);
        }
        first.has_come.store(true, Relaxed);
        first.waker.wake_by_ref();
        if cost_ns > 0 {
            self.serve_after(core, cost_ns);
        }
        true
    }
}

impl Line {
    /// Half of the mean to half as much again.
    fn draw(&mut self, cost_ns: u64) -> u64 {
        if cost_ns == 0 { 0 } else { self.draws.between(cost_ns / 2, cost_ns + cost_ns / 2) }
    }
}
