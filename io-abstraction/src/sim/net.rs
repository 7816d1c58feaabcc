//! The simulated network: nodes at 10.0.x.y, streams and datagrams over directed links.
//!
//! A stream delivers its bytes in order, after its link's latency and at its link's bandwidth,
//! through a bounded send buffer and a bounded receive buffer; the writer feels both. While a link
//! is blocked, what travels on it is held, nothing fails, and it arrives by retransmission 0.2 to
//! 3 s after the link heals, ends and resets of streams as well: until then the receiver takes the
//! connection for open. After two to fifteen minutes (drawn per stall) the sender gives up with
//! `TimedOut` and the receiver never learns of it. A killed process resets its connections; a power
//! cut is silence, until the machine is up again and answers the next segment with a reset.
//! Connecting to a node that is down or has no listener is refused; a blocked link or a full
//! backlog answers nothing, is tried again after 1, 2, 4… s, and ends as `TimedOut` after 127 s.

mod control;
mod datagram;
pub(crate) mod fabric;
mod link;
mod listener;
pub(crate) mod middlebox;
mod pipe;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;

pub use control::NetControl;
pub use datagram::SimDatagram;
pub use link::LinkConfig;
pub use listener::SimListener;
pub use middlebox::{Middlebox, Passing};
pub use stream::{SimReader, SimWriter};

use crate::net::{NetOps, Stream, StreamReader};
use crate::sim::incarnation::Incarnation;

/// The network as one incarnation of a node may use it.
#[derive(Clone)]
pub struct SimNet {
    pub(crate) incarnation: Arc<Incarnation>,
}

/// Tasks that wait for the same thing, each once however often it was polled.
#[derive(Default)]
struct Waiting(Vec<Waker>);

impl Waiting {
    fn add(&mut self, waker: &Waker) {
        if !self.0.iter().any(|known| known.will_wake(waker)) {
            self.0.push(waker.clone());
        }
    }

    fn is_waiting(&self) -> bool {
        !self.0.is_empty()
    }

    fn take(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.0)
    }
}

/// Whether the peer of `reader` waits for it to read, because no buffer on the way has room.
#[must_use]
pub fn keeps_peer_waiting(reader: &StreamReader) -> bool {
    match reader {
        StreamReader::Sim(reader) => reader.keeps_peer_waiting(),
        StreamReader::Real(_) => false,
    }
}

/// Whether `ip` means the node itself, whoever asks.
fn is_own(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

impl NetOps for SimNet {
    type Listener = SimListener;
    type Stream = Stream;
    type Datagram = SimDatagram;

    async fn listen(&self, addr: SocketAddr) -> io::Result<SimListener> {
        SimListener::bind(&self.incarnation, addr)
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let address = host.parse().map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(vec![SocketAddr::new(address, port)])
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        listener::connect(&self.incarnation, addr).await
    }

    async fn bind_datagram(&self, addr: SocketAddr) -> io::Result<SimDatagram> {
        SimDatagram::bind(&self.incarnation, addr)
    }
}
