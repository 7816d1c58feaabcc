//! Connections to a broker that answers the first request and no other.

use std::time::Duration;

use bytes::BytesMut;
use rivven_core::kafka::codec::api::SERVED;
use rivven_core::kafka::codec::frame::encode_response;
use rivven_core::kafka::codec::header::RequestHeader;
use rivven_core::kafka::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use rivven_core::kafka::messages::metadata::MetadataRequest;
use rivven_io::Env;
use rivven_io::net::{Listener, Stream};

use super::{Connection, ConnectionError};
use crate::config::ClientConfig;

async fn serve(listener: Listener) {
    let mut streams = Vec::new();
    while let Ok(mut stream) = listener.accept().await {
        answer_first(&mut stream).await;
        streams.push(stream);
    }
}

async fn answer_first(stream: &mut Stream) {
    let mut received = BytesMut::new();
    while received.first_chunk().is_none_or(|length| {
        received.len() < 4 + usize::try_from(u32::from_be_bytes(*length)).unwrap()
    }) {
        received.reserve(4096);
        assert!(stream.reader.read(&mut received).await.unwrap() > 0);
    }
    let (header, _) = RequestHeader::decode(received.freeze().slice(4..)).unwrap();
    let rows = SERVED.iter().map(|served| ApiVersion {
        api_key: served.key as i16,
        min_version: served.version_min,
        max_version: served.version_max,
    });
    let answer = ApiVersionsResponse { api_keys: rows.collect(), ..Default::default() };
    let pieces = encode_response(header.correlation_id, header.api_version, &answer);
    stream.writer.write_all(&pieces.concat()).await.unwrap();
}

async fn connection(in_flight_max: usize) -> Connection {
    let env = Env::real();
    let listener = env.net.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(env.tasks.spawn("silent-broker", serve(listener)));
    let config = ClientConfig { in_flight_max, ..ClientConfig::default() };
    Connection::open(&env, address, &config).await.unwrap()
}

#[tokio::test]
async fn an_answer_that_is_overdue_ends_the_connection_though_nobody_waits_for_it() {
    let connection = connection(4).await;
    let request = MetadataRequest::default();
    drop(connection.send(&request, Duration::ZERO).await.unwrap());
    while connection.end().is_none() {
        tokio::task::yield_now().await;
    }
    let late = Err(ConnectionError::TimedOut(Duration::ZERO));
    assert_eq!(connection.send(&request, Duration::from_secs(60)).await.map(drop), late);
}

#[tokio::test]
async fn a_place_is_waited_for_no_longer_than_an_answer() {
    let connection = connection(2).await;
    let request = MetadataRequest::default();
    for _ in 0..2 {
        drop(connection.send(&request, Duration::from_secs(3600)).await.unwrap());
    }
    let short = Duration::from_millis(20);
    let late = Err(ConnectionError::TimedOut(short));
    assert_eq!(connection.send(&request, short).await.map(drop), late);
    assert_eq!(connection.end(), None, "the others may still be answered");
}
