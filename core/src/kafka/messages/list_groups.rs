//! ListGroups (key 16): the groups of this coordinator.

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api ListGroups: ListGroupsRequest => ListGroupsResponse, versions 0-5, flexible 3;

    pub struct ListGroupsRequest {
        /// Empty: all; names in any case (KIP-518).
        [4+] states_filter: Vec<WireStr>,
        /// Empty: all (KIP-848).
        [5+] types_filter: Vec<WireStr>,
    }

    pub struct ListGroupsResponse {
        [1+] throttle_time_ms: i32,
        [0+] error_code: ErrorCode,
        [0+] groups: Vec<ListedGroup>,
    }

    pub struct ListedGroup {
        [0+] group_id: WireStr,
        [0+] protocol_type: WireStr,
        [4+] group_state: WireStr,
        [5+] group_type: WireStr,
    }
}
