//! Storage on simulated disks: power cuts and kills at any moment lose nothing acknowledged.
#![cfg(feature = "sim")]

#[path = "support/crash_storm.rs"]
mod crash_storm;
#[path = "support/plain_records.rs"]
mod plain_records;
#[path = "support/storage_fixture.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crash_storm::{DATA_DIR, live_and_die, seeds};
use plain_records::{append, read_all};
use rivven_core::ids::{PartitionId, TimestampMs, TopicId};
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::storage::Storage;
use rivven_core::storage::options::StorageOptions;
use rivven_core::storage::partition::Partition;
use rivven_core::storage::read::{ReadRequest, batches};
use rivven_io::Env;
use rivven_io::disk::{Create, OpenOptions};
use rivven_io::sim::disk::DiskFaults;
use rivven_io::sim::{SimNode, World};
use support::create_topic;

const PARTITIONS: u32 = 4;

/// Acknowledged values per partition and offset.
type Acked = Arc<Mutex<BTreeMap<(u32, i64), String>>>;

fn sim_options() -> StorageOptions {
    StorageOptions {
        wal_file_bytes: 128 << 10,
        wal_files: 4,
        tail_bytes_max: 128 << 10,
        checkpoint_interval: Duration::from_millis(300),
        ..StorageOptions::new(PathBuf::from(DATA_DIR), 1)
    }
}

/// One life of the broker: opens, checks what was acknowledged, appends until it is cut off.
async fn live(env: Env, acked: Acked, round: u32) {
    let storage = Storage::open(&env, sim_options()).await.expect("opens after every crash");
    let image = storage.image();
    let topic = match image.topic("t") {
        Some(topic) => topic.id,
        None => create_topic(&storage, "t", PARTITIONS).await.id().topic,
    };
    for index in 0..PARTITIONS {
        let partition = storage.partition(PartitionId { topic, index }).expect("exists");
        check(&storage, &partition, &acked, index).await;
    }
    let mut writers = Vec::new();
    for index in 0..PARTITIONS {
        let partition = storage.partition(PartitionId { topic, index }).expect("exists");
        let (storage, acked) = (storage.clone(), acked.clone());
        writers.push(env.tasks.spawn("appender", async move {
            for k in 0_u32.. {
                let fill = "f".repeat((k as usize * 37 + index as usize * 911) % 3000);
                let value = format!("{round} {index} {k} {fill}");
                let Ok(appended) = append(&storage, &partition, &value).await else { return };
                acked.lock().expect("unpoisoned").insert((index, appended.base_offset.0), value);
            }
        }));
    }
    for writer in writers {
        writer.await.expect("appenders do not panic");
    }
}

