//! Compaction on simulated disks: whatever moment a broker is cut off at, the last value of each
//! key stays at its offset, and nothing else takes its place.
#![cfg(feature = "sim")]

#[path = "support/crash_storm.rs"]
mod crash_storm;
#[path = "support/storage_fixture.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crash_storm::{DATA_DIR, live_and_die, seeds};
use rivven_core::ids::{Offset, PartitionId, TimestampMs};
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::record::header::HEADER_BYTES;
use rivven_core::record::records::Records;
use rivven_core::storage::Storage;
use rivven_core::storage::options::StorageOptions;
use rivven_core::storage::partition::Partition;
use rivven_core::storage::read::{ReadRequest, batches};
use rivven_io::Env;
use rivven_io::sim::World;
use support::{append_batch, create_topic};

const PARTITIONS: u32 = 2;
const KEYS: u64 = 30;

/// Key and value by offset; no value is a tombstone.
type Log = BTreeMap<i64, (String, Option<String>)>;
/// What is known to have stood in each partition.
type Known = Arc<Mutex<BTreeMap<u32, Log>>>;

fn options() -> StorageOptions {
    StorageOptions {
        wal_file_bytes: 128 << 10,
        wal_files: 4,
        tail_bytes_max: 128 << 10,
        checkpoint_interval: Duration::from_millis(50),
        cleaner_interval: Duration::from_millis(20),
        // Room for some of the keys only.
        cleaner_map_bytes: 600,
        ..StorageOptions::new(PathBuf::from(DATA_DIR), 1)
    }
}

/// Tombstones stay: every life sees those of the one before.
async fn topic(storage: &Storage) -> rivven_core::ids::TopicId {
    if let Some(topic) = storage.image().topic("keyed") {
        return topic.id;
    }
    let id = create_topic(storage, "keyed", PARTITIONS).await.id().topic;
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "20"),
        ("min.cleanable.dirty.ratio", "0.2"),
        ("file.delete.delay.ms", "0"),
    ];
    let set = configs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let command = MetadataCommand::SetTopicConfigs { id, set, delete: Vec::new() };
    storage.change_metadata().await.commit(vec![command]).await.expect("set");
    id
}

/// One life of the broker: opens, checks what stood there, appends until it is cut off.
async fn live(env: Env, known: Known, round: u32) {
    let storage = Storage::open(&env, options()).await.expect("opens after every crash");
    let topic = topic(&storage).await;
    let mut writers = Vec::new();
    for index in 0..PARTITIONS {
        let partition = storage.partition(PartitionId { topic, index }).expect("exists");
        check(&storage, &partition, &known).await;
        env.tasks.spawn("searcher", search(env.clone(), storage.clone(), partition.clone()));
        let (storage, known, env) = (storage.clone(), known.clone(), env.clone());
        writers.push(env.clone().tasks.spawn("appender", async move {
            for k in 0_u64.. {
                let key = format!("key {}", env.rng.u64() % KEYS);
                let value = (env.rng.u64() % 8 > 0).then(|| format!("{round} {index} {k}"));
                let record = NewRecord {
                    key: Some(key.as_bytes()),
                    value: value.as_ref().map(|value| value.as_bytes()),
                    ..NewRecord::default()
                };
                let timestamp = timestamp_at(partition.positions().log_end);
                let batch = BatchBuilder::new(timestamp).push(record).build();
                let Ok(appended) = append_batch(&storage, &partition, batch).await else { return };
                let mut known = known.lock().expect("unpoisoned");
                known.entry(index).or_default().insert(appended.base_offset.0, (key, value));
            }
        }));
    }
    for writer in writers {
        writer.await.expect("appenders do not panic");
    }
}

/// They fall, so that the largest is in what the cleaner changes.
fn timestamp_at(offset: Offset) -> TimestampMs {
    TimestampMs(1_000_000 - offset.0)
}

/// As long as there are records, one of them has the largest timestamp, whatever the cleaner does.
async fn search(env: Env, storage: Storage, partition: Arc<Partition>) {
    loop {
        let is_empty = partition.positions().high_watermark == Offset::ZERO;
        let Ok(found) = storage.max_timestamp(&partition).await else { return };
        assert!(is_empty || found.is_some(), "no record has the largest timestamp");
        if let Some((timestamp, offset)) = found {
            assert_eq!(timestamp, timestamp_at(offset));
        }
        env.clock.sleep(Duration::from_micros(300)).await;
    }
}

async fn read(storage: &Storage, partition: &Arc<Partition>) -> Log {
    let mut log = Log::new();
    let mut from = Offset(0);
    loop {
        let request = ReadRequest { from, bytes_max: 4000, at_least_one: true, cold: true };
        let answer = storage.read(partition, request).await.expect("readable");
        if answer.data.is_empty() {
            assert_eq!(from, answer.positions.high_watermark, "the end is never compacted");
            return log;
        }
        for (header, batch) in batches(&answer.data) {
            assert!(header.base_offset >= from, "offsets rise");
            from = header.last_offset().plus(1);
            for record in Records::new(&header, &batch[HEADER_BYTES..]) {
                let record = record.expect("a sound record");
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                let offset = header.base_offset.0 + i64::from(record.offset_delta);
                log.insert(offset, (text(record.key.expect("a key")), record.value.map(text)));
            }
        }
    }
}

async fn check(storage: &Storage, partition: &Arc<Partition>, known: &Known) {
    let found = read(storage, partition).await;
    let mut known = known.lock().expect("unpoisoned");
    let known = known.entry(partition.id().index).or_default();
    for (offset, entry) in &found {
        let was = known.entry(*offset).or_insert_with(|| entry.clone());
        assert_eq!(entry, was, "offset {offset}");
    }
    let last: BTreeMap<&str, i64> =
        known.iter().map(|(offset, (key, _))| (key.as_str(), *offset)).collect();
    for (key, offset) in last {
        assert!(found.contains_key(&offset), "the last of {key}, at {offset}, is gone");
    }
}

#[test]
fn the_last_value_of_each_key_survives_power_cuts_and_kills() {
    let mut total = 0;
    for seed in seeds(15) {
        eprintln!("seed {seed}");
        let world = World::new(seed);
        let known = Known::default();
        world.run(async {
            let node = world.node(1);
            let life = |env, round| live(env, known.clone(), round);
            live_and_die((&world, &node), (seed, 50), life).await;
        });
        total += known.lock().expect("unpoisoned").values().map(BTreeMap::len).sum::<usize>();
    }
    assert!(total > 1000, "only {total} records were seen");
    let hits = rivven_io::probe::hits();
    eprintln!("{total} records; probes {hits:?}");
    for probe in ["log_compacted", "offset_map_full", "stray_segments_removed"] {
        assert!(hits.contains_key(probe), "no {probe}");
    }
}
