//! What a drive does that errs or lies.

use super::*;

/// Four synced pages, each full of its number.
async fn four_pages(world: &World) -> (SimNode, File) {
    let (node, file) = node_with_file(world).await;
    for page in 0..4_u8 {
        write(&file, u64::from(page) * 4096, vec![page; 4096]).await;
    }
    file.sync_data().await.unwrap();
    (node, file)
}

fn pages_of(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.chunks(4096).all(|page| page.iter().all(|byte| *byte == page[0])), "whole pages");
    bytes.chunks(4096).map(|page| page[0]).collect()
}

#[test]
fn a_spoiled_page_cannot_be_read_until_it_is_written() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = four_pages(&world).await;
        assert!(!node.disk().spoil(Path::new(PATH), 4 * 4096), "there is no such page");
        assert!(node.disk().spoil(Path::new(PATH), 5000));
        assert_eq!(node.disk().fault_counts().get("D6"), None, "nobody has met it");
        for _ in 0..2 {
            assert!(file.read_full_at(4096, 4096).await.is_err());
            assert!(file.read_full_at(4000, 200).await.is_err());
            assert_eq!(pages_of(&file.read_full_at(8192, 8192).await.unwrap()), [2, 3]);
        }
        assert_eq!(node.disk().fault_counts()["D6"], 4);
        write(&file, 4096, vec![9; 4096]).await;
        assert_eq!(pages_of(&file.read_full_at(0, 4 * 4096).await.unwrap()), [0, 9, 2, 3]);
    });
}

#[test]
fn an_error_that_passes_leaves_the_page_as_it_was() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = four_pages(&world).await;
        assert!(node.disk().spoil(Path::new(PATH), 2 * 4096));
        assert!(!node.disk().mend(Path::new(PATH), 4096), "this one can be read");
        assert!(file.read_full_at(8192, 1).await.is_err());
        assert!(node.disk().mend(Path::new(PATH), 2 * 4096 + 7));
        assert_eq!(pages_of(&file.read_full_at(0, 4 * 4096).await.unwrap()), [0, 1, 2, 3]);
    });
}

#[test]
fn two_machines_swap_what_was_durable_and_nothing_else() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = four_pages(&world).await;
        write(&file, 0, vec![9; 4096]).await;
        let other = world.node(2);
        crash_with(&node, only(0, 100, 0, 0));
        other.power_cut();
        node.swap_disks(&other);
        assert_eq!(node.disk().content(Path::new(PATH)), None);
        let content = other.disk().content(Path::new(PATH)).unwrap();
        assert_eq!(pages_of(&content), [0, 1, 2, 3], "what was not synced went before");
        assert_eq!(node.disk().faults().crash.kept, 0, "faults stay with the machine");
        other.restart();
        let found = other.env().disk.open(Path::new(PATH), OpenOptions::read()).await.unwrap();
        assert_eq!(pages_of(&found.read_full_at(0, 4096).await.unwrap()), [0]);
    });
}

/// What the platter has once four more pages, with 4 to 7 in them, are synced over the first four.
fn after_a_lie(seed: u64, lie: fn(&SimNode)) -> (Vec<u8>, BTreeMap<&'static str, u64>) {
    let world = World::new(seed);
    world.run(async {
        let (node, file) = four_pages(&world).await;
        lie(&node);
        for page in 0..4_u8 {
            write(&file, u64::from(page) * 4096, vec![page + 4; 4096]).await;
        }
        file.sync_data().await.unwrap();
        let cached = file.read_full_at(0, 4 * 4096).await.unwrap();
        assert_eq!(pages_of(&cached), [4, 5, 6, 7], "it does not show yet");
        node.power_cut();
        let content = pages_of(&node.disk().content(Path::new(PATH)).unwrap());
        (content, node.disk().fault_counts())
    })
}

#[test]
fn a_phantom_write_leaves_one_page_as_it_was() {
    for seed in 0..20 {
        let (content, counts) = after_a_lie(seed, |node| node.disk().forget_next_write("file"));
        let old = content.iter().zip([4, 5, 6, 7]).filter(|(found, new)| **found != *new);
        let old: Vec<(u8, u8)> = old.map(|(found, new)| (*found, new)).collect();
        assert!(matches!(old[..], [(found, new)] if found + 4 == new), "{content:?}");
        assert_eq!((counts.get("D8"), counts.get("D7")), (Some(&1), None));
    }
}

#[test]
fn a_misdirected_write_spoils_its_own_place_and_another() {
    let mut twice = 0;
    for seed in 0..20 {
        let (content, counts) = after_a_lie(seed, |node| node.disk().misdirect_next_write("file"));
        let wrong = content.iter().zip([4, 5, 6, 7]).filter(|(found, new)| **found != *new).count();
        assert!((1..=2).contains(&wrong), "{content:?}");
        twice += usize::from(wrong == 2);
        assert_eq!((counts.get("D7"), counts.get("D8")), (Some(&1), None));
    }
    assert!(twice > 0, "a page that lands in its own old place is rare");
}

#[test]
fn a_misdirected_read_brings_other_bytes_once() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = four_pages(&world).await;
        node.disk().misdirect_next_read("another");
        node.disk().misdirect_next_read("file");
        assert_ne!(pages_of(&file.read_full_at(0, 4096).await.unwrap()), [0]);
        assert_eq!(pages_of(&file.read_full_at(0, 4 * 4096).await.unwrap()), [0, 1, 2, 3]);
        assert_eq!(node.disk().fault_counts()["D9"], 1);
    });
}

