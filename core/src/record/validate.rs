//! Decides whether what a Produce request carries for one partition may be stored, with Kafka's
//! answers in Kafka's order. Allocates only for a refusal, and to unpack for a compacted topic.
//!
//! Differences from Kafka, on purpose: compressed records are not unpacked, so their number, keys
//! and single timestamps are believed (the max timestamp of the header is checked); undefined
//! codec bits are an invalid record, where Kafka answers UNKNOWN_SERVER_ERROR. The cleaner has to
//! read what a compacted topic holds: there records are unpacked, up to a bound, and may not leave
//! their order. A delete horizon is the cleaner's own, and no producer may set one.

use super::compression::{Codec, DecompressError};
use super::header::{
    APPEND_TIME_BIT, BASE_OFFSET_POSITION, BATCH_LENGTH_POSITION, BatchHeader, CRC_POSITION,
    HEADER_BYTES, HeaderError, LOG_OVERHEAD_BYTES, MAGIC, MAGIC_POSITION, TimestampType,
    compute_crc, i32_at,
};
use super::records::{Record, Records};
use super::refusal::{ProduceRefusal, ProduceRefusalKind, RefusedRecord};
use crate::ids::{ProducerId, TimestampMs};
use crate::limits::{
    COMPACTED_BATCH_UNPACKED_BYTES_MAX, COMPRESSED_BATCH_RECORDS_MAX, PRODUCE_RECORD_ERRORS_MAX,
};

/// Smallest batch length that Kafka takes for one: what a magic 0 message has around its payload.
const LEGACY_RECORD_OVERHEAD_BYTES: i32 = 14;
/// First Produce version that may carry zstd (KIP-110).
const ZSTD_PRODUCE_VERSION_MIN: i16 = 7;
/// A timestamp of -1 says that the producer gave none.
const NO_TIMESTAMP: TimestampMs = TimestampMs(-1);

/// What a topic and a request demand of a batch.
#[derive(Clone, Copy, Debug)]
pub struct ProduceRules<'a> {
    /// Name of the topic and index of the partition, for the texts of refusals.
    pub topic: &'a str,
    pub partition: u32,
    /// Version of the Produce request; a native client counts as the newest.
    pub produce_version: i16,
    /// `max.message.bytes`: largest batch, header included.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a record may lie behind `now`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far a record may lie ahead of `now`.
    pub timestamp_after_max_ms: i64,
    /// Whether `cleanup.policy` holds `compact`, which needs a key in each record.
    pub is_compacted: bool,
    pub now: TimestampMs,
}

/// A batch that may be stored, with what its sender wrote in the header. The batch is the first
/// `size` bytes of what was validated; up to 16 stray bytes may follow it and are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidBatch {
    /// Number of records, 1 or greater.
    pub count: i32,
    /// `count` - 1.
    pub last_offset_delta: i32,
    pub base_timestamp: TimestampMs,
    /// The greatest timestamp among the records; of a compressed batch, what its header says.
    pub max_timestamp: TimestampMs,
    /// The header's max timestamp or timestamp type is not what a topic with create time stores:
    /// call [`stamp_create_time`](super::header::stamp_create_time) with `max_timestamp` before
    /// the append. Never set on a topic with log append time, where every batch is stamped.
    pub needs_create_time: bool,
    /// -1 when the producer is not idempotent.
    pub producer_id: ProducerId,
    pub producer_epoch: i16,
    /// 0 or greater when there is a producer id.
    pub base_sequence: i32,
    pub is_transactional: bool,
    pub codec: Codec,
    /// Bytes of the batch, header included.
    pub size: usize,
}

