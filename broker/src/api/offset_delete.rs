//! OffsetDelete: forgets what a group has committed for partitions that it does not use.

use rivven_core::group::messages::GroupError;
use rivven_core::group::offsets::CommittedFor;

use super::errors::group_error;
use super::find_partition;
use crate::groups::Refusable;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};

pub(crate) async fn handle(node: &Node, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    match delete(node, &request).await {
        Ok(topics) => OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() },
        Err(refusal) => {
            let error_code = group_error(&refusal);
            OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() }
        }
    }
}

async fn delete(
    node: &Node,
    request: &OffsetDeleteRequest,
) -> Refusable<Vec<OffsetDeleteResponseTopic>> {
    let group = &*request.group_id;
    if group.is_empty() {
        return Err(GroupError::InvalidGroupId.into());
    }
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let partition_index = partition.partition_index;
            let error_code = match find_partition(node, &topic.name, partition_index) {
                Some(_) => ErrorCode::NONE,
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            };
            if !error_code.is_error() {
                let topic = topic.name.as_str().to_owned();
                offsets.push(CommittedFor { topic, partition: partition_index });
            }
            partitions.push(OffsetDeleteResponsePartition { partition_index, error_code });
        }
        topics.push(OffsetDeleteResponseTopic { name: topic.name.clone(), partitions });
    }
    let used = node.groups.delete_offsets(group, offsets).await?;
    for topic in topics.iter_mut().filter(|topic| used.contains(topic.name.as_str())) {
        for row in topic.partitions.iter_mut().filter(|row| !row.error_code.is_error()) {
            row.error_code = ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC;
        }
    }
    Ok(topics)
}
