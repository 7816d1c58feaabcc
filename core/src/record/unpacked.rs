//! The records of a stored batch, unpacked if need be: for searches by timestamp and the cleaner.

use std::borrow::Cow;
use std::ops::Range;

use super::compression::{Codec, DecompressError};
use super::header::{BatchHeader, HEADER_BYTES, HeaderError};
use super::records::{Record, RecordError, Records};
use crate::ids::Offset;
use crate::limits::BATCH_DECOMPRESSED_BYTES_MAX;

/// Why the records of a stored batch cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableBatch {
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
    #[error("the batch at offset {base_offset} has a record at {delta}, out of order")]
    Order { base_offset: Offset, delta: i32 },
}

/// A stored batch whose records can be read.
#[derive(Clone, Debug)]
pub struct UnpackedBatch<'a> {
    pub header: BatchHeader,
    pub codec: Codec,
    /// The records, unpacked.
    pub body: Cow<'a, [u8]>,
}

/// Unpacks a batch that begins at the front of `batch`.
///
/// # Errors
/// [`UnreadableBatch`]: a producer's compressed bytes were never unpacked before.
pub fn unpack(batch: &[u8]) -> Result<UnpackedBatch<'_>, UnreadableBatch> {
    unpack_within(batch, BATCH_DECOMPRESSED_BYTES_MAX)
}

/// [`unpack`] of a batch whose records take at most `bytes_max`, at most
/// `BATCH_DECOMPRESSED_BYTES_MAX`.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_within(batch: &[u8], bytes_max: usize) -> Result<UnpackedBatch<'_>, UnreadableBatch> {
    assert!(bytes_max <= BATCH_DECOMPRESSED_BYTES_MAX, "{bytes_max} bytes are too many to unpack");
    let header = BatchHeader::parse(batch)?;
    let (base_offset, size) = (header.base_offset, header.size());
    let body = batch.get(HEADER_BYTES..size).ok_or(UnreadableBatch::CutOff {
        base_offset,
        have: batch.len(),
        size,
    })?;
    let bits = header.codec_bits();
    let codec = Codec::from_bits(bits).ok_or(UnreadableBatch::Codec { base_offset, bits })?;
    let body = if codec == Codec::None {
        Cow::Borrowed(body)
    } else {
        let unpacked = codec.decompress(body, bytes_max);
        Cow::Owned(unpacked.map_err(|source| UnreadableBatch::Decompress { base_offset, source })?)
    };
    Ok(UnpackedBatch { header, codec, body })
}

impl UnpackedBatch<'_> {
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records::new(&self.header, &self.body)
    }

    /// Gives `each` every record with its offset and its place in the body, until it wants no more;
    /// whether it wanted all.
    ///
    /// # Errors
    /// A record that cannot be read, or whose offset does not follow the one before.
    pub fn each_record<'b>(
        &'b self,
        mut each: impl FnMut(Offset, &Record<'b>, Range<usize>) -> bool,
    ) -> Result<bool, UnreadableBatch> {
        let base_offset = self.header.base_offset;
        let mut records = self.records();
        let mut next = 0;
        let mut begin = 0;
        while let Some(record) = records.next() {
            let record = record.map_err(|source| self.unreadable(source))?;
            let delta = record.offset_delta;
            if !(next..=self.header.last_offset_delta).contains(&delta) {
                return Err(UnreadableBatch::Order { base_offset, delta });
            }
            next = delta.saturating_add(1);
            let end = self.body.len() - records.bytes_left();
            if !each(base_offset.plus(i64::from(delta)), &record, begin..end) {
                return Ok(false);
            }
            begin = end;
        }
        Ok(true)
    }

    /// What a record that cannot be read makes of the batch.
    pub(crate) fn unreadable(&self, source: RecordError) -> UnreadableBatch {
        UnreadableBatch::Record { base_offset: self.header.base_offset, source }
    }
}
