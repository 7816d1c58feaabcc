//! Compaction on real files: the last value of each key stays where it was, the rest goes.
#![expect(clippy::disallowed_methods, reason = "the test looks at files and damages one")]

#[path = "support/copied.rs"]
mod copied;
#[path = "support/real_world.rs"]
mod real_world;
#[path = "support/storage_fixture.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use copied::copy;
use real_world::run;
use rivven_core::ids::{Offset, ProducerId, TimestampMs};
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::record::records::Records;
use rivven_core::storage::Storage;
use rivven_core::storage::options::StorageOptions;
use rivven_core::storage::partition::Partition;
use rivven_core::storage::read::{ReadRequest, batches};
use rivven_core::storage::verify::verify;
use rivven_io::Env;
use support::{append_batch, create_topic};

/// Key and value by offset; no value is a tombstone.
type Log = BTreeMap<i64, (String, Option<String>)>;

fn options(root: &Path) -> StorageOptions {
    StorageOptions {
        wal_file_bytes: 512 << 10,
        wal_files: 4,
        tail_bytes_max: 1 << 20,
        checkpoint_interval: Duration::from_millis(20),
        cleaner_interval: Duration::from_millis(10),
        ..StorageOptions::new(root.to_owned(), 1)
    }
}

async fn configure(storage: &Storage, partition: &Partition, configs: &[(&str, &str)]) {
    let set = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let id = partition.id().topic;
    let command = MetadataCommand::SetTopicConfigs { id, set, delete: Vec::new() };
    storage.change_metadata().await.commit(vec![command]).await.expect("set");
}

/// A topic whose segments hold a few records, and that is compacted at once.
async fn compacted(storage: &Storage, more: &[(&str, &str)]) -> Arc<Partition> {
    let partition = create_topic(storage, "keyed", 1).await;
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1"),
        ("min.cleanable.dirty.ratio", "0"),
        ("file.delete.delay.ms", "0"),
        ("index.interval.bytes", "1"),
    ];
    configure(storage, &partition, &configs).await;
    configure(storage, &partition, more).await;
    partition
}

/// Appends one record, whose timestamp is its offset and a thousand.
async fn put(
    env: &Env,
    storage: &Storage,
    partition: &Arc<Partition>,
    (key, value): (&str, Option<&str>),
) -> i64 {
    let next = partition.positions().log_end.0;
    let record = NewRecord {
        key: Some(key.as_bytes()),
        value: value.map(str::as_bytes),
        ..NewRecord::default()
    };
    let sequence = i32::try_from(next).expect("a short test");
    let batch = BatchBuilder::new(TimestampMs(1000 + next))
        .producer(ProducerId(0), 0, sequence)
        .push(record)
        .build();
    let appended = append_batch(storage, partition, batch).await.expect("appended");
    assert_eq!(appended.base_offset.0, next);
    // Each append is to begin a segment of its own: they are told apart by a millisecond.
    env.clock.sleep(Duration::from_millis(2)).await;
    next
}

async fn read(storage: &Storage, partition: &Arc<Partition>, from: Offset) -> Log {
    let mut log = Log::new();
    let mut from = from;
    loop {
        let request = ReadRequest { from, bytes_max: 500, at_least_one: true, cold: true };
        let answer = storage.read(partition, request).await.expect("readable");
        if answer.data.is_empty() {
            return log;
        }
        for (header, batch) in batches(&answer.data) {
            assert!(header.last_offset() >= from, "offsets rise");
            from = header.last_offset().plus(1);
            for record in Records::new(&header, &batch[61..]) {
                let record = record.expect("a sound record");
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                let offset = header.base_offset.0 + i64::from(record.offset_delta);
                assert_eq!(record.timestamp.0, 1000 + offset, "timestamps stay");
                let key = text(record.key.expect("a key"));
                log.insert(offset, (key, record.value.map(text)));
            }
        }
    }
}

/// Waits until the log holds these offsets.
async fn until(env: &Env, storage: &Storage, partition: &Arc<Partition>, wanted: &BTreeSet<i64>) {
    let mut found = Log::new();
    for _ in 0..1000 {
        found = read(storage, partition, Offset(0)).await;
        if found.keys().eq(wanted) {
            return;
        }
        env.clock.sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} and not {wanted:?}", found.keys());
}

fn last_of_each_key(log: &Log) -> BTreeSet<i64> {
    let last: BTreeMap<&str, i64> =
        log.iter().map(|(offset, (key, _))| (key.as_str(), *offset)).collect();
    last.into_values().collect()
}

fn segment_files(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("topics/keyed/partition-0")).expect("listable");
    let names = entries.map(|entry| entry.expect("listable").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    names
}

async fn is_sound(env: &Env, root: &Path) {
    let report = verify(env, root, &mut |_| {}).await.expect("it can be verified");
    assert!(report.ok, "{report:#?}");
}

