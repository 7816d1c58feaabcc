//! Postcard's encoding, read from bytes that nobody has checked.
//!
//! The `postcard` crate reads lists through serde, which reserves memory for an announced length,
//! and bounds neither the nesting nor the sum. This reader counts what it takes before it takes it,
//! and gives payloads out as slices of the frame.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use super::limits::{
    LIST_MAX, MEMORY_MIN, NAME_BYTES_MAX, REQUEST_MEMORY_MAX, RESPONSE_MEMORY_MAX, SECRET_BYTES_MAX,
};

/// Why bytes are no message. The same bytes will never be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("{needed} bytes needed at byte {position}, {remaining} remain")]
    Truncated { position: usize, needed: usize, remaining: usize },
    #[error("{bytes} bytes follow the message")]
    Trailing { bytes: usize },
    #[error("the integer at byte {position} is too large for its field")]
    Integer { position: usize },
    #[error("byte {position} is {byte}, where 0 or 1 must stand")]
    Flag { position: usize, byte: u8 },
    #[error("the text at byte {position} is not utf-8")]
    Utf8 { position: usize },
    #[error("{length} at byte {position} is over the limit of {limit}")]
    Length { position: usize, length: u64, limit: usize },
    #[error("the message takes more than {limit} bytes of memory")]
    Memory { limit: usize },
    #[error("message number {index} is unknown")]
    Unknown { index: u32 },
    #[error("format {0} is neither 0 (postcard) nor 1 (protobuf)")]
    Format(u8),
    #[error("protobuf: {0}")]
    Protobuf(String),
    #[error("{0} cannot be asked for in this format yet")]
    Unsupported(&'static str),
}

/// A position in a message, and how much memory reading it may still take.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
    list_max: usize,
    memory_limit: usize,
    memory: usize,
}

impl Reader {
    /// Reads a request: lists of at most [`LIST_MAX`] elements, 8 bytes of memory for each byte.
    #[must_use]
    pub fn request(bytes: Bytes) -> Reader {
        let memory_limit = (bytes.len() * 8 + MEMORY_MIN).min(REQUEST_MEMORY_MAX);
        Reader { bytes, position: 0, list_max: LIST_MAX, memory_limit, memory: 0 }
    }

    /// Reads a response: lists as long as its bytes allow, 24 bytes of memory for each byte.
    #[must_use]
    pub fn response(bytes: Bytes) -> Reader {
        let memory_limit = (bytes.len() * 24 + MEMORY_MIN).min(RESPONSE_MEMORY_MAX);
        Reader { bytes, position: 0, list_max: usize::MAX, memory_limit, memory: 0 }
    }

    /// Bytes of memory that reading has asked for so far, beside the frame.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }

    fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// # Errors
    /// [`WireError::Trailing`] when something follows what was read.
    pub fn finish(&self) -> Result<(), WireError> {
        assert!(self.memory <= self.memory_limit, "memory is admitted before it is taken");
        match self.remaining() {
            0 => Ok(()),
            bytes => Err(WireError::Trailing { bytes }),
        }
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        let position = self.position;
        let byte = self.bytes.get(position).copied();
        self.position += usize::from(byte.is_some());
        byte.ok_or(WireError::Truncated { position, needed: 1, remaining: 0 })
    }

    /// 7 bits a byte, the lowest first; at most `bits` bits.
    fn varint(&mut self, bits: u32) -> Result<u64, WireError> {
        assert!((8..=64).contains(&bits), "integers have 16 to 64 bits");
        let position = self.position;
        let mut value = 0u64;
        for shift in (0..bits).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if bits - shift < 7 && part >> (bits - shift) != 0 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Integer { position })
    }

    fn admit(&mut self, bytes: usize) -> Result<(), WireError> {
        let memory = self.memory.saturating_add(bytes);
        if memory > self.memory_limit {
            return Err(WireError::Memory { limit: self.memory_limit });
        }
        assert!(memory >= self.memory, "what was taken is not given back");
        self.memory = memory;
        Ok(())
    }

    /// A length and as many bytes, as a slice of the frame.
    fn slice(&mut self, limit: usize) -> Result<Bytes, WireError> {
        let at = self.position;
        let length = self.varint(64)?;
        let (position, remaining) = (self.position, self.remaining());
        let needed = usize::try_from(length).unwrap_or(usize::MAX);
        if needed > limit {
            return Err(WireError::Length { position: at, length, limit });
        }
        if needed > remaining {
            return Err(WireError::Truncated { position, needed, remaining });
        }
        self.position += needed;
        assert!(self.position <= self.bytes.len(), "a slice is part of the frame");
        Ok(self.bytes.slice(position..self.position))
    }

    fn text(&mut self, limit: usize) -> Result<String, WireError> {
        let position = self.position;
        let bytes = self.slice(limit)?;
        self.admit(bytes.len())?;
        let text = std::str::from_utf8(&bytes).map_err(|_| WireError::Utf8 { position })?;
        Ok(text.to_owned())
    }

    /// The length of a list whose elements take one byte or more, and `memory` bytes each.
    fn count(&mut self, memory: usize) -> Result<usize, WireError> {
        let at = self.position;
        let length = self.varint(64)?;
        let (position, remaining) = (self.position, self.remaining());
        let count = usize::try_from(length).unwrap_or(usize::MAX);
        if count > self.list_max {
            return Err(WireError::Length { position: at, length, limit: self.list_max });
        }
        if count > remaining {
            return Err(WireError::Truncated { position, needed: count, remaining });
        }
        self.admit(count.saturating_mul(memory))?;
        assert!(count <= remaining, "each element has a byte to come from");
        Ok(count)
    }
}

