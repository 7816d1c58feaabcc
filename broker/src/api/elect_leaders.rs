//! ElectLeaders: the only broker leads every partition already.

use rivven_core::limits::TOPIC_NAME_BYTES_MAX;

use super::errors::RowTexts;
use super::find_partition;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(crate) fn handle(node: &Node, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let election_type = request.election_type;
    let unknown_type = !(PREFERRED..=UNCLEAN).contains(&election_type);
    let mut texts = RowTexts::default();
    let mut elect = |topic: &str, index: i32| -> (ErrorCode, Option<WireStr>) {
        if unknown_type {
            let text = || Some(format!("Unknown election type {election_type}").into());
            (ErrorCode::INVALID_REQUEST, texts.next(text))
        } else if find_partition(node, topic, index).is_some() {
            let text = "Leader election not needed for topic partition.";
            (ErrorCode::ELECTION_NOT_NEEDED, texts.next(|| Some(text.into())))
        } else {
            let text = || match node.storage.image().topic(topic) {
                Some(_) => Some(format!("No such partition as {topic}-{index}").into()),
                None if topic.len() > TOPIC_NAME_BYTES_MAX => None,
                None => Some(format!("No such topic as {topic}").into()),
            };
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, texts.next(text))
        }
    };
    // Asked for all partitions, Kafka names those alone that an election would change.
    let asked = request.topic_partitions.unwrap_or_default();
    let results = asked.into_iter().map(|row| {
        let partitions = row.partitions.iter().map(|index| {
            let (error_code, error_message) = elect(&row.topic, *index);
            PartitionResult { partition_id: *index, error_code, error_message }
        });
        ReplicaElectionResult { partition_result: partitions.collect(), topic: row.topic.clone() }
    });
    ElectLeadersResponse {
        replica_election_results: results.collect(),
        error_code: if unknown_type { ErrorCode::INVALID_REQUEST } else { ErrorCode::NONE },
        ..ElectLeadersResponse::default()
    }
}
