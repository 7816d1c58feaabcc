//! Produce: checks what a request carries and plans what is appended.

use std::sync::Arc;

use bytes::Bytes;
use rivven_core::ids::{PartitionId, TimestampMs};
use rivven_core::metadata::image::{MetadataImage, Topic};
use rivven_core::metadata::topic_config::ProducedTo;
use rivven_core::metadata::topic_name::is_internal;
use rivven_core::record::header::{
    BatchHeader, TimestampType, stamp_append_time, stamp_create_time,
};
use rivven_core::record::refusal::{ProduceRefusal, RefusedRecord};
use rivven_core::record::validate::{ValidBatch, validate_produced};
use rivven_core::storage::partition::Partition;

use super::errors::produce_error;
use crate::memory::Account;
use crate::metrics::TopicCounters;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};

/// First version that names topics by id (KIP-516).
const TOPIC_ID_VERSION_MIN: i16 = 13;
const NO_TIME: i64 = -1;

/// The answer as far as it is known, and what its other rows wait for.
pub(crate) struct Produced {
    pub(crate) response: ProduceResponse,
    pub(crate) appends: Vec<PlannedAppend>,
}

/// A batch that may be stored, and its row in the response.
pub(crate) struct PlannedAppend {
    pub(crate) topic_row: usize,
    pub(crate) partition_row: usize,
    pub(crate) partition: Arc<Partition>,
    pub(crate) batch: Bytes,
    pub(crate) header: ValidBatch,
    /// The broker's time if the topic stamps batches with it, else -1.
    pub(crate) append_time_ms: i64,
    pub(crate) counters: Arc<TopicCounters>,
}

/// What all batches of one request share.
struct Planner<'a> {
    node: &'a Node,
    account: &'a Arc<Account>,
    image: Arc<MetadataImage>,
    api_version: i16,
    now: TimestampMs,
    /// What is wrong with the request as a whole.
    error: Option<(ErrorCode, &'static str)>,
}

/// Why a batch is not appended.
#[derive(Clone)]
struct Refusal {
    error_code: ErrorCode,
    message: Option<WireStr>,
    records: Vec<BatchIndexAndErrorMessage>,
}

/// Decides about every batch of a request, in the order of the request.
pub(crate) fn plan(
    node: &Node,
    account: &Arc<Account>,
    api_version: i16,
    request: ProduceRequest,
) -> Produced {
    let planner = Planner {
        node,
        account,
        image: node.storage.image(),
        api_version,
        now: TimestampMs(node.env.clock.wall_ms()),
        error: request_error(&request),
    };
    let mut produced = Produced { response: ProduceResponse::default(), appends: Vec::new() };
    for topic in request.topic_data {
        planner.plan_topic(topic, &mut produced);
    }
    produced
}

fn request_error(request: &ProduceRequest) -> Option<(ErrorCode, &'static str)> {
    if !(-1..=1).contains(&request.acks) {
        return Some((ErrorCode::INVALID_REQUIRED_ACKS, "acks is -1, 0 or 1"));
    }
    let mut data = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    if data.any(is_transactional) {
        // No coordinator knows a transactional id, and a batch without one cannot be authorised.
        return Some(match &request.transactional_id {
            None => (
                ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
                "a transactional batch needs a transactional id",
            ),
            Some(_) => (ErrorCode::INVALID_PRODUCER_ID_MAPPING, "the transactional id is unknown"),
        });
    }
    None
}

fn is_transactional(data: &PartitionProduceData) -> bool {
    let header = data.records.as_ref().and_then(|records| BatchHeader::parse(records).ok());
    header.is_some_and(|header| header.is_transactional())
}

