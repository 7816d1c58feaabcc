//! Listens and accepts: one task for each connection, and no more than there may be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rivven_io::Env;
use rivven_io::net::{Listener, Stream};

use crate::connection;
use crate::node::Node;
use crate::task_set::TaskSet;

/// How long to wait after an accept that failed: the machine is out of file handles or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections of Kafka clients, and those who accept them.
#[derive(Clone, Default)]
pub(crate) struct Server {
    accepting: TaskSet,
    connections: TaskSet,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {error}")]
pub struct BindError {
    pub addr: SocketAddr,
    pub error: std::io::Error,
}

/// Listens on each address; the addresses as they are, with the ports that were taken. With
/// `may_lack_ipv6` those that the machine does not have are passed over, if another is left.
pub(crate) async fn listen(
    env: &Env,
    addrs: &[SocketAddr],
    may_lack_ipv6: bool,
) -> Result<Vec<(SocketAddr, Listener)>, BindError> {
    let mut listeners = Vec::with_capacity(addrs.len());
    for addr in addrs {
        let bound = match env.net.listen(*addr).await {
            Ok(listener) => listener.local_addr().map(|local| (local, listener)),
            Err(error) => Err(error),
        };
        match bound {
            Ok(bound) => listeners.push(bound),
            Err(error)
                if may_lack_ipv6
                    && addr.is_ipv6()
                    && !listeners.is_empty()
                    && error.kind() != std::io::ErrorKind::AddrInUse =>
            {
                tracing::info!(%addr, %error, "not listening on IPv6, which this machine lacks");
            }
            Err(error) => return Err(BindError { addr: *addr, error }),
        }
    }
    Ok(listeners)
}

impl Server {
    /// Accepts connections until the broker stops.
    pub(crate) fn accept(&self, node: Arc<Node>, listener: Listener) {
        let server = self.clone();
        self.accepting.spawn_vital(&node.clone(), "accept", async move {
            loop {
                let accepted = tokio::select! {
                    biased;
                    () = node.stop.wait() => return,
                    accepted = listener.accept() => accepted,
                };
                match accepted {
                    Ok(stream) => server.admit(&node, stream),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        node.env.clock.sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
    }

    /// One connection too many is closed: to let it wait would look like a broker that hangs.
    fn admit(&self, node: &Arc<Node>, stream: Stream) {
        let active = self.connections.len();
        if active >= node.config.connections_max() {
            node.metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(peer = %stream.peer, active, "too many connections, closing this one");
            return;
        }
        node.metrics.connections_accepted.fetch_add(1, Ordering::Relaxed);
        let env = &node.env;
        let active = Active::begin(node.clone());
        let node = node.clone();
        self.connections.spawn(env, "connection", async move {
            let _active = active;
            connection::serve(node, stream).await;
        });
    }

    /// Waits until all connections have ended, after a stop; those that take longer than `limit`
    /// are cut off.
    pub(crate) async fn drain(&self, node: &Node, limit: Duration) {
        self.accepting.ended().await;
        if node.env.clock.timeout(limit, self.connections.ended()).await.is_err() {
            self.connections.abort();
        }
    }
}

/// One more connection in the metrics, until it is dropped.
struct Active {
    node: Arc<Node>,
}

impl Active {
    fn begin(node: Arc<Node>) -> Active {
        node.metrics.connections_active.fetch_add(1, Ordering::Relaxed);
        Active { node }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.node.metrics.connections_active.fetch_sub(1, Ordering::Relaxed);
    }
}
