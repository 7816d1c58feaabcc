//! Tests of the simulated disk: what is durable, and that each fault does what it says.

mod drive;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::disk::{Create, File, OpenOptions};
use crate::sim::disk::{AfterSyncError, CrashModel, DiskFaults, EntryModel};
use crate::sim::{SimNode, World};

const PATH: &str = "/data/file";
const SEEDS: u64 = 60;

/// A node with `/data/file`, whose names are durable, opened for writing.
async fn node_with_file(world: &World) -> (SimNode, File) {
    let node = world.node(1);
    let disk = node.env().disk;
    disk.create_dir_all(Path::new("/data")).await.unwrap();
    disk.sync_dir(Path::new("/")).await.unwrap();
    let file = disk.open(Path::new(PATH), OpenOptions::write(Create::New)).await.unwrap();
    disk.sync_dir(Path::new("/data")).await.unwrap();
    (node, file)
}

async fn write(file: &File, position: u64, data: Vec<u8>) {
    file.write_all_at(position, vec![Bytes::from(data)]).await.unwrap();
}

fn only(kept: u32, dropped: u32, replaced: u32, torn: u32) -> CrashModel {
    CrashModel { kept, dropped, replaced, torn, ..CrashModel::default() }
}

fn crash_with(node: &SimNode, crash: CrashModel) {
    node.disk().set_faults(DiskFaults { crash, ..DiskFaults::default() });
    node.power_cut();
}

/// The four pages of the file after a power cut: synced as 1s, overwritten with 2s, then with 3s.
fn pages_after(seed: u64, crash: CrashModel) -> (Vec<u8>, BTreeMap<&'static str, u64>) {
    let world = World::new(seed);
    world.run(async {
        let (node, file) = node_with_file(&world).await;
        write(&file, 0, vec![1; 4 * 4096]).await;
        file.sync_data().await.unwrap();
        for page in 0..4 {
            write(&file, page * 4096, vec![2; 4096]).await;
            write(&file, page * 4096, vec![3; 4096]).await;
        }
        crash_with(&node, crash);
        (node.disk().content(Path::new(PATH)).unwrap(), node.disk().fault_counts())
    })
}

#[test]
fn each_outcome_of_a_power_cut_leaves_what_its_name_says() {
    type Check = fn(&[u8]) -> bool;
    let sector_wise = |page: &[u8]| {
        page.chunks(512).all(|s| s.iter().all(|b| *b == s[0] && (*b == 1 || *b == 3)))
    };
    let cases: [(&str, CrashModel, Check, Option<&str>); 4] = [
        ("kept", only(1, 0, 0, 0), |page| page.iter().all(|byte| *byte == 3), None),
        ("dropped", only(0, 1, 0, 0), |page| page.iter().all(|byte| *byte == 1), Some("D1")),
        ("replaced", only(0, 0, 1, 0), |page| *page != [1; 4096] && *page != [3; 4096], Some("D1")),
        ("torn", only(0, 0, 0, 1), sector_wise, Some("D2")),
    ];
    for (name, model, check, fault) in cases {
        for seed in 0..8 {
            let (content, counts) = pages_after(seed, model);
            assert!(content.chunks(4096).all(check), "{name}, seed {seed}");
            match fault {
                Some(fault) => assert!(counts.contains_key(fault), "{name}: {counts:?}"),
                None => assert!(counts.is_empty(), "{name}: {counts:?}"),
            }
        }
    }
}

#[test]
fn a_later_write_survives_an_earlier_one_in_some_seeds_and_is_counted() {
    let reordered =
        (0..SEEDS).filter(|seed| pages_after(*seed, only(1, 1, 0, 0)).1.contains_key("D4")).count();
    assert!(reordered > SEEDS as usize / 3, "{reordered}");
}

