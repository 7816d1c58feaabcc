//! DeleteTopics (key 20).

use crate::ids::TopicId;

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api DeleteTopics: DeleteTopicsRequest => DeleteTopicsResponse, versions 1-6, flexible 4;

    pub struct DeleteTopicsRequest {
        [6+] topics: Vec<DeleteTopicState>,
        [1-5] topic_names: Vec<WireStr>,
        [1+] timeout_ms: i32,
    }

    /// A topic by name, or by id with a null name.
    pub struct DeleteTopicState {
        [6+] name: Option<WireStr>,
        [6+] topic_id: TopicId,
    }

    pub struct DeleteTopicsResponse {
        [1+] throttle_time_ms: i32,
        [1+] responses: Vec<DeletableTopicResult>,
    }

    pub struct DeletableTopicResult {
        [1+, null 6+] name: Option<WireStr>,
        [6+] topic_id: TopicId,
        [1+] error_code: ErrorCode,
        [5+] error_message: Option<WireStr>,
    }
}
