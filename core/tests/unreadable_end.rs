//! Storage on a disk that cannot read the last page of a segment that is appended to: it starts,
//! gives what can be read, and goes on behind the page, which it leaves as it is.
#![cfg(feature = "sim")]

#[path = "support/plain_records.rs"]
mod plain_records;
#[path = "support/storage_fixture.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plain_records::{append, read_all};
use rivven_core::ids::{Offset, PartitionId, ProducerId, TimestampMs};
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::record::header::HEADER_BYTES;
use rivven_core::record::records::Records;
use rivven_core::storage::Storage;
use rivven_core::storage::error::ReadError;
use rivven_core::storage::options::StorageOptions;
use rivven_core::storage::partition::Partition;
use rivven_core::storage::read::{ReadRequest, batches};
use rivven_core::storage::shared::Appended;
use rivven_core::storage::verify::{VerifyReport, verify};
use rivven_io::Env;
use rivven_io::sim::{SimNode, World};
use support::{append_batch, create_topic};

const DATA_DIR: &str = "/data";
const NEVER: Duration = Duration::from_secs(36_000);
/// Records of the first life: some pages, the last one partly filled.
const FIRST: i64 = 15;

/// Values by their offsets.
type Log = BTreeMap<i64, String>;

fn options(checkpoint_interval: Duration) -> StorageOptions {
    StorageOptions {
        wal_file_bytes: 128 << 10,
        wal_files: 4,
        tail_bytes_max: 128 << 10,
        checkpoint_interval,
        cleaner_interval: Duration::from_millis(10),
        ..StorageOptions::new(PathBuf::from(DATA_DIR), 1)
    }
}

async fn open(env: &Env, checkpoint_interval: Duration) -> (Storage, Arc<Partition>) {
    let storage = Storage::open(env, options(checkpoint_interval)).await.expect("opens");
    let known = storage.image().topic("t").map(|topic| topic.id);
    let partition = match known {
        Some(topic) => storage.partition(PartitionId { topic, index: 0 }).expect("it is there"),
        None => {
            let partition = create_topic(&storage, "t", 1).await;
            // Its records are of 1970.
            configure(&storage, &partition, &[("retention.ms", "-1")]).await;
            partition
        }
    };
    (storage, partition)
}

async fn configure(storage: &Storage, partition: &Partition, configs: &[(&str, &str)]) {
    let set = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let command = MetadataCommand::SetTopicConfigs {
        id: partition.id().topic,
        set: set.collect(),
        delete: Vec::new(),
    };
    storage.change_metadata().await.commit(vec![command]).await.expect("set");
}

fn value(life: &str, k: i64) -> String {
    format!("{life} {k} {}", "v".repeat(600))
}

/// What each offset gives.
async fn read_each(storage: &Storage, partition: &Arc<Partition>) -> (Log, BTreeSet<i64>) {
    let (mut log, mut unreadable) = (Log::new(), BTreeSet::new());
    let positions = partition.positions();
    for offset in positions.log_start.0..positions.high_watermark.0 {
        let from = Offset(offset);
        let request = ReadRequest { from, bytes_max: 0, at_least_one: true, cold: true };
        let answer = match storage.read(partition, request).await {
            Ok(answer) => answer,
            Err(ReadError::Io { .. }) => {
                unreadable.insert(offset);
                continue;
            }
            Err(error) => panic!("offset {offset}: {error}"),
        };
        let (header, batch) = batches(&answer.data).next().expect("something stands there");
        let record = Records::new(&header, &batch[HEADER_BYTES..]).next().expect("a record");
        let value = record.expect("a sound record").value.expect("a value").to_vec();
        log.insert(header.base_offset.0, String::from_utf8(value).expect("text"));
    }
    (log, unreadable)
}

/// Runs one life of the broker, which ends by a power cut.
async fn live<T, F>(node: &SimNode, life: impl FnOnce(Env) -> F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let outcome = node.spawn(life(node.env())).await.expect("no panic");
    node.power_cut();
    node.restart();
    outcome
}

/// The first life, which a checkpoint counts, and a second one, which only the WAL has if it
/// appends; the last page of the segment cannot be read then.
async fn two_lives(node: &SimNode, second: i64) -> (PathBuf, u64) {
    live(node, async |env| {
        let (storage, partition) = open(&env, NEVER).await;
        for k in 0..FIRST {
            append(&storage, &partition, &value("first", k)).await.expect("appended");
        }
        storage.shutdown().await.expect("shuts down");
    })
    .await;
    live(node, async move |env| {
        let (storage, partition) = open(&env, NEVER).await;
        for k in 0..second {
            append(&storage, &partition, &value("second", k)).await.expect("appended");
        }
    })
    .await;
    let segments = segments(node);
    let [segment] = &segments[..] else { panic!("one segment, not {segments:?}") };
    let position = spoil_end(node, segment).expect("it has a last page");
    (segment.clone(), position)
}

