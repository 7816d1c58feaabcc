//! Looks for a timestamp inside one stored batch, unpacking it if need be (ListOffsets by time,
//! and the age of what a group has yet to read).

use super::compression::Codec;
use super::header::{BatchHeader, TimestampType};
use super::unpacked::{UnreadableBatch, unpack, unpack_within};
use crate::ids::{Offset, TimestampMs};

/// Timestamp and offset of the first record at `start` or behind it whose timestamp is `timestamp`
/// or later; `None` when the batch has none. `batch` begins with a whole stored batch.
///
/// # Errors
/// [`UnreadableBatch`] when the batch cannot be read; a broker passes such a batch over, because a
/// producer's compressed bytes were never unpacked before.
pub fn find_timestamp(
    batch: &[u8],
    start: Offset,
    timestamp: TimestampMs,
) -> Result<Option<(TimestampMs, Offset)>, UnreadableBatch> {
    search(batch, |found, record| match found {
        None if record.1 >= start && record.0 >= timestamp => Some(record),
        found => found,
    })
}

/// Greatest timestamp of the records of a batch at `start` or behind it, and the offset of the
/// first that has it; `None` without one. `batch` begins with a whole stored batch.
///
/// # Errors
/// As [`find_timestamp`].
pub fn max_timestamp_offset(
    batch: &[u8],
    start: Offset,
) -> Result<Option<(TimestampMs, Offset)>, UnreadableBatch> {
    search(batch, |found, record| match found {
        Some(greatest) if greatest.0 >= record.0 => Some(greatest),
        found => {
            if record.1 >= start {
                Some(record)
            } else {
                found
            }
        }
    })
}

/// Timestamp of the first record at `from` or behind it; `None` when the batch has none. `batch`
/// begins with a whole stored batch. A compressed one that begins at `from` or behind it is not
/// unpacked: its header has its first timestamp. Another may unpack to `unpacked_bytes_max`.
///
/// # Errors
/// As [`find_timestamp`].
pub fn timestamp_at(
    batch: &[u8],
    from: Offset,
    unpacked_bytes_max: usize,
) -> Result<Option<TimestampMs>, UnreadableBatch> {
    let header = BatchHeader::parse(batch)?;
    let is_packed = Codec::from_bits(header.codec_bits()) != Some(Codec::None);
    let is_whole = header.count > 0 && header.count - 1 == header.last_offset_delta;
    // The cleaner keeps a time of its own where the first record's was.
    let is_plain = is_whole && header.delete_horizon().is_none();
    if is_packed && is_plain && header.base_offset >= from {
        let is_stamped = header.timestamp_type() == TimestampType::LogAppendTime;
        return Ok(Some(if is_stamped { header.max_timestamp } else { header.base_timestamp }));
    }
    let batch = unpack_within(batch, unpacked_bytes_max)?;
    let mut found = None;
    batch.each_record(|offset, record, _| {
        found = (offset >= from).then_some(record.timestamp);
        found.is_none()
    })?;
    Ok(found)
}

type Found = Option<(TimestampMs, Offset)>;

