//! What is given out of fetched bytes: in order, once, from the position on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use rivven_core::ids::{Offset, ProducerId, TimestampMs, TopicId};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::fetch::AbortedTransaction;
use rivven_core::kafka::messages::offset_commit::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::record::compression::Codec;
use rivven_core::record::header::{
    ATTRIBUTES_POSITION, BATCH_LENGTH_POSITION, CRC_POSITION, HEADER_BYTES, LOG_OVERHEAD_BYTES,
    compute_crc,
};
use rivven_io::Env;
use rivven_io::clock::Monotonic;

use super::Consumer;
use super::batches::{Batch, cut};
use super::commits::{self, Offsets, Patience};
use super::config::{ConsumerConfig, OffsetReset};
use super::partitions::{At, EARLIEST, Marks, Partitions, Position, Start};
use super::plan::{Job, Plan, View};
use super::record::ConsumerRecord;
use super::shared::Shared;
use crate::assignor::TopicPartition;
use crate::backoff::Backoff;
use crate::client::Client;
use crate::config::{Address, ClientConfig};
use crate::error::Error;
use crate::image::{Broker, ClusterImage, Partition, Topic};

fn of(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn at(offset: i64) -> At {
    At { offset, leader_epoch: -1 }
}

fn builder(base: i64, count: usize) -> BatchBuilder {
    let mut batch = BatchBuilder::new(TimestampMs(base)).base_offset(Offset(base));
    for index in 0..count {
        let value = (base + i64::try_from(index).unwrap()).to_string();
        batch = batch.push(NewRecord::value(value.as_bytes()));
    }
    batch
}

fn packed(batch: &[u8], codec: Codec, bits: u8) -> Vec<u8> {
    let mut packed = batch[..HEADER_BYTES].to_vec();
    packed.extend(codec.compress(&batch[HEADER_BYTES..]).1);
    packed[ATTRIBUTES_POSITION + 1] |= bits;
    let length = i32::try_from(packed.len() - LOG_OVERHEAD_BYTES).unwrap();
    packed[BATCH_LENGTH_POSITION..][..4].copy_from_slice(&length.to_be_bytes());
    let crc = compute_crc(&packed);
    packed[CRC_POSITION..][..4].copy_from_slice(&crc.to_be_bytes());
    packed
}

/// A log of batches with gaps between them, and the offsets that have records.
fn log(sizes: &[(usize, i64, u8)]) -> (Vec<(i64, Vec<u8>)>, Vec<i64>) {
    let (mut batches, mut offsets, mut next) = (Vec::new(), Vec::new(), 0);
    for (count, gap, bits) in sizes {
        let base = next + gap;
        let batch = builder(base, *count).build();
        let codec = Codec::from_bits(i16::from(*bits)).unwrap();
        next = base + i64::try_from(*count).unwrap();
        let batch = if *bits == 0 { batch } else { packed(&batch, codec, *bits) };
        batches.push((next, batch));
        offsets.extend(base..next);
    }
    (batches, offsets)
}

fn partitions(count: i32) -> Partitions {
    let mut partitions = Partitions::default();
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(1));
    for partition in 0..count {
        partitions.add(of(partition), Start::Reset, backoff.clone());
        assert!(partitions.set(&of(partition), Position::At(at(0))));
    }
    partitions
}

/// Fetches what stands from the fetch position on, `batch_max` batches at most.
fn fetch(partitions: &mut Partitions, of: &TopicPartition, log: &[(i64, Vec<u8>)], max: usize) {
    let row = partitions.rows.get_mut(of).unwrap();
    let from = row.fetched;
    let batches = log.iter().filter(|(end, _)| *end > from.offset).take(max);
    let bytes: Vec<u8> = batches.flat_map(|(_, bytes)| bytes).copied().collect();
    let cut = cut(of, from, (&Bytes::from(bytes), None));
    cut.batches.into_iter().for_each(|batch| row.push(batch));
    row.trouble = cut.trouble;
}

fn take(partitions: &mut Partitions, max: usize) -> Vec<ConsumerRecord> {
    partitions.take(max, Monotonic(1)).unwrap().records
}

