//! How each field type stands in bytes, in classic and in flexible versions (KIP-482).
//!
//! Classic: strings have an i16 length, bytes and arrays an i32 length, −1 for null. Flexible: a
//! varint of the length plus one, 0 for null; every struct ends with tagged fields. Integers are
//! big-endian in both.

use std::mem::size_of;

use crate::ids::TopicId;
use bytes::Bytes;

use super::error_code::ErrorCode;
use super::reader::{DecodeError, Reader};
use super::records::Records;
use super::sink::{Length, Sink};
use super::text::{STRING_BYTES_MAX, WireStr};

/// What decides how a field is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub(crate) version: i16,
    pub(crate) flexible: bool,
}

/// A type that has a place on the wire. Only the codec implements it.
pub trait Wire: Sized {
    /// The fewest bytes a value can take, at least 1.
    fn wire_bytes_min(shape: Shape) -> usize;
    fn read(reader: &mut Reader, shape: Shape) -> Result<Self, DecodeError>;
    fn write<S: Sink>(&self, sink: &mut S, shape: Shape);
}

/// A struct, whose flexible versions end with tagged fields.
pub(crate) trait Tagged {
    /// Reads the tagged field `tag` if this version knows it, and says whether it does.
    fn read_tagged(
        &mut self,
        tag: u32,
        reader: &mut Reader,
        shape: Shape,
    ) -> Result<bool, DecodeError>;
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl Wire for $int {
            fn wire_bytes_min(_: Shape) -> usize {
                size_of::<$int>()
            }

            #[inline]
            fn read(reader: &mut Reader, _: Shape) -> Result<Self, DecodeError> {
                Ok(<$int>::from_be_bytes(reader.array()?))
            }

            #[inline]
            fn write<S: Sink>(&self, sink: &mut S, _: Shape) {
                sink.put(&self.to_be_bytes());
            }
        }
    )*};
}

integers!(i8, i16, i32, i64);

impl Wire for bool {
    fn wire_bytes_min(_: Shape) -> usize {
        1
    }

    fn read(reader: &mut Reader, _: Shape) -> Result<Self, DecodeError> {
        Ok(reader.array::<1>()? != [0])
    }

    fn write<S: Sink>(&self, sink: &mut S, _: Shape) {
        sink.put(&[u8::from(*self)]);
    }
}

impl Wire for ErrorCode {
    fn wire_bytes_min(shape: Shape) -> usize {
        i16::wire_bytes_min(shape)
    }

    fn read(reader: &mut Reader, shape: Shape) -> Result<Self, DecodeError> {
        Ok(ErrorCode(i16::read(reader, shape)?))
    }

    fn write<S: Sink>(&self, sink: &mut S, shape: Shape) {
        self.0.write(sink, shape);
    }
}

/// A UUID that is no topic's.
impl Wire for [u8; 16] {
    fn wire_bytes_min(_: Shape) -> usize {
        16
    }

    fn read(reader: &mut Reader, _: Shape) -> Result<Self, DecodeError> {
        reader.array()
    }

    fn write<S: Sink>(&self, sink: &mut S, _: Shape) {
        sink.put(self);
    }
}

impl Wire for TopicId {
    fn wire_bytes_min(shape: Shape) -> usize {
        <[u8; 16]>::wire_bytes_min(shape)
    }

    fn read(reader: &mut Reader, shape: Shape) -> Result<Self, DecodeError> {
        Ok(TopicId(Wire::read(reader, shape)?))
    }

    fn write<S: Sink>(&self, sink: &mut S, shape: Shape) {
        self.0.write(sink, shape);
    }
}

/// A type with a length before its content, which can therefore be null.
pub(crate) trait Prefixed: Sized + Default {
    /// Bytes of the length in classic versions: 2 or 4.
    const CLASSIC_PREFIX_BYTES: usize = 4;
    /// The length as the wire counts it: bytes, or elements of an array.
    fn length(&self) -> usize;
    fn read_content(reader: &mut Reader, length: usize, shape: Shape) -> Result<Self, DecodeError>;
    fn write_content<S: Sink>(&self, sink: &mut S, shape: Shape);
}

fn prefix_bytes_min<T: Prefixed>(shape: Shape) -> usize {
    const { assert!(T::CLASSIC_PREFIX_BYTES == 2 || T::CLASSIC_PREFIX_BYTES == 4) };
    if shape.flexible { 1 } else { T::CLASSIC_PREFIX_BYTES }
}

/// The length, or none for null. Any negative length is null, as Kafka has it.
fn read_length<T: Prefixed>(
    reader: &mut Reader,
    shape: Shape,
) -> Result<Option<usize>, DecodeError> {
    if shape.flexible {
        return Ok(reader.uvarint()?.checked_sub(1).map(|length| length as usize));
    }
    let length = match T::CLASSIC_PREFIX_BYTES {
        2 => i32::from(i16::from_be_bytes(reader.array()?)),
        _ => i32::from_be_bytes(reader.array()?),
    };
    Ok(usize::try_from(length).ok())
}

fn write_length<T: Prefixed, S: Sink>(sink: &mut S, shape: Shape, length: Option<usize>) {
    let length =
        length.map_or(-1, |length| i32::try_from(length).expect("a message is smaller than 2 GiB"));
    assert!(length >= -1, "null is the only negative length");
    if shape.flexible {
        write_uvarint(sink, (length as u32).wrapping_add(1));
    } else if T::CLASSIC_PREFIX_BYTES == 2 {
        let length = i16::try_from(length).expect("strings are cut to the classic limit");
        sink.put(&length.to_be_bytes());
    } else {
        sink.put(&length.to_be_bytes());
    }
}