/// Checks what a Produce request carries for one partition.
///
/// # Errors
/// [`ProduceRefusal`] with the kind that Kafka 4.3 answers. Authorisation of transactional
/// batches comes before this and is the caller's: read the header with [`BatchHeader::parse`].
pub fn validate_produced(
    records: &[u8],
    rules: &ProduceRules<'_>,
) -> Result<ValidBatch, ProduceRefusal> {
    let batch = single_batch(records, rules)?;
    check_base_offset(batch, rules)?;
    if batch.len() > rules.max_message_bytes {
        return Err(too_large(batch.len(), rules));
    }
    let header = BatchHeader::parse(batch).map_err(|error| match error {
        HeaderError::BatchLength { .. } if batch.len() > HEADER_BYTES => {
            too_large(batch.len(), rules)
        }
        other => ProduceRefusal::corrupt(other),
    })?;
    check_crc(batch, &header, rules)?;
    let codec = Codec::from_bits(header.codec_bits()).ok_or_else(|| {
        let bits = header.codec_bits();
        ProduceRefusal::invalid(format!("Unknown compression type id: {bits}"))
    })?;
    check_header(&header, rules)?;
    let body = &batch[HEADER_BYTES..];
    let max_timestamp = match codec {
        Codec::None => check_records(&header, body, rules)?,
        _ if rules.is_compacted => {
            check_packed_count(&header, rules)?;
            check_records(&header, &unpack_bounded(codec, body, rules)?, rules)?
        }
        _ => {
            check_packed_count(&header, rules)?;
            check_packed_time(&header, rules)?
        }
    };
    let is_as_stored = header.timestamp_type() == TimestampType::CreateTime
        && header.max_timestamp == max_timestamp;
    let valid = ValidBatch {
        count: header.count,
        last_offset_delta: header.last_offset_delta,
        base_timestamp: header.base_timestamp,
        max_timestamp,
        needs_create_time: rules.timestamp_type == TimestampType::CreateTime && !is_as_stored,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        is_transactional: header.is_transactional(),
        codec,
        size: batch.len(),
    };
    assert!(valid.count > 0 && valid.last_offset_delta == valid.count - 1);
    Ok(valid)
}

/// Kafka's ProduceRequest checks: exactly one batch, magic 2, a codec that the version knows.
fn single_batch<'a>(
    records: &'a [u8],
    rules: &ProduceRules<'_>,
) -> Result<&'a [u8], ProduceRefusal> {
    let version = rules.produce_version;
    let Some((batch, rest)) = split_batch(records)? else {
        return Err(ProduceRefusal::invalid(format!(
            "Produce requests with version {version} must have at least one record batch per \
             partition"
        )));
    };
    if batch[MAGIC_POSITION].cast_signed() != MAGIC {
        return Err(ProduceRefusal::invalid(format!(
            "Produce requests with version {version} are only allowed to contain record batches \
             with magic version 2"
        )));
    }
    let is_zstd = BatchHeader::parse(batch)
        .is_ok_and(|header| Codec::from_bits(header.codec_bits()) == Some(Codec::Zstd));
    if is_zstd && version < ZSTD_PRODUCE_VERSION_MIN {
        return Err(ProduceRefusal::new(
            ProduceRefusalKind::UnsupportedCompressionType,
            format_args!(
                "Produce requests with version {version} are not allowed to use ZStandard \
                 compression"
            ),
        ));
    }
    if split_batch(rest)?.is_some() {
        return Err(ProduceRefusal::invalid(format!(
            "Produce requests with version {version} are only allowed to contain exactly one \
             record batch per partition"
        )));
    }
    Ok(batch)
}

/// A batch and the bytes after it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// Splits off a batch of any magic as Kafka's input stream does. Fewer than 17 bytes cannot hold
/// a magic byte and a batch that is cut off is none: both are passed over in silence.
fn split_batch(bytes: &[u8]) -> Result<Option<Split<'_>>, ProduceRefusal> {
    if bytes.len() < LOG_OVERHEAD_BYTES {
        return Ok(None);
    }
    let length = i32_at(bytes, BATCH_LENGTH_POSITION);
    if length < LEGACY_RECORD_OVERHEAD_BYTES {
        return Err(ProduceRefusal::corrupt(format!(
            "Record size {length} is less than the minimum record overhead (14)"
        )));
    }
    let Some(magic) = bytes.get(MAGIC_POSITION).map(|byte| byte.cast_signed()) else {
        return Ok(None);
    };
    if !(0..=MAGIC).contains(&magic) {
        return Err(ProduceRefusal::corrupt(format!("Invalid magic found in record: {magic}")));
    }
    let length = usize::try_from(length).expect("the length is at least 14");
    Ok(bytes.split_at_checked(LOG_OVERHEAD_BYTES + length))
}

fn too_large(size: usize, rules: &ProduceRules<'_>) -> ProduceRefusal {
    let ProduceRules { topic, partition, max_message_bytes, .. } = rules;
    ProduceRefusal::new(
        ProduceRefusalKind::MessageTooLarge,
        format_args!(
            "The record batch size in the append to {topic}-{partition} is {size} bytes which \
             exceeds the maximum configured value of {max_message_bytes}."
        ),
    )
}