proptest! {
    #[test]
    fn every_record_is_given_out_once_and_in_order(
        sizes in vec((1usize..6, 0i64..3, 0u8..5), 1..12),
        polls in vec((0usize..2, 1usize..9, 0usize..4, any::<Option<u8>>()), 1..60),
    ) {
        let (batches, offsets) = log(&sizes);
        let end = batches.last().unwrap().0;
        let mut partitions = partitions(2);
        let mut expected = [0i64; 2];
        for (partition, max, fetch_max, seek) in polls {
            let name = of(i32::try_from(partition).unwrap());
            if let Some(to) = seek.filter(|to| to % 8 == 0) {
                let to = i64::from(to / 8) % (end + 1);
                partitions.set(&name, Position::At(at(to)));
                expected[partition] = to;
            }
            fetch(&mut partitions, &name, &batches, fetch_max);
            let records = take(&mut partitions, max);
            prop_assert!(records.len() <= max);
            for record in records {
                let next = &mut expected[usize::try_from(record.partition).unwrap()];
                let wanted = offsets.iter().copied().find(|offset| offset >= next).unwrap();
                prop_assert_eq!(record.offset, wanted);
                let value = wanted.to_string();
                prop_assert_eq!(record.value.as_deref(), Some(value.as_bytes()));
                *next = wanted + 1;
            }
            for (partition, expected) in (0i32..).zip(expected) {
                // It stands behind the last record, or behind a gap that follows.
                let Position::At(at) = partitions.rows[&of(partition)].position else {
                    panic!("it was set")
                };
                prop_assert!(at.offset >= expected);
                prop_assert!(!offsets.iter().any(|o| (expected..at.offset).contains(o)));
            }
        }
        for partition in [0, 1] {
            for _ in 0..=batches.len() {
                fetch(&mut partitions, &of(partition), &batches, 100);
                take(&mut partitions, 1000);
            }
            let row = &partitions.rows[&of(partition)];
            prop_assert!(matches!(row.position, Position::At(at) if at.offset == end));
            prop_assert_eq!((row.unread.len(), row.unread_bytes), (0, 0));
        }
    }

    #[test]
    fn hostile_bytes_are_an_error_or_records(
        bytes in vec(any::<u8>(), 0..300),
        at_byte in 0usize..200,
    ) {
        let mut log = builder(5, 3).build();
        let begin = at_byte.min(log.len());
        log.splice(begin.., bytes);
        let cut = cut(&of(0), at(5), (&Bytes::from(log), None));
        prop_assert!(cut.batches.len() <= 1 || cut.trouble.is_none());
    }
}

#[test]
fn records_are_slices_of_the_answer() {
    let bytes = Bytes::from(builder(0, 2).build());
    let mut partitions = partitions(1);
    let row = partitions.rows.get_mut(&of(0)).unwrap();
    cut(&of(0), at(0), (&bytes, None)).batches.into_iter().for_each(|batch| row.push(batch));
    for record in take(&mut partitions, 10) {
        let value = record.value.unwrap();
        assert!(bytes.as_ptr_range().contains(&value.as_ptr()));
    }
}

#[test]
fn a_damaged_batch_is_an_error_again_and_again_and_others_go_on() {
    let good = builder(0, 3).build();
    let mut bad = builder(3, 3).build();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let log = [(3, good), (6, bad)];
    let other = [(4, builder(0, 4).build())];
    let mut partitions = partitions(2);
    fetch(&mut partitions, &of(0), &log, 2);
    fetch(&mut partitions, &of(1), &other, 2);
    assert_eq!(take(&mut partitions, 100).len(), 7);
    for _ in 0..2 {
        let error = partitions.take(100, Monotonic(9)).err().unwrap();
        assert_eq!(error.code(), Some(ErrorCode::CORRUPT_MESSAGE));
        assert!(error.to_string().contains("reading t-0 at offset 3"), "{error}");
        let row = &partitions.rows[&of(0)];
        assert_eq!((row.wait_until, row.position), (Monotonic(9), Position::At(row.fetched)));
        assert_eq!(row.fetched.offset, 3, "it is never skipped");
        fetch(&mut partitions, &of(0), &log[1..], 1);
    }
    assert!(partitions.set(&of(0), Position::At(at(6))));
    assert_eq!(take(&mut partitions, 100), []);
}

#[test]
fn a_compressed_batch_that_cannot_be_unpacked_is_an_error() {
    let batch = builder(0, 3).build();
    let log = [(3, packed(&batch, Codec::None, 4))];
    let mut partitions = partitions(1);
    fetch(&mut partitions, &of(0), &log, 1);
    let error = partitions.take(100, Monotonic(9)).err().unwrap();
    assert!(error.to_string().contains("t-0 at offset 0"), "{error}");
}

