//! Listening sockets, and the way to connect to them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::net::Stream;
use crate::sim::core::Core;
use crate::sim::incarnation::Incarnation;
use crate::sim::net::fabric::Port;
use crate::sim::net::pipe::Pipe;
use crate::sim::net::stream::{Conn, Side, open_end, reset_later};
use crate::sim::net::{Waiting, is_own};
use crate::sim::timer::Sleep;

/// Connections that wait for `accept`; what comes on top gets no answer and is tried again.
const BACKLOG_MAX: usize = 128;
/// How long an unanswered connect goes on: Linux's 1 + 2 + 4 + … + 64 s.
const CONNECT_GIVE_UP: Duration = Duration::from_secs(127);

/// A listening socket's state.
pub(crate) struct Listening {
    incarnation: Arc<Incarnation>,
    loopback_only: bool,
    queue: VecDeque<u64>,
    waiting: Waiting,
}

/// A simulated listening socket.
pub struct SimListener {
    incarnation: Arc<Incarnation>,
    addr: SocketAddr,
}

impl SimListener {
    pub(crate) fn bind(
        incarnation: &Arc<Incarnation>,
        addr: SocketAddr,
    ) -> io::Result<SimListener> {
        incarnation.check()?;
        let node = incarnation.node;
        let mut fabric = incarnation.core.net.lock();
        fabric.check_bindable(addr.ip(), node)?;
        let port = if addr.port() == 0 { fabric.free_port(node)? } else { addr.port() };
        if fabric.listeners.contains_key(&(node, port)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let listening = Listening {
            incarnation: incarnation.clone(),
            loopback_only: addr.ip().is_loopback(),
            queue: VecDeque::new(),
            waiting: Waiting::default(),
        };
        fabric.listeners.insert((node, port), listening);
        drop(fabric);
        incarnation.held.listeners.fetch_add(1, Relaxed);
        incarnation.core.event(node, "net.listen", u64::from(port), 0);
        Ok(SimListener { incarnation: incarnation.clone(), addr: SocketAddr::new(addr.ip(), port) })
    }

    fn port(&self) -> Port {
        (self.incarnation.node, self.addr.port())
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.incarnation.check()?;
        Ok(self.addr)
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        poll_fn(|cx| self.try_accept(cx.waker())).await
    }

    fn try_accept(&self, waker: &Waker) -> Poll<io::Result<Stream>> {
        self.incarnation.check()?;
        let mut fabric = self.incarnation.core.net.lock();
        let fabric = &mut *fabric;
        let listening =
            fabric.listeners.get_mut(&self.port()).ok_or(io::ErrorKind::NotConnected)?;
        while let Some(id) = listening.queue.pop_front() {
            // One that ended while it waited is passed over, as Linux does.
            if let Some(conn) = fabric.conns.get(&id).filter(|conn| !conn.sides[1].gone) {
                let (local, peer) = (conn.sides[1].local, conn.sides[0].local);
                return Poll::Ready(Ok(open_end(&self.incarnation, (id, 1), local, peer)));
            }
        }
        listening.waiting.add(waker);
        Poll::Pending
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.incarnation.held.listeners.fetch_sub(1, Relaxed);
        if !self.incarnation.is_alive() {
            return;
        }
        let core = self.incarnation.core.clone();
        let Some(listening) = core.net.lock().listeners.remove(&self.port()) else { return };
        for conn in listening.queue {
            if let Some(conn) = core.net.lock().conns.get_mut(&conn) {
                conn.sides[1].gone = true;
            }
            reset_later(&core, conn, 0);
        }
    }
}

/// What the first segment of a connection met.
enum Answer {
    Refused,
    Silence,
    Connected { conn: u64, waiting: Vec<Waker> },
}

/// Connects from a node to `addr`.
pub(crate) async fn connect(
    incarnation: &Arc<Incarnation>,
    addr: SocketAddr,
) -> io::Result<Stream> {
    incarnation.check()?;
    let core = &incarnation.core;
    let from = incarnation.node;
    let local = {
        let mut fabric = core.net.lock();
        let own_ip = IpAddr::V4(fabric.ip_of(from));
        let local_ip = if addr.ip().is_loopback() { addr.ip() } else { own_ip };
        SocketAddr::new(local_ip, fabric.free_port(from)?)
    };
    let give_up_ns = core.timers.now_ns() + CONNECT_GIVE_UP.as_nanos() as u64;
    let mut backoff = Duration::from_secs(1);
    loop {
        let found = core.net.lock().node_at(addr.ip(), from);
        if let Some((to, is_taken)) = found {
            if is_taken {
                core.fault(to, "N11", from);
            }
            travel(incarnation, from, to).await?;
            match knock(core, incarnation, (local, addr), to) {
                Answer::Refused => {
                    travel(incarnation, to, from).await?;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Answer::Connected { conn, waiting } => {
                    let stream = open_end(incarnation, (conn, 0), local, addr);
                    waiting.into_iter().for_each(Waker::wake);
                    travel(incarnation, to, from).await?;
                    return Ok(stream);
                }
                Answer::Silence => core.fault(from, "N8", to),
            }
        }
        let left_ns = give_up_ns.saturating_sub(core.timers.now_ns());
        if left_ns == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let pause = backoff.min(Duration::from_nanos(left_ns));
        Sleep::new(incarnation.clone(), pause).await;
        incarnation.check()?;
        backoff *= 2;
    }
}

async fn travel(incarnation: &Arc<Incarnation>, from: u64, to: u64) -> io::Result<()> {
    let core = &incarnation.core;
    let latency_ns = core.net.lock().link(from, to).transit(core.timers.now_ns(), 0).latency_ns;
    Sleep::new(incarnation.clone(), Duration::from_nanos(latency_ns)).await;
    incarnation.check()
}

fn knock(
    core: &Arc<Core>,
    client: &Arc<Incarnation>,
    (local, addr): (SocketAddr, SocketAddr),
    to: u64,
) -> Answer {
    let from = client.node;
    let mut fabric = core.net.lock();
    if fabric.link(from, to).blocked.or(fabric.link(to, from).blocked).is_some() {
        return Answer::Silence;
    }
    let sizes = |config: &crate::sim::net::LinkConfig| {
        Pipe::new(config.send_buffer_bytes, config.receive_buffer_bytes)
    };
    let pipes = [sizes(&fabric.link(from, to).config), sizes(&fabric.link(to, from).config)];
    let (id, own_ip) = (fabric.next_conn(), IpAddr::V4(fabric.ip_of(to)));
    let Some(listening) = fabric.listeners.get_mut(&(to, addr.port())) else {
        return Answer::Refused;
    };
    if listening.loopback_only && !is_own(addr.ip()) {
        return Answer::Refused;
    }
    if listening.queue.len() >= BACKLOG_MAX {
        return Answer::Silence;
    }
    listening.queue.push_back(id);
    let waiting = listening.waiting.take();
    listening.incarnation.progress();
    let server_ip = if addr.ip().is_unspecified() { own_ip } else { addr.ip() };
    let server_addr = SocketAddr::new(server_ip, addr.port());
    let server = Side::new(listening.incarnation.clone(), server_addr);
    let sides = [Side::new(client.clone(), local), server];
    fabric.conns.insert(id, Conn { sides, pipes });
    drop(fabric);
    core.event(to, "net.connect", id, from);
    Answer::Connected { conn: id, waiting }
}