fn check_base_offset(batch: &[u8], rules: &ProduceRules<'_>) -> Result<(), ProduceRefusal> {
    let bytes = batch[BASE_OFFSET_POSITION..].first_chunk().expect("split_batch gives 26 bytes");
    let base_offset = i64::from_be_bytes(*bytes);
    if base_offset == 0 {
        return Ok(());
    }
    let ProduceRules { topic, partition, .. } = rules;
    Err(ProduceRefusal::invalid(format!(
        "The baseOffset of the record batch in the append to {topic}-{partition} should be 0, \
         but it is {base_offset}"
    )))
}

fn check_crc(
    batch: &[u8],
    header: &BatchHeader,
    rules: &ProduceRules<'_>,
) -> Result<(), ProduceRefusal> {
    let computed = compute_crc(batch);
    if computed == header.crc || rivven_io::planted!("B92") {
        return Ok(());
    }
    rivven_io::probe!("spoiled_batch_refused");
    let (topic, partition, crc) = (rules.topic, rules.partition, header.crc);
    Err(ProduceRefusal::corrupt(format!(
        "Record is corrupt (stored crc = {crc} at byte {CRC_POSITION}, computed crc = {computed}) \
         in topic partition {topic}-{partition}."
    )))
}

/// Kafka's LogValidator.validateBatch for batches from clients.
fn check_header(header: &BatchHeader, rules: &ProduceRules<'_>) -> Result<(), ProduceRefusal> {
    let ProduceRules { topic, partition, .. } = rules;
    let last = header.last_offset_delta;
    let count = header.count;
    if last < 0 {
        return Err(ProduceRefusal::invalid(format!(
            "Batch has an invalid offset range: [0, {last}] in topic partition {topic}-{partition}"
        )));
    }
    if count <= 0 {
        return Err(ProduceRefusal::invalid(format!(
            "Invalid reported count for record batch: {count} in topic partition \
             {topic}-{partition}"
        )));
    }
    if last != count - 1 {
        return Err(ProduceRefusal::invalid(format!(
            "Inconsistent batch offset range [0, {last}] and count of records {count} in topic \
             partition {topic}-{partition}"
        )));
    }
    if header.is_control() {
        return Err(ProduceRefusal::invalid(format!(
            "Clients are not allowed to write control records in topic partition \
             {topic}-{partition}"
        )));
    }
    if header.delete_horizon().is_some() {
        return Err(ProduceRefusal::invalid(format!(
            "Clients are not allowed to set a delete horizon in topic partition {topic}-{partition}"
        )));
    }
    let (producer, sequence) = (header.producer_id.0, header.base_sequence);
    if producer >= 0 && sequence < 0 {
        return Err(ProduceRefusal::invalid(format!(
            "Invalid sequence number {sequence} in record batch with producerId {producer} in \
             topic partition {topic}-{partition}"
        )));
    }
    Ok(())
}

/// Walks the records and gives their greatest timestamp.
fn check_records(
    header: &BatchHeader,
    body: &[u8],
    rules: &ProduceRules<'_>,
) -> Result<TimestampMs, ProduceRefusal> {
    let mut max_timestamp = NO_TIMESTAMP;
    let mut errors = RecordErrors::default();
    // A topic with create time will store the batch as such, whatever the type bit says, so it
    // is the records' own times that count.
    let mut as_stored = *header;
    if rules.timestamp_type == TimestampType::CreateTime {
        as_stored.attributes &= !APPEND_TIME_BIT;
    }
    for (index, record) in (0..).zip(Records::new(&as_stored, body)) {
        let record = record.map_err(|error| {
            let ProduceRules { topic, partition, .. } = rules;
            ProduceRefusal::invalid(format!("{error} in topic partition {topic}-{partition}"))
        })?;
        if rules.is_compacted && record.offset_delta != index {
            let ProduceRules { topic, partition, .. } = rules;
            let delta = record.offset_delta;
            return Err(ProduceRefusal::invalid(format!(
                "Record {index} has the offset delta {delta} in topic partition {topic}-{partition}"
            )));
        }
        max_timestamp = max_timestamp.max(record.timestamp);
        errors.check(index, &record, header, rules);
    }
    errors.into_result().map(|()| max_timestamp)
}