#[test]
fn no_byte_changes_that_was_not_written_since_the_sync_unless_pages_are_shorn() {
    for (shorn_pages, may_change) in [(false, false), (true, true)] {
        let mut changed = 0;
        for seed in 0..SEEDS {
            let world = World::new(seed);
            world.run(async {
                let (node, file) = node_with_file(&world).await;
                write(&file, 0, vec![1; 1000]).await;
                file.sync_data().await.unwrap();
                write(&file, 1000, vec![2; 1000]).await;
                crash_with(&node, CrashModel { shorn_pages, ..CrashModel::default() });
                let content = node.disk().content(Path::new(PATH)).unwrap();
                assert!((1000..=2000).contains(&content.len()), "{}", content.len());
                changed += usize::from(content[..1000] != [1; 1000]);
            });
        }
        assert_eq!(changed > 0, may_change, "shorn {shorn_pages}");
    }
}

#[test]
fn a_lost_end_is_gone_for_every_reader_and_counts_once() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = node_with_file(&world).await;
        write(&file, 0, vec![1; 5000]).await;
        file.sync_data().await.unwrap();
        write(&file, 5000, vec![2; 1000]).await;
        for (len, lost) in [(6000, 0), (4500, 500), (4500, 0)] {
            assert_eq!(node.disk().lose_end(Path::new(PATH), len), lost);
        }
        assert_eq!(node.disk().content(Path::new(PATH)), Some(vec![1; 4500]));
        assert_eq!(node.disk().durable(Path::new(PATH)), Some(vec![1; 4500]));
        assert_eq!(node.disk().fault_counts().get("D5"), Some(&1));
    });
}

#[test]
fn length_lags_leads_or_lies_between_and_a_lost_truncation_restores_the_bytes() {
    let mut lengths = BTreeSet::new();
    for seed in 0..SEEDS {
        let world = World::new(seed);
        let content = world.run(async {
            let (node, file) = node_with_file(&world).await;
            write(&file, 0, vec![1; 10_000]).await;
            file.sync_data().await.unwrap();
            file.set_len(100).await.unwrap();
            crash_with(&node, only(1, 0, 0, 0));
            node.disk().content(Path::new(PATH)).unwrap()
        });
        assert_eq!(content, vec![1; content.len()], "seed {seed}");
        lengths.insert(content.len());
    }
    assert_eq!((lengths.first(), lengths.last()), (Some(&100), Some(&10_000)));
    assert!(lengths.len() > 3, "{lengths:?}");
}

#[test]
fn a_synced_byte_survives_whatever_follows_until_it_is_overwritten() {
    for seed in 0..SEEDS {
        let world = World::new(seed);
        world.run(async {
            let (node, file) = node_with_file(&world).await;
            let mut synced = Vec::new();
            for round in 0..20_u8 {
                let piece = vec![round; 700];
                write(&file, synced.len() as u64, piece.clone()).await;
                file.sync_data().await.unwrap();
                synced.extend(piece);
            }
            write(&file, synced.len() as u64, vec![99; 9000]).await;
            node.power_cut();
            let content = node.disk().durable(Path::new(PATH)).unwrap();
            assert_eq!(content[..synced.len()], synced, "seed {seed}");
        });
    }
}

#[test]
fn a_write_during_a_sync_is_not_covered_by_it() {
    let world = World::new(3);
    world.run(async {
        let (node, file) = node_with_file(&world).await;
        write(&file, 0, vec![1; 100]).await;
        let mut sync = std::pin::pin!(file.sync_data());
        let begun = std::future::poll_fn(|cx| Poll::Ready(sync.as_mut().poll(cx))).await;
        assert!(begun.is_pending(), "a sync takes time");
        file.write_all_at(0, vec![Bytes::from(vec![2; 100])]).await.unwrap();
        sync.await.unwrap();
        assert_eq!(node.disk().durable(Path::new(PATH)).unwrap(), vec![1; 100]);
        crash_with(&node, only(0, 1, 0, 0));
        assert_eq!(node.disk().content(Path::new(PATH)).unwrap(), vec![1; 100]);
    });
}

/// Which of the names a, b, c are there after a power cut: a was created, b renamed to c.
fn names_after(seed: u64, entries: EntryModel) -> Vec<String> {
    let world = World::new(seed);
    world.run(async {
        let node = world.node(1);
        let disk = node.env().disk;
        for name in ["/a", "/b"] {
            drop(disk.open(Path::new(name), OpenOptions::write(Create::New)).await.unwrap());
            if name == "/b" {
                disk.rename(Path::new("/b"), Path::new("/c")).await.unwrap();
            }
        }
        crash_with(&node, CrashModel { entries, ..CrashModel::default() });
        node.disk().files()
    })
}

