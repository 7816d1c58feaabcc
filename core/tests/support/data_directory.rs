//! Data directories as a killed broker leaves them: made by Storage, copied while it is open.
//!
//! The copy is made when nothing is being written: it is what kill -9 would leave at that moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rivven_core::ids::{PartitionId, ProducerId, TimestampMs};
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::storage::Storage;
use rivven_core::storage::options::StorageOptions;
use rivven_core::storage::partition::Partition;
use rivven_io::Env;

use super::copied::copy;
use super::plain_records::append;
use super::support::{append_batch, create_topic};

/// Every record that a reader must find: topic, partition, offset and value.
pub(crate) type Listed = Vec<(String, u32, i64, String)>;

/// A small WAL; checkpoints come only when the ring asks for them or storage is reopened.
pub(crate) fn options(root: &Path) -> StorageOptions {
    StorageOptions {
        wal_file_bytes: 64 << 10,
        wal_files: 4,
        tail_bytes_max: 1 << 20,
        checkpoint_interval: Duration::from_secs(3600),
        cleaner_interval: Duration::from_millis(10),
        ..StorageOptions::new(root.to_owned(), 1)
    }
}

/// Makes `root` a directory with topics (and a deleted one), rolled segments, a compacted one, an
/// idempotent producer, both checkpoints, and batches that only the WAL holds; what a reader must
/// find.
pub(crate) async fn make(env: &Env, root: &Path) -> Listed {
    let work = root.with_extension("work");
    let mut listed = first_life(env, &work).await;
    middle_life(env, &work, &mut listed).await;
    let storage = Storage::open(env, options(&work)).await.expect("opens again");
    let orders = storage.image().topic("orders").expect("made in the first life").id;
    for index in 0..3 {
        let id = PartitionId { topic: orders, index };
        let partition = storage.partition(id).expect("it has three partitions");
        keyed(&storage, &partition, (&mut listed, "last life")).await;
    }
    let first = storage.partition(PartitionId { topic: orders, index: 0 }).expect("it is there");
    idempotent(&storage, &first, (&mut listed, 6..9)).await;
    let later = create(&storage, "later").await;
    plain(&storage, &later, (&mut listed, "later 0")).await;
    // The checkpointer begins by removing what the life before left; then all tasks are idle.
    while fs::exists(work.join("topics/gone")).expect("known")
        || fs::read_dir(work.join("deleted")).is_ok_and(|mut entries| entries.next().is_some())
    {
        tokio::task::yield_now().await;
    }
    copy(&work, root);
    storage.shutdown().await.expect("shuts down");
    fs::remove_dir_all(&work).expect("the original goes away");
    listed.retain(|(topic, ..)| topic != "gone");
    listed.sort();
    listed
}

/// Ends with a checkpoint, so that its segments are trusted.
async fn first_life(env: &Env, work: &Path) -> Listed {
    let mut listed = Listed::new();
    let storage = Storage::open(env, options(work)).await.expect("opens");
    let orders = create(&storage, "orders").await;
    let gone = create(&storage, "gone").await;
    for round in 0..3 {
        for k in 0..8 {
            let value = format!("order {round} {k} {}", "abcdefghij".repeat(100));
            plain(&storage, &orders, (&mut listed, &value)).await;
        }
        roll(&storage, &orders, (&mut listed, work)).await;
    }
    idempotent(&storage, &orders, (&mut listed, 0..6)).await;
    let second = storage.partition(PartitionId { topic: orders.id().topic, index: 1 });
    let second = second.expect("it has three partitions");
    keyed(&storage, &second, (&mut listed, "first life")).await;
    plain(&storage, &gone, (&mut listed, "never seen again")).await;
    table(env, &storage, &mut listed).await;
    storage.shutdown().await.expect("shuts down");
    listed
}

/// A topic of which the next life compacts all but the last value of each key.
async fn table(env: &Env, storage: &Storage, listed: &mut Listed) {
    let partition = create(storage, "compacted").await;
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1"),
        ("min.cleanable.dirty.ratio", "0"),
        ("file.delete.delay.ms", "0"),
    ];
    let set = configs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let id = partition.id().topic;
    let command = MetadataCommand::SetTopicConfigs { id, set, delete: Vec::new() };
    storage.change_metadata().await.commit(vec![command]).await.expect("set");
    for (round, key) in [(0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a"), (2, "end")] {
        let value = format!("{key} {round}");
        let record = NewRecord::keyed(key.as_bytes(), value.as_bytes());
        let batch = BatchBuilder::new(TimestampMs(1000)).push(record).build();
        let appended = append_batch(storage, &partition, batch).await.expect("appended");
        if [("b", 1), ("a", 2), ("end", 2)].contains(&(key, round)) {
            note(listed, &partition, appended.base_offset.0, &value);
        }
        // Each begins a segment of its own: they are told apart by a millisecond.
        env.clock.sleep(Duration::from_millis(2)).await;
    }
}

