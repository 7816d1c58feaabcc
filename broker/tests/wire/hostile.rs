//! Clients that mean harm: they cost themselves, and nobody else.

use std::time::Duration;

use rivven_core::kafka::codec::error_code::ErrorCode;

use crate::client::{Client, batch};
use crate::fixture::Fixture;

/// Frames of random bytes. `scripts/long-check` runs more of them through the codec.
const HOSTILE_FRAMES: u64 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
/// A neighbour's produce may take no longer while others attack; without them it takes some ms.
const NEIGHBOUR_PATIENCE: Duration = Duration::from_secs(5);

async fn assert_served(fixture: &Fixture, neighbour: &mut Client) {
    let records = batch(&fixture.env, &[&[1; 10_000]]);
    for _ in 0..5 {
        let produced = neighbour.produce("n", 0, records.clone());
        let row = fixture.env.clock.timeout(NEIGHBOUR_PATIENCE, produced).await;
        assert_eq!(row.expect("a neighbour is served").error_code, ErrorCode::NONE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_announcements_of_100_mb_cost_little() {
    let fixture = Fixture::start().await;
    let mut neighbour = fixture.client().await;
    neighbour.create("n", 1, &[]).await;
    let mut hogs = Vec::new();
    for _ in 0..1000 {
        let hog = fixture.client().await;
        hog.send_bytes(&104_857_600i32.to_be_bytes()).await;
        hog.send_bytes(&[0; 100]).await;
        hogs.push(hog);
    }
    assert_served(&fixture, &mut neighbour).await;
    drop(hogs);
    assert_served(&fixture, &mut neighbour).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_is_used_up_is_taken_from_the_largest_frame_that_is_stuck() {
    let fixture = Fixture::start_with(|config| {
        config.memory_bytes = 32 << 20;
        config.max_connections = 256;
    })
    .await;
    let mut neighbour = fixture.client().await;
    neighbour.create("n", 1, &[]).await;
    let mut hogs = Vec::new();
    let part = vec![0; 1 << 20];
    for _ in 0..40 {
        let hog = fixture.client().await;
        hog.send_bytes(&3_000_000i32.to_be_bytes()).await;
        hogs.push(hog);
    }
    // What does not fit the broker's memory stays with the sockets, so nobody waits for this.
    let flood = async {
        for hog in &hogs {
            let sent = hog.send_bytes(&part);
            let _ = fixture.env.clock.timeout(Duration::from_millis(200), sent).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = assert_served(&fixture, &mut neighbour) => {}
        () = flood => {}
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_frames_close_connections_and_nothing_else() {
    let fixture = Fixture::start().await;
    let mut neighbour = fixture.client().await;
    neighbour.create("n", 1, &[]).await;
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let keys = [0i16, 1, 2, 3, 9, 10, 18, 19, 20, 21, 22, 32, 33, 37, 44, 60];
    let mut sent = 0;
    while sent < HOSTILE_FRAMES {
        let mut bytes = Vec::new();
        // A connection ends with the first frame that is refused; many are, so few go in one.
        for _ in 0..64 {
            let mut frame = keys[random() as usize % keys.len()].to_be_bytes().to_vec();
            frame.extend_from_slice(&((random() % 15) as i16).to_be_bytes());
            frame.extend_from_slice(&[0, 0, 0, 1, 0xff, 0xff]);
            let length = random() % 40;
            frame.extend((0..length).map(|_| (random() >> (random() % 56)) as u8));
            bytes.extend_from_slice(&(frame.len() as i32).to_be_bytes());
            bytes.extend_from_slice(&frame);
            sent += 1;
        }
        fixture.client().await.send_or_lose(&bytes).await;
    }
    assert_served(&fixture, &mut neighbour).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_closed() {
    let fixture = Fixture::start_with(|config| config.max_connections = 2).await;
    let mut first = fixture.client().await;
    first.create("n", 1, &[]).await;
    let mut second = fixture.client().await;
    second.metadata("n").await;
    assert!(fixture.client().await.is_closed().await);
    assert_served(&fixture, &mut first).await;
    fixture.stop().await;
}
