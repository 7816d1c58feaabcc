//! tests/wire/native-0.0.22.txt holds what the released crate `rivven-protocol` 0.0.22 wrote: a
//! line for each request and response, with the correlation id 0x01020304.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::wire::codec::{Name, Secret};
use crate::wire::frame::Head;
use crate::wire::message::{
    BatchRecord, BrokerInfo, CommittedOffset, ConfigChange, ConfigValue, ConsumedRecord,
    DeletedRecords, MessageData, NewRecord, OffsetToCommit, PartitionMetadata, ProducerRun,
    QuotaAlteration, QuotaEntry, TopicConfigs, TopicMetadata,
};
use crate::wire::request::Request;
use crate::wire::response::Response;

const GOLDEN: &str = include_str!("../../../tests/wire/native-0.0.22.txt");
pub(super) const ID: u32 = 0x0102_0304;

fn name(text: &str) -> Name {
    Name::from(text)
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn secret(text: &'static str) -> Secret {
    Secret(bytes(text))
}

fn orders() -> Name {
    name("orders")
}

/// The frames of one kind, without their lengths.
pub(super) fn golden(kind: &str) -> Vec<Bytes> {
    let lines = GOLDEN.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let frames = lines.filter(|words| words[0] == kind).enumerate().map(|(index, words)| {
        assert_eq!(words[1], index.to_string());
        unhex(words[2])
    });
    frames.collect()
}

pub(super) fn unhex(hex: &str) -> Bytes {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>().into()
}

fn released_requests() -> Vec<Request> {
    vec![
        Request::Authenticate {
            username: name("user"),
            password: secret("pass"),
            require_tls: true,
        },
        Request::SaslAuthenticate { mechanism: secret("PLAIN"), auth_bytes: secret("\0u\0p") },
        Request::ScramClientFirst { message: secret("n,,n=u,r=x") },
        Request::ScramClientFinal { message: secret("c=biws,r=x,p=y") },
        Request::Publish {
            topic: orders(),
            partition: Some(300),
            key: Some(bytes("k")),
            value: bytes("v"),
            leader_epoch: Some(7),
        },
        Request::Consume {
            topic: orders(),
            partition: 1,
            offset: 1 << 40,
            max_messages: 100,
            isolation_level: Some(1),
            max_wait_ms: Some(500),
        },
        Request::CreateTopic { name: orders(), partitions: Some(3) },
        Request::ListTopics,
        Request::DeleteTopic { name: orders() },
        Request::CommitOffset {
            consumer_group: name("g"),
            topic: orders(),
            partition: 2,
            offset: 1000,
        },
        Request::GetOffset { consumer_group: name("g"), topic: orders(), partition: 2 },
        Request::GetMetadata { topic: orders() },
        Request::GetClusterMetadata { topics: vec![name("a"), name("b")] },
        Request::Ping,
        Request::GetOffsetBounds { topic: orders(), partition: 2 },
        Request::ListGroups,
        Request::DescribeGroup { consumer_group: name("g") },
        Request::DeleteGroup { consumer_group: name("g") },
        Request::GetOffsetForTimestamp { topic: orders(), partition: 2, timestamp_ms: -5 },
        Request::InitProducerId { producer_id: Some(9) },
        Request::IdempotentPublish {
            topic: orders(),
            partition: None,
            key: None,
            value: bytes("v"),
            producer_id: 9,
            producer_epoch: 300,
            sequence: -2,
            leader_epoch: None,
        },
    ]
}

fn released_administration() -> Vec<Request> {
    let txn_id = || name("t");
    let (producer_id, producer_epoch) = (9, 1);
    vec![
        Request::BeginTransaction {
            txn_id: txn_id(),
            producer_id,
            producer_epoch,
            timeout_ms: Some(60_000),
        },
        Request::AddPartitionsToTxn {
            txn_id: txn_id(),
            producer_id,
            producer_epoch,
            partitions: vec![(orders(), 1)],
        },
        Request::TransactionalPublish {
            txn_id: txn_id(),
            topic: orders(),
            partition: Some(1),
            key: Some(bytes("k")),
            value: bytes("v"),
            producer_id,
            producer_epoch,
            sequence: 5,
            leader_epoch: Some(1),
        },
        Request::AddOffsetsToTxn {
            txn_id: txn_id(),
            producer_id,
            producer_epoch,
            group_id: name("g"),
            offsets: vec![(orders(), 1, -1)],
        },
        Request::CommitTransaction { txn_id: txn_id(), producer_id, producer_epoch },
        Request::AbortTransaction { txn_id: txn_id(), producer_id, producer_epoch },
        Request::DescribeQuotas {
            entities: vec![(name("user"), None), (name("user"), Some(name("u")))],
        },
        Request::AlterQuotas {
            alterations: vec![QuotaAlteration {
                entity_type: name("user"),
                entity_name: Some(name("u")),
                quota_key: name("request_rate"),
                quota_value: Some(10),
            }],
        },
        Request::AlterTopicConfig {
            topic: orders(),
            configs: vec![
                ConfigChange { key: name("retention.ms"), value: Some(text("1000")) },
                ConfigChange { key: name("a"), value: None },
            ],
        },
        Request::CreatePartitions {
            topic: orders(),
            new_partition_count: 6,
            assignments: vec![vec![name("1"), name("2")], vec![]],
        },
        Request::DeleteRecords { topic: orders(), partition_offsets: vec![(0, 10), (1, 300)] },
        Request::DescribeTopicConfigs { topics: vec![orders()] },
        Request::Handshake { protocol_version: 2, client_id: name("me") },
    ]
}

fn released_groups_and_batches() -> Vec<Request> {
    let (group_id, member_id) = (|| name("g"), || name("m"));
    let record = |key, value| BatchRecord { key, value: bytes(value) };
    vec![
        Request::JoinGroup {
            group_id: group_id(),
            member_id: member_id(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 30_000,
            protocol_type: name("range"),
            subscriptions: vec![orders()],
        },
        Request::SyncGroup {
            group_id: group_id(),
            generation_id: 200,
            member_id: member_id(),
            assignments: vec![(member_id(), vec![(orders(), vec![0, 1])])],
        },
        Request::Heartbeat { group_id: group_id(), generation_id: 200, member_id: member_id() },
        Request::LeaveGroup { group_id: group_id(), member_id: member_id() },
        Request::PublishBatch {
            topic: orders(),
            partition: Some(1),
            records: vec![record(Some(bytes("k")), "v"), record(None, "w")],
            leader_epoch: None,
        },
        Request::IdempotentPublishBatch {
            topic: orders(),
            partition: Some(1),
            records: vec![record(Some(bytes("k")), "v")],
            producer_id: 9,
            producer_epoch: 1,
            base_sequence: 3,
            leader_epoch: None,
        },
    ]
}

fn released_responses() -> Vec<Response> {
    let partition = PartitionMetadata {
        partition: 0,
        leader: Some(text("1")),
        replicas: vec![text("1")],
        isr: vec![text("1")],
        offline: false,
    };
    vec![
        Response::Authenticated { session_id: text("s"), expires_in: 3600 },
        Response::ScramServerFirst { message: bytes("r=x") },
        Response::ScramServerFinal {
            message: bytes("v=x"),
            session_id: Some(text("s")),
            expires_in: Some(3600),
        },
        Response::Published { offset: 1 << 40, partition: 2 },
        Response::Messages {
            messages: vec![MessageData {
                offset: 5,
                partition: 2,
                key: Some(bytes("k")),
                value: bytes("v"),
                timestamp_ms: 1_700_000_000_000,
                headers: vec![(text("h"), Bytes::from_static(&[1, 255]))],
            }],
        },
        Response::TopicCreated { name: text("orders"), partitions: 3 },
        Response::Topics { topics: vec![text("a"), text("b")] },
        Response::TopicDeleted,
        Response::OffsetCommitted,
        Response::Offset { offset: Some(7) },
        Response::Metadata { name: text("orders"), partitions: 3 },
        Response::ClusterMetadata {
            controller_id: Some(text("1")),
            brokers: vec![BrokerInfo {
                node_id: text("1"),
                host: text("h"),
                port: 9092,
                rack: None,
            }],
            topics: vec![TopicMetadata {
                name: text("orders"),
                is_internal: false,
                partitions: vec![partition],
            }],
        },
        Response::Pong,
        Response::OffsetBounds { earliest: 1, latest: 300 },
        Response::Groups { groups: vec![text("g")] },
        Response::GroupDescription {
            consumer_group: text("g"),
            offsets: BTreeMap::from([(text("orders"), BTreeMap::from([(1, 300)]))]),
        },
        Response::GroupDeleted,
        Response::OffsetForTimestamp { offset: None },
        Response::Error { message: text("UNKNOWN_TOPIC: x") },
        Response::Ok,
        Response::ProducerIdInitialized { producer_id: 9, producer_epoch: 300 },
        Response::IdempotentPublished { offset: 5, partition: 2, duplicate: true },
    ]
}

fn released_administration_responses() -> Vec<Response> {
    let txn_id = || text("t");
    let config = ConfigValue {
        value: text("1000"),
        is_default: false,
        is_read_only: true,
        is_sensitive: false,
    };
    let deleted =
        |partition, low_watermark, error| DeletedRecords { partition, low_watermark, error };
    vec![
        Response::TransactionStarted { txn_id: txn_id() },
        Response::PartitionsAddedToTxn { txn_id: txn_id(), partition_count: 2 },
        Response::TransactionalPublished { offset: 5, partition: 2, sequence: -1 },
        Response::OffsetsAddedToTxn { txn_id: txn_id() },
        Response::TransactionCommitted { txn_id: txn_id() },
        Response::TransactionAborted { txn_id: txn_id() },
        Response::QuotasDescribed {
            entries: vec![QuotaEntry {
                entity_type: text("user"),
                entity_name: None,
                quotas: BTreeMap::from([(text("request_rate"), 10)]),
            }],
        },
        Response::QuotasAltered { altered_count: 1 },
        Response::Throttled {
            throttle_time_ms: 100,
            quota_type: text("produce"),
            entity: text("u"),
        },
        Response::TopicConfigAltered { topic: text("orders"), changed_count: 2 },
        Response::PartitionsCreated { topic: text("orders"), new_partition_count: 6 },
        Response::RecordsDeleted {
            topic: text("orders"),
            results: vec![deleted(0, 10, None), deleted(1, 0, Some(text("x")))],
        },
        Response::TopicConfigsDescribed {
            configs: vec![TopicConfigs {
                topic: text("orders"),
                configs: BTreeMap::from([(text("retention.ms"), config)]),
            }],
        },
        Response::HandshakeResult { server_version: 2, compatible: true, message: text("ok") },
        Response::JoinGroupResult {
            generation_id: 200,
            protocol_type: text("range"),
            member_id: text("m"),
            leader_id: text("m"),
            members: vec![(text("m"), vec![text("orders")])],
        },
        Response::SyncGroupResult { assignments: vec![(text("orders"), vec![0, 300])] },
        Response::HeartbeatResult { error_code: 27 },
        Response::LeaveGroupResult,
        Response::PublishedBatch { base_offset: 5, partition: 2, record_count: 1000 },
        Response::IdempotentPublishedBatch {
            base_offset: 5,
            partition: 2,
            record_count: 1000,
            duplicate: true,
        },
    ]
}

#[test]
fn requests_have_the_bytes_of_release_0_0_22() {
    let expected: Vec<Request> =
        [released_requests(), released_administration(), released_groups_and_batches()].concat();
    let frames = golden("request");
    assert_eq!((expected.len(), frames.len()), (40, 40));
    for (index, (expected, frame)) in expected.iter().zip(frames).enumerate() {
        let (head, message) = Head::split(frame.clone()).unwrap();
        assert_eq!(head, Head { correlation_id: ID, ..Head::UNKNOWN });
        let call = head.call(message).unwrap();
        assert_eq!((&call.request, call.asked as usize), (expected, index));
        assert_eq!(Head::request(ID, expected).unwrap()[4..], frame, "{index}");
    }
}

#[test]
fn responses_have_the_bytes_of_release_0_0_22() {
    let expected: Vec<Response> =
        [released_responses(), released_administration_responses()].concat();
    let frames = golden("response");
    assert_eq!((expected.len(), frames.len()), (42, 42));
    for (index, (expected, frame)) in expected.iter().zip(frames).enumerate() {
        let (head, message) = Head::split(frame.clone()).unwrap();
        assert_eq!(&Response::decode(message).unwrap(), expected);
        assert_eq!(expected.index(), index);
        assert_eq!(head.answer(0, expected).unwrap()[4..], frame, "{index}");
    }
}

/// A request and its message in hex.
fn new_requests() -> [(Request, &'static str); 4] {
    [
        (
            Request::PublishRecords {
                topic: orders(),
                partition: Some(1),
                records: vec![NewRecord {
                    key: Some(bytes("k")),
                    value: None,
                    headers: vec![(text("h"), Some(bytes("x"))), (text("n"), None)],
                    timestamp_ms: Some(-1),
                }],
                acks: -1,
                producer: Some(ProducerRun { producer_id: 9, producer_epoch: 1, base_sequence: 3 }),
                leader_epoch: None,
            },
            "28066f72646572730101010101 6b00 02 01680101 78016e00 0101 01 01090106 00",
        ),
        (
            Request::ConsumeRecords {
                topic: orders(),
                partition: 1,
                offset: 300,
                max_records: 10,
                max_bytes: 1000,
                isolation_level: 1,
                max_wait_ms: 500,
            },
            "29066f7264657273 01 ac02 0a e807 01 f403",
        ),
        (
            Request::CommitOffsets {
                group_id: name("g"),
                generation_id: 5,
                member_id: name("m"),
                group_instance_id: None,
                offsets: vec![OffsetToCommit {
                    topic: orders(),
                    partition: 1,
                    offset: 300,
                    leader_epoch: Some(0),
                    metadata: Some(text("x")),
                }],
            },
            "2a 0167 0a 016d 00 01 066f7264657273 01 ac02 0100 010178",
        ),
        (
            Request::CreateTopicWithConfigs {
                name: orders(),
                partitions: None,
                replication_factor: Some(1),
                configs: vec![ConfigChange { key: name("a"), value: Some(text("b")) }],
            },
            "2b 066f7264657273 00 0101 01 0161 01 0162",
        ),
    ]
}

#[test]
fn new_requests_keep_their_bytes() {
    for (index, (request, hex)) in new_requests().into_iter().enumerate() {
        let message = unhex(&hex.replace(' ', ""));
        assert_eq!(request.index(), 40 + index);
        assert_eq!(Head::request(0, &request).unwrap()[9..], message, "{request:?}");
        assert_eq!(Request::decode(message).unwrap().0, request);
    }
    assert_eq!(Request::NAMES.len(), 44, "each new request has its golden bytes");
}

#[test]
fn new_responses_keep_their_bytes() {
    let cases = [
        (
            Response::RecordsPublished {
                partition: 1,
                base_offset: 300,
                record_count: 2,
                append_time_ms: Some(1),
                log_start: 0,
                duplicate: false,
            },
            "2a 01 ac02 02 0102 00 00",
        ),
        (
            Response::Records {
                partition: 1,
                log_start: 0,
                last_stable_offset: 5,
                high_watermark: 6,
                next_offset: 3,
                records: vec![ConsumedRecord {
                    offset: 2,
                    key: None,
                    value: None,
                    timestamp_ms: 1,
                    headers: vec![(text("h"), None)],
                }],
            },
            "2b 01 00 05 06 03 01 02 00 00 02 01 0168 00",
        ),
        (
            Response::OffsetsCommitted {
                results: vec![CommittedOffset { topic: text("a"), partition: 1, error_code: 22 }],
            },
            "2c 01 0161 01 2c",
        ),
        (
            Response::ErrorWithCode { code: 3, is_retriable: true, message: text("x") },
            "2d 06 01 0178",
        ),
    ];
    for (index, (response, hex)) in cases.into_iter().enumerate() {
        let message = unhex(&hex.replace(' ', ""));
        assert_eq!(response.index(), 42 + index);
        assert_eq!(Head::UNKNOWN.answer(0, &response).unwrap()[9..], message, "{response:?}");
        assert_eq!(Response::decode(message).unwrap(), response);
    }
    assert_eq!(Response::NAMES.len(), 46, "each new response has its golden bytes");
}
