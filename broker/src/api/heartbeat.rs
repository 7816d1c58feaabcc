//! Heartbeat: a member is alive, and hears whether its group goes on.

use super::errors::group_error;
use super::join_group::{group_id_error, member};
use crate::node::Node;
use rivven_core::kafka::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

pub(crate) fn handle(node: &Node, request: &HeartbeatRequest) -> HeartbeatResponse {
    let mut error_code = group_id_error(&request.group_id);
    if !error_code.is_error() {
        let caller = member(&request.member_id, request.group_instance_id.as_deref());
        let heard = node.groups.heartbeat(&request.group_id, (&caller, request.generation_id));
        // Kafka answers NONE while the group is being read. Here that would tell a member which was
        // put out before that it has its partitions still.
        error_code = heard.err().map(|refusal| group_error(&refusal)).unwrap_or_default();
    }
    HeartbeatResponse { error_code, ..HeartbeatResponse::default() }
}
