//! CreateTopics (key 19).

use crate::ids::TopicId;

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api CreateTopics: CreateTopicsRequest => CreateTopicsResponse, versions 2-7, flexible 5;

    pub struct CreateTopicsRequest {
        [2+] topics: Vec<CreatableTopic>,
        [2+] timeout_ms: i32 = 60000,
        [2+] validate_only: bool,
    }

    pub struct CreatableTopic {
        [2+] name: WireStr,
        /// −1: the broker's default, or as many as there are assignments.
        [2+] num_partitions: i32,
        /// −1: the broker's default, or as the assignments say.
        [2+] replication_factor: i16,
        [2+] assignments: Vec<CreatableReplicaAssignment>,
        [2+] configs: Vec<CreatableTopicConfig>,
    }

    pub struct CreatableReplicaAssignment {
        [2+] partition_index: i32,
        [2+] broker_ids: Vec<i32>,
    }

    pub struct CreatableTopicConfig {
        [2+] name: WireStr,
        [2+] value: Option<WireStr>,
    }

    pub struct CreateTopicsResponse {
        [2+] throttle_time_ms: i32,
        [2+] topics: Vec<CreatableTopicResult>,
    }

    pub struct CreatableTopicResult {
        [2+] name: WireStr,
        [7+] topic_id: TopicId,
        [2+] error_code: ErrorCode,
        [2+] error_message: Option<WireStr>,
        /// Set if the caller may not read the topic's configuration; `configs` is null then.
        [5+, tag 0] topic_config_error_code: ErrorCode,
        [5+] num_partitions: i32 = -1,
        [5+] replication_factor: i16 = -1,
        [5+] configs: Option<Vec<CreatableTopicConfigs>>,
    }

    pub struct CreatableTopicConfigs {
        [5+] name: WireStr,
        [5+] value: Option<WireStr>,
        [5+] read_only: bool,
        [5+] config_source: i8 = -1,
        [5+] is_sensitive: bool,
    }
}
