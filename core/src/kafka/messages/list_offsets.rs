//! ListOffsets (key 2): offsets by time, and the ends of a partition.

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

// Version 11 has the layout of version 10; it only allows the timestamp −6.
messages! {
    api ListOffsets: ListOffsetsRequest => ListOffsetsResponse, versions 1-11, flexible 6;

    pub struct ListOffsetsRequest {
        /// Node id of a follower, −1 for a consumer.
        [1+] replica_id: i32,
        /// 0: read uncommitted, 1: read committed.
        [2+] isolation_level: i8,
        [1+] topics: Vec<ListOffsetsTopic>,
        /// How long tiered storage may be asked (KIP-1075).
        [10+] timeout_ms: i32,
    }

    pub struct ListOffsetsTopic {
        [1+] name: WireStr,
        [1+] partitions: Vec<ListOffsetsPartition>,
    }

    pub struct ListOffsetsPartition {
        [1+] partition_index: i32,
        [4+] current_leader_epoch: i32 = -1,
        /// Milliseconds since 1970, or −1 latest, −2 earliest, −3 greatest timestamp (from
        /// version 7), −4 earliest local (8), −5 latest tiered (9), −6 earliest not uploaded (11).
        [1+] timestamp: i64,
    }

    pub struct ListOffsetsResponse {
        [2+] throttle_time_ms: i32,
        [1+] topics: Vec<ListOffsetsTopicResponse>,
    }

    pub struct ListOffsetsTopicResponse {
        [1+] name: WireStr,
        [1+] partitions: Vec<ListOffsetsPartitionResponse>,
    }

    pub struct ListOffsetsPartitionResponse {
        [1+] partition_index: i32,
        [1+] error_code: ErrorCode,
        [1+] timestamp: i64 = -1,
        [1+] offset: i64 = -1,
        [4+] leader_epoch: i32 = -1,
    }
}
