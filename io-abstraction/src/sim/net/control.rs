//! The supervisor's hand on the network: links to shape, block and heal, connections to break.

use std::sync::Arc;

use crate::sim::core::Core;
use crate::sim::net::fabric::{Fabric, resend};
use crate::sim::net::link::LinkConfig;
use crate::sim::net::middlebox::Middlebox;
use crate::sim::net::stream::{reset_later, reset_now};
use crate::sim::rng::stream;

/// The supervisor's hand on the network; clones are hands on the same network.
#[derive(Clone)]
pub struct NetControl {
    pub(crate) core: Arc<Core>,
}

impl NetControl {
    /// Shapes every link between two nodes, those that are not used yet included. Loopback stays.
    pub fn set_all(&self, config: &LinkConfig) {
        let mut fabric = self.core.net.lock();
        fabric.default_config = config.clone();
        for (_, link) in fabric.links_between_nodes() {
            link.config = config.clone();
        }
    }

    /// Shapes the link that carries what node `from` sends to node `to`.
    pub fn set_link(&self, from: u64, to: u64, config: LinkConfig) {
        self.core.net.lock().link(from, to).config = config;
    }

    /// Changes the shape of the link that carries what node `from` sends to node `to`.
    pub fn change_link(&self, from: u64, to: u64, change: impl FnOnce(&mut LinkConfig)) {
        change(&mut self.core.net.lock().link(from, to).config);
    }

    /// Puts a middlebox on all links, or takes it away. It must not use the network itself.
    pub fn set_middlebox(&self, middlebox: Option<Middlebox>) {
        self.core.net.lock().middlebox = middlebox;
    }

    /// N11: each of two nodes, both down, comes up at the other's address.
    ///
    /// # Panics
    /// If one of them is up: a process does not survive the loss of its address.
    pub fn swap_addresses(&self, one: u64, other: u64) {
        for node in [one, other] {
            let state = self.core.nodes.lock().get(&node).cloned();
            let is_up = state.is_some_and(|state| state.incarnation().is_alive());
            assert!(!is_up, "node {node} is up");
        }
        self.core.net.lock().swap_addresses(one, other);
        self.core.event(one, "net.swap_addresses", other, 0);
    }

    /// Nothing that `from` sends reaches `to` from now on (N6): streams hold it, their ends and
    /// resets included, datagrams are lost, connects get no answer.
    pub fn block(&self, from: u64, to: u64) {
        self.core.net.lock().link(from, to).blocked = Some("N6");
        self.core.event(from, "net.block", to, 0);
    }

    /// The same in both directions, counted as a clog (N5).
    pub fn clog(&self, one: u64, other: u64) {
        for (from, to) in [(one, other), (other, one)] {
            self.core.net.lock().link(from, to).blocked = Some("N5");
            self.core.event(from, "net.clog", to, 0);
        }
    }

    /// Ends a block of this link.
    pub fn heal(&self, from: u64, to: u64) {
        self.core.net.lock().link(from, to).blocked = None;
        self.core.event(from, "net.heal", to, 0);
        resend(&self.core, |sender, receiver| (sender, receiver) == (from, to));
    }

    /// Ends all blocks.
    pub fn heal_all(&self) {
        for (_, link) in self.core.net.lock().links_between_nodes() {
            link.blocked = None;
        }
        self.core.event(0, "net.heal_all", 0, 0);
        resend(&self.core, |_, _| true);
    }

    /// Blocks both directions between each node of `left` and each of `right`.
    pub fn partition(&self, left: &[u64], right: &[u64]) {
        for (from, to) in left.iter().flat_map(|from| right.iter().map(move |to| (*from, *to))) {
            self.block(from, to);
            self.block(to, from);
        }
    }

    /// N8: resets some (each one time in two, at least one) of a node's connections at both ends,
    /// in mid-stream. Returns how many.
    pub fn reset_some(&self, node: u64) -> usize {
        let chosen = self.choose(node, "net.reset_some");
        for (conn, _) in &chosen {
            self.core.fault(node, "N8", *conn);
            reset_now(&self.core, *conn, 0);
            reset_now(&self.core, *conn, 1);
        }
        chosen.len()
    }

    /// N8: some of a node's connections become half-open: the node's own end fails, and the peer
    /// hears nothing until it sends. Returns how many.
    pub fn half_open_some(&self, node: u64) -> usize {
        let chosen = self.choose(node, "net.half_open_some");
        for (conn, side) in &chosen {
            self.core.fault(node, "N8", *conn);
            reset_now(&self.core, *conn, *side);
        }
        chosen.len()
    }

    /// Resets all connections of a node's peers to it, as a firewall that lost its state.
    pub fn reset_peers(&self, node: u64) {
        for (conn, side) in connections(&self.core.net.lock(), node) {
            reset_later(&self.core, conn, 1 - side);
        }
    }

    /// The live connections that a node has an end of.
    #[must_use]
    pub fn connection_count(&self, node: u64) -> usize {
        connections(&self.core.net.lock(), node).len()
    }

    fn choose(&self, node: u64, concern: &str) -> Vec<(u64, usize)> {
        let all = connections(&self.core.net.lock(), node);
        let mut draw = stream(self.core.seed, concern, node, self.core.timers.now_ns());
        let sure = draw.below(all.len() as u64);
        let chosen = |(index, conn)| {
            let hit = draw.chance(0.5);
            (hit || index as u64 == sure).then_some(conn)
        };
        all.into_iter().enumerate().filter_map(chosen).collect()
    }
}

/// The connections of a node and which side of each it is.
fn connections(fabric: &Fabric, node: u64) -> Vec<(u64, usize)> {
    let mut found = Vec::new();
    for (id, conn) in &fabric.conns {
        let side = conn.sides.iter().position(|side| side.incarnation.node == node && !side.gone);
        found.extend(side.map(|side| (*id, side)));
    }
    found
}
