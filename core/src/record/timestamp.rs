//! Looks for a timestamp inside one stored batch, unpacking it if need be (ListOffsets by time).

use super::compression::{Codec, DecompressError};
use super::header::{BatchHeader, HEADER_BYTES, HeaderError};
use super::records::{RecordError, Records};
use crate::ids::{Offset, TimestampMs};
use crate::limits::BATCH_DECOMPRESSED_BYTES_MAX;

/// Why a stored batch could not be searched.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the batch at offset {base_offset} has {have} of {size} bytes")]
    CutOff { base_offset: Offset, have: usize, size: usize },
    #[error("the batch at offset {base_offset} has undefined codec bits {bits}")]
    Codec { base_offset: Offset, bits: i16 },
    #[error("the batch at offset {base_offset}: {source}")]
    Decompress { base_offset: Offset, source: DecompressError },
    #[error("the batch at offset {base_offset}: {source}")]
    Record { base_offset: Offset, source: RecordError },
}

/// Timestamp and offset of the first record whose timestamp is `timestamp` or later; `None` when
/// the batch has none. `batch` begins with a whole stored batch.
///
/// # Errors
/// [`SearchError`] when the batch cannot be read; a broker passes such a batch over, because a
/// producer's compressed bytes were never unpacked before.
pub fn find_timestamp(
    batch: &[u8],
    timestamp: TimestampMs,
) -> Result<Option<(TimestampMs, Offset)>, SearchError> {
    search(batch, |found, record| match found {
        None if record.0 >= timestamp => Some(record),
        found => found,
    })
}

/// Greatest timestamp of a batch and the offset of the first record that has it; `None` for a
/// batch without records. `batch` begins with a whole stored batch.
///
/// # Errors
/// As [`find_timestamp`].
pub fn max_timestamp_offset(batch: &[u8]) -> Result<Option<(TimestampMs, Offset)>, SearchError> {
    search(batch, |found, record| match found {
        Some(greatest) if greatest.0 >= record.0 => Some(greatest),
        _ => Some(record),
    })
}

type Found = Option<(TimestampMs, Offset)>;

fn search(
    batch: &[u8],
    mut choose: impl FnMut(Found, (TimestampMs, Offset)) -> Found,
) -> Result<Found, SearchError> {
    let header = BatchHeader::parse(batch)?;
    let (base_offset, size) = (header.base_offset, header.size());
    let body = batch.get(HEADER_BYTES..size).ok_or(SearchError::CutOff {
        base_offset,
        have: batch.len(),
        size,
    })?;
    let bits = header.codec_bits();
    let codec = Codec::from_bits(bits).ok_or(SearchError::Codec { base_offset, bits })?;
    let unpacked;
    let body = if codec == Codec::None {
        body
    } else {
        unpacked = codec
            .decompress(body, BATCH_DECOMPRESSED_BYTES_MAX)
            .map_err(|source| SearchError::Decompress { base_offset, source })?;
        &unpacked
    };
    let mut found = None;
    for record in Records::new(&header, body) {
        let record = record.map_err(|source| SearchError::Record { base_offset, source })?;
        let offset = Offset(base_offset.0.saturating_add(i64::from(record.offset_delta)));
        found = choose(found, (record.timestamp, offset));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::builder::{BatchBuilder, NewRecord};
    use crate::record::compression::tests::ENCODERS;
    use crate::record::header::{
        ATTRIBUTES_POSITION, BATCH_LENGTH_POSITION, put, stamp_append_time,
    };

    /// Records at base offset 100 with timestamps +1000, +3000, +2000, +5000, +5000.
    fn batch() -> Vec<u8> {
        [1000, 3000, 2000, 5000, 5000]
            .into_iter()
            .fold(BatchBuilder::new(TimestampMs(0)), |batch, ms| {
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
                let found = find_timestamp(&batch, TimestampMs(timestamp)).unwrap();
                let expected = expected.map(|(ms, offset)| (TimestampMs(ms), Offset(offset)));
                assert_eq!(found, expected, "{codec:?} {timestamp}");
            }
            let max = max_timestamp_offset(&batch).unwrap();
            assert_eq!(max, Some((TimestampMs(5000), Offset(103))), "{codec:?}");
        }
    }

    #[test]
    fn append_time_is_the_time_of_every_record() {
        let mut batch = batch();
        stamp_append_time(&mut batch, TimestampMs(9));
        let first = Some((TimestampMs(9), Offset(100)));
        assert_eq!(find_timestamp(&batch, TimestampMs(9)).unwrap(), first);
        assert_eq!(find_timestamp(&batch, TimestampMs(10)).unwrap(), None);
        assert_eq!(max_timestamp_offset(&batch).unwrap(), first);
    }

    #[test]
    fn a_batch_that_cannot_be_read_is_an_error() {
        let mut lying = compressed(Codec::Gzip, |_| b"no gzip".to_vec());
        assert!(matches!(
            find_timestamp(&lying, TimestampMs(0)),
            Err(SearchError::Decompress { .. })
        ));
        put(&mut lying, ATTRIBUTES_POSITION, &6i16.to_be_bytes());
        assert!(matches!(find_timestamp(&lying, TimestampMs(0)), Err(SearchError::Codec { .. })));
        let batch = batch();
        for end in 0..batch.len() {
            assert!(find_timestamp(&batch[..end], TimestampMs(0)).is_err());
            assert!(max_timestamp_offset(&batch[..end]).is_err());
        }
    }
}
