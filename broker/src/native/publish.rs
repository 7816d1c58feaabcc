//! Publishing: records become one batch of Kafka's format and go the way of a Produce request.

use std::sync::Arc;

use bytes::Bytes;
use rivven_core::ids::{PartitionId, ProducerId, TimestampMs};
use rivven_core::metadata::image::Topic;
use rivven_core::partitioner;
use rivven_core::record::builder::{self, BatchBuilder};
use rivven_core::wire::codec::Name;
use rivven_core::wire::message::{BatchRecord, NewRecord, ProducerRun};
use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;

use super::consume::Wish;
use super::errors::Failure;
use super::topics::{index, offset};
use super::{Asker, Session, Work};
use crate::api::{list_offsets, metadata};
use crate::memory::Account;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};

/// The newest version of Produce that names topics by name.
pub(crate) const PRODUCE_VERSION: i16 = 12;
/// All in-sync replicas.
const ACKS_ALL: i16 = -1;

/// A request to publish, whichever of the six it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    topic: Name,
    partition: Option<u32>,
    records: Vec<NewRecord>,
    pub(crate) acks: i16,
    producer: Option<ProducerRun>,
    leader_epoch: Option<u64>,
    kind: Kind,
}

/// The kind of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    One,
    IdempotentOne,
    Batch,
    IdempotentBatch,
    Records,
}

/// Who waits for records to be in the log, and what the answer says of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publisher {
    asker: Asker,
    kind: Kind,
    partition: u32,
    record_count: u32,
}

impl Publish {
    /// What a request leads to if it publishes; else what it leads to if it consumes.
    pub(super) fn of(request: Request) -> Work {
        let (topic, partition, records, leader_epoch, producer, kind) = match request {
            Request::Publish { topic, partition, key, value, leader_epoch } => {
                (topic, partition, one(key, value), leader_epoch, None, Kind::One)
            }
            Request::IdempotentPublish {
                topic,
                partition,
                key,
                value,
                producer_id,
                producer_epoch,
                sequence,
                leader_epoch,
            } => {
                let run = ProducerRun { producer_id, producer_epoch, base_sequence: sequence };
                let records = one(key, value);
                (topic, partition, records, leader_epoch, Some(run), Kind::IdempotentOne)
            }
            Request::PublishBatch { topic, partition, records, leader_epoch } => {
                (topic, partition, several(records), leader_epoch, None, Kind::Batch)
            }
            Request::IdempotentPublishBatch {
                topic,
                partition,
                records,
                producer_id,
                producer_epoch,
                base_sequence,
                leader_epoch,
            } => {
                let run = ProducerRun { producer_id, producer_epoch, base_sequence };
                let records = several(records);
                (topic, partition, records, leader_epoch, Some(run), Kind::IdempotentBatch)
            }
            Request::PublishRecords { topic, partition, records, acks, producer, leader_epoch } => {
                let kind = Kind::Records;
                return Work::Publish(Publish {
                    topic,
                    partition,
                    records,
                    acks,
                    producer,
                    leader_epoch,
                    kind,
                });
            }
            other => return Wish::of(other),
        };
        let acks = ACKS_ALL;
        Work::Publish(Publish { topic, partition, records, acks, producer, leader_epoch, kind })
    }

    /// The Produce request that does it, and who waits for its answer. A topic that is not there is
    /// created if this broker does so.
    pub(crate) async fn prepare(
        self,
        session: &Session,
        account: &Arc<Account>,
        asker: Asker,
    ) -> Result<(ProduceRequest, Publisher), Failure> {
        if self.records.is_empty() {
            let text = "a batch has at least one record";
            return Err(Failure::new(ErrorCode::INVALID_RECORD, text));
        }
        let node = &*session.node;
        let topic = find_or_create(node, &self.topic).await?;
        let partition = self.partition.unwrap_or_else(|| self.choose(session, &topic));
        let partition_index = index(&self.topic, partition)?;
        self.check_epoch(node, &topic, partition)?;
        let batch = self.batch(TimestampMs(node.env.clock.wall_ms()))?;
        let charge = Arc::new(account.charge_anyway(batch.len()));
        let records = Some(charge.hold(batch));
        let partition_data = vec![PartitionProduceData { index: partition_index, records }];
        let name = (&*self.topic).into();
        let data = TopicProduceData { name, partition_data, ..TopicProduceData::default() };
        let (acks, topic_data) = (self.acks, vec![data]);
        let request = ProduceRequest { acks, topic_data, ..ProduceRequest::default() };
        let record_count = u32::try_from(self.records.len()).expect("a list is bounded");
        Ok((request, Publisher { asker, kind: self.kind, partition, record_count }))
    }

