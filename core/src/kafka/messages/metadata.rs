//! Metadata (key 3): brokers, and the partitions of topics with their leaders.

use crate::ids::TopicId;

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

/// What an authorized-operations field says if it was not asked for.
pub const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

messages! {
    api Metadata: MetadataRequest => MetadataResponse, versions 0-13, flexible 9;

    pub struct MetadataRequest {
        /// None: all topics, an empty array: no topic. Version 0 has no null: there the empty array
        /// means all topics.
        [0+, null 1+] topics: Option<Vec<MetadataRequestTopic>>,
        [4+] allow_auto_topic_creation: bool = true,
        [8-10] include_cluster_authorized_operations: bool,
        [8+] include_topic_authorized_operations: bool,
    }

    /// A topic by name, or from version 10 by id with a null name.
    pub struct MetadataRequestTopic {
        [10+] topic_id: TopicId,
        [0+, null 10+] name: Option<WireStr>,
    }

    pub struct MetadataResponse {
        [3+] throttle_time_ms: i32,
        [0+] brokers: Vec<MetadataResponseBroker>,
        [2+] cluster_id: Option<WireStr>,
        [1+] controller_id: i32 = -1,
        [0+] topics: Vec<MetadataResponseTopic>,
        [8-10] cluster_authorized_operations: i32 = OPERATIONS_NOT_ASKED,
        /// REBOOTSTRAP_REQUIRED or none (KIP-1102).
        [13+] error_code: ErrorCode,
    }

    pub struct MetadataResponseBroker {
        [0+] node_id: i32,
        [0+] host: WireStr,
        [0+] port: i32,
        [1+] rack: Option<WireStr>,
    }

    pub struct MetadataResponseTopic {
        [0+] error_code: ErrorCode,
        /// None if an unknown id was asked for.
        [0+, null 12+] name: Option<WireStr>,
        [10+] topic_id: TopicId,
        [1+] is_internal: bool,
        [0+] partitions: Vec<MetadataResponsePartition>,
        [8+] topic_authorized_operations: i32 = OPERATIONS_NOT_ASKED,
    }

    pub struct MetadataResponsePartition {
        [0+] error_code: ErrorCode,
        [0+] partition_index: i32,
        /// −1 if there is no leader.
        [0+] leader_id: i32,
        [7+] leader_epoch: i32 = -1,
        [0+] replica_nodes: Vec<i32>,
        [0+] isr_nodes: Vec<i32>,
        [5+] offline_replicas: Vec<i32>,
    }
}
