//! What all parts of one simulated world share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use madsim::runtime::{Handle, NodeHandle};
use madsim::time::TimeHandle;

use crate::sim::exclusive::Exclusive;
use crate::sim::net::fabric::Fabric;
use crate::sim::node::NodeState;
use crate::sim::rng::{Stream, stream};
use crate::sim::timer::Timers;
use crate::sim::trace::{Record, Trace};
use crate::sim::world::NodePanic;

/// A site of `buggify` is active in this share of the seeds, and then fires this often.
const BUGGIFY_CHANCE: f64 = 0.25;

/// The shared state of a world.
pub(crate) struct Core {
    pub(crate) seed: u64,
    pub(crate) madsim: Handle,
    pub(crate) timers: Timers,
    pub(crate) trace: Trace,
    pub(crate) nodes: Exclusive<BTreeMap<u64, Arc<NodeState>>>,
    pub(crate) net: Exclusive<Fabric>,
    pub(crate) panics: Exclusive<Vec<NodePanic>>,
    pub(crate) polls_max: AtomicU64,
    pub(crate) buggify_on: AtomicBool,
    faults: Exclusive<BTreeMap<(u64, &'static str), u64>>,
    buggify_sites: Exclusive<BTreeMap<(u64, &'static str), Option<Stream>>>,
}

impl Core {
    /// The core and the madsim node on which the world's own work runs.
    pub(crate) fn new(seed: u64, madsim: Handle, time: TimeHandle) -> (Arc<Core>, NodeHandle) {
        let own_node = madsim.create_node().name("world").build();
        let core = Core {
            seed,
            madsim,
            timers: Timers::new(time),
            trace: Trace::new(),
            nodes: Exclusive::new(BTreeMap::new()),
            net: Exclusive::new(Fabric::new(seed)),
            panics: Exclusive::new(Vec::new()),
            polls_max: AtomicU64::new(0),
            buggify_on: AtomicBool::new(true),
            faults: Exclusive::new(BTreeMap::new()),
            buggify_sites: Exclusive::new(BTreeMap::new()),
        };
        (Arc::new(core), own_node)
    }

    pub(crate) fn event(&self, node: u64, kind: &'static str, a: u64, b: u64) {
        self.trace.push(Record { at_ns: self.timers.now_ns(), node, kind, a, b });
    }

    /// Counts a fault that changed something; `kind` is its number in the catalogue (`D1`).
    pub(crate) fn fault(&self, node: u64, kind: &'static str, detail: u64) {
        *self.faults.lock().entry((node, kind)).or_default() += 1;
        self.event(node, kind, detail, 0);
    }

    /// How often each fault changed something on `node` (0: on the network), or anywhere.
    pub(crate) fn fault_counts(&self, node: Option<u64>) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for ((at, kind), count) in &*self.faults.lock() {
            if node.is_none_or(|node| node == *at) {
                *counts.entry(*kind).or_default() += count;
            }
        }
        counts
    }

    pub(crate) fn buggify(&self, node: u64, site: &'static str) -> bool {
        if !self.buggify_on.load(Relaxed) {
            return false;
        }
        let mut sites = self.buggify_sites.lock();
        let fires = sites.entry((node, site)).or_insert_with(|| {
            let active = stream(self.seed, site, 0, u64::MAX).chance(BUGGIFY_CHANCE);
            active.then(|| stream(self.seed, site, node, 0))
        });
        let hit = fires.as_mut().is_some_and(|stream| stream.chance(BUGGIFY_CHANCE));
        drop(sites);
        if hit {
            let key = site.bytes().fold(0_u64, |key, byte| key * 31 % 1_000_003 + u64::from(byte));
            self.event(node, "world.buggify", key, 0);
        }
        hit
    }
}
