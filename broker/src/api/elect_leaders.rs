//! ElectLeaders: the only broker leads every partition already.

use super::find_partition;
use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::text::WireStr;
use crate::kafka::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use crate::node::Node;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(crate) fn handle(node: &Node, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let election_type = request.election_type;
    let unknown_type = !(PREFERRED..=UNCLEAN).contains(&election_type);
    let elect = |topic: &str, index: i32| -> (ErrorCode, WireStr) {
        if unknown_type {
            let text = format!("Unknown election type {election_type}");
            (ErrorCode::INVALID_REQUEST, text.into())
        } else if find_partition(node, topic, index).is_some() {
            let text = "Leader election not needed for topic partition.";
            (ErrorCode::ELECTION_NOT_NEEDED, text.into())
        } else {
            let text = match node.storage.image().topic(topic) {
                Some(_) => format!("No such partition as {topic}-{index}"),
                None => format!("No such topic as {topic}"),
            };
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, text.into())
        }
    };
    // Asked for all partitions, Kafka names those alone that an election would change.
    let asked = request.topic_partitions.unwrap_or_default();
    let results = asked.into_iter().map(|row| {
        let partitions = row.partitions.iter().map(|index| {
            let (error_code, text) = elect(&row.topic, *index);
            PartitionResult { partition_id: *index, error_code, error_message: Some(text) }
        });
        ReplicaElectionResult { partition_result: partitions.collect(), topic: row.topic }
    });
    ElectLeadersResponse {
        replica_election_results: results.collect(),
        error_code: if unknown_type { ErrorCode::INVALID_REQUEST } else { ErrorCode::NONE },
        ..ElectLeadersResponse::default()
    }
}