#[inline]
pub(crate) fn write_uvarint<S: Sink>(sink: &mut S, mut value: u32) {
    while value >= 0x80 {
        sink.put(&[value as u8 | 0x80]);
        value >>= 7;
    }
    sink.put(&[value as u8]);
}

impl<T: Prefixed> Wire for T {
    fn wire_bytes_min(shape: Shape) -> usize {
        prefix_bytes_min::<T>(shape)
    }

    fn read(reader: &mut Reader, shape: Shape) -> Result<Self, DecodeError> {
        let position = reader.position();
        let length = read_length::<T>(reader, shape)?.ok_or(DecodeError::Null { position })?;
        T::read_content(reader, length, shape)
    }

    fn write<S: Sink>(&self, sink: &mut S, shape: Shape) {
        write_length::<T, S>(sink, shape, Some(self.length()));
        self.write_content(sink, shape);
    }
}

impl<T: Prefixed> Wire for Option<T> {
    fn wire_bytes_min(shape: Shape) -> usize {
        prefix_bytes_min::<T>(shape)
    }

    fn read(reader: &mut Reader, shape: Shape) -> Result<Self, DecodeError> {
        match read_length::<T>(reader, shape)? {
            Some(length) => T::read_content(reader, length, shape).map(Some),
            None => Ok(None),
        }
    }

    fn write<S: Sink>(&self, sink: &mut S, shape: Shape) {
        match self {
            Some(value) => value.write(sink, shape),
            None => write_length::<T, S>(sink, shape, None),
        }
    }
}

/// Reads an optional field in a version that has no null.
pub(crate) fn read_required<T: Prefixed>(
    reader: &mut Reader,
    shape: Shape,
) -> Result<Option<T>, DecodeError> {
    T::read(reader, shape).map(Some)
}

/// Writes an optional field in a version that has no null: none stands as the empty value.
pub(crate) fn write_required<T: Prefixed, S: Sink>(value: &Option<T>, sink: &mut S, shape: Shape) {
    match value {
        Some(value) => value.write(sink, shape),
        None => T::default().write(sink, shape),
    }
}

impl Prefixed for WireStr {
    const CLASSIC_PREFIX_BYTES: usize = 2;

    fn length(&self) -> usize {
        self.sendable().len()
    }

    fn read_content(reader: &mut Reader, length: usize, _: Shape) -> Result<Self, DecodeError> {
        let position = reader.position();
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::Length { position, length: length as i64 });
        }
        WireStr::from_utf8(reader.bytes(length)?).ok_or(DecodeError::Utf8 { position })
    }

    fn write_content<S: Sink>(&self, sink: &mut S, _: Shape) {
        sink.put(self.sendable());
    }
}

impl Prefixed for Bytes {
    fn length(&self) -> usize {
        self.len()
    }

    fn read_content(reader: &mut Reader, length: usize, _: Shape) -> Result<Self, DecodeError> {
        reader.bytes(length)
    }

    fn write_content<S: Sink>(&self, sink: &mut S, _: Shape) {
        sink.put_payload(self);
    }
}

impl Prefixed for Records {
    fn length(&self) -> usize {
        self.len()
    }

    fn read_content(reader: &mut Reader, length: usize, _: Shape) -> Result<Self, DecodeError> {
        reader.bytes(length).map(Records::from)
    }

    fn write_content<S: Sink>(&self, sink: &mut S, _: Shape) {
        self.pieces().for_each(|piece| sink.put_payload(piece));
    }
}

impl<T: Wire> Prefixed for Vec<T> {
    fn length(&self) -> usize {
        self.len()
    }

    fn read_content(reader: &mut Reader, length: usize, shape: Shape) -> Result<Self, DecodeError> {
        reader.admit_elements(length, T::wire_bytes_min(shape), size_of::<T>())?;
        let mut elements = Vec::with_capacity(length);
        for _ in 0..length {
            elements.push(T::read(reader, shape)?);
        }
        assert!(elements.len() == length, "as many as announced");
        Ok(elements)
    }

    fn write_content<S: Sink>(&self, sink: &mut S, shape: Shape) {
        for element in self {
            element.write(sink, shape);
        }
    }
}

/// Reads the tagged fields at the end of a struct; unknown ones are skipped.
pub(crate) fn read_tags<T: Tagged>(
    value: &mut T,
    reader: &mut Reader,
    shape: Shape,
) -> Result<(), DecodeError> {
    for _ in 0..reader.uvarint()? {
        let tag = reader.uvarint()?;
        let outer = reader.open_field()?;
        let known = value.read_tagged(tag, reader, shape)?;
        let (position, left) = (reader.position(), reader.remaining());
        if known && left > 0 {
            return Err(DecodeError::TaggedField { position, tag, left });
        }
        reader.close_field(outer);
    }
    Ok(())
}

/// Writes one tagged field: tag, size, value.
pub(crate) fn write_tagged<T: Wire, S: Sink>(value: &T, tag: u32, sink: &mut S, shape: Shape) {
    let mut length = Length::default();
    value.write(&mut length, shape);
    let size = u32::try_from(length.total()).expect("a message is smaller than 2 GiB");
    write_uvarint(sink, tag);
    write_uvarint(sink, size);
    value.write(sink, shape);
}
