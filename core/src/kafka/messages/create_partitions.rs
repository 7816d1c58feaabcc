//! CreatePartitions (key 37): adds partitions to topics.

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api CreatePartitions: CreatePartitionsRequest => CreatePartitionsResponse,
        versions 0-3, flexible 2;

    pub struct CreatePartitionsRequest {
        [0+] topics: Vec<CreatePartitionsTopic>,
        [0+] timeout_ms: i32,
        [0+] validate_only: bool,
    }

    pub struct CreatePartitionsTopic {
        [0+] name: WireStr,
        /// Partitions that the topic shall have in all.
        [0+] count: i32,
        /// Replicas of each new partition; none: the broker places them.
        [0+] assignments: Option<Vec<CreatePartitionsAssignment>>,
    }

    pub struct CreatePartitionsAssignment {
        [0+] broker_ids: Vec<i32>,
    }

    pub struct CreatePartitionsResponse {
        [0+] throttle_time_ms: i32,
        [0+] results: Vec<CreatePartitionsTopicResult>,
    }

    pub struct CreatePartitionsTopicResult {
        [0+] name: WireStr,
        [0+] error_code: ErrorCode,
        [0+] error_message: Option<WireStr>,
    }
}
