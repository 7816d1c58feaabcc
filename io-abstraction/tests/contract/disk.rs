//! Claims about writing: modes of opening, order, lengths, direct I/O.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rivven_io::disk::{Create, DIRECT_ALIGN, OpenOptions, aligned_buffer};

use crate::world::{World, pattern, poll_once};

pub(crate) fn open_answers_by_what_is_there(world: &impl World) {
    let cases = [
        (Create::Never, false, Err(ErrorKind::NotFound)),
        (Create::Never, true, Ok(3)),
        (Create::IfMissing, false, Ok(0)),
        (Create::IfMissing, true, Ok(3)),
        (Create::New, false, Ok(0)),
        (Create::New, true, Err(ErrorKind::AlreadyExists)),
    ];
    world.run(async move |place| {
        for (number, (create, exists, expected)) in cases.into_iter().enumerate() {
            let name = format!("file-{number}");
            if exists {
                place.write_file(&name, b"old", false).await;
            }
            let options = OpenOptions::write(create);
            let len = match place.env.disk.open(&place.dir.join(name), options).await {
                Ok(file) => Ok(file.len().await.unwrap()),
                Err(error) => Err(error.kind()),
            };
            assert_eq!(len, expected, "{create:?} where a file exists: {exists}");
        }
    });
}

pub(crate) fn a_directory_is_no_file(world: &impl World) {
    world.run(async move |place| {
        for options in [OpenOptions::read(), OpenOptions::write(Create::IfMissing)] {
            let error = place.env.disk.open(&place.dir, options).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::IsADirectory);
        }
        let new = OpenOptions::write(Create::New);
        let error = place.env.disk.open(&place.dir, new).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    });
}

pub(crate) fn a_file_opened_for_reading_refuses_writes(world: &impl World) {
    world.run(async move |place| {
        place.write_file("f", b"kept", false).await;
        let file = place.env.disk.open(&place.dir.join("f"), OpenOptions::read()).await.unwrap();
        assert!(file.write_all_at(0, vec![Bytes::from_static(b"lost")]).await.is_err());
        assert!(file.set_len(1).await.is_err());
        assert!(file.allocate(1).await.is_err());
        assert_eq!(&place.content("f").await.unwrap()[..], b"kept");
    });
}

pub(crate) fn pieces_are_written_in_order_whatever_their_number(world: &impl World) {
    world.run(async move |place| {
        // More than one system call takes, some of them empty.
        let whole = pattern(30_000);
        let mut pieces = Vec::new();
        let mut at = 0;
        for number in 0..3000 {
            let len = (number % 21).min(whole.len() - at);
            pieces.push(whole.slice(at..at + len));
            at += len;
        }
        let file = place.write_file("f", b"abc", false).await;
        file.write_all_at(3, pieces).await.unwrap();
        file.write_all_at(7, Vec::new()).await.unwrap();
        let content = place.content("f").await.unwrap();
        assert_eq!((&content[..3], &content[3..]), (&b"abc"[..], &whole[..at]));
    });
}

pub(crate) fn later_writes_win(world: &impl World) {
    world.run(async move |place| {
        let file = place.write_file("f", &[b'.'; 10_000], false).await;
        let mut expected = vec![b'.'; 10_000];
        for round in 0..40_usize {
            let (from, len) = (round * 211 % 9000, 1 + round * 97 % 1000);
            let byte = b'a' + u8::try_from(round % 26).unwrap();
            expected[from..from + len].fill(byte);
            let data = Bytes::from(vec![byte; len]);
            file.write_all_at(from as u64, vec![data]).await.unwrap();
        }
        assert_eq!(place.content("f").await.unwrap(), expected);
    });
}

pub(crate) fn what_was_cut_off_never_comes_back(world: &impl World) {
    world.run(async move |place| {
        let file = place.write_file("f", &pattern(9000), false).await;
        file.set_len(5).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 5);
        file.set_len(9000).await.unwrap();
        let content = place.content("f").await.unwrap();
        assert_eq!(content[..5], pattern(5));
        assert_eq!(content[5..], vec![0; 8995]);
        // A gap that is written over reads as zeros, too.
        file.set_len(5).await.unwrap();
        file.write_all_at(8000, vec![Bytes::from_static(b"end")]).await.unwrap();
        let content = place.content("f").await.unwrap();
        assert_eq!((content.len(), &content[5..8000]), (8003, &vec![0; 7995][..]));
    });
}

pub(crate) fn allocate_keeps_the_length_and_the_bytes(world: &impl World) {
    world.run(async move |place| {
        let file = place.write_file("f", b"kept", false).await;
        for len in [0, 1, 1 << 20] {
            file.allocate(len).await.unwrap();
            assert_eq!(file.len().await.unwrap(), 4);
        }
        assert_eq!(&place.content("f").await.unwrap()[..], b"kept");
        file.write_all_at(4, vec![pattern(1 << 20)]).await.unwrap();
        assert_eq!(place.content("f").await.unwrap()[4..], pattern(1 << 20));
    });
}

