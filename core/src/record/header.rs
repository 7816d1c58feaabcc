//! The 61 bytes at the front of a record batch: where each field stands, how it is read, and the
//! few fields that a broker writes.

use crate::ids::{LeaderEpoch, Offset, ProducerId, TimestampMs};
use crate::limits::BATCH_BYTES_MAX;

/// Position of the base offset (i64, big endian as every field).
pub const BASE_OFFSET_POSITION: usize = 0;
/// Position of the batch length (i32): bytes that follow this field.
pub const BATCH_LENGTH_POSITION: usize = 8;
/// Position of the partition leader epoch (i32).
pub const LEADER_EPOCH_POSITION: usize = 12;
/// Position of the magic byte (i8), which is 2.
pub const MAGIC_POSITION: usize = 16;
/// Position of the CRC-32C (u32) over everything from the attributes to the batch's end.
pub const CRC_POSITION: usize = 17;
/// Position of the attributes (i16): bits 0-2 codec, 3 log append time, 4 transactional,
/// 5 control, 6 delete horizon.
pub const ATTRIBUTES_POSITION: usize = 21;
/// Position of the last offset delta (i32).
pub const LAST_OFFSET_DELTA_POSITION: usize = 23;
/// Position of the base timestamp (i64).
pub const BASE_TIMESTAMP_POSITION: usize = 27;
/// Position of the max timestamp (i64).
pub const MAX_TIMESTAMP_POSITION: usize = 35;
/// Position of the producer id (i64), -1 for none.
pub const PRODUCER_ID_POSITION: usize = 43;
/// Position of the producer epoch (i16).
pub const PRODUCER_EPOCH_POSITION: usize = 51;
/// Position of the base sequence (i32), -1 for none.
pub const BASE_SEQUENCE_POSITION: usize = 53;
/// Position of the record count (i32).
pub const COUNT_POSITION: usize = 57;
/// Bytes of a batch header; the records follow.
pub const HEADER_BYTES: usize = 61;
/// Bytes of base offset and batch length, which the batch length does not count.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// The only magic that is stored.
pub const MAGIC: i8 = 2;

pub(crate) const CODEC_MASK: i16 = 0b111;
pub(crate) const APPEND_TIME_BIT: i16 = 1 << 3;
pub(crate) const TRANSACTIONAL_BIT: i16 = 1 << 4;
pub(crate) const CONTROL_BIT: i16 = 1 << 5;
pub(crate) const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// Who chose the timestamps of a batch (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer, record by record.
    #[default]
    CreateTime,
    /// The broker, one time for the whole batch: its max timestamp.
    LogAppendTime,
}

/// A batch header, read but not believed: counts and deltas are what the sender wrote.
/// Only `batch_length` and `magic` have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes after the length field, between 49 and [`BATCH_BYTES_MAX`] - 12.
    pub batch_length: i32,
    pub leader_epoch: LeaderEpoch,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: TimestampMs,
    pub max_timestamp: TimestampMs,
    pub producer_id: ProducerId,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

/// Why bytes are no header of a stored batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// More bytes may make it a header.
    #[error("{have} bytes are too few for a batch header of {HEADER_BYTES}")]
    TooShort { have: usize },
    #[error("batch length {batch_length} is below 49 or makes a batch above {BATCH_BYTES_MAX}")]
    BatchLength { batch_length: i32 },
    #[error("magic {magic} is not 2")]
    Magic { magic: i8 },
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`; the batch itself may be cut off.
    ///
    /// # Errors
    /// [`HeaderError`] when `bytes` are fewer than 61, when the magic is not 2, or when the
    /// length is below a header's or above [`BATCH_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, HeaderError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(HeaderError::TooShort { have: bytes.len() });
        };
        let batch_length = i32_at(bytes, BATCH_LENGTH_POSITION);
        let magic = bytes[MAGIC_POSITION].cast_signed();
        if magic != MAGIC {
            return Err(HeaderError::Magic { magic });
        }
        let least = HEADER_BYTES - LOG_OVERHEAD_BYTES;
        let most = BATCH_BYTES_MAX - LOG_OVERHEAD_BYTES;
        if !usize::try_from(batch_length).is_ok_and(|length| (least..=most).contains(&length)) {
            return Err(HeaderError::BatchLength { batch_length });
        }
        Ok(BatchHeader {
            base_offset: Offset(i64_at(bytes, BASE_OFFSET_POSITION)),
            batch_length,
            leader_epoch: LeaderEpoch(i32_at(bytes, LEADER_EPOCH_POSITION)),
            crc: i32_at(bytes, CRC_POSITION).cast_unsigned(),
            attributes: i16_at(bytes, ATTRIBUTES_POSITION),
            last_offset_delta: i32_at(bytes, LAST_OFFSET_DELTA_POSITION),
            base_timestamp: TimestampMs(i64_at(bytes, BASE_TIMESTAMP_POSITION)),
            max_timestamp: TimestampMs(i64_at(bytes, MAX_TIMESTAMP_POSITION)),
            producer_id: ProducerId(i64_at(bytes, PRODUCER_ID_POSITION)),
            producer_epoch: i16_at(bytes, PRODUCER_EPOCH_POSITION),
            base_sequence: i32_at(bytes, BASE_SEQUENCE_POSITION),
            count: i32_at(bytes, COUNT_POSITION),
        })
    }

    /// Bytes of the whole batch, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        let length = usize::try_from(self.batch_length).expect("parse refuses negative lengths");
        LOG_OVERHEAD_BYTES + length
    }

    /// Attribute bits 0 to 2; [`Codec::from_bits`](super::compression::Codec::from_bits) names
    /// them.
    #[must_use]
    pub fn codec_bits(&self) -> i16 {
        self.attributes & CODEC_MASK
    }

    /// Who chose the timestamps.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & APPEND_TIME_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch is part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the batch holds control records (transaction markers), which no client may write.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// When its tombstones may go, if the cleaner has seen them: the base timestamp stands for it.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// Offset of the last record. Only for a batch of the log; a client's delta may be nonsense,
    /// for which the sum saturates.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }
}

