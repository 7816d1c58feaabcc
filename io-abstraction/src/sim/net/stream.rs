//! Connections: two pipes with bounded buffers, whose bytes arrive in order or whose ends fail.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use crate::net::{ReadOps, Stream, StreamReader, StreamWriter, WriteOps};
use crate::sim::core::Core;
use crate::sim::incarnation::Incarnation;
use crate::sim::net::Waiting;
use crate::sim::net::link::Transit;
use crate::sim::net::middlebox::Passing;
use crate::sim::net::pipe::{Pipe, Segment};

/// A connection between two ends; `pipes[n]` carries what side `n` sends.
pub(crate) struct Conn {
    pub(crate) sides: [Side; 2],
    pub(crate) pipes: [Pipe; 2],
}

/// One end of a connection.
pub(crate) struct Side {
    pub(crate) incarnation: Arc<Incarnation>,
    pub(crate) local: SocketAddr,
    /// The machine does not know this end (any more): it answers segments with a reset.
    pub(crate) gone: bool,
    failed: Option<io::ErrorKind>,
    reader: Option<Waker>,
    writers: Waiting,
}

impl Side {
    pub(crate) fn new(incarnation: Arc<Incarnation>, local: SocketAddr) -> Side {
        Side {
            incarnation,
            local,
            gone: false,
            failed: None,
            reader: None,
            writers: Waiting::default(),
        }
    }

    fn wakers(&mut self) -> Vec<Waker> {
        let mut wakers = self.writers.take();
        wakers.extend(self.reader.take());
        self.incarnation.progress();
        wakers
    }
}

impl Conn {
    /// The nodes between which side `side` sends.
    pub(crate) fn ends(&self, side: usize) -> (u64, u64) {
        (self.sides[side].incarnation.node, self.sides[1 - side].incarnation.node)
    }

    /// Ends the connection for one side; whom to wake.
    pub(crate) fn fail(&mut self, side: usize, kind: io::ErrorKind) -> Vec<Waker> {
        self.pipes[side].drop_content();
        self.pipes[1 - side].drop_content();
        let end = &mut self.sides[side];
        end.failed.get_or_insert(kind);
        end.gone = true;
        end.wakers()
    }

    fn over(&self) -> bool {
        self.sides.iter().all(|side| side.gone)
    }
}

/// Puts bytes (or, if empty, the end) on their way from a side; when they arrive.
fn post(core: &Arc<Core>, conn_id: u64, side: usize, data: Bytes) {
    let now_ns = core.timers.now_ns();
    let mut fabric = core.net.lock();
    let Some((from, to)) = fabric.conns.get(&conn_id).map(|conn| conn.ends(side)) else { return };
    let changed = fabric
        .middlebox
        .as_mut()
        .and_then(|middlebox| middlebox(&Passing { conn: conn_id, from, to, data: &data }));
    let is_changed = changed.is_some();
    let data = changed.unwrap_or(data);
    let transit = fabric.link(from, to).transit(now_ns, data.len());
    let Some(conn) = fabric.conns.get_mut(&conn_id) else { return };
    let pipe = &mut conn.pipes[side];
    let arrives_ns = (now_ns + transit.queued_ns + transit.latency_ns).max(pipe.last_arrival_ns);
    pipe.last_arrival_ns = arrives_ns;
    pipe.in_flight_bytes += data.len();
    pipe.in_flight.push_back(Segment { arrives_ns, data });
    drop(fabric);
    note_transit(core, from, &transit);
    if is_changed {
        core.fault(from, "N10", conn_id);
    }
    let delay = Duration::from_nanos(arrives_ns - now_ns);
    core.timers.after(delay, Box::new(move |core| deliver(core, conn_id, side)));
}

fn note_transit(core: &Core, from: u64, transit: &Transit) {
    if transit.is_late {
        core.fault(from, "N4", transit.latency_ns / 1_000_000);
    }
    if transit.queued_ns > 10_000_000 {
        core.fault(from, "N9", transit.queued_ns / 1_000_000);
    }
}