/// A value with postcard's encoding.
pub trait Wire: Sized {
    /// # Errors
    /// [`WireError`]; nothing is allocated beyond the reader's limit.
    fn read(reader: &mut Reader) -> Result<Self, WireError>;
    fn write(&self, out: &mut Vec<u8>);
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

macro_rules! integers {
    ($($unsigned:ident $signed:ident $bits:literal)*) => {$(
        impl Wire for $unsigned {
            fn read(reader: &mut Reader) -> Result<$unsigned, WireError> {
                let value = reader.varint($bits)?;
                Ok($unsigned::try_from(value).expect("varint() bounds the bits"))
            }

            fn write(&self, out: &mut Vec<u8>) {
                write_varint(out, u64::from(*self));
            }
        }

        /// Zigzag: the sign is the lowest bit.
        impl Wire for $signed {
            fn read(reader: &mut Reader) -> Result<$signed, WireError> {
                let raw = $unsigned::read(reader)?;
                Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
            }

            fn write(&self, out: &mut Vec<u8>) {
                ((*self << 1) ^ (*self >> ($bits - 1))).cast_unsigned().write(out);
            }
        }
    )*};
}

integers! {
    u16 i16 16
    u32 i32 32
    u64 i64 64
}

impl Wire for u8 {
    fn read(reader: &mut Reader) -> Result<u8, WireError> {
        reader.byte()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
}

impl Wire for bool {
    fn read(reader: &mut Reader) -> Result<bool, WireError> {
        let position = reader.position;
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            byte => Err(WireError::Flag { position, byte }),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

/// Text of any length that fits the frame: values and messages, not names.
impl Wire for String {
    fn read(reader: &mut Reader) -> Result<String, WireError> {
        reader.text(usize::MAX)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_slice(out, self.as_bytes());
    }
}

impl Wire for Bytes {
    fn read(reader: &mut Reader) -> Result<Bytes, WireError> {
        reader.slice(usize::MAX)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_slice(out, self);
    }
}

impl<T: Wire> Wire for Option<T> {
    fn read(reader: &mut Reader) -> Result<Option<T>, WireError> {
        Ok(if bool::read(reader)? { Some(T::read(reader)?) } else { None })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.is_some().write(out);
        if let Some(value) = self {
            value.write(out);
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn read(reader: &mut Reader) -> Result<Vec<T>, WireError> {
        let count = reader.count(size_of::<T>())?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(T::read(reader)?);
        }
        assert_eq!(list.len(), count, "a list is read whole");
        Ok(list)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_varint(out, self.len() as u64);
        self.iter().for_each(|element| element.write(out));
    }
}

/// A map is a list of pairs; of a key that comes twice the last value counts.
impl<K: Wire + Ord, V: Wire> Wire for BTreeMap<K, V> {
    fn read(reader: &mut Reader) -> Result<BTreeMap<K, V>, WireError> {
        // A tree's nodes are two thirds full at worst.
        let count = reader.count(2 * size_of::<(K, V)>())?;
        let mut map = BTreeMap::new();
        for _ in 0..count {
            map.insert(K::read(reader)?, V::read(reader)?);
        }
        assert!(map.len() <= count, "a map has no more keys than it announced");
        Ok(map)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_varint(out, self.len() as u64);
        for (key, value) in self {
            key.write(out);
            value.write(out);
        }
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn read(reader: &mut Reader) -> Result<(A, B), WireError> {
        Ok((A::read(reader)?, B::read(reader)?))
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }
}

impl<A: Wire, B: Wire, C: Wire> Wire for (A, B, C) {
    fn read(reader: &mut Reader) -> Result<(A, B, C), WireError> {
        Ok((A::read(reader)?, B::read(reader)?, C::read(reader)?))
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
        self.2.write(out);
    }
}

/// The name of something: text of at most [`NAME_BYTES_MAX`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Wire for Name {
    fn read(reader: &mut Reader) -> Result<Name, WireError> {
        reader.text(NAME_BYTES_MAX).map(Name)
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

impl Name {
    /// # Errors
    /// [`WireError::Length`] when it is longer than a name may be.
    pub(crate) fn checked(name: String) -> Result<Name, WireError> {
        match name.len() {
            0..=NAME_BYTES_MAX => Ok(Name(name)),
            length => {
                let (position, length) = (0, length as u64);
                Err(WireError::Length { position, length, limit: NAME_BYTES_MAX })
            }
        }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Name {
        Name(name.to_owned())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A password, a token or a SASL message, of at most [`SECRET_BYTES_MAX`] bytes; never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub Bytes);

impl Wire for Secret {
    fn read(reader: &mut Reader) -> Result<Secret, WireError> {
        reader.slice(SECRET_BYTES_MAX).map(Secret)
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}
