//! AlterPartitionReassignments and ListPartitionReassignments: there is nowhere to move to.

use rivven_core::metadata::plan::partitions::check_reassignment;

use super::errors::{RowTexts, plan_error};
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use rivven_core::kafka::messages::list_partition_reassignments::ListPartitionReassignmentsResponse;

pub(crate) fn alter(
    node: &Node,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let image = node.storage.image();
    let brokers = [node.config.node_id];
    let mut texts = RowTexts::default();
    let responses = request.topics.into_iter().map(|topic| {
        let rows = topic.partitions.into_iter().map(|asked| {
            let at = (&*topic.name, asked.partition_index);
            let checked = check_reassignment(&image, at, asked.replicas.as_deref(), &brokers);
            let (error_code, text) = checked.map_or_else(plan_error, |()| (ErrorCode::NONE, None));
            let error_message = texts.next(|| text);
            let partition_index = asked.partition_index;
            ReassignablePartitionResponse { partition_index, error_code, error_message }
        });
        ReassignableTopicResponse { partitions: rows.collect(), name: topic.name.clone() }
    });
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        responses: responses.collect(),
        ..AlterPartitionReassignmentsResponse::default()
    }
}

/// None is ever under way.
pub(crate) fn list() -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}
