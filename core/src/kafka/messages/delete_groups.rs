//! DeleteGroups (key 42): forgets empty groups and what they have committed.

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api DeleteGroups: DeleteGroupsRequest => DeleteGroupsResponse, versions 0-2, flexible 2;

    pub struct DeleteGroupsRequest {
        [0+] groups_names: Vec<WireStr>,
    }

    pub struct DeleteGroupsResponse {
        [0+] throttle_time_ms: i32,
        [0+] results: Vec<DeletableGroupResult>,
    }

    pub struct DeletableGroupResult {
        [0+] group_id: WireStr,
        [0+] error_code: ErrorCode,
    }
}
