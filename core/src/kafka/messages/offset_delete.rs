//! OffsetDelete (key 47): forgets what a group has committed for some partitions (KIP-496).

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api OffsetDelete: OffsetDeleteRequest => OffsetDeleteResponse, versions 0-0, flexible 32_767;

    pub struct OffsetDeleteRequest {
        [0+] group_id: WireStr,
        [0+] topics: Vec<OffsetDeleteRequestTopic>,
    }

    pub struct OffsetDeleteRequestTopic {
        [0+] name: WireStr,
        [0+] partitions: Vec<OffsetDeleteRequestPartition>,
    }

    pub struct OffsetDeleteRequestPartition {
        [0+] partition_index: i32,
    }

    pub struct OffsetDeleteResponse {
        [0+] error_code: ErrorCode,
        [0+] throttle_time_ms: i32,
        [0+] topics: Vec<OffsetDeleteResponseTopic>,
    }

    pub struct OffsetDeleteResponseTopic {
        [0+] name: WireStr,
        [0+] partitions: Vec<OffsetDeleteResponsePartition>,
    }

    pub struct OffsetDeleteResponsePartition {
        [0+] partition_index: i32,
        [0+] error_code: ErrorCode,
    }
}
