//! Tests of the simulated world as a whole.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::disk::{Create, OpenOptions};
use crate::sim::World;

#[test]
fn a_file_that_was_synced_with_its_name_survives_a_power_cut() {
    let world = World::new(1);
    let node = world.node(1);
    world.run(async {
        let disk = node.env().disk;
        disk.create_dir_all(Path::new("/data")).await.unwrap();
        disk.sync_dir(Path::new("/")).await.unwrap();
        let path = Path::new("/data/file");
        let file = disk.open(path, OpenOptions::write(Create::New)).await.unwrap();
        file.write_all_at(0, vec![Bytes::from_static(b"kept")]).await.unwrap();
        file.sync_data().await.unwrap();
        disk.sync_dir(Path::new("/data")).await.unwrap();
        node.power_cut();
        assert!(file.len().await.is_err(), "the old incarnation is refused");
        node.restart();
        let read = node.env().read_file(path, 100).await.unwrap().unwrap();
        assert_eq!(&read[..], b"kept");
    });
}

#[test]
fn a_stream_carries_bytes_and_their_end() {
    let world = World::new(1);
    let (client, server) = (world.node(1), world.node(2));
    let addr = std::net::SocketAddr::new(server.ip(), 9092);
    world.run(async {
        let listener = server.env().net.listen(addr).await.unwrap();
        let echo = server.spawn(async move {
            let mut stream = listener.accept().await.unwrap();
            let mut buf = BytesMut::with_capacity(64);
            while stream.reader.read(&mut buf).await.unwrap() > 0 {}
            stream.writer.write_all(&buf).await.unwrap();
        });
        let mut stream = client.env().net.connect(addr).await.unwrap();
        stream.writer.write_all(b"hello").await.unwrap();
        stream.writer.shutdown().unwrap();
        let mut buf = BytesMut::with_capacity(64);
        while stream.reader.read(&mut buf).await.unwrap() > 0 {}
        assert_eq!(&buf[..], b"hello");
        echo.await.unwrap();
        drop(stream);
        assert_eq!(server.resources().streams, 0);
    });
    assert!(world.now() < Duration::from_secs(1));
}
