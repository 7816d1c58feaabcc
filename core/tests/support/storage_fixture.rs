//! What the storage tests share: a topic, and an append that is awaited.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rivven_core::ids::{PartitionId, TimestampMs, TopicId};
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::record::validate::{ProduceRules, validate_produced};
use rivven_core::storage::Storage;
use rivven_core::storage::error::AppendError;
use rivven_core::storage::partition::Partition;
use rivven_core::storage::shared::{AppendRequest, AppendSink, Appended};
use tokio::sync::oneshot;

pub(crate) async fn create_topic(storage: &Storage, name: &str, partitions: u32) -> Arc<Partition> {
    let mut change = storage.change_metadata().await;
    let id = TopicId::from_random([u8::try_from(name.len()).expect("short"); 16]);
    let configs = [("segment.bytes".to_owned(), (1 << 20).to_string())].into();
    let command = MetadataCommand::CreateTopic {
        name: name.to_owned(),
        id,
        partitions,
        configs,
        created_ms: TimestampMs(0),
    };
    change.commit(vec![command]).await.expect("topic is created");
    storage.partition(PartitionId { topic: id, index: 0 }).expect("it has a partition")
}

struct Sink(Mutex<Option<oneshot::Sender<Result<Appended, AppendError>>>>);

impl AppendSink for Sink {
    fn appended(&self, _token: u64, outcome: Result<Appended, AppendError>) {
        let sender = self.0.lock().expect("unpoisoned").take().expect("one outcome");
        let _ = sender.send(outcome);
    }

    fn flush(&self) {}
}

/// Appends a batch and waits for the outcome.
pub(crate) async fn append_batch(
    storage: &Storage,
    partition: &Arc<Partition>,
    batch: Vec<u8>,
) -> Result<Appended, AppendError> {
    let config = partition.config();
    let to = rivven_core::metadata::topic_config::ProducedTo {
        topic: partition.topic(),
        partition: partition.id().index,
        produce_version: 9,
        now: TimestampMs(1000),
    };
    let rules: ProduceRules<'_> = config.produce_rules(to);
    let header = validate_produced(&batch, &rules).expect("a valid batch");
    let (sender, outcome) = oneshot::channel();
    storage.append(AppendRequest {
        partition: partition.clone(),
        batch: Bytes::from(batch),
        header,
        sink: Arc::new(Sink(Mutex::new(Some(sender)))),
        token: 0,
    });
    outcome.await.expect("every append is answered")
}
