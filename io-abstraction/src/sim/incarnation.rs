//! One life of a node's process, and the guard that refuses everything once it is over.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::sim::core::Core;
use crate::sim::cpu::Cpu;
use crate::sim::exclusive::Exclusive;
use crate::sim::rng::stream;

/// One life of a node's process. Every handle holds it and asks it before each effect, so that
/// code of a dead process (destructors included, which run after the kill) changes nothing.
pub(crate) struct Incarnation {
    pub(crate) core: Arc<Core>,
    pub(crate) node: u64,
    /// Counts from 1.
    pub(crate) number: u64,
    /// What this life's monotonic clock showed at the start of the world: monotonic readings of
    /// two lives or two nodes have nothing to do with each other, and mixing them up must show.
    pub(crate) monotonic_base_ns: u64,
    pub(crate) held: Held,
    pub(crate) cpu: Arc<Cpu>,
    alive: AtomicBool,
    polls: AtomicU64,
    /// Whether something came in since its tasks were stopped.
    missed: AtomicBool,
    /// The task whose next poll panics (P8).
    doomed: Exclusive<Option<&'static str>>,
    is_doomed: AtomicBool,
}

/// What a process holds now; all must return to a baseline (I45).
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) tasks: AtomicU64,
    pub(crate) files: AtomicU64,
    pub(crate) streams: AtomicU64,
    pub(crate) listeners: AtomicU64,
    pub(crate) datagrams: AtomicU64,
    pub(crate) mapped_bytes: AtomicU64,
}

impl Incarnation {
    pub(crate) fn new(
        core: Arc<Core>,
        (node, number): (u64, u64),
        cpu: Arc<Cpu>,
    ) -> Arc<Incarnation> {
        const HOUR_NS: u64 = 3_600_000_000_000;
        let monotonic_base_ns = stream(core.seed, "clock.boot", node, number).below(1000 * HOUR_NS);
        Arc::new(Incarnation {
            core,
            node,
            number,
            monotonic_base_ns,
            held: Held::default(),
            cpu,
            alive: AtomicBool::new(true),
            polls: AtomicU64::new(0),
            missed: AtomicBool::new(false),
            doomed: Exclusive::new(None),
            is_doomed: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Relaxed)
    }

    /// Ends this life; false if it was over.
    pub(crate) fn end(&self) -> bool {
        self.alive.swap(false, Relaxed)
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        let Incarnation { node, number, .. } = self;
        Err(io::Error::other(format!("incarnation {number} of node {node} is dead")))
    }

    /// Something came in from outside (a timer, an I/O completion, a delivery): polls before it
    /// were not a spin.
    pub(crate) fn progress(&self) {
        self.polls.store(0, Relaxed);
        self.missed.store(true, Relaxed);
    }

    /// Whether something came in since the last call.
    pub(crate) fn take_missed(&self) -> bool {
        self.missed.swap(false, Relaxed)
    }

    /// The next poll of a task of that name panics.
    pub(crate) fn doom(&self, task: &'static str) {
        *self.doomed.lock() = Some(task);
        self.is_doomed.store(true, Relaxed);
    }

    /// Whether the task must panic now; once.
    pub(crate) fn take_doom(&self, task: &str) -> bool {
        if !self.is_doomed.load(Relaxed) || *self.doomed.lock() != Some(task) {
            return false;
        }
        self.is_doomed.store(false, Relaxed);
        true
    }

    pub(crate) fn count_poll(&self) {
        let polls = self.polls.fetch_add(1, Relaxed) + 1;
        self.core.polls_max.fetch_max(polls, Relaxed);
    }
}