/// Every announced record takes an offset, whether it is there or not.
fn check_packed_count(
    header: &BatchHeader,
    rules: &ProduceRules<'_>,
) -> Result<(), ProduceRefusal> {
    let ProduceRules { topic, partition, .. } = rules;
    let count = header.count;
    if usize::try_from(count).is_ok_and(|count| count <= COMPRESSED_BATCH_RECORDS_MAX) {
        return Ok(());
    }
    Err(ProduceRefusal::invalid(format!(
        "Invalid reported count for record batch: {count} in topic partition {topic}-{partition}"
    )))
}

/// The max timestamp that the header says; what is wrong with it names no record.
fn check_packed_time(
    header: &BatchHeader,
    rules: &ProduceRules<'_>,
) -> Result<TimestampMs, ProduceRefusal> {
    match timestamp_error(header.max_timestamp, header.last_offset_delta, header, rules) {
        None => Ok(header.max_timestamp),
        Some(message) => Err(ProduceRefusal::new(ProduceRefusalKind::InvalidTimestamp, message)),
    }
}

/// Unpacks what the cleaner will have to unpack.
fn unpack_bounded(
    codec: Codec,
    body: &[u8],
    rules: &ProduceRules<'_>,
) -> Result<Vec<u8>, ProduceRefusal> {
    let ProduceRules { topic, partition, .. } = rules;
    codec.decompress(body, COMPACTED_BATCH_UNPACKED_BYTES_MAX).map_err(|error| {
        let kind = match error {
            DecompressError::TooLarge { .. } => ProduceRefusalKind::MessageTooLarge,
            DecompressError::Corrupt { .. } | DecompressError::Stuck { .. } => {
                ProduceRefusalKind::InvalidRecord
            }
        };
        ProduceRefusal::new(kind, format_args!("{error} in topic partition {topic}-{partition}"))
    })
}

#[derive(Default)]
struct RecordErrors {
    records: Vec<RefusedRecord>,
    count: u32,
    has_timestamp_error: bool,
}

impl RecordErrors {
    fn check(
        &mut self,
        index: i32,
        record: &Record<'_>,
        header: &BatchHeader,
        rules: &ProduceRules<'_>,
    ) {
        // Kafka names one error per record, the missing key first.
        if rules.is_compacted && record.key.is_none() {
            let ProduceRules { topic, partition, .. } = rules;
            let message = format!(
                "Compacted topic cannot accept message without key in topic partition \
                 {topic}-{partition}"
            );
            return self.add(index, message);
        }
        let error = timestamp_error(record.timestamp, record.offset_delta, header, rules);
        if let Some(message) = error {
            self.has_timestamp_error = true;
            self.add(index, message);
        }
    }

    fn add(&mut self, batch_index: i32, message: String) {
        self.count += 1;
        if self.records.len() < PRODUCE_RECORD_ERRORS_MAX {
            self.records.push(RefusedRecord { batch_index, message });
        }
    }

    fn into_result(self) -> Result<(), ProduceRefusal> {
        if self.count == 0 {
            return Ok(());
        }
        let (kind, message) = if self.has_timestamp_error {
            let text = "One or more records have been rejected due to invalid timestamp";
            (ProduceRefusalKind::InvalidTimestamp, text.to_owned())
        } else {
            let first: Vec<String> = self.records.iter().take(3).map(ToString::to_string).collect();
            let text = format!(
                "One or more records have been rejected due to {} record errors in total, and \
                 only showing the first three errors at most: [{}]",
                self.count,
                first.join(", ")
            );
            (ProduceRefusalKind::InvalidRecord, text)
        };
        Err(ProduceRefusal { kind, message, records: self.records })
    }
}

fn timestamp_error(
    timestamp: TimestampMs,
    offset: i32,
    header: &BatchHeader,
    rules: &ProduceRules<'_>,
) -> Option<String> {
    if rules.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
        let earliest = rules.now.0.saturating_sub(rules.timestamp_before_max_ms);
        let latest = rules.now.0.saturating_add(rules.timestamp_after_max_ms);
        let is_within = (earliest..=latest).contains(&timestamp.0);
        return (!is_within).then(|| {
            format!(
                "Timestamp {} of message with offset {offset} is out of range. The timestamp \
                 should be within [{earliest}, {latest}]",
                timestamp.0
            )
        });
    }
    (header.timestamp_type() == TimestampType::LogAppendTime).then(|| {
        "Invalid timestamp type in message. Producer should not set timestamp type to \
         LogAppendTime."
            .to_owned()
    })
}

#[cfg(test)]
mod tests;
