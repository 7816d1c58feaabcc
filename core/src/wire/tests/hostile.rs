//! Bytes that are no messages: refused within the limits of memory, whatever they announce.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::golden::{ID, golden};
use crate::wire::codec::{Name, Reader, Wire, WireError};
use crate::wire::frame::{Format, Head};
use crate::wire::limits::{LIST_MAX, MEMORY_MIN, NAME_BYTES_MAX, REQUEST_MEMORY_MAX};
use crate::wire::request::Request;
use crate::wire::response::Response;

fn decode(frame: Bytes) -> Result<Request, WireError> {
    let (head, message) = Head::split(frame)?;
    let bound = (message.len() * 64 + MEMORY_MIN).min(REQUEST_MEMORY_MAX);
    let call = head.call(message)?;
    assert!(call.memory <= bound, "{} bytes of memory", call.memory);
    Ok(call.request)
}

#[test]
fn every_truncation_and_every_trailing_byte_is_refused() {
    for frame in golden("request") {
        for end in 0..frame.len() {
            assert!(decode(frame.slice(..end)).is_err(), "{frame:?} cut at {end}");
        }
        let longer = Bytes::from([&frame[..], &[0]].concat());
        assert_eq!(decode(longer), Err(WireError::Trailing { bytes: 1 }));
    }
    for frame in golden("response") {
        for end in 5..frame.len() {
            assert!(Response::decode(frame.slice(5..end)).is_err(), "{frame:?} cut at {end}");
        }
    }
}

/// A request's number and what follows it, in a frame without its length.
fn frame(index: u8, rest: &[u8]) -> Bytes {
    Bytes::from([&[0, 0, 0, 0, 1, index], rest].concat())
}

#[test]
fn names_and_lists_beyond_their_limits_are_refused() {
    let name = |length: usize| Request::DeleteTopic { name: "z".repeat(length).as_str().into() };
    let list =
        |length: usize| Request::GetClusterMetadata { topics: vec![Name::default(); length] };
    let nested = |length: usize| Request::CreatePartitions {
        topic: Name::default(),
        new_partition_count: 1,
        assignments: vec![vec![Name::default(); length]; LIST_MAX],
    };
    let limit = REQUEST_MEMORY_MAX;
    let cases = [
        (name(NAME_BYTES_MAX), None),
        (
            name(NAME_BYTES_MAX + 1),
            Some(WireError::Length { position: 1, length: 257, limit: NAME_BYTES_MAX }),
        ),
        (list(LIST_MAX), None),
        (
            list(LIST_MAX + 1),
            Some(WireError::Length { position: 1, length: 10_001, limit: LIST_MAX }),
        ),
        (nested(4), None),
        (nested(1000), Some(WireError::Memory { limit })),
    ];
    for (request, expected) in cases {
        let frame = Bytes::from(Head::request(1, &request).unwrap()).slice(4..);
        assert_eq!(decode(frame).err(), expected);
    }
}

#[test]
fn announced_lengths_reserve_nothing() {
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    for index in [12u8, 22, 24, 27, 28, 32] {
        assert!(decode(frame(index, &most)).is_err(), "request {index}");
    }
    let mut reader = Reader::request(Bytes::copy_from_slice(&most));
    assert!(Vec::<Vec<Name>>::read(&mut reader).is_err());
    assert_eq!(reader.memory(), 0);
    let ten_gib = [0x80, 0x80, 0x80, 0x80, 0x28];
    let mut reader = Reader::response(Bytes::copy_from_slice(&ten_gib));
    assert!(Vec::<String>::read(&mut reader).is_err());
    assert_eq!(reader.memory(), 0);
}

#[test]
fn unknown_requests_and_formats_are_named() {
    assert_eq!(decode(frame(44, &[])), Err(WireError::Unknown { index: 44 }));
    assert_eq!(decode(Bytes::from_static(&[2, 0, 0, 0, 1, 13])), Err(WireError::Format(2)));
    assert_eq!(decode(frame(30, &[0x80; 20])).err(), Some(WireError::Integer { position: 1 }));
}

proptest! {
    #[test]
    fn random_messages_never_panic(index in 0u8..50, rest in vec(any::<u8>(), 0..200)) {
        if let Ok(request) = decode(frame(index, &rest)) {
            let again = Bytes::from(Head::request(ID, &request).unwrap()).slice(4..);
            prop_assert_eq!(decode(again), Ok(request));
        }
        let message = Bytes::from([&[index][..], &rest].concat());
        if let Ok(response) = Response::decode(message.clone()) {
            let written = Head::UNKNOWN.answer(0, &response).unwrap();
            prop_assert_eq!(Response::decode(Bytes::from(written).slice(9..)), Ok(response));
        }
        let _ = Head { format: Format::Protobuf, ..Head::UNKNOWN }.call(message);
    }

    #[test]
    fn changed_messages_never_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        for kind in ["request", "response"] {
            let frames = golden(kind);
            let mut frame = which.get(&frames).to_vec();
            let at = 5 + at.index(frame.len() - 5);
            frame[at] = byte;
            let frame = Bytes::from(frame);
            let _ = decode(frame.clone());
            let _ = Response::decode(frame.slice(5..));
        }
    }

    #[test]
    fn values_have_the_bytes_of_the_postcard_crate(
        unsigned: (u8, u16, u32, u64),
        signed: (i16, i32, i64),
        others: (bool, Option<u64>, String, Vec<u32>),
    ) {
        let mut ours = Vec::new();
        unsigned.0.write(&mut ours);
        (unsigned.1, unsigned.2, unsigned.3).write(&mut ours);
        signed.write(&mut ours);
        (others.0, others.1, others.2.clone()).write(&mut ours);
        others.3.write(&mut ours);
        prop_assert_eq!(&ours, &postcard::to_allocvec(&(unsigned, signed, &others)).unwrap());
        let mut reader = Reader::request(Bytes::from(ours));
        prop_assert_eq!(u8::read(&mut reader), Ok(unsigned.0));
        prop_assert_eq!(Wire::read(&mut reader), Ok((unsigned.1, unsigned.2, unsigned.3)));
        prop_assert_eq!(Wire::read(&mut reader), Ok(signed));
        prop_assert_eq!(Wire::read(&mut reader), Ok((others.0, others.1, others.2)));
        prop_assert_eq!(Wire::read(&mut reader), Ok(others.3));
        prop_assert_eq!(reader.finish(), Ok(()));
    }
}
