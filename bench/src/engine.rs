//! A storage engine on real files, which goes away with its folder.
//!
//! The folder is made where `TMPDIR` points, which must be the disk to be judged: on a tmpfs a sync
//! costs nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rivven_core::ids::{PartitionId, TopicId};
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::record::validate::ValidBatch;
use rivven_core::storage::Storage;
use rivven_core::storage::error::AppendError;
use rivven_core::storage::options::StorageOptions;
use rivven_core::storage::partition::Partition;
use rivven_core::storage::shared::{AppendRequest, AppendSink, Appended};
use rivven_io::Env;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::batches::{NOW, validate};

const MIB: i64 = 1 << 20;

/// A folder for data directories, and a runtime to open them on.
pub struct Home {
    pub runtime: Runtime,
    folder: TempDir,
}

/// A batch that is valid and ready to be appended any number of times.
#[derive(Clone)]
pub struct Prepared {
    pub bytes: Bytes,
    header: ValidBatch,
}

/// An open storage engine with one topic.
#[derive(Clone)]
pub struct Engine {
    pub storage: Storage,
    pub partition: Arc<Partition>,
}

impl Home {
    /// # Panics
    /// When the machine gives no folder or no threads.
    #[must_use]
    pub fn new() -> Home {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("the machine has threads");
        Home { runtime, folder: tempfile::tempdir().expect("TMPDIR is writable") }
    }

    /// A data directory that may exist already.
    #[must_use]
    pub fn directory(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens a data directory with the topic `bench`, which is made if it is not there.
    ///
    /// # Panics
    /// When storage does not open.
    #[must_use]
    pub fn open(&self, options: StorageOptions) -> Engine {
        self.runtime.block_on(async {
            let storage = Storage::open(&Env::real(), options).await.expect("storage opens");
            let known = storage.image().topic("bench").map(|topic| topic.id);
            let topic = match known {
                Some(topic) => topic,
                None => create_topic(&storage).await,
            };
            let id = PartitionId { topic, index: 0 };
            let partition = storage.partition(id).expect("the topic has a partition");
            Engine { storage, partition }
        })
    }

    /// # Panics
    /// When storage failed meanwhile.
    pub fn close(&self, engine: &Engine) {
        self.runtime.block_on(engine.storage.shutdown()).expect("storage did not fail");
    }
}

impl Default for Home {
    fn default() -> Home {
        Home::new()
    }
}

/// What a broker uses, but with deletion of old segments so frequent that no bench fills a disk.
#[must_use]
pub fn options(data_dir: &Path) -> StorageOptions {
    let retention_interval = Duration::from_secs(1);
    StorageOptions { retention_interval, ..StorageOptions::new(data_dir.to_owned(), 1) }
}

async fn create_topic(storage: &Storage) -> TopicId {
    let id = TopicId::from_random([7; 16]);
    // Deletion is by size only: the batches carry a time that lies years back.
    let configs = [
        ("retention.ms", -1),
        ("segment.bytes", 64 * MIB),
        ("retention.bytes", 256 * MIB),
        ("file.delete.delay.ms", 0),
        ("max.message.bytes", 8 * MIB),
    ];
    let command = MetadataCommand::CreateTopic {
        name: "bench".to_owned(),
        id,
        partitions: 1,
        configs: configs.map(|(key, value)| (key.to_owned(), value.to_string())).into(),
        created_ms: NOW,
    };
    let mut change = storage.change_metadata().await;
    change.commit(vec![command]).await.expect("the topic is made");
    id
}

/// Gives the outcome of one append to the task that awaits it.
struct Sink(Mutex<Option<oneshot::Sender<Result<Appended, AppendError>>>>);

impl AppendSink for Sink {
    fn appended(&self, _token: u64, outcome: Result<Appended, AppendError>) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sender = sender.expect("an append has one outcome");
        let _ = sender.send(outcome);
    }

    fn flush(&self) {}
}

impl Engine {
    /// Checks a batch once for all its appends.
    #[must_use]
    pub fn prepare(&self, batch: Vec<u8>) -> Prepared {
        let header = validate(&batch, &self.partition.config());
        Prepared { bytes: Bytes::from(batch), header }
    }

    /// Appends a batch; when it returns, the batch survives power loss.
    ///
    /// # Panics
    /// When the batch is refused.
    pub async fn append(&self, batch: &Prepared) -> Appended {
        let (sender, outcome) = oneshot::channel();
        self.storage.append(AppendRequest {
            partition: self.partition.clone(),
            batch: batch.bytes.clone(),
            header: batch.header,
            sink: Arc::new(Sink(Mutex::new(Some(sender)))),
            token: 0,
        });
        outcome.await.expect("every append is answered").expect("the batch is accepted")
    }

    /// Appends a batch again and again, each after the one before is durable.
    pub async fn append_times(&self, batch: &Prepared, count: u64) {
        for _ in 0..count {
            self.append(batch).await;
        }
    }
}
