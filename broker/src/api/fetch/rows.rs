//! The rows of a Fetch: which partition each names, what was read of it, and how it is answered.

use std::sync::Arc;

use bytes::Bytes;
use rivven_core::ids::{Offset, PartitionId, TopicId};
use rivven_core::metadata::image::{MetadataImage, Topic};
use rivven_core::storage::partition::Partition;
use rivven_core::storage::read::ReadAnswer;

use super::end_of;
use crate::fetch_sessions::session::{Answered, Told};
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::records::Records;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};

/// First version that names topics by id (KIP-516).
const TOPIC_ID_VERSION_MIN: i16 = 13;
const READ_COMMITTED: i8 = 1;

/// One partition of the request.
pub(super) struct Row {
    topic: WireStr,
    topic_id: TopicId,
    wish: FetchPartition,
    pub(super) error_code: ErrorCode,
    known: Option<Known>,
}

/// A partition that exists.
pub(super) struct Known {
    pub(super) partition: Arc<Partition>,
    pub(super) next: Offset,
    pub(super) bytes_max: usize,
    pub(super) records: Records,
    /// High watermark, last stable offset and log start.
    marks: (Offset, Offset, Offset),
    /// A limit, not the log's end, ended the last read.
    is_full: bool,
}

/// A row with its answer.
pub(super) struct AnsweredRow {
    topic: WireStr,
    topic_id: TopicId,
    wish: FetchPartition,
    pub(super) data: PartitionData,
}

impl AnsweredRow {
    pub(super) fn told(&self) -> Answered<'_> {
        Answered {
            topic: &self.topic,
            topic_id: self.topic_id,
            wish: &self.wish,
            told: Told::of(&self.data),
        }
    }
}

/// What is wrong with every partition of the request.
fn common_error(request: &FetchRequest) -> ErrorCode {
    if !(0..=READ_COMMITTED).contains(&request.isolation_level) || request.max_bytes < 0 {
        return ErrorCode::INVALID_REQUEST;
    }
    ErrorCode::NONE
}

pub(super) fn rows(node: &Node, api_version: i16, request: &FetchRequest) -> Vec<Row> {
    let image = node.storage.image();
    let common = common_error(request);
    let mut rows = Vec::new();
    for asked in &request.topics {
        let found = find_topic(&image, api_version, asked);
        for partition in &asked.partitions {
            let known = found.and_then(|topic| find_partition(node, topic, partition));
            let error_code = match (&known, found) {
                _ if common.is_error() => common,
                (Some(known), _) => epoch_error(known, partition),
                (None, None) if api_version >= TOPIC_ID_VERSION_MIN => ErrorCode::UNKNOWN_TOPIC_ID,
                _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            };
            rows.push(Row {
                topic: asked.topic.clone(),
                topic_id: asked.topic_id,
                wish: partition.clone(),
                error_code,
                known,
            });
        }
    }
    rows
}

fn find_topic<'a>(
    image: &'a MetadataImage,
    api_version: i16,
    asked: &FetchTopic,
) -> Option<&'a Arc<Topic>> {
    if api_version >= TOPIC_ID_VERSION_MIN {
        image.topic_by_id(asked.topic_id)
    } else {
        image.topic(&asked.topic)
    }
}

fn find_partition(node: &Node, topic: &Topic, asked: &FetchPartition) -> Option<Known> {
    let index = u32::try_from(asked.partition).ok().filter(|index| *index < topic.partitions)?;
    let partition = node.storage.partition(PartitionId { topic: topic.id, index })?;
    Some(Known {
        partition,
        next: Offset(asked.fetch_offset),
        bytes_max: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
        records: Records::default(),
        marks: (Offset(-1), Offset(-1), Offset(-1)),
        is_full: false,
    })
}

/// Whether the client knows another reign of the leader (KIP-320).
fn epoch_error(known: &Known, asked: &FetchPartition) -> ErrorCode {
    let current = known.partition.leader_epoch().0;
    super::super::list_offsets::epoch_error(asked.current_leader_epoch, current)
}

impl Row {
    pub(super) fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    pub(super) fn fail(&mut self, error_code: ErrorCode) {
        self.error_code = error_code;
    }

    /// Looks where the log stands now; an offset outside it is an error.
    pub(super) fn refresh(&mut self) {
        let Some(known) = self.known.as_mut().filter(|_| !self.error_code.is_error()) else {
            return;
        };
        let now = known.partition.positions();
        if known.records.is_empty() && !(now.log_start..=now.log_end).contains(&known.next) {
            self.error_code = ErrorCode::OFFSET_OUT_OF_RANGE;
        }
        known.marks = (now.high_watermark, now.last_stable, now.log_start);
    }

    /// Whether a read may give more.
    pub(super) fn has_more(&self) -> bool {
        let known = self.known.as_ref().filter(|_| !self.error_code.is_error());
        known.is_some_and(|known| !known.is_full && known.next < known.marks.0)
    }

    pub(super) fn take(&mut self, answer: &ReadAnswer, hold: impl Fn(Bytes) -> Bytes) {
        let known = self.known.as_mut().expect("only a partition that exists is read");
        known.marks = (
            answer.positions.high_watermark,
            answer.positions.last_stable,
            answer.positions.log_start,
        );
        match end_of(&answer.data) {
            Some(end) => known.next = end,
            None => known.is_full = true,
        }
        answer.data.iter().for_each(|piece| known.records.push(hold(piece.clone())));
        known.is_full |= known.records.len() >= known.bytes_max;
    }

    pub(super) fn answered(self, isolation_level: i8) -> AnsweredRow {
        let mut data = PartitionData {
            partition_index: self.wish.partition,
            error_code: self.error_code,
            high_watermark: -1,
            records: Some(Records::default()),
            ..PartitionData::default()
        };
        if let Some(known) = self.known.filter(|_| !self.error_code.is_error()) {
            let (high_watermark, last_stable, log_start) = known.marks;
            data.high_watermark = high_watermark.0;
            data.last_stable_offset = last_stable.0;
            data.log_start_offset = log_start.0;
            data.aborted_transactions = (isolation_level == READ_COMMITTED).then(Vec::new);
            data.records = Some(known.records);
        }
        let Row { topic, topic_id, wish, .. } = self;
        AnsweredRow { topic, topic_id, wish, data }
    }
}

/// The answer; rows of one topic that follow each other are one topic there.
pub(super) fn response(
    (error_code, session_id): (ErrorCode, i32),
    rows: Vec<AnsweredRow>,
) -> FetchResponse {
    let mut response = FetchResponse { error_code, session_id, ..FetchResponse::default() };
    for AnsweredRow { topic, topic_id, data, .. } in rows {
        match response.responses.last_mut() {
            Some(last) if last.topic == topic && last.topic_id == topic_id => {
                last.partitions.push(data);
            }
            _ => {
                let partitions = vec![data];
                response.responses.push(FetchableTopicResponse { topic, topic_id, partitions });
            }
        }
    }
    response
}
