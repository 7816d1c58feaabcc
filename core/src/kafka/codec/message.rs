//! What every message can do: decode from a body, and encode with its exact length known first.

use bytes::{Bytes, BytesMut};

use super::api::ApiKey;
use super::reader::{DecodeError, Reader};
use super::sink::{Length, Sink};
use super::wire::{Shape, Wire};

/// A request or response body of one API, in any version from `VERSION_MIN` to `VERSION_MAX`.
///
/// Encoding panics outside that range: a response is encoded in the version in which its request
/// was decoded, so another one is a mistake of ours.
pub trait Message: Wire {
    const API: ApiKey;
    const VERSION_MIN: i16;
    const VERSION_MAX: i16;
    /// First version with compact lengths and tagged fields (KIP-482).
    const FLEXIBLE_FROM: i16;

    /// Reads a body. Strings and records are slices of `body`, no bytes are copied; unknown tagged
    /// fields and bytes after the message are ignored, as Kafka does.
    ///
    /// # Errors
    /// [`DecodeError`] if the version is unknown or the bytes are not such a message.
    fn decode(body: Bytes, version: i16) -> Result<Self, DecodeError> {
        Self::decode_from(&mut Reader::new(body), version)
    }

    /// [`Message::decode`] from a reader that can be asked afterwards what was read.
    fn decode_from(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        match Self::shape(version) {
            Some(shape) => Self::read(reader, shape),
            None => {
                let api_key = Self::API as i16;
                Err(DecodeError::Version { api_key, api_version: version })
            }
        }
    }

    /// Bytes that the body takes.
    fn encoded_len(&self, version: i16) -> usize {
        let mut length = Length::default();
        self.write_version(&mut length, version);
        length.total()
    }

    /// Appends the body, with at most one allocation; record data is copied.
    fn encode(&self, version: i16, out: &mut BytesMut) {
        let length = self.encoded_len(version);
        out.reserve(length);
        let start = out.len();
        self.write_version(out, version);
        debug_assert_eq!(out.len() - start, length);
    }

    #[doc(hidden)]
    fn shape(version: i16) -> Option<Shape> {
        (Self::VERSION_MIN..=Self::VERSION_MAX)
            .contains(&version)
            .then_some(Shape { version, flexible: version >= Self::FLEXIBLE_FROM })
    }

    #[doc(hidden)]
    fn write_version<S: Sink>(&self, sink: &mut S, version: i16) {
        let shape = Self::shape(version).expect("messages are encoded in a version they have");
        self.write(sink, shape);
    }
}

/// A request body, which knows the type of its answer.
pub trait Request: Message + 'static {
    type Response: Message + 'static;
}
