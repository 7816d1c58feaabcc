//! LeaveGroup (key 13): members go, by themselves or sent away.

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api LeaveGroup: LeaveGroupRequest => LeaveGroupResponse, versions 0-5, flexible 4;

    pub struct LeaveGroupRequest {
        [0+] group_id: WireStr,
        [0-2] member_id: WireStr,
        [3+] members: Vec<MemberIdentity>,
    }

    /// Either is enough for a static member (KIP-345).
    pub struct MemberIdentity {
        [3+] member_id: WireStr,
        [3+] group_instance_id: Option<WireStr>,
        /// For people (KIP-800).
        [5+] reason: Option<WireStr>,
    }

    pub struct LeaveGroupResponse {
        [1+] throttle_time_ms: i32,
        [0+] error_code: ErrorCode,
        [3+] members: Vec<MemberResponse>,
    }

    pub struct MemberResponse {
        [3+] member_id: WireStr,
        [3+] group_instance_id: Option<WireStr>,
        [3+] error_code: ErrorCode,
    }
}
