//! Storage on real files: what is appended is read back, also after a restart.

#[path = "support/plain_records.rs"]
mod plain_records;
#[path = "support/real_world.rs"]
mod real_world;
#[path = "support/storage_fixture.rs"]
mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plain_records::{append, read_all};
use real_world::run;
use rivven_core::ids::{Offset, PartitionId, TimestampMs};
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::storage::Storage;
use rivven_core::storage::error::ReadError;
use rivven_core::storage::options::StorageOptions;
use rivven_core::storage::partition::Partition;
use rivven_core::storage::read::ReadRequest;
use support::{append_batch, create_topic};

/// A data directory that goes away with the test.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

/// Small files, so that every path is taken.
fn options(fixture: &Fixture) -> StorageOptions {
    StorageOptions {
        wal_file_bytes: 512 << 10,
        wal_files: 4,
        tail_bytes_max: 1 << 20,
        checkpoint_interval: Duration::from_secs(1),
        ..StorageOptions::new(fixture.path(), 1)
    }
}

#[test]
fn appended_batches_are_read_back_before_and_after_a_restart() {
    run(async |env| {
        let fixture = Fixture::new();
        let storage = Storage::open(&env, options(&fixture)).await.expect("opens");
        let partition = create_topic(&storage, "orders", 1).await;
        let stats = storage.stats();
        assert!(stats.wal_used_bytes <= stats.wal_bytes / 4, "one file of several: {stats:?}");
        for k in 0..100_i64 {
            let appended = append(&storage, &partition, &format!("value {k}")).await;
            assert_eq!(appended.expect("appended").base_offset, Offset(k));
        }
        assert_eq!(read_all(&storage, &partition).await.len(), 100);
        storage.shutdown().await.expect("shuts down");

        let storage = Storage::open(&env, options(&fixture)).await.expect("opens again");
        assert_eq!(storage.recovered_batches(), 0, "a clean stop leaves nothing to replay");
        let partition = storage.partition(partition.id()).expect("the topic is there");
        let values = read_all(&storage, &partition).await;
        assert_eq!(values.len(), 100);
        assert_eq!(values[42], (42, "value 42".to_owned()));
        assert_eq!(
            append(&storage, &partition, "next").await.expect("appended").base_offset,
            Offset(100)
        );
        storage.shutdown().await.expect("shuts down");
    });
}

#[test]
fn many_segments_and_checkpoints_keep_every_record() {
    run(async |env| {
        let fixture = Fixture::new();
        let storage = Storage::open(&env, options(&fixture)).await.expect("opens");
        let partition = create_topic(&storage, "big", 1).await;
        let filler = "x".repeat(20_000);
        for k in 0..300 {
            append(&storage, &partition, &format!("{k} {filler}")).await.expect("appended");
        }
        let values = read_all(&storage, &partition).await;
        assert_eq!(values.len(), 300);
        for (k, (offset, value)) in values.iter().enumerate() {
            assert_eq!(*offset, i64::try_from(k).expect("small"));
            assert!(value.starts_with(&format!("{k} ")));
        }
        let stats = storage.stats();
        assert!(stats.checkpoints > 0, "the small WAL forced checkpoints");
        storage.check_all();
        storage.shutdown().await.expect("shuts down");
    });
}

#[test]
fn reads_outside_the_log_are_refused_with_its_bounds() {
    run(async |env| {
        let fixture = Fixture::new();
        let storage = Storage::open(&env, options(&fixture)).await.expect("opens");
        let partition = create_topic(&storage, "few", 1).await;
        append(&storage, &partition, "one").await.expect("appended");
        let at = |from| ReadRequest {
            from: Offset(from),
            bytes_max: 1000,
            at_least_one: true,
            cold: true,
        };
        assert!(storage.read(&partition, at(1)).await.expect("the end").data.is_empty());
        for from in [-1, 2, i64::MAX] {
            let refused = storage.read(&partition, at(from)).await;
            assert!(matches!(refused, Err(ReadError::OutOfRange { .. })), "{from}: {refused:?}");
        }
        storage.shutdown().await.expect("shuts down");
    });
}