/// Every offset, in a gap or not, is answered with the next record; every time with the first one.
async fn every_search_finds_the_next(storage: &Storage, partition: &Arc<Partition>, left: &Log) {
    let end = partition.positions().log_end;
    for from in 0..end.0 {
        let found = read(storage, partition, Offset(from)).await;
        assert!(found.keys().eq(left.range(from..).map(|(offset, _)| offset)), "from {from}");
        let next = left.range(from..).next().map(|(at, _)| (TimestampMs(1000 + at), Offset(*at)));
        let at = storage.find_timestamp(partition, TimestampMs(1000 + from)).await;
        assert_eq!(at.expect("searched"), next, "since {from}");
    }
    let last = left.keys().last().map(|at| (TimestampMs(1000 + at), Offset(*at)));
    assert_eq!(storage.max_timestamp(partition).await.expect("searched"), last);
}

#[test]
fn the_last_value_of_each_key_stays_at_its_offset() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root: PathBuf = dir.path().join("data");
        let storage = Storage::open(&env, options(&root)).await.expect("opens");
        let partition = compacted(&storage, &[]).await;
        let mut all = Log::new();
        for round in 0..4 {
            for k in [1, 2, 3, 2, round + 10] {
                let (key, value) = (format!("k{k}"), format!("value {round} {k}"));
                let at = put(&env, &storage, &partition, (&key, Some(&value))).await;
                all.insert(at, (key, Some(value)));
            }
            let last = last_of_each_key(&all);
            // The active segment is never cleaned, and it holds the last record alone.
            until(&env, &storage, &partition, &last).await;
        }
        let left: Log =
            all.iter().filter(|(at, _)| last_of_each_key(&all).contains(at)).map(clone).collect();
        assert_eq!(read(&storage, &partition, Offset(0)).await, left);
        every_search_finds_the_next(&storage, &partition, &left).await;
        storage.check_all();
        storage.shutdown().await.expect("shuts down");
        is_sound(&env, &root).await;

        let storage = Storage::open(&env, options(&root)).await.expect("opens again");
        assert_eq!(storage.recovered_batches(), 0);
        let partition = storage.partition(partition.id()).expect("there");
        every_search_finds_the_next(&storage, &partition, &left).await;
        let names = segment_files(&root);
        assert!(names.iter().any(|name| name.matches('.').count() == 2), "{names:?}");
        assert!(names.len() < 6, "neighbours are joined, the replaced are gone: {names:?}");
        // The producer's sequence is remembered although its batches are gone.
        put(&env, &storage, &partition, ("k1", Some("next"))).await;
        storage.shutdown().await.expect("shuts down");
        is_sound(&env, &root).await;
    });
}

fn clone((at, entry): (&i64, &(String, Option<String>))) -> (i64, (String, Option<String>)) {
    (*at, entry.clone())
}

#[test]
fn a_tombstone_goes_after_its_time_and_nothing_comes_back() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root: PathBuf = dir.path().join("data");
        let storage = Storage::open(&env, options(&root)).await.expect("opens");
        let partition = compacted(&storage, &[("delete.retention.ms", "3600000")]).await;
        put(&env, &storage, &partition, ("gone", Some("value"))).await;
        let tombstone = put(&env, &storage, &partition, ("gone", None)).await;
        let first = put(&env, &storage, &partition, ("a", Some("1"))).await;
        until(&env, &storage, &partition, &[tombstone, first].into()).await;
        let second = put(&env, &storage, &partition, ("a", Some("2"))).await;
        let third = put(&env, &storage, &partition, ("b", Some("1"))).await;
        until(&env, &storage, &partition, &[tombstone, second, third].into()).await;
        storage.shutdown().await.expect("shuts down");

        let storage = Storage::open(&env, options(&root)).await.expect("opens again");
        let partition = storage.partition(partition.id()).expect("there");
        configure(&storage, &partition, &[("delete.retention.ms", "0")]).await;
        put(&env, &storage, &partition, ("gone too", Some("value"))).await;
        let short = put(&env, &storage, &partition, ("gone too", None)).await;
        let fourth = put(&env, &storage, &partition, ("c", Some("1"))).await;
        let with_both = [tombstone, second, third, short, fourth].into();
        until(&env, &storage, &partition, &with_both).await;
        // The horizon of the first was set when it was cleaned first; that of the other is over.
        let fifth = put(&env, &storage, &partition, ("d", Some("1"))).await;
        let sixth = put(&env, &storage, &partition, ("e", Some("1"))).await;
        let left = [tombstone, second, third, fourth, fifth, sixth].into();
        until(&env, &storage, &partition, &left).await;
        storage.shutdown().await.expect("shuts down");
        is_sound(&env, &root).await;
    });
}

