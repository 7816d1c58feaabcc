//! A frame: its length, its format, the id that pairs answer and request, and one message.
//!
//! ```text
//! u32 length of what follows | u8 format | u32 correlation id | message      big endian
//! ```
//! The pipelining client of release 0.0.22 writes a u64 of its own before the format, and expects
//! it there in the answer.

use bytes::{Buf, Bytes};

use super::codec::{Wire, WireError};
use super::limits::FRAME_BYTES_MAX;
use super::proto::{self, asked::GET_METADATA};
use super::request::Request;
use super::response::Response;

/// Bytes of the length.
pub const LENGTH_BYTES: usize = 4;
/// Bytes of format and correlation id.
pub const HEAD_BYTES: usize = 5;

/// Memory of a field in protobuf, at most: a header in a list that has just grown. Its texts take
/// what they have in the frame.
const FIELD_BYTES: usize = 128;

/// How the message of a frame is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Postcard = 0,
    Protobuf = 1,
}

/// What stands before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub format: Format,
    pub correlation_id: u32,
    /// What a pipelining client wrote before the format.
    pub number: Option<u64>,
}

/// A request that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub head: Head,
    /// Number of the request in its format, on which the form of the answer depends.
    pub asked: u32,
    pub request: Request,
    /// Bytes that it takes beside its frame.
    pub memory: usize,
}

/// A message that does not fit a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {bytes} bytes is over the limit of {FRAME_BYTES_MAX}")]
pub struct FrameTooLarge {
    pub bytes: usize,
}

impl Call {
    /// Whether the topic of GetClusterMetadata must be there: in protobuf the metadata of one topic
    /// is asked for with a list.
    #[must_use]
    pub fn needs_its_topic(&self) -> bool {
        let is_metadata = self.head.format == Format::Protobuf && self.asked == GET_METADATA;
        match &self.request {
            Request::GetClusterMetadata { topics } => is_metadata && topics.len() == 1,
            _ => false,
        }
    }
}

impl Head {
    /// What an answer says to a frame that has no head.
    pub const UNKNOWN: Head = Head { format: Format::Postcard, correlation_id: 0, number: None };

    /// Splits a frame, without its length, into head and message.
    ///
    /// # Errors
    /// [`WireError`] when it has no head, or a format that is not known.
    pub fn split(mut frame: Bytes) -> Result<(Head, Bytes), WireError> {
        let remaining = frame.len();
        if remaining < HEAD_BYTES {
            return Err(WireError::Truncated { position: 0, needed: HEAD_BYTES, remaining });
        }
        let format = match frame.get_u8() {
            0 => Format::Postcard,
            1 => Format::Protobuf,
            other => return Err(WireError::Format(other)),
        };
        let correlation_id = frame.get_u32();
        assert_eq!(frame.len(), remaining - HEAD_BYTES, "the rest is the message");
        Ok((Head { format, correlation_id, number: None }, frame))
    }

    /// Reads the message behind this head.
    ///
    /// # Errors
    /// [`WireError`] when it is not exactly one request within its limits.
    pub fn call(self, message: Bytes) -> Result<Call, WireError> {
        let frame_bytes = message.len();
        let (request, asked, memory) = match self.format {
            Format::Postcard => {
                let (request, memory) = Request::decode(message)?;
                let asked = u32::try_from(request.index()).expect("there are fewer requests");
                (request, asked, memory)
            }
            Format::Protobuf => {
                let (request, asked, fields) = proto::decode(message)?;
                assert!(asked >= 10, "the fields before are the header's");
                (request, asked, frame_bytes + fields * FIELD_BYTES)
            }
        };
        Ok(Call { head: self, asked, request, memory })
    }

    /// The frame of a response, in the format in which request number `asked` came.
    ///
    /// # Errors
    /// See [`FrameTooLarge`].
    pub fn answer(self, asked: u32, response: &Response) -> Result<Vec<u8>, FrameTooLarge> {
        self.frame(|out| match self.format {
            Format::Postcard => response.write(out),
            Format::Protobuf => proto::encode((self.correlation_id, asked), response, out),
        })
    }

    /// The frame of a request in postcard.
    ///
    /// # Errors
    /// See [`FrameTooLarge`].
    pub fn request(correlation_id: u32, request: &Request) -> Result<Vec<u8>, FrameTooLarge> {
        Head { correlation_id, ..Head::UNKNOWN }.frame(|out| request.write(out))
    }

    fn frame(self, write: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>, FrameTooLarge> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        if let Some(number) = self.number {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.push(self.format as u8);
        out.extend_from_slice(&self.correlation_id.to_be_bytes());
        write(&mut out);
        let bytes = out.len() - LENGTH_BYTES;
        if bytes > FRAME_BYTES_MAX {
            return Err(FrameTooLarge { bytes });
        }
        let length = u32::try_from(bytes).expect("a frame is smaller than 4 GiB");
        out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        assert!(bytes >= HEAD_BYTES, "a frame has a head");
        Ok(out)
    }
}
