//! ListGroups: every group of this coordinator, which has all of them.

use rivven_core::group::shard::ListedGroup as Listed;

use super::errors::group_error;
use crate::node::Node;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::list_groups::{
    ListGroupsRequest, ListGroupsResponse, ListedGroup,
};

/// Groups of JoinGroup and SyncGroup (KIP-848 calls them so).
const CLASSIC: WireStr = WireStr::from_static("classic");

pub(crate) fn handle(node: &Node, request: &ListGroupsRequest) -> ListGroupsResponse {
    let is_in = |filter: &[WireStr], name: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let mut groups = Vec::new();
    let looked = node.groups.look_at_all(|shard| {
        let wanted = |group: &Listed<'_>| {
            is_in(&request.states_filter, group.phase.name())
                && is_in(&request.types_filter, &CLASSIC)
        };
        groups.extend(shard.list().filter(wanted).map(|group| ListedGroup {
            group_id: group.name.into(),
            protocol_type: group.protocol_type.unwrap_or_default().into(),
            group_state: group.phase.name().into(),
            group_type: CLASSIC,
        }));
    });
    match looked {
        Ok(()) => ListGroupsResponse { groups, ..ListGroupsResponse::default() },
        Err(refusal) => {
            let error_code = group_error(&refusal);
            ListGroupsResponse { error_code, ..ListGroupsResponse::default() }
        }
    }
}
