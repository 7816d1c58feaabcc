//! Which errors of the broker promise that a write had no effect.

use rivven_core::kafka::codec::error_code::ErrorCode;

/// Whether a write that was answered with `code` has had no effect and never will have.
///
/// KAFKA_STORAGE_ERROR is not such a promise: after a failed sync the write may be on disk. A
/// coordinator that could not store something says COORDINATOR_NOT_AVAILABLE.
#[must_use]
pub(crate) fn is_definite(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::UNKNOWN_SERVER_ERROR
            | ErrorCode::NONE
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::BROKER_NOT_AVAILABLE
            | ErrorCode::NETWORK_EXCEPTION
            | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
    ) && code.name().is_some()
}

/// Whether the same request may succeed later.
#[must_use]
pub(crate) fn is_retriable(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UNKNOWN_SERVER_ERROR
            | ErrorCode::CORRUPT_MESSAGE
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::BROKER_NOT_AVAILABLE
            | ErrorCode::REPLICA_NOT_AVAILABLE
            | ErrorCode::NETWORK_EXCEPTION
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::THROTTLING_QUOTA_EXCEEDED
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_rule_an_effect_out_are_definite() {
        for (code, definite, retriable) in [
            (ErrorCode::NONE, false, false),
            (ErrorCode::KAFKA_STORAGE_ERROR, false, true),
            (ErrorCode::REQUEST_TIMED_OUT, false, true),
            (ErrorCode::CORRUPT_MESSAGE, true, true),
            (ErrorCode::NOT_ENOUGH_REPLICAS, true, true),
            (ErrorCode::MESSAGE_TOO_LARGE, true, false),
            (ErrorCode::UNKNOWN_TOPIC_ID, true, false),
            (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, true, false),
            (ErrorCode(9999), false, false),
        ] {
            assert_eq!((is_definite(code), is_retriable(code)), (definite, retriable), "{code}");
        }
    }
}