/// Offsets need not rise here: nobody looked at those of a batch that was never unpacked.
fn search(
    batch: &[u8],
    mut choose: impl FnMut(Found, (TimestampMs, Offset)) -> Found,
) -> Result<Found, UnreadableBatch> {
    let batch = unpack(batch)?;
    let mut found = None;
    for record in batch.records() {
        let record = record.map_err(|source| batch.unreadable(source))?;
        let offset = batch.header.base_offset.0.saturating_add(i64::from(record.offset_delta));
        found = choose(found, (record.timestamp, Offset(offset)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::builder::{BatchBuilder, NewRecord};
    use crate::record::compression::Codec;
    use crate::record::compression::tests::ENCODERS;
    use crate::record::header::{
        ATTRIBUTES_POSITION, BATCH_LENGTH_POSITION, HEADER_BYTES, put, stamp_append_time,
    };

    /// Records at base offset 100 with timestamps +1000, +3000, +2000, +5000, +5000.
    fn batch() -> Vec<u8> {
        [1000, 3000, 2000, 5000, 5000]
            .into_iter()
            .fold(BatchBuilder::new(TimestampMs(1000)), |batch, ms| {
                let timestamp = Some(TimestampMs(ms));
                batch.push(NewRecord { timestamp, ..NewRecord::value(b"v") })
            })
            .base_offset(Offset(100))
            .build()
    }

    fn compressed(codec: Codec, encode: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let plain = batch();
        let mut batch = [&plain[..HEADER_BYTES], &encode(&plain[HEADER_BYTES..])].concat();
        let length = batch.len() as i32 - 12;
        put(&mut batch, BATCH_LENGTH_POSITION, &length.to_be_bytes());
        put(&mut batch, ATTRIBUTES_POSITION, &(codec as i16).to_be_bytes());
        batch
    }

    #[test]
    fn first_record_at_or_after_a_timestamp_is_found_in_every_codec() {
        let cases = [
            (0, Some((1000, 100))),
            (1000, Some((1000, 100))),
            (1001, Some((3000, 101))),
            (2000, Some((3000, 101))),
            (3001, Some((5000, 103))),
            (5001, None),
        ];
        for (codec, encode) in ENCODERS {
            let batch = compressed(codec, encode);
            for (timestamp, expected) in cases {
                let found = find_timestamp(&batch, Offset(100), TimestampMs(timestamp)).unwrap();
                let expected = expected.map(|(ms, offset)| (TimestampMs(ms), Offset(offset)));
                assert_eq!(found, expected, "{codec:?} {timestamp}");
            }
            let later = find_timestamp(&batch, Offset(102), TimestampMs(1500)).unwrap();
            assert_eq!(later, Some((TimestampMs(2000), Offset(102))), "{codec:?}");
            for (start, max) in [(0, Some(103)), (103, Some(103)), (104, Some(104)), (105, None)] {
                let found = max_timestamp_offset(&batch, Offset(start)).unwrap();
                let max = max.map(|offset| (TimestampMs(5000), Offset(offset)));
                assert_eq!(found, max, "{codec:?} {start}");
            }
        }
    }

    #[test]
    fn the_first_record_at_or_behind_an_offset_has_its_own_timestamp_in_every_codec() {
        let cases = [
            (0, Some(1000)),
            (100, Some(1000)),
            (101, Some(3000)),
            (102, Some(2000)),
            (104, Some(5000)),
            (105, None),
        ];
        for (codec, encode) in ENCODERS {
            let batch = compressed(codec, encode);
            for (from, expected) in cases {
                let found = timestamp_at(&batch, Offset(from), 1 << 20).unwrap();
                assert_eq!(found, expected.map(TimestampMs), "{codec:?} {from}");
            }
            if codec != Codec::None {
                assert!(timestamp_at(&batch, Offset(101), 4).is_err(), "{codec:?}: too large");
                let first = timestamp_at(&batch, Offset(100), 4).unwrap();
                assert_eq!(first, Some(TimestampMs(1000)), "{codec:?}: not unpacked");
            }
        }
        let mut stamped = batch();
        stamp_append_time(&mut stamped, TimestampMs(9));
        for from in [0, 103] {
            let found = timestamp_at(&stamped, Offset(from), 0).unwrap();
            assert_eq!(found, Some(TimestampMs(9)));
        }
    }

    #[test]
    fn append_time_is_the_time_of_every_record() {
        let mut batch = batch();
        stamp_append_time(&mut batch, TimestampMs(9));
        let first = Some((TimestampMs(9), Offset(100)));
        assert_eq!(find_timestamp(&batch, Offset(0), TimestampMs(9)).unwrap(), first);
        assert_eq!(find_timestamp(&batch, Offset(0), TimestampMs(10)).unwrap(), None);
        assert_eq!(max_timestamp_offset(&batch, Offset(0)).unwrap(), first);
    }

    #[test]
    fn a_batch_that_cannot_be_read_is_an_error() {
        let mut lying = compressed(Codec::Gzip, |_| b"no gzip".to_vec());
        let found = find_timestamp(&lying, Offset(0), TimestampMs(0));
        assert!(matches!(found, Err(UnreadableBatch::Decompress { .. })), "{found:?}");
        put(&mut lying, ATTRIBUTES_POSITION, &6i16.to_be_bytes());
        let found = find_timestamp(&lying, Offset(0), TimestampMs(0));
        assert!(matches!(found, Err(UnreadableBatch::Codec { .. })), "{found:?}");
        let batch = batch();
        for end in 0..batch.len() {
            assert!(find_timestamp(&batch[..end], Offset(0), TimestampMs(0)).is_err());
            assert!(max_timestamp_offset(&batch[..end], Offset(0)).is_err());
        }
    }
}
