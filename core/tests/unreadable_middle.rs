//! A page in the middle of a segment that cannot be read: what stands around it is given, and no
//! search by time passes over it in silence, neither now nor when the error has passed.
#![cfg(feature = "sim")]

#[path = "support/storage_fixture.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rivven_core::ids::{Offset, PartitionId, TimestampMs};
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::storage::Storage;
use rivven_core::storage::error::ReadError;
use rivven_core::storage::options::StorageOptions;
use rivven_core::storage::partition::Partition;
use rivven_core::storage::read::{ReadRequest, batches};
use rivven_io::Env;
use rivven_io::sim::{SimNode, World};
use support::{append_batch, create_topic};

const DATA_DIR: &str = "/data";
const RECORDS: i64 = 60;
/// Where the record with the largest timestamp stands.
const LATEST: i64 = 25;
const LATEST_MS: i64 = 900_000;

async fn open(env: &Env) -> Storage {
    let options = StorageOptions {
        wal_file_bytes: 128 << 10,
        wal_files: 4,
        tail_bytes_max: 128 << 10,
        ..StorageOptions::new(PathBuf::from(DATA_DIR), 1)
    };
    Storage::open(env, options).await.expect("opens")
}

fn the_partition(storage: &Storage) -> Arc<Partition> {
    let topic = storage.image().topic("t").expect("created").id;
    storage.partition(PartitionId { topic, index: 0 }).expect("it is there")
}

fn timestamp_of(k: i64) -> i64 {
    if k == LATEST { LATEST_MS } else { 1000 + k }
}

/// Records whose timestamps rise, but for one, in one segment.
async fn fill(env: Env) {
    let storage = open(&env).await;
    let partition = create_topic(&storage, "t", 1).await;
    for k in 0..RECORDS {
        let value = format!("{k} {}", "v".repeat(600));
        let record = NewRecord::value(value.as_bytes());
        let batch = BatchBuilder::new(TimestampMs(timestamp_of(k))).push(record).build();
        append_batch(&storage, &partition, batch).await.expect("appended");
    }
    storage.shutdown().await.expect("shuts down");
}

/// Base offset of the batch that is read at `offset`.
async fn read_at(storage: &Storage, partition: &Arc<Partition>, offset: i64) -> Option<i64> {
    let from = Offset(offset);
    let request = ReadRequest { from, bytes_max: 0, at_least_one: true, cold: true };
    match storage.read(partition, request).await {
        Ok(answer) => {
            let (header, _) = batches(&answer.data).next().expect("something stands there");
            Some(header.base_offset.0)
        }
        Err(ReadError::Io { .. }) => None,
        Err(error) => panic!("offset {offset}: {error}"),
    }
}

/// Offset of the record that a search by time finds; without a time, of the largest one.
async fn search(
    storage: &Storage,
    partition: &Arc<Partition>,
    at_least: Option<i64>,
) -> Result<i64, String> {
    let found = match at_least {
        Some(at_least) => storage.find_timestamp(partition, TimestampMs(at_least)).await,
        None => storage.max_timestamp(partition).await,
    };
    match found {
        Ok(found) => Ok(found.expect("there is one").1.0),
        Err(ReadError::Io { reason, .. }) => Err(reason),
        Err(error) => panic!("{error}"),
    }
}

/// The segment, and a position in the page that holds the record of the largest timestamp.
fn place_of_latest(node: &SimNode) -> (PathBuf, u64) {
    let mut files = node.disk().durable_files().into_iter();
    let segment = PathBuf::from(files.find(|file| file.ends_with(".log")).expect("a segment"));
    let content = node.disk().durable(&segment).expect("it is kept");
    let wanted = format!("{LATEST} vvv");
    let at = content.windows(wanted.len()).position(|bytes| bytes == wanted.as_bytes());
    (segment, at.expect("the record is there") as u64)
}

#[test]
fn no_search_by_time_passes_over_a_page_in_silence() {
    for is_closed in [false, true] {
        let world = World::new(1);
        world.run(async {
            let node = world.node(1);
            node.spawn(fill(node.env())).await.expect("no panic");
            node.power_cut();
            node.restart();
            if is_closed {
                close_without_index(&node).await;
            }
            let (segment, position) = place_of_latest(&node);
            assert!(node.disk().spoil(&segment, position), "the page is there");
            let env = node.env();
            let (disk, path) = (node.disk(), segment.clone());
            node.spawn(async move {
                let storage = open(&env).await;
                let partition = the_partition(&storage);
                // Builds the index anew, around the page.
                assert_eq!(read_at(&storage, &partition, RECORDS - 1).await, Some(RECORDS - 1));
                assert_eq!(read_at(&storage, &partition, LATEST).await, None);
                for _ in 0..2 {
                    assert_eq!(search(&storage, &partition, Some(1005)).await, Ok(5));
                    for wanted in [Some(1050), Some(LATEST_MS), None] {
                        let found = search(&storage, &partition, wanted).await;
                        assert!(found.is_err(), "{wanted:?}: {found:?}");
                    }
                }
                assert!(disk.mend(Path::new(&path), position), "nobody wrote there");
                for k in 0..RECORDS {
                    assert_eq!(read_at(&storage, &partition, k).await, Some(k));
                }
                for wanted in [Some(1050), Some(LATEST_MS), None] {
                    assert_eq!(search(&storage, &partition, wanted).await, Ok(LATEST));
                }
            })
            .await
            .expect("no panic");
        });
    }
}

/// Has the segment closed by its age, and its index lost.
async fn close_without_index(node: &SimNode) {
    let env = node.env();
    node.spawn(async move {
        let storage = open(&env).await;
        let partition = the_partition(&storage);
        let batch = BatchBuilder::new(TimestampMs(2000)).push(NewRecord::value(b"x")).build();
        let weeks = std::time::Duration::from_secs(8 * 24 * 3600);
        env.clock.sleep(weeks).await;
        append_batch(&storage, &partition, batch).await.expect("appended");
        storage.shutdown().await.expect("shuts down");
    })
    .await
    .expect("no panic");
    let files = node.disk().durable_files();
    assert_eq!(files.iter().filter(|file| file.ends_with(".log")).count(), 2, "{files:?}");
    assert!(!files.iter().any(|file| file.ends_with(".idx")), "an index: {files:?}");
    node.power_cut();
    node.restart();
}
