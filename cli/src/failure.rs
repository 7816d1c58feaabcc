//! Why a command did not do its work: one sentence, a next step, and the exit code.

use std::io;

use rivven_client::Error;
use rivven_client::connection::ConnectionError;
use rivven_core::kafka::codec::error_code::ErrorCode;

use crate::Outcome;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// A file or directory, of `log`.
    #[error("{0}")]
    CannotOpen(String),
    /// The broker refused it, or it failed underway.
    #[error("{0}")]
    Failed(String),
    /// It cannot be meant so.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("writing the output: {0}")]
    Output(#[from] io::Error),
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_REACHED: u8 = 3;

impl CommandError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CommandError::Failed(_) | CommandError::Output(_) => FAILED,
            CommandError::Usage(_) => USAGE,
            CommandError::CannotOpen(_) | CommandError::Unreachable(_) => NOT_REACHED,
        }
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> CommandError {
        let text = sentence(&error);
        match error {
            Error::Unreachable { .. } => CommandError::Unreachable(text),
            Error::Invalid(_) => CommandError::Usage(text),
            _ => CommandError::Failed(text),
        }
    }
}

/// What failed of several items, while the rest was done.
#[derive(Default)]
pub(crate) struct Failures(Vec<String>);

impl Failures {
    pub(crate) fn add(&mut self, sentence: String) {
        self.0.push(sentence);
    }

    pub(crate) fn add_error(&mut self, error: &Error) {
        self.add(sentence(error));
    }

    /// One sentence a line, each said by this program.
    pub(crate) fn end(self) -> Result<Outcome, CommandError> {
        match self.0.is_empty() {
            true => Ok(Outcome::Clean),
            false => Err(CommandError::Failed(self.0.join("\nrivven: "))),
        }
    }
}

/// What happened and what to do next.
pub(crate) fn sentence(error: &Error) -> String {
    let next = match error {
        Error::Unreachable { reason, .. } => match reason {
            ConnectionError::NotKafka(_)
            | ConnectionError::Unanswered(_)
            | ConnectionError::Malformed(_) => {
                "name the port for Kafka clients (usually 9092) with --brokers HOST:PORT"
            }
            _ => {
                "is a broker running there? Name others with --brokers HOST:PORT or RIVVEN_BROKERS"
            }
        },
        Error::TimedOut { .. } => "--timeout gives it more time",
        Error::Refused { code, .. } => next_step(*code),
        Error::Connection { .. } => "whether it was done is open; look before you try again",
        Error::Uncertain { .. } => "read the topic's end before you write it again",
        Error::Malformed(_) | Error::Invalid(_) | Error::Closed => "",
    };
    match next {
        "" => error.to_string(),
        next => format!("{}; {next}", error.to_string().trim_end_matches(['.', ' '])),
    }
}

fn next_step(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::TOPIC_ALREADY_EXISTS => "--if-not-exists lets that pass",
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => "`rivven topic list` shows what is there",
        ErrorCode::INVALID_CONFIG => "`rivven topic config TOPIC --all` lists the settings",
        ErrorCode::NON_EMPTY_GROUP
        | ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::REBALANCE_IN_PROGRESS => {
            "stop its members first; `rivven group describe GROUP` names them"
        }
        ErrorCode::GROUP_ID_NOT_FOUND => "`rivven group list` shows what is there",
        _ => "",
    }
}
