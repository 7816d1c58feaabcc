//! ListPartitionReassignments (key 46): which partitions are being moved (KIP-455).

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api ListPartitionReassignments:
        ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse,
        versions 0-0, flexible 0;

    pub struct ListPartitionReassignmentsRequest {
        [0+] timeout_ms: i32 = 60_000,
        /// `None`: all.
        [0+] topics: Option<Vec<ListPartitionReassignmentsTopics>>,
    }

    pub struct ListPartitionReassignmentsTopics {
        [0+] name: WireStr,
        [0+] partition_indexes: Vec<i32>,
    }

    pub struct ListPartitionReassignmentsResponse {
        [0+] throttle_time_ms: i32,
        [0+] error_code: ErrorCode,
        [0+] error_message: Option<WireStr>,
        [0+] topics: Vec<OngoingTopicReassignment>,
    }

    pub struct OngoingTopicReassignment {
        [0+] name: WireStr,
        [0+] partitions: Vec<OngoingPartitionReassignment>,
    }

    pub struct OngoingPartitionReassignment {
        [0+] partition_index: i32,
        [0+] replicas: Vec<i32>,
        [0+] adding_replicas: Vec<i32>,
        [0+] removing_replicas: Vec<i32>,
    }
}
