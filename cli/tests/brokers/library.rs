//! What of the client's administration no command uses yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rivven_client::admin::configs::{ConfigChange, ConfigSource, Resource};
use rivven_client::admin::offsets::OffsetSpec;
use rivven_client::assignor::TopicPartition;
use rivven_client::consumer::commits::CommittedOffset;
use rivven_client::consumer::config::OffsetReset;
use rivven_client::{Consumer, ConsumerConfig};
use rivven_core::kafka::codec::error_code::ErrorCode;

use crate::fixture::Fixture;

fn key(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

#[test]
fn records_are_deleted_partition_by_partition() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "2"]);
    broker.produce("orders", 0, &[b"a", b"b", b"c"]);
    let before = BTreeMap::from([
        (key("orders", 0), 2),
        (key("orders", 1), 5),
        (key("orders", 2), 0),
        (key("ghost", 0), 0),
    ]);
    let admin = broker.admin();
    let results = broker.runtime.block_on(admin.delete_records(&before)).expect("an answer");
    assert_eq!(results[&key("orders", 0)], Ok(2));
    let code = |partition| results[&partition].as_ref().expect_err("refused").code();
    assert_eq!(code(key("orders", 1)), Some(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(code(key("orders", 2)), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!(code(key("ghost", 0)), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}

#[test]
fn offsets_are_found_by_place_and_by_time() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "1"]);
    let at = |spec| {
        let wanted = BTreeMap::from([(key("orders", 0), spec)]);
        let listed = broker.runtime.block_on(broker.admin().list_offsets(&wanted));
        let listed = listed.expect("an answer").remove(&key("orders", 0)).expect("a row");
        listed.expect("an offset")
    };
    assert_eq!(at(OffsetSpec::MaxTimestamp).offset, None);
    broker.produce("orders", 0, &[b"a", b"b"]);
    let found = at(OffsetSpec::MaxTimestamp);
    let timestamp = found.timestamp.expect("the time of a record");
    assert_eq!(at(OffsetSpec::Earliest).offset, Some(0));
    assert_eq!(at(OffsetSpec::Latest).offset, Some(2));
    assert_eq!(at(OffsetSpec::Timestamp(timestamp)).offset, Some(0));
    assert_eq!(at(OffsetSpec::Timestamp(timestamp + 1)).offset, None);
}

#[test]
fn committed_offsets_are_forgotten_one_by_one() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "2"]);
    let admin = broker.admin();
    let keys = [key("orders", 0), key("orders", 1)];
    let offset = CommittedOffset { offset: 1, leader_epoch: -1, metadata: "note".to_owned() };
    let offsets: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), offset.clone())).collect();
    broker.runtime.block_on(async {
        let set = admin.alter_group_offsets("billing", &offsets).await.expect("an answer");
        assert!(set.values().all(Result::is_ok));
        let first = BTreeSet::from([keys[0].clone()]);
        let gone = admin.delete_group_offsets("billing", &first).await.expect("an answer");
        assert_eq!(gone[&keys[0]], Ok(()));
        let left = admin.group_offsets("billing").await.expect("an answer");
        assert_eq!(left.keys().collect::<Vec<_>>(), [&keys[1]]);
        assert_eq!((left[&keys[1]].offset, left[&keys[1]].metadata.as_str()), (1, "note"));
        let unknown = admin.delete_group_offsets("ghost", &first).await.expect_err("refused");
        assert_eq!(unknown.code(), Some(ErrorCode::GROUP_ID_NOT_FOUND));
        let ghost = BTreeMap::from([(key("ghost", 0), offset)]);
        let results = admin.alter_group_offsets("billing", &ghost).await.expect("an answer");
        let error = results[&key("ghost", 0)].clone().expect_err("refused");
        assert_eq!(error.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    });
}

#[test]
fn settings_of_a_broker_are_changed_at_that_broker() {
    let broker = Fixture::start();
    let admin = broker.admin();
    let (this, other) = (Resource::Broker(7), Resource::Broker(8));
    let set = ConfigChange::Set("86400000".to_owned());
    let change = BTreeMap::from([("log.retention.ms".to_owned(), set)]);
    broker.runtime.block_on(async {
        let changes = BTreeMap::from([(this.clone(), change.clone())]);
        let results = admin.alter_configs(&changes, false).await.expect("an answer");
        assert_eq!(results[&this], Ok(()));
        let described =
            admin.describe_configs(std::slice::from_ref(&this)).await.expect("an answer");
        let entries = described[&this].clone().expect("settings");
        let entry = entries.iter().find(|entry| entry.name == "log.retention.ms");
        let entry = entry.expect("it is listed");
        assert_eq!(
            (entry.value.as_deref(), entry.source),
            (Some("86400000"), ConfigSource::Broker)
        );
        let error = admin.alter_configs(&BTreeMap::from([(other, change)]), false).await;
        assert!(error.expect_err("there is none").to_string().contains("no broker 8"));
    });
}

#[test]
fn directories_tell_sizes_and_room() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "1"]);
    broker.produce("orders", 0, &[b"a"]);
    let dirs = broker.runtime.block_on(broker.admin().describe_log_dirs()).expect("an answer");
    let dirs = dirs[&7].clone().expect("directories");
    assert!(dirs[0].partitions[&key("orders", 0)] > 0 && dirs[0].usable_bytes > Some(0));
}

#[test]
fn a_consumer_whose_topic_went_is_not_kept_by_its_last_commit() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "-p", "1"]);
    broker.produce("orders", 0, &[b"a"]);
    let config = ConsumerConfig {
        group: Some("g".to_owned()),
        auto_offset_reset: OffsetReset::Earliest,
        auto_commit_interval: Duration::from_secs(600),
        ..ConsumerConfig::default()
    };
    let closed = broker.runtime.block_on(async {
        let mut consumer = Consumer::new(broker.client.clone(), config).expect("sound");
        consumer.assign(&[key("orders", 0)]).expect("a fresh consumer");
        assert_eq!(consumer.poll(Duration::from_secs(10)).await.expect("a record").len(), 1);
        let deleted = broker.admin().delete_topics(&["orders"]).await;
        assert_eq!(deleted.expect("an answer")["orders"], Ok(()));
        let clock = &broker.client.env().clock;
        clock.timeout(Duration::from_secs(15), consumer.close()).await
    });
    let refused = closed.expect("in time").expect_err("nothing can be committed");
    assert_eq!(refused.code(), Some(ErrorCode::UNKNOWN_TOPIC_ID), "{refused}");
}
