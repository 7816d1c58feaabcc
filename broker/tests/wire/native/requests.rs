//! What released clients do, request by request.

use std::time::Duration;

use bytes::Bytes;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::wire::message::{BatchRecord, ConfigChange};
use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;

use crate::fixture::Fixture;
use crate::native_client::{Native, consume, consume_records, long_poll, publish};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_lives_from_create_to_delete() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    let handshake = Request::Handshake { protocol_version: 2, client_id: "test".into() };
    let Response::HandshakeResult { server_version: 2, compatible: true, .. } =
        native.call(&handshake).await
    else {
        panic!("version 2 is spoken")
    };
    assert_eq!(native.call(&Request::Ping).await, Response::Pong);
    native.create("orders", 2).await;
    for offset in 0..3 {
        let published = Response::Published { offset, partition: 0 };
        assert_eq!(native.call(&publish("orders", 0, format!("v{offset}"))).await, published);
    }
    let read = native.values(&consume("orders", 1, 10)).await;
    assert_eq!(read, [(1, Bytes::from("v1")), (2, Bytes::from("v2"))]);
    assert_eq!(native.values(&consume("orders", 0, 1)).await, [(0, Bytes::from("v0"))]);
    assert_eq!(native.values(&consume("orders", 3, 10)).await, []);
    let topics = Response::Topics { topics: vec!["orders".to_owned()] };
    assert_eq!(native.call(&Request::ListTopics).await, topics);
    let metadata = Response::Metadata { name: "orders".to_owned(), partitions: 2 };
    assert_eq!(native.call(&Request::GetMetadata { topic: "orders".into() }).await, metadata);
    let bounds = Request::GetOffsetBounds { topic: "orders".into(), partition: 0 };
    let expected = Response::OffsetBounds { earliest: 0, latest: 3 };
    assert_eq!(native.call(&bounds).await, expected);
    for (timestamp_ms, offset) in [(0, Some(0)), (-1, Some(0)), (i64::MAX, None)] {
        let topic = "orders".into();
        let request = Request::GetOffsetForTimestamp { topic, partition: 0, timestamp_ms };
        assert_eq!(native.call(&request).await, Response::OffsetForTimestamp { offset });
    }
    let deleted = native.call(&Request::DeleteTopic { name: "orders".into() }).await;
    assert_eq!(deleted, Response::TopicDeleted);
    native.create("orders", 1).await;
    assert_eq!(native.values(&consume("orders", 0, 10)).await, [], "a new topic is empty");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_survives_a_restart() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    native.call(&publish("made", 0, "v")).await;
    let fixture = fixture.restart().await;
    let mut native = Native::connect(&fixture).await;
    assert_eq!(native.values(&consume("made", 0, 10)).await, [(0, Bytes::from("v"))]);
    let metadata = Response::Metadata { name: "made".to_owned(), partitions: 4 };
    assert_eq!(native.call(&Request::GetMetadata { topic: "made".into() }).await, metadata);
    let next = Response::Published { offset: 1, partition: 0 };
    assert_eq!(native.call(&publish("made", 0, "w")).await, next);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_1000_records_is_one_append() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    native.create("batch", 1).await;
    let before = fixture.broker.storage().stats().batches_appended;
    let record = |i: u32| BatchRecord { key: None, value: Bytes::from(i.to_string()) };
    let request = Request::PublishBatch {
        topic: "batch".into(),
        partition: None,
        records: (0..1000).map(record).collect(),
        leader_epoch: Some(0),
    };
    let expected = Response::PublishedBatch { base_offset: 0, partition: 0, record_count: 1000 };
    assert_eq!(native.call(&request).await, expected);
    assert_eq!(fixture.broker.storage().stats().batches_appended, before + 1);
    let read = native.values(&consume("batch", 500, 1000)).await;
    assert_eq!(read.len(), 500);
    assert_eq!((&read[0], &read[499]), (&(500, "500".into()), &(999, "999".into())));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_one_key_meet_and_those_without_reach_every_partition() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    native.create("spread", 3).await;
    let mut partitions = [0; 3];
    for (key, value) in [(Some("k"), 10), (None, 20_000)].into_iter().cycle().take(20) {
        let request = Request::Publish {
            topic: "spread".into(),
            partition: None,
            key: key.map(Bytes::from),
            value: vec![0; value].into(),
            leader_epoch: None,
        };
        let Response::Published { partition, .. } = native.call(&request).await else {
            panic!("it is published")
        };
        match key {
            Some(key) => {
                let chosen = rivven_core::partitioner::by_key(key.as_bytes(), 3);
                assert_eq!(partition, chosen);
            }
            None => partitions[partition as usize] += 1,
        }
    }
    assert!(partitions.iter().all(|count| *count >= 3), "{partitions:?}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_is_woken_by_an_append_and_answers_stay_in_order() {
    let fixture = Fixture::start().await;
    let mut reader = Native::connect(&fixture).await;
    let mut writer = Native::connect(&fixture).await;
    writer.create("poll", 1).await;
    let first = reader.send(&long_poll("poll", 0)).await;
    let second = reader.send(&Request::Ping).await;
    let begun = fixture.env.clock.now();
    writer.call(&publish("poll", 0, "v")).await;
    let (id, answer) = reader.receive().await;
    assert_eq!(id, first);
    assert!(matches!(answer, Response::Messages { messages } if messages.len() == 1));
    assert_eq!(reader.receive().await, (second, Response::Pong));
    assert!(fixture.env.clock.now().since(begun) < Duration::from_secs(10));
    let short = Request::Consume {
        topic: "poll".into(),
        partition: 0,
        offset: 1,
        max_messages: 1,
        isolation_level: None,
        max_wait_ms: Some(50),
    };
    let begun = fixture.env.clock.now();
    assert_eq!(reader.values(&short).await, []);
    assert!(fixture.env.clock.now().since(begun) >= Duration::from_millis(50));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_waits_for_data_behind_the_end_of_its_client() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    native.create("poll", 1).await;
    let begun = fixture.env.clock.now();
    let first = native.send(&long_poll("poll", 0)).await;
    let second = native.send(&publish("beside", 0, "v")).await;
    native.client.end();
    assert_eq!(native.receive().await, (first, Response::Messages { messages: vec![] }));
    let (id, answer) = native.receive().await;
    assert_eq!(id, second);
    assert!(matches!(answer, Response::Published { .. }), "{answer:?}");
    assert!(native.client.is_closed().await);
    assert!(fixture.env.clock.now().since(begun) < Duration::from_secs(10));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_long_poll_is_done_while_it_waits() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    let mut other = Native::connect(&fixture).await;
    native.create("poll", 1).await;
    let create = Request::CreateTopic { name: "made".into(), partitions: Some(1) };
    let mut sent = vec![native.send(&long_poll("poll", 0)).await];
    for request in [publish("beside", 0, "v"), consume("beside", 0, 1), create] {
        sent.push(native.send(&request).await);
    }
    let begun = fixture.env.clock.now();
    let made = Request::GetMetadata { topic: "made".into() };
    while !matches!(other.call(&made).await, Response::Metadata { .. }) {
        assert!(fixture.env.clock.now().since(begun) < Duration::from_secs(10));
    }
    other.call(&publish("poll", 0, "w")).await;
    for id in sent {
        let (received, answer) = native.receive().await;
        assert_eq!(received, id);
        assert!(!matches!(answer, Response::Error { .. }), "{answer:?}");
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_idempotent_publish_is_stored_once_in_each_topic() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    let init = Request::InitProducerId { producer_id: None };
    let Response::ProducerIdInitialized { producer_id, producer_epoch: 0 } =
        native.call(&init).await
    else {
        panic!("an id is allocated")
    };
    assert_ne!(producer_id, 0, "which released clients read as none");
    let numbered = |topic: &str, sequence: i32| Request::IdempotentPublish {
        topic: topic.into(),
        partition: Some(0),
        key: None,
        value: "v".into(),
        producer_id,
        producer_epoch: 0,
        sequence,
        leader_epoch: None,
    };
    for (topic, sequence, offset, duplicate) in
        [("a", 0, 0, false), ("a", 0, 0, true), ("a", 1, 1, false), ("b", 0, 0, false)]
    {
        let expected = Response::IdempotentPublished { offset, partition: 0, duplicate };
        assert_eq!(native.call(&numbered(topic, sequence)).await, expected, "{topic} {sequence}");
    }
    let error = native.error(&numbered("a", 9)).await;
    assert!(error.starts_with("OUT_OF_ORDER_SEQUENCE: "), "{error}");
    let batch = |base_sequence| Request::IdempotentPublishBatch {
        topic: "a".into(),
        partition: Some(0),
        records: vec![BatchRecord { key: None, value: "v".into() }; 3],
        producer_id,
        producer_epoch: 0,
        base_sequence,
        leader_epoch: None,
    };
    for duplicate in [false, true] {
        let expected = Response::IdempotentPublishedBatch {
            base_offset: 2,
            partition: 0,
            record_count: 3,
            duplicate,
        };
        assert_eq!(native.call(&batch(2)).await, expected);
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_administered() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    native.create("adm", 1).await;
    for _ in 0..5 {
        native.call(&publish("adm", 0, "v")).await;
    }
    let change = |key: &str, value: Option<&str>| Request::AlterTopicConfig {
        topic: "adm".into(),
        configs: vec![ConfigChange { key: key.into(), value: value.map(str::to_owned) }],
    };
    let altered = Response::TopicConfigAltered { topic: "adm".to_owned(), changed_count: 1 };
    assert_eq!(native.call(&change("retention.ms", Some("1000000"))).await, altered);
    let describe = Request::DescribeTopicConfigs { topics: vec!["adm".into()] };
    for (value, is_default) in [("1000000", false), ("604800000", true)] {
        let Response::TopicConfigsDescribed { configs } = native.call(&describe).await else {
            panic!("the topic is there")
        };
        let config = &configs[0].configs["retention.ms"];
        assert_eq!((&*config.value, config.is_default), (value, is_default));
        native.call(&change("retention.ms", None)).await;
    }
    let error = native.error(&change("retention.ms", Some("x"))).await;
    assert!(error.starts_with("INVALID_CONFIG: "), "{error}");

    let grow = |new_partition_count| Request::CreatePartitions {
        topic: "adm".into(),
        new_partition_count,
        assignments: vec![],
    };
    let grown = Response::PartitionsCreated { topic: "adm".to_owned(), new_partition_count: 3 };
    assert_eq!(native.call(&grow(3)).await, grown);
    let error = native.error(&grow(2)).await;
    assert!(error.starts_with("INVALID_PARTITION_COUNT: "), "{error}");

    let topic = "adm".into();
    let delete = Request::DeleteRecords { topic, partition_offsets: vec![(0, 3), (0, 9), (7, 1)] };
    let Response::RecordsDeleted { results, .. } = native.call(&delete).await else {
        panic!("there is a row for each partition")
    };
    let rows: Vec<_> =
        results.iter().map(|row| (row.low_watermark, row.error.as_deref())).collect();
    let unknown = Some("UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(rows, [(3, None), (0, Some("OFFSET_OUT_OF_RANGE")), (0, unknown)]);
    for offset in [0, 2, 3] {
        let read = native.values(&consume("adm", offset, 9)).await;
        assert_eq!(read, [(3, "v".into()), (4, "v".into())], "from {offset}");
    }
    let read = native.values(&long_poll("adm", 1)).await;
    assert_eq!(read.first().map(|(offset, _)| *offset), Some(3));
    let answer = native.call(&consume_records("adm", 2, 1000)).await;
    let Response::ErrorWithCode { code, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(ErrorCode(code), ErrorCode::OFFSET_OUT_OF_RANGE);

    let topics = vec!["adm".into(), "none".into()];
    let cluster = native.call(&Request::GetClusterMetadata { topics }).await;
    let Response::ClusterMetadata { controller_id, brokers, topics } = cluster else {
        panic!("{cluster:?}")
    };
    assert_eq!((controller_id.as_deref(), brokers.len(), topics.len()), (Some("0"), 1, 1));
    assert_eq!(brokers[0].port, fixture.broker.kafka_addrs()[0].port());
    assert_eq!((&*topics[0].name, topics[0].partitions.len()), ("adm", 3));
    assert_eq!(topics[0].partitions[2].leader.as_deref(), Some("0"));
    fixture.stop().await;
}