#[test]
fn markers_and_aborted_records_are_passed_over() {
    let transactional = |base, producer| {
        builder(base, 2).producer(ProducerId(producer), 0, 0).transactional().build()
    };
    let marker = |base, producer, commits: u8| {
        let key = [0, 0, 0, commits];
        BatchBuilder::new(TimestampMs(0))
            .base_offset(Offset(base))
            .producer(ProducerId(producer), 0, -1)
            .transactional()
            .control()
            .push(NewRecord::keyed(&key, b"\0\0\0\0\0\0"))
            .build()
    };
    let log = [
        transactional(0, 7),
        transactional(2, 8),
        builder(4, 1).build(),
        marker(5, 7, 0),
        marker(6, 8, 1),
        transactional(7, 7),
        marker(9, 7, 1),
    ]
    .concat();
    let aborted = [AbortedTransaction { producer_id: 7, first_offset: 0 }];
    for (aborted, expected) in [
        (Some(&aborted[..]), vec![2, 3, 4, 7, 8]),
        (Some(&[][..]), vec![0, 1, 2, 3, 4, 7, 8]),
        (None, vec![0, 1, 2, 3, 4, 7, 8]),
    ] {
        let mut partitions = partitions(1);
        let cut = cut(&of(0), at(0), (&Bytes::from(log.clone()), aborted));
        assert_eq!(cut.trouble, None);
        let row = partitions.rows.get_mut(&of(0)).unwrap();
        cut.batches.into_iter().for_each(|batch| row.push(batch));
        let offsets: Vec<i64> =
            take(&mut partitions, 100).iter().map(|record| record.offset).collect();
        assert_eq!(offsets, expected);
        let position = partitions.rows[&of(0)].position;
        assert!(matches!(position, Position::At(at) if at.offset == 10));
    }
}

#[test]
fn partitions_take_turns() {
    let log = [(6, builder(0, 6).build())];
    let mut partitions = partitions(3);
    (0..3).for_each(|partition| fetch(&mut partitions, &of(partition), &log, 1));
    let mut turns = Vec::new();
    loop {
        let records = take(&mut partitions, 3);
        let Some(first) = records.first() else { break };
        turns.push(first.partition);
    }
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn an_offset_is_not_committed_as_long_as_a_commit_may_have_replaced_it() {
    let (now, mut partitions) = (Monotonic(5), partitions(1));
    let is_committed = |partitions: &Partitions| partitions.rows[&of(0)].is_committed(now);
    let positions = |partitions: &Partitions| partitions.positions(|_| true).offsets;
    partitions.set(&of(0), Position::At(at(80)));
    assert!(!is_committed(&partitions));
    let (first, stored) = (positions(&partitions), partitions.begin_commit(&Offsets::new()));
    partitions.end_commit(&first, stored, now);
    assert!(!is_committed(&partitions), "it was not part of that commit");
    let stored = partitions.begin_commit(&first);
    partitions.end_commit(&first, stored, now);
    assert!(is_committed(&partitions));
    // The group has 100 as soon as that is sent, though the answer may never come.
    partitions.set(&of(0), Position::At(at(100)));
    let lost = positions(&partitions);
    let lost_number = partitions.begin_commit(&lost);
    partitions.set(&of(0), Position::At(at(80)));
    assert!(!is_committed(&partitions));
    let stored = partitions.begin_commit(&first);
    partitions.end_commit(&lost, lost_number, now);
    assert_eq!(partitions.rows[&of(0)].committed, None, "a later commit was begun");
    partitions.end_commit(&first, stored, now);
    assert!(is_committed(&partitions));
}

#[test]
fn an_offset_that_does_not_move_is_committed_again_before_it_is_forgotten() {
    let mut partitions = partitions(1);
    let offsets = partitions.positions(|_| true).offsets;
    let number = partitions.begin_commit(&offsets);
    partitions.end_commit(&offsets, number, Monotonic::default());
    let after = |hours: u64| Monotonic::default().after(Duration::from_secs(hours * 3600));
    assert!(partitions.rows[&of(0)].is_committed(Monotonic::default()));
    assert!(!partitions.rows[&of(0)].is_committed(after(1)));
}

#[test]
fn a_partition_keeps_its_turn_until_its_compressed_batch_is_read() {
    let bits = 1;
    let codec = Codec::from_bits(bits.into()).unwrap();
    let log = [(6, packed(&builder(0, 6).build(), codec, bits))];
    let mut partitions = partitions(2);
    (0..2).for_each(|partition| fetch(&mut partitions, &of(partition), &log, 1));
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(take(&mut partitions, 3)[0].partition);
    }
    assert_eq!(turns, [0, 0, 1, 1]);
}

