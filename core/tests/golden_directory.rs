//! A data directory of each format opens with this release, and every record is in it.
//!
//! `tests/golden/dir-vN/` is what a killed broker of format N left; `records.txt` beside it lists
//! what must be found. docs/testing.md says how one is written.
#![expect(clippy::disallowed_methods, reason = "the files are made and damaged by the test")]

#[path = "support/copied.rs"]
mod copied;
#[path = "support/data_directory.rs"]
mod data_directory;
#[path = "support/plain_records.rs"]
mod plain_records;
#[path = "support/storage_fixture.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use copied::copy;
use data_directory::{Listed, make, options};
use plain_records::read_all;
use rivven_core::ids::PartitionId;
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::storage::Storage;
use rivven_core::storage::verify::verify;
use rivven_io::Env;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// One line for each record: topic, partition, offset, bytes of the value and their CRC-32C.
fn lines(listed: &Listed) -> String {
    let line = |(topic, partition, offset, value): &(String, u32, i64, String)| {
        let (bytes, crc) = (value.len(), crc32c::crc32c(value.as_bytes()));
        format!("{topic} {partition} {offset} {bytes} {crc:08x}\n")
    };
    listed.iter().map(line).collect()
}

/// Everything that a reader finds.
async fn read(storage: &Storage) -> Listed {
    let mut found = Listed::new();
    for topic in storage.image().topics() {
        for index in 0..topic.partitions {
            let id = PartitionId { topic: topic.id, index };
            let partition = storage.partition(id).expect("every partition is there");
            for (offset, value) in read_all(storage, &partition).await {
                found.push((topic.name.to_string(), index, offset, value));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn golden_directories_open_with_every_record_in_them() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(golden).expect("listable");
    let versions: Vec<_> = entries.map(|entry| entry.expect("listable").path()).collect();
    assert!(!versions.is_empty(), "there is one for format 1 at least");
    for home in versions {
        let version = home.display();
        let wanted = fs::read_to_string(home.join("records.txt")).expect("the list is there");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("data");
        copy(&home.join("data"), &root);
        runtime().block_on(async {
            let env = Env::real();
            let report = verify(&env, &root, &mut |_| {}).await.expect("it can be verified");
            assert!(report.findings.is_empty(), "{version}: {report:#?}");
            assert_eq!(report.records, wanted.lines().count() as u64, "{version}");
            let storage = Storage::open(&env, options(&root)).await.expect("opens");
            assert!(storage.recovered_batches() > 0, "{version}: the WAL was replayed");
            assert_eq!(lines(&read(&storage).await), wanted, "{version}");
            storage.check_all();
            storage.shutdown().await.expect("shuts down");
        });
    }
}

/// First from the WAL of a broker that was killed, then from the checkpoint of one that ended well.
#[test]
fn configurations_of_brokers_survive_a_kill_and_a_checkpoint() {
    use rivven_core::metadata::broker_config::BrokerScope::{Every, One};
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (root, killed) = (dir.path().join("data"), dir.path().join("killed"));
    let (mine, others) = (options(&root).node_id, options(&root).node_id + 1);
    runtime().block_on(async {
        let env = Env::real();
        let storage = Storage::open(&env, options(&root)).await.expect("opens");
        let id = support::create_topic(&storage, "t", 1).await.id();
        let set = |(scope, value): (_, &str)| MetadataCommand::SetBrokerConfigs {
            scope,
            set: [("log.retention.ms".to_owned(), value.to_owned())].into(),
            delete: Vec::new(),
        };
        let wanted = [(Every, "5"), (One(mine), "6"), (One(others), "7")].map(set).to_vec();
        storage.change_metadata().await.commit(wanted).await.expect("durable");
        copy(&root, &killed);
        storage.shutdown().await.expect("shuts down");
        for life in ["killed", "ended well"] {
            let storage = Storage::open(&env, options(&killed)).await.expect("opens");
            assert_eq!(storage.image().broker_overrides().len(), 3, "{life}");
            let partition = storage.partition(id).expect("is there");
            assert_eq!(partition.config().retention_ms, Some(6), "{life}: this node's counts");
            storage.shutdown().await.expect("shuts down");
            let report = verify(&env, &killed, &mut |_| {}).await.expect("it can be verified");
            assert!(report.findings.is_empty(), "{life}: {report:#?}");
        }
    });
}

/// Writes a golden directory when `RIVVEN_WRITE_GOLDEN` names where; else only shows that what it
/// would write is found again.
#[test]
fn what_the_generator_lists_is_what_storage_finds() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let asked = std::env::var_os("RIVVEN_WRITE_GOLDEN").map(PathBuf::from);
    let home = asked.unwrap_or_else(|| dir.path().join("golden"));
    fs::create_dir_all(&home).expect("made");
    runtime().block_on(async {
        let env = Env::real();
        let listed = make(&env, &home.join("data")).await;
        fs::write(home.join("records.txt"), lines(&listed)).expect("written");
        let root = dir.path().join("copy");
        copy(&home.join("data"), &root);
        let storage = Storage::open(&env, options(&root)).await.expect("opens");
        assert_eq!(read(&storage).await, listed);
        storage.shutdown().await.expect("shuts down");
    });
}
