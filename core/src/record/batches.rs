//! The batches in a stretch of log bytes, one after the other.

use std::ops::Range;

use super::header::{BatchHeader, HEADER_BYTES, HeaderError, compute_crc};

/// One whole batch inside the bytes that were iterated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    pub header: BatchHeader,
    /// Where the batch stands in the iterated bytes.
    pub range: Range<usize>,
    /// The batch, header included: exactly `header.size()` bytes.
    pub bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Whether the stored CRC-32C is that of the bytes; reads the whole batch.
    #[must_use]
    pub fn crc_is_valid(&self) -> bool {
        compute_crc(self.bytes) == self.header.crc
    }

    /// The records, compressed if the header names a codec.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }
}

/// Iterates over whole batches. A partial batch at the end, header or body cut off, ends the
/// iteration without an error; bytes that cannot be a batch yield one error and end it.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    ended: bool,
}

impl<'a> Batches<'a> {
    /// `bytes` begin with a batch.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Batches<'a> {
        Batches { bytes, position: 0, ended: false }
    }

    /// Where the next batch begins: all bytes before it were whole batches.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, HeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let rest = &self.bytes[self.position..];
        let header = match BatchHeader::parse(rest) {
            Ok(header) if header.size() <= rest.len() => header,
            Ok(_) | Err(HeaderError::TooShort { .. }) => {
                self.ended = true;
                return None;
            }
            Err(error) => {
                self.ended = true;
                return Some(Err(error));
            }
        };
        let start = self.position;
        self.position += header.size();
        let range = start..self.position;
        Some(Ok(Batch { header, bytes: &self.bytes[range.clone()], range }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Offset, TimestampMs};
    use crate::record::builder::{BatchBuilder, NewRecord};
    use crate::record::header::MAGIC_POSITION;

    fn three_batches() -> Vec<u8> {
        let batch = |offset| {
            BatchBuilder::new(TimestampMs(1))
                .base_offset(Offset(offset))
                .push(NewRecord::value(b"v"))
                .build()
        };
        [batch(0), batch(1), batch(2)].concat()
    }

    #[test]
    fn every_truncation_yields_the_whole_batches_before_it() {
        let bytes = three_batches();
        let size = bytes.len() / 3;
        for end in 0..=bytes.len() {
            let mut batches = Batches::new(&bytes[..end]);
            let found: Vec<_> = batches.by_ref().map(|batch| batch.unwrap()).collect();
            assert_eq!(found.len(), end / size);
            assert_eq!(batches.position(), end / size * size);
            for (index, batch) in found.iter().enumerate() {
                assert_eq!(batch.header.base_offset, Offset(index as i64));
                assert_eq!(batch.range, index * size..(index + 1) * size);
                assert!(batch.crc_is_valid());
            }
        }
    }

    #[test]
    fn bytes_that_are_no_batch_yield_one_error() {
        let mut bytes = three_batches();
        let second = bytes.len() / 3;
        bytes[second + MAGIC_POSITION] = 7;
        let mut batches = Batches::new(&bytes);
        assert!(batches.next().unwrap().is_ok());
        assert_eq!(batches.next(), Some(Err(HeaderError::Magic { magic: 7 })));
        assert_eq!(batches.next(), None);
        assert_eq!(batches.position(), second);
    }

    #[test]
    fn a_flipped_bit_after_the_crc_is_seen() {
        let mut bytes = three_batches();
        let size = bytes.len() / 3;
        for position in super::super::header::ATTRIBUTES_POSITION..size {
            bytes[position] ^= 1;
            let batch = Batches::new(&bytes).next().unwrap().unwrap();
            assert!(!batch.crc_is_valid(), "position {position}");
            bytes[position] ^= 1;
        }
    }
}
