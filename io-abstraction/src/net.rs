//! Streams and datagrams: the contract and the handles that callers hold.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;

use bytes::BytesMut;

use crate::disk::both;

/// The contract of a node's network.
pub trait NetOps {
    type Listener;
    type Stream;
    type Datagram;
    fn listen(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + Send;
    fn connect(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
    fn bind_datagram(
        &self,
        addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::Datagram>> + Send;
}

/// The contract of the receiving half of a stream.
pub trait ReadOps {
    /// Waits for bytes and appends them to `buf`, at most as many as its spare capacity (at least
    /// 1 is needed). 0 means that the peer ended its side. Cancellation loses no byte.
    fn read(&mut self, buf: &mut BytesMut) -> impl Future<Output = io::Result<usize>> + Send;
}

/// The contract of the sending half of a stream; usable from several threads.
pub trait WriteOps {
    /// Writes what fits the send buffer now; `WouldBlock` if nothing does.
    fn try_write_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Returns when a try may succeed, or the stream failed. Spurious returns are allowed.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Ends this side: the peer reads 0 bytes after all that was written.
    fn shutdown(&self) -> io::Result<()>;
}

/// A network of either world.
#[derive(Clone)]
pub enum Net {
    #[doc(hidden)]
    Real(crate::real::net::RealNet),
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    Sim(crate::sim::net::SimNet),
}

/// A listening socket of either world.
pub enum Listener {
    #[doc(hidden)]
    Real(crate::real::net::RealListener),
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    Sim(crate::sim::net::SimListener),
}

/// A connected stream (TCP_NODELAY is set) of either world. Dropping both halves closes it.
pub struct Stream {
    pub reader: StreamReader,
    pub writer: StreamWriter,
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// The receiving half of a stream.
pub enum StreamReader {
    #[doc(hidden)]
    Real(crate::real::net::RealReader),
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    Sim(crate::sim::net::SimReader),
}

/// The sending half of a stream.
pub enum StreamWriter {
    #[doc(hidden)]
    Real(crate::real::net::RealWriter),
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    Sim(crate::sim::net::SimWriter),
}

/// A datagram socket of either world.
pub enum Datagram {
    #[doc(hidden)]
    Real(crate::real::net::RealDatagram),
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    Sim(crate::sim::net::SimDatagram),
}

impl Net {
    /// Listens on `addr`; port 0 takes a free one.
    pub async fn listen(&self, addr: SocketAddr) -> io::Result<Listener> {
        match self {
            Net::Real(net) => net.listen(addr).await.map(Listener::Real),
            #[cfg(feature = "sim")]
            Net::Sim(net) => net.listen(addr).await.map(Listener::Sim),
        }
    }

    /// Connects to `addr`. A black hole answers `TimedOut` only after minutes: bound it.
    pub async fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        both!(self, Net, net => net.connect(addr).await)
    }

    /// The addresses of a host, which may be one itself, in the order in which to try them. In the
    /// simulator there are no names.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        both!(self, Net, net => net.resolve(host, port).await)
    }

    /// Binds a datagram socket; port 0 takes a free one.
    pub async fn bind_datagram(&self, addr: SocketAddr) -> io::Result<Datagram> {
        match self {
            Net::Real(net) => net.bind_datagram(addr).await.map(Datagram::Real),
            #[cfg(feature = "sim")]
            Net::Sim(net) => net.bind_datagram(addr).await.map(Datagram::Sim),
        }
    }
}

impl Listener {
    /// The address that it listens on, with the port that was taken.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        both!(self, Listener, listener => listener.local_addr())
    }

    /// Waits for the next connection. Cancellation loses none.
    pub async fn accept(&self) -> io::Result<Stream> {
        both!(self, Listener, listener => listener.accept().await)
    }
}

impl StreamReader {
    /// See [`ReadOps::read`].
    pub async fn read(&mut self, buf: &mut BytesMut) -> io::Result<usize> {
        both!(self, StreamReader, reader => reader.read(buf).await)
    }
}

impl StreamWriter {
    /// See [`WriteOps::try_write_vectored`].
    pub fn try_write_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        both!(self, StreamWriter, writer => writer.try_write_vectored(data))
    }

    /// See [`WriteOps::writable`].
    pub async fn writable(&self) -> io::Result<()> {
        both!(self, StreamWriter, writer => writer.writable().await)
    }

    /// See [`WriteOps::shutdown`].
    pub fn shutdown(&self) -> io::Result<()> {
        both!(self, StreamWriter, writer => writer.shutdown())
    }

    /// Writes all of `data`. On error or cancellation a prefix may be written.
    pub async fn write_all(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            match self.try_write_vectored(&[IoSlice::new(data)]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(written) => data = &data[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Datagram {
    /// The address that it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        both!(self, Datagram, datagram => datagram.local_addr())
    }

    /// Sends one datagram, which may be lost, repeated or overtaken.
    pub async fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        both!(self, Datagram, datagram => datagram.send_to(data, to).await)
    }

    /// Waits for a datagram, puts it into `buf` (the rest of a longer one is lost); its length and
    /// sender.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        both!(self, Datagram, datagram => datagram.recv_from(buf).await)
    }
}