#[test]
fn unsynced_names_are_kept_or_undone_by_the_model_of_the_journal() {
    let seen = |model| (0..SEEDS).map(|seed| names_after(seed, model)).collect::<BTreeSet<_>>();
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let prefixes = [names(&[]), names(&["/a"]), names(&["/a", "/b"]), names(&["/a", "/c"])];
    assert_eq!(seen(EntryModel::OrderedJournal), prefixes.iter().cloned().collect());
    let independent = seen(EntryModel::Independent);
    for names in prefixes.into_iter().chain([names(&["/c"])]) {
        assert!(independent.contains(&names), "{names:?} of {independent:?}");
    }
}

#[test]
fn a_removed_file_comes_back_with_its_synced_content_when_the_removal_is_undone() {
    let back = (0..SEEDS).filter(|seed| {
        let world = World::new(*seed);
        world.run(async {
            let (node, file) = node_with_file(&world).await;
            write(&file, 0, vec![1; 5000]).await;
            file.sync_data().await.unwrap();
            drop(file);
            node.env().disk.remove_file(Path::new(PATH)).await.unwrap();
            assert!(node.disk().files().is_empty());
            node.power_cut();
            let content = node.disk().content(Path::new(PATH));
            assert!(content.as_ref().is_none_or(|content| *content == vec![1; 5000]));
            assert_eq!(content.is_some(), node.disk().fault_counts().contains_key("D3"));
            content.is_some()
        })
    });
    assert!((10..50).contains(&back.count()));
}

#[test]
fn a_failed_sync_drops_the_dirty_pages_and_the_next_one_does_not_cover_them() {
    for after_sync_error in [AfterSyncError::KeepsCache, AfterSyncError::Reverts] {
        let world = World::new(5);
        world.run(async {
            let (node, file) = node_with_file(&world).await;
            write(&file, 0, vec![1; 100]).await;
            file.sync_data().await.unwrap();
            write(&file, 0, vec![2; 100]).await;
            node.disk().set_faults(DiskFaults { after_sync_error, ..DiskFaults::default() });
            node.disk().fail_next_sync("file");
            assert!(file.sync_data().await.is_err());
            file.sync_data().await.unwrap();
            let expected = if after_sync_error == AfterSyncError::Reverts { 1 } else { 2 };
            assert_eq!(&file.read_full_at(0, 100).await.unwrap()[..], [expected; 100]);
            node.power_cut();
            assert_eq!(node.disk().content(Path::new(PATH)).unwrap(), vec![1; 100]);
            assert_eq!(node.disk().fault_counts()["D10"], 1);
        });
    }
}

#[test]
fn a_failed_sync_of_a_directory_is_not_made_good_by_the_next() {
    let world = World::new(5);
    world.run(async {
        let (node, _file) = node_with_file(&world).await;
        let disk = node.env().disk;
        drop(disk.open(Path::new("/data/new"), OpenOptions::write(Create::New)).await.unwrap());
        node.disk().fail_next_sync("/data");
        assert!(disk.sync_dir(Path::new("/data")).await.is_err());
        disk.sync_dir(Path::new("/data")).await.unwrap();
        assert_eq!(node.disk().files(), [PATH, "/data/new"]);
        assert_eq!(node.disk().durable_files(), [PATH]);
    });
}

#[test]
fn a_full_disk_takes_what_fits_then_refuses_and_keeps_what_was_reserved() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = node_with_file(&world).await;
        let capacity_bytes = Some(5 * 4096);
        node.disk().set_faults(DiskFaults { capacity_bytes, ..DiskFaults::default() });
        file.allocate(2 * 4096).await.unwrap();
        assert_eq!(file.allocate(6 * 4096).await.unwrap_err().kind(), ErrorKind::StorageFull);
        let other = node.env().disk;
        let other =
            other.open(Path::new("/data/other"), OpenOptions::write(Create::New)).await.unwrap();
        let error = other.write_all_at(0, vec![Bytes::from(vec![7; 20_000])]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(other.len().await.unwrap(), 3 * 4096);
        assert_eq!(node.env().disk.space(Path::new("/data")).await.unwrap().available_bytes, 0);
        write(&file, 0, vec![1; 2 * 4096]).await;
        assert!(node.disk().fault_counts()["D11"] >= 2);
        drop(other);
        node.env().disk.remove_file(Path::new("/data/other")).await.unwrap();
        write(&file, 2 * 4096, vec![1; 3 * 4096]).await;
        assert_eq!(node.disk().used_bytes(), 5 * 4096);
    });
}

