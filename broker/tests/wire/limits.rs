//! Limits that operators set: each has its effect.

use std::time::Duration;

use rivven_broker::config::Config;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::fetch::FetchRequest;
use rivven_core::kafka::messages::produce::ProduceRequest;

use crate::client::{batch, produce_one};
use crate::fetch::{bytes, fetch, one};
use crate::fixture::Fixture;
use crate::groups::{commit, committed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_beyond_max_request_size_ends_its_connection() {
    let fixture = Fixture::start_with(|config| config.max_request_size = 4096).await;
    let mut client = fixture.client().await;
    client.create("t", 1, &[]).await;
    let fits = batch(&fixture.env, &[&[b'x'; 3000]]);
    assert_eq!(client.produce("t", 0, fits).await.error_code, ErrorCode::NONE);
    client.send_or_lose(&4097i32.to_be_bytes()).await;
    assert!(client.is_closed().await);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_requests_ends_after_idle_timeout() {
    let short = |config: &mut Config| config.idle_timeout = Duration::from_millis(100);
    let fixture = Fixture::start_with(short).await;
    assert!(fixture.client().await.is_closed().await);
    fixture.stop().await;
}

/// Whether a batch that a client produces while its fetch waits is what the fetch finds.
async fn is_read_meanwhile(in_flight: usize) -> bool {
    let fixture = Fixture::start_with(|config| config.in_flight_requests_max = in_flight).await;
    let mut client = fixture.client().await;
    client.create("t", 1, &[]).await;
    let waiting = FetchRequest { max_wait_ms: 1000, ..fetch("t", 0) };
    client.send(11, &waiting).await;
    client.send(8, &produce_one("t", 0, Some(batch(&fixture.env, &[b"v"])))).await;
    let (_, mut fetched) = client.receive::<FetchRequest>(11).await;
    let (_, produced) = client.receive::<ProduceRequest>(8).await;
    assert_eq!(produced.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    fixture.stop().await;
    bytes(&fetched.responses.remove(0).partitions.remove(0)) > 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_max_in_flight_requests_are_read() {
    assert!(!is_read_meanwhile(1).await);
    assert!(is_read_meanwhile(2).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_a_consumer_ends_at_fetch_max_bytes() {
    let fixture = Fixture::start_with(|config| config.fetch_max_bytes = 5000).await;
    let mut client = fixture.client().await;
    client.create("t", 1, &[]).await;
    let records = batch(&fixture.env, &[&[b'x'; 2000]]);
    for _ in 0..3 {
        client.produce("t", 0, records.clone()).await;
    }
    assert_eq!(bytes(&one(&mut client, &fetch("t", 0)).await), 2 * records.len());
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_as_many_fetch_sessions_as_slots() {
    for slots in [0, 1] {
        let fixture = Fixture::start_with(|config| config.fetch_sessions_max = slots).await;
        let mut client = fixture.client().await;
        client.create("t", 1, &[]).await;
        let opening = FetchRequest { session_epoch: 0, ..fetch("t", 0) };
        for has_room in [slots > 0, false] {
            let response = client.call(11, &opening).await;
            assert_eq!(response.error_code, ErrorCode::NONE);
            assert_eq!(response.session_id != 0, has_room, "{slots}");
        }
        fixture.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_go_at_the_first_look_after_their_retention() {
    let fixture = Fixture::start_with(|config| {
        config.offsets_retention = Duration::from_millis(1);
        config.offsets_retention_check_interval = Duration::from_millis(50);
        config.offsets_topic_partitions = 1;
    })
    .await;
    let mut client = fixture.client().await;
    client.create("t", 1, &[]).await;
    assert_eq!(commit(&mut client, ("", -1), ("t", 5)).await, ErrorCode::NONE);
    while !committed(&mut client).await.is_empty() {}
    fixture.stop().await;
}
