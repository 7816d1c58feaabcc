//! ListOffsets: the ends of partitions, and offsets by time.

use std::collections::BTreeSet;

use rivven_core::ids::{Offset, TimestampMs};
use rivven_core::storage::error::ReadError;

use super::errors::read_error;
use super::find_partition;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_NOT_UPLOADED: i64 = -6;
const READ_COMMITTED: i8 = 1;

/// What a question by time leads to: a timestamp and an offset, or neither.
type Found = Option<(TimestampMs, Offset)>;

/// What all questions of one request share.
#[derive(Clone, Copy)]
struct Asked {
    api_version: i16,
    isolation_level: i8,
}

pub(crate) async fn handle(
    node: &Node,
    api_version: i16,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let asked = Asked { api_version, isolation_level: request.isolation_level };
    let mut seen = BTreeSet::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let is_repeated = !seen.insert((topic.name.clone(), partition.partition_index));
            let answer = if is_repeated {
                Err(ErrorCode::INVALID_REQUEST)
            } else {
                answer(node, asked, (&topic.name, partition)).await
            };
            partitions.push(row(partition.partition_index, answer));
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
}

fn row(
    partition_index: i32,
    answer: Result<(Found, i32), ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let mut row = ListOffsetsPartitionResponse { partition_index, ..Default::default() };
    match answer {
        Ok((Some((timestamp, offset)), leader_epoch)) => {
            row.timestamp = timestamp.0;
            row.offset = offset.0;
            row.leader_epoch = leader_epoch;
        }
        Ok((None, _)) => {}
        Err(error_code) => row.error_code = error_code,
    }
    row
}

async fn answer(
    node: &Node,
    asked: Asked,
    (topic, question): (&str, &ListOffsetsPartition),
) -> Result<(Found, i32), ErrorCode> {
    let partition = find_partition(node, topic, question.partition_index)
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let leader_epoch = partition.leader_epoch().0;
    let epoch_error = epoch_error(question.current_leader_epoch, leader_epoch);
    if epoch_error.is_error() {
        return Err(epoch_error);
    }
    if !(0..=READ_COMMITTED).contains(&asked.isolation_level) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let positions = partition.positions();
    let at = |offset: Offset| Some((TimestampMs(-1), offset));
    let failed = |error: ReadError| read_error(&error);
    let found = match (question.timestamp, asked.api_version) {
        (LATEST, _) if asked.isolation_level == READ_COMMITTED => at(positions.last_stable),
        (LATEST, _) => at(positions.high_watermark),
        (EARLIEST, _) | (EARLIEST_LOCAL, 8..) => at(positions.log_start),
        (MAX_TIMESTAMP, 7..) => node.storage.max_timestamp(&partition).await.map_err(failed)?,
        (LATEST_TIERED, 9..) | (EARLIEST_NOT_UPLOADED, 11..) => None,
        (..0, _) => return Err(ErrorCode::UNSUPPORTED_VERSION),
        (timestamp, _) => {
            let search = node.storage.find_timestamp(&partition, TimestampMs(timestamp));
            search.await.map_err(failed)?
        }
    };
    Ok((found, leader_epoch))
}

/// What to say to a client that knows the reign `asked` of a leader in its reign `current`
/// (KIP-320); negative: it knows none.
pub(crate) fn epoch_error(asked: i32, current: i32) -> ErrorCode {
    if asked < 0 || asked == current {
        ErrorCode::NONE
    } else if asked > current {
        ErrorCode::UNKNOWN_LEADER_EPOCH
    } else {
        ErrorCode::FENCED_LEADER_EPOCH
    }
}
