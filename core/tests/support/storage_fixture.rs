//! What the storage tests share: a topic, an append that is awaited, a read of everything.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rivven_core::ids::{Offset, PartitionId, TimestampMs, TopicId};
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::record::header::HEADER_BYTES;
use rivven_core::record::records::Records;
use rivven_core::record::validate::{ProduceRules, validate_produced};
use rivven_core::storage::Storage;
use rivven_core::storage::error::AppendError;
use rivven_core::storage::partition::Partition;
use rivven_core::storage::read::{ReadRequest, batches};
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

/// Appends one record and waits for the outcome.
pub(crate) async fn append(
    storage: &Storage,
    partition: &Arc<Partition>,
    value: &str,
) -> Result<Appended, AppendError> {
    let batch =
        BatchBuilder::new(TimestampMs(1000)).push(NewRecord::value(value.as_bytes())).build();
    append_batch(storage, partition, batch).await
}

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

/// Every record from the log start: offset and value.
pub(crate) async fn read_all(storage: &Storage, partition: &Arc<Partition>) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    let mut from = partition.positions().log_start;
    loop {
        let request = ReadRequest { from, bytes_max: 300_000, at_least_one: true, cold: true };
        let answer = storage.read(partition, request).await.expect("readable");
        if answer.data.is_empty() {
            return found;
        }
        for (header, batch) in batches(&answer.data) {
            for record in Records::new(&header, &batch[HEADER_BYTES..]) {
                let record = record.expect("a sound record");
                let offset = header.base_offset.0 + i64::from(record.offset_delta);
                let value = record.value.expect("a value");
                found.push((offset, String::from_utf8(value.to_vec()).expect("text")));
            }
            from = Offset(header.last_offset().0 + 1);
        }
    }
}
