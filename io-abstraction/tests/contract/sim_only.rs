//! Claims that only a world that can fail on demand shows: losses are real, and within the promise.

use bytes::Bytes;
use rivven_io::task::TaskEnd;

use crate::world::{SimWorld, World, pattern};

/// In how many of 40 seeds `lost` is true; each seed gets a fresh machine.
fn lost_in(lost: impl Fn(&SimWorld) -> bool) -> usize {
    (0..40).filter(|seed| lost(&SimWorld::new(*seed))).count()
}

#[test]
fn unsynced_bytes_may_vanish_or_stay() {
    let lost = lost_in(|world| {
        world.run(async move |place| {
            let file = place.write_file("f", &[b'o'; 4096], true).await;
            place.env.disk.sync_dir(&place.dir).await.unwrap();
            file.write_all_at(0, vec![Bytes::from_static(&[b'n'; 4096])]).await.unwrap();
        });
        world.power_cut();
        let content = world.run(async move |place| place.content("f").await.unwrap());
        assert_eq!(content.len(), 4096);
        content != vec![b'n'; 4096]
    });
    assert!((5..36).contains(&lost), "lost in {lost} of 40 seeds");
}

#[test]
fn a_synced_file_without_its_directory_may_vanish() {
    let lost = lost_in(|world| {
        world.run(async move |place| {
            place.write_file("f", &pattern(5000), true).await;
        });
        world.power_cut();
        let content = world.run(async move |place| place.content("f").await);
        assert!(content.is_none() || content.as_ref() == Some(&pattern(5000)));
        content.is_none()
    });
    assert!((5..36).contains(&lost), "lost in {lost} of 40 seeds");
}

#[test]
fn a_later_good_sync_does_not_cover_what_a_failed_one_lost() {
    let lost = lost_in(|world| {
        world.run(async move |place| {
            let file = place.write_file("f", &[b'o'; 4096], true).await;
            place.env.disk.sync_dir(&place.dir).await.unwrap();
            file.write_all_at(0, vec![Bytes::from_static(&[b'n'; 4096])]).await.unwrap();
        });
        world.world.node(1).disk().fail_next_sync("/data/f");
        world.run(async move |place| {
            let options = rivven_io::disk::OpenOptions::write(rivven_io::disk::Create::Never);
            let file = place.env.disk.open(&place.dir.join("f"), options).await.unwrap();
            file.sync_data().await.unwrap_err();
            file.sync_data().await.unwrap();
        });
        world.power_cut();
        world.run(async move |place| place.content("f").await.unwrap()) == vec![b'o'; 4096]
    });
    assert_eq!(lost, 40);
}

#[test]
fn a_killed_process_loses_locks_and_handles_but_nothing_written() {
    for seed in 0..10 {
        let world = SimWorld::new(seed);
        let (file, lock) = world.run(async move |place| {
            let lock = place.env.disk.lock(&place.dir.join("lock")).await.unwrap();
            (place.write_file("f", &pattern(9000), false).await, lock)
        });
        world.world.node(1).kill();
        world.world.node(1).restart();
        world.run(async move |place| {
            assert_eq!(place.content("f").await.unwrap(), pattern(9000));
            place.env.disk.lock(&place.dir.join("lock")).await.unwrap();
            assert!(file.read_full_at(0, 1).await.is_err());
            drop(lock);
        });
    }
}

#[test]
fn what_is_allocated_is_never_out_of_space() {
    for seed in 0..10 {
        let world = SimWorld::new(seed);
        let disk = world.world.node(1).disk();
        let mut faults = disk.faults();
        faults.capacity_bytes = Some(1 << 20);
        disk.set_faults(faults);
        world.run(async move |place| {
            let reserved = place.write_file("reserved", b"", false).await;
            reserved.allocate(1 << 19).await.unwrap();
            let greedy = place.write_file("greedy", b"", false).await;
            let full = greedy.write_all_at(0, vec![pattern(1 << 20)]).await.unwrap_err();
            assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
            reserved.write_all_at(0, vec![pattern(1 << 19)]).await.unwrap();
            let more = reserved.allocate(1 << 20).await.unwrap_err();
            assert_eq!(more.kind(), std::io::ErrorKind::StorageFull);
        });
    }
}

#[test]
fn tasks_of_a_killed_process_end_cancelled() {
    let world = SimWorld::new(0);
    let node = world.world.node(1);
    let endless = node.spawn(std::future::pending::<()>());
    node.kill();
    assert_eq!(world.world.run(endless), Err(TaskEnd::Cancelled));
}

#[test]
fn one_seed_draws_one_sequence_and_two_seeds_two() {
    let draws = |seed| SimWorld::new(seed).run(async move |place| place.env.rng.bytes16());
    assert_eq!(draws(3), draws(3));
    assert_ne!(draws(3), draws(4));
}
