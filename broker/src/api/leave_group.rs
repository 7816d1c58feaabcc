//! LeaveGroup: members go, and the group assigns anew.

use rivven_core::group::messages::{Caller as Member, GroupError};

use super::errors::{group_error, member_error};
use super::join_group::{group_id_error, member};
use crate::groups::GroupRefusal;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};

/// First version with any number of members (KIP-345).
const MEMBERS_VERSION_MIN: i16 = 3;

pub(crate) fn handle(
    node: &Node,
    api_version: i16,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let refused = |error_code| LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    let error_code = group_id_error(&request.group_id);
    if error_code.is_error() {
        return refused(error_code);
    }
    let leaving = match api_version {
        MEMBERS_VERSION_MIN.. => request.members,
        _ => vec![MemberIdentity { member_id: request.member_id, ..MemberIdentity::default() }],
    };
    let callers: Vec<Member> = leaving
        .iter()
        .map(|one| member(&one.member_id, one.group_instance_id.as_deref()))
        .collect();
    let left = match node.groups.leave(&request.group_id, &callers) {
        Ok(left) => left,
        // Of a group that is not there nobody is a member.
        Err(GroupRefusal::Group(GroupError::UnknownMember)) => {
            vec![Err(GroupError::UnknownMember); callers.len()]
        }
        Err(refusal) => return refused(group_error(&refusal)),
    };
    let codes = left.into_iter().map(|left| match left {
        Ok(()) => ErrorCode::NONE,
        Err(error) => member_error(&error),
    });
    if api_version < MEMBERS_VERSION_MIN {
        return refused(codes.into_iter().next().unwrap_or_default());
    }
    let members = leaving.into_iter().zip(codes).map(|(one, error_code)| MemberResponse {
        member_id: one.member_id,
        group_instance_id: one.group_instance_id,
        error_code,
    });
    LeaveGroupResponse { members: members.collect(), ..LeaveGroupResponse::default() }
}