#[test]
fn batches_without_records_take_no_room() {
    let mut partitions = partitions(1);
    let row = partitions.rows.get_mut(&of(0)).unwrap();
    for end in 1..100 {
        let empty = |end| Batch { bytes: Bytes::new(), end, leader_epoch: 0, has_records: false };
        row.push(empty(end));
    }
    assert_eq!(row.unread.len(), 1);
    take(&mut partitions, 1);
    assert_eq!(partitions.rows[&of(0)].position, Position::At(At { offset: 99, leader_epoch: 0 }));
}

/// The inside of a consumer whose broker is not there.
fn alone(config: ConsumerConfig) -> Arc<Shared> {
    let client = Client::new(Env::real(), ClientConfig::to("127.0.0.1:1")).unwrap();
    let shared = Shared::new(client, ConsumerConfig { group: Some("g".to_owned()), ..config });
    Arc::new(shared)
}

#[tokio::test]
async fn who_is_out_of_its_group_does_not_commit_as_nobody() {
    let shared = alone(ConsumerConfig::default());
    let offsets = Offsets::from([(of(0), 7.into())]).into();
    let store = || commits::store(&shared, &offsets, Patience::of(Duration::from_millis(1)));
    shared.lock().is_subscribed = true;
    let refused = store().await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::UNKNOWN_MEMBER_ID), "{refused}");
    for (is_subscribed, generation) in [(true, 3), (false, -1)] {
        {
            let mut state = shared.lock();
            (state.is_subscribed, state.membership.generation) = (is_subscribed, generation);
        }
        let error = store().await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "it was sent: {error}");
    }
}

