//! Consumer groups over the native protocol: the one place where the coordinator is to be called.

use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;

use super::errors::Failure;
use crate::kafka::codec::error_code::ErrorCode;

/// The answer to a request about groups; `None` if it is about something else.
pub(super) fn answer(request: &Request) -> Option<Result<Response, Failure>> {
    match request {
        Request::CommitOffset { .. }
        | Request::CommitOffsets { .. }
        | Request::GetOffset { .. }
        | Request::ListGroups
        | Request::DescribeGroup { .. }
        | Request::DeleteGroup { .. }
        | Request::JoinGroup { .. }
        | Request::SyncGroup { .. }
        | Request::Heartbeat { .. }
        | Request::LeaveGroup { .. } => Some(Err(Failure::new(
            ErrorCode::UNSUPPORTED_VERSION,
            "this broker has no consumer groups yet",
        ))),
        _ => None,
    }
}
