//! ElectLeaders (key 43): makes preferred or unclean replicas leaders (KIP-460).

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api ElectLeaders: ElectLeadersRequest => ElectLeadersResponse,
        versions 0-2, flexible 2;

    pub struct ElectLeadersRequest {
        /// 0: preferred, 1: unclean.
        [1+] election_type: i8,
        /// `None`: all partitions.
        [0+] topic_partitions: Option<Vec<TopicPartitions>>,
        [0+] timeout_ms: i32 = 60_000,
    }

    pub struct TopicPartitions {
        [0+] topic: WireStr,
        [0+] partitions: Vec<i32>,
    }

    pub struct ElectLeadersResponse {
        [0+] throttle_time_ms: i32,
        [1+] error_code: ErrorCode,
        [0+] replica_election_results: Vec<ReplicaElectionResult>,
    }

    pub struct ReplicaElectionResult {
        [0+] topic: WireStr,
        [0+] partition_result: Vec<PartitionResult>,
    }

    pub struct PartitionResult {
        [0+] partition_id: i32,
        [0+] error_code: ErrorCode,
        [0+] error_message: Option<WireStr>,
    }
}
