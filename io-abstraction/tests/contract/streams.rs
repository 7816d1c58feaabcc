//! Claims about the bytes of a stream: order, backpressure, cancellation, and how it ends.

use std::io::{self, ErrorKind, IoSlice};
use std::time::Duration;

use bytes::BytesMut;
use rivven_io::net::{StreamReader, StreamWriter};

use crate::world::{World, pattern, poll_once};

/// Reads to the end of the stream.
async fn read_to_end(reader: &mut StreamReader) -> io::Result<BytesMut> {
    let mut all = BytesMut::new();
    loop {
        all.reserve(4096);
        if reader.read(&mut all).await? == 0 {
            return Ok(all);
        }
    }
}

/// Writes until nothing more fits; how many bytes did.
fn fill(writer: &StreamWriter, data: &[u8]) -> usize {
    let mut sent = 0;
    while sent < data.len() {
        match writer.try_write_vectored(&[IoSlice::new(&data[sent..])]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    sent
}

pub(crate) fn bytes_arrive_in_order_through_a_full_buffer(world: &impl World) {
    world.run(async move |place| {
        let (near, mut far) = place.connected().await;
        let sender = place.env.tasks.spawn("sender", async move {
            near.writer.write_all(&pattern(3_000_000)).await.unwrap();
            near.writer.shutdown().unwrap();
            near
        });
        assert_eq!(read_to_end(&mut far.reader).await.unwrap(), pattern(3_000_000));
        sender.await.unwrap();
    });
}

pub(crate) fn writing_faster_than_reading_would_block(world: &impl World) {
    world.run(async move |place| {
        let (near, mut far) = place.connected().await;
        let data = pattern(64 << 20);
        let mut sent = fill(&near.writer, &data);
        let tick = Duration::from_millis(50);
        // The receiver's buffer takes some of it; then both are full.
        while place.env.clock.timeout(tick, near.writer.writable()).await.is_ok() {
            sent += fill(&near.writer, &data[sent..]);
        }
        assert!(sent > 0 && sent < data.len(), "{sent} bytes without a reader");
        let mut received = BytesMut::with_capacity(sent);
        while received.len() < sent {
            far.reader.read(&mut received).await.unwrap();
        }
        near.writer.writable().await.unwrap();
        assert!(fill(&near.writer, b"more") > 0);
        assert_eq!(received, data[..sent]);
    });
}

pub(crate) fn slices_are_sent_in_order(world: &impl World) {
    world.run(async move |place| {
        let (near, mut far) = place.connected().await;
        near.writer.writable().await.unwrap();
        let slices = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
        assert_eq!(near.writer.try_write_vectored(&slices).unwrap(), 7);
        drop(near);
        assert_eq!(read_to_end(&mut far.reader).await.unwrap(), "one two");
    });
}

pub(crate) fn a_dropped_read_loses_no_byte(world: &impl World) {
    world.run(async move |place| {
        let (near, mut far) = place.connected().await;
        let whole = pattern(20_000);
        let mut received = BytesMut::with_capacity(whole.len());
        for piece in whole.chunks(1000) {
            for _ in 0..3 {
                poll_once(far.reader.read(&mut received));
            }
            near.writer.write_all(piece).await.unwrap();
            let tick = Duration::from_micros(50);
            let _ = place.env.clock.timeout(tick, far.reader.read(&mut received)).await;
        }
        while received.len() < whole.len() {
            far.reader.read(&mut received).await.unwrap();
        }
        assert_eq!(received, whole);
    });
}

pub(crate) fn a_read_without_room_is_refused(world: &impl World) {
    world.run(async move |place| {
        let (near, mut far) = place.connected().await;
        near.writer.write_all(b"abc").await.unwrap();
        let mut full = BytesMut::new();
        let error = far.reader.read(&mut full).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        full.reserve(2);
        let room = full.capacity();
        assert!(far.reader.read(&mut full).await.unwrap() <= room);
    });
}

pub(crate) fn after_half_close_the_other_way_goes_on(world: &impl World) {
    world.run(async move |place| {
        let (mut near, mut far) = place.connected().await;
        near.writer.write_all(b"request").await.unwrap();
        for _ in 0..2 {
            near.writer.shutdown().unwrap();
        }
        let error = near.writer.try_write_vectored(&[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(read_to_end(&mut far.reader).await.unwrap(), "request");
        far.writer.write_all(b"answer").await.unwrap();
        far.writer.shutdown().unwrap();
        assert_eq!(read_to_end(&mut near.reader).await.unwrap(), "answer");
        // The end is there at every further read.
        assert_eq!(read_to_end(&mut near.reader).await.unwrap(), "");
    });
}

pub(crate) fn a_half_that_is_dropped_ends_nothing(world: &impl World) {
    world.run(async move |place| {
        let (mut near, mut far) = place.connected().await;
        drop(near.writer);
        far.writer.write_all(b"still here").await.unwrap();
        let mut received = BytesMut::with_capacity(100);
        while received.len() < 10 {
            near.reader.read(&mut received).await.unwrap();
        }
        let silence = far.reader.read(&mut received);
        assert!(place.env.clock.timeout(Duration::from_millis(5), silence).await.is_err());

        let (near, mut far) = place.connected().await;
        drop(near.reader);
        near.writer.write_all(b"and back").await.unwrap();
        drop(near.writer);
        assert_eq!(read_to_end(&mut far.reader).await.unwrap(), "and back");
    });
}

pub(crate) fn dropping_both_halves_ends_the_stream(world: &impl World) {
    world.run(async move |place| {
        for writer_first in [false, true] {
            let (near, mut far) = place.connected().await;
            near.writer.write_all(b"last words").await.unwrap();
            if writer_first {
                drop(near.writer);
                drop(near.reader);
            } else {
                drop(near.reader);
                drop(near.writer);
            }
            assert_eq!(read_to_end(&mut far.reader).await.unwrap(), "last words");
        }
    });
}

pub(crate) fn unread_bytes_at_close_reset_the_peer(world: &impl World) {
    world.run(async move |place| {
        let (mut near, mut far) = place.connected().await;
        near.writer.write_all(&[b'x'; 4000]).await.unwrap();
        // One read that takes less than what has come.
        let mut some = BytesMut::with_capacity(1);
        assert!(far.reader.read(&mut some).await.unwrap() < 4000);
        drop(far);
        let error = read_to_end(&mut near.reader).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

pub(crate) fn writing_to_a_closed_peer_fails_in_the_end(world: &impl World) {
    world.run(async move |place| {
        let (near, far) = place.connected().await;
        drop(far);
        let endless = async {
            loop {
                if let Err(error) = near.writer.write_all(&[0; 1000]).await {
                    return error.kind();
                }
                place.env.clock.sleep(Duration::from_millis(1)).await;
            }
        };
        let kind = place.env.clock.timeout(Duration::from_secs(60), endless).await.unwrap();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
    });
}

pub(crate) fn a_dedicated_task_connects_and_talks(world: &impl World) {
    world.run(async move |place| {
        let listener = place.env.net.listen(place.any_port()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (env, any_port) = (place.env.clone(), place.any_port());
        let client = place.env.tasks.spawn_dedicated("client", async move {
            let mut stream = env.net.connect(addr).await.unwrap();
            let socket = env.net.bind_datagram(any_port).await.unwrap();
            drop(socket);
            stream.writer.write_all(&pattern(500_000)).await.unwrap();
            stream.writer.shutdown().unwrap();
            read_to_end(&mut stream.reader).await.unwrap()
        });
        let mut far = listener.accept().await.unwrap();
        let received = read_to_end(&mut far.reader).await.unwrap();
        far.writer.write_all(&received[..1000]).await.unwrap();
        drop(far);
        assert_eq!(received, pattern(500_000));
        assert_eq!(client.await.unwrap(), pattern(1000));
    });
}
