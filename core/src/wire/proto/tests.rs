//! tests/wire/native-0.0.22-protobuf.txt: what another implementation of protobuf wrote from the
//! message definitions of release 0.0.22, with the correlation id 0x01020304.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::encode;
use crate::wire::codec::{Name, WireError};
use crate::wire::frame::{Format, Head};
use crate::wire::message::{
    BrokerInfo, ConfigChange, ConfigValue, ConsumedRecord, DeletedRecords, NewRecord,
    OffsetToCommit, PartitionMetadata, ProducerRun, TopicConfigs, TopicMetadata,
};
use crate::wire::request::Request;
use crate::wire::response::Response;

const GOLDEN: &str = include_str!("../../../tests/wire/native-0.0.22-protobuf.txt");
const ID: u32 = 0x0102_0304;

fn golden(kind: &str) -> Vec<(&'static str, Bytes)> {
    let byte = |hex: &str, at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let lines = GOLDEN.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let of_kind = lines.filter(|words| words[0] == kind).map(|words| {
        let hex = words[2];
        (words[1], (0..hex.len()).step_by(2).map(|at| byte(hex, at)).collect::<Vec<u8>>().into())
    });
    of_kind.collect()
}

fn decode(frame: Bytes) -> Result<(Request, u32), WireError> {
    super::decode(frame).map(|(request, asked, _)| (request, asked))
}

