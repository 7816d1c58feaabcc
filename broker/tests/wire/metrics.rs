//! What `/metrics` counts, and that its page names each of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use rivven_core::ids::{ProducerId, TimestampMs};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use rivven_core::record::builder::{BatchBuilder, NewRecord};

use crate::client::batch;
use crate::fixture::Fixture;
use crate::groups::commit;
use crate::http::metrics;

const PAGE: &str = include_str!("../../../docs/operating/metrics.md");
/// Nobody, who may commit for a group without members.
const NOBODY: (&str, i32) = ("", -1);

/// The value of a series, by its name with labels.
async fn value(fixture: &Fixture, series: &str) -> Option<f64> {
    let text = metrics(fixture).await;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

fn lag(unit: &str, topic: &str) -> String {
    format!("rivven_consumer_lag_{unit}{{group=\"g\",topic=\"{topic}\",partition=\"0\"}}")
}

/// One batch of records that are so many seconds old.
fn aged(fixture: &Fixture, ages: &[i64]) -> Bytes {
    let now = fixture.env.clock.wall_ms();
    let builder = ages.iter().fold(BatchBuilder::new(TimestampMs(now)), |builder, age| {
        let timestamp = Some(TimestampMs(now - 1000 * age));
        builder.push(NewRecord { timestamp, ..NewRecord::value(b"v") })
    });
    builder.build().into()
}

async fn delete_records(fixture: &Fixture, offset: i64) {
    let partition = DeleteRecordsPartition { partition_index: 0, offset };
    let topic = DeleteRecordsTopic { name: "t".into(), partitions: vec![partition] };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 30_000 };
    let response = fixture.client().await.call(1, &request).await;
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
}

#[track_caller]
fn assert_lag(found: (Option<f64>, Option<f64>), (records, age): (f64, f64)) {
    let (found_records, found_age) = found;
    assert_eq!(found_records, Some(records));
    let found_age = found_age.expect("the age is known");
    // The test takes its time, too.
    assert!((age..age + 30.0).contains(&found_age), "{found_age} for {age}");
}

async fn lag_of(fixture: &Fixture) -> (Option<f64>, Option<f64>) {
    (value(fixture, &lag("records", "t")).await, value(fixture, &lag("seconds", "t")).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_lags_by_the_age_of_the_oldest_record_that_it_has_not_committed() {
    let fixture = Fixture::start_with(|config| config.offsets_topic_partitions = 3).await;
    let mut client = fixture.client().await;
    client.create("t", 1, &[]).await;
    for ages in [&[4000, 3000, 2000][..], &[1000, 500]] {
        let row = client.produce("t", 0, aged(&fixture, ages)).await;
        assert_eq!(row.error_code, ErrorCode::NONE);
    }
    assert_eq!(value(&fixture, &lag("records", "t")).await, None, "nothing is committed");
    let cases = [(0, 5.0, 4000.0), (1, 4.0, 3000.0), (3, 2.0, 1000.0), (4, 1.0, 500.0)];
    for (committed, records, age) in cases {
        assert_eq!(commit(&mut client, NOBODY, ("t", committed)).await, ErrorCode::NONE);
        for _ in 0..2 {
            assert_lag(lag_of(&fixture).await, (records, age));
        }
    }
    for committed in [5, 7] {
        assert_eq!(commit(&mut client, NOBODY, ("t", committed)).await, ErrorCode::NONE);
        assert_eq!(lag_of(&fixture).await, (Some(0.0), Some(0.0)));
    }
    assert_eq!(commit(&mut client, NOBODY, ("t", 1)).await, ErrorCode::NONE);
    // From the files, and from where deletion has left the log.
    let fixture = fixture.restart().await;
    while value(&fixture, "rivven_consumer_lag_incomplete").await != Some(0.0) {}
    assert_lag(lag_of(&fixture).await, (4.0, 3000.0));
    delete_records(&fixture, 3).await;
    assert_lag(lag_of(&fixture).await, (4.0, 1000.0));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lags_beyond_the_bound_are_left_out_and_said_to_be() {
    let fixture = Fixture::start_with(|config| config.consumer_lag_partitions_max = 2).await;
    let mut client = fixture.client().await;
    for (count, topic) in [(1, "a"), (2, "b"), (3, "c")] {
        client.create(topic, 1, &[]).await;
        assert_eq!(commit(&mut client, NOBODY, (topic, 0)).await, ErrorCode::NONE);
        let text = metrics(&fixture).await;
        let shown = text.lines().filter(|line| line.starts_with("rivven_consumer_lag_records{"));
        assert_eq!(shown.count(), count.min(2));
        let incomplete = f64::from(u8::from(count > 2));
        let said = value(&fixture, "rivven_consumer_lag_incomplete").await;
        assert_eq!(said, Some(incomplete), "{count}");
    }
    // Nothing of what is shown is of a topic that is not there.
    assert_eq!(
        commit(&mut client, NOBODY, ("none", 0)).await,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_count_once_when_the_log_has_taken_them() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("t", 1, &[("max.message.bytes", "1000")]).await;
    let sequenced = BatchBuilder::new(TimestampMs(fixture.env.clock.wall_ms()))
        .producer(ProducerId(7), 0, 0)
        .push(NewRecord::value(b"one"))
        .push(NewRecord::value(b"two"))
        .build();
    let plain = batch(&fixture.env, &[b"three"]);
    let large = batch(&fixture.env, &[&[b'x'; 2000]]);
    let bytes = (sequenced.len() + plain.len()) as f64;
    let sequenced = Bytes::from(sequenced);
    for (records, code) in [
        (sequenced.clone(), ErrorCode::NONE),
        (sequenced, ErrorCode::NONE),
        (plain, ErrorCode::NONE),
        (large, ErrorCode::MESSAGE_TOO_LARGE),
    ] {
        assert_eq!(client.produce("t", 0, records).await.error_code, code);
    }
    assert_eq!(value(&fixture, "rivven_messages_total{topic=\"t\"}").await, Some(3.0));
    assert_eq!(value(&fixture, "rivven_bytes_total{topic=\"t\"}").await, Some(bytes));
    let others = [fixture.client().await, fixture.client().await];
    assert_eq!(value(&fixture, "rivven_connections_active").await, Some(3.0));
    drop(others);
    while value(&fixture, "rivven_connections_active").await != Some(1.0) {}
    fixture.stop().await;
}

/// Name and type of each metric of the page.
fn documented() -> BTreeMap<String, String> {
    let rows = PAGE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `rivven_")?.split('|');
        let name = cells.next()?.split(['`', '{']).next()?;
        Some((format!("rivven_{name}"), cells.next()?.trim().to_owned()))
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_metrics_names_each_that_is_shown_and_no_other() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("t", 1, &[]).await;
    let refused = client.produce("none", 0, batch(&fixture.env, &[b"v"])).await;
    assert!(refused.error_code.is_error());
    assert_eq!(commit(&mut client, NOBODY, ("t", 0)).await, ErrorCode::NONE);
    let text = metrics(&fixture).await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let shown: BTreeMap<String, String> =
        types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    assert_eq!(documented(), shown);
    fixture.stop().await;
}
