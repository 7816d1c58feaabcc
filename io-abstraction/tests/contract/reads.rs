//! Claims about reading: short reads, cached reads, maps, and that bytes given out never change.

use std::io::ErrorKind;

use bytes::{Bytes, BytesMut};

use crate::world::{World, pattern};

pub(crate) fn reads_append_and_end_with_nothing(world: &impl World) {
    // Position, length asked for, length of the longest answer.
    let cases = [(0, 10, 10), (95, 10, 5), (100, 10, 0), (5000, 10, 0), (0, 0, 0), (0, 4096, 100)];
    world.run(async move |place| {
        let whole = pattern(100);
        let file = place.write_file("f", &whole, false).await;
        for (position, len, most) in cases {
            let buf = file.read_at(position, len, BytesMut::from("head")).await.unwrap();
            let (head, read) = buf.split_at(4);
            assert_eq!(head, b"head");
            assert!(read.len() <= most && (read.is_empty() == (most == 0)), "{position} {len}");
            let from = usize::try_from(position).unwrap().min(100);
            assert_eq!(read, &whole[from..from + read.len()]);
        }
    });
}

pub(crate) fn read_full_at_copes_with_short_reads(world: &impl World) {
    world.run(async move |place| {
        let whole = pattern(20_000);
        let file = place.write_file("f", &whole, false).await;
        for (position, len) in [(0, 20_000), (1, 19_999), (19_999, 1), (20_000, 0), (4095, 8194)] {
            let read = file.read_full_at(position as u64, len).await.unwrap();
            assert_eq!(read, whole[position..position + len]);
        }
        for (position, len) in [(0, 20_001), (20_000, 1), (1 << 40, 1)] {
            let error = file.read_full_at(position, len).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
    });
}

pub(crate) fn cached_reads_give_what_is_there_or_nothing(world: &impl World) {
    world.run(async move |place| {
        let whole = pattern(50_000);
        let file = place.write_file("f", &whole, false).await;
        for (position, len) in [(0, 50_000), (7, 100), (49_990, 100), (50_000, 1), (60_000, 1)] {
            let expected = &whole[position.min(50_000)..(position + len).min(50_000)];
            let mut buf = BytesMut::from("head");
            match file.try_read_cached(position as u64, len, &mut buf).unwrap() {
                Some(count) => {
                    assert_eq!(buf.len(), 4 + count);
                    assert_eq!(count == 0, expected.is_empty(), "{position} {len}");
                    assert!(expected.starts_with(&buf[4..]), "{position} {len}");
                }
                None => assert_eq!(buf, "head"),
            }
        }
    });
}

pub(crate) fn bytes_given_out_stay_when_the_file_changes(world: &impl World) {
    world.run(async move |place| {
        let whole = pattern(10_000);
        let file = place.write_file("f", &whole, true).await;
        let read = file.read_full_at(0, 10_000).await.unwrap().freeze();
        let map = file.map(4096).await.unwrap();
        // Another range than the map's: a mapped range must not change.
        file.write_all_at(4096, vec![Bytes::from(vec![b'x'; 5904])]).await.unwrap();
        assert_eq!((&read[..], &map[..]), (&whole[..], &whole[..4096]));

        place.write_file("new", &[b'y'; 10_000], true).await;
        place.env.disk.rename(&place.dir.join("new"), &place.dir.join("f")).await.unwrap();
        drop(file);
        assert_eq!(place.content("f").await.unwrap(), vec![b'y'; 10_000]);
        assert_eq!((&read[..], &map[..]), (&whole[..], &whole[..4096]));
    });
}

pub(crate) fn a_map_shows_the_file_and_outlives_it(world: &impl World) {
    world.run(async move |place| {
        let whole = pattern(12_345);
        let file = place.write_file("f", &whole, false).await;
        let map = file.map(12_345).await.unwrap();
        let part = file.map(100).await.unwrap().slice(50..);
        assert!(file.map(0).await.unwrap().is_empty());
        place.env.disk.remove_file(&place.dir.join("f")).await.unwrap();
        drop(file);
        assert_eq!((&map[..], &part[..]), (&whole[..], &whole[50..100]));
    });
}

pub(crate) fn a_map_past_the_end_is_refused(world: &impl World) {
    world.run(async move |place| {
        let file = place.write_file("f", &pattern(100), false).await;
        for len in [101, 4096, 1 << 40] {
            assert_eq!(file.map(len).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    });
}

pub(crate) fn read_file_is_bounded(world: &impl World) {
    world.run(async move |place| {
        place.write_file("f", b"12345", false).await;
        let path = place.dir.join("f");
        let read = place.env.read_file(&path, 5).await.unwrap();
        assert_eq!(read.as_deref(), Some(&b"12345"[..]));
        let error = place.env.read_file(&path, 4).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(place.env.read_file(&place.dir.join("none"), 4).await.unwrap(), None);
    });
}