/// What becomes of the segments that should have arrived by now.
enum Arrival {
    Nothing,
    /// Nothing gets through, because of a fault or because there is no power; the sender gives up
    /// after the delay if that stays so.
    Held(Duration, Option<&'static str>),
    Refused,
    /// Another node has that address now, and knows of no such connection.
    Stranger,
    Delivered {
        bytes: usize,
        wakers: Vec<Waker>,
    },
}

/// Lets what side `side` sent arrive.
pub(crate) fn deliver(core: &Arc<Core>, conn_id: u64, side: usize) {
    let now_ns = core.timers.now_ns();
    let (arrival, from, to) = {
        let mut fabric = core.net.lock();
        let Some(conn) = fabric.conns.get(&conn_id) else { return };
        let (from, to) = conn.ends(side);
        let reached = fabric.node_at(conn.sides[1 - side].local.ip(), to);
        let reached = reached.map_or(to, |(node, _)| node);
        let node = core.nodes.lock().get(&reached).cloned();
        let unpowered = node.is_none_or(|node| !node.is_powered());
        let link = fabric.link(from, reached);
        let is_silent = link.blocked.is_some() || unpowered;
        let silent = is_silent.then(|| (link.give_up_delay(), link.blocked));
        let Some(conn) = fabric.conns.get_mut(&conn_id) else { return };
        match (reached == to, silent) {
            (false, None) => (Arrival::Stranger, from, reached),
            _ => (arrival(conn, side, now_ns, silent), from, to),
        }
    };
    match arrival {
        Arrival::Nothing => {}
        Arrival::Held(delay, kind) => {
            if let Some(kind) = kind {
                core.fault(from, kind, conn_id);
            }
            let event = move |core: &Arc<Core>| give_up(core, (conn_id, side), now_ns);
            core.timers.after(delay, Box::new(event));
        }
        Arrival::Refused => reset_later(core, conn_id, side),
        Arrival::Stranger => {
            core.fault(to, "N11", conn_id);
            reset_later(core, conn_id, side);
        }
        Arrival::Delivered { bytes, wakers } => {
            core.event(to, "net.deliver", conn_id, bytes as u64);
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

fn arrival(
    conn: &mut Conn,
    side: usize,
    now_ns: u64,
    silent: Option<(Duration, Option<&'static str>)>,
) -> Arrival {
    let pipe = &mut conn.pipes[side];
    if pipe.held_since_ns.is_some() || pipe.in_flight.front().is_none_or(|s| s.arrives_ns > now_ns)
    {
        return Arrival::Nothing;
    }
    if let Some((delay, kind)) = silent {
        pipe.held_since_ns = Some(now_ns);
        return Arrival::Held(delay, kind);
    }
    if conn.sides[1 - side].gone {
        return Arrival::Refused;
    }
    let (bytes, ended) = pipe.arrive(now_ns);
    if bytes == 0 && !ended {
        return Arrival::Nothing;
    }
    let mut wakers = conn.sides[1 - side].wakers();
    wakers.extend(conn.sides[side].wakers());
    Arrival::Delivered { bytes, wakers }
}

/// The sender has sent again and again since `since_ns` without an answer.
fn give_up(core: &Arc<Core>, (conn_id, side): (u64, usize), since_ns: u64) {
    let mut fabric = core.net.lock();
    let Some(conn) = fabric.conns.get_mut(&conn_id) else { return };
    if conn.pipes[side].held_since_ns != Some(since_ns) {
        return;
    }
    let wakers = conn.fail(side, io::ErrorKind::TimedOut);
    forget_if_over(&mut fabric.conns, conn_id);
    drop(fabric);
    wakers.into_iter().for_each(Waker::wake);
}

fn forget_if_over(conns: &mut std::collections::BTreeMap<u64, Conn>, conn_id: u64) {
    if conns.get(&conn_id).is_some_and(Conn::over) {
        conns.remove(&conn_id);
    }
}

/// A reset travels to `side`, behind what was sent to it.
pub(crate) fn reset_later(core: &Arc<Core>, conn_id: u64, side: usize) {
    let now_ns = core.timers.now_ns();
    let mut fabric = core.net.lock();
    let Some((from, to)) = fabric.conns.get(&conn_id).map(|conn| conn.ends(1 - side)) else {
        return;
    };
    let latency_ns = fabric.link(from, to).transit(now_ns, 0).latency_ns;
    let Some(conn) = fabric.conns.get(&conn_id) else { return };
    let last_ns = conn.pipes[1 - side].last_arrival_ns;
    drop(fabric);
    let delay = Duration::from_nanos(latency_ns.max(last_ns.saturating_sub(now_ns)));
    core.timers.after(delay, Box::new(move |core| reset_arrives(core, conn_id, side)));
}

/// A reset has come to `side`, unless its link is blocked: then it waits for that to end.
pub(crate) fn reset_arrives(core: &Arc<Core>, conn_id: u64, side: usize) {
    let mut fabric = core.net.lock();
    let Some((from, to)) = fabric.conns.get(&conn_id).map(|conn| conn.ends(1 - side)) else {
        return;
    };
    let Some(kind) = fabric.link(from, to).blocked else {
        drop(fabric);
        return reset_now(core, conn_id, side);
    };
    if let Some(conn) = fabric.conns.get_mut(&conn_id) {
        conn.pipes[1 - side].reset_held = true;
    }
    drop(fabric);
    core.fault(from, kind, conn_id);
}

/// One side sees the connection reset, now.
pub(crate) fn reset_now(core: &Arc<Core>, conn_id: u64, side: usize) {
    let mut fabric = core.net.lock();
    let Some(conn) = fabric.conns.get_mut(&conn_id) else { return };
    if conn.sides[side].gone {
        return;
    }
    let node = conn.sides[side].incarnation.node;
    let wakers = conn.fail(side, io::ErrorKind::ConnectionReset);
    forget_if_over(&mut fabric.conns, conn_id);
    drop(fabric);
    core.event(node, "net.reset", conn_id, side as u64);
    wakers.into_iter().for_each(Waker::wake);
}

/// One end of a connection in a process; its last half that is dropped closes it.
struct End {
    incarnation: Arc<Incarnation>,
    conn: u64,
    side: usize,
}

/// The stream of side `side` of a connection, and the addresses of its ends.
pub(crate) fn open_end(
    incarnation: &Arc<Incarnation>,
    (conn, side): (u64, usize),
    local: SocketAddr,
    peer: SocketAddr,
) -> Stream {
    incarnation.held.streams.fetch_add(1, Relaxed);
    let end = Arc::new(End { incarnation: incarnation.clone(), conn, side });
    let reader = StreamReader::Sim(SimReader { end: end.clone() });
    Stream { reader, writer: StreamWriter::Sim(SimWriter { end }), peer, local }
}

impl Drop for End {
    fn drop(&mut self) {
        self.incarnation.held.streams.fetch_sub(1, Relaxed);
        if !self.incarnation.is_alive() {
            return;
        }
        let core = self.incarnation.core.clone();
        let mut fabric = core.net.lock();
        let Some(conn) = fabric.conns.get_mut(&self.conn) else { return };
        let was_gone = std::mem::replace(&mut conn.sides[self.side].gone, true);
        let unread = conn.pipes[1 - self.side].received_bytes > 0;
        let ended = std::mem::replace(&mut conn.pipes[self.side].ended, true);
        if was_gone || conn.over() {
            forget_if_over(&mut fabric.conns, self.conn);
            return;
        }
        drop(fabric);
        if unread {
            // As a kernel does: the peer must learn that its bytes were not read.
            reset_later(&core, self.conn, 1 - self.side);
        } else if !ended {
            post(&core, self.conn, self.side, Bytes::new());
        }
    }
}

/// The receiving half of a simulated stream.
pub struct SimReader {
    end: Arc<End>,
}

/// The sending half of a simulated stream.
pub struct SimWriter {
    end: Arc<End>,
}

impl End {
    /// Runs `use_conn` on the connection; an error if this end of it is dead or has failed.
    fn with<T>(&self, use_conn: impl FnOnce(&mut Conn) -> io::Result<T>) -> io::Result<T> {
        self.incarnation.check()?;
        let mut fabric = self.incarnation.core.net.lock();
        let conn = fabric.conns.get_mut(&self.conn).ok_or(io::ErrorKind::ConnectionReset)?;
        match conn.sides[self.side].failed {
            Some(kind) => Err(kind.into()),
            None => use_conn(conn),
        }
    }

    fn try_read(&self, buf: &mut BytesMut, waker: &Waker) -> Poll<io::Result<usize>> {
        let spare = buf.capacity() - buf.len();
        if spare == 0 {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        let result = self.with(|conn| {
            let pipe = &mut conn.pipes[1 - self.side];
            let Some(first) = pipe.received.front_mut() else {
                if pipe.end_received {
                    return Ok(Some((0, false)));
                }
                conn.sides[self.side].reader = Some(waker.clone());
                return Ok(None);
            };
            let count = first.len().min(spare);
            buf.extend_from_slice(&first[..count]);
            first.advance(count);
            if first.is_empty() {
                pipe.received.pop_front();
            }
            pipe.received_bytes -= count;
            Ok(Some((count, !pipe.in_flight.is_empty())))
        });
        match result {
            Ok(None) => Poll::Pending,
            Ok(Some((count, more))) => {
                if more {
                    deliver(&self.incarnation.core, self.conn, 1 - self.side);
                }
                Poll::Ready(Ok(count))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl SimReader {
    pub(crate) fn keeps_peer_waiting(&self) -> bool {
        let (own, peer) = (self.end.side, 1 - self.end.side);
        let waits = self.end.with(|conn| {
            let is_full = conn.pipes[peer].room() == 0 && !conn.pipes[peer].received.is_empty();
            Ok(is_full && !conn.sides[own].gone && conn.sides[peer].writers.is_waiting())
        });
        waits.unwrap_or(false)
    }
}

impl ReadOps for SimReader {
    async fn read(&mut self, buf: &mut BytesMut) -> io::Result<usize> {
        poll_fn(|cx| self.end.try_read(buf, cx.waker())).await
    }
}

impl WriteOps for SimWriter {
    fn try_write_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let wanted: usize = data.iter().map(|piece| piece.len()).sum();
        let count = self.end.with(|conn| {
            let pipe = &conn.pipes[self.end.side];
            match (pipe.ended, pipe.room().min(wanted)) {
                (true, _) => Err(io::ErrorKind::BrokenPipe.into()),
                (false, 0) if wanted > 0 => Err(io::ErrorKind::WouldBlock.into()),
                (false, count) => Ok(count),
            }
        })?;
        if count == 0 {
            return Ok(0);
        }
        let mut taken = BytesMut::with_capacity(count);
        for piece in data {
            let left = count - taken.len();
            taken.extend_from_slice(&piece[..piece.len().min(left)]);
        }
        post(&self.end.incarnation.core, self.end.conn, self.end.side, taken.freeze());
        Ok(count)
    }

    async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let result = self.end.with(|conn| {
                if conn.pipes[self.end.side].room() > 0 {
                    return Ok(Poll::Ready(()));
                }
                conn.sides[self.end.side].writers.add(cx.waker());
                Ok(Poll::Pending)
            });
            match result {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
                Err(error) => Poll::Ready(Err(error)),
            }
        })
        .await
    }

    fn shutdown(&self) -> io::Result<()> {
        let ended = self
            .end
            .with(|conn| Ok(std::mem::replace(&mut conn.pipes[self.end.side].ended, true)))?;
        if !ended {
            post(&self.end.incarnation.core, self.end.conn, self.end.side, Bytes::new());
        }
        Ok(())
    }
}
