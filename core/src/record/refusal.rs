//! What a producer is told when its batch is not accepted.

use std::fmt::{self, Display};

/// What is wrong with a produced batch; each kind is one Kafka error code, named after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProduceRefusalKind {
    /// INVALID_RECORD (87): the producer broke a rule; a retry meets the same answer.
    InvalidRecord,
    /// CORRUPT_MESSAGE (2): the bytes are damaged; clients retry.
    CorruptMessage,
    /// MESSAGE_TOO_LARGE (10): larger than the topic allows; clients split the batch.
    MessageTooLarge,
    /// UNSUPPORTED_COMPRESSION_TYPE (76): a codec that the request's version does not know.
    UnsupportedCompressionType,
    /// INVALID_TIMESTAMP (32): a record's time is outside the topic's bounds.
    InvalidTimestamp,
}

/// A refused record of a batch (KIP-467).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Which record of the batch, counted from 0.
    pub batch_index: i32,
    pub message: String,
}

/// A refused batch: nothing of it was or will be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProduceRefusal {
    pub kind: ProduceRefusalKind,
    pub message: String,
    /// The refused records, at most
    /// [`PRODUCE_RECORD_ERRORS_MAX`](crate::limits::PRODUCE_RECORD_ERRORS_MAX); empty when the
    /// batch as a whole is at fault.
    pub records: Vec<RefusedRecord>,
}

impl ProduceRefusal {
    pub(crate) fn new(kind: ProduceRefusalKind, message: impl Display) -> ProduceRefusal {
        ProduceRefusal { kind, message: message.to_string(), records: Vec::new() }
    }

    pub(crate) fn invalid(message: impl Display) -> ProduceRefusal {
        ProduceRefusal::new(ProduceRefusalKind::InvalidRecord, message)
    }

    pub(crate) fn corrupt(message: impl Display) -> ProduceRefusal {
        ProduceRefusal::new(ProduceRefusalKind::CorruptMessage, message)
    }
}

/// In the form of Kafka's own texts, which clients show to their users.
impl Display for RefusedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordError(batchIndex={}, message='{}')", self.batch_index, self.message)
    }
}