    /// One batch goes to one partition: that of its first record's key.
    fn choose(&self, session: &Session, topic: &Topic) -> u32 {
        match &self.records[0].key {
            Some(key) => partitioner::by_key(key, topic.partitions),
            // A producer's numbers count by partition: whatever connection it comes on, all its
            // batches go to one.
            None if let Some(run) = &self.producer => {
                let partition = run.producer_id % u64::from(topic.partitions);
                u32::try_from(partition).expect("below the number of partitions")
            }
            None => {
                let size = |record: &NewRecord| record.value.as_ref().map_or(0, Bytes::len);
                let bytes = self.records.iter().map(size).sum();
                session.choose((topic.id, topic.partitions), bytes)
            }
        }
    }

    fn check_epoch(&self, node: &Node, topic: &Topic, partition: u32) -> Result<(), Failure> {
        let Some(asked) = self.leader_epoch else { return Ok(()) };
        let unknown = || Failure::unknown_partition(&self.topic, partition);
        let id = PartitionId { topic: topic.id, index: partition };
        let current = node.storage.partition(id).ok_or_else(unknown)?.leader_epoch().0;
        let asked = i32::try_from(asked).unwrap_or(i32::MAX);
        match list_offsets::epoch_error(asked, current) {
            ErrorCode::NONE => Ok(()),
            code => Err(Failure::new(code, format!("the leader is in epoch {current}"))),
        }
    }

    fn batch(&self, now: TimestampMs) -> Result<Bytes, Failure> {
        let time = |record: &NewRecord| record.timestamp_ms.map_or(now, TimestampMs);
        let mut batch = BatchBuilder::new(time(&self.records[0]));
        if let Some(run) = self.producer.as_ref().filter(|_| !rivven_io::planted!("B80")) {
            let id = i64::try_from(run.producer_id);
            let id = id.map_err(|_| Failure::new(ErrorCode::UNKNOWN_PRODUCER_ID, "no such id"))?;
            let epoch = i16::try_from(run.producer_epoch).map_err(|_| {
                Failure::new(ErrorCode::INVALID_PRODUCER_EPOCH, "no producer has this epoch")
            })?;
            batch = batch.producer(ProducerId(id), epoch, run.base_sequence);
        }
        for record in &self.records {
            let headers: Vec<builder::NewHeader<'_>> = record
                .headers
                .iter()
                .map(|(key, value)| (key.as_bytes(), value.as_deref()))
                .collect();
            batch = batch.push(builder::NewRecord {
                timestamp: Some(time(record)),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            });
        }
        Ok(batch.build().into())
    }
}

fn one(key: Option<Bytes>, value: Bytes) -> Vec<NewRecord> {
    several(vec![BatchRecord { key, value }])
}

fn several(records: Vec<BatchRecord>) -> Vec<NewRecord> {
    let record =
        |BatchRecord { key, value }| NewRecord { key, value: Some(value), ..NewRecord::default() };
    records.into_iter().map(record).collect()
}

async fn find_or_create(node: &Node, name: &str) -> Result<Arc<Topic>, Failure> {
    let find = || node.storage.image().topic(name).cloned();
    if let Some(topic) = find() {
        return Ok(topic);
    }
    if node.config.auto_create_topics {
        metadata::create_missing(node, std::iter::once(name)).await;
    }
    find().ok_or_else(|| Failure::unknown_topic(name))
}

impl Publisher {
    /// The frame that says what became of the records.
    pub(crate) fn answer(
        &self,
        node: &Node,
        response: &ProduceResponse,
        duplicate: bool,
    ) -> Vec<Bytes> {
        let row = &response.responses[0].partition_responses[0];
        let Publisher { partition, record_count, .. } = *self;
        if row.error_code.is_error() {
            let text = "the records were not appended";
            let failure = Failure::of(row.error_code, row.error_message.clone(), text);
            return self.asker.answer(node, Err(failure));
        }
        let base_offset = offset(row.base_offset);
        let answer = match self.kind {
            Kind::One => Response::Published { offset: base_offset, partition },
            Kind::IdempotentOne => {
                Response::IdempotentPublished { offset: base_offset, partition, duplicate }
            }
            Kind::Batch => Response::PublishedBatch { base_offset, partition, record_count },
            Kind::IdempotentBatch => Response::IdempotentPublishedBatch {
                base_offset,
                partition,
                record_count,
                duplicate,
            },
            Kind::Records => Response::RecordsPublished {
                partition,
                base_offset,
                record_count,
                append_time_ms: Some(row.log_append_time_ms).filter(|time| *time >= 0),
                log_start: offset(row.log_start_offset),
                duplicate,
            },
        };
        self.asker.answer(node, Ok(answer))
    }

    /// Counts a request that gets no answer.
    pub(crate) fn note_silent(&self, node: &Node, error: ErrorCode) {
        self.asker.note(node, error);
    }
}