/// CRC-32C of a whole batch as its header should carry it (over bytes 21 to the end).
///
/// # Panics
/// When `batch` is shorter than a header, which is the caller's mistake.
#[must_use]
pub fn compute_crc(batch: &[u8]) -> u32 {
    assert!(batch.len() >= HEADER_BYTES, "a batch of {} bytes has no header", batch.len());
    crc32c::crc32c(&batch[ATTRIBUTES_POSITION..])
}

/// Writes a producer's numbers into a batch that is already built, and its new CRC.
///
/// # Panics
/// When `batch` is shorter than a header, which is the caller's mistake.
pub fn stamp_producer(batch: &mut [u8], (id, epoch): (ProducerId, i16), base_sequence: i32) {
    assert!(batch.len() >= HEADER_BYTES, "a batch of {} bytes has no header", batch.len());
    assert!(base_sequence >= 0 && epoch >= 0, "{id:?} epoch {epoch} sequence {base_sequence}");
    put(batch, PRODUCER_ID_POSITION, &id.0.to_be_bytes());
    put(batch, PRODUCER_EPOCH_POSITION, &epoch.to_be_bytes());
    put(batch, BASE_SEQUENCE_POSITION, &base_sequence.to_be_bytes());
    let crc = compute_crc(batch);
    put(batch, CRC_POSITION, &crc.to_be_bytes());
}

/// Writes the two fields that the log chooses; both lie outside the CRC.
///
/// # Panics
/// When `batch` is shorter than a header, which is the caller's mistake.
pub fn patch(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    assert!(batch.len() >= HEADER_BYTES, "a batch of {} bytes has no header", batch.len());
    assert!(base_offset >= Offset::ZERO, "base offset {base_offset} is negative");
    put(batch, BASE_OFFSET_POSITION, &base_offset.0.to_be_bytes());
    put(batch, LEADER_EPOCH_POSITION, &leader_epoch.0.to_be_bytes());
}

/// Gives a whole batch the broker's time (`message.timestamp.type=LogAppendTime`): sets attribute
/// bit 3 and the max timestamp, and computes the CRC anew.
///
/// # Panics
/// When `batch` is shorter than a header, which is the caller's mistake.
pub fn stamp_append_time(batch: &mut [u8], now: TimestampMs) {
    stamp(batch, APPEND_TIME_BIT, now);
}

/// Puts right a header whose max timestamp or timestamp type the producer got wrong
/// ([`ValidBatch::needs_create_time`](super::validate::ValidBatch)): clears attribute bit 3, sets
/// the max timestamp, and computes the CRC anew. Without it a search by timestamp would pass over
/// the batch.
///
/// # Panics
/// When `batch` is shorter than a header, which is the caller's mistake.
pub fn stamp_create_time(batch: &mut [u8], max_timestamp: TimestampMs) {
    stamp(batch, 0, max_timestamp);
}

