//! Heartbeat (key 12): a member of a classic group is alive.

use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::language::{messages, wire_field, wire_struct};
use crate::kafka::codec::text::WireStr;

messages! {
    api Heartbeat: HeartbeatRequest => HeartbeatResponse, versions 0-4, flexible 4;

    pub struct HeartbeatRequest {
        [0+] group_id: WireStr,
        [0+] generation_id: i32,
        [0+] member_id: WireStr,
        [3+] group_instance_id: Option<WireStr>,
    }

    pub struct HeartbeatResponse {
        [1+] throttle_time_ms: i32,
        [0+] error_code: ErrorCode,
    }
}