#[test]
fn faults_of_reads_and_writes_strike_only_the_paths_that_are_named() {
    let of = |change: fn(&mut DiskFaults)| {
        let mut faults =
            DiskFaults { only_paths_with: Some("file".into()), ..DiskFaults::default() };
        change(&mut faults);
        faults
    };
    // Whether a write of 8 bytes, and a read of them, is whole (8), short (1 to 7) or an error.
    let cases: [(&str, DiskFaults, bool, bool); 4] = [
        ("read error", of(|faults| faults.read_error = 1.0), true, false),
        ("write error", of(|faults| faults.write_error = 1.0), false, true),
        ("short read", of(|faults| faults.short_read = 1.0), true, false),
        ("short write", of(|faults| faults.short_write = 1.0), false, true),
    ];
    for (name, faults, writes_whole, reads_whole) in cases {
        let world = World::new(2);
        world.run(async {
            let (node, file) = node_with_file(&world).await;
            let disk = node.env().disk;
            let spared = disk.open(Path::new("/data/x"), OpenOptions::write(Create::New)).await;
            let spared = spared.unwrap();
            write(&file, 0, vec![1; 8]).await;
            node.disk().set_faults(faults);
            for (file, struck) in [(&file, true), (&spared, false)] {
                let written = file.write_all_at(0, vec![Bytes::from(vec![1; 8])]).await.is_ok();
                let read = file.read_at(0, 8, BytesMut::new()).await.map_or(0, |read| read.len());
                let short = name.starts_with("short");
                assert_eq!(written, !struck || writes_whole || short, "{name}");
                assert_eq!(read == 8, !struck || reads_whole, "{name}");
                assert!(read > 0 || !short, "{name}");
            }
            assert!(node.disk().fault_counts()["D12"] > 0, "{name}");
        });
    }
}

#[test]
fn rot_is_stable_and_counts_only_durable_bytes() {
    let world = World::new(4);
    world.run(async {
        let (node, file) = node_with_file(&world).await;
        write(&file, 0, vec![1; 5000]).await;
        assert_eq!(node.disk().rot(Path::new(PATH), 0, 10), 0, "nothing is durable yet");
        file.sync_data().await.unwrap();
        assert_eq!(node.disk().rot(Path::new(PATH), 4090, 20), 20);
        assert_eq!(node.disk().rot(Path::new(PATH), 4999, 20), 1);
        let read = file.read_full_at(0, 5000).await.unwrap();
        assert_eq!(read, file.read_full_at(0, 5000).await.unwrap());
        let wrong = read.iter().filter(|byte| **byte != 1).count();
        assert_eq!(wrong, 21);
        node.power_cut();
        assert_eq!(node.disk().content(Path::new(PATH)).unwrap(), read.to_vec());
    });
}

#[test]
fn a_stall_holds_every_operation_of_the_disk() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = node_with_file(&world).await;
        let before = world.now();
        node.disk().stall_for(Duration::from_secs(20));
        file.len().await.unwrap();
        assert!(world.now() - before >= Duration::from_secs(20));
        assert_eq!(node.disk().fault_counts()["D13"], 1);
    });
}

#[test]
fn a_disk_that_becomes_slower_counts_when_an_operation_meets_it() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = node_with_file(&world).await;
        for (percent, operations, expected) in [
            (2000, 0, None),
            (100, 5, None),
            (2000, 5, Some(&1)),
            (100, 5, Some(&1)),
            (300, 1, Some(&2)),
        ] {
            node.disk()
                .set_faults(DiskFaults { latency_percent: percent, ..DiskFaults::default() });
            for _ in 0..operations {
                file.len().await.unwrap();
            }
            let counts = node.disk().fault_counts();
            assert_eq!(counts.get("D13"), expected, "{percent} {operations}");
        }
    });
}

