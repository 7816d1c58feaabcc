//! JoinGroup: waits until the group has formed a generation.

use std::time::Duration;

use rivven_core::group::messages::{Caller as Member, GroupError, Join};

use super::Caller;
use super::errors::group_error;
use crate::groups::GroupRefusal;
use crate::limits::MEMBER_ID_NAME_BYTES_MAX;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::header::RequestHeader;
use rivven_core::kafka::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};

/// First version in which a new member is given an id to come back with (KIP-394).
const KNOWN_ID_VERSION_MIN: i16 = 4;
/// First version with a rebalance timeout.
const REBALANCE_TIMEOUT_VERSION_MIN: i16 = 1;
/// First version whose leader can be told to keep the assignment (KIP-814).
const SKIP_ASSIGNMENT_VERSION_MIN: i16 = 9;

pub(crate) async fn handle(
    node: &Node,
    caller: Caller,
    header: &RequestHeader,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let join = join(node, caller, header, &request);
    match node.groups.join(node, &request.group_id, join).await {
        Ok(joined) => JoinGroupResponse {
            generation_id: joined.generation,
            protocol_type: Some(joined.protocol_type.into()),
            protocol_name: Some(joined.protocol.into()),
            leader: joined.leader.into(),
            skip_assignment: joined.skip_assignment,
            member_id: joined.member_id.into(),
            members: joined
                .members
                .into_iter()
                .map(|member| JoinGroupResponseMember {
                    member_id: member.member_id.into(),
                    group_instance_id: member.instance_id.map(Into::into),
                    metadata: member.metadata,
                })
                .collect(),
            ..JoinGroupResponse::default()
        },
        Err(refusal) => {
            let error_code = group_error(&refusal);
            let member_id = match refusal {
                GroupRefusal::Group(GroupError::MemberIdRequired(id)) => id.into(),
                _ => request.member_id,
            };
            JoinGroupResponse { error_code, member_id, ..JoinGroupResponse::default() }
        }
    }
}

fn join(node: &Node, caller: Caller, header: &RequestHeader, request: &JoinGroupRequest) -> Join {
    let version = header.api_version;
    let client_id = header.client_id.as_deref().unwrap_or_default();
    let name = request.group_instance_id.as_deref().unwrap_or(client_id);
    let session_timeout = millis(request.session_timeout_ms);
    let rebalance_timeout = match version {
        REBALANCE_TIMEOUT_VERSION_MIN.. => millis(request.rebalance_timeout_ms),
        _ => session_timeout,
    };
    Join {
        caller: member(&request.member_id, request.group_instance_id.as_deref()),
        client_id: client_id.to_owned(),
        client_host: format!("/{}", caller.peer.ip()),
        session_timeout,
        rebalance_timeout,
        protocol_type: request.protocol_type.as_str().to_owned(),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| {
                // A slice would keep the whole frame.
                let metadata = bytes::Bytes::copy_from_slice(&protocol.metadata);
                (protocol.name.as_str().to_owned(), metadata)
            })
            .collect(),
        needs_known_id: version >= KNOWN_ID_VERSION_MIN,
        can_skip_assignment: version >= SKIP_ASSIGNMENT_VERSION_MIN,
        fresh_member_id: fresh_member_id(node, name),
    }
}

/// What a request says of the member that sends it.
pub(super) fn member(member_id: &str, instance_id: Option<&str>) -> Member {
    Member { member_id: member_id.to_owned(), instance_id: instance_id.map(str::to_owned) }
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A name for people, and a random UUID.
fn fresh_member_id(node: &Node, name: &str) -> String {
    let name = &name[..name.floor_char_boundary(MEMBER_ID_NAME_BYTES_MAX)];
    let mut bytes = node.env.rng.bytes16();
    // RFC 9562: version 4, variant 10.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    format!("{name}-{a}-{b}-{c}-{d}-{e}")
}

/// Whether a request names a group. An empty name is nobody's.
pub(super) fn group_id_error(group_id: &str) -> ErrorCode {
    match group_id.is_empty() {
        true => ErrorCode::INVALID_GROUP_ID,
        false => ErrorCode::NONE,
    }
}
