//! A consumer that reads partitions of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use rivven_client::ConsumerConfig;
use rivven_client::consumer::config::OffsetReset;
use rivven_core::kafka::codec::error_code::ErrorCode;

use crate::fixture::{Fixture, SHORT, Seen, alone, grouped, of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_in_order_and_with_all_their_parts() {
    let mut fixture = Fixture::start(1).await;
    fixture.write(0, 3).await;
    fixture.write(0, 2).await;
    let mut consumer = fixture.consumer(ConsumerConfig { max_poll_records: 2, ..alone() });
    consumer.assign(&[of(0)]).unwrap();
    let mut records = Vec::new();
    while records.len() < 5 {
        let some = consumer.poll(Duration::from_secs(5)).await.unwrap();
        assert!((1..=2).contains(&some.len()));
        records.extend(some);
        assert_eq!(consumer.position(&of(0)).await.unwrap(), records.len() as i64);
    }
    for (offset, record) in (0i64..).zip(&records) {
        assert_eq!((record.offset, record.partition, &*record.topic), (offset, 0, "orders"));
        assert_eq!(record.timestamp, 1_000_000 + offset);
        assert_eq!(record.key.as_deref(), Some(offset.to_string().as_bytes()));
        assert_eq!(record.headers, [("h".to_owned(), Some("v".into()))]);
        assert_eq!(record.leader_epoch, 0);
    }
    assert_eq!(consumer.lag(), BTreeMap::from([(of(0), Some(0))]));
    assert_eq!(consumer.commit().await.unwrap_err().to_string(), "the consumer has no group");
    consumer.close().await.unwrap();
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeking_pausing_and_lag() {
    let mut fixture = Fixture::start(2).await;
    for partition in [0, 1] {
        for _ in 0..10 {
            fixture.write(partition, 10).await;
        }
    }
    let mut consumer = fixture.consumer(alone());
    consumer.assign(&[of(0), of(1)]).unwrap();
    consumer.pause(&[of(1)]).unwrap();
    let mut seen = Seen::default();
    fixture
        .poll_until(&mut [&mut consumer], &mut seen, |seen, _| seen.has(&[(0, 100)].into()))
        .await;
    assert_eq!(seen.counts(), BTreeMap::from([(0, 100)]));
    consumer.resume(&[of(1)]).unwrap();
    consumer.seek(&of(0), 95).unwrap();
    assert_eq!(consumer.position(&of(0)).await.unwrap(), 95);
    let mut again = Seen::default();
    let both = BTreeMap::from([(0, 5), (1, 100)]);
    fixture.poll_until(&mut [&mut consumer], &mut again, |seen, _| seen.has(&both)).await;
    assert_eq!(again.repeated(), 0);
    // In the middle of a batch, by time.
    consumer.seek_to_timestamp(&[of(0)], 1_000_042).unwrap();
    assert_eq!(consumer.position(&of(0)).await.unwrap(), 42);
    consumer.seek_to_timestamp(&[of(0)], 2_000_000).unwrap();
    assert_eq!(consumer.position(&of(0)).await.unwrap(), 100);
    consumer.seek_to_beginning(&[of(0), of(1)]).unwrap();
    assert_eq!(consumer.position(&of(0)).await.unwrap(), 0);
    consumer.seek_to_end(&[of(0)]).unwrap();
    assert_eq!(consumer.position(&of(0)).await.unwrap(), 100);
    consumer.seek(&of(1), 60).unwrap();
    consumer.pause(&[of(0)]).unwrap();
    while consumer.poll(SHORT).await.unwrap().is_empty() {}
    let lag = consumer.lag()[&of(1)].unwrap();
    let position = consumer.position(&of(1)).await.unwrap();
    assert_eq!(u64::try_from(position).unwrap() + lag, 100);
    assert!(consumer.seek(&of(7), 0).unwrap_err().to_string().contains("orders-7"));
    consumer.close().await.unwrap();
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_poll_loses_no_record() {
    let mut fixture = Fixture::start(3).await;
    let mut unwritten: Vec<i32> = (0..60).map(|batch| batch % 3).collect();
    let config = ConsumerConfig { max_poll_records: 7, max_partition_fetch_bytes: 700, ..alone() };
    let mut consumer = fixture.consumer(config);
    consumer.assign(&[of(0), of(1), of(2)]).unwrap();
    let mut seen = Seen::default();
    let (mut dropped, mut tick) = (0, 0);
    while !unwritten.is_empty() || !seen.has(&fixture.written) {
        // The first finds nothing: it is dropped, however slow the machine is.
        let short = Duration::from_micros(tick % 7 * 150);
        tick += 1;
        let poll = consumer.poll(Duration::from_secs(1));
        match fixture.env.clock.timeout(short, poll).await {
            Ok(records) => seen.note(records.unwrap()),
            Err(_) => dropped += 1,
        }
        if let Some(partition) = unwritten.pop() {
            fixture.write(partition, 25).await;
        }
    }
    assert!(dropped > 0);
    assert_eq!(seen.repeated(), 0);
    consumer.close().await.unwrap();
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_reset_a_lost_place_is_an_error() {
    let mut fixture = Fixture::start(1).await;
    fixture.write(0, 10).await;
    let none = ConsumerConfig { auto_offset_reset: OffsetReset::None, ..grouped() };
    let mut consumer = fixture.consumer(none);
    consumer.assign(&[of(0)]).unwrap();
    for _ in 0..2 {
        let error = consumer.poll(Duration::from_secs(5)).await.unwrap_err();
        assert!(error.to_string().contains("orders-0 has no committed offset"), "{error}");
    }
    consumer.seek(&of(0), 11).unwrap();
    for _ in 0..2 {
        let error = consumer.poll(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE), "{error}");
        assert!(error.to_string().contains("orders-0 at offset 11"), "{error}");
    }
    consumer.seek(&of(0), 5).unwrap();
    let records = consumer.poll(Duration::from_secs(5)).await.unwrap();
    assert_eq!(records.len(), 5);
    // A consumer outside any generation may commit, if the group has no members.
    consumer.commit().await.unwrap();
    let committed = consumer.committed(&[of(0)]).await.unwrap();
    assert_eq!(committed[&of(0)].offset, 10);
    consumer.close().await.unwrap();
    let latest = ConsumerConfig { auto_offset_reset: OffsetReset::Latest, ..grouped() };
    let mut consumer = fixture.consumer(latest);
    consumer.assign(&[of(0)]).unwrap();
    assert_eq!(consumer.position(&of(0)).await.unwrap(), 10);
    consumer.seek(&of(0), 99).unwrap();
    consumer.poll(Duration::from_secs(1)).await.unwrap();
    assert_eq!(consumer.position(&of(0)).await.unwrap(), 10);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_assigned_no_more_is_committed() {
    let mut fixture = Fixture::start(2).await;
    fixture.write(0, 10).await;
    let rarely = ConsumerConfig { auto_commit_interval: Duration::from_secs(3600), ..grouped() };
    let mut consumer = fixture.consumer(rarely);
    consumer.assign(&[of(0), of(1)]).unwrap();
    let mut seen = Seen::default();
    fixture.read_all(&mut [&mut consumer], &mut seen).await;
    consumer.assign(&[of(1)]).unwrap();
    let committed = loop {
        let committed = consumer.committed(&[of(0)]).await.unwrap();
        if let Some(committed) = committed.get(&of(0)) {
            break committed.offset;
        }
    };
    assert_eq!(committed, 10);
    fixture.stop().await;
}
