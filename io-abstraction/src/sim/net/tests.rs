//! Tests of the simulated network: order, bounds, and that each fault does what it says.

use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;

use crate::net::{Listener, Stream};
use crate::sim::net::{LinkConfig, keeps_peer_waiting};
use crate::sim::{SimNode, World};

async fn listen(node: &SimNode) -> (Listener, SocketAddr) {
    let listener = node.env().net.listen(SocketAddr::new(node.ip(), 9092)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A stream from node 1 to node 2, both ends.
async fn pair(world: &World) -> (Stream, Stream) {
    let (listener, addr) = listen(&world.node(2)).await;
    let client = world.node(1).env().net.connect(addr).await.unwrap();
    (client, listener.accept().await.unwrap())
}

async fn read_to_end(stream: &mut Stream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut buf = BytesMut::with_capacity(1000);
        if stream.reader.read(&mut buf).await? == 0 {
            return Ok(all);
        }
        all.extend_from_slice(&buf);
    }
}

async fn read_one(stream: &mut Stream) -> std::io::Result<usize> {
    stream.reader.read(&mut BytesMut::with_capacity(100)).await
}

#[test]
fn bytes_arrive_in_order_over_a_slow_and_heavy_tailed_link() {
    for seed in 0..10 {
        let world = World::new(seed);
        world.net().set_all(&LinkConfig {
            tail: 0.3,
            bytes_per_second: Some(1_000_000),
            send_buffer_bytes: 3000,
            receive_buffer_bytes: 2000,
            ..LinkConfig::default()
        });
        let sent: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        let received = world.run(async {
            let (client, mut server) = pair(&world).await;
            let data = sent.clone();
            let writer = world.node(1).spawn(async move {
                client.writer.write_all(&data).await.unwrap();
                client.writer.shutdown().unwrap();
                client
            });
            let received = read_to_end(&mut server).await.unwrap();
            drop(writer.await.unwrap());
            received
        });
        assert_eq!(received, sent);
        assert!(world.now() >= Duration::from_millis(200), "200 kB at 1 MB/s");
        assert!(world.fault_counts().contains_key("N4"));
    }
}

#[test]
fn a_full_buffer_stops_the_writer_until_the_reader_reads() {
    let world = World::new(1);
    world.run(async {
        let (client, mut server) = pair(&world).await;
        let chunk = [7; 4096];
        let mut written = 0;
        loop {
            match client.writer.try_write_vectored(&[IoSlice::new(&chunk)]) {
                Ok(count) => written += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    let wait = world.node(1).env().clock;
                    let writable = client.writer.writable();
                    if wait.timeout(Duration::from_secs(5), writable).await.is_err() {
                        break;
                    }
                }
            }
        }
        assert_eq!(written, 2 * 64 * 1024);
        let mut buf = BytesMut::with_capacity(100_000);
        server.reader.read(&mut buf).await.unwrap();
        client.writer.writable().await.unwrap();
    });
}

#[test]
fn each_end_of_a_peer_is_seen_as_what_it_is() {
    type Ending = fn(&World, Stream);
    let cases: [(&str, Ending, Option<ErrorKind>); 4] = [
        ("closed", |_, stream| drop(stream), None),
        ("killed", |world, _stream| world.node(2).kill(), Some(ErrorKind::ConnectionReset)),
        (
            "reset",
            |world, stream| {
                assert!(world.net().reset_some(2) == 1);
                std::mem::forget(stream);
            },
            Some(ErrorKind::ConnectionReset),
        ),
        (
            "exited",
            |world, stream| {
                std::mem::forget(stream);
                world.node(2).spawn_main(async { 3 });
            },
            Some(ErrorKind::ConnectionReset),
        ),
    ];
    for (name, end, expected) in cases {
        let world = World::new(1);
        world.run(async {
            let (mut client, server) = pair(&world).await;
            end(&world, server);
            let seen = read_one(&mut client).await;
            assert_eq!(seen.err().map(|error| error.kind()), expected, "{name}");
        });
    }
}

