//! OffsetForLeaderEpoch: where a leader's reign ended. The only broker has led since the beginning.

use super::find_partition;
use super::list_offsets::epoch_error;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};

pub(crate) fn handle(
    node: &Node,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let rows = topic.partitions.iter().map(|asked| answer(node, &topic.topic, asked));
        OffsetForLeaderTopicResult { partitions: rows.collect(), topic: topic.topic }
    });
    OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..OffsetForLeaderEpochResponse::default()
    }
}

fn answer(node: &Node, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let mut row = EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() };
    let Some(partition) = find_partition(node, topic, asked.partition) else {
        row.error_code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        return row;
    };
    let current = partition.leader_epoch().0;
    row.error_code = epoch_error(asked.current_leader_epoch, current);
    if !row.error_code.is_error() && asked.leader_epoch == current {
        row.leader_epoch = current;
        row.end_offset = partition.positions().log_end.0;
    }
    row
}
