//! The records inside one batch, read in place; bytes that are no record become an error.

use super::header::{BatchHeader, TimestampType};
use super::varint;
use crate::ids::TimestampMs;

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Distance from the batch's base offset, as the producer wrote it.
    pub offset_delta: i32,
    /// The record's time; in a batch with log append time, the batch's.
    pub timestamp: TimestampMs,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: RecordHeaders<'a>,
}

/// The headers of one record, already checked; iterate to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeaders<'a> {
    bytes: &'a [u8],
    remaining: u32,
}

/// One header; keys are bytes, because nothing has checked that they are UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// Why bytes are not the records that a batch header announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("record {index} is cut off: the batch ends before the announced {count} records")]
    Missing { index: u32, count: u32 },
    #[error("{bytes} bytes are left after the announced {count} records")]
    Trailing { bytes: usize, count: u32 },
    #[error("record {index} says that it is {length} bytes long, {have} are left in the batch")]
    Length { index: u32, length: i32, have: usize },
    #[error("record {index} has an invalid structure")]
    Structure { index: u32 },
}

/// Iterates over the records of a batch body: exactly the announced count, then the check that
/// nothing is left. Ends after the first error. Allocates nothing.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    index: u32,
    count: u32,
    base_timestamp: i64,
    append_time: Option<TimestampMs>,
    ended: bool,
}

impl<'a> Records<'a> {
    /// `body` is what follows the header, decompressed if the header names a codec. A negative
    /// count is read as 0.
    #[must_use]
    pub fn new(header: &BatchHeader, body: &'a [u8]) -> Records<'a> {
        let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
        Records {
            rest: body,
            index: 0,
            count: u32::try_from(header.count).unwrap_or(0),
            base_timestamp: header.base_timestamp.0,
            append_time: append_time.then_some(header.max_timestamp),
            ended: false,
        }
    }

    /// Bytes that were not read yet.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.rest.len()
    }

    fn read(&mut self) -> Result<Record<'a>, RecordError> {
        let (index, count) = (self.index, self.count);
        let mut rest = self.rest;
        let length = match varint::read_i32(&mut rest) {
            Some(length) => length,
            None if rest.len() < 5 => return Err(RecordError::Missing { index, count }),
            None => return Err(RecordError::Structure { index }),
        };
        let body = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let Some(body) = body else {
            return Err(RecordError::Length { index, length, have: rest.len() });
        };
        self.rest = &rest[body.len()..];
        self.parse(body).ok_or(RecordError::Structure { index })
    }

    fn parse(&self, mut body: &'a [u8]) -> Option<Record<'a>> {
        let (_attributes, fields) = body.split_first()?;
        body = fields;
        let timestamp_delta = varint::read_i64(&mut body)?;
        let offset_delta = varint::read_i32(&mut body)?;
        let key = read_nullable(&mut body)?;
        let value = read_nullable(&mut body)?;
        let count = u32::try_from(varint::read_i32(&mut body)?).ok()?;
        let headers = RecordHeaders { bytes: body, remaining: count };
        let mut walk = headers;
        for _ in 0..count {
            walk.read()?;
        }
        if !walk.bytes.is_empty() {
            return None;
        }
        // A hostile delta wraps as it does in Kafka; the sum is only compared and handed on.
        let created = TimestampMs(self.base_timestamp.wrapping_add(timestamp_delta));
        let timestamp = self.append_time.unwrap_or(created);
        Some(Record { offset_delta, timestamp, key, value, headers })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.index == self.count {
            self.ended = true;
            let bytes = self.rest.len();
            return (bytes > 0).then_some(Err(RecordError::Trailing { bytes, count: self.count }));
        }
        let record = self.read();
        self.index += 1;
        self.ended = record.is_err();
        Some(record)
    }
}

impl<'a> RecordHeaders<'a> {
    fn read(&mut self) -> Option<RecordHeader<'a>> {
        let key = read_nullable(&mut self.bytes)??;
        let value = read_nullable(&mut self.bytes)?;
        Some(RecordHeader { key, value })
    }
}

impl<'a> Iterator for RecordHeaders<'a> {
    type Item = RecordHeader<'a>;

    fn next(&mut self) -> Option<RecordHeader<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        self.read()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining as usize, Some(self.remaining as usize))
    }
}

impl ExactSizeIterator for RecordHeaders<'_> {}

/// Length and bytes; a negative length is null. The outer `None` says that the bytes are cut off.
#[inline]
fn read_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::read_i32(bytes)?;
    let Ok(length) = usize::try_from(length) else {
        return Some(None);
    };
    let (field, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(Some(field))
}
