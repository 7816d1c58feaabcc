//! Tells native clients from Kafka's by a connection's first frame.
//!
//! A native frame begins with its format, 0 or 1, and a correlation id. While that is below 768 it
//! reads as Produce 0 to 2, which nobody serves, or as API 256, and later on hardly ever as a
//! header with a possible client id.

use bytes::Bytes;
use rivven_core::wire::codec::WireError;
use rivven_core::wire::frame::{Call, Head};
use rivven_core::wire::limits::FRAME_BYTES_MAX;
use rivven_core::wire::request::Request;

use rivven_core::kafka::codec::api::{ApiKey, served};
use rivven_core::kafka::codec::header::RequestHeader;

/// What a connection speaks, from its first frame to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Kafka,
    Native,
    /// Native, with a number before each frame: the pipelining client of release 0.0.22.
    Numbered,
}

/// Kafka's clients count their correlation ids from 0 or 1. In a native frame the last byte of its
/// own stands there first.
const KAFKA_ID_MAX: i32 = 1 << 24;

/// First version of Produce that has a body.
const PRODUCE_VERSION_MIN: i16 = 3;

impl Protocol {
    /// What `frame`, the first of a connection, is written in, and what it asks if that was read to
    /// tell; neither is Kafka's to refuse.
    pub(crate) fn of(frame: &Bytes) -> (Protocol, Option<Call>) {
        let header = RequestHeader::decode(frame.clone()).ok().map(|(header, _)| header);
        let kafka = header.filter(is_plausible);
        if kafka.as_ref().is_some_and(is_served) {
            return (Protocol::Kafka, None);
        }
        // A longer one is refused, whatever it asks.
        if frame.len() <= FRAME_BYTES_MAX {
            if let Ok(call) = read(frame.clone()) {
                return (Protocol::Native, Some(call));
            }
            if let Some((number, rest)) = split_number(frame)
                && let Ok(mut call @ Call { request: Request::Handshake { .. }, .. }) = read(rest)
            {
                call.head.number = Some(number);
                return (Protocol::Numbered, Some(call));
            }
        }
        let is_old = kafka.is_some_and(|header| (0..KAFKA_ID_MAX).contains(&header.correlation_id));
        // A native client of a release to come is told so; any other stranger is Kafka's.
        let protocol = match frame[..] {
            [1, ..] => Protocol::Native,
            [0, 0, _, _, _, _, ..] if !is_old => Protocol::Native,
            _ => Protocol::Kafka,
        };
        (protocol, None)
    }
}

fn read(frame: Bytes) -> Result<Call, WireError> {
    let (head, message) = Head::split(frame)?;
    head.call(message)
}

/// The number before a frame, and the frame.
pub(crate) fn split_number(frame: &Bytes) -> Option<(u64, Bytes)> {
    let number = frame.first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), frame.slice(number.len()..)))
}

/// Whether the client id is one: absent, or text without control characters.
fn is_plausible(header: &RequestHeader) -> bool {
    let name = header.client_id.as_deref().unwrap_or_default();
    !name.chars().any(|letter| letter.is_control() || letter == char::REPLACEMENT_CHARACTER)
}

/// Whether the broker serves the request: any version of ApiVersions (KIP-511), and none of Produce
/// that is only advertised.
fn is_served(header: &RequestHeader) -> bool {
    let version = header.api_version;
    match served(header.api_key) {
        Some(api) if api.key == ApiKey::ApiVersions => true,
        Some(api) if api.key == ApiKey::Produce => {
            (PRODUCE_VERSION_MIN..=api.version_max).contains(&version)
        }
        api => api.is_some_and(|api| api.has(version)),
    }
}

#[cfg(test)]
mod tests {
    use rivven_core::wire::codec::{Name, Wire};

    use super::*;