pub(crate) fn a_file_serves_many_tasks_at_once(world: &impl World) {
    world.run(async move |place| {
        let file = Arc::new(place.write_file("f", b"", false).await);
        let mut tasks = Vec::new();
        for number in 0..8_u8 {
            let file = file.clone();
            tasks.push(place.env.tasks.spawn("writer", async move {
                let position = u64::from(number) * 5000;
                let data = Bytes::from(vec![number; 5000]);
                file.write_all_at(position, vec![data.clone()]).await.unwrap();
                assert_eq!(file.read_full_at(position, 5000).await.unwrap(), data);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let content = place.content("f").await.unwrap();
        let expected: Vec<u8> = (0..8).flat_map(|number| vec![number; 5000]).collect();
        assert_eq!(content, expected);
    });
}

pub(crate) fn a_dropped_write_is_done_or_never_begun(world: &impl World) {
    world.run(async move |place| {
        for round in 0..10 {
            let name = format!("file-{round}");
            let file = place.write_file(&name, &[b'o'; 10], false).await;
            drop(poll_once(file.write_all_at(0, vec![Bytes::from_static(&[b'n'; 10])])));
            let before = place.content(&name).await.unwrap();
            // One call may write a prefix; what it did is a prefix, and stays as it is.
            let new = before.iter().take_while(|byte| **byte == b'n').count();
            assert!(before[new..].iter().all(|byte| *byte == b'o'), "{before:?}");
            place.env.clock.sleep(std::time::Duration::from_millis(2)).await;
            assert_eq!(place.content(&name).await.unwrap(), before);
        }
    });
}

pub(crate) fn direct_io_moves_bytes_from_any_memory(world: &impl World) {
    world.run(async move |place| {
        if !place.env.disk.supports_direct(&place.dir).await.unwrap() {
            return;
        }
        assert_eq!(
            place.env.disk.read_dir(&place.dir).await.unwrap(),
            [],
            "a probe leaves nothing"
        );
        let options = OpenOptions { write: true, create: Create::New, direct: true };
        let file = place.env.disk.open(&place.dir.join("f"), options).await.unwrap();
        let whole = pattern(3 * DIRECT_ALIGN + 1);
        let mut aligned = aligned_buffer(2 * DIRECT_ALIGN);
        assert!(aligned.as_ptr().addr().is_multiple_of(DIRECT_ALIGN));
        aligned.extend_from_slice(&whole[..2 * DIRECT_ALIGN]);
        // Memory with an odd address, behind a piece that is aligned.
        let odd = whole.slice(1..1 + DIRECT_ALIGN);
        file.write_all_at(0, vec![aligned.freeze(), odd.clone()]).await.unwrap();
        file.sync_data().await.unwrap();

        let content = file.read_full_at(0, 3 * DIRECT_ALIGN).await.unwrap();
        assert_eq!(content[..2 * DIRECT_ALIGN], whole[..2 * DIRECT_ALIGN]);
        assert_eq!(content[2 * DIRECT_ALIGN..], odd);
        let block = file.read_at(0, DIRECT_ALIGN, BytesMut::from("tail ")).await.unwrap();
        assert_eq!((&block[..5], &block[5..]), (&b"tail "[..], &whole[..DIRECT_ALIGN]));
        let end = 3 * DIRECT_ALIGN as u64;
        let nothing = file.read_at(end, DIRECT_ALIGN, BytesMut::new()).await.unwrap();
        assert!(nothing.is_empty());
        assert_eq!(place.content("f").await.unwrap()[..], content[..]);

        // More than is copied at a time.
        let whole = pattern((5 << 20) + 1).slice(1..);
        file.write_all_at(0, vec![whole.slice(..1 << 20), whole.slice(1 << 20..)]).await.unwrap();
        assert_eq!(place.content("f").await.unwrap(), whole);
    });
}

pub(crate) fn direct_io_refuses_what_is_not_aligned(world: &impl World) {
    let block = DIRECT_ALIGN;
    let cases = [(1, block), (0, 1), (512, block), (0, 512), (block as u64, block + 1)];
    world.run(async move |place| {
        if !place.env.disk.supports_direct(&place.dir).await.unwrap() {
            return;
        }
        let options = OpenOptions { write: true, create: Create::New, direct: true };
        let file = place.env.disk.open(&place.dir.join("f"), options).await.unwrap();
        for (position, len) in cases {
            let data = vec![Bytes::from(vec![7; block]), Bytes::from(vec![7; len])];
            let written = file.write_all_at(position, data).await.unwrap_err();
            assert_eq!(written.kind(), ErrorKind::InvalidInput, "write {position} {len}");
            let read = file.read_at(position, len, BytesMut::new()).await.unwrap_err();
            assert_eq!(read.kind(), ErrorKind::InvalidInput, "read {position} {len}");
        }
        assert_eq!(file.len().await.unwrap(), 0);
    });
}

pub(crate) fn hints_of_any_range_are_accepted(world: &impl World) {
    world.run(async move |place| {
        let file = place.write_file("f", &pattern(100_000), false).await;
        for (position, len) in [(0, 100_000), (4096, 1), (0, 0), (99_999, 1 << 30)] {
            file.start_writeback(position, len).await.unwrap();
            file.read_ahead(position, len).await;
            file.guess_reads(position == 0).await;
        }
        assert_eq!(place.content("f").await.unwrap(), pattern(100_000));
    });
}
