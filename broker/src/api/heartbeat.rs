//! Heartbeat: a member is alive, and hears whether its group goes on.

use super::errors::group_error;
use super::join_group::{group_id_error, member};
use crate::groups::GroupRefusal;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

pub(crate) fn handle(node: &Node, request: &HeartbeatRequest) -> HeartbeatResponse {
    let mut error_code = group_id_error(&request.group_id);
    if !error_code.is_error() {
        let caller = member(&request.member_id, request.group_instance_id.as_deref());
        let heard = node.groups.heartbeat(&request.group_id, (&caller, request.generation_id));
        error_code = match heard {
            // As Kafka: the member is told when its group is there again.
            Ok(()) | Err(GroupRefusal::Loading) => ErrorCode::NONE,
            Err(refusal) => group_error(&refusal),
        };
    }
    HeartbeatResponse { error_code, ..HeartbeatResponse::default() }
}