async fn check(storage: &Storage, partition: &Arc<Partition>, acked: &Acked, index: u32) {
    let found: BTreeMap<i64, String> = read_all(storage, partition).await.into_iter().collect();
    assert_eq!(found.len() as i64, partition.positions().log_end.0, "offsets are dense");
    for ((_, offset), value) in acked.lock().expect("unpoisoned").range((index, 0)..(index + 1, 0))
    {
        assert_eq!(found.get(offset), Some(value), "partition {index} offset {offset}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_power_cuts_and_kills() {
    let mut total = 0;
    for seed in seeds(25) {
        eprintln!("seed {seed}");
        let world = World::new(seed);
        let acked = Acked::default();
        world.run(async {
            let node = world.node(1);
            let mut faults = node.disk().faults();
            faults.crash.shorn_pages = true;
            node.disk().set_faults(faults);
            let life = |env, round| live(env, acked.clone(), round);
            live_and_die((&world, &node), (seed, 20), life).await;
            let last = node.spawn({
                let (env, acked) = (node.env(), acked.clone());
                async move {
                    let storage = Storage::open(&env, sim_options()).await.expect("opens");
                    if let Some(topic) = storage.image().topic("t").map(|topic| topic.id) {
                        for index in 0..PARTITIONS {
                            let partition =
                                storage.partition(PartitionId { topic, index }).expect("exists");
                            check(&storage, &partition, &acked, index).await;
                        }
                    }
                }
            });
            last.await.expect("the last check does not panic");
        });
        total += acked.lock().expect("unpoisoned").len();
    }
    assert!(total > 1000, "only {total} appends were acknowledged");
    eprintln!("{total} acknowledged appends; probes {:?}", rivven_io::probe::hits());
}

async fn create(storage: Storage, name: String) {
    let mut change = storage.change_metadata().await;
    assert!(change.image().topic(&name).is_none(), "{name} is new to its planner");
    let command = MetadataCommand::CreateTopic {
        id: TopicId::from_random([u8::try_from(name.len()).expect("short"); 16]),
        name,
        partitions: 1,
        configs: BTreeMap::new(),
        created_ms: TimestampMs(0),
    };
    change.commit(vec![command]).await.expect("topic is created");
}

/// Cut off before, while and after the commit is written and synced.
#[test]
fn a_change_whose_planner_goes_is_applied_before_the_next_is_planned() {
    let world = World::new(0);
    let cut_off = world.run(async {
        let node = world.node(1);
        let env = node.env();
        let test = node.spawn(async move {
            let storage = Storage::open(&env, sim_options()).await.expect("opens");
            let mut cut_off = 0;
            for round in 1..60 {
                let name = "t".repeat(round);
                let patience = Duration::from_micros(round as u64 * 20 - 20);
                tokio::select! {
                    biased;
                    () = create(storage.clone(), name.clone()) => {}
                    () = env.clock.sleep(patience) => cut_off += 1,
                }
                let next = storage.change_metadata().await;
                assert!(next.image().topic(&name).is_some(), "{patience:?} cut {name} off");
            }
            storage.shutdown().await.expect("shuts down");
            let storage = Storage::open(&env, sim_options()).await.expect("opens again");
            assert_eq!(storage.image().topics().len(), 59);
            cut_off
        });
        test.await.expect("neither planner nor committer panics")
    });
    assert!((10..50).contains(&cut_off), "{cut_off} were cut off: not at every moment");
}

/// How long a consumer who reads everything from the disk gave way in all, beside a producer who
/// never stops, or beside nobody.
fn gave_way(beside_producer: bool) -> Duration {
    let world = World::new(0);
    world.run(async {
        let node = world.node(1);
        let fill = async |env: Env| {
            let storage = Storage::open(&env, sim_options()).await.expect("opens");
            let behind = create_topic(&storage, "behind", 1).await;
            for _ in 0..400 {
                append(&storage, &behind, &"v".repeat(3000)).await.expect("appended");
            }
        };
        node.spawn(fill(node.env())).await.expect("it does not panic");
        // What stood in memory is gone.
        node.power_cut();
        node.restart();
        let faults = node.disk().faults();
        node.disk().set_faults(DiskFaults { latency_percent: 2000, ..faults });
        let reading = node.spawn(read_behind(node.env(), beside_producer));
        reading.await.expect("it does not panic")
    })
}

async fn read_behind(env: Env, beside_producer: bool) -> Duration {
    let storage = Storage::open(&env, sim_options()).await.expect("opens");
    let topic = storage.image().topic("behind").expect("it was made").id;
    let behind = storage.partition(PartitionId { topic, index: 0 }).expect("exists");
    let busy = create_topic(&storage, "busy", 1).await;
    let producer = env.tasks.spawn("producer", {
        let storage = storage.clone();
        async move { while beside_producer && append(&storage, &busy, "v").await.is_ok() {} }
    });
    env.clock.sleep(Duration::from_millis(100)).await;
    let mut from = behind.positions().log_start;
    while behind.is_behind_tail(from) {
        storage.give_way().await;
        let request = ReadRequest { from, bytes_max: 64 << 10, at_least_one: true, cold: true };
        let answer = storage.read(&behind, request).await.expect("readable");
        let (last, _) = batches(&answer.data).last().expect("there is more");
        from = last.last_offset().plus(1);
    }
    producer.abort();
    assert!(from.0 > 300, "most was read from segments, not {from}");
    storage.stats().reads_waited
}

#[test]
fn consumers_who_read_from_the_disk_give_way_to_commits_and_to_nobody_else() {
    let waited = gave_way(true);
    assert!(waited > Duration::from_millis(1), "{waited:?}");
    assert_eq!(gave_way(false), Duration::ZERO);
}

/// Shutdown begins before, while and after the last appends are written and synced: it ends, and
/// what was acknowledged is there.
#[test]
fn a_shutdown_ends_whatever_is_under_way() {
    for round in 0..80 {
        let world = World::new(round);
        world.run(async {
            let node = world.node(1);
            let env = node.env();
            let test = node.spawn(async move {
                let storage = Storage::open(&env, sim_options()).await.expect("opens");
                let partition = create_topic(&storage, "t", 1).await;
                let acked = Arc::new(Mutex::new(0));
                for _ in 0..8 {
                    let (storage, partition) = (storage.clone(), partition.clone());
                    let acked = acked.clone();
                    drop(env.tasks.spawn("appender", async move {
                        while append(&storage, &partition, &"v".repeat(3000)).await.is_ok() {
                            *acked.lock().expect("unpoisoned") += 1;
                        }
                    }));
                }
                env.clock.sleep(Duration::from_micros(20_000 + round * 37)).await;
                let ended = env.clock.timeout(Duration::from_secs(60), storage.shutdown()).await;
                ended.expect("it ends").expect("without a failure");
                let acked = *acked.lock().expect("unpoisoned");
                let storage = Storage::open(&env, sim_options()).await.expect("opens again");
                let partition = storage.partition(partition.id()).expect("it is there");
                assert!(partition.positions().log_end.0 >= acked && acked > 8, "of {acked}");
            });
            test.await.unwrap_or_else(|end| panic!("round {round}: {end:?}"));
        });
    }
}

/// What fills a segment in a few steps.
const BULK_BYTES: usize = 300 << 10;

/// Lives in which nothing is copied or counted before it has to be.
async fn idle(env: &Env) -> Storage {
    let options = StorageOptions {
        wal_file_bytes: 4 << 20,
        checkpoint_interval: Duration::from_secs(3600),
        retention_interval: Duration::from_secs(3600),
        ..sim_options()
    };
    Storage::open(env, options).await.expect("opens")
}

/// The segments of a topic that a checkpoint counts the first batch of.
async fn counted(node: &SimNode) {
    let env = node.env();
    let life = node.spawn(async move {
        let storage = idle(&env).await;
        let partition = create_topic(&storage, "t", 1).await;
        append(&storage, &partition, "v").await.expect("appended");
        storage.shutdown().await.expect("shuts down");
    });
    life.await.expect("it does not panic");
}

fn segments(node: &SimNode) -> Vec<PathBuf> {
    let files = node.disk().files().into_iter();
    files.filter(|path| path.ends_with(".log")).map(PathBuf::from).collect()
}

fn the_partition(storage: &Storage) -> Arc<Partition> {
    let topic = storage.image().topic("t").expect("created").id;
    storage.partition(PartitionId { topic, index: 0 }).expect("it is there")
}

#[test]
fn damage_takes_no_more_batches_although_there_is_no_room_for_its_mark() {
    let world = World::new(0);
    world.run(async {
        let node = world.node(1);
        counted(&node).await;
        assert!(node.disk().lose_end(&segments(&node)[0], 0) > 0);
        let env = node.env();
        let life = node.spawn(async move {
            let storage = idle(&env).await;
            append(&storage, &the_partition(&storage), "v").await.is_err()
        });
        let exists = |ending| node.disk().files().iter().any(|path| path.ends_with(ending));
        let clock = node.env().clock;
        // The last page is taken by someone else just as the mark is about to be written.
        while !exists("/damaged.new") {
            clock.sleep(Duration::from_nanos(100)).await;
        }
        let (capacity_bytes, faults) = (Some(node.disk().used_bytes()), node.disk().faults());
        node.disk().set_faults(DiskFaults { capacity_bytes, ..faults });
        assert!(life.await.expect("it starts"), "it is out of service");
        assert!(!exists("/damaged"));
    });
}

#[test]
fn a_segment_that_no_checkpoint_counts_is_made_anew() {
    const JUNK: &[u8] = b"of an earlier life";
    let world = World::new(0);
    world.run(async {
        let node = world.node(1);
        counted(&node).await;
        let env = node.env();
        let life = node.spawn(async move {
            let storage = idle(&env).await;
            let partition = the_partition(&storage);
            for _ in 0..6 {
                append(&storage, &partition, &"v".repeat(BULK_BYTES)).await.expect("appended");
            }
            env.clock.sleep(Duration::from_secs(1)).await;
        });
        life.await.expect("it does not panic");
        let begun = segments(&node).pop().expect("a second segment");
        assert_eq!(segments(&node).len(), 2);
        let file = node.env().disk.open(&begun, OpenOptions::write(Create::Never)).await;
        let file = file.expect("it is there");
        file.write_all_at(1_000_000, vec![JUNK.into()]).await.expect("written");
        node.kill();
        node.restart();
        let env = node.env();
        let life = node.spawn(async move {
            let storage = idle(&env).await;
            let found = read_all(&storage, &the_partition(&storage)).await;
            assert_eq!(found.last().expect("the newest is kept").0, 6);
            storage.shutdown().await.expect("shuts down");
        });
        life.await.expect("it does not panic");
        let content = node.disk().content(&begun).expect("it is made anew");
        assert!(!content.windows(JUNK.len()).any(|bytes| bytes == JUNK));
    });
}
