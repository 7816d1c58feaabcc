//! Errors in the words of the native protocol: a word of capitals, a colon and a text, and for
//! clients that read it Kafka's code.

use rivven_core::metadata::topic_name::check_topic_name;
use rivven_core::wire::codec::WireError;
use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;

/// Why a request is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    /// The same request will fail again, whatever Kafka's clients make of the code.
    is_final: bool,
    message: String,
}

impl Failure {
    /// The longest text of an error, in bytes.
    const MESSAGE_BYTES_MAX: usize = 4096;

    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Failure {
        assert!(code.is_error(), "a failure has a code");
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(Failure::MESSAGE_BYTES_MAX));
        Failure { code, is_final: false, message }
    }

    /// A failure that no other attempt changes.
    pub(crate) fn for_good(code: ErrorCode, message: impl Into<String>) -> Failure {
        Failure { is_final: true, ..Failure::new(code, message) }
    }

    /// What an API of Kafka's answered; where it has no text, `text` stands.
    pub(crate) fn of(code: ErrorCode, message: Option<WireStr>, text: &str) -> Failure {
        match message {
            Some(message) => Failure::new(code, message.as_str()),
            None => Failure::new(code, text),
        }
    }

    pub(crate) fn unknown_topic(name: &str) -> Failure {
        match check_topic_name(name) {
            Ok(()) => {
                let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                Failure::new(code, format!("there is no topic '{name}'"))
            }
            Err(error) => Failure::new(ErrorCode::INVALID_TOPIC_EXCEPTION, error.to_string()),
        }
    }

    pub(crate) fn unknown_partition(topic: &str, partition: u32) -> Failure {
        let text = format!("there is no partition {partition} of a topic '{topic}'");
        Failure::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, text)
    }

    pub(crate) fn response(&self, has_code: bool) -> Response {
        let message = format!("{}: {}", prefix(self.code), self.message);
        if has_code {
            let is_retriable = is_retriable(self.code) && !self.is_final;
            Response::ErrorWithCode { code: self.code.0, is_retriable, message }
        } else {
            Response::Error { message }
        }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Failure {
        let code = match error {
            WireError::Unknown { .. } | WireError::Unsupported(_) => ErrorCode::UNSUPPORTED_VERSION,
            _ => ErrorCode::INVALID_REQUEST,
        };
        Failure::new(code, error.to_string())
    }
}

/// The word that released clients look for; Kafka's name where they know none.
fn prefix(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::INVALID_TOPIC_EXCEPTION => "INVALID_TOPIC_NAME",
        ErrorCode::INVALID_PARTITIONS => "INVALID_PARTITION_COUNT",
        ErrorCode::NOT_LEADER_OR_FOLLOWER => "NOT_LEADER_FOR_PARTITION",
        ErrorCode::KAFKA_STORAGE_ERROR => "WAL_ERROR",
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => "OUT_OF_ORDER_SEQUENCE",
        ErrorCode::INVALID_PRODUCER_EPOCH => "PRODUCER_FENCED",
        ErrorCode::UNSUPPORTED_VERSION => "UNSUPPORTED",
        ErrorCode::THROTTLING_QUOTA_EXCEEDED => "RATE_LIMIT_EXCEEDED",
        ErrorCode::SASL_AUTHENTICATION_FAILED => "AUTHENTICATION_REQUIRED",
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED => "AUTHORIZATION_FAILED",
        other => other.name().unwrap_or("UNKNOWN_SERVER_ERROR"),
    }
}

/// Whether Kafka's clients try again after it.
fn is_retriable(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CORRUPT_MESSAGE
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::REQUEST_TIMED_OUT
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR
            | ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | ErrorCode::REBALANCE_IN_PROGRESS
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_LEADER_EPOCH
            | ErrorCode::THROTTLING_QUOTA_EXCEEDED
    )
}

/// The answer to what this broker does not do.
pub(super) fn not_served(request: &Request) -> Failure {
    match request {
        Request::Authenticate { .. }
        | Request::SaslAuthenticate { .. }
        | Request::ScramClientFirst { .. }
        | Request::ScramClientFinal { .. } => Failure::new(
            ErrorCode::SECURITY_DISABLED,
            "this broker has no authentication, go on without it",
        ),
        Request::DescribeQuotas { .. } | Request::AlterQuotas { .. } => {
            Failure::new(ErrorCode::UNSUPPORTED_VERSION, "this broker has no quotas")
        }
        _ => Failure::new(ErrorCode::INVALID_TXN_STATE, "this broker has no transactions yet"),
    }
}
