//! Claims about addresses, connecting and datagrams.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use crate::world::{World, poll_once};

pub(crate) fn addresses_are_those_of_the_two_ends(world: &impl World) {
    world.run(async move |place| {
        let listener = place.env.net.listen(place.any_port()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        assert!(addr.ip() == place.ip && addr.port() != 0);
        let (near, far) = tokio::join!(place.env.net.connect(addr), listener.accept());
        let (near, far) = (near.unwrap(), far.unwrap());
        assert_eq!((near.peer, far.local), (addr, addr));
        assert_eq!(near.local, far.peer);
        assert_ne!(near.local, addr);
    });
}

pub(crate) fn a_port_is_taken_once(world: &impl World) {
    world.run(async move |place| {
        let net = &place.env.net;
        let first = net.listen(place.any_port()).await.unwrap();
        let taken = first.local_addr().unwrap();
        assert_eq!(net.listen(taken).await.err().unwrap().kind(), ErrorKind::AddrInUse);
        drop(first);
        net.listen(taken).await.unwrap();

        let first = net.bind_datagram(place.any_port()).await.unwrap();
        let taken = first.local_addr().unwrap();
        assert_eq!(net.bind_datagram(taken).await.err().unwrap().kind(), ErrorKind::AddrInUse);
    });
}

pub(crate) fn a_port_is_free_again_while_its_last_connections_fade(world: &impl World) {
    world.run(async move |place| {
        let listener = place.env.net.listen(place.any_port()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(place.env.net.connect(addr), listener.accept());
        // The side that closes first is the one whose port a kernel keeps.
        drop((listener, far.unwrap()));
        let again = place.env.net.listen(addr).await.unwrap();
        assert_eq!(again.local_addr().unwrap(), addr);
        drop(near.unwrap());
    });
}

pub(crate) fn nobody_listening_is_refused(world: &impl World) {
    world.run(async move |place| {
        let listener = place.env.net.listen(place.any_port()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let error = place.env.net.connect(addr).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

pub(crate) fn an_accept_that_is_dropped_loses_no_connection(world: &impl World) {
    world.run(async move |place| {
        let listener = place.env.net.listen(place.any_port()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        for _ in 0..5 {
            let mut accepted = poll_once(listener.accept());
            assert!(accepted.is_none());
            let near = place.env.net.connect(addr).await.unwrap();
            while accepted.is_none() {
                let tick = Duration::from_micros(100);
                accepted = place.env.clock.timeout(tick, listener.accept()).await.ok();
            }
            assert_eq!(accepted.unwrap().unwrap().peer, near.local);
        }
    });
}

pub(crate) fn datagrams_arrive_with_their_sender(world: &impl World) {
    world.run(async move |place| {
        let near = place.env.net.bind_datagram(place.any_port()).await.unwrap();
        let far = place.env.net.bind_datagram(place.any_port()).await.unwrap();
        let mut buf = [0; 100];
        let (len, sender) = exchange(&place.env, (&near, &far), (b"ping", &mut buf)).await;
        assert_eq!((&buf[..len], sender), (&b"ping"[..], near.local_addr().unwrap()));
        let (len, sender) = exchange(&place.env, (&far, &near), (b"", &mut buf)).await;
        assert_eq!((len, sender), (0, far.local_addr().unwrap()));
        // Nobody there: the datagram is lost, and the sender does not learn of it.
        let gone = far.local_addr().unwrap();
        drop(far);
        for _ in 0..3 {
            near.send_to(b"lost", gone).await.unwrap();
        }
    });
}

pub(crate) fn a_longer_datagram_is_cut_to_the_buffer(world: &impl World) {
    world.run(async move |place| {
        let near = place.env.net.bind_datagram(place.any_port()).await.unwrap();
        let far = place.env.net.bind_datagram(place.any_port()).await.unwrap();
        let mut buf = [0; 3];
        let (len, _) = exchange(&place.env, (&near, &far), (b"longer", &mut buf)).await;
        assert_eq!(&buf[..len], b"lon");
        let (len, _) = exchange(&place.env, (&near, &far), (b"next", &mut buf)).await;
        assert_eq!(&buf[..len], b"nex");
        assert!(near.send_to(&[0; 70_000], far.local_addr().unwrap()).await.is_err());
    });
}

/// Sends until one datagram arrives: it may be lost, but loopback does not lose all of them.
async fn exchange(
    env: &rivven_io::Env,
    (from, to): (&rivven_io::net::Datagram, &rivven_io::net::Datagram),
    (data, buf): (&[u8], &mut [u8]),
) -> (usize, SocketAddr) {
    let addr = to.local_addr().unwrap();
    loop {
        from.send_to(data, addr).await.unwrap();
        let arrived = env.clock.timeout(Duration::from_secs(1), to.recv_from(buf)).await;
        if let Ok(arrived) = arrived {
            return arrived.unwrap();
        }
    }
}
