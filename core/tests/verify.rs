//! Offline verification: a directory that Storage made is clean, and each kind of damage is found
//! where it is.
#![expect(clippy::disallowed_methods, reason = "the files are made and damaged by the test")]

#[path = "support/copied.rs"]
mod copied;
#[path = "support/data_directory.rs"]
mod data_directory;
#[path = "support/plain_records.rs"]
mod plain_records;
#[path = "support/real_world.rs"]
mod real_world;
#[path = "support/storage_fixture.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use copied::copy;
use data_directory::{make, options};
use plain_records::{append, read_all};
use real_world::run;
use rivven_core::ids::PartitionId;
use rivven_core::storage::Storage;
use rivven_core::storage::error::{AppendError, OpenError};
use rivven_core::storage::options::StorageOptions;
use rivven_core::storage::verify::{Severity, VerifyError, VerifyReport, verify};
use rivven_io::Env;
use support::create_topic;

async fn look(env: &Env, root: &Path) -> VerifyReport {
    verify(env, root, &mut |_| {}).await.expect("it can be verified")
}

fn partition(root: &Path) -> PathBuf {
    root.join("topics/orders/partition-0")
}

/// Files of the partition that end with `ending`, in order.
fn files(root: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(partition(root)).expect("listable");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("listable").path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    paths
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("writable");
}

fn cut(path: &Path, len: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("writable");
    file.set_len(len).expect("cut");
}

/// First byte of the payload of the last WAL commit but one, which the last one calls synced.
fn synced_commit(root: &Path) -> (PathBuf, usize) {
    let commits = commits(root);
    let (_, path, at) = commits[commits.len() - 2].clone();
    (path, at + 64)
}

/// LSN, file and position of each commit of the ring, in order.
fn commits(root: &Path) -> Vec<(u64, PathBuf, usize)> {
    let mut commits = Vec::new();
    for slot in 0..4 {
        let path = root.join(format!("wal/{slot:020}.wal"));
        let bytes = fs::read(&path).expect("readable");
        for at in (0..bytes.len()).step_by(4096).filter(|at| bytes[*at..].starts_with(b"RVCM")) {
            let lsn = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().expect("8 bytes"));
            commits.push((lsn, path.clone(), at));
        }
    }
    commits.sort();
    commits
}

/// What a start left whose power went while it wrote the newest commit in its place again.
#[test]
fn a_commit_that_is_damaged_while_it_is_written_again_is_not_lost() {
    run(|env| async move {
        let folder = tempfile::tempdir().expect("a folder");
        let (made, cut, whole) =
            (folder.path().join("made"), folder.path().join("cut"), folder.path().join("whole"));
        make(&env, &made).await;
        let (newest, at) = newest_commit(&made);
        let newest = newest.strip_prefix(&made).expect("below it").to_owned();
        copy(&made, &whole);
        let before = Storage::open(&env, options(&whole)).await.expect("opens");
        copy(&whole, &cut);
        let bytes = fs::read(cut.join(&newest)).expect("readable");
        assert_eq!(&bytes[at..at + 4], b"RVCM", "the start left the commit where it was");
        flip(&cut.join(&newest), at + 64);
        let report = look(&env, &cut).await;
        assert!(report.ok && report.findings.is_empty(), "{report:?}");
        let after = Storage::open(&env, options(&cut)).await.expect("opens");
        let topics = before.image();
        for topic in topics.topics() {
            for index in 0..topic.partitions {
                let id = PartitionId { topic: topic.id, index };
                let (old, new) = (before.partition(id), after.partition(id));
                let (old, new) = (old.expect("there before"), new.expect("there after"));
                assert_eq!(read_all(&before, &old).await, read_all(&after, &new).await);
            }
        }
        before.shutdown().await.expect("shuts down");
        after.shutdown().await.expect("shuts down");
    });
}

