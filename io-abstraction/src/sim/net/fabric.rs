//! The state of the whole network, and what happens to it when a node goes down or comes up.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::sim::core::Core;
use crate::sim::net::datagram::Socket;
use crate::sim::net::is_own;
use crate::sim::net::link::{Link, LinkConfig};
use crate::sim::net::listener::Listening;
use crate::sim::net::middlebox::Middlebox;
use crate::sim::net::stream::{Conn, deliver, reset_arrives, reset_later};
use crate::sim::node::node_ip;

/// The first port that port 0 takes.
const EPHEMERAL_PORT_MIN: u16 = 49_152;

/// A node and a port of it.
pub(crate) type Port = (u64, u16);

/// All links, sockets and connections.
pub(crate) struct Fabric {
    seed: u64,
    /// What links are made of that have no configuration of their own yet.
    pub(crate) default_config: LinkConfig,
    links: BTreeMap<(u64, u64), Link>,
    pub(crate) listeners: BTreeMap<Port, Listening>,
    pub(crate) sockets: BTreeMap<Port, Socket>,
    pub(crate) conns: BTreeMap<u64, Conn>,
    pub(crate) middlebox: Option<Middlebox>,
    /// Whose address a node has, if not its own.
    moved: BTreeMap<u64, u64>,
    conn_count: u64,
    next_ports: BTreeMap<u64, u16>,
}

impl Fabric {
    pub(crate) fn new(seed: u64) -> Fabric {
        Fabric {
            seed,
            default_config: LinkConfig::default(),
            links: BTreeMap::new(),
            listeners: BTreeMap::new(),
            sockets: BTreeMap::new(),
            conns: BTreeMap::new(),
            middlebox: None,
            moved: BTreeMap::new(),
            conn_count: 0,
            next_ports: BTreeMap::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.listeners.clear();
        self.sockets.clear();
        self.conns.clear();
        self.middlebox = None;
    }

    /// The address of a node.
    pub(crate) fn ip_of(&self, node: u64) -> Ipv4Addr {
        node_ip(self.moved.get(&node).copied().unwrap_or(node))
    }

    /// The id of the node at `ip`, asked by `node`, and whether it has taken another's place.
    pub(crate) fn node_at(&self, ip: IpAddr, node: u64) -> Option<(u64, bool)> {
        let number = match ip {
            ip if is_own(ip) => return Some((node, false)),
            IpAddr::V4(ip) => match ip.octets() {
                [10, 0, high, low] => u64::from(high) << 8 | u64::from(low),
                _ => return None,
            },
            IpAddr::V6(_) => return None,
        };
        let taker = self.moved.iter().find(|(_, address)| **address == number);
        Some(taker.map_or((number, false), |(node, _)| (*node, true)))
    }

    /// Each of two nodes has the other's address from now on.
    pub(crate) fn swap_addresses(&mut self, one: u64, other: u64) {
        let mut address = |node: u64| self.moved.remove(&node).unwrap_or(node);
        let (first, second) = (address(one), address(other));
        let changed = [(one, second), (other, first)];
        self.moved.extend(changed.into_iter().filter(|(node, address)| node != address));
    }

    /// `AddrNotAvailable` unless `node` may bind to `ip`.
    pub(crate) fn check_bindable(&self, ip: IpAddr, node: u64) -> io::Result<()> {
        if is_own(ip) || ip == IpAddr::V4(self.ip_of(node)) {
            return Ok(());
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    pub(crate) fn link(&mut self, from: u64, to: u64) -> &mut Link {
        let (seed, config) = (self.seed, &self.default_config);
        self.links.entry((from, to)).or_insert_with(|| Link::new(seed, (from, to), config.clone()))
    }

    /// Every link between two nodes that was used or set so far.
    pub(crate) fn links_between_nodes(&mut self) -> impl Iterator<Item = (&(u64, u64), &mut Link)> {
        self.links.iter_mut().filter(|((from, to), _)| from != to)
    }

    pub(crate) fn next_conn(&mut self) -> u64 {
        self.conn_count += 1;
        self.conn_count
    }

    /// A port of `node` that nothing is bound to.
    pub(crate) fn free_port(&mut self, node: u64) -> io::Result<u16> {
        for _ in EPHEMERAL_PORT_MIN..=u16::MAX {
            let next = self.next_ports.entry(node).or_insert(EPHEMERAL_PORT_MIN);
            let port = *next;
            *next = port.checked_add(1).unwrap_or(EPHEMERAL_PORT_MIN);
            let key = (node, port);
            if !self.listeners.contains_key(&key) && !self.sockets.contains_key(&key) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// A node's process is dead: its sockets are gone; peers are told by resets, or (`silent`, after a
/// power cut) not at all.
pub(crate) fn process_gone(core: &Arc<Core>, node: u64, silent: bool) {
    let mut fabric = core.net.lock();
    fabric.listeners.retain(|port, _| port.0 != node);
    fabric.sockets.retain(|port, _| port.0 != node);
    let mut told = Vec::new();
    for (id, conn) in &mut fabric.conns {
        for side in 0..2 {
            if conn.sides[side].incarnation.node != node {
                continue;
            }
            if silent {
                conn.pipes[side].forget_held();
            }
            if !std::mem::replace(&mut conn.sides[side].gone, true) {
                told.push((*id, 1 - side));
            }
        }
    }
    fabric.conns.retain(|_, conn| conn.sides.iter().any(|side| !side.gone));
    drop(fabric);
    if !silent {
        for (conn, side) in told {
            reset_later(core, conn, side);
        }
    }
}

/// A node is up again: what peers send again to its dead connections is now answered by resets.
pub(crate) fn node_booted(core: &Arc<Core>, node: u64) {
    resend(core, |_, to| to == node);
}

/// Sends again, after a while, what was held on its way over the links that `chosen` names.
pub(crate) fn resend(core: &Arc<Core>, chosen: impl Fn(u64, u64) -> bool) {
    let mut fabric = core.net.lock();
    let mut held = Vec::new();
    for (id, conn) in &mut fabric.conns {
        for side in 0..2 {
            let link = conn.ends(side);
            let pipe = &mut conn.pipes[side];
            if (pipe.held_since_ns.is_some() || pipe.reset_held) && chosen(link.0, link.1) {
                pipe.held_since_ns = None;
                held.push((*id, side, link, std::mem::take(&mut pipe.reset_held)));
            }
        }
    }
    let delayed: Vec<(u64, usize, bool, Duration)> = held
        .into_iter()
        .map(|(id, side, link, resets)| {
            (id, side, resets, fabric.link(link.0, link.1).retry_delay())
        })
        .collect();
    drop(fabric);
    for (id, side, resets, delay) in delayed {
        let event = move |core: &Arc<Core>| match resets {
            true => reset_arrives(core, id, 1 - side),
            false => deliver(core, id, side),
        };
        core.timers.after(delay, Box::new(event));
    }
}
