//! Kafka's error codes and their names.

use std::fmt;

/// An error code of a response: any i16, so that a newer peer's code survives.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i16);

macro_rules! error_codes {
    ($($code:literal $name:ident)*) => {
        impl ErrorCode {
            $( pub const $name: ErrorCode = ErrorCode($code); )*

            /// Kafka's name of the code; `None` for a code that Kafka 4.3 does not have.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $( ErrorCode::$name => Some(stringify!($name)), )*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    -1 UNKNOWN_SERVER_ERROR
    0 NONE
    1 OFFSET_OUT_OF_RANGE
    2 CORRUPT_MESSAGE
    3 UNKNOWN_TOPIC_OR_PARTITION
    4 INVALID_FETCH_SIZE
    5 LEADER_NOT_AVAILABLE
    6 NOT_LEADER_OR_FOLLOWER
    7 REQUEST_TIMED_OUT
    8 BROKER_NOT_AVAILABLE
    9 REPLICA_NOT_AVAILABLE
    10 MESSAGE_TOO_LARGE
    11 STALE_CONTROLLER_EPOCH
    12 OFFSET_METADATA_TOO_LARGE
    13 NETWORK_EXCEPTION
    14 COORDINATOR_LOAD_IN_PROGRESS
    15 COORDINATOR_NOT_AVAILABLE
    16 NOT_COORDINATOR
    17 INVALID_TOPIC_EXCEPTION
    18 RECORD_LIST_TOO_LARGE
    19 NOT_ENOUGH_REPLICAS
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND
    21 INVALID_REQUIRED_ACKS
    22 ILLEGAL_GENERATION
    23 INCONSISTENT_GROUP_PROTOCOL
    24 INVALID_GROUP_ID
    25 UNKNOWN_MEMBER_ID
    26 INVALID_SESSION_TIMEOUT
    27 REBALANCE_IN_PROGRESS
    28 INVALID_COMMIT_OFFSET_SIZE
    29 TOPIC_AUTHORIZATION_FAILED
    30 GROUP_AUTHORIZATION_FAILED
    31 CLUSTER_AUTHORIZATION_FAILED
    32 INVALID_TIMESTAMP
    33 UNSUPPORTED_SASL_MECHANISM
    34 ILLEGAL_SASL_STATE
    35 UNSUPPORTED_VERSION
    36 TOPIC_ALREADY_EXISTS
    37 INVALID_PARTITIONS
    38 INVALID_REPLICATION_FACTOR
    39 INVALID_REPLICA_ASSIGNMENT
    40 INVALID_CONFIG
    41 NOT_CONTROLLER
    42 INVALID_REQUEST
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT
    44 POLICY_VIOLATION
    45 OUT_OF_ORDER_SEQUENCE_NUMBER
    46 DUPLICATE_SEQUENCE_NUMBER
    47 INVALID_PRODUCER_EPOCH
    48 INVALID_TXN_STATE
    49 INVALID_PRODUCER_ID_MAPPING
    50 INVALID_TRANSACTION_TIMEOUT
    51 CONCURRENT_TRANSACTIONS
    52 TRANSACTION_COORDINATOR_FENCED
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    54 SECURITY_DISABLED
    55 OPERATION_NOT_ATTEMPTED
    56 KAFKA_STORAGE_ERROR
    57 LOG_DIR_NOT_FOUND
    58 SASL_AUTHENTICATION_FAILED
    59 UNKNOWN_PRODUCER_ID
    60 REASSIGNMENT_IN_PROGRESS
    61 DELEGATION_TOKEN_AUTH_DISABLED
    62 DELEGATION_TOKEN_NOT_FOUND
    63 DELEGATION_TOKEN_OWNER_MISMATCH
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED
    66 DELEGATION_TOKEN_EXPIRED
    67 INVALID_PRINCIPAL_TYPE
    68 NON_EMPTY_GROUP
    69 GROUP_ID_NOT_FOUND
    70 FETCH_SESSION_ID_NOT_FOUND
    71 INVALID_FETCH_SESSION_EPOCH
    72 LISTENER_NOT_FOUND
    73 TOPIC_DELETION_DISABLED
    74 FENCED_LEADER_EPOCH
    75 UNKNOWN_LEADER_EPOCH
    76 UNSUPPORTED_COMPRESSION_TYPE
    77 STALE_BROKER_EPOCH
    78 OFFSET_NOT_AVAILABLE
    79 MEMBER_ID_REQUIRED
    80 PREFERRED_LEADER_NOT_AVAILABLE
    81 GROUP_MAX_SIZE_REACHED
    82 FENCED_INSTANCE_ID
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE
    84 ELECTION_NOT_NEEDED
    85 NO_REASSIGNMENT_IN_PROGRESS
    86 GROUP_SUBSCRIBED_TO_TOPIC
    87 INVALID_RECORD
    88 UNSTABLE_OFFSET_COMMIT
    89 THROTTLING_QUOTA_EXCEEDED
    90 PRODUCER_FENCED
    91 RESOURCE_NOT_FOUND
    92 DUPLICATE_RESOURCE
    93 UNACCEPTABLE_CREDENTIAL
    94 INCONSISTENT_VOTER_SET
    95 INVALID_UPDATE_VERSION
    96 FEATURE_UPDATE_FAILED
    97 PRINCIPAL_DESERIALIZATION_FAILURE
    98 SNAPSHOT_NOT_FOUND
    99 POSITION_OUT_OF_RANGE
    100 UNKNOWN_TOPIC_ID
    101 DUPLICATE_BROKER_REGISTRATION
    102 BROKER_ID_NOT_REGISTERED
    103 INCONSISTENT_TOPIC_ID
    104 INCONSISTENT_CLUSTER_ID
    105 TRANSACTIONAL_ID_NOT_FOUND
    106 FETCH_SESSION_TOPIC_ID_ERROR
    107 INELIGIBLE_REPLICA
    108 NEW_LEADER_ELECTED
    109 OFFSET_MOVED_TO_TIERED_STORAGE
    110 FENCED_MEMBER_EPOCH
    111 UNRELEASED_INSTANCE_ID
    112 UNSUPPORTED_ASSIGNOR
    113 STALE_MEMBER_EPOCH
    114 MISMATCHED_ENDPOINT_TYPE
    115 UNSUPPORTED_ENDPOINT_TYPE
    116 UNKNOWN_CONTROLLER_ID
    117 UNKNOWN_SUBSCRIPTION_ID
    118 TELEMETRY_TOO_LARGE
    119 INVALID_REGISTRATION
    120 TRANSACTION_ABORTABLE
    121 INVALID_RECORD_STATE
    122 SHARE_SESSION_NOT_FOUND
    123 INVALID_SHARE_SESSION_EPOCH
    124 FENCED_STATE_EPOCH
    125 INVALID_VOTER_KEY
    126 DUPLICATE_VOTER
    127 VOTER_NOT_FOUND
    128 INVALID_REGULAR_EXPRESSION
    129 REBOOTSTRAP_REQUIRED
    130 STREAMS_INVALID_TOPOLOGY
    131 STREAMS_INVALID_TOPOLOGY_EPOCH
    132 STREAMS_TOPOLOGY_FENCED
    133 SHARE_SESSION_LIMIT_REACHED
}

impl ErrorCode {
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 != ErrorCode::NONE.0
    }
}

impl ErrorCode {
    /// Whether the same request may succeed later: Kafka's RetriableException, as its clients
    /// treat it.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(
            self,
            ErrorCode::CORRUPT_MESSAGE
                | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                | ErrorCode::LEADER_NOT_AVAILABLE
                | ErrorCode::NOT_LEADER_OR_FOLLOWER
                | ErrorCode::REQUEST_TIMED_OUT
                | ErrorCode::BROKER_NOT_AVAILABLE
                | ErrorCode::REPLICA_NOT_AVAILABLE
                | ErrorCode::NETWORK_EXCEPTION
                | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
                | ErrorCode::COORDINATOR_NOT_AVAILABLE
                | ErrorCode::NOT_COORDINATOR
                | ErrorCode::NOT_ENOUGH_REPLICAS
                | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
                | ErrorCode::NOT_CONTROLLER
                | ErrorCode::KAFKA_STORAGE_ERROR
                | ErrorCode::FETCH_SESSION_ID_NOT_FOUND
                | ErrorCode::INVALID_FETCH_SESSION_EPOCH
                | ErrorCode::LISTENER_NOT_FOUND
                | ErrorCode::FENCED_LEADER_EPOCH
                | ErrorCode::UNKNOWN_LEADER_EPOCH
                | ErrorCode::OFFSET_NOT_AVAILABLE
                | ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE
                | ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE
                | ErrorCode::ELECTION_NOT_NEEDED
                | ErrorCode::UNSTABLE_OFFSET_COMMIT
                | ErrorCode::THROTTLING_QUOTA_EXCEEDED
                | ErrorCode::UNKNOWN_TOPIC_ID
                | ErrorCode::INCONSISTENT_TOPIC_ID
                | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
                | ErrorCode::CONCURRENT_TRANSACTIONS
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "unknown error ({})", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::error::ResponseError;

    use super::*;

    #[test]
    fn codes_run_from_minus_1_to_133_without_a_hole() {
        for code in -1..=133 {
            assert!(ErrorCode(code).name().is_some(), "code {code}");
        }
        assert_eq!(ErrorCode(134).name(), None);
        assert_eq!(ErrorCode(-2).name(), None);
        assert_eq!(ErrorCode(134).to_string(), "unknown error (134)");
    }

    #[test]
    fn names_agree_with_another_implementation() {
        let letters = |name: &str| name.replace('_', "").to_ascii_lowercase();
        let mut compared = 0;
        for code in (-1..=133).filter(|code| *code != 0) {
            let theirs = ResponseError::try_from_code(code).unwrap();
            if !matches!(theirs, ResponseError::Unknown(_)) {
                let ours = ErrorCode(code).name().unwrap();
                assert_eq!(letters(ours), letters(&format!("{theirs:?}")), "code {code}");
                compared += 1;
            }
        }
        assert!(compared > 100, "{compared} codes compared");
    }
}
