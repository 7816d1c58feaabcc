//! Members that come, go, fail and come back.

use std::collections::BTreeSet;
use std::time::Duration;

use rivven_client::assignor::{Assignor, TopicPartition};
use rivven_client::consumer::event::ConsumerEvent;
use rivven_client::{Consumer, ConsumerConfig};
use rivven_core::kafka::codec::error_code::ErrorCode;

use crate::fixture::{Fixture, SHORT, Seen, TOPIC, grouped, of};

const PARTITIONS: i32 = 12;

/// Whether each partition has one owner among these, and the shares are even.
fn is_shared(consumers: &[&mut Consumer]) -> bool {
    let shares: Vec<BTreeSet<TopicPartition>> =
        consumers.iter().map(|consumer| consumer.assignment()).collect();
    let all: BTreeSet<&TopicPartition> = shares.iter().flatten().collect();
    let count = PARTITIONS as usize;
    let is_even = shares.iter().all(|share| share.len() == count / shares.len());
    is_even && all.len() == count
}

async fn member(fixture: &Fixture, config: &ConsumerConfig) -> Consumer {
    let mut consumer = fixture.consumer(config.clone());
    consumer.subscribe(&[TOPIC]).unwrap();
    consumer
}

async fn write_everywhere(fixture: &mut Fixture, count: i64) {
    for partition in 0..PARTITIONS {
        fixture.write(partition, count).await;
    }
}

