//! OffsetFetch (key 9): the offsets that groups have committed.

use crate::ids::TopicId;

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

// Kafka's definitions have the topics twice, for versions 1 to 7 and from version 8; they differ in
// nothing but their versions.
messages! {
    api OffsetFetch: OffsetFetchRequest => OffsetFetchResponse, versions 1-10, flexible 6;

    /// One group up to version 7, any number of them from version 8 (KIP-709).
    pub struct OffsetFetchRequest {
        [1-7] group_id: WireStr,
        /// None: every topic with a committed offset.
        [1-7, null 2+] topics: Option<Vec<OffsetFetchTopic>>,
        [8+] groups: Vec<OffsetFetchGroup>,
        /// Whether offsets of open transactions are an error for their partition (KIP-447).
        [7+] require_stable: bool,
    }

    pub struct OffsetFetchGroup {
        [8+] group_id: WireStr,
        /// Null, and epoch −1, unless a member of a consumer group asks (KIP-848).
        [9+] member_id: Option<WireStr>,
        [9+] member_epoch: i32 = -1,
        /// None: every topic with a committed offset.
        [8+] topics: Option<Vec<OffsetFetchTopic>>,
    }

    /// A topic by name, from version 10 by id (KIP-848).
    pub struct OffsetFetchTopic {
        [1-9] name: WireStr,
        [10+] topic_id: TopicId,
        [1+] partition_indexes: Vec<i32>,
    }

    pub struct OffsetFetchResponse {
        [3+] throttle_time_ms: i32,
        [1-7] topics: Vec<OffsetFetchTopicResponse>,
        [2-7] error_code: ErrorCode,
        [8+] groups: Vec<OffsetFetchGroupResponse>,
    }

    pub struct OffsetFetchGroupResponse {
        [8+] group_id: WireStr,
        [8+] topics: Vec<OffsetFetchTopicResponse>,
        [8+] error_code: ErrorCode,
    }

    pub struct OffsetFetchTopicResponse {
        [1-9] name: WireStr,
        [10+] topic_id: TopicId,
        [1+] partitions: Vec<OffsetFetchPartitionResponse>,
    }

    pub struct OffsetFetchPartitionResponse {
        [1+] partition_index: i32,
        /// −1 if there is none.
        [1+] committed_offset: i64,
        [5+] committed_leader_epoch: i32 = -1,
        [1+] metadata: Option<WireStr>,
        [1+] error_code: ErrorCode,
    }
}