#[test]
fn direct_files_refuse_what_is_not_aligned_and_are_not_durable_before_a_sync() {
    let world = World::new(1);
    world.run(async {
        let (node, _file) = node_with_file(&world).await;
        let options = OpenOptions { direct: true, ..OpenOptions::write(Create::IfMissing) };
        let file = node.env().disk.open(Path::new(PATH), options).await.unwrap();
        for (position, len) in [(1, 4096), (0, 4095), (4096, 100)] {
            let data = vec![Bytes::from(vec![1; len])];
            let error = file.write_all_at(position, data).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{position} {len}");
            assert!(file.read_full_at(position, len).await.is_err());
        }
        write(&file, 0, vec![1; 4096]).await;
        crash_with(&node, only(0, 1, 0, 0));
        let content = node.disk().content(Path::new(PATH)).unwrap();
        assert_eq!(content, vec![0; content.len()]);
    });
}

#[test]
fn a_process_kill_keeps_what_was_written_and_ends_locks() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = node_with_file(&world).await;
        write(&file, 0, vec![1; 100]).await;
        let _lock = node.env().disk.lock(Path::new("/data/lock")).await.unwrap();
        let again = node.env().disk.lock(Path::new("/data/lock")).await;
        assert_eq!(again.err().unwrap().kind(), ErrorKind::WouldBlock);
        node.kill();
        node.restart();
        let _new = node.env().disk.lock(Path::new("/data/lock")).await.unwrap();
        drop(_lock);
        let stolen = node.env().disk.lock(Path::new("/data/lock")).await;
        assert!(stolen.is_err(), "a dead incarnation's lock must not free the new one's");
        let content = node.env().read_file(Path::new(PATH), 1000).await.unwrap().unwrap();
        assert_eq!(&content[..], [1; 100]);
    });
}

#[test]
fn every_handle_of_a_dead_incarnation_is_refused_and_changes_nothing() {
    for power in [false, true] {
        let world = World::new(1);
        world.run(async {
            let (node, file) = node_with_file(&world).await;
            write(&file, 0, vec![1; 10]).await;
            file.sync_data().await.unwrap();
            let old = node.env();
            if power {
                node.power_cut()
            } else {
                node.kill()
            }
            node.restart();
            let path = Path::new("/data/late");
            assert!(file.write_all_at(0, vec![Bytes::from_static(b"late")]).await.is_err());
            assert!(file.sync_data().await.is_err());
            assert!(file.set_len(0).await.is_err());
            assert!(file.try_read_cached(0, 10, &mut BytesMut::new()).is_err());
            assert!(old.disk.open(path, OpenOptions::write(Create::New)).await.is_err());
            assert!(old.disk.remove_file(Path::new(PATH)).await.is_err());
            assert!(old.disk.rename(Path::new(PATH), path).await.is_err());
            assert_eq!(node.disk().content(Path::new(PATH)).unwrap(), vec![1; 10]);
            assert_eq!(node.disk().files(), [PATH]);
            drop(file);
            assert_eq!(node.resources(), crate::sim::Resources::default());
        });
    }
}

#[test]
fn files_maps_and_their_bytes_are_counted_while_they_live() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = node_with_file(&world).await;
        write(&file, 0, vec![1; 5000]).await;
        let map = file.map(4500).await.unwrap();
        assert_eq!((node.resources().files, node.resources().mapped_bytes), (1, 4500));
        assert!(file.map(5001).await.is_err());
        drop((map, file));
        assert_eq!(node.resources(), crate::sim::Resources::default());
    });
}

#[test]
fn room_of_a_removed_file_is_free_once_its_last_handle_is_closed() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = node_with_file(&world).await;
        write(&file, 0, vec![1; 8192]).await;
        assert_eq!(node.disk().used_bytes(), 8192);
        node.env().disk.remove_file(Path::new(PATH)).await.unwrap();
        assert_eq!(node.disk().used_bytes(), 8192);
        write(&file, 8192, vec![1; 1]).await;
        assert_eq!(node.disk().used_bytes(), 12_288);
        drop(file);
        assert_eq!(node.disk().used_bytes(), 0);
    });
}
