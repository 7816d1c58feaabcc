//! Claims about directories, names and locks.

use std::io::ErrorKind;

use rivven_io::disk::DirEntry;

use crate::world::{World, pattern};

pub(crate) fn create_dir_all_makes_parents_and_is_repeatable(world: &impl World) {
    world.run(async move |place| {
        let disk = &place.env.disk;
        for _ in 0..2 {
            disk.create_dir_all(&place.dir.join("a/b/c")).await.unwrap();
        }
        let entry = DirEntry { name: "c".to_owned(), is_dir: true, is_link: false, len: 0 };
        assert_eq!(disk.read_dir(&place.dir.join("a/b")).await.unwrap(), [entry]);
        place.write_file("file", b"kept", false).await;
        assert!(disk.create_dir_all(&place.dir.join("file")).await.is_err());
        assert!(disk.create_dir_all(&place.dir.join("file/below")).await.is_err());
        assert_eq!(&place.content("file").await.unwrap()[..], b"kept");
    });
}

pub(crate) fn read_dir_is_sorted_and_says_what_is_what(world: &impl World) {
    world.run(async move |place| {
        let names = ["b", "10", "a.log", "9", "a", "B", "a-0", "é"];
        for (len, name) in names.into_iter().enumerate() {
            place.write_file(name, &pattern(len), false).await;
        }
        place.env.disk.create_dir_all(&place.dir.join("aa/below")).await.unwrap();
        let entry = |(len, name): (usize, &str)| DirEntry {
            name: name.to_owned(),
            is_dir: false,
            is_link: false,
            len: len as u64,
        };
        let mut expected: Vec<DirEntry> = names.into_iter().enumerate().map(entry).collect();
        expected.push(DirEntry { name: "aa".to_owned(), is_dir: true, is_link: false, len: 0 });
        expected.sort_by(|left, right| left.name.as_bytes().cmp(right.name.as_bytes()));
        assert_eq!(place.env.disk.read_dir(&place.dir).await.unwrap(), expected);
    });
}

pub(crate) fn rename_replaces_a_file_and_moves_a_directory(world: &impl World) {
    world.run(async move |place| {
        let disk = &place.env.disk;
        let old = place.write_file("target", b"old", false).await;
        place.write_file("source", b"new", false).await;
        disk.rename(&place.dir.join("source"), &place.dir.join("target")).await.unwrap();
        assert_eq!(&place.content("target").await.unwrap()[..], b"new");
        assert_eq!(place.content("source").await, None);
        assert_eq!(old.read_full_at(0, 3).await.unwrap(), "old");

        disk.create_dir_all(&place.dir.join("dir")).await.unwrap();
        place.write_file("dir/file", b"moved", false).await;
        disk.rename(&place.dir.join("dir"), &place.dir.join("renamed")).await.unwrap();
        assert_eq!(&place.content("renamed/file").await.unwrap()[..], b"moved");
        assert_eq!(place.content("dir/file").await, None);
    });
}

pub(crate) fn an_open_file_survives_its_name(world: &impl World) {
    world.run(async move |place| {
        let file = place.write_file("f", b"first", false).await;
        place.env.disk.remove_file(&place.dir.join("f")).await.unwrap();
        place.write_file("f", b"second", false).await;
        file.write_all_at(5, vec![" more".into()]).await.unwrap();
        file.sync_data().await.unwrap();
        assert_eq!(file.read_full_at(0, 10).await.unwrap(), "first more");
        assert_eq!(&place.content("f").await.unwrap()[..], b"second");
    });
}

pub(crate) fn remove_dir_all_takes_all_below(world: &impl World) {
    world.run(async move |place| {
        let disk = &place.env.disk;
        disk.create_dir_all(&place.dir.join("gone/deep/deeper")).await.unwrap();
        place.write_file("gone/f", b"", false).await;
        place.write_file("gone/deep/deeper/f", b"", false).await;
        place.write_file("gone-not", b"kept", false).await;
        disk.remove_dir_all(&place.dir.join("gone")).await.unwrap();
        let entry = DirEntry { name: "gone-not".to_owned(), is_dir: false, is_link: false, len: 4 };
        assert_eq!(disk.read_dir(&place.dir).await.unwrap(), [entry]);
    });
}

pub(crate) fn what_is_missing_is_not_found(world: &impl World) {
    world.run(async move |place| {
        let disk = &place.env.disk;
        let none = place.dir.join("none");
        let below = none.join("below");
        let errors = [
            disk.rename(&none, &place.dir.join("other")).await.err(),
            disk.remove_file(&none).await.err(),
            disk.remove_dir_all(&none).await.err(),
            disk.sync_dir(&none).await.err(),
            disk.read_dir(&none).await.err(),
            disk.space(&none).await.err(),
            disk.supports_direct(&none).await.err(),
            disk.lock(&below).await.err(),
            disk.open(&below, rivven_io::disk::OpenOptions::read()).await.err(),
        ];
        for (call, error) in errors.into_iter().enumerate() {
            assert_eq!(error.unwrap().kind(), ErrorKind::NotFound, "call {call}");
        }
    });
}

pub(crate) fn file_len_tells_missing_from_empty(world: &impl World) {
    world.run(async move |place| {
        place.write_file("empty", b"", false).await;
        place.write_file("full", &pattern(5000), false).await;
        let cases = [
            ("empty", Some(0)),
            ("full", Some(5000)),
            ("none", None),
            ("none/below", None),
            (".", Some(0)),
        ];
        for (name, expected) in cases {
            let path = if name == "." { place.dir.clone() } else { place.dir.join(name) };
            assert_eq!(place.env.disk.file_len(&path).await.unwrap(), expected, "{name}");
        }
    });
}

pub(crate) fn a_lock_excludes_until_it_is_dropped(world: &impl World) {
    world.run(async move |place| {
        let disk = &place.env.disk;
        let path = place.dir.join("lock");
        let lock = disk.lock(&path).await.unwrap();
        for _ in 0..2 {
            assert_eq!(disk.lock(&path).await.err().unwrap().kind(), ErrorKind::WouldBlock);
        }
        let other = disk.lock(&place.dir.join("other")).await.unwrap();
        drop(lock);
        let again = disk.lock(&path).await.unwrap();
        drop((other, again));
        assert_eq!(place.content("lock").await.unwrap(), "");
    });
}

pub(crate) fn space_is_reported(world: &impl World) {
    world.run(async move |place| {
        place.write_file("f", b"", false).await;
        for path in [place.dir.clone(), place.dir.join("f")] {
            let space = place.env.disk.space(&path).await.unwrap();
            assert!(space.available_bytes > 1 << 20, "{space:?}");
            assert!(space.total_bytes >= space.available_bytes, "{space:?}");
        }
    });
}