#[test]
fn a_damaged_batch_ends_the_cleaning_and_nothing_else() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root: PathBuf = dir.path().join("data");
        let slow = StorageOptions { cleaner_interval: Duration::from_secs(3600), ..options(&root) };
        let storage = Storage::open(&env, slow).await.expect("opens");
        let partition = compacted(&storage, &[]).await;
        for k in 0..6 {
            put(&env, &storage, &partition, ("key", Some(&format!("value {k}")))).await;
        }
        storage.shutdown().await.expect("shuts down");
        let names = segment_files(&root);
        let path = root.join("topics/keyed/partition-0").join(&names[2]);
        let mut bytes = fs::read(&path).expect("readable");
        bytes[70] ^= 1;
        fs::write(&path, bytes).expect("written");

        let storage = Storage::open(&env, options(&root)).await.expect("opens");
        let partition = storage.partition(partition.id()).expect("there");
        for _ in 0..1000 {
            if storage.stats().compactions_stopped > 0 {
                break;
            }
            env.clock.sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(storage.stats().compactions_stopped, 1, "it is said once");
        assert_eq!(segment_files(&root), names, "no file is touched");
        for from in [0, 1, 3, 4, 5] {
            let request =
                ReadRequest { from: Offset(from), bytes_max: 1, at_least_one: true, cold: true };
            let answer = storage.read(&partition, request).await.expect("readable");
            assert_eq!(batches(&answer.data).next().expect("a batch").0.base_offset, Offset(from));
        }
        put(&env, &storage, &partition, ("key", Some("more"))).await;
        // Once the damage lies before the log, the rest is cleaned.
        storage.move_log_start(&partition, Offset(3)).await.expect("moved");
        for _ in 0..1000 {
            if storage.stats().compactions > 0 {
                break;
            }
            env.clock.sleep(Duration::from_millis(10)).await;
        }
        assert!(storage.stats().compactions > 0, "the rest is cleaned");
        storage.shutdown().await.expect("shuts down");
    });
}

/// A directory whose log was compacted behind its last checkpoint, as a kill leaves it: five
/// values of one key, of which the last two are left, each in a segment.
async fn compacted_since_the_checkpoint(env: &Env, folder: &Path) -> PathBuf {
    let (work, left) = (folder.join("work"), folder.join("left"));
    let never = Duration::from_secs(3600);
    let idle = StorageOptions { cleaner_interval: never, ..options(&work) };
    let storage = Storage::open(env, idle).await.expect("opens");
    let partition = compacted(&storage, &[]).await;
    for k in 0..5 {
        put(env, &storage, &partition, ("key", Some(&format!("value {k}")))).await;
    }
    storage.shutdown().await.expect("shuts down");
    let unchecked = StorageOptions { checkpoint_interval: never, ..options(&work) };
    let storage = Storage::open(env, unchecked).await.expect("opens again");
    let partition = storage.partition(partition.id()).expect("there");
    until(env, &storage, &partition, &[3, 4].into()).await;
    copy(&work, &left);
    storage.shutdown().await.expect("shuts down");
    left
}

#[test]
fn what_was_compacted_stays_when_the_disk_lost_the_new_segment() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = compacted_since_the_checkpoint(&env, dir.path()).await;
        let names = segment_files(&root);
        let cleaned: Vec<_> = names.iter().filter(|name| name.matches('.').count() == 2).collect();
        let [cleaned] = cleaned[..] else { panic!("{names:?}") };
        let path = root.join("topics/keyed/partition-0").join(cleaned);
        let file = fs::OpenOptions::new().write(true).open(path).expect("there");
        file.set_len(10).expect("cut");
        let never = Duration::from_secs(3600);
        let idle = StorageOptions { cleaner_interval: never, ..options(&root) };
        let storage = Storage::open(&env, idle).await.expect("opens");
        let topic = storage.image().topic("keyed").expect("there").id;
        let id = rivven_core::ids::PartitionId { topic, index: 0 };
        let partition = storage.partition(id).expect("there");
        let found = read(&storage, &partition, Offset(0)).await;
        assert!(found.keys().eq(&[0, 1, 2, 3, 4]), "{found:?}");
        storage.shutdown().await.expect("shuts down");

        let storage = Storage::open(&env, options(&root)).await.expect("opens again");
        let partition = storage.partition(id).expect("there");
        until(&env, &storage, &partition, &[3, 4].into()).await;
        put(&env, &storage, &partition, ("key", Some("next"))).await;
        storage.shutdown().await.expect("shuts down");
        is_sound(&env, &root).await;
    });
}

#[test]
fn nobody_misses_a_segment_that_was_compacted_in_time() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = compacted_since_the_checkpoint(&env, dir.path()).await;
        let first = root.join("topics/keyed/partition-0").join("00000000000000000000.log");
        fs::remove_file(first).expect("it was there");
        let storage = Storage::open(&env, options(&root)).await.expect("opens");
        let topic = storage.image().topic("keyed").expect("there").id;
        let id = rivven_core::ids::PartitionId { topic, index: 0 };
        let partition = storage.partition(id).expect("there");
        put(&env, &storage, &partition, ("key", Some("next"))).await;
        storage.shutdown().await.expect("shuts down");
        is_sound(&env, &root).await;
    });
}