fn segments(node: &SimNode) -> Vec<PathBuf> {
    let files = node.disk().durable_files().into_iter().filter(|file| file.ends_with(".log"));
    files.map(PathBuf::from).collect()
}

/// What a segment's file holds, without the zeros at its end.
fn batches_in(node: &SimNode, segment: &Path) -> Vec<u8> {
    let mut content = node.disk().durable(segment).expect("it is kept");
    content.truncate(content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    content
}

/// Makes the last page that holds something unreadable; where it begins.
fn spoil_end(node: &SimNode, segment: &Path) -> Option<u64> {
    let last = (batches_in(node, segment).len() as u64).checked_sub(1)?;
    assert!(node.disk().spoil(segment, last), "the page is there");
    Some(last / 4096 * 4096)
}

async fn verified(node: &SimNode) -> VerifyReport {
    let env = node.env();
    let verified = node.spawn(async move {
        verify(&env, Path::new(DATA_DIR), &mut |_| {}).await.expect("it is a data directory")
    });
    verified.await.expect("no panic")
}

/// Every record of a directory that is whole.
async fn all_of(node: &SimNode) -> Log {
    let report = verified(node).await;
    assert!(report.ok, "{:?}", report.findings);
    live(node, async |env| {
        let (storage, partition) = open(&env, NEVER).await;
        Log::from_iter(read_all(&storage, &partition).await)
    })
    .await
}

/// All that the two lives appended, then what came behind.
fn expected(second: i64, third: i64) -> Log {
    let lives = [("first", FIRST), ("second", second), ("third", third)];
    let values = lives.iter().flat_map(|(life, count)| (0..*count).map(|k| value(life, k)));
    (0..).zip(values).collect()
}

/// Holds what can be read to what was appended, and the rest to the end of the first life.
fn check(found: &(Log, BTreeSet<i64>), expected: &Log) {
    let (log, unreadable) = found;
    assert_eq!(log.len() + unreadable.len(), expected.len(), "every offset answers");
    assert!(log.iter().all(|(offset, value)| expected.get(offset) == Some(value)), "{log:?}");
    let first = *unreadable.first().expect("some of the page was counted");
    assert!(unreadable.iter().copied().eq(first..FIRST), "only the page: {unreadable:?}");
    assert!(first > FIRST / 2, "what stands in the pages before is given: {unreadable:?}");
}

#[test]
fn batches_of_the_wal_go_on_in_a_new_segment_and_the_page_stays_as_it_was() {
    for appends_more in [false, true] {
        for is_mended in [false, true] {
            let world = World::new(1);
            world.run(async {
                let node = world.node(1);
                let (segment, position) = two_lives(&node, 6).await;
                let before = batches_in(&node, &segment);
                assert!(!verified(&node).await.ok, "the page is reported");
                let third = if appends_more { 4 } else { 0 };
                let found = live(&node, async move |env| {
                    let (storage, partition) = open(&env, NEVER).await;
                    for k in 0..third {
                        append(&storage, &partition, &value("third", k)).await.expect("appended");
                    }
                    read_each(&storage, &partition).await
                })
                .await;
                check(&found, &expected(6, third));
                if is_mended {
                    assert!(node.disk().mend(&segment, position), "nobody wrote there");
                    let report = verified(&node).await;
                    assert!(report.ok, "{:?}", report.findings);
                }
                // As the power cut left it, and then once more with a checkpoint.
                for _ in 0..2 {
                    let found = live(&node, async |env| {
                        let (storage, partition) = open(&env, NEVER).await;
                        let found = read_each(&storage, &partition).await;
                        storage.shutdown().await.expect("shuts down");
                        found
                    })
                    .await;
                    match is_mended {
                        true => assert_eq!(found, (expected(6, third), BTreeSet::new())),
                        false => check(&found, &expected(6, third)),
                    }
                }
                if !is_mended {
                    assert!(node.disk().mend(&segment, position), "nobody wrote there");
                }
                assert!(batches_in(&node, &segment) == before, "a byte of the segment changed");
                assert_eq!(all_of(&node).await, expected(6, third));
            });
        }
    }
}

#[test]
fn a_partition_that_was_idle_goes_on_in_a_new_segment() {
    // The segment is closed by its age at the same moment, or by the page alone.
    for is_due in [false, true] {
        let world = World::new(2);
        world.run(async {
            let node = world.node(1);
            let (segment, position) = two_lives(&node, 0).await;
            let found = live(&node, async move |env| {
                let (storage, partition) = open(&env, NEVER).await;
                if is_due {
                    configure(&storage, &partition, &[("segment.ms", "1")]).await;
                    env.clock.sleep(Duration::from_millis(5)).await;
                }
                for k in 0..5 {
                    append(&storage, &partition, &value("second", k)).await.expect("appended");
                }
                // A checkpoint, for which all is copied and the segment closed.
                storage.shutdown().await.expect("shuts down");
                let (storage, partition) = open(&env, NEVER).await;
                read_each(&storage, &partition).await
            })
            .await;
            check(&found, &expected(5, 0));
            let second = segments(&node).into_iter().nth(1).expect("a second segment");
            assert!(second.ends_with(format!("{FIRST:020}.log")), "{second:?}");
            assert!(node.disk().mend(&segment, position), "nobody wrote there");
            assert_eq!(all_of(&node).await, expected(5, 0));
        });
    }
}

async fn send(storage: &Storage, partition: &Arc<Partition>, sequence: i32) -> Appended {
    let value = value("first", i64::from(sequence));
    let batch = BatchBuilder::new(TimestampMs(1000))
        .producer(ProducerId(0), 0, sequence)
        .push(NewRecord::value(value.as_bytes()))
        .build();
    append_batch(storage, partition, batch).await.expect("appended")
}

#[test]
fn a_producer_s_batches_stay_known_over_the_new_segment() {
    let world = World::new(3);
    world.run(async {
        let node = world.node(1);
        live(&node, async move |env| {
            let (storage, partition) = open(&env, NEVER).await;
            let producer = storage.allocate_producer_id().await.expect("an id");
            assert_eq!(producer, ProducerId(0));
            for sequence in 0..3 {
                send(&storage, &partition, sequence).await;
            }
            storage.shutdown().await.expect("shuts down");
        })
        .await;
        live(&node, async move |env| {
            let (storage, partition) = open(&env, NEVER).await;
            send(&storage, &partition, 3).await;
        })
        .await;
        spoil_end(&node, &segments(&node)[0]).expect("it has a last page");
        for _ in 0..2 {
            live(&node, async move |env| {
                let (storage, partition) = open(&env, NEVER).await;
                for sequence in 0..4 {
                    let again = send(&storage, &partition, sequence).await;
                    let expected = (true, Offset(i64::from(sequence)));
                    assert_eq!((again.duplicate, again.base_offset), expected);
                }
            })
            .await;
        }
        live(&node, async move |env| {
            let (storage, partition) = open(&env, NEVER).await;
            let next = send(&storage, &partition, 4).await;
            assert_eq!((next.duplicate, next.base_offset), (false, Offset(4)));
        })
        .await;
    });
}

async fn put(storage: &Storage, partition: &Arc<Partition>, k: i64) {
    let (key, value) = (format!("key {}", k % 4), value("first", k));
    let record = NewRecord::keyed(key.as_bytes(), value.as_bytes());
    let batch = BatchBuilder::new(TimestampMs(1000)).push(record).build();
    append_batch(storage, partition, batch).await.expect("appended");
}

#[test]
fn a_compacted_log_keeps_the_page_and_is_compacted_when_it_can_be_read_again() {
    let world = World::new(4);
    world.run(async {
        let node = world.node(1);
        live(&node, async |env| {
            let (storage, partition) = open(&env, NEVER).await;
            let configs = [
                ("cleanup.policy", "compact"),
                ("min.cleanable.dirty.ratio", "0"),
                ("file.delete.delay.ms", "0"),
            ];
            configure(&storage, &partition, &configs).await;
            storage.shutdown().await.expect("shuts down");
        })
        .await;
        for (keys, is_checkpointed) in [(0..FIRST, true), (FIRST..FIRST + 4, false)] {
            live(&node, async move |env| {
                let (storage, partition) = open(&env, NEVER).await;
                for k in keys {
                    put(&storage, &partition, k).await;
                }
                if is_checkpointed {
                    storage.shutdown().await.expect("shuts down");
                }
            })
            .await;
        }
        let segment = segments(&node).remove(0);
        let position = spoil_end(&node, &segment).expect("it has a last page");
        let all: Log = (0..FIRST + 4).map(|k| (k, value("first", k))).collect();
        let found = live(&node, async |env| {
            let (storage, partition) = open(&env, Duration::from_millis(20)).await;
            env.clock.sleep(Duration::from_millis(500)).await;
            assert_eq!(storage.stats().compactions, 0, "what cannot be read is not compacted");
            read_each(&storage, &partition).await
        })
        .await;
        check(&found, &all);
        assert!(node.disk().mend(&segment, position), "nobody wrote there");
        let left = live(&node, async |env| {
            let (storage, partition) = open(&env, Duration::from_millis(20)).await;
            while storage.stats().compactions == 0 {
                env.clock.sleep(Duration::from_millis(10)).await;
            }
            Log::from_iter(read_all(&storage, &partition).await)
        })
        .await;
        assert!(left.iter().all(|(offset, value)| all.get(offset) == Some(value)), "{left:?}");
        assert!((FIRST..FIRST + 4).all(|offset| left.contains_key(&offset)), "{left:?}");
        assert!(left.len() < all.len(), "older values are gone");
    });
}

/// What is acknowledged, by offset.
type Acked = Arc<Mutex<Log>>;

/// One life that appends until it is cut off. Some of it cannot be read if `is_spoiled`.
async fn storm(env: Env, acked: Acked, (round, is_spoiled): (u64, bool)) {
    let interval = if round.is_multiple_of(2) { NEVER } else { Duration::from_millis(15) };
    let (storage, partition) = open(&env, interval).await;
    let (found, unreadable) = read_each(&storage, &partition).await;
    assert!(is_spoiled || unreadable.is_empty(), "an error that passed: {unreadable:?}");
    for (offset, value) in acked.lock().expect("unpoisoned").iter() {
        let is_there = found.get(offset) == Some(value) || unreadable.contains(offset);
        assert!(is_there, "offset {offset} is lost");
    }
    for k in 0.. {
        let value = format!("{round} {k} {}", "f".repeat(k * 37 % 1500));
        let appended = append(&storage, &partition, &value).await.expect("storage works on");
        acked.lock().expect("unpoisoned").insert(appended.base_offset.0, value);
        env.clock.sleep(Duration::from_micros(500)).await;
    }
}

fn mend(node: &SimNode, spoiled: &mut Vec<(PathBuf, u64)>) {
    for (path, position) in spoiled.drain(..) {
        node.disk().mend(&path, position);
    }
}

/// Pages at the ends of segments become unreadable and readable again, and the broker is cut off
/// at any moment, also while it starts.
#[test]
fn no_crash_point_loses_what_was_acknowledged() {
    let mut total = 0;
    for seed in 0..40 {
        let world = World::new(seed);
        let acked = Acked::default();
        world.run(async {
            let node = world.node(1);
            let mut faults = node.disk().faults();
            faults.crash.shorn_pages = true;
            node.disk().set_faults(faults);
            let mut spoiled: Vec<(PathBuf, u64)> = Vec::new();
            let draw = |round: u64, salt: u64| (seed * 7919 + round * 104_729 + salt) % 997;
            for round in 0..10 {
                let life = storm(node.env(), acked.clone(), (round, !spoiled.is_empty()));
                node.spawn_main(async move {
                    life.await;
                    0
                });
                world.sleep(Duration::from_micros(100 * draw(round, 1))).await;
                if let Some(panic) = world.take_panics().first() {
                    panic!("seed {seed} round {round}: {panic:?}");
                }
                if draw(round, 2) % 3 == 0 {
                    node.kill()
                } else {
                    node.power_cut()
                }
                node.restart();
                match draw(round, 3) % 3 {
                    0 => mend(&node, &mut spoiled),
                    1 => {
                        let segments = segments(&node);
                        let last = segments.last().cloned();
                        let at = last.as_ref().and_then(|last| spoil_end(&node, last));
                        spoiled.extend(last.zip(at));
                    }
                    _ => {}
                }
                if spoiled.is_empty() {
                    let report = verified(&node).await;
                    assert!(report.ok, "seed {seed} round {round}: {:?}", report.findings);
                }
            }
            mend(&node, &mut spoiled);
            let found = all_of(&node).await;
            for (offset, value) in acked.lock().expect("unpoisoned").iter() {
                assert_eq!(found.get(offset), Some(value), "seed {seed} offset {offset}");
            }
        });
        total += acked.lock().expect("unpoisoned").len();
    }
    let hits = rivven_io::probe::hits();
    assert!(total > 1000, "only {total} appends were acknowledged");
    for probe in ["segment_end_unreadable", "page_unreadable", "page_restored"] {
        assert!(hits.contains_key(probe), "no {probe}");
    }
}