#[test]
fn a_topic_that_is_gone_hides_no_word_on_the_group() {
    let row = |name: &str, error_code| OffsetCommitResponseTopic {
        name: name.into(),
        partitions: vec![OffsetCommitResponsePartition {
            error_code,
            ..OffsetCommitResponsePartition::default()
        }],
        ..OffsetCommitResponseTopic::default()
    };
    let (gone, busy) = (ErrorCode::UNKNOWN_TOPIC_ID, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    for (rows, wanted) in [
        ([("a", gone), ("b", busy)], (busy, "b-0")),
        ([("a", busy), ("b", gone)], (busy, "a-0")),
        ([("a", gone), ("b", ErrorCode::NONE)], (gone, "a-0")),
        (
            [("a", busy), ("b", ErrorCode::FENCED_INSTANCE_ID)],
            (ErrorCode::FENCED_INSTANCE_ID, "b-0"),
        ),
    ] {
        let topics = rows.map(|(name, code)| row(name, code)).into();
        let answer = OffsetCommitResponse { topics, ..OffsetCommitResponse::default() };
        assert_eq!(commits::worst(&answer), (wanted.0, wanted.1.to_owned()));
    }
}

const EARLIER: Start = Start::Timestamp(EARLIEST);
const NOW: Monotonic = Monotonic(1 << 40);

/// A topic of one partition, led by broker 1.
fn image(leader_epoch: i32) -> ClusterImage {
    let partition = Partition {
        leader: Some(1),
        leader_epoch,
        replicas: vec![1],
        in_sync: vec![1],
        error: ErrorCode::NONE,
    };
    let topic = Topic { id: TopicId([1; 16]), is_internal: false, partitions: vec![partition] };
    let address = Address { host: "h".to_owned(), port: 1 };
    ClusterImage {
        brokers: [(1, Broker { address, rack: None })].into(),
        topics: [("t".to_owned(), topic)].into(),
        ..ClusterImage::default()
    }
}

fn plan(
    partitions: &mut Partitions,
    image: &ClusterImage,
    (under_way, now): (&[Job], Monotonic),
) -> Plan {
    let config = ConsumerConfig { auto_offset_reset: OffsetReset::None, ..Default::default() };
    let under_way = &under_way.iter().copied().collect();
    let patience = Duration::from_secs(60);
    partitions.plan(&View { image, config: &config, under_way, patience, now })
}

#[test]
fn a_leader_older_than_what_was_read_is_not_believed() {
    for read_on in [Position::At(At { offset: 7, leader_epoch: 5 }), Position::Unknown(EARLIER)] {
        let mut partitions = partitions(1);
        let position = Position::At(At { offset: 7, leader_epoch: 5 });
        partitions.rows.get_mut(&of(0)).unwrap().set(position);
        partitions.rows.get_mut(&of(0)).unwrap().set(read_on);
        let late = NOW.after(Duration::from_secs(60));
        for (epoch, now, has_trouble) in [(4, NOW, false), (4, late, true)] {
            let plan = plan(&mut partitions, &image(epoch), (&[], now));
            assert!(plan.needs_metadata && plan.fetches.is_empty() && plan.offsets.is_empty());
            assert_eq!(plan.has_trouble, has_trouble);
        }
        let error = partitions.take(1, late).err().unwrap().to_string();
        assert!(error.contains("metadata names that of epoch 4, older than epoch 5"), "{error}");
        let plan = plan(&mut partitions, &image(5), (&[], late));
        assert_eq!(plan.fetches.len() + plan.offsets.len(), 1);
        assert!(!plan.needs_metadata);
    }
}

#[test]
fn a_place_that_cannot_be_found_is_told_at_once() {
    let mut partitions = partitions(1);
    partitions.set(&of(0), Position::Unknown(Start::Reset));
    assert!(plan(&mut partitions, &image(0), (&[], NOW)).has_trouble);
    let error = partitions.take(1, NOW).err().unwrap().to_string();
    assert!(error.contains("auto_offset_reset is none"), "{error}");
}

#[test]
fn a_lookup_waits_for_the_one_that_is_under_way() {
    let mut partitions = partitions(1);
    partitions.set(&of(0), Position::Unknown(EARLIER));
    let job = Job::Offsets(1);
    assert!(plan(&mut partitions, &image(0), (&[job], NOW)).offsets.is_empty());
    assert_eq!(plan(&mut partitions, &image(0), (&[], NOW)).offsets[&1].len(), 1);
    assert!(plan(&mut partitions, &image(0), (&[], NOW)).offsets.is_empty(), "it is under way");
}

#[tokio::test]
async fn no_join_begins_while_the_loss_before_it_is_unnoticed() {
    let client = Client::new(Env::real(), ClientConfig::to("127.0.0.1:1")).unwrap();
    let config = ConsumerConfig { group: Some("g".to_owned()), ..Default::default() };
    let mut consumer = Consumer::new(client, config).unwrap();
    consumer.subscribe(&["t"]).unwrap();
    consumer.shared.lock().membership.lost = Some("it was slow".to_owned());
    consumer.begin_join();
    assert_eq!(consumer.shared.lock().join_number, 0);
    assert!(consumer.shared.may_be_out());
    assert!(!consumer.take_part().unwrap(), "nothing was owned");
    assert!(!consumer.take_part().unwrap());
    assert!(consumer.shared.lock().membership.is_joining);
}

#[tokio::test]
async fn a_subscription_that_is_repeated_changes_nothing() {
    let client = Client::new(Env::real(), ClientConfig::to("127.0.0.1:1")).unwrap();
    let config = ConsumerConfig { group: Some("g".to_owned()), ..Default::default() };
    let mut consumer = Consumer::new(client, config).unwrap();
    consumer.subscribe(&["t"]).unwrap();
    consumer.shared.lock().topics.insert("another member's".into(), false);
    consumer.subscribe(&["t"]).unwrap();
    assert_eq!(consumer.shared.lock().topics.len(), 2);
    consumer.subscribe(&["u"]).unwrap();
    assert_eq!(consumer.shared.lock().topics.len(), 1);
    let long = "x".repeat(40_000);
    let error = consumer.subscribe(&[&long]).unwrap_err().to_string();
    assert!(error.contains("a topic's name has 1 to 249 bytes"), "{error}");
}

#[test]
fn hostile_marks_are_no_lag() {
    let mut partitions = partitions(1);
    let row = partitions.rows.get_mut(&of(0)).unwrap();
    row.marks = Some(Marks { log_start: 0, last_stable: i64::MIN, high_watermark: i64::MIN });
    row.set(Position::At(at(5)));
    assert_eq!(row.lag(false), Some(0));
}

#[test]
fn a_poll_stops_unpacking_when_it_has_enough() {
    let value = vec![b'x'; 3 << 20];
    let batch = |base: i64| {
        let builder = BatchBuilder::new(TimestampMs(0)).base_offset(Offset(base));
        (base + 1, packed(&builder.push(NewRecord::value(&value)).build(), Codec::Gzip, 1))
    };
    let log: Vec<(i64, Vec<u8>)> = (0..5).map(batch).collect();
    let mut partitions = partitions(2);
    (0..2).for_each(|partition| fetch(&mut partitions, &of(partition), &log, 5));
    let counts: Vec<usize> = (0..4).map(|_| take(&mut partitions, 1000).len()).collect();
    assert_eq!(counts, [3, 3, 3, 1]);
}
