//! JoinGroup (key 11): a member of a classic group comes, or comes again.

use bytes::Bytes;

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api JoinGroup: JoinGroupRequest => JoinGroupResponse, versions 0-9, flexible 6;

    pub struct JoinGroupRequest {
        [0+] group_id: WireStr,
        [0+] session_timeout_ms: i32,
        /// Without one the session timeout counts.
        [1+] rebalance_timeout_ms: i32 = -1,
        /// Empty: it has none yet. From version 4 it then gets one to come back with (KIP-394).
        [0+] member_id: WireStr,
        /// Of a static member (KIP-345).
        [5+] group_instance_id: Option<WireStr>,
        [0+] protocol_type: WireStr,
        /// The preferred one first.
        [0+] protocols: Vec<JoinGroupRequestProtocol>,
        /// Why it comes again, for people (KIP-800).
        [8+] reason: Option<WireStr>,
    }

    pub struct JoinGroupRequestProtocol {
        [0+] name: WireStr,
        [0+] metadata: Bytes,
    }

    pub struct JoinGroupResponse {
        [2+] throttle_time_ms: i32,
        [0+] error_code: ErrorCode,
        [0+] generation_id: i32 = -1,
        [7+] protocol_type: Option<WireStr>,
        [0+, null 7+] protocol_name: Option<WireStr>,
        [0+] leader: WireStr,
        /// The leader keeps the assignment that there is (KIP-814).
        [9+] skip_assignment: bool,
        [0+] member_id: WireStr,
        /// Everybody, for the leader.
        [0+] members: Vec<JoinGroupResponseMember>,
    }

    pub struct JoinGroupResponseMember {
        [0+] member_id: WireStr,
        [5+] group_instance_id: Option<WireStr>,
        [0+] metadata: Bytes,
    }
}
