//! Storage on simulated disks: power cuts and kills at any moment lose nothing acknowledged.
#![cfg(feature = "sim")]

#[path = "support/plain_records.rs"]
mod plain_records;
#[path = "support/storage_fixture.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plain_records::{append, read_all};
use rivven_core::ids::PartitionId;
use rivven_core::storage::Storage;
use rivven_core::storage::options::StorageOptions;
use rivven_core::storage::verify::{VerifyError, verify};
use rivven_io::Env;
use rivven_io::sim::World;
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
        ..StorageOptions::new(PathBuf::from("/data"), 1)
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

async fn check(
    storage: &Storage,
    partition: &Arc<rivven_core::storage::partition::Partition>,
    acked: &Acked,
    index: u32,
) {
    let found: BTreeMap<i64, String> = read_all(storage, partition).await.into_iter().collect();
    assert_eq!(found.len() as i64, partition.positions().log_end.0, "offsets are dense");
    for ((_, offset), value) in acked.lock().expect("unpoisoned").range((index, 0)..(index + 1, 0))
    {
        assert_eq!(found.get(offset), Some(value), "partition {index} offset {offset}");
    }
}

/// What a crash left behind is whole, as `rivven log verify` sees it.
async fn is_whole(env: Env) {
    match verify(&env, &sim_options().data_dir, &mut |_| {}).await {
        Ok(report) => assert!(report.ok, "{:?}", report.findings),
        Err(VerifyError::Missing(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_power_cuts_and_kills() {
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let first = std::env::var("SIM_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut total = 0;
    for seed in first..first + seeds {
        eprintln!("seed {seed}");
        let world = World::new(seed);
        let acked = Acked::default();
        world.run(async {
            let node = world.node(1);
            let mut faults = node.disk().faults();
            faults.crash.shorn_pages = true;
            node.disk().set_faults(faults);
            for round in 0..8 {
                node.spawn_main({
                    let (env, acked) = (node.env(), acked.clone());
                    async move {
                        live(env, acked, round).await;
                        0
                    }
                });
                let span =
                    Duration::from_millis(20 + (seed * 7919 + u64::from(round) * 104_729) % 900);
                world.sleep(span).await;
                if let Some(panic) = world.take_panics().first() {
                    panic!("seed {seed} round {round}: {panic:?}");
                }
                if (seed + u64::from(round)) % 3 == 0 {
                    node.kill()
                } else {
                    node.power_cut()
                }
                node.restart();
                let verified = node.spawn(is_whole(node.env()));
                verified.await.unwrap_or_else(|_| panic!("seed {seed} round {round}: damage"));
            }
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
