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

/// Bytes of a value of which two do not fit a segment.
const VALUE_BYTES: usize = 600 << 10;

pub(crate) struct Sample {
    pub(crate) storage: Storage,
    pub(crate) partition: Arc<Partition>,
    _dir: tempfile::TempDir,
}

impl Sample {
    /// A compacted topic of one partition, with a segment for each of the keys.
    pub(crate) async fn new(env: &Env, keys: &[&str]) -> Sample {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let idle = Duration::from_secs(3600);
        let options = StorageOptions {
            wal_file_bytes: 4 << 20,
            wal_files: 4,
            checkpoint_interval: idle,
            cleaner_interval: idle,
            ..StorageOptions::new(dir.path().join("data"), 1)
        };
        let storage = Storage::open(env, options).await.expect("opens");
        let partition = create_topic(&storage, "sample", 1).await;
        let sample = Sample { storage, partition, _dir: dir };
        sample.configure("cleanup.policy", "compact").await;
        for key in keys {
            let value = vec![b'v'; VALUE_BYTES];
            let record = NewRecord::keyed(key.as_bytes(), &value);
            let batch = BatchBuilder::new(TimestampMs(1000)).push(record).build();
            append_batch(&sample.storage, &sample.partition, batch).await.expect("appended");
        }
        sample
    }

    pub(crate) async fn configure(&self, key: &str, value: &str) {
        let set = [(key.to_owned(), value.to_owned())].into();
        let id = self.partition.id().topic;
        let command = MetadataCommand::SetTopicConfigs { id, set, delete: Vec::new() };
        self.storage.change_metadata().await.commit(vec![command]).await.expect("set");
    }
}
