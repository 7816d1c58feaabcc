//! DeleteGroups: a group without members goes, with what it has committed.

use super::errors::group_error;
use crate::groups::GroupRefusal;
use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};
use crate::node::Node;

pub(crate) async fn handle(node: &Node, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let deleted = match node.groups.is_unused() {
            true if !group_id.is_empty() => {
                Err(GroupRefusal::from(rivven_core::group::messages::GroupError::UnknownGroup))
            }
            _ => node.groups.delete(&group_id).await,
        };
        let error_code = match deleted {
            Ok(()) => ErrorCode::NONE,
            Err(refusal) => group_error(&refusal),
        };
        results.push(DeletableGroupResult { group_id, error_code });
    }
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}
