//! Sockets on tokio's I/O driver.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::pin;

use bytes::BytesMut;
use rustix::net::Shutdown;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::runtime::Handle;

use crate::net::{NetOps, ReadOps, Stream, StreamReader, StreamWriter, WriteOps};

/// Connections that the kernel keeps for `accept`; it caps this at `net.core.somaxconn`.
const BACKLOG: u32 = 1024;

/// The machine's network, driven by one runtime.
#[derive(Clone)]
pub struct RealNet {
    handle: Handle,
}

/// A listening TCP socket.
pub struct RealListener {
    listener: TcpListener,
}

/// The receiving half of a TCP connection.
pub struct RealReader {
    half: OwnedReadHalf,
}

/// The sending half of a TCP connection.
pub struct RealWriter {
    /// `None` only while it is dropped.
    half: Option<OwnedWriteHalf>,
}

/// A UDP socket.
pub struct RealDatagram {
    socket: UdpSocket,
}

impl RealNet {
    /// Sockets on the runtime of the caller.
    pub(crate) fn current() -> RealNet {
        RealNet { handle: Handle::current() }
    }

    /// Polls `future` as if on the node's runtime: a new socket registers with the runtime that it
    /// finds, and that of a dedicated thread has no I/O driver.
    async fn on_runtime<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let _entered = self.handle.enter();
            future.as_mut().poll(cx)
        })
        .await
    }
}

impl NetOps for RealNet {
    type Listener = RealListener;
    type Stream = Stream;
    type Datagram = RealDatagram;

    async fn listen(&self, addr: SocketAddr) -> io::Result<RealListener> {
        let _entered = self.handle.enter();
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart must not wait for connections of the last process to leave TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        Ok(RealListener { listener: socket.listen(BACKLOG)? })
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = self.on_runtime(tokio::net::lookup_host((host, port))).await?;
        Ok(found.collect())
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        let stream = self.on_runtime(TcpStream::connect(addr)).await?;
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        if local == peer {
            // TCP's simultaneous open: nobody listens there, and the kernel drew that same port.
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        split(stream, local, peer)
    }

    async fn bind_datagram(&self, addr: SocketAddr) -> io::Result<RealDatagram> {
        let socket = self.on_runtime(UdpSocket::bind(addr)).await?;
        Ok(RealDatagram { socket })
    }
}

fn split(stream: TcpStream, local: SocketAddr, peer: SocketAddr) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let reader = StreamReader::Real(RealReader { half: reader });
    let writer = StreamWriter::Real(RealWriter { half: Some(writer) });
    Ok(Stream { reader, writer, peer, local })
}

impl RealListener {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        let (stream, peer) = self.listener.accept().await?;
        let local = stream.local_addr()?;
        split(stream, local, peer)
    }
}

impl ReadOps for RealReader {
    async fn read(&mut self, buf: &mut BytesMut) -> io::Result<usize> {
        if buf.capacity() == buf.len() {
            // Read into nothing, tokio would answer 0, which means the end of the stream.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.half.read_buf(buf).await
    }
}

impl RealWriter {
    fn half(&self) -> &OwnedWriteHalf {
        self.half.as_ref().expect("the half is taken only in drop")
    }
}

impl WriteOps for RealWriter {
    fn try_write_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.half().try_write_vectored(data)
    }

    async fn writable(&self) -> io::Result<()> {
        self.half().writable().await
    }

    fn shutdown(&self) -> io::Result<()> {
        let stream: &TcpStream = self.half().as_ref();
        Ok(rustix::net::shutdown(stream, Shutdown::Write)?)
    }
}

impl Drop for RealWriter {
    fn drop(&mut self) {
        // A dropped `OwnedWriteHalf` would end this side at once; the contract ends it when both
        // halves are gone.
        if let Some(half) = self.half.take() {
            half.forget();
        }
    }
}

impl RealDatagram {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) async fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket.send_to(data, to).await.map(drop)
    }

    pub(crate) async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buf).await
    }
}
