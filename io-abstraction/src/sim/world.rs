//! The supervisor's view of a simulated world: run it, get its nodes, read what happened.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use madsim::runtime::Runtime;
use madsim::time::TimeHandle;

use crate::sim::core::Core;
use crate::sim::net::NetControl;
use crate::sim::node::SimNode;
use crate::sim::timer::Timers;
use crate::sim::trace::{self, Record};

/// A task of a node that panicked. The node's other tasks run on, as in production.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePanic {
    pub node: u64,
    pub incarnation: u64,
    /// The name that the task was spawned with.
    pub task: &'static str,
    pub message: String,
    /// Whether [`SimNode::panic_task`] wanted it.
    pub injected: bool,
    /// Virtual time since the start of the run.
    pub at: Duration,
}

/// One simulated world. One seed gives one run only in a fresh process: libraries keep counters
/// per process and per thread.
pub struct World {
    runtime: Runtime,
    core: Arc<Core>,
}

impl World {
    /// An empty world at virtual time zero. It is the current one of this thread for
    /// [`trace::event`] until it is dropped or another one is made.
    #[must_use]
    pub fn new(seed: u64) -> World {
        let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
        let time = runtime.block_on(async { TimeHandle::current() });
        let (core, own_node) = Core::new(seed, runtime.handle().clone(), time);
        trace::set_current(Some(core.clone()));
        drop(own_node.spawn(Timers::drive(core.clone())));
        World { runtime, core }
    }

    /// Runs the world until `supervisor` ends; tasks of nodes stand still between two runs.
    ///
    /// # Panics
    /// If the supervisor panics, or every task waits for something that no timer will bring: wait
    /// with a timeout for whatever may never come.
    pub fn run<F: Future>(&self, supervisor: F) -> F::Output {
        self.runtime.block_on(supervisor)
    }

    /// The node `id` (1 to 65,534), with address 10.0.(id / 256).(id mod 256); it is made, up and
    /// with an empty disk, when it is first named.
    ///
    /// # Panics
    /// If `id` is out of range.
    #[must_use]
    pub fn node(&self, id: u64) -> SimNode {
        SimNode::get_or_create(&self.core, id)
    }

    /// The supervisor's hand on the network.
    #[must_use]
    pub fn net(&self) -> NetControl {
        NetControl { core: self.core.clone() }
    }

    /// The seed that this world was made with.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.core.seed
    }

    /// Virtual time since the start of the run.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.core.timers.now_ns())
    }

    /// Waits in virtual time, at least 1 ms.
    pub async fn sleep(&self, duration: Duration) {
        madsim::time::sleep(duration).await;
    }

    /// The fingerprint of the run so far.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.core.trace.hash()
    }

    /// The last 4096 events.
    #[must_use]
    pub fn trace_records(&self) -> Vec<Record> {
        self.core.trace.records()
    }

    /// From now on writes each event as a line of text to the host's file `path`.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn trace_to(&self, path: &Path) -> io::Result<()> {
        self.core.trace.write_to(path)
    }

    /// Writes what the trace's file has not got yet.
    ///
    /// # Errors
    /// If the host's disk refuses it.
    pub fn flush_trace(&self) -> io::Result<()> {
        self.core.trace.flush()
    }

    /// Panics of nodes' tasks since the last call.
    #[must_use]
    pub fn take_panics(&self) -> Vec<NodePanic> {
        std::mem::take(&mut *self.core.panics.lock())
    }

    /// How often each fault of the catalogue changed something, over all nodes.
    #[must_use]
    pub fn fault_counts(&self) -> BTreeMap<&'static str, u64> {
        self.core.fault_counts(None)
    }

    /// The longest run of polls of one node's tasks without a timer, an I/O completion or a
    /// delivery between them (I46).
    #[must_use]
    pub fn max_polls_without_progress(&self) -> u64 {
        self.core.polls_max.load(Relaxed)
    }

    /// Switches all sites of `Env::buggify` off or on; they are on at first.
    pub fn set_buggify(&self, on: bool) {
        self.core.buggify_on.store(on, Relaxed);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        trace::set_current(None);
        // Nodes, timers and connections hold the core that holds them.
        let nodes = std::mem::take(&mut *self.core.nodes.lock());
        for node in nodes.values() {
            node.incarnation().end();
        }
        self.core.timers.clear();
        self.core.net.lock().clear();
    }
}
