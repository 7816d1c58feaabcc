//! The headers in front of bodies: request header v1 and v2, response header v0 and v1.

use bytes::Bytes;

use super::api::{ApiKey, served};
use super::reader::{DecodeError, Reader};
use super::sink::Sink;
use super::text::WireStr;
use super::wire::{Shape, Tagged, Wire, read_tags, write_uvarint};

/// What stands before every request body. The client id has an i16 length in both header versions;
/// v2, which flexible requests have, adds tagged fields (KIP-482).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    /// May be null. Bytes that are not UTF-8 are replaced, not refused: Kafka answers them too.
    pub client_id: Option<WireStr>,
}

/// The layout of everything in a header but its tagged fields.
const CLASSIC: Shape = Shape { version: 0, flexible: false };

impl RequestHeader {
    /// Splits a frame (without its length) into header and body.
    ///
    /// For an API or version that is not served the header's tagged fields, if there are any, are
    /// left in the body: the body of such a request is never read.
    ///
    /// # Errors
    /// [`DecodeError`] if the frame ends inside the header; Kafka closes the connection then.
    pub fn decode(frame: Bytes) -> Result<(RequestHeader, Bytes), DecodeError> {
        let mut reader = Reader::new(frame);
        let api_key = i16::read(&mut reader, CLASSIC)?;
        let api_version = i16::read(&mut reader, CLASSIC)?;
        let correlation_id = i32::read(&mut reader, CLASSIC)?;
        let client_id = match usize::try_from(i16::read(&mut reader, CLASSIC)?) {
            Ok(length) => Some(WireStr::from_utf8_lossy(reader.bytes(length)?)),
            Err(_) => None,
        };
        let flexible =
            served(api_key).is_some_and(|api| api.has(api_version) && api.is_flexible(api_version));
        if flexible {
            read_tags(&mut NoTags, &mut reader, CLASSIC)?;
        }
        let header = RequestHeader { api_key, api_version, correlation_id, client_id };
        Ok((header, reader.into_rest()))
    }

    pub(crate) fn write<S: Sink>(&self, sink: &mut S, flexible: bool) {
        self.api_key.write(sink, CLASSIC);
        self.api_version.write(sink, CLASSIC);
        self.correlation_id.write(sink, CLASSIC);
        self.client_id.write(sink, CLASSIC);
        if flexible {
            write_uvarint(sink, 0);
        }
    }
}

/// Splits a response frame (without its length) into correlation id and body.
///
/// # Errors
/// [`DecodeError`] if the frame ends inside the header.
pub fn decode_response_header(
    api: ApiKey,
    version: i16,
    frame: Bytes,
) -> Result<(i32, Bytes), DecodeError> {
    assert!(api.served().has(version), "{api:?} v{version} was never asked");
    let mut reader = Reader::new(frame);
    let correlation_id = i32::read(&mut reader, CLASSIC)?;
    if response_header_is_flexible(api, version) {
        read_tags(&mut NoTags, &mut reader, CLASSIC)?;
    }
    Ok((correlation_id, reader.into_rest()))
}

pub(crate) fn write_response_header<S: Sink>(
    sink: &mut S,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
) {
    correlation_id.write(sink, CLASSIC);
    if response_header_is_flexible(api, version) {
        write_uvarint(sink, 0);
    }
}

/// ApiVersions keeps header v0 in all versions, so that a client which does not know the broker's
/// versions yet can read the answer (KIP-511).
fn response_header_is_flexible(api: ApiKey, version: i16) -> bool {
    api != ApiKey::ApiVersions && api.served().is_flexible(version)
}

/// Headers have no tagged field that the broker needs.
struct NoTags;

impl Tagged for NoTags {
    fn read_tagged(&mut self, _: u32, _: &mut Reader, _: Shape) -> Result<bool, DecodeError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(api_key: i16, api_version: i16) -> Vec<u8> {
        let mut frame = api_key.to_be_bytes().to_vec();
        frame.extend_from_slice(&api_version.to_be_bytes());
        frame.extend_from_slice(&7i32.to_be_bytes());
        frame
    }

    #[test]
    fn client_id_may_be_null_empty_or_no_utf8() {
        let cases: [(&[u8], Option<&str>); 4] = [
            (&[0xff, 0xff], None),
            (&[0, 0], Some("")),
            (&[0, 2, b'm', b'e'], Some("me")),
            (&[0, 2, b'm', 0xff], Some("m\u{fffd}")),
        ];
        for (client_id, expected) in cases {
            let mut frame = header(ApiKey::Metadata as i16, 1);
            frame.extend_from_slice(client_id);
            frame.extend_from_slice(b"body");
            let (header, body) = RequestHeader::decode(Bytes::from(frame)).unwrap();
            assert_eq!(header.client_id.as_deref(), expected);
            assert_eq!((header.correlation_id, &body[..]), (7, &b"body"[..]));
        }
    }

    #[test]
    fn tagged_fields_are_skipped_in_flexible_versions_only() {
        let tags = [2, 0, 1, b'x', 9, 0];
        let cases = [
            (ApiKey::Metadata as i16, 8, 10),
            (ApiKey::Metadata as i16, 9, 4),
            (ApiKey::ApiVersions as i16, 4, 4),
            (ApiKey::ApiVersions as i16, 99, 10),
            (1000, 9, 10),
        ];
        for (api_key, version, body_bytes) in cases {
            let mut frame = header(api_key, version);
            frame.extend_from_slice(&[0, 0]);
            frame.extend_from_slice(&tags);
            frame.extend_from_slice(b"body");
            let (_, body) = RequestHeader::decode(Bytes::from(frame)).unwrap();
            assert_eq!(body.len(), body_bytes, "api {api_key} version {version}");
        }
    }

    #[test]
    fn truncated_headers_are_refused() {
        let mut frame = header(ApiKey::Metadata as i16, 9);
        frame.extend_from_slice(&[0, 2, b'm', b'e', 1, 5, 1, b'x']);
        assert!(RequestHeader::decode(Bytes::from(frame.clone())).is_ok());
        for end in 0..frame.len() {
            let cut = Bytes::copy_from_slice(&frame[..end]);
            assert!(RequestHeader::decode(cut).is_err(), "cut at {end}");
        }
    }
}