/// Two segments of batches of three records, whose timestamps rise and fall.
async fn with_wild_timestamps(
    storage: &Storage,
    partition: &Arc<Partition>,
) -> Vec<(TimestampMs, Offset)> {
    let filler = vec![b'x'; 2_000];
    let mut all = Vec::new();
    for first in (0..600_i64).step_by(3) {
        let mut batch = BatchBuilder::new(TimestampMs(1000));
        for offset in first..first + 3 {
            let timestamp = TimestampMs(1000 + offset * 7_919 % 1_009);
            batch.append(NewRecord { timestamp: Some(timestamp), ..NewRecord::value(&filler) });
            all.push((timestamp, Offset(offset)));
        }
        let appended = append_batch(storage, partition, batch.build()).await;
        assert_eq!(appended.expect("appended").base_offset, Offset(first));
    }
    all
}

#[test]
fn searches_by_time_find_the_first_of_what_was_not_deleted() {
    run(async |env| {
        let fixture = Fixture::new();
        let storage = Storage::open(&env, options(&fixture)).await.expect("opens");
        let partition = create_topic(&storage, "wild", 1).await;
        let all = with_wild_timestamps(&storage, &partition).await;
        for start in (0..600).step_by(19) {
            let moved = storage.move_log_start(&partition, Offset(start)).await;
            assert_eq!(moved.expect("moved"), Offset(start));
            let left = all.iter().filter(|(_, offset)| offset.0 >= start);
            let largest = left.clone().max_by_key(|(at, offset)| (*at, -offset.0)).copied();
            let found = storage.max_timestamp(&partition).await;
            assert_eq!(found.expect("searched"), largest, "from {start}");
            for at_least in [0, 1_500, 1_990, largest.expect("one is left").0.0 + 1] {
                let first = left.clone().find(|(at, _)| at.0 >= at_least).copied();
                let found = storage.find_timestamp(&partition, TimestampMs(at_least)).await;
                assert_eq!(found.expect("searched"), first, "from {start}, {at_least}");
            }
        }
        storage.move_log_start(&partition, Offset(600)).await.expect("moved");
        assert_eq!(storage.max_timestamp(&partition).await.expect("searched"), None);

        // What is left of the first batch is not the largest, though its header says so.
        for times in [[100, 5_000, 200], [3_000, 10, 20]] {
            let mut batch = BatchBuilder::new(TimestampMs(1));
            for timestamp in times.map(TimestampMs).map(Some) {
                batch.append(NewRecord { timestamp, ..NewRecord::value(b"v") });
            }
            append_batch(&storage, &partition, batch.build()).await.expect("appended");
        }
        for (start, largest) in [(601, (5_000, 601)), (602, (3_000, 603)), (604, (20, 605))] {
            storage.move_log_start(&partition, Offset(start)).await.expect("moved");
            let found = storage.max_timestamp(&partition).await.expect("searched");
            assert_eq!(found, Some((TimestampMs(largest.0), Offset(largest.1))), "from {start}");
        }
        storage.move_log_start(&partition, Offset(606)).await.expect("moved");
        assert_eq!(storage.max_timestamp(&partition).await.expect("searched"), None);
        storage.shutdown().await.expect("shuts down");
    });
}

#[test]
fn a_read_gives_what_fits_and_one_batch_if_it_must() {
    run(async |env| {
        let fixture = Fixture::new();
        let storage = Storage::open(&env, options(&fixture)).await.expect("opens");
        let partition = create_topic(&storage, "read", 1).await;
        for k in 0..10 {
            append(&storage, &partition, &format!("value {k}")).await.expect("appended");
        }
        let id = partition.id();
        let read = async |storage: &Storage, bytes_max, at_least_one| {
            let partition = storage.partition(id).expect("it is there");
            let from = Offset::ZERO;
            let request = ReadRequest { from, bytes_max, at_least_one, cold: true };
            let data = storage.read(&partition, request).await.expect("readable").data;
            data.iter().map(|bytes| bytes.len()).sum::<usize>()
        };
        let one = read(&storage, 1, true).await;
        let cases = [
            (1, false, 0),
            (1, true, 1),
            (one, false, 1),
            (2 * one + 1, false, 2),
            (2 * one + 1, true, 2),
            (10 * one - 1, true, 9),
            (1 << 20, true, 10),
        ];
        for (bytes_max, at_least_one, batches) in cases {
            let found = read(&storage, bytes_max, at_least_one).await;
            assert_eq!(found, batches * one, "from memory, at most {bytes_max}");
        }
        storage.shutdown().await.expect("shuts down");
        let storage = Storage::open(&env, options(&fixture)).await.expect("opens again");
        for (bytes_max, at_least_one, batches) in cases {
            let found = read(&storage, bytes_max, at_least_one).await;
            assert_eq!(found, batches * one, "from the disk, at most {bytes_max}");
        }
        storage.shutdown().await.expect("shuts down");
    });
}