/// Compacts a topic, deletes another, and writes the second checkpoint.
async fn middle_life(env: &Env, work: &Path, listed: &mut Listed) {
    let storage = Storage::open(env, options(work)).await.expect("opens");
    let image = storage.image();
    let topic = |name| image.topic(name).expect("made in the first life").id;
    let orders = PartitionId { topic: topic("orders"), index: 0 };
    let orders = storage.partition(orders).expect("it is there");
    plain(&storage, &orders, (listed, "between")).await;
    let command = MetadataCommand::DeleteTopic { id: topic("gone") };
    storage.change_metadata().await.commit(vec![command]).await.expect("deleted");
    while storage.stats().compactions == 0 {
        env.clock.sleep(Duration::from_millis(1)).await;
    }
    storage.shutdown().await.expect("shuts down");
}

/// Appends until a new segment begins.
async fn roll(storage: &Storage, partition: &Arc<Partition>, (listed, work): (&mut Listed, &Path)) {
    let folder = work.join(format!("topics/{}/partition-0", partition.topic()));
    let segments = || {
        let entries = fs::read_dir(&folder).expect("listable");
        let is_log = |name: std::ffi::OsString| name.to_string_lossy().ends_with(".log");
        entries.filter(|entry| is_log(entry.as_ref().expect("listable").file_name())).count()
    };
    let id = partition.id().topic;
    let (set, before) = ([("segment.ms".to_owned(), "1".to_owned())].into(), segments());
    let command = MetadataCommand::SetTopicConfigs { id, set, delete: Vec::new() };
    storage.change_metadata().await.commit(vec![command]).await.expect("set");
    while segments() == before {
        plain(storage, partition, (listed, "rolled")).await;
    }
    let delete = vec!["segment.ms".to_owned()];
    let command = MetadataCommand::SetTopicConfigs { id, set: BTreeMap::new(), delete };
    storage.change_metadata().await.commit(vec![command]).await.expect("set");
}

async fn plain(
    storage: &Storage,
    partition: &Arc<Partition>,
    (listed, value): (&mut Listed, &str),
) {
    let appended = append(storage, partition, value).await.expect("appended");
    note(listed, partition, appended.base_offset.0, value);
}

/// A topic with three partitions whose old records stay: their timestamps are of 1970.
async fn create(storage: &Storage, name: &str) -> Arc<Partition> {
    let partition = create_topic(storage, name, 3).await;
    let id = partition.id().topic;
    let set = [("retention.ms".to_owned(), "-1".to_owned())].into();
    let command = MetadataCommand::SetTopicConfigs { id, set, delete: Vec::new() };
    storage.change_metadata().await.commit(vec![command]).await.expect("set");
    partition
}

async fn keyed(storage: &Storage, partition: &Arc<Partition>, (listed, what): (&mut Listed, &str)) {
    let values: Vec<String> = (0..5).map(|k| format!("{what} {k}")).collect();
    let mut batch = BatchBuilder::new(TimestampMs(1000));
    for value in &values {
        batch = batch.push(NewRecord {
            headers: &[(b"from", Some(b"test"))],
            ..NewRecord::keyed(b"key", value.as_bytes())
        });
    }
    let appended = append_batch(storage, partition, batch.build()).await.expect("appended");
    for (k, value) in values.iter().enumerate() {
        note(listed, partition, appended.base_offset.0 + k as i64, value);
    }
}

/// One batch for each sequence number, by one producer.
async fn idempotent(
    storage: &Storage,
    partition: &Arc<Partition>,
    (listed, sequences): (&mut Listed, std::ops::Range<i32>),
) {
    let producer = match sequences.start {
        0 => storage.allocate_producer_id().await.expect("an id"),
        _ => ProducerId(0),
    };
    assert_eq!(producer, ProducerId(0), "the first id of a directory");
    for sequence in sequences {
        let value = format!("sequence {sequence}");
        let batch = BatchBuilder::new(TimestampMs(1000))
            .producer(producer, 0, sequence)
            .push(NewRecord::value(value.as_bytes()))
            .build();
        let appended = append_batch(storage, partition, batch).await.expect("appended");
        note(listed, partition, appended.base_offset.0, &value);
    }
}

fn note(listed: &mut Listed, partition: &Partition, offset: i64, value: &str) {
    listed.push((partition.topic().to_owned(), partition.id().index, offset, value.to_owned()));
}
