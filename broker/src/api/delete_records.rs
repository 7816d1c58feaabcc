//! DeleteRecords: moves the log start of partitions up; durable when it is answered.

use rivven_core::ids::Offset;

use super::errors::append_error;
use super::find_partition;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopicResult,
};

/// The offset that stands for the high watermark.
const TO_HIGH_WATERMARK: i64 = -1;
const NO_OFFSET: i64 = -1;

pub(crate) async fn handle(node: &Node, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let (low_watermark, error_code) = match delete(node, &topic.name, asked).await {
                Ok(log_start) => (log_start.0, ErrorCode::NONE),
                Err(error_code) => (NO_OFFSET, error_code),
            };
            let partition_index = asked.partition_index;
            partitions.push(DeleteRecordsPartitionResult {
                partition_index,
                low_watermark,
                error_code,
            });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() }
}

async fn delete(
    node: &Node,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<Offset, ErrorCode> {
    let partition = find_partition(node, topic, asked.partition_index)
        .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    if !partition.config().is_deleted {
        // Without retention nothing of a topic is given up but what compaction supersedes.
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let positions = partition.positions();
    let to = match asked.offset {
        TO_HIGH_WATERMARK => positions.high_watermark,
        offset => Offset(offset),
    };
    if to < Offset::ZERO || to > positions.high_watermark {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    if to <= positions.log_start {
        return Ok(positions.log_start);
    }
    node.storage.move_log_start(&partition, to).await.map_err(|error| append_error(&error))
}