#[test]
fn a_power_cut_is_silence_until_the_machine_is_back_and_resets_what_is_sent() {
    let world = World::new(1);
    world.run(async {
        let (mut client, server) = pair(&world).await;
        std::mem::forget(server);
        world.node(2).power_cut();
        client.writer.write_all(b"anyone?").await.unwrap();
        let clock = world.node(1).env().clock;
        let silence = clock.timeout(Duration::from_secs(60), read_one(&mut client)).await;
        assert!(silence.is_err());
        world.node(2).restart();
        let seen = clock.timeout(Duration::from_secs(10), read_one(&mut client)).await.unwrap();
        assert_eq!(seen.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_half_open_connection_is_silent_until_its_peer_sends() {
    let world = World::new(1);
    world.run(async {
        let (mut client, mut server) = pair(&world).await;
        assert_eq!(world.net().half_open_some(2), 1);
        assert!(read_one(&mut server).await.is_err());
        let clock = world.node(1).env().clock;
        assert!(clock.timeout(Duration::from_secs(600), read_one(&mut client)).await.is_err());
        client.writer.write_all(b"?").await.unwrap();
        assert_eq!(read_one(&mut client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_blocked_link_holds_bytes_until_it_heals_or_the_sender_gives_up() {
    for heals in [true, false] {
        let world = World::new(1);
        world.run(async {
            let (mut client, mut server) = pair(&world).await;
            world.net().partition(&[1], &[2]);
            client.writer.write_all(b"held").await.unwrap();
            let clock = world.node(2).env().clock;
            assert!(clock.timeout(Duration::from_secs(60), read_one(&mut server)).await.is_err());
            if heals {
                world.net().heal_all();
                let read = clock.timeout(Duration::from_secs(5), read_one(&mut server)).await;
                assert_eq!(read.unwrap().unwrap(), 4);
            } else {
                let error = read_one(&mut client).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                assert!(world.now() > Duration::from_secs(120));
            }
            assert!(world.fault_counts()["N6"] > 0);
        });
    }
}

#[test]
fn connecting_is_refused_answered_late_or_not_at_all() {
    type Setting = fn(&World);
    let cases: [(&str, Setting, ErrorKind, u64); 4] = [
        ("nobody listens", |_| (), ErrorKind::ConnectionRefused, 0),
        ("killed", |world| world.node(2).kill(), ErrorKind::ConnectionRefused, 0),
        ("without power", |world| world.node(2).power_cut(), ErrorKind::ConnectionRefused, 0),
        ("black hole", |world| world.net().block(1, 2), ErrorKind::TimedOut, 127),
    ];
    for (name, set, expected, seconds) in cases {
        let world = World::new(1);
        world.run(async {
            let addr = SocketAddr::new(world.node(2).ip(), 9092);
            set(&world);
            let seen = world.node(1).env().net.connect(addr).await.err().unwrap();
            assert_eq!((seen.kind(), world.now().as_secs()), (expected, seconds), "{name}");
        });
    }
    let world = World::new(1);
    world.run(async {
        let (listener, addr) = listen(&world.node(2)).await;
        world.net().block(1, 2);
        let net = world.node(1).env().net;
        let connecting = world.node(1).spawn(async move { net.connect(addr).await });
        world.sleep(Duration::from_secs(10)).await;
        world.net().heal(1, 2);
        assert!(connecting.await.unwrap().is_ok());
        assert_eq!(listener.accept().await.unwrap().peer.ip(), world.node(1).ip());
    });
}

#[test]
fn a_full_backlog_answers_nothing() {
    let world = World::new(1);
    world.run(async {
        let (listener, addr) = listen(&world.node(2)).await;
        let net = world.node(1).env().net;
        let mut open = Vec::new();
        for _ in 0..128 {
            open.push(net.connect(addr).await.unwrap());
        }
        let clock = world.node(1).env().clock;
        assert!(clock.timeout(Duration::from_secs(30), net.connect(addr)).await.is_err());
        listener.accept().await.unwrap();
        net.connect(addr).await.unwrap();
        drop(listener);
        assert_eq!(read_one(&mut open[9]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn own_addresses_and_port_zero_work_and_others_are_refused() {
    let world = World::new(1);
    world.run(async {
        let net = world.node(1).env().net;
        for ip in ["127.0.0.1", "[::1]", "0.0.0.0", "10.0.0.1"] {
            let listener = net.listen(format!("{ip}:0").parse().unwrap()).await.unwrap();
            let addr = listener.local_addr().unwrap();
            assert_ne!(addr.port(), 0);
            let client = net.connect(addr).await.unwrap();
            assert_eq!(client.peer, addr, "{ip}");
            listener.accept().await.unwrap();
            let again = net.listen(addr).await.err().unwrap();
            assert_eq!(again.kind(), ErrorKind::AddrInUse, "{ip}");
            let other = world.node(2).env().net;
            let remote = SocketAddr::new(world.node(1).ip(), addr.port());
            let remote = other.connect(remote).await.is_ok();
            assert_eq!(remote, ["0.0.0.0", "10.0.0.1"].contains(&ip), "{ip}");
        }
        let foreign = net.listen("10.0.0.2:1".parse().unwrap()).await.err().unwrap();
        assert_eq!(foreign.kind(), ErrorKind::AddrNotAvailable);
    });
}

/// The numbers that arrive of 500 datagrams sent at once, in the order of arrival.
fn arrivals(config: &LinkConfig) -> (Vec<u32>, World) {
    let world = World::new(1);
    world.net().set_all(config);
    let numbers = world.run(async {
        let to = SocketAddr::new(world.node(2).ip(), 7946);
        let receiver = world.node(2).env().net.bind_datagram(to).await.unwrap();
        let from = SocketAddr::new(world.node(1).ip(), 0);
        let sender = world.node(1).env().net.bind_datagram(from).await.unwrap();
        let clock = world.node(2).env().clock;
        let reading = world.node(2).spawn(async move {
            let mut numbers = Vec::new();
            let mut buf = [0; 4];
            while let Ok(Ok((4, _))) =
                clock.timeout(Duration::from_secs(400), receiver.recv_from(&mut buf)).await
            {
                numbers.push(u32::from_le_bytes(buf));
            }
            numbers
        });
        for number in 0..500_u32 {
            sender.send_to(&number.to_le_bytes(), to).await.unwrap();
            if number % 100 == 0 {
                world.sleep(Duration::from_millis(1)).await;
            }
        }
        reading.await.unwrap()
    });
    (numbers, world)
}

#[test]
fn datagrams_are_lost_repeated_and_overtaken_as_their_link_says() {
    let quiet = LinkConfig { latency_max: Duration::from_micros(50), ..LinkConfig::default() };
    let (numbers, world) = arrivals(&quiet);
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..500).collect::<Vec<_>>());
    assert_eq!(world.fault_counts(), std::collections::BTreeMap::new());
    let cases = [
        ("N1", LinkConfig { loss: 0.2, ..quiet.clone() }, 300..480),
        ("N2", LinkConfig { duplicate: 0.2, ..quiet.clone() }, 520..700),
        ("N3", LinkConfig::default(), 500..501),
        ("N4", LinkConfig { tail: 0.2, ..quiet }, 500..501),
    ];
    for (kind, config, expected) in cases {
        let (numbers, world) = arrivals(&config);
        assert!(expected.contains(&numbers.len()), "{kind}: {}", numbers.len());
        assert!(world.fault_counts()[kind] > 0, "{kind}");
    }
}

#[test]
fn sockets_of_a_dead_incarnation_are_refused_and_counted_no_more() {
    let world = World::new(1);
    world.run(async {
        let (mut client, server) = pair(&world).await;
        let old = world.node(1).env().net;
        let addr = SocketAddr::new(world.node(1).ip(), 1);
        let listener = old.listen(addr).await.unwrap();
        let datagram = old.bind_datagram(addr).await.unwrap();
        let held = world.node(1).resources();
        assert_eq!((held.streams, held.listeners, held.datagrams), (1, 1, 1));
        world.node(1).kill();
        world.node(1).restart();
        assert!(read_one(&mut client).await.is_err());
        assert!(client.writer.write_all(b"late").await.is_err());
        assert!(client.writer.shutdown().is_err());
        assert!(listener.accept().await.is_err());
        assert!(datagram.send_to(b"late", addr).await.is_err());
        assert!(old.connect(addr).await.is_err());
        assert!(old.listen(addr).await.is_err());
        let new = world.node(1).env().net.listen(addr).await.unwrap();
        drop((listener, datagram, client, server));
        assert!(world.node(2).env().net.connect(addr).await.is_ok(), "the new listener stays");
        drop(new);
        assert_eq!(world.node(1).resources(), crate::sim::Resources::default());
    });
}

#[test]
fn an_end_and_a_reset_wait_for_their_partition_to_heal() {
    type Ending = fn(&World, Stream);
    let cases: [(&str, Ending, Option<ErrorKind>); 2] = [
        ("closed", |_, stream| drop(stream), None),
        ("killed", |world, _stream| world.node(2).kill(), Some(ErrorKind::ConnectionReset)),
    ];
    for ((name, end, expected), clogged) in cases.into_iter().zip([false, true]) {
        let world = World::new(1);
        world.run(async {
            let (mut client, server) = pair(&world).await;
            match clogged {
                true => world.net().clog(1, 2),
                false => world.net().partition(&[1], &[2]),
            }
            end(&world, server);
            let clock = world.node(1).env().clock;
            let seen = clock.timeout(Duration::from_secs(60), read_one(&mut client)).await;
            assert!(seen.is_err(), "{name}: {seen:?}");
            world.net().heal_all();
            let seen = clock.timeout(Duration::from_secs(5), read_one(&mut client)).await.unwrap();
            assert_eq!(seen.err().map(|error| error.kind()), expected, "{name}");
            let kind = if clogged { "N5" } else { "N6" };
            assert_eq!(world.fault_counts().into_iter().collect::<Vec<_>>(), [(kind, 1)], "{name}");
        });
    }
}

#[test]
fn what_a_partition_holds_is_gone_with_the_power_of_its_sender() {
    let world = World::new(1);
    world.run(async {
        let (mut client, server) = pair(&world).await;
        world.net().partition(&[1], &[2]);
        server.writer.write_all(b"held").await.unwrap();
        world.sleep(Duration::from_secs(1)).await;
        std::mem::forget(server);
        world.node(2).power_cut();
        world.net().heal_all();
        world.node(2).restart();
        let clock = world.node(1).env().clock;
        assert!(clock.timeout(Duration::from_secs(60), read_one(&mut client)).await.is_err());
        client.writer.write_all(b"?").await.unwrap();
        assert_eq!(read_one(&mut client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_link_that_changes_its_shape_is_slow_in_that_direction_only() {
    type Change = fn(&mut LinkConfig);
    let cases: [(&str, Change); 2] = [
        ("N4", |link| link.lag = Duration::from_millis(700)),
        ("N9", |link| link.bytes_per_second = Some(100)),
    ];
    for (kind, change) in cases {
        let world = World::new(1);
        world.run(async {
            let (mut client, mut server) = pair(&world).await;
            world.net().change_link(1, 2, change);
            let before = world.now();
            server.writer.write_all(&[1; 70]).await.unwrap();
            read_one(&mut client).await.unwrap();
            assert!(world.now() - before < Duration::from_millis(10), "{kind}");
            client.writer.write_all(&[1; 70]).await.unwrap();
            read_one(&mut server).await.unwrap();
            let took = (world.now() - before).as_millis();
            assert!((700..720).contains(&took), "{kind}: {took} ms");
            assert_eq!(world.fault_counts().into_iter().collect::<Vec<_>>(), [(kind, 1)]);
        });
    }
}

#[test]
fn a_middlebox_sees_each_segment_and_changes_those_that_it_wants_to() {
    let world = World::new(1);
    world.run(async {
        let (client, mut server) = pair(&world).await;
        world.net().set_middlebox(Some(Box::new(|passing| {
            assert_eq!((passing.from, passing.to), (1, 2));
            let wanted = passing.data.starts_with(b"b");
            wanted.then(|| bytes::Bytes::from(vec![b'x'; passing.data.len()]))
        })));
        for text in ["abc", "bcd", "cde"] {
            client.writer.write_all(text.as_bytes()).await.unwrap();
        }
        world.net().set_middlebox(None);
        client.writer.write_all(b"bye").await.unwrap();
        client.writer.shutdown().unwrap();
        assert_eq!(read_to_end(&mut server).await.unwrap(), b"abcxxxcdebye");
        assert_eq!(world.fault_counts()["N10"], 1);
    });
}

#[test]
fn a_node_at_anothers_old_address_is_met_by_its_peers_and_knows_nothing_of_them() {
    let world = World::new(1);
    world.run(async {
        let (mut client, server) = pair(&world).await;
        let (one, other) = (world.node(2), world.node(3));
        let address = one.ip();
        std::mem::forget(server);
        one.power_cut();
        other.kill();
        world.net().swap_addresses(2, 3);
        other.restart();
        assert_eq!(other.ip(), address);
        let refused = other.env().net.listen("10.0.0.3:1".parse().unwrap()).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::AddrNotAvailable);
        let (listener, addr) = listen(&other).await;
        client.writer.write_all(b"still there?").await.unwrap();
        assert_eq!(read_one(&mut client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let again = world.node(1).env().net.connect(addr).await.unwrap();
        assert_eq!((again.peer, listener.accept().await.unwrap().local), (addr, addr));
        assert_eq!(world.fault_counts()["N11"], 2);
        one.restart();
        assert_eq!(one.ip(), "10.0.0.3".parse::<std::net::IpAddr>().unwrap());
        other.kill();
        one.kill();
        world.net().swap_addresses(2, 3);
        assert_eq!(one.ip(), address);
    });
}

#[test]
fn a_peer_waits_for_who_does_not_read_once_no_buffer_has_room() {
    let world = World::new(1);
    let (send_buffer_bytes, receive_buffer_bytes) = (1_000, 500);
    world.net().set_all(&LinkConfig {
        send_buffer_bytes,
        receive_buffer_bytes,
        ..LinkConfig::default()
    });
    world.run(async {
        let (mut client, server) = pair(&world).await;
        let clock = world.node(2).env().clock;
        for (sent, waits) in [(1_500, false), (1, true)] {
            let written = clock.timeout(Duration::from_secs(1), async {
                server.writer.write_all(&vec![7; sent]).await.unwrap();
            });
            assert_eq!(written.await.is_err(), waits, "{sent} more");
            assert_eq!(keeps_peer_waiting(&client.reader), waits);
        }
        read_one(&mut client).await.unwrap();
        clock.sleep(Duration::from_secs(1)).await;
        assert!(!keeps_peer_waiting(&client.reader));
    });
}
