//! Random and mutated bodies neither panic nor take more memory than their size allows.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::kafka::codec::api::SERVED;
use crate::kafka::codec::header::RequestHeader;
use crate::kafka::codec::reader::{Reader, memory_limit};
use crate::kafka::codec::sample::Entropy;
use crate::kafka::messages::Request;

/// Bodies for each of the 220 pairs of message and version: more than 100,000 in all.
const BODIES_EACH: usize = 800;

struct Hostile {
    sequence: Sequence,
    decoded: usize,
    refused: usize,
}

impl Hostile {
    /// Random bytes, or a valid body with a few bytes overwritten, inserted or cut off.
    fn body<Ours: Message + Sample>(&mut self, version: i16) -> Bytes {
        let random = self.sequence.below(4) == 0;
        if random {
            let count = self.sequence.below(300);
            return Bytes::from(self.sequence.bytes(count));
        }
        let entropy = self.sequence.bytes(96);
        let mut body = BytesMut::new();
        Ours::sample(&mut Entropy::new(&entropy), version).encode(version, &mut body);
        let mut body = body.to_vec();
        for _ in 0..=self.sequence.below(3) {
            let at = self.sequence.below(body.len() + 1);
            match self.sequence.below(4) {
                0 => body.truncate(at),
                1 => body.insert(at, [0, 0x7f, 0x80, 0xff][self.sequence.below(4)]),
                2 => drop(body.splice(at.., self.sequence.bytes(8))),
                _ => {
                    let run = [0x7f, 0xff, 0xff, 0xff];
                    let end = (at + 4).min(body.len());
                    body.splice(at..end, run);
                }
            }
        }
        Bytes::from(body)
    }
}

impl Check for Hostile {
    fn run<Ours, Theirs>(&mut self)
    where
        Ours: Message + Sample + Debug + Clone + PartialEq,
    {
        for version in Ours::VERSION_MIN..=Ours::VERSION_MAX {
            for _ in 0..BODIES_EACH {
                let body = self.body::<Ours>(version);
                let mut reader = Reader::new(body.clone());
                match Ours::decode_from(&mut reader, version) {
                    Ok(message) => {
                        self.decoded += 1;
                        let length = message.encoded_len(version);
                        let mut again = BytesMut::new();
                        message.encode(version, &mut again);
                        assert_eq!(again.len(), length);
                    }
                    Err(_) => self.refused += 1,
                }
                assert!(reader.memory() <= memory_limit(body.len()), "{body:02x?}");
            }
        }
    }
}

#[test]
fn hostile_bodies_neither_panic_nor_take_memory() {
    let mut hostile = Hostile { sequence: Sequence(1), decoded: 0, refused: 0 };
    check_every_message(&mut hostile);
    assert!(hostile.decoded + hostile.refused >= 100_000);
    assert!(hostile.decoded > 1_000 && hostile.refused > 1_000, "one outcome is never reached");
}

#[test]
fn random_frames_reach_no_panic_through_header_and_body() {
    let mut sequence = Sequence(2);
    let mut requests = 0;
    for _ in 0..20_000 {
        let api = &SERVED[sequence.below(SERVED.len())];
        let mut frame = (api.key as i16).to_be_bytes().to_vec();
        frame.extend_from_slice(&(sequence.below(20) as i16).to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 1, 0xff, 0xff, 0]);
        let count = sequence.below(64);
        frame.extend_from_slice(&sequence.bytes(count));
        let (header, body) = RequestHeader::decode(Bytes::from(frame)).unwrap_or_default();
        requests += usize::from(Request::decode(&header, body).is_ok());
    }
    assert!(requests > 100, "{requests} frames were requests");
}

#[test]
fn the_body_that_aborts_another_decoder_is_refused() {
    let body = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    let mut reader = Reader::new(body);
    assert!(metadata::MetadataRequest::decode_from(&mut reader, 1).is_err());
    assert_eq!(reader.memory(), 0);
}

#[test]
fn tiny_elements_cannot_take_more_memory_than_the_frame_allows() {
    let count = 1 << 20;
    let mut body = BytesMut::new();
    metadata::MetadataRequest {
        topics: Some(vec![
            metadata::MetadataRequestTopic {
                name: Some("".into()),
                ..Default::default()
            };
            count
        ]),
        ..Default::default()
    }
    .encode(1, &mut body);
    let mut reader = Reader::new(body.freeze());
    let refused = metadata::MetadataRequest::decode_from(&mut reader, 1);
    assert!(refused.is_err());
    assert_eq!(reader.memory(), 0);
}