    fn kafka(key: i16, version: i16, id: i32, rest: &[u8]) -> Bytes {
        let mut frame = key.to_be_bytes().to_vec();
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&id.to_be_bytes());
        frame.extend_from_slice(rest);
        frame.into()
    }

    fn native(id: u32, request: &Request) -> Bytes {
        Bytes::from(Head::request(id, request).unwrap()).slice(4..)
    }

    #[test]
    fn the_first_frame_tells_the_protocol() {
        let null = [0xff, 0xff];
        let topic = || Name::from("orders");
        let publish = |value: Vec<u8>| Request::Publish {
            topic: topic(),
            partition: None,
            key: None,
            value: value.into(),
            leader_epoch: None,
        };
        let handshake = Request::Handshake { protocol_version: 2, client_id: "me".into() };
        let numbered = Bytes::from([&[0; 7], &[1][..], &native(0, &handshake)].concat());
        let cases: [(&str, Bytes, Protocol); 21] = [
            ("Handshake with a number", numbered, Protocol::Numbered),
            ("ApiVersions", kafka(18, 3, 0, &null), Protocol::Kafka),
            ("ApiVersions 99", kafka(18, 99, 1, &null), Protocol::Kafka),
            ("Metadata", kafka(3, 9, 1, b"\0\x04kcat\0\0\0\0"), Protocol::Kafka),
            ("Metadata 99", kafka(3, 99, 1, &null), Protocol::Kafka),
            ("LeaderAndIsr", kafka(4, 0, 7, &null), Protocol::Kafka),
            ("API 1000", kafka(1000, 0, 7, &null), Protocol::Kafka),
            ("API -1", kafka(-1, 0, 7, &null), Protocol::Kafka),
            ("Produce 2", kafka(0, 2, 7, &null), Protocol::Kafka),
            ("Produce 9", kafka(0, 9, 7, b"\0\x02me\0\0\0\0"), Protocol::Kafka),
            ("no client id", kafka(18, 0, 7, &[]), Protocol::Kafka),
            ("key and version", Bytes::from_static(&[0, 18, 0, 0]), Protocol::Kafka),
            ("one byte", Bytes::from_static(&[0]), Protocol::Kafka),
            ("Ping", native(0, &Request::Ping), Protocol::Native),
            ("Ping 1", native(1, &Request::Ping), Protocol::Native),
            ("Ping 800", native(800, &Request::Ping), Protocol::Native),
            ("Ping u32::MAX", native(u32::MAX, &Request::Ping), Protocol::Native),
            ("Handshake", native(1, &handshake), Protocol::Native),
            ("Publish", native(1, &publish(vec![0; 100_000])), Protocol::Native),
            ("garbage", Bytes::from_static(&[0, 0, 0, 0, 1, 0xff, 0xff, 0xff]), Protocol::Native),
            (
                "Ping in protobuf",
                Bytes::from_static(&[1, 0, 0, 0, 1, 0xf2, 1, 0]),
                Protocol::Native,
            ),
        ];
        for (case, frame, expected) in cases {
            assert_eq!(Protocol::of(&frame).0, expected, "{case}");
        }
    }

    #[test]
    fn what_was_read_to_tell_is_kept_and_long_frames_are_not_read() {
        let publish = |bytes: usize| Request::Publish {
            topic: "t".into(),
            partition: None,
            key: None,
            value: vec![0; bytes].into(),
            leader_epoch: None,
        };
        let handshake = Request::Handshake { protocol_version: 2, client_id: "me".into() };
        let numbered = Bytes::from([&[0; 7], &[1][..], &native(5, &handshake)].concat());
        let cases = [
            (native(7, &publish(5)), Some((None, publish(5)))),
            (numbered, Some((Some(1), handshake))),
            (kafka(18, 3, 0, &[0xff, 0xff]), None),
        ];
        for (frame, expected) in cases {
            let call = Protocol::of(&frame).1;
            assert_eq!(call.map(|call| (call.head.number, call.request)), expected);
        }
        let frame = |bytes: usize| {
            let mut frame = vec![0, 0, 0, 0, 7];
            publish(bytes).write(&mut frame);
            Bytes::from(frame)
        };
        let whole = frame(FRAME_BYTES_MAX - 100);
        assert!(matches!(Protocol::of(&whole), (Protocol::Native, Some(_))));
        assert_eq!(Protocol::of(&frame(FRAME_BYTES_MAX)).1, None);
    }
}
