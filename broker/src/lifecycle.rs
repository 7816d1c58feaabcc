//! Starts and stops a broker, on the real machine and in the simulator alike.
//!
//! Start: storage (lock, recovery) · listeners · groups · accept. Stop: accept no more and read no
//! more · answer what was read · HTTP · groups · storage (copy, checkpoint, unlock).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rivven_core::storage::Storage;
use rivven_core::storage::error::{OpenError, StorageFailed};
use rivven_core::storage::options::StorageOptions;
use rivven_io::Env;

use crate::config::Config;
use crate::fetch_sessions::FetchSessions;
use crate::groups::Groups;
use crate::http;
use crate::limits::DRAIN_MAX;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::node::{Node, Stop};
use crate::server::{BindError, Server, listen};
use crate::task_set::TaskSet;

/// A running broker. Dropped without [`Broker::shutdown`] it runs on.
pub struct Broker {
    pub(crate) node: Arc<Node>,
    server: Server,
    http: TaskSet,
    groups: TaskSet,
    kafka_addrs: Vec<SocketAddr>,
    http_addr: SocketAddr,
    start_time: Duration,
}

/// Memory that the requests and answers of all connections take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInUse {
    pub bytes: usize,
    pub bytes_max: usize,
}

/// Why a broker does not start; nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl StartError {
    /// Code with which the process ends: 2 bad configuration; 3 the directory is locked, foreign,
    /// not writable or of a newer format; 4 storage failed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Bind(_) => 2,
            StartError::Open(
                OpenError::Locked(_)
                | OpenError::Foreign { .. }
                | OpenError::NewerFormat { .. }
                | OpenError::NotWritable { .. },
            ) => 3,
            StartError::Open(
                OpenError::Corrupt { .. } | OpenError::Io { .. } | OpenError::Failed(_),
            ) => 4,
        }
    }
}

impl Broker {
    /// Opens the data directory, replays what was acknowledged, and serves.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(env: Env, config: Config) -> Result<Broker, StartError> {
        let options = config.storage_options();
        Broker::start_with_storage(env, config, options).await
    }

    /// As [`Broker::start`], with storage options that no setting gives: the simulator's rings
    /// and intervals are small, so that what takes hours happens within seconds.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_with_storage(
        env: Env,
        config: Config,
        options: StorageOptions,
    ) -> Result<Broker, StartError> {
        let begun = env.clock.now();
        let storage = Storage::open(&env, options).await?;
        let listeners = bind(&env, &config).await;
        let (kafka, (http_addr, http_listener)) = match listeners {
            Ok(listeners) => listeners,
            Err(error) => {
                if let Err(failure) = storage.shutdown().await {
                    return Err(StartError::Open(failure.into()));
                }
                return Err(error.into());
            }
        };
        for addr in config.exposed() {
            tracing::warn!(%addr, "other machines can reach this address, and nobody has to say \
                who he is: there is no authentication yet");
        }
        let budget = Budget::new(config.shared_bytes());
        let node = Arc::new(Node {
            fetch_sessions: FetchSessions::new(&budget, config.fetch_sessions_max),
            groups: Groups::new(env.clone(), storage.clone(), (config.shard_rules(), &budget)),
            budget,
            metrics: Metrics::default(),
            stop: Stop::default(),
            env: env.clone(),
            config,
            storage,
        });
        let groups = TaskSet::default();
        Groups::begin(&node, &groups);
        let server = Server::default();
        let mut kafka_addrs = Vec::with_capacity(kafka.len());
        for (addr, listener) in kafka {
            kafka_addrs.push(addr);
            server.accept(node.clone(), listener);
        }
        let http = http::serve(node.clone(), http_listener);
        let start_time = env.clock.now().since(begun);
        Ok(Broker { node, server, http, groups, kafka_addrs, http_addr, start_time })
    }

    /// Where Kafka clients connect, with the ports that were taken.
    #[must_use]
    pub fn kafka_addrs(&self) -> &[SocketAddr] {
        &self.kafka_addrs
    }

    /// Where `/health` and `/metrics` are served.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Batches that the WAL gave back at the start.
    #[must_use]
    pub fn recovered_batches(&self) -> u64 {
        self.node.storage.recovered_batches()
    }

    /// How long the start took.
    #[must_use]
    pub fn start_time(&self) -> Duration {
        self.start_time
    }

    /// The storage, for checks that look behind the protocol.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.node.storage
    }

    /// What the memory of connections is at, each time it is asked, for checks that look behind the
    /// protocol.
    pub fn memory(&self) -> impl Fn() -> MemoryInUse + Send + Sync + use<> {
        let budget = self.node.budget.clone();
        move || MemoryInUse { bytes: budget.used(), bytes_max: budget.bytes_max() }
    }

    /// Resolves once storage has failed: nothing more is acknowledged, the process must end.
    pub async fn failed(&self) -> StorageFailed {
        self.node.storage.failed().await
    }

    /// Answers what was read, writes a checkpoint, and ends everything.
    ///
    /// # Errors
    /// Storage has failed, now or before; what was acknowledged is in the WAL.
    pub async fn shutdown(self) -> Result<(), StorageFailed> {
        self.node.stop.set();
        self.server.drain(&self.node, 2 * DRAIN_MAX).await;
        self.http.abort();
        self.groups.abort();
        self.node.storage.shutdown().await
    }
}

type Bound = (SocketAddr, rivven_io::net::Listener);

async fn bind(env: &Env, config: &Config) -> Result<(Vec<Bound>, Bound), BindError> {
    let kafka = listen(env, &config.bind, config.bind_is_default).await?;
    let http = listen(env, &[config.api_bind], false).await?.pop();
    Ok((kafka, http.expect("one address gives one listener or an error")))
}