/// The WAL may hold so much that the writer copies some of it before replay has ended.
#[test]
fn a_lost_segment_is_missed_although_the_wal_goes_on_in_it() {
    run(|env| async move {
        let folder = tempfile::tempdir().expect("a folder");
        let (made, lost) = (folder.path().join("made"), folder.path().join("lost"));
        let roomy = |root: &Path| StorageOptions {
            wal_file_bytes: 1 << 20,
            tail_bytes_max: 256 << 10,
            ..options(root)
        };
        let storage = Storage::open(&env, roomy(&made)).await.expect("opens");
        let partition = create_topic(&storage, "holed", 1).await;
        let filler = "x".repeat(10_000);
        append(&storage, &partition, &filler).await.expect("appended");
        storage.shutdown().await.expect("shuts down");

        let storage = Storage::open(&env, roomy(&made)).await.expect("opens");
        let partition = storage.partition(partition.id()).expect("there");
        for _ in 0..40 {
            append(&storage, &partition, &filler).await.expect("appended");
        }
        copy(&made, &lost);
        storage.shutdown().await.expect("shuts down");

        let segment = "topics/holed/partition-0/00000000000000000000.log";
        fs::remove_file(lost.join(segment)).expect("it was there");
        let storage = Storage::open(&env, roomy(&lost)).await.expect("others are served");
        assert!(lost.join(segment).exists(), "the writer went on");
        let partition = storage.partition(partition.id()).expect("there");
        let refused = append(&storage, &partition, "more").await;
        assert!(matches!(refused, Err(AppendError::Quarantined(_))), "{refused:?}");
        storage.shutdown().await.expect("shuts down");

        let report = look(&env, &lost).await;
        let marks = report.findings.iter().filter(|finding| finding.path.ends_with("/damaged"));
        assert_eq!(marks.count(), 1, "{report:?}");
        let storage = Storage::open(&env, roomy(&lost)).await.expect("opens again");
        let partition = storage.partition(partition.id()).expect("there");
        let refused = append(&storage, &partition, "more").await;
        assert!(matches!(refused, Err(AppendError::Quarantined(_))), "it was forgotten");
        storage.shutdown().await.expect("shuts down");
    });
}

/// File and position of the WAL's newest commit.
fn newest_commit(root: &Path) -> (PathBuf, usize) {
    let (_, path, at) = commits(root).pop().expect("it has commits");
    (path, at)
}

type Damage = fn(&Path);

/// Name, how to do it, then what must be found: severity, where, and what.
const DAMAGES: [(&str, Damage, Severity, &str, &str); 17] = [
    (
        "a flipped byte in a batch",
        |root| flip(&files(root, ".log")[0], 100),
        Severity::Error,
        "partition-0/00000000000000000000.log",
        "checksum does not match; the next whole batch is at position",
    ),
    (
        "a flipped base offset",
        |root| flip(&files(root, ".log")[0], 7),
        Severity::Error,
        "partition-0/00000000000000000000.log",
        "says offset 1 where 0 must stand",
    ),
    (
        "a flipped epoch",
        |root| flip(&files(root, ".log")[0], 15),
        Severity::Error,
        ".log",
        "has epoch 1",
    ),
    (
        "a length that leads nowhere",
        |root| flip(&files(root, ".log")[0], 9),
        Severity::Error,
        ".log",
        "the next whole batch is at position",
    ),
    (
        "a cut segment",
        |root| cut(&files(root, ".log")[1], 700),
        Severity::Error,
        ".log",
        "it has 700 bytes, the checkpoint counts",
    ),
    (
        "a missing segment",
        |root| fs::remove_file(&files(root, ".log")[1]).expect("removed"),
        Severity::Error,
        ".log",
        "it is missing, with",
    ),
    (
        "bytes behind a closed segment",
        |root| cut(&files(root, ".log")[0], 1 << 20),
        Severity::Warning,
        ".log",
        "bytes follow the batches of this closed segment",
    ),
    (
        "a flipped byte in the synced WAL",
        |root| {
            let (path, at) = synced_commit(root);
            flip(&path, at);
        },
        Severity::Error,
        "wal/",
        "says that it was synced",
    ),
    (
        "a missing WAL file",
        |root| fs::remove_file(root.join("wal/00000000000000000001.wal")).expect("removed"),
        Severity::Error,
        "wal/",
        "it is not file 1 of the ring",
    ),
    (
        "both checkpoints damaged",
        |root| {
            flip(&root.join("checkpoint.a"), 70);
            flip(&root.join("checkpoint.b"), 70);
        },
        Severity::Error,
        "checkpoint.a",
        "it is damaged, and so is the other one",
    ),
    (
        "a damaged offset index",
        |root| flip(&files(root, ".idx")[0], 33),
        Severity::Warning,
        ".idx",
        "is damaged; readers rebuild it",
    ),
    (
        "a damaged time index",
        |root| flip(&files(root, ".timeindex")[0], 33),
        Severity::Warning,
        ".idx",
        "is damaged; readers rebuild it",
    ),
    (
        "a folder of another topic",
        |root| flip(&partition(root).join("partition.id"), 0),
        Severity::Error,
        "partition-0/partition.id",
        "it is missing or damaged",
    ),
    (
        "a stranger's file",
        |root| fs::write(root.join("notes.txt"), "x").expect("written"),
        Severity::Warning,
        "notes.txt",
        "it is none of the broker's",
    ),
    (
        "a segment that the log does not have",
        |root| {
            let path = partition(root).join("00000000000000009999.log");
            fs::write(path, "x").expect("written");
        },
        Severity::Warning,
        "00000000000000009999.log",
        "the log has no such segment",
    ),
    (
        "a partition that the topic does not have",
        |root| fs::create_dir(root.join("topics/orders/partition-3")).expect("made"),
        Severity::Warning,
        "orders/partition-3",
        "the topic has no such partition",
    ),
    (
        "a topic that is no more",
        |root| fs::create_dir(root.join("topics/old")).expect("made"),
        Severity::Note,
        "topics/old",
        "no topic has this name",
    ),
];