/// The largest timestamp of the first of two segments was deleted, and what is left there is less
/// than what the second one has.
#[test]
fn the_largest_timestamp_is_not_in_the_segment_that_had_the_largest_one() {
    run(async |env| {
        let fixture = Fixture::new();
        let storage = Storage::open(&env, options(&fixture)).await.expect("opens");
        let partition = create_topic(&storage, "deleted", 1).await;
        let filler = vec![b'x'; 220_000];
        for times in [[5_000, 10], [20, 30], [200, 100]] {
            let mut batch = BatchBuilder::new(TimestampMs(1));
            for timestamp in times.map(TimestampMs).map(Some) {
                batch.append(NewRecord { timestamp, ..NewRecord::value(&filler) });
            }
            append_batch(&storage, &partition, batch.build()).await.expect("appended");
        }
        for (start, largest) in [(0, (5_000, 0)), (1, (200, 4)), (4, (200, 4)), (5, (100, 5))] {
            storage.move_log_start(&partition, Offset(start)).await.expect("moved");
            let found = storage.max_timestamp(&partition).await.expect("searched");
            assert_eq!(found, Some((TimestampMs(largest.0), Offset(largest.1))), "from {start}");
        }
        storage.shutdown().await.expect("shuts down");
    });
}

#[cfg(unix)]
#[test]
fn a_link_among_the_topics_is_removed_and_not_followed() {
    run(async |env| {
        let fixture = Fixture::new();
        let storage = Storage::open(&env, options(&fixture)).await.expect("opens");
        let partition = create_topic(&storage, "orders", 1).await;
        append(&storage, &partition, "value").await.expect("appended");
        storage.shutdown().await.expect("shuts down");
        let elsewhere = fixture.dir.path().join("elsewhere");
        env.disk.create_dir_all(&elsewhere.join("below")).await.expect("made");
        let link = fixture.path().join("topics/backup");
        std::os::unix::fs::symlink(&elsewhere, &link).expect("linked");

        let storage = Storage::open(&env, options(&fixture)).await.expect("opens again");
        let deleted = fixture.path().join("deleted");
        let mut is_gone = false;
        for _ in 0..500 {
            let is_there = env.disk.file_len(&link).await.expect("looked").is_some();
            let is_empty = env.disk.read_dir(&deleted).await.is_ok_and(|all| all.is_empty());
            is_gone = !is_there && is_empty;
            if is_gone {
                break;
            }
            env.clock.sleep(Duration::from_millis(10)).await;
        }
        assert!(is_gone, "what is no topic goes");
        let left = env.disk.file_len(&elsewhere.join("below")).await.expect("looked");
        assert!(left.is_some(), "what it leads to stays");
        storage.shutdown().await.expect("shuts down");
    });
}

/// What stands in a folder that is not the partition's own is evidence, and nobody's to remove.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test looks at files and damages one")]
fn files_in_a_folder_with_another_id_stay() {
    run(async |env| {
        let fixture = Fixture::new();
        let storage = Storage::open(&env, options(&fixture)).await.expect("opens");
        let topic = create_topic(&storage, "orders", 3).await.id().topic;
        for index in 0..3 {
            let partition = storage.partition(PartitionId { topic, index }).expect("it is there");
            for _ in 0..500 {
                append(&storage, &partition, &"v".repeat(3000)).await.expect("appended");
            }
        }
        storage.shutdown().await.expect("shuts down");
        let folder = |index: u32| fixture.path().join(format!("topics/orders/partition-{index}"));
        let id = folder(1).join("partition.id");
        let own = std::fs::read_to_string(&id).expect("read");
        std::fs::write(&id, own.replace('6', "7")).expect("written");
        let strays = [0, 1, 2].map(|index| folder(index).join("00000000000000000007.log"));
        for stray in &strays {
            std::fs::write(stray, "a stray").expect("written");
        }

        let storage = Storage::open(&env, options(&fixture)).await.expect("opens again");
        for _ in 0..500 {
            if !strays[0].exists() && !strays[2].exists() {
                break;
            }
            env.clock.sleep(Duration::from_millis(10)).await;
        }
        storage.shutdown().await.expect("shuts down");
        assert_eq!(strays.map(|stray| stray.exists()), [false, true, false]);
    });
}
