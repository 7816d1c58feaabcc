//! SyncGroup (key 14): the leader brings the assignment, and everybody gets his part.

use bytes::Bytes;

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api SyncGroup: SyncGroupRequest => SyncGroupResponse, versions 0-5, flexible 4;

    pub struct SyncGroupRequest {
        [0+] group_id: WireStr,
        [0+] generation_id: i32,
        [0+] member_id: WireStr,
        [3+] group_instance_id: Option<WireStr>,
        [5+] protocol_type: Option<WireStr>,
        [5+] protocol_name: Option<WireStr>,
        /// The leader's.
        [0+] assignments: Vec<SyncGroupRequestAssignment>,
    }

    pub struct SyncGroupRequestAssignment {
        [0+] member_id: WireStr,
        [0+] assignment: Bytes,
    }

    pub struct SyncGroupResponse {
        [1+] throttle_time_ms: i32,
        [0+] error_code: ErrorCode,
        [5+] protocol_type: Option<WireStr>,
        [5+] protocol_name: Option<WireStr>,
        [0+] assignment: Bytes,
    }
}