fn eio<T>(result: std::io::Result<T>) {
    const EIO: i32 = 5;
    assert_eq!(result.err().and_then(|error| error.raw_os_error()), Some(EIO));
}

/// Tries everything that a process can do with a disk and an open file; each try must fail.
async fn all_fails((node, file): (&SimNode, &File)) {
    let (path, other) = (Path::new(PATH), Path::new("/data/other"));
    let disk = node.env().disk;
    eio(file.read_full_at(0, 4096).await);
    let mut cached = BytesMut::with_capacity(4096);
    assert_eq!(file.try_read_cached(0, 4096, &mut cached).unwrap(), None);
    eio(file.write_all_at(0, vec![Bytes::from(vec![7; 4096])]).await);
    eio(file.sync_data().await);
    eio(file.start_writeback(0, 4096).await);
    eio(file.len().await);
    eio(file.set_len(1).await);
    eio(file.allocate(1 << 20).await);
    eio(file.map(4096).await);
    eio(disk.open(path, OpenOptions::read()).await);
    eio(disk.open(other, OpenOptions::write(Create::New)).await);
    eio(disk.create_dir_all(other).await);
    eio(disk.rename(path, other).await);
    eio(disk.remove_file(path).await);
    eio(disk.remove_dir_all(Path::new("/data")).await);
    eio(disk.sync_dir(Path::new("/data")).await);
    eio(disk.read_dir(Path::new("/data")).await);
    eio(disk.file_len(path).await);
    eio(disk.lock(path).await);
    eio(disk.space(Path::new("/data")).await);
    eio(disk.supports_direct(Path::new("/data")).await);
}

#[test]
fn a_disk_that_is_gone_does_nothing_and_comes_back_without_what_was_not_synced() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = four_pages(&world).await;
        write(&file, 0, vec![9; 4096]).await;
        let crash = only(0, 1, 0, 0);
        node.disk().set_faults(DiskFaults { crash, ..DiskFaults::default() });
        let lock = node.env().disk.lock(Path::new("/data/lock")).await.unwrap();
        assert!(node.disk().take_away() && !node.disk().take_away(), "it goes once");
        assert!(!node.has_disk());
        assert_eq!(node.disk().fault_counts().get("D14"), None, "nobody has met it");
        all_fails((&node, &file)).await;
        assert_eq!(node.disk().fault_counts()["D14"], 20);
        assert!(node.disk().bring_back() && !node.disk().bring_back(), "it comes back once");
        all_fails((&node, &file)).await;
        drop((file, lock));
        node.restart();
        assert!(node.has_disk());
        let disk = node.env().disk;
        let file = disk.open(Path::new(PATH), OpenOptions::read()).await.unwrap();
        assert_eq!(pages_of(&file.read_full_at(0, 4 * 4096).await.unwrap()), [0, 1, 2, 3]);
    });
}

#[test]
fn a_process_that_starts_without_its_disk_never_has_it() {
    let world = World::new(1);
    world.run(async {
        let (node, _file) = four_pages(&world).await;
        assert!(node.disk().take_away());
        node.restart();
        let read = || async { node.env().disk.file_len(Path::new(PATH)).await };
        eio(read().await);
        assert!(node.disk().bring_back());
        eio(read().await);
        node.restart();
        assert_eq!(read().await.unwrap(), Some(4 * 4096));
    });
}

#[test]
fn a_sync_during_which_the_disk_goes_fails_and_may_have_done_nothing() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = four_pages(&world).await;
        write(&file, 0, vec![9; 4096]).await;
        let crash = only(0, 1, 0, 0);
        node.disk().set_faults(DiskFaults { crash, ..DiskFaults::default() });
        let goes = async { assert!(node.disk().take_away()) };
        let (synced, ()) = tokio::join!(biased; file.sync_data(), goes);
        eio(synced);
        node.disk().bring_back();
        let durable = node.disk().durable(Path::new(PATH)).unwrap();
        assert_eq!(pages_of(&durable), [0, 1, 2, 3]);
    });
}

#[test]
fn an_older_disk_has_what_was_synced_by_then_and_an_empty_one_nothing() {
    let world = World::new(1);
    world.run(async {
        let (node, file) = four_pages(&world).await;
        let old = node.disk().platter();
        write(&file, 0, vec![9; 4096]).await;
        file.sync_data().await.unwrap();
        let options = OpenOptions::write(Create::New);
        let disk = node.env().disk;
        disk.open(Path::new("/data/later"), options).await.unwrap();
        disk.sync_dir(Path::new("/data")).await.unwrap();
        node.power_cut();
        assert_eq!(node.disk().exchange(Some(&old)), 2);
        assert_eq!(node.disk().files(), [PATH]);
        let content = pages_of(&node.disk().content(Path::new(PATH)).unwrap());
        assert_eq!(content, [0, 1, 2, 3]);
        assert_eq!(node.disk().exchange(Some(&old)), 0, "it is there already");
        assert_eq!(node.disk().exchange(None), 1);
        assert_eq!(node.disk().files(), Vec::<String>::new());
        assert_eq!(node.disk().fault_counts()["D15"], 2);
    });
}
