//! For tests: storage in a folder of its own, whose cleaner and checkpointer are idle.

use std::sync::Arc;
use std::time::Duration;

use rivven_io::Env;

use crate::ids::TimestampMs;
use crate::metadata::command::MetadataCommand;
use crate::record::builder::{BatchBuilder, NewRecord};
use crate::storage::Storage;
use crate::storage::options::StorageOptions;
use crate::storage::partition::Partition;
use crate::storage::storage_fixture::{append_batch, create_topic};

/// Bytes of a record of which two do not fit a segment.
const RECORD_BYTES: usize = 600 << 10;

pub(crate) struct Sample {
    pub(crate) storage: Storage,
    pub(crate) partition: Arc<Partition>,
    dir: tempfile::TempDir,
}

fn options(dir: &tempfile::TempDir) -> StorageOptions {
    let idle = Duration::from_secs(3600);
    StorageOptions {
        wal_file_bytes: 4 << 20,
        wal_files: 4,
        checkpoint_interval: idle,
        cleaner_interval: idle,
        ..StorageOptions::new(dir.path().join("data"), 1)
    }
}

impl Sample {
    /// A compacted topic of one partition, with a segment for each of the keys.
    pub(crate) async fn new(env: &Env, keys: &[&str]) -> Sample {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let storage = Storage::open(env, options(&dir)).await.expect("opens");
        let partition = create_topic(&storage, "sample", 1).await;
        let sample = Sample { storage, partition, dir };
        sample.configure("cleanup.policy", "compact").await;
        for key in keys {
            sample.put(key, Some(b"value")).await;
        }
        sample
    }

    /// Appends a record that fills a segment.
    pub(crate) async fn put(&self, key: &str, value: Option<&[u8]>) {
        let bulk = vec![b'x'; RECORD_BYTES];
        let headers = [(&b"bulk"[..], Some(&bulk[..]))];
        let key = Some(key.as_bytes());
        let record = NewRecord { key, value, headers: &headers, ..NewRecord::default() };
        let batch = BatchBuilder::new(TimestampMs(1000)).push(record).build();
        append_batch(&self.storage, &self.partition, batch).await.expect("appended");
    }

    /// Stops and starts, after which a checkpoint counts everything.
    pub(crate) async fn reopen(&mut self, env: &Env) {
        self.storage.shutdown().await.expect("shuts down");
        self.storage = Storage::open(env, options(&self.dir)).await.expect("opens again");
        self.partition = self.storage.partition(self.partition.id()).expect("it is there");
    }

    pub(crate) async fn configure(&self, key: &str, value: &str) {
        let set = [(key.to_owned(), value.to_owned())].into();
        let id = self.partition.id().topic;
        let command = MetadataCommand::SetTopicConfigs { id, set, delete: Vec::new() };
        self.storage.change_metadata().await.commit(vec![command]).await.expect("set");
    }
}
