//! Claims about what survives power loss. The real world cannot cut its power: there they show
//! only that the calls work and that nothing is lost without a cut.

use std::io::ErrorKind;

use bytes::Bytes;
use rivven_io::disk::{Create, OpenOptions};

use crate::world::{World, pattern};

pub(crate) fn synced_bytes_and_names_survive(world: &impl World) {
    world.run(async move |place| {
        let disk = &place.env.disk;
        disk.create_dir_all(&place.dir.join("a/b")).await.unwrap();
        for name in ["top", "a/b/deep"] {
            place.write_file(name, &pattern(20_000), true).await;
        }
        for dir in ["a/b", "a", "."] {
            let path = if dir == "." { place.dir.clone() } else { place.dir.join(dir) };
            disk.sync_dir(&path).await.unwrap();
        }
    });
    world.power_cut();
    world.run(async move |place| {
        for name in ["top", "a/b/deep"] {
            assert_eq!(place.content(name).await.unwrap(), pattern(20_000), "{name}");
        }
    });
}

pub(crate) fn synced_length_survives(world: &impl World) {
    world.run(async move |place| {
        let file = place.write_file("cut", &pattern(20_000), true).await;
        file.set_len(77).await.unwrap();
        file.sync_data().await.unwrap();
        let file = place.write_file("grown", &pattern(77), true).await;
        file.set_len(20_000).await.unwrap();
        file.sync_data().await.unwrap();
        place.env.disk.sync_dir(&place.dir).await.unwrap();
    });
    world.power_cut();
    world.run(async move |place| {
        assert_eq!(place.content("cut").await.unwrap(), pattern(77));
        let grown = place.content("grown").await.unwrap();
        assert_eq!(grown[..77], pattern(77));
        assert_eq!(grown[77..], vec![0; 20_000 - 77]);
    });
}

pub(crate) fn a_synced_rename_survives(world: &impl World) {
    world.run(async move |place| {
        replace(&place).await;
        place.env.disk.sync_dir(&place.dir).await.unwrap();
    });
    world.power_cut();
    world.run(async move |place| {
        assert_eq!(place.content("f").await.unwrap(), vec![b'n'; 9000]);
        assert_eq!(place.content("f.new").await, None);
    });
}

pub(crate) fn an_unsynced_rename_shows_one_of_both_files_whole(world: &impl World) {
    world.run(async move |place| replace(&place).await);
    world.power_cut();
    world.run(async move |place| {
        let content = place.content("f").await.unwrap();
        assert!(content == vec![b'o'; 5000] || content == vec![b'n'; 9000]);
    });
}

/// Writes an old file with all its syncs, and a new one over it without the last.
async fn replace(place: &crate::world::Place) {
    place.write_file("f", &[b'o'; 5000], true).await;
    place.env.disk.sync_dir(&place.dir).await.unwrap();
    place.write_file("f.new", &[b'n'; 9000], true).await;
    place.env.disk.rename(&place.dir.join("f.new"), &place.dir.join("f")).await.unwrap();
}

pub(crate) fn a_synced_removal_survives(world: &impl World) {
    world.run(async move |place| {
        place.write_file("f", b"gone", true).await;
        place.env.disk.sync_dir(&place.dir).await.unwrap();
        place.env.disk.remove_file(&place.dir.join("f")).await.unwrap();
        place.env.disk.sync_dir(&place.dir).await.unwrap();
        let options = OpenOptions::write(Create::New);
        let file = place.env.disk.open(&place.dir.join("f2"), options).await.unwrap();
        file.write_all_at(0, vec![Bytes::from_static(b"kept")]).await.unwrap();
        file.sync_data().await.unwrap();
        place.env.disk.sync_dir(&place.dir).await.unwrap();
    });
    world.power_cut();
    world.run(async move |place| {
        assert_eq!(place.content("f").await, None);
        assert_eq!(place.content("f2").await.unwrap(), "kept");
    });
}

pub(crate) fn sync_dir_wants_a_directory(world: &impl World) {
    world.run(async move |place| {
        place.write_file("f", b"", false).await;
        let error = place.env.disk.sync_dir(&place.dir.join("f")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
    });
}
