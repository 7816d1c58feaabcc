//! OffsetCommit (key 8): how far a group has read.

use crate::ids::TopicId;

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api OffsetCommit: OffsetCommitRequest => OffsetCommitResponse, versions 2-10, flexible 8;

    pub struct OffsetCommitRequest {
        [2+] group_id: WireStr,
        /// -1: nobody's generation, which only an empty group takes.
        [2+] generation_id_or_member_epoch: i32 = -1,
        [2+] member_id: WireStr,
        [7+] group_instance_id: Option<WireStr>,
        /// -1: the broker's.
        [2-4] retention_time_ms: i64 = -1,
        [2+] topics: Vec<OffsetCommitRequestTopic>,
    }

    pub struct OffsetCommitRequestTopic {
        [2-9] name: WireStr,
        [10+] topic_id: TopicId,
        [2+] partitions: Vec<OffsetCommitRequestPartition>,
    }

    pub struct OffsetCommitRequestPartition {
        [2+] partition_index: i32,
        [2+] committed_offset: i64,
        [6+] committed_leader_epoch: i32 = -1,
        [2+] committed_metadata: Option<WireStr>,
    }

    pub struct OffsetCommitResponse {
        [3+] throttle_time_ms: i32,
        [2+] topics: Vec<OffsetCommitResponseTopic>,
    }

    pub struct OffsetCommitResponseTopic {
        [2-9] name: WireStr,
        [10+] topic_id: TopicId,
        [2+] partitions: Vec<OffsetCommitResponsePartition>,
    }

    pub struct OffsetCommitResponsePartition {
        [2+] partition_index: i32,
        [2+] error_code: ErrorCode,
    }
}