impl Planner<'_> {
    fn plan_topic(&self, data: TopicProduceData, produced: &mut Produced) {
        let topic_row = produced.response.responses.len();
        let topic = self.find_topic(&data);
        let mut rows = Vec::with_capacity(data.partition_data.len());
        for (partition_row, partition) in data.partition_data.into_iter().enumerate() {
            let index = partition.index;
            let planned = match &topic {
                Ok(topic) => self.plan_batch(topic, partition),
                Err(refusal) => Err(refusal.clone()),
            };
            rows.push(match planned {
                Ok(append) => {
                    produced.appends.push(PlannedAppend { topic_row, partition_row, ..append });
                    PartitionProduceResponse { index, ..Default::default() }
                }
                Err(refusal) => refusal.row(index),
            });
        }
        produced.response.responses.push(TopicProduceResponse {
            name: data.name,
            topic_id: data.topic_id,
            partition_responses: rows,
        });
    }

    fn find_topic(&self, data: &TopicProduceData) -> Result<Arc<Topic>, Refusal> {
        if let Some((error_code, text)) = self.error {
            return Err(Refusal { error_code, message: Some(text.into()), records: Vec::new() });
        }
        let (found, unknown) = if self.api_version >= TOPIC_ID_VERSION_MIN {
            (self.image.topic_by_id(data.topic_id), ErrorCode::UNKNOWN_TOPIC_ID)
        } else if is_internal(&data.name) {
            (None, ErrorCode::INVALID_TOPIC_EXCEPTION)
        } else {
            (self.image.topic(&data.name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        };
        match found {
            Some(topic) if topic.is_internal() => {
                Err(Refusal::silent(ErrorCode::INVALID_TOPIC_EXCEPTION))
            }
            Some(topic) => Ok(topic.clone()),
            None => Err(Refusal::silent(unknown)),
        }
    }

    fn plan_batch(
        &self,
        topic: &Topic,
        data: PartitionProduceData,
    ) -> Result<PlannedAppend, Refusal> {
        let unknown = || Refusal::silent(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let index = u32::try_from(data.index).ok().filter(|index| *index < topic.partitions);
        let index = index.ok_or_else(unknown)?;
        let id = PartitionId { topic: topic.id, index };
        let partition = self.node.storage.partition(id).ok_or_else(unknown)?;
        let records = data.records.unwrap_or_default();
        let rules = topic.config.produce_rules(ProducedTo {
            topic: &topic.name,
            partition: index,
            produce_version: self.api_version,
            now: self.now,
        });
        let mut header = validate_produced(&records, &rules).map_err(Refusal::from)?;
        let batch = records.slice(..header.size);
        let stamps = topic.config.timestamp_type == TimestampType::LogAppendTime;
        let batch = if stamps {
            header.max_timestamp = self.now;
            self.copy(&batch, |copy| stamp_append_time(copy, self.now))
        } else if header.needs_create_time {
            self.copy(&batch, |copy| stamp_create_time(copy, header.max_timestamp))
        } else {
            batch
        };
        Ok(PlannedAppend {
            topic_row: 0,
            partition_row: 0,
            partition,
            batch,
            header,
            append_time_ms: if stamps { self.now.0 } else { NO_TIME },
            counters: self.node.metrics.topic(topic),
        })
    }

    /// A copy of a batch with other header fields; the frame that it came in is shared.
    fn copy(&self, batch: &Bytes, change: impl FnOnce(&mut [u8])) -> Bytes {
        let mut copy = batch.to_vec();
        change(&mut copy);
        let charge = self.account.charge_anyway(copy.len());
        Arc::new(charge).hold(Bytes::from(copy))
    }
}

impl Refusal {
    fn silent(error_code: ErrorCode) -> Refusal {
        Refusal { error_code, message: None, records: Vec::new() }
    }

    fn row(self, index: i32) -> PartitionProduceResponse {
        PartitionProduceResponse {
            index,
            error_code: self.error_code,
            base_offset: -1,
            record_errors: self.records,
            error_message: self.message,
            ..PartitionProduceResponse::default()
        }
    }
}

impl From<ProduceRefusal> for Refusal {
    fn from(refusal: ProduceRefusal) -> Refusal {
        let record = |record: RefusedRecord| BatchIndexAndErrorMessage {
            batch_index: record.batch_index,
            batch_index_error_message: Some(record.message.into()),
        };
        Refusal {
            error_code: produce_error(refusal.kind),
            message: Some(refusal.message.into()),
            records: refusal.records.into_iter().map(record).collect(),
        }
    }
}
