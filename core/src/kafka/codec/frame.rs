//! Whole frames: length, header and body in pieces that one vectored write sends.
//!
//! ```text
//! length i32 (of what follows) | request or response header | body
//! ```
//! A frame has one piece, and one allocation for it, unless it holds record payloads of 1 KiB or
//! more: these are pieces of their own that are shared with the log, not copied.

use bytes::Bytes;

use super::header::{RequestHeader, write_response_header};
use super::message::{Message, Request};
use super::sink::{Length, Segments, Sink};
use super::text::WireStr;

/// What a client chooses about a request.
#[derive(Clone, Debug)]
pub struct RequestFrame {
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<WireStr>,
}

impl RequestFrame {
    /// A request as a client sends it. Panics if the message has no such version.
    pub fn encode<M: Request>(self, body: &M) -> Vec<Bytes> {
        assert!(self.api_version >= M::VERSION_MIN, "{:?} v{}", M::API, self.api_version);
        assert!(self.api_version <= M::VERSION_MAX, "{:?} v{}", M::API, self.api_version);
        let header = RequestHeader {
            api_key: M::API as i16,
            api_version: self.api_version,
            correlation_id: self.correlation_id,
            client_id: self.client_id,
        };
        let flexible = header.api_version >= M::FLEXIBLE_FROM;
        encode(&RequestParts { header, flexible, body })
    }
}

/// A response as the broker sends it. Panics if the message has no such version.
pub fn encode_response<M: Message>(correlation_id: i32, api_version: i16, body: &M) -> Vec<Bytes> {
    assert!(api_version >= M::VERSION_MIN, "{:?} v{api_version}", M::API);
    assert!(api_version <= M::VERSION_MAX, "{:?} v{api_version}", M::API);
    encode(&ResponseParts { correlation_id, api_version, body })
}

/// What a frame holds after its length.
trait Parts {
    fn write<S: Sink>(&self, sink: &mut S);
}

struct RequestParts<'a, M> {
    header: RequestHeader,
    flexible: bool,
    body: &'a M,
}

impl<M: Message> Parts for RequestParts<'_, M> {
    fn write<S: Sink>(&self, sink: &mut S) {
        self.header.write(sink, self.flexible);
        self.body.write_version(sink, self.header.api_version);
    }
}

struct ResponseParts<'a, M> {
    correlation_id: i32,
    api_version: i16,
    body: &'a M,
}

impl<M: Message> Parts for ResponseParts<'_, M> {
    fn write<S: Sink>(&self, sink: &mut S) {
        write_response_header(sink, M::API, self.api_version, self.correlation_id);
        self.body.write_version(sink, self.api_version);
    }
}

fn encode(parts: &impl Parts) -> Vec<Bytes> {
    let mut length = Length::default();
    parts.write(&mut length);
    let frame_bytes = i32::try_from(length.total()).expect("a message is smaller than 2 GiB");
    length.copied += size_of::<i32>();
    let mut segments = Segments::with_length(length);
    segments.put(&frame_bytes.to_be_bytes());
    parts.write(&mut segments);
    let pieces = segments.finish();
    let sent: usize = pieces.iter().map(Bytes::len).sum();
    assert_eq!(sent, length.total(), "a frame is as long as it says");
    assert!(pieces.len() <= 2 * length.shared_count + 1, "shared pieces and what is between them");
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::codec::header::decode_response_header;
    use crate::kafka::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
    use crate::kafka::messages::metadata::MetadataRequest;

    /// The frame after its length, which must be right.
    fn without_length(pieces: &[Bytes]) -> Bytes {
        let mut frame = Bytes::from(pieces.concat());
        let length = i32::from_be_bytes(frame.split_to(4)[..].try_into().unwrap());
        assert_eq!(frame.len(), length as usize);
        frame
    }

    #[test]
    fn requests_are_read_back_in_classic_and_flexible_versions() {
        for api_version in [1, 9] {
            let frame = RequestFrame { api_version, correlation_id: 5, client_id: None };
            let body = MetadataRequest { topics: None, ..Default::default() };
            let pieces = frame.encode(&body);
            assert_eq!(pieces.len(), 1);
            let (header, rest) = RequestHeader::decode(without_length(&pieces)).unwrap();
            assert_eq!((header.api_key, header.api_version), (3, api_version));
            assert_eq!(MetadataRequest::decode(rest, api_version), Ok(body));
        }
    }

    #[test]
    fn fetched_records_are_sent_as_they_lie_in_the_log() {
        let log = Bytes::from(vec![7; 4096]);
        let mut records = crate::kafka::codec::records::Records::default();
        records.push(log.slice(..2048));
        records.push(log.slice(2048..));
        let partitions = vec![PartitionData { records: Some(records), ..Default::default() }];
        let responses = vec![FetchableTopicResponse { partitions, ..Default::default() }];
        let body = FetchResponse { responses, ..Default::default() };
        for api_version in [11, 16] {
            let pieces = encode_response(9, api_version, &body);
            let shared: Vec<_> = pieces
                .iter()
                .filter(|piece| log.as_ptr_range().contains(&piece.as_ptr()))
                .collect();
            assert_eq!(shared.iter().map(|piece| piece.len()).sum::<usize>(), log.len());
            let frame = without_length(&pieces);
            let (id, rest) =
                decode_response_header(FetchResponse::API, api_version, frame).unwrap();
            assert_eq!(id, 9);
            assert_eq!(FetchResponse::decode(rest, api_version), Ok(body.clone()));
        }
    }
}
