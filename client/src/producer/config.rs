//! How a producer collects, compresses and retries.

use std::time::Duration;

use rivven_core::record::compression::Codec;

use super::ProducerRecord;
use crate::error::Error;

/// Bytes around a record and its batch that are counted against the buffer, roughly.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// Who must have a record before its delivery is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: the delivery is done when the record is sent, and has no offset.
    None,
    /// The partition's leader.
    Leader,
    /// All replicas that are in sync.
    #[default]
    All,
}

impl Acks {
    pub(crate) fn wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

pub use rivven_core::record::compression::Codec as Compression;

/// A producer's configuration, with the names of Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerConfig {
    pub acks: Acks,
    /// Each record once and in order, also over lost connections. Needs [`Acks::All`]. Without it
    /// a retry may write a record twice.
    pub enable_idempotence: bool,
    pub compression: Codec,
    /// How long a batch waits for more records, at most: it may be sent a millisecond sooner.
    pub linger: Duration,
    /// Bytes of a batch, before compression, at which it is full.
    pub batch_bytes: usize,
    /// Bytes of all records that wait for their delivery; sending waits for room.
    pub buffer_bytes: usize,
    /// Bytes of the largest record, and of all batches in one request.
    pub request_bytes_max: usize,
    /// From `send` to the end of all retries.
    pub delivery_timeout: Duration,
    /// Unanswered requests to one broker; with idempotence at most 5.
    pub in_flight_max: usize,
    /// Whether brokers may create topics that are not there.
    pub create_topics: bool,
}

impl Default for ProducerConfig {
    fn default() -> ProducerConfig {
        ProducerConfig {
            acks: Acks::All,
            enable_idempotence: true,
            compression: Codec::None,
            linger: Duration::from_millis(5),
            batch_bytes: 256 << 10,
            buffer_bytes: 32 << 20,
            request_bytes_max: 1_000_000,
            delivery_timeout: Duration::from_secs(120),
            in_flight_max: 5,
            create_topics: true,
        }
    }
}

impl ProducerConfig {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
        if self.enable_idempotence && self.acks != Acks::All {
            return invalid("enable_idempotence needs acks=all; switch it off for other acks");
        }
        if self.in_flight_max == 0 || (self.enable_idempotence && self.in_flight_max > 5) {
            return invalid("in_flight_max must be 1 to 5 (more only without idempotence)");
        }
        if self.request_bytes_max < 1024 || self.request_bytes_max > 32 << 20 {
            return invalid("request_bytes_max must be 1 KiB to 32 MiB");
        }
        if self.batch_bytes == 0 || self.batch_bytes > self.request_bytes_max {
            return invalid("batch_bytes must be at least 1 and at most request_bytes_max");
        }
        if self.buffer_bytes < 2 * self.request_bytes_max || self.buffer_bytes > 1 << 40 {
            return invalid("buffer_bytes must be at least twice request_bytes_max");
        }
        if self.delivery_timeout < self.linger || self.delivery_timeout.is_zero() {
            return invalid("delivery_timeout must be above 0 and not below linger");
        }
        Ok(())
    }

    /// What a record counts for, if it may be sent.
    pub(crate) fn admit(&self, record: &ProducerRecord) -> Result<u32, Error> {
        let bytes = record.bytes() + RECORD_OVERHEAD_BYTES;
        let limit = self.request_bytes_max;
        if bytes > limit {
            return Err(Error::Invalid(format!(
                "a record of {bytes} bytes is above the limit of {limit}; raise \
                 request_bytes_max, and the topic's max.message.bytes, or send less at a time"
            )));
        }
        if record.partition.is_some_and(|partition| partition < 0) {
            return Err(Error::Invalid("a partition is counted from 0".to_owned()));
        }
        if record.timestamp.is_some_and(|timestamp| timestamp < 0) {
            return Err(Error::Invalid("a timestamp before 1970 cannot be stored".to_owned()));
        }
        Ok(u32::try_from(bytes).expect("the limit is below 4 GiB"))
    }
}