#[test]
fn a_killed_brokers_directory_is_clean_and_nothing_in_it_is_changed() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("data");
        let listed = make(&env, &root).await;
        let before = snapshot(&root);
        let mut last = Default::default();
        let report = verify(&env, &root, &mut |progress| last = progress).await;
        let report = report.expect("it can be verified");
        assert!(report.ok && report.findings.is_empty(), "{report:?}");
        assert_eq!(report.records, listed.len() as u64);
        assert_eq!((report.partitions, report.node_id), (9, 1));
        assert!(report.wal.commits >= 8 && report.wal.end_lsn > report.wal.commits, "{report:?}");
        assert!(last.total_bytes > 0 && last.done_bytes == last.total_bytes, "{last:?}");
        assert_eq!(snapshot(&root), before, "verification changes nothing");

        let storage = Storage::open(&env, options(&root)).await.expect("opens");
        let topic = storage.image().topic("orders").expect("it is there").id;
        let orders = storage.partition(PartitionId { topic, index: 0 }).expect("it is there");
        let wanted = listed.iter().filter(|(topic, index, ..)| topic == "orders" && *index == 0);
        assert_eq!(read_all(&storage, &orders).await.len(), wanted.count());
        storage.shutdown().await.expect("shuts down");
        let stopped = look(&env, &root).await;
        assert!(stopped.ok && stopped.findings.is_empty(), "{stopped:?}");
        let counts = |report: &VerifyReport| (report.batches, report.records, report.bytes);
        assert_eq!(counts(&stopped), counts(&report), "the WAL's part is in the segments now");
    });
}

/// Names and contents of everything below a folder.
fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("listable") {
        let path = entry.expect("listable").path();
        if path.is_dir() {
            found.extend(snapshot(&path));
        } else {
            found.push((path.clone(), fs::read(&path).expect("readable")));
        }
    }
    found.sort();
    found
}

#[test]
fn each_kind_of_damage_is_found_and_named() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("data");
        make(&env, &root).await;
        for (number, (name, damage, severity, place, what)) in DAMAGES.iter().enumerate() {
            let damaged = dir.path().join(format!("damaged-{number}"));
            copy(&root, &damaged);
            damage(&damaged);
            let report = look(&env, &damaged).await;
            assert!(
                report.findings.iter().any(|finding| finding.severity == *severity
                    && finding.path.contains(place)
                    && finding.what.contains(what)),
                "{name}: {:#?}",
                report.findings
            );
            assert_eq!(report.ok, *severity != Severity::Error, "{name}: {report:#?}");
        }
    });
}

