//! OffsetForLeaderEpoch (key 23): where the reign of a leader ended (KIP-101, KIP-320).

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api OffsetForLeaderEpoch: OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse,
        versions 2-4, flexible 4;

    pub struct OffsetForLeaderEpochRequest {
        /// -1: a consumer, -2: a debugging consumer.
        [3+] replica_id: i32 = -2,
        [0+] topics: Vec<OffsetForLeaderTopic>,
    }

    pub struct OffsetForLeaderTopic {
        [0+] topic: WireStr,
        [0+] partitions: Vec<OffsetForLeaderPartition>,
    }

    pub struct OffsetForLeaderPartition {
        [0+] partition: i32,
        /// Epoch of the leader as the client knows it; -1: it knows none.
        [0+] current_leader_epoch: i32 = -1,
        /// The epoch that is asked about.
        [0+] leader_epoch: i32,
    }

    pub struct OffsetForLeaderEpochResponse {
        [0+] throttle_time_ms: i32,
        [0+] topics: Vec<OffsetForLeaderTopicResult>,
    }

    pub struct OffsetForLeaderTopicResult {
        [0+] topic: WireStr,
        [0+] partitions: Vec<EpochEndOffset>,
    }

    pub struct EpochEndOffset {
        [0+] error_code: ErrorCode,
        [0+] partition: i32,
        /// Largest epoch that is not larger than the one that was asked about; -1: none.
        [0+] leader_epoch: i32 = -1,
        [0+] end_offset: i64 = -1,
    }
}
