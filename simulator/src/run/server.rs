//! The broker's process in a run: the same code as `rivvend`, with the plan's knobs.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rivven_broker::config::Config;
use rivven_broker::lifecycle::{Broker, MemoryInUse};
use rivven_core::storage::options::StorageOptions;
use rivven_io::Env;
use rivven_io::sim::SimNode;
use tokio::sync::Notify;

use crate::plan::{BrokerPlan, OFFSETS_PARTITIONS};

/// The broker's listener.
pub(crate) const PORT: u16 = 9092;
const DATA_DIR: &str = "/data";
/// Connections that clients leave behind half open add up until the broker notices.
const CONNECTIONS_MAX: usize = 512;
/// Exit code when storage failed.
pub(crate) const EXIT_STORAGE: i32 = 4;

/// One life of the broker's process, as the supervisor sees it.
pub(crate) struct Life {
    signals: Arc<Signals>,
    /// Whether the supervisor has noticed that it serves.
    pub(crate) noticed: bool,
    /// Whether it was asked to end.
    pub(crate) stopped: bool,
}

#[derive(Default)]
struct Signals {
    memory: OnceLock<Box<dyn Fn() -> MemoryInUse + Send + Sync>>,
    is_ready: AtomicBool,
    ready: Notify,
    stop: Notify,
}

impl Life {
    /// Resolves once the broker serves.
    pub(crate) fn ready(&self) -> impl Future<Output = ()> + Send + 'static {
        let signals = self.signals.clone();
        async move {
            while !signals.is_ready.load(Ordering::Acquire) {
                signals.ready.notified().await;
            }
        }
    }

    /// What the memory of connections is at, once it serves.
    pub(crate) fn memory(&self) -> Option<MemoryInUse> {
        self.signals.memory.get().map(|ask| ask())
    }

    /// Asks for a graceful end, as SIGTERM does.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.signals.stop.notify_one();
    }
}

/// Starts the process of a broker on `node`, which must be up and idle.
pub(crate) fn start(node: &SimNode, broker: u64, knobs: BrokerPlan) -> Life {
    let signals = Arc::new(Signals::default());
    node.spawn_main(main(node.env(), (broker, knobs), signals.clone()));
    Life { signals, noticed: false, stopped: false }
}

/// `rivvend`'s main function: the process ends with its exit codes.
async fn main(env: Env, (broker, knobs): (u64, BrokerPlan), signals: Arc<Signals>) -> i32 {
    let (config, options) = settings(broker, &knobs);
    let broker = match Broker::start_with_storage(env, config, options).await {
        Ok(broker) => broker,
        Err(error) => {
            tracing::warn!(%error, "the broker does not start");
            return i32::from(error.exit_code());
        }
    };
    signals.memory.get_or_init(|| Box::new(broker.memory()));
    signals.is_ready.store(true, Ordering::Release);
    signals.ready.notify_one();
    let failure = tokio::select! {
        biased;
        failure = broker.failed() => Err(failure),
        () = signals.stop.notified() => broker.shutdown().await,
    };
    match failure {
        Ok(()) => 0,
        Err(error) => {
            tracing::warn!(%error, "the broker ends");
            EXIT_STORAGE
        }
    }
}

fn settings(broker: u64, knobs: &BrokerPlan) -> (Config, StorageOptions) {
    let size = |bytes: u64| usize::try_from(bytes).expect("a knob fits memory");
    let bind = SocketAddr::from(([0, 0, 0, 0], PORT));
    let mut config = Config {
        node_id: i32::try_from(broker).expect("there are few brokers"),
        data_dir: DATA_DIR.into(),
        bind: vec![bind],
        bind_is_default: false,
        memory_bytes: size(knobs.memory_bytes),
        max_connections: CONNECTIONS_MAX,
        auto_create_topics: false,
        group_initial_rebalance_delay: Duration::from_millis(50),
        group_min_session_timeout: Duration::from_secs(1),
        offsets_topic_partitions: OFFSETS_PARTITIONS,
        ..Config::default()
    };
    if let requests @ 1.. = size(knobs.connection_requests) {
        config.in_flight_requests_max = requests;
    }
    let mut options = StorageOptions::new(DATA_DIR.into(), config.node_id);
    options.tail_bytes_max = size(knobs.tail_bytes);
    options.wal_file_bytes = knobs.wal_file_bytes;
    options.wal_files = u32::try_from(knobs.wal_files).expect("a ring has few files");
    options.checkpoint_interval = Duration::from_millis(knobs.checkpoint_interval_ms);
    options.retention_interval = Duration::from_millis(knobs.retention_interval_ms);
    options.open_files_max = size(knobs.open_files);
    options.cleaner_interval = Duration::from_millis(knobs.cleaner_interval_ms);
    options.cleaner_map_bytes = knobs.cleaner_map_bytes;
    options.compacted_segment_bytes = knobs.compacted_segment_bytes;
    (config, options)
}
