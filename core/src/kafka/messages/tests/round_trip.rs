//! What is encoded is decoded again, in its exact length, and not when any part is missing.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::kafka::codec::message::Message;
use crate::kafka::codec::reader::DecodeError;
use crate::kafka::codec::sample::Entropy;

struct RoundTrip<'a>(&'a [u8]);

impl Check for RoundTrip<'_> {
    fn run<Ours, Theirs>(&mut self)
    where
        Ours: Message + Sample + Debug + Clone + PartialEq,
    {
        for version in Ours::VERSION_MIN..=Ours::VERSION_MAX {
            let message = Ours::sample(&mut Entropy::new(self.0), version);
            let mut body = BytesMut::new();
            message.encode(version, &mut body);
            assert_eq!(body.len(), message.encoded_len(version), "version {version}");
            let decoded = Ours::decode(body.freeze(), version);
            assert_eq!(decoded.as_ref(), Ok(&message), "version {version}");
        }
    }
}

struct Truncation<'a>(&'a [u8]);

impl Check for Truncation<'_> {
    fn run<Ours, Theirs>(&mut self)
    where
        Ours: Message + Sample + Debug + Clone + PartialEq,
    {
        for version in Ours::VERSION_MIN..=Ours::VERSION_MAX {
            let message = Ours::sample(&mut Entropy::new(self.0), version);
            let mut body = BytesMut::new();
            message.encode(version, &mut body);
            let body = body.freeze();
            for end in 0..body.len() {
                let cut = Ours::decode(body.slice(..end), version);
                assert!(cut.is_err(), "{:?} version {version} cut at {end}", Ours::API);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_message_survives_encoding(entropy in prop::collection::vec(any::<u8>(), 0..1024)) {
        check_every_message(&mut RoundTrip(&entropy));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_truncation_is_rejected(entropy in prop::collection::vec(0u8..250, 0..256)) {
        check_every_message(&mut Truncation(&entropy));
    }
}

#[test]
fn unknown_versions_are_refused() {
    struct Unknown;
    impl Check for Unknown {
        fn run<Ours: Message + Debug + PartialEq, Theirs>(&mut self) {
            for api_version in [-1, Ours::VERSION_MAX + 1] {
                let refused = DecodeError::Version { api_key: Ours::API as i16, api_version };
                assert_eq!(Ours::decode(Bytes::from(vec![0; 64]), api_version), Err(refused));
            }
        }
    }
    check_every_message(&mut Unknown);
}

#[test]
fn bytes_after_the_message_are_ignored() {
    let body = Bytes::from(vec![0; 4 + 50]);
    let request = metadata::MetadataRequest::decode(body, 1).unwrap();
    assert_eq!(request.topics, Some(Vec::new()));
}

#[test]
fn any_negative_array_length_is_null_where_null_is_allowed() {
    for length in [-1i32, -2, i32::MIN] {
        let body = Bytes::copy_from_slice(&length.to_be_bytes());
        let request = metadata::MetadataRequest::decode(body.clone(), 1).unwrap();
        assert_eq!(request.topics, None);
        let refused = metadata::MetadataRequest::decode(body, 0);
        assert_eq!(refused, Err(DecodeError::Null { position: 0 }));
    }
}

#[test]
fn null_is_written_as_empty_in_versions_without_null() {
    let request = metadata::MetadataRequest { topics: None, ..Default::default() };
    let mut body = BytesMut::new();
    request.encode(0, &mut body);
    assert_eq!(&body[..], [0; 4]);
}

#[test]
fn unknown_tagged_fields_are_skipped_and_known_ones_must_fill_their_size() {
    let skipped = Bytes::from_static(&[0, 1, 0, 0, 2, 7, 2, 0xaa, 0xbb, 9, 0]);
    let request = metadata::MetadataRequest::decode(skipped, 9).unwrap();
    assert_eq!(request.topics, None);

    let mut body = BytesMut::new();
    fetch::FetchRequest::default().encode(12, &mut body);
    let tags_at = body.len() - 1;
    for (field, expected) in [
        (&[1, 0, 3, 3, b'i', b'd'][..], Some(true)),
        (&[1, 0, 1, 0], Some(false)),
        (&[1, 0, 4, 3, b'i', b'd', 0], None),
        (&[1, 0, 2, 3, b'i', b'd'], None),
    ] {
        let mut body = body[..tags_at].to_vec();
        body.extend_from_slice(field);
        let cluster_id = fetch::FetchRequest::decode(Bytes::from(body), 12)
            .map(|request| request.cluster_id.is_some());
        assert_eq!(cluster_id.ok(), expected, "{field:?}");
    }
}
