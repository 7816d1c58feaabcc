//! Why something was not done.

use std::time::Duration;

use rivven_core::kafka::codec::error_code::ErrorCode;

use crate::connection::ConnectionError;

/// What a caller is told. Retries are over when it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// None of the known brokers could be connected to.
    #[error("no broker answers at {tried}: {reason}")]
    Unreachable { tried: String, reason: ConnectionError },
    /// A connection failed after a request may have been sent: its effect is unknown.
    #[error("{peer}: {error}")]
    Connection { peer: String, error: ConnectionError },
    /// The broker refused; `text` is what it said, or empty.
    #[error("{what}: {code}{}{text}", if text.is_empty() { "" } else { ": " })]
    Refused { what: String, code: ErrorCode, text: String },
    /// Retries went on for as long as they may. Of a record: it is not in the log.
    #[error("{what} was not done within {after:?}; the last answer was: {last}")]
    TimedOut { what: String, after: Duration, last: String },
    /// It may have been written, and there is no way left to find out.
    #[error("{what} may have been written: {reason}")]
    Uncertain { what: String, reason: String },
    /// The broker answered something that makes no sense.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// What the caller wants cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The producer or consumer was closed.
    #[error("closed")]
    Closed,
}

/// Said of a refusal that may be the work of the same request.
const LOST_TRY: &str = "an earlier try, whose answer was lost, may have done it";

impl Error {
    /// The same, after an earlier try without an answer.
    pub(crate) fn after_lost_try(self) -> Error {
        match self {
            Error::Refused { what, code, text } => {
                let said = text.trim_end_matches(['.', ' ']);
                let comma = if said.is_empty() { "" } else { "; " };
                Error::Refused { what, code, text: format!("{said}{comma}{LOST_TRY}") }
            }
            other => other,
        }
    }

    /// Whether it may be the work of an earlier try of the same request, whose answer was lost.
    #[must_use]
    pub fn is_after_lost_try(&self) -> bool {
        matches!(self, Error::Refused { text, .. } if text.ends_with(LOST_TRY))
    }

    #[must_use]
    pub fn refused(what: impl Into<String>, code: ErrorCode, text: Option<&str>) -> Error {
        let text = text.unwrap_or_default().to_owned();
        Error::Refused { what: what.into(), code, text }
    }

    /// The broker's error code, if it answered with one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Error::Unreachable { reason: error, .. } | Error::Connection { error, .. } => {
                error.is_retriable()
            }
            Error::Refused { code, .. } => code.is_retriable(),
            Error::TimedOut { .. }
            | Error::Uncertain { .. }
            | Error::Malformed(_)
            | Error::Invalid(_)
            | Error::Closed => false,
        }
    }
}

/// `Ok` if the code is none.
///
/// # Errors
/// [`Error::Refused`] with what `what` says.
pub fn accepted(
    code: ErrorCode,
    text: Option<&str>,
    what: impl FnOnce() -> String,
) -> Result<(), Error> {
    match code.is_error() {
        true => Err(Error::refused(what(), code, text)),
        false => Ok(()),
    }
}
