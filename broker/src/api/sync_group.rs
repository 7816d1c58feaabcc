//! SyncGroup: waits until the leader's assignment is stored.

use bytes::Bytes;
use rivven_core::group::messages::Sync;

use super::errors::group_error;
use super::join_group::{group_id_error, member};
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

/// First version that says what the member takes part in (KIP-559).
const PROTOCOL_VERSION_MIN: i16 = 5;

pub(crate) async fn handle(
    node: &Node,
    api_version: i16,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let refused = |error_code| SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
    let error_code = group_id_error(&request.group_id);
    if error_code.is_error() {
        return refused(error_code);
    }
    let lacks_protocol = request.protocol_type.is_none() || request.protocol_name.is_none();
    if api_version >= PROTOCOL_VERSION_MIN && lacks_protocol {
        return refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    let text = |text: &str| text.to_owned();
    let sync = Sync {
        caller: member(&request.member_id, request.group_instance_id.as_deref()),
        generation: request.generation_id,
        protocol_type: request.protocol_type.as_deref().map(text),
        protocol: request.protocol_name.as_deref().map(text),
        assignments: request
            .assignments
            .iter()
            .map(|of| (text(&of.member_id), Bytes::copy_from_slice(&of.assignment)))
            .collect(),
    };
    match node.groups.sync(&request.group_id, sync).await {
        Ok(synced) => SyncGroupResponse {
            protocol_type: Some(synced.protocol_type.into()),
            protocol_name: Some(synced.protocol.into()),
            assignment: synced.assignment,
            ..SyncGroupResponse::default()
        },
        Err(refusal) => refused(group_error(&refusal)),
    }
}
