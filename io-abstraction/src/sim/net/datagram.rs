//! Datagram sockets: each datagram travels alone, and may be lost, repeated or overtaken.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use crate::sim::core::Core;
use crate::sim::incarnation::Incarnation;
use crate::sim::net::Waiting;
use crate::sim::net::fabric::Port;

/// Datagrams that wait for `recv_from`; what comes on top is lost.
const QUEUE_MAX: usize = 256;
/// The longest datagram over IPv4.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// A datagram socket's state.
pub(crate) struct Socket {
    incarnation: Arc<Incarnation>,
    queue: VecDeque<(Bytes, SocketAddr)>,
    waiting: Waiting,
}

/// A simulated datagram socket.
pub struct SimDatagram {
    incarnation: Arc<Incarnation>,
    addr: SocketAddr,
}

impl SimDatagram {
    pub(crate) fn bind(
        incarnation: &Arc<Incarnation>,
        addr: SocketAddr,
    ) -> io::Result<SimDatagram> {
        incarnation.check()?;
        let node = incarnation.node;
        let mut fabric = incarnation.core.net.lock();
        fabric.check_bindable(addr.ip(), node)?;
        let port = if addr.port() == 0 { fabric.free_port(node)? } else { addr.port() };
        if fabric.sockets.contains_key(&(node, port)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (queue, waiting) = (VecDeque::new(), Waiting::default());
        let socket = Socket { incarnation: incarnation.clone(), queue, waiting };
        fabric.sockets.insert((node, port), socket);
        drop(fabric);
        incarnation.held.datagrams.fetch_add(1, Relaxed);
        Ok(SimDatagram { incarnation: incarnation.clone(), addr: SocketAddr::new(addr.ip(), port) })
    }

    fn port(&self) -> Port {
        (self.incarnation.node, self.addr.port())
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.incarnation.check()?;
        Ok(self.addr)
    }

    pub(crate) async fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        self.incarnation.check()?;
        if data.len() > DATAGRAM_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let from = self.incarnation.node;
        let fabric = self.incarnation.core.net.lock();
        let (found, own_ip) = (fabric.node_at(to.ip(), from), fabric.ip_of(from));
        drop(fabric);
        let Some((node, is_taken)) = found else { return Ok(()) };
        if is_taken {
            self.incarnation.core.fault(node, "N11", from);
        }
        let own_ip = if to.ip().is_loopback() { to.ip() } else { IpAddr::V4(own_ip) };
        let sender = SocketAddr::new(own_ip, self.addr.port());
        let flight = Flight { data: Bytes::copy_from_slice(data), sender, from };
        launch(&self.incarnation.core, flight, (node, to.port()));
        Ok(())
    }

    pub(crate) async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| {
            if let Err(error) = self.incarnation.check() {
                return Poll::Ready(Err(error));
            }
            let mut fabric = self.incarnation.core.net.lock();
            let Some(socket) = fabric.sockets.get_mut(&self.port()) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let Some((data, sender)) = socket.queue.pop_front() else {
                socket.waiting.add(cx.waker());
                return Poll::Pending;
            };
            let count = data.len().min(buf.len());
            buf[..count].copy_from_slice(&data[..count]);
            Poll::Ready(Ok((count, sender)))
        })
        .await
    }
}

impl Drop for SimDatagram {
    fn drop(&mut self) {
        self.incarnation.held.datagrams.fetch_sub(1, Relaxed);
        if self.incarnation.is_alive() {
            let socket = self.incarnation.core.net.lock().sockets.remove(&self.port());
            drop(socket);
        }
    }
}

/// A datagram on its way.
#[derive(Clone)]
struct Flight {
    data: Bytes,
    sender: SocketAddr,
    from: u64,
}

/// Draws the fate of a datagram, and sends it on its way.
fn launch(core: &Arc<Core>, flight: Flight, to: Port) {
    let (from, now_ns) = (flight.from, core.timers.now_ns());
    let mut fabric = core.net.lock();
    let link = fabric.link(from, to.0);
    let transit = link.transit(now_ns, flight.data.len());
    let lost = link.loss.chance(link.config.loss);
    let doubled = link.duplicate.chance(link.config.duplicate);
    let delay_max_ms = u64::try_from(link.config.duplicate_delay_max.as_millis()).unwrap_or(0);
    let late_ms = link.duplicate.between(0, delay_max_ms);
    let arrives_ns = now_ns + transit.queued_ns + transit.latency_ns;
    let overtakes = !lost && arrives_ns < link.last_datagram_ns;
    link.last_datagram_ns = link.last_datagram_ns.max(arrives_ns);
    drop(fabric);
    let delay = Duration::from_nanos(arrives_ns - now_ns);
    let effects = [("N1", lost), ("N2", doubled), ("N3", overtakes), ("N4", transit.is_late)];
    for (kind, _) in effects.into_iter().filter(|(_, happened)| *happened) {
        core.fault(from, kind, to.0);
    }
    if doubled {
        let copy = flight.clone();
        let later = delay + Duration::from_millis(late_ms);
        core.timers.after(later, Box::new(move |core| land(core, copy, to)));
    }
    if !lost {
        core.timers.after(delay, Box::new(move |core| land(core, flight, to)));
    }
}

fn land(core: &Arc<Core>, flight: Flight, to: Port) {
    let mut fabric = core.net.lock();
    if let Some(kind) = fabric.link(flight.from, to.0).blocked {
        drop(fabric);
        core.fault(flight.from, kind, to.0);
        return;
    }
    let Some(socket) = fabric.sockets.get_mut(&to) else { return };
    if socket.queue.len() >= QUEUE_MAX {
        return;
    }
    let bytes = flight.data.len() as u64;
    socket.queue.push_back((flight.data, flight.sender));
    socket.incarnation.progress();
    let waiting = socket.waiting.take();
    drop(fabric);
    core.event(to.0, "net.datagram", flight.from, bytes);
    waiting.into_iter().for_each(Waker::wake);
}
