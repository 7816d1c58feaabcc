//! Produce (key 0): appends record batches to partitions. Versions 0 to 2 are advertised only.

use crate::ids::TopicId;
use bytes::Bytes;

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api Produce: ProduceRequest => ProduceResponse, versions 3-13, flexible 9;

    /// Record batches for any number of partitions.
    pub struct ProduceRequest {
        [3+] transactional_id: Option<WireStr>,
        /// −1: all in-sync replicas, 1: the leader, 0: no response at all.
        [3+] acks: i16,
        [3+] timeout_ms: i32,
        [3+] topic_data: Vec<TopicProduceData>,
    }

    pub struct TopicProduceData {
        [3-12] name: WireStr,
        [13+] topic_id: TopicId,
        [3+] partition_data: Vec<PartitionProduceData>,
    }

    pub struct PartitionProduceData {
        [3+] index: i32,
        /// Record batches as they came, a slice of the frame.
        [3+] records: Option<Bytes>,
    }

    /// One row for each partition of the request.
    pub struct ProduceResponse {
        [3+] responses: Vec<TopicProduceResponse>,
        [3+] throttle_time_ms: i32,
        /// Addresses of the leaders named in `current_leader` (KIP-951).
        [10+, tag 0] node_endpoints: Vec<NodeEndpoint>,
    }

    pub struct TopicProduceResponse {
        [3-12] name: WireStr,
        [13+] topic_id: TopicId,
        [3+] partition_responses: Vec<PartitionProduceResponse>,
    }

    pub struct PartitionProduceResponse {
        [3+] index: i32,
        [3+] error_code: ErrorCode,
        [3+] base_offset: i64,
        /// −1 unless the topic stamps records with the time of the append.
        [3+] log_append_time_ms: i64 = -1,
        [5+] log_start_offset: i64 = -1,
        /// Which records of the batch were refused (KIP-467).
        [8+] record_errors: Vec<BatchIndexAndErrorMessage>,
        [8+] error_message: Option<WireStr>,
        [10+, tag 0] current_leader: LeaderIdAndEpoch,
    }

    pub struct BatchIndexAndErrorMessage {
        /// Index of the record in its batch.
        [8+] batch_index: i32,
        [8+] batch_index_error_message: Option<WireStr>,
    }

    /// The leader to ask instead; −1 if unknown.
    pub struct LeaderIdAndEpoch {
        [10+] leader_id: i32 = -1,
        [10+] leader_epoch: i32 = -1,
    }

    pub struct NodeEndpoint {
        [10+] node_id: i32,
        [10+] host: WireStr,
        [10+] port: i32,
        [10+] rack: Option<WireStr>,
    }
}