#[test]
fn one_torn_checkpoint_is_a_warning_while_the_wal_covers_for_it() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("data");
        let listed = make(&env, &root).await;
        for name in ["checkpoint.a", "checkpoint.b"] {
            let torn = dir.path().join(name);
            copy(&root, &torn);
            flip(&torn.join(name), 70);
            let report = look(&env, &torn).await;
            let found = |f: &&_| -> bool {
                let f: &rivven_core::storage::verify::Finding = f;
                f.path == name && f.severity == Severity::Warning
            };
            assert!(report.findings.iter().any(|f| found(&f)), "{name}: {report:#?}");
            assert!(report.ok, "{name}: {report:#?}");
            assert_eq!(report.records, listed.len() as u64, "{name}");
            let other = if name == "checkpoint.a" { "checkpoint.b" } else { "checkpoint.a" };
            std::fs::remove_file(torn.join(other)).expect("it is there");
            let report = look(&env, &torn).await;
            assert!(report.findings.iter().any(|f| found(&f)), "{name} alone: {report:#?}");
        }
    });
}

#[test]
fn the_segments_between_two_damages_are_still_counted() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("data");
        let listed = make(&env, &root).await;
        flip(&files(&root, ".log")[0], 100);
        let report = look(&env, &root).await;
        assert_eq!(report.findings.len(), 1, "{report:#?}");
        assert_eq!(report.records, listed.len() as u64 - 1, "one batch of one record is lost");
        assert_eq!(report.findings[0].offset, Some(0));
        assert_eq!(report.findings[0].position, Some(0));
    });
}

#[test]
fn no_bytes_make_verification_panic() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("data");
        make(&env, &root).await;
        let files: Vec<_> =
            snapshot(&root).into_iter().filter(|(_, bytes)| bytes.len() > 8).collect();
        let mut draw = 1_u64;
        for (path, bytes) in files.iter().cycle().take(20 * files.len()) {
            // Knuth's multiplier; what matters is that the places and bytes differ.
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let fill = [draw.to_le_bytes(), [0x7f, 255, 255, 255, 255, 255, 255, 255]];
            let fill = fill[(draw >> 40) as usize % 2];
            // The WAL is mostly zeros: aim at the fronts of commits and files.
            let front = (draw >> 33) as usize % bytes.len().min(4096 * 8) / 4096 * 4096;
            let at = (front + (draw >> 50) as usize % 128).min(bytes.len() - 8);
            let mut damaged = bytes.clone();
            damaged[at..at + 8].copy_from_slice(&fill);
            fs::write(path, damaged).expect("written");
            let _ = verify(&env, &root, &mut |_| {}).await;
            fs::write(path, bytes).expect("written");
        }
        assert!(look(&env, &root).await.ok, "all bytes are back");
    });
}

#[test]
fn what_is_no_stopped_brokers_directory_is_refused_in_words() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("data");
        let refused = async |root: &Path| verify(&env, root, &mut |_| {}).await.err();
        assert!(matches!(refused(&root).await, Some(VerifyError::Missing(_))));

        let storage = Storage::open(&env, options(&root)).await.expect("opens");
        assert!(matches!(refused(&root).await, Some(VerifyError::Locked(_))));
        storage.shutdown().await.expect("shuts down");
        drop(storage);

        let meta = root.join("meta.json");
        let text = fs::read_to_string(&meta).expect("readable");
        fs::write(&meta, text.replace("\"format\": 2", "\"format\": 3")).expect("written");
        let newer = refused(&root).await;
        assert!(
            matches!(&newer, Some(VerifyError::Refused(OpenError::NewerFormat { found: 3, .. }))),
            "{newer:?}"
        );

        fs::remove_file(&meta).expect("removed");
        let foreign = refused(&root).await;
        assert!(
            matches!(&foreign, Some(VerifyError::Refused(OpenError::Foreign { .. }))),
            "{foreign:?}"
        );
    });
}

#[test]
fn a_directory_in_which_nothing_was_begun_is_clean() {
    run(async |env| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("lock"), "").expect("written");
        let report = look(&env, dir.path()).await;
        assert!(report.ok && report.findings.is_empty(), "{report:?}");
    });
}