/// Members come and go in good order: nothing is skipped and nothing repeated.
async fn members_come_and_go(assignors: Vec<Assignor>) {
    let mut fixture = Fixture::start(PARTITIONS).await;
    let config = ConsumerConfig { assignors, ..grouped() };
    let mut seen = Seen::default();
    write_everywhere(&mut fixture, 700).await;
    let mut first = member(&fixture, &config).await;
    fixture.poll_until(&mut [&mut first], &mut seen, |_, all| is_shared(all)).await;
    write_everywhere(&mut fixture, 100).await;
    let mut second = member(&fixture, &config).await;
    let shared = |_: &Seen, all: &[&mut Consumer]| is_shared(all);
    fixture.poll_until(&mut [&mut first, &mut second], &mut seen, shared).await;
    write_everywhere(&mut fixture, 100).await;
    let mut third = member(&fixture, &config).await;
    let mut all = [&mut first, &mut second, &mut third];
    fixture.poll_until(&mut all, &mut seen, shared).await;
    fixture.read_all(&mut all, &mut seen).await;
    write_everywhere(&mut fixture, 100).await;
    second.close().await.unwrap();
    fixture.poll_until(&mut [&mut first, &mut third], &mut seen, shared).await;
    first.close().await.unwrap();
    write_everywhere(&mut fixture, 100).await;
    fixture.poll_until(&mut [&mut third], &mut seen, shared).await;
    fixture.read_all(&mut [&mut third], &mut seen).await;
    assert_eq!(seen.repeated(), 0);
    assert!(third.lag().values().all(|lag| *lag == Some(0)), "{:?}", third.lag());
    third.commit().await.unwrap();
    let all: Vec<_> = (0..PARTITIONS).map(of).collect();
    let committed = third.committed(&all).await.unwrap();
    for (of, committed) in &committed {
        assert_eq!(committed.offset, fixture.written[&of.partition], "{of}");
    }
    assert_eq!(committed.len(), all.len());
    third.close().await.unwrap();
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eager_members_come_and_go_and_no_record_is_skipped() {
    members_come_and_go(vec![Assignor::Range, Assignor::CooperativeSticky]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sticky_members_come_and_go_and_no_record_is_skipped() {
    members_come_and_go(vec![Assignor::Sticky]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cooperative_members_come_and_go_and_no_record_is_skipped() {
    members_come_and_go(vec![Assignor::CooperativeSticky]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cooperative_member_loses_only_what_moves() {
    let fixture = Fixture::start(PARTITIONS).await;
    let config = ConsumerConfig { assignors: vec![Assignor::CooperativeSticky], ..grouped() };
    let mut seen = Seen::default();
    let mut first = member(&fixture, &config).await;
    let shared = |_: &Seen, all: &[&mut Consumer]| is_shared(all);
    fixture.poll_until(&mut [&mut first], &mut seen, shared).await;
    assert!(matches!(&first.events()[..], [ConsumerEvent::Assigned(all)] if all.len() == 12));
    let mut second = member(&fixture, &config).await;
    fixture.poll_until(&mut [&mut first, &mut second], &mut seen, shared).await;
    let revoked: Vec<usize> = first
        .events()
        .iter()
        .filter_map(|event| match event {
            ConsumerEvent::Revoked(partitions) => Some(partitions.len()),
            _ => None,
        })
        .collect();
    assert_eq!(revoked, [6]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_dies_repeats_records_and_skips_none() {
    let mut fixture = Fixture::start(PARTITIONS).await;
    let mut seen = Seen::default();
    let mut first = member(&fixture, &grouped()).await;
    let short = ConsumerConfig { session_timeout: Duration::from_secs(6), ..grouped() };
    let mut second = member(&fixture, &short).await;
    let shared = |_: &Seen, all: &[&mut Consumer]| is_shared(all);
    fixture.poll_until(&mut [&mut first, &mut second], &mut seen, shared).await;
    write_everywhere(&mut fixture, 50).await;
    // What it is given it never commits.
    while second.poll(SHORT).await.unwrap().is_empty() {}
    drop(second);
    fixture.poll_until(&mut [&mut first], &mut seen, shared).await;
    fixture.read_all(&mut [&mut first], &mut seen).await;
    first.close().await.unwrap();
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_member_restarts_without_a_rebalance() {
    let mut fixture = Fixture::start(PARTITIONS).await;
    let mut seen = Seen::default();
    let named = |name: &str| ConsumerConfig { instance_id: Some(name.to_owned()), ..grouped() };
    let mut first = member(&fixture, &named("one")).await;
    let mut second = member(&fixture, &named("two")).await;
    let shared = |_: &Seen, all: &[&mut Consumer]| is_shared(all);
    fixture.poll_until(&mut [&mut first, &mut second], &mut seen, shared).await;
    write_everywhere(&mut fixture, 50).await;
    fixture.read_all(&mut [&mut first, &mut second], &mut seen).await;
    let (others, own) = (first.assignment(), second.assignment());
    first.events();
    second.close().await.unwrap();
    write_everywhere(&mut fixture, 50).await;
    let mut second = member(&fixture, &named("two")).await;
    fixture.poll_until(&mut [&mut first, &mut second], &mut seen, shared).await;
    fixture.read_all(&mut [&mut first, &mut second], &mut seen).await;
    assert_eq!((first.assignment(), second.assignment()), (others, own));
    assert_eq!(first.events(), [], "the other member did not notice");
    assert_eq!(seen.repeated(), 0);
    // Another with the same name takes its place, and it does not fight for it.
    let mut thief = member(&fixture, &named("two")).await;
    while thief.assignment().is_empty() {
        thief.poll(SHORT).await.unwrap();
        let _ = first.poll(SHORT).await.unwrap();
    }
    let fenced = loop {
        match second.poll(SHORT).await {
            Err(error) => break error,
            Ok(records) => assert!(records.is_empty()),
        }
    };
    assert_eq!(fenced.code(), Some(ErrorCode::FENCED_INSTANCE_ID));
    assert_eq!(second.poll(SHORT).await.unwrap_err().code(), fenced.code());
    thief.close_and_leave().await.unwrap();
    fixture.poll_until(&mut [&mut first], &mut seen, shared).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_poll_loses_its_partitions() {
    let mut fixture = Fixture::start(PARTITIONS).await;
    let mut seen = Seen::default();
    let lazy = ConsumerConfig { max_poll_interval: Duration::from_secs(2), ..grouped() };
    let mut first = member(&fixture, &grouped()).await;
    let mut second = member(&fixture, &lazy).await;
    let shared = |_: &Seen, all: &[&mut Consumer]| is_shared(all);
    fixture.poll_until(&mut [&mut first, &mut second], &mut seen, shared).await;
    second.events();
    let own = second.assignment();
    // Only the first polls, until it has everything.
    fixture.poll_until(&mut [&mut first], &mut seen, shared).await;
    assert_eq!(second.poll(SHORT).await.unwrap(), []);
    match &second.events()[..] {
        [ConsumerEvent::Lost { partitions, reason }] => {
            assert_eq!(partitions.iter().cloned().collect::<BTreeSet<_>>(), own);
            assert!(reason.contains("max_poll_interval"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    fixture.poll_until(&mut [&mut first, &mut second], &mut seen, shared).await;
    write_everywhere(&mut fixture, 10).await;
    fixture.read_all(&mut [&mut first, &mut second], &mut seen).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_can_be_committed_until_the_poll_after_revoked() {
    let mut fixture = Fixture::start(PARTITIONS).await;
    let by_hand = ConsumerConfig { enable_auto_commit: false, ..grouped() };
    let mut seen = Seen::default();
    write_everywhere(&mut fixture, 20).await;
    let mut first = member(&fixture, &by_hand).await;
    fixture.read_all(&mut [&mut first], &mut seen).await;
    let mut second = member(&fixture, &by_hand).await;
    let mut is_committed = false;
    while !is_shared(&[&mut first, &mut second]) {
        seen.note(first.poll(SHORT).await.unwrap());
        if first.events().iter().any(|event| matches!(event, ConsumerEvent::Revoked(_))) {
            first.commit().await.unwrap();
            is_committed = true;
        }
        seen.note(second.poll(SHORT).await.unwrap());
    }
    assert!(is_committed);
    write_everywhere(&mut fixture, 20).await;
    fixture.read_all(&mut [&mut first, &mut second], &mut seen).await;
    assert_eq!(seen.repeated(), 0);
    second.close().await.unwrap();
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_outlives_its_broker() {
    let mut fixture = Fixture::start(PARTITIONS).await;
    let mut seen = Seen::default();
    let mut first = member(&fixture, &grouped()).await;
    let mut second = member(&fixture, &grouped()).await;
    let shared = |_: &Seen, all: &[&mut Consumer]| is_shared(all);
    fixture.poll_until(&mut [&mut first, &mut second], &mut seen, shared).await;
    write_everywhere(&mut fixture, 100).await;
    let mut fixture = fixture.restart().await;
    fixture.read_all(&mut [&mut first, &mut second], &mut seen).await;
    write_everywhere(&mut fixture, 100).await;
    fixture.read_all(&mut [&mut first, &mut second], &mut seen).await;
    assert_eq!(seen.repeated(), 0);
    first.close().await.unwrap();
    second.close().await.unwrap();
    fixture.stop().await;
}
