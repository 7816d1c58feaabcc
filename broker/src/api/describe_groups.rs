//! DescribeGroups: the state and the members of groups.

use std::collections::BTreeSet;

use bytes::Bytes;
use rivven_core::group::machine::Phase;
use rivven_core::group::shard::DescribedGroup as Described;

use super::errors::group_error;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

/// First version in which an unknown group is an error (KIP-1043).
const NOT_FOUND_VERSION_MIN: i16 = 6;
/// What a group that is not there is in.
const DEAD: WireStr = WireStr::from_static("Dead");
/// AclOperation READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS, as bits: nobody is
/// refused anything while there are no permissions.
const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub(crate) fn handle(
    node: &Node,
    api_version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let operations = if request.include_authorized_operations { ALL_OPERATIONS } else { i32::MIN };
    let describe = |group_id: WireStr| {
        let mut row = match node.groups.look(&group_id, |shard| shard.describe(&group_id)) {
            Ok(Some(group)) => described(group),
            Ok(None) => unknown(api_version, &group_id),
            Err(refusal) => {
                DescribedGroup { error_code: group_error(&refusal), ..DescribedGroup::default() }
            }
        };
        if !row.error_code.is_error() {
            row.authorized_operations = operations;
        }
        DescribedGroup { group_id, ..row }
    };
    // Each once: a small request must not get a large group many times.
    let mut seen = BTreeSet::new();
    let groups = request.groups.into_iter().filter(|group| seen.insert(group.clone()));
    let groups = groups.map(describe).collect();
    DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() }
}

fn unknown(api_version: i16, group_id: &str) -> DescribedGroup {
    let mut row = DescribedGroup { group_state: DEAD, ..DescribedGroup::default() };
    if api_version >= NOT_FOUND_VERSION_MIN {
        row.error_code = ErrorCode::GROUP_ID_NOT_FOUND;
        row.error_message = Some(format!("Group {group_id} not found.").into());
    }
    row
}

/// Between two generations nobody's metadata counts.
fn described(group: Described) -> DescribedGroup {
    let is_stable = group.phase == Phase::Stable;
    let state = group.state;
    let members = state.members.into_iter().map(|member| DescribedGroupMember {
        member_id: member.member_id.into(),
        group_instance_id: member.instance_id.map(Into::into),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        member_metadata: if is_stable { member.metadata } else { Bytes::new() },
        member_assignment: member.assignment,
    });
    DescribedGroup {
        group_state: group.phase.name().into(),
        protocol_type: state.protocol_type.unwrap_or_default().into(),
        protocol_data: state.protocol.filter(|_| is_stable).unwrap_or_default().into(),
        members: members.collect(),
        ..DescribedGroup::default()
    }
}
