//! Fetch and ListOffsets.

use std::time::Duration;

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::fetch::{
    FetchPartition, FetchRequest, FetchTopic, PartitionData,
};
use rivven_core::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

use crate::client::{Client, batch};
use crate::fixture::Fixture;

pub(crate) fn fetch(topic: &str, fetch_offset: i64) -> FetchRequest {
    FetchRequest {
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                fetch_offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        min_bytes: 1,
        ..Default::default()
    }
}

pub(crate) async fn one(client: &mut Client, request: &FetchRequest) -> PartitionData {
    let mut response = client.call(11, request).await;
    assert_eq!(response.error_code, ErrorCode::NONE);
    response.responses.remove(0).partitions.remove(0)
}

pub(crate) fn bytes(data: &PartitionData) -> usize {
    data.records.as_ref().map_or(0, |records| records.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetch_answers_as_kafka_does() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("f", 1, &[]).await;
    let records = batch(&fixture.env, &[b"v"]);
    for _ in 0..10 {
        client.produce("f", 0, records.clone()).await;
    }
    let size = records.len();
    type Change = fn(&mut FetchRequest);
    let cases: [(&str, Change, ErrorCode, usize); 13] = [
        ("from 5", |_| {}, ErrorCode::NONE, 5),
        ("at the end", |r| r.topics[0].partitions[0].fetch_offset = 10, ErrorCode::NONE, 0),
        ("negative wait", |r| r.max_wait_ms = -5, ErrorCode::NONE, 5),
        (
            "beyond the end",
            |r| r.topics[0].partitions[0].fetch_offset = 11,
            ErrorCode::OFFSET_OUT_OF_RANGE,
            0,
        ),
        (
            "offset -1",
            |r| r.topics[0].partitions[0].fetch_offset = -1,
            ErrorCode::OFFSET_OUT_OF_RANGE,
            0,
        ),
        ("max_bytes 0", |r| r.max_bytes = 0, ErrorCode::NONE, 1),
        ("max_bytes 1", |r| r.max_bytes = 1, ErrorCode::NONE, 1),
        ("max_bytes -1", |r| r.max_bytes = -1, ErrorCode::INVALID_REQUEST, 0),
        (
            "partition bytes 0",
            |r| r.topics[0].partitions[0].partition_max_bytes = 0,
            ErrorCode::NONE,
            1,
        ),
        (
            "partition -1",
            |r| r.topics[0].partitions[0].partition = -1,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            0,
        ),
        (
            "epoch 1000",
            |r| r.topics[0].partitions[0].current_leader_epoch = 1000,
            ErrorCode::UNKNOWN_LEADER_EPOCH,
            0,
        ),
        ("isolation 2", |r| r.isolation_level = 2, ErrorCode::INVALID_REQUEST, 0),
        ("topic", |r| r.topics[0].topic = "none".into(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, 0),
    ];
    for (case, change, expected, batches) in cases {
        let mut request = fetch("f", 5);
        change(&mut request);
        let data = one(&mut client, &request).await;
        assert_eq!(data.error_code, expected, "{case}");
        assert_eq!(bytes(&data), batches * size, "{case}");
        let mark = if expected.is_error() { -1 } else { 10 };
        assert_eq!((data.high_watermark, data.last_stable_offset), (mark, mark), "{case}");
    }
    fixture.stop().await;
}

/// A client that reads to the high watermark would take a partition for read otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_the_limit_leaves_nothing_for_tell_their_high_watermark() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("full", 2, &[]).await;
    let records = batch(&fixture.env, &[b"v"]);
    for partition in [0, 0, 1] {
        client.produce("full", partition, records.clone()).await;
    }
    let mut request = fetch("full", 0);
    request.max_bytes = i32::try_from(records.len()).unwrap();
    let partitions = &mut request.topics[0].partitions;
    partitions.push(FetchPartition { partition: 1, ..partitions[0].clone() });
    let mut response = client.call(11, &request).await;
    let rows = response.responses.remove(0).partitions;
    let found: Vec<_> = rows.iter().map(|row| (bytes(row), row.high_watermark)).collect();
    assert_eq!(found, [(records.len(), 2), (0, 1)]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_fetch_is_woken_by_an_append() {
    let fixture = Fixture::start().await;
    let (mut consumer, mut producer) = (fixture.client().await, fixture.client().await);
    consumer.create("wake", 1, &[]).await;
    let records = batch(&fixture.env, &[b"v"]);
    let min_bytes = i32::try_from(2 * records.len()).unwrap();
    let waits = FetchRequest { max_wait_ms: 60_000, min_bytes, ..fetch("wake", 0) };
    let begun = fixture.env.clock.now();
    consumer.send(11, &waits).await;
    for _ in 0..2 {
        producer.produce("wake", 0, records.clone()).await;
    }
    let (_, response) = consumer.receive::<FetchRequest>(11).await;
    assert_eq!(bytes(&response.responses[0].partitions[0]), 2 * records.len());
    assert!(fixture.env.clock.now().since(begun) < Duration::from_secs(30));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_data_is_read_back_whole_from_tail_and_segments() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("large", 1, &[]).await;
    let value = vec![7u8; 700_000];
    let records = batch(&fixture.env, &[&value]);
    for _ in 0..40 {
        assert_eq!(client.produce("large", 0, records.clone()).await.error_code, ErrorCode::NONE);
    }
    let fixture = fixture.restart().await;
    let mut client = fixture.client().await;
    for offset in 0..40 {
        let data = one(&mut client, &fetch("large", offset)).await;
        let read = data.records.unwrap().to_bytes();
        assert_eq!(read.len(), records.len());
        assert_eq!(read[16..], records[16..]);
    }
    let all = FetchRequest { max_bytes: 10 << 20, ..fetch("large", 0) };
    let mut all = FetchRequest { min_bytes: 5 << 20, max_wait_ms: 1000, ..all };
    all.topics[0].partitions[0].partition_max_bytes = 10 << 20;
    let data = one(&mut client, &all).await;
    assert!(bytes(&data) >= 5 << 20 && bytes(&data) <= 10 << 20);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_offsets_knows_the_ends_by_version() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("l", 1, &[]).await;
    for _ in 0..4 {
        client.produce("l", 0, batch(&fixture.env, &[b"v"])).await;
    }
    let unsupported = ErrorCode::UNSUPPORTED_VERSION;
    let cases: [(i16, i64, ErrorCode, i64); 12] = [
        (9, -1, ErrorCode::NONE, 4),
        (9, -2, ErrorCode::NONE, 0),
        (9, -3, ErrorCode::NONE, 0),
        (9, -4, ErrorCode::NONE, 0),
        (9, -5, ErrorCode::NONE, -1),
        (11, -6, ErrorCode::NONE, -1),
        (9, -6, unsupported, -1),
        (11, -7, unsupported, -1),
        (6, -3, unsupported, -1),
        (7, -4, unsupported, -1),
        (9, 0, ErrorCode::NONE, 0),
        (9, i64::MAX, ErrorCode::NONE, -1),
    ];
    for (version, timestamp, error_code, offset) in cases {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: "l".into(),
                partitions: vec![ListOffsetsPartition { timestamp, ..Default::default() }],
            }],
            ..Default::default()
        };
        let response = client.call(version, &request).await;
        let row = &response.topics[0].partitions[0];
        let found = if timestamp == -3 && !error_code.is_error() { 0 } else { row.offset };
        assert_eq!((row.error_code, found), (error_code, offset), "v{version} {timestamp}");
        assert_eq!(row.leader_epoch, if row.offset < 0 { -1 } else { 0 });
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_answers_with_what_is_new() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    for name in ["s", "quiet"] {
        client.create(name, 1, &[]).await;
    }
    let topics = [fetch("s", 0), fetch("quiet", 0)].into_iter().flat_map(|one| one.topics);
    let mut request = FetchRequest { session_epoch: 0, topics: topics.collect(), ..fetch("s", 0) };
    let opened = client.call(11, &request).await;
    assert_eq!((opened.error_code, opened.responses.len()), (ErrorCode::NONE, 2));
    assert!(opened.session_id > 0);

    let records = batch(&fixture.env, &[b"v"]);
    client.produce("s", 0, records.clone()).await;
    // Another connection goes on with the session, without saying again what it wants.
    let mut client = fixture.client().await;
    request.session_id = opened.session_id;
    request.topics.clear();
    // Epoch, whether the request has the new offset, and the bytes of the topics that are named.
    let steps = [
        (1, false, ErrorCode::NONE, vec![("s", records.len())]),
        (2, true, ErrorCode::NONE, vec![]),
        (2, false, ErrorCode::INVALID_FETCH_SESSION_EPOCH, vec![]),
        (-1, false, ErrorCode::NONE, vec![]),
        (3, false, ErrorCode::FETCH_SESSION_ID_NOT_FOUND, vec![]),
    ];
    for (epoch, has_read, error_code, expected) in steps {
        request.session_epoch = epoch;
        request.topics = if has_read { fetch("s", 1).topics } else { Vec::new() };
        let response = client.call(11, &request).await;
        let named: Vec<(&str, usize)> = response
            .responses
            .iter()
            .map(|topic| (&*topic.topic, bytes(&topic.partitions[0])))
            .collect();
        assert_eq!((response.error_code, named), (error_code, expected), "{epoch}");
        let goes_on = epoch > 0 && !error_code.is_error();
        assert_eq!(response.session_id, if goes_on { opened.session_id } else { 0 }, "{epoch}");
    }
    fixture.stop().await;
}
