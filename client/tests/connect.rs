//! Whom a client connects to, and how long it tries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use rivven_client::{Client, ClientConfig, Error, Lane, Target};
use rivven_core::kafka::codec::api::{SERVED, Served};
use rivven_core::kafka::codec::frame::encode_response;
use rivven_core::kafka::codec::header::RequestHeader;
use rivven_core::kafka::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use rivven_io::Env;
use rivven_io::net::Stream;

/// What a peer does with each connection.
#[derive(Clone, Copy)]
enum Peer {
    /// Says which versions it serves.
    Answers,
    /// Reads, and says nothing.
    Silent,
    Closes,
}

/// Its address, and how many connections it got.
async fn start(env: &Env, peer: Peer) -> (String, Arc<AtomicUsize>) {
    let listener = env.net.listen(([127, 0, 0, 1], 0).into()).await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let (serving, counted) = (env.clone(), count.clone());
    drop(env.tasks.spawn("accept", async move {
        while let Ok(stream) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(serving.tasks.spawn("serve", serve(stream, peer)));
        }
    }));
    (address, count)
}

async fn serve(mut stream: Stream, peer: Peer) {
    let mut received = BytesMut::with_capacity(4096);
    while !matches!(peer, Peer::Closes)
        && matches!(stream.reader.read(&mut received).await, Ok(1..))
    {
        if matches!(peer, Peer::Answers) {
            let frame = received.split().freeze().slice(4..);
            let (header, _) = RequestHeader::decode(frame).expect("a header");
            let row = |served: &Served| ApiVersion {
                api_key: served.key as i16,
                min_version: served.version_min,
                max_version: served.version_max,
            };
            let api_keys = SERVED.iter().map(row).collect();
            let answer = ApiVersionsResponse { api_keys, ..Default::default() };
            let pieces = encode_response(header.correlation_id, header.api_version, &answer);
            stream.writer.write_all(&pieces.concat()).await.expect("written");
        }
        received.reserve(4096);
    }
}

fn run(work: impl AsyncFnOnce(Env)) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { work(Env::real()).await });
}

#[test]
fn a_client_stays_with_a_broker_that_answers() {
    run(async |env| {
        let (good, _) = start(&env, Peer::Answers).await;
        let (bad, tried) = start(&env, Peer::Closes).await;
        for _ in 0..12 {
            let config = ClientConfig::to(&format!("{bad},{good}"));
            let client = Client::new(env.clone(), config).expect("a client");
            client.connect(Target::Any, Lane::Admin).await.expect("one answers");
            let before = tried.load(Ordering::SeqCst);
            for lane in [Lane::Produce, Lane::Fetch, Lane::Group] {
                client.connect(Target::Any, lane).await.expect("it still answers");
            }
            assert_eq!(tried.load(Ordering::SeqCst), before, "what failed comes last");
        }
    });
}

#[test]
fn dead_brokers_take_no_longer_together_than_the_api_timeout() {
    run(async |env| {
        let mut addresses = Vec::new();
        for _ in 0..10 {
            addresses.push(start(&env, Peer::Silent).await.0);
        }
        let limit = Duration::from_millis(300);
        let config = ClientConfig {
            connect_timeout: limit,
            api_timeout: limit,
            ..ClientConfig::to(&addresses.join(","))
        };
        let begun = env.clock.now();
        let client = Client::new(env.clone(), config).expect("a client");
        let error = client.connect(Target::Any, Lane::Admin).await.err().expect("nobody answers");
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(env.clock.now().since(begun) < 5 * limit, "ten times as long if one by one");
    });
}