fn stamp(batch: &mut [u8], append_time_bit: i16, max_timestamp: TimestampMs) {
    assert!(batch.len() >= HEADER_BYTES, "a batch of {} bytes has no header", batch.len());
    let attributes = i16_at(batch, ATTRIBUTES_POSITION) & !APPEND_TIME_BIT | append_time_bit;
    put(batch, ATTRIBUTES_POSITION, &attributes.to_be_bytes());
    put(batch, MAX_TIMESTAMP_POSITION, &max_timestamp.0.to_be_bytes());
    let crc = compute_crc(batch);
    put(batch, CRC_POSITION, &crc.to_be_bytes());
}

pub(crate) fn put(bytes: &mut [u8], position: usize, field: &[u8]) {
    bytes[position..position + field.len()].copy_from_slice(field);
}

fn i16_at(bytes: &[u8], position: usize) -> i16 {
    i16::from_be_bytes(array_at(bytes, position))
}

pub(crate) fn i32_at(bytes: &[u8], position: usize) -> i32 {
    i32::from_be_bytes(array_at(bytes, position))
}

fn i64_at(bytes: &[u8], position: usize) -> i64 {
    i64::from_be_bytes(array_at(bytes, position))
}

fn array_at<const N: usize>(bytes: &[u8], position: usize) -> [u8; N] {
    bytes[position..position + N].try_into().expect("the range has N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::builder::{BatchBuilder, NewRecord};

    fn batch() -> Vec<u8> {
        BatchBuilder::new(TimestampMs(1_700_000_000_000)).push(NewRecord::value(b"v")).build()
    }

    #[test]
    fn header_fields_are_read_from_their_positions() {
        let mut bytes: Vec<u8> = (0..=60).collect();
        bytes[MAGIC_POSITION] = 2;
        put(&mut bytes, BATCH_LENGTH_POSITION, &49i32.to_be_bytes());
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.base_offset.0, 0x0001_0203_0405_0607);
        assert_eq!(header.size(), 61);
        assert_eq!(header.leader_epoch.0, 0x0c0d_0e0f);
        assert_eq!(header.crc, 0x1112_1314);
        assert_eq!(header.attributes, 0x1516);
        assert_eq!(header.last_offset_delta, 0x1718_191a);
        assert_eq!(header.base_timestamp.0, 0x1b1c_1d1e_1f20_2122);
        assert_eq!(header.max_timestamp.0, 0x2324_2526_2728_292a);
        assert_eq!(header.producer_id.0, 0x2b2c_2d2e_2f30_3132);
        assert_eq!(header.producer_epoch, 0x3334);
        assert_eq!(header.base_sequence, 0x3536_3738);
        assert_eq!(header.count, 0x393a_3b3c);
        assert_eq!(header.codec_bits(), 6);
        assert!(header.is_transactional() && !header.is_control());
    }

    #[test]
    fn header_with_a_wrong_magic_or_length_is_refused() {
        let length =
            |n: i32| move |b: &mut Vec<u8>| put(b, BATCH_LENGTH_POSITION, &n.to_be_bytes());
        type Change = Box<dyn Fn(&mut Vec<u8>)>;
        let cases: [(Change, HeaderError); 6] = [
            (Box::new(|b| b.truncate(60)), HeaderError::TooShort { have: 60 }),
            (Box::new(|b| b.clear()), HeaderError::TooShort { have: 0 }),
            (Box::new(|b| b[MAGIC_POSITION] = 1), HeaderError::Magic { magic: 1 }),
            (Box::new(|b| b[MAGIC_POSITION] = 255), HeaderError::Magic { magic: -1 }),
            (Box::new(length(48)), HeaderError::BatchLength { batch_length: 48 }),
            (Box::new(length(i32::MAX)), HeaderError::BatchLength { batch_length: i32::MAX }),
        ];
        for (change, expected) in cases {
            let mut bytes = batch();
            change(&mut bytes);
            assert_eq!(BatchHeader::parse(&bytes), Err(expected));
        }
    }

    #[test]
    fn patch_leaves_the_crc_valid() {
        let mut bytes = batch();
        patch(&mut bytes, Offset(77), LeaderEpoch(5));
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!((header.base_offset, header.leader_epoch), (Offset(77), LeaderEpoch(5)));
        assert_eq!(header.crc, compute_crc(&bytes));
    }

    #[test]
    fn stamps_change_type_max_timestamp_and_crc() {
        let mut bytes = batch();
        stamp_append_time(&mut bytes, TimestampMs(42));
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(header.max_timestamp, TimestampMs(42));
        assert_eq!(header.base_timestamp, TimestampMs(1_700_000_000_000));
        assert_eq!(header.crc, compute_crc(&bytes));
        stamp_create_time(&mut bytes, TimestampMs(1_700_000_000_000));
        assert_eq!(bytes, batch());
    }
}