fn name(text: &str) -> Name {
    Name::from(text)
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn published(record: NewRecord, producer: Option<ProducerRun>, epoch: Option<u64>) -> Request {
    Request::PublishRecords {
        topic: name("orders"),
        partition: Some(1),
        records: vec![record],
        acks: -1,
        producer,
        leader_epoch: epoch,
    }
}

fn full_record() -> NewRecord {
    NewRecord {
        key: Some(bytes("k")),
        value: Some(bytes("v")),
        headers: vec![("h".to_owned(), Some(bytes("x")))],
        timestamp_ms: Some(1_700_000_000_000),
    }
}

fn data_requests() -> Vec<(u32, Request)> {
    let orders = || name("orders");
    let change = |key: &str, value: Option<&str>| ConfigChange {
        key: name(key),
        value: value.map(str::to_owned),
    };
    vec![
        (10, published(full_record(), None, Some(0))),
        (
            11,
            Request::ConsumeRecords {
                topic: orders(),
                partition: 1,
                offset: 300,
                max_records: 10,
                max_bytes: 1000,
                isolation_level: 1,
                max_wait_ms: 500,
            },
        ),
        (
            12,
            Request::CreateTopicWithConfigs {
                name: orders(),
                partitions: Some(3),
                replication_factor: Some(1),
                configs: vec![change("retention.ms", Some("1000"))],
            },
        ),
        (13, Request::DeleteTopic { name: orders() }),
        (14, Request::ListTopics),
        (15, Request::GetClusterMetadata { topics: vec![orders()] }),
        (
            16,
            Request::CommitOffsets {
                group_id: name("g"),
                generation_id: -1,
                member_id: name(""),
                group_instance_id: None,
                offsets: vec![OffsetToCommit {
                    topic: orders(),
                    partition: 2,
                    offset: 1000,
                    leader_epoch: None,
                    metadata: Some("m".to_owned()),
                }],
            },
        ),
        (17, Request::GetOffset { consumer_group: name("g"), topic: orders(), partition: 2 }),
        (30, Request::Ping),
        (31, Request::GetClusterMetadata { topics: vec![name("a"), name("b")] }),
        (32, Request::GetOffsetBounds { topic: orders(), partition: 2 }),
        (33, Request::ListGroups),
        (34, Request::DescribeGroup { consumer_group: name("g") }),
        (35, Request::DeleteGroup { consumer_group: name("g") }),
        (36, Request::GetOffsetForTimestamp { topic: orders(), partition: 2, timestamp_ms: -5 }),
        (40, Request::InitProducerId { producer_id: Some(9) }),
        (
            41,
            published(
                NewRecord { value: Some(bytes("v")), ..NewRecord::default() },
                Some(ProducerRun { producer_id: 9, producer_epoch: 1, base_sequence: 3 }),
                None,
            ),
        ),
        (
            60,
            Request::AlterTopicConfig {
                topic: orders(),
                configs: vec![change("retention.ms", Some("1000")), change("a", None)],
            },
        ),
        (61, Request::DescribeTopicConfigs { topics: vec![orders()] }),
        (
            62,
            Request::CreatePartitions {
                topic: orders(),
                new_partition_count: 6,
                assignments: vec![],
            },
        ),
        (
            63,
            Request::DeleteRecords { topic: orders(), partition_offsets: vec![(0, 10), (1, 300)] },
        ),
        (90, Request::Handshake { protocol_version: 2, client_id: name("me") }),
    ]
}

#[test]
fn requests_are_read_from_the_bytes_of_another_implementation() {
    let frames = golden("request");
    let expected = data_requests();
    assert_eq!(frames.len(), expected.len());
    for ((case, frame), (asked, request)) in frames.into_iter().zip(expected) {
        assert_eq!(decode(frame), Ok((request, asked)), "{case}");
    }
    for (case, frame) in golden("unsupported") {
        assert!(matches!(decode(frame), Err(WireError::Unsupported(_))), "{case}");
    }
}

#[test]
fn what_publishes_without_a_record_is_no_request() {
    // Fields 10 and 41, each with a topic.
    for mut frame in [vec![0x52], vec![0xca, 0x02]] {
        frame.extend([3, 0x0a, 1, b't']);
        let missing = WireError::Protobuf("missing record".to_owned());
        assert_eq!(decode(frame.into()), Err(missing));
    }
}

fn responses() -> Vec<(u32, Response)> {
    let text = |text: &str| text.to_owned();
    let cluster = || Response::ClusterMetadata {
        controller_id: Some(text("1")),
        brokers: vec![BrokerInfo { node_id: text("1"), host: text("h"), port: 9092, rack: None }],
        topics: vec![TopicMetadata {
            name: text("orders"),
            is_internal: false,
            partitions: vec![PartitionMetadata {
                partition: 0,
                leader: Some(text("1")),
                replicas: vec![text("1")],
                isr: vec![text("1")],
                offline: false,
            }],
        }],
    };
    let records_published = |partition, base_offset, append_time_ms, duplicate| {
        let (record_count, log_start) = (1, 0);
        Response::RecordsPublished {
            partition,
            base_offset,
            record_count,
            append_time_ms,
            log_start,
            duplicate,
        }
    };
    let consumed = ConsumedRecord {
        offset: 5,
        key: Some(bytes("k")),
        value: Some(bytes("v")),
        timestamp_ms: 1_700_000_000_000,
        headers: vec![(text("h"), Some(bytes("x")))],
    };
    let config = ConfigValue {
        value: text("1000"),
        is_default: false,
        is_read_only: true,
        is_sensitive: false,
    };
    vec![
        (10, records_published(1, 300, Some(5), false)),
        (
            11,
            Response::Records {
                partition: 2,
                log_start: 0,
                last_stable_offset: 9,
                high_watermark: 9,
                next_offset: 6,
                records: vec![consumed],
            },
        ),
        (12, Response::TopicCreated { name: text("orders"), partitions: 3 }),
        (13, Response::TopicDeleted),
        (14, Response::Topics { topics: vec![text("a"), text("b")] }),
        (15, cluster()),
        (31, cluster()),
        (16, Response::OffsetsCommitted { results: vec![] }),
        (17, Response::Offset { offset: None }),
        (30, Response::Pong),
        (32, Response::OffsetBounds { earliest: 1, latest: 300 }),
        (33, Response::Groups { groups: vec![text("g")] }),
        (
            34,
            Response::GroupDescription {
                consumer_group: text("g"),
                offsets: BTreeMap::from([(text("orders"), BTreeMap::from([(1, 300)]))]),
            },
        ),
        (35, Response::GroupDeleted),
        (36, Response::OffsetForTimestamp { offset: Some(7) }),
        (40, Response::ProducerIdInitialized { producer_id: 9, producer_epoch: 1 }),
        (41, records_published(2, 5, None, true)),
        (60, Response::TopicConfigAltered { topic: text("orders"), changed_count: 2 }),
        (
            61,
            Response::TopicConfigsDescribed {
                configs: vec![TopicConfigs {
                    topic: text("orders"),
                    configs: BTreeMap::from([(text("retention.ms"), config)]),
                }],
            },
        ),
        (62, Response::PartitionsCreated { topic: text("orders"), new_partition_count: 6 }),
        (
            63,
            Response::RecordsDeleted {
                topic: text("orders"),
                results: vec![
                    DeletedRecords { partition: 0, low_watermark: 10, error: None },
                    DeletedRecords { partition: 1, low_watermark: 0, error: Some(text("x")) },
                ],
            },
        ),
        (
            90,
            Response::HandshakeResult { server_version: 2, compatible: true, message: text("ok") },
        ),
        (
            11,
            Response::ErrorWithCode {
                code: 3,
                is_retriable: true,
                message: text("UNKNOWN_TOPIC: x"),
            },
        ),
    ]
}

#[test]
fn responses_have_the_bytes_of_another_implementation() {
    let frames = golden("response");
    let expected = responses();
    assert_eq!(frames.len(), expected.len());
    for ((case, frame), (asked, response)) in frames.into_iter().zip(expected) {
        let mut out = Vec::new();
        encode((ID, asked), &response, &mut out);
        assert_eq!(Bytes::from(out), frame, "{case}");
    }
}

#[test]
fn long_lists_are_refused_before_they_are_built() {
    // GetClusterMetadata with names of no bytes: field 31, each name two bytes.
    let list = |count: usize| {
        let names = [0x0a, 0].repeat(count);
        let mut frame = vec![0xfa, 0x01];
        prost::encode_length_delimiter(names.len(), &mut frame).unwrap();
        frame.extend(names);
        Bytes::from(frame)
    };
    assert!(decode(list(10_000)).is_ok());
    assert!(matches!(decode(list(20_000)), Err(WireError::Protobuf(_))));
    assert!(matches!(decode(with_headers(50_000)), Err(WireError::Protobuf(_))));
}

/// Publish with a record of headers of no bytes: fields 10, 3 and 3.
fn with_headers(count: usize) -> Bytes {
    let headers = [0x1a, 0].repeat(count);
    let mut record = vec![0x1a];
    prost::encode_length_delimiter(headers.len(), &mut record).unwrap();
    record.extend(headers);
    let mut frame = vec![0x52];
    prost::encode_length_delimiter(record.len(), &mut frame).unwrap();
    frame.extend(record);
    frame.into()
}

#[test]
fn what_a_request_takes_is_counted_field_by_field() {
    let protobuf = Head { format: Format::Protobuf, ..Head::UNKNOWN };
    for count in [0, 1, 1000, 40_000] {
        let frame = with_headers(count);
        let frame_bytes = frame.len();
        let call = protobuf.call(frame).unwrap();
        let Request::PublishRecords { records, .. } = &call.request else {
            panic!("{:?}", call.request)
        };
        assert_eq!(records[0].headers.len(), count);
        let held = records[0].headers.capacity() * size_of::<(String, Option<Bytes>)>();
        assert!(call.memory >= frame_bytes + held, "{} for {held}", call.memory);
        assert!(call.memory <= frame_bytes + 128 * (count + 2), "{}", call.memory);
    }
}

proptest! {
    #[test]
    fn changed_requests_never_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte: u8,
        end in any::<prop::sample::Index>(),
    ) {
        let frames = golden("request");
        let mut frame = which.get(&frames).1.to_vec();
        let at = at.index(frame.len());
        frame[at] = byte;
        frame.truncate(1 + end.index(frame.len()));
        let _ = decode(frame.into());
    }

    #[test]
    fn random_requests_never_panic(frame in vec(any::<u8>(), 0..300)) {
        let _ = decode(frame.into());
    }
}
