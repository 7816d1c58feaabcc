//! Every message in every version against `kafka-protocol`, an independent implementation.
//!
//! Their decoder must read our bytes as the same field values under the same names, and their
//! encoder must give the same bytes back, which ours must then read again.

use bytes::{Buf, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::kafka::codec::sample::Entropy;

/// Fields whose values print differently (the bytes cover them), fields of InitProducerId 6, which
/// is not served, and one of DescribeLogDirs 5, which they do not know.
const NOT_COMPARED: [&str; 9] = [
    "is_cordoned",
    "unknown_tagged_fields",
    "records",
    "topic_id",
    "replica_directory_id",
    "enable_2_pc",
    "keep_prepared_txn",
    "ongoing_txn_producer_id",
    "ongoing_txn_producer_epoch",
];

/// The scalar fields in order, as `name: value`, and the texts of nullable strings.
///
/// Null and empty values are left out: the two implementations differ in which of them is the
/// default of a field that a version lacks.
fn fields(debug: &str) -> Vec<String> {
    let mut fields = Vec::new();
    for line in debug.lines().map(|line| line.trim().trim_end_matches(',')) {
        let Some((name, value)) = line.split_once(": ") else {
            if line.starts_with('"') && line != "\"\"" {
                fields.push(line.to_owned());
            }
            continue;
        };
        let opens_a_struct = value.ends_with(['{', '(', '[']);
        let is_empty = ["None", "[]", "\"\""].contains(&value);
        if opens_a_struct || is_empty || NOT_COMPARED.contains(&name) {
            continue;
        }
        let code = value.rsplit_once('(').filter(|_| name.ends_with("error_code"));
        let value = code.map_or(value, |(_, code)| code.trim_end_matches(')'));
        fields.push(format!("{name}: {value}"));
    }
    fields
}

struct Differential<'a> {
    entropy: &'a [u8],
    compared: usize,
}

impl Check for Differential<'_> {
    fn run<Ours, Theirs>(&mut self)
    where
        Ours: Message + Sample + Debug + Clone + PartialEq,
        Theirs: kafka_protocol::protocol::Encodable
            + kafka_protocol::protocol::Decodable
            + kafka_protocol::protocol::Message
            + Debug,
    {
        let known = Ours::VERSION_MIN..=Ours::VERSION_MAX.min(Theirs::VERSIONS.max);
        for version in known {
            let at = format!("{:?} version {version}", Ours::API);
            let ours = Ours::sample(&mut Entropy::new(self.entropy), version);
            let mut sent = BytesMut::new();
            ours.encode(version, &mut sent);
            let sent = sent.freeze();

            let mut rest = sent.clone();
            let theirs = Theirs::decode(&mut rest, version).unwrap();
            assert!(!rest.has_remaining(), "{at}: they leave {} bytes", rest.remaining());
            assert_eq!(fields(&format!("{ours:#?}")), fields(&format!("{theirs:#?}")), "{at}");

            let mut returned = BytesMut::new();
            theirs.encode(&mut returned, version).unwrap();
            assert_eq!(sent, returned, "{at}");
            let mut again = BytesMut::new();
            Ours::decode(returned.freeze(), version).unwrap().encode(version, &mut again);
            assert_eq!(sent, Bytes::from(again), "{at}");
            self.compared += 1;
        }
    }
}

/// What `kafka-protocol` 0.18 does not know: ListOffsets 11, which has the layout of 10, the
/// requests of OffsetFetch 10 and OffsetCommit 10, and DescribeLogDirs 5, which have golden bytes.
const UNKNOWN_TO_THEM: usize = 6;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn bytes_and_field_names_agree(entropy in prop::collection::vec(any::<u8>(), 0..1024)) {
        let mut differential = Differential { entropy: &entropy, compared: 0 };
        check_every_message(&mut differential);
        let versions: i16 = crate::kafka::codec::api::SERVED
            .iter()
            .map(|api| 1 + api.version_max - api.version_min)
            .sum();
        let produce_without_body = 3;
        let expected = 2 * (versions as usize - produce_without_body) - UNKNOWN_TO_THEM;
        assert_eq!(differential.compared, expected);
    }
}

#[test]
fn headers_agree_with_theirs() {
    use kafka_protocol::messages::RequestHeader as Theirs;
    use kafka_protocol::protocol::{Decodable, Encodable};

    use crate::kafka::codec::frame::RequestFrame;
    use crate::kafka::codec::header::RequestHeader;

    for (api_version, header_version) in [(8, 1), (9, 2)] {
        for client_id in [None, Some("cli")] {
            let theirs = Theirs::default()
                .with_request_api_key(3)
                .with_request_api_version(api_version)
                .with_correlation_id(77)
                .with_client_id(client_id.map(Into::into));
            let mut frame = BytesMut::new();
            theirs.encode(&mut frame, header_version).unwrap();
            let (ours, body) = RequestHeader::decode(frame.clone().freeze()).unwrap();
            assert!(body.is_empty());
            assert_eq!((ours.api_key, ours.api_version, ours.correlation_id), (3, api_version, 77));
            assert_eq!(ours.client_id.as_deref(), client_id);

            let request = metadata::MetadataRequest::default();
            let request_frame =
                RequestFrame { api_version, correlation_id: 77, client_id: ours.client_id };
            let mut sent = Bytes::from(request_frame.encode(&request).concat());
            sent.advance(4);
            assert_eq!(Theirs::decode(&mut sent, header_version).unwrap(), theirs);
        }
    }
}
