//! AlterPartitionReassignments (key 45): moves partitions to other brokers (KIP-455).

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api AlterPartitionReassignments:
        AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse,
        versions 0-1, flexible 0;

    pub struct AlterPartitionReassignmentsRequest {
        [0+] timeout_ms: i32 = 60_000,
        [1+] allow_replication_factor_change: bool = true,
        [0+] topics: Vec<ReassignableTopic>,
    }

    pub struct ReassignableTopic {
        [0+] name: WireStr,
        [0+] partitions: Vec<ReassignablePartition>,
    }

    pub struct ReassignablePartition {
        [0+] partition_index: i32,
        /// `None`: cancels what is under way.
        [0+] replicas: Option<Vec<i32>>,
    }

    pub struct AlterPartitionReassignmentsResponse {
        [0+] throttle_time_ms: i32,
        [1+] allow_replication_factor_change: bool = true,
        [0+] error_code: ErrorCode,
        [0+] error_message: Option<WireStr>,
        [0+] responses: Vec<ReassignableTopicResponse>,
    }

    pub struct ReassignableTopicResponse {
        [0+] name: WireStr,
        [0+] partitions: Vec<ReassignablePartitionResponse>,
    }

    pub struct ReassignablePartitionResponse {
        [0+] partition_index: i32,
        [0+] error_code: ErrorCode,
        [0+] error_message: Option<WireStr>,
    }
}
