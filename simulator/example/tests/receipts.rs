//! The shop under every fault of the simulator: its own processes die, the broker dies, connections
//! break; in the end each order has a receipt.
#![cfg(feature = "sim")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rivven_client::admin::Admin;
use rivven_client::admin::topics::NewTopic;
use rivven_client::assignor::TopicPartition;
use rivven_client::consumer::config::OffsetReset;
use rivven_client::{Client, Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord};
use rivven_example_application::{Commits, ORDERS, RECEIPTS, client, work};
use rivven_simulator::app::{self, App, Stage};

/// Between two orders.
const PACE: Duration = Duration::from_millis(50);
/// In which the workers must have caught up, once nothing disturbs them any more.
const CATCH_UP: Duration = Duration::from_secs(30);

fn stage() -> Stage {
    Stage::new(&["worker-a", "worker-b"]).kills_per_minute(6)
}

#[test]
fn every_order_has_a_receipt_whatever_breaks() {
    app::check(&stage().seeds(0..10), |app| story(app, Commits::AfterReceipts));
}

#[test]
fn a_worker_that_commits_too_early_is_found() {
    let found =
        app::first_failure(&stage().seeds(0..10), |app| story(app, Commits::BeforeReceipts));
    let found = found.expect("orders that nobody reads again");
    assert_eq!(found.violation.property, "application");
    assert!(found.violation.text.contains("orders without a receipt"), "{found}");
}

async fn story(app: App, commits: Commits) {
    let client = client(app.env(), &app.bootstrap()).expect("the broker's address is sound");
    let topic = || NewTopic { partitions: Some(3), ..NewTopic::default() };
    let topics = BTreeMap::from([(ORDERS.to_owned(), topic()), (RECEIPTS.to_owned(), topic())]);
    Admin::new(client.clone()).create_topics(&topics, false).await.expect("a young broker");
    for worker in ["worker-a", "worker-b"] {
        let bootstrap = app.bootstrap();
        app.process(worker, move |env| work(env, bootstrap.clone(), commits));
    }
    let placed = place_orders(&app, &client).await;
    let mut missing = placed;
    let reader = read_receipts(&client, &mut missing);
    // What is missing when the time is up says more than that it is up.
    let _ = app.env().clock.timeout(CATCH_UP, reader).await;
    assert!(missing.is_empty(), "orders without a receipt: {missing:?}");
}

/// Places orders until the faults are over; those that are in the log for certain.
async fn place_orders(app: &App, client: &Client) -> BTreeSet<String> {
    let config = ProducerConfig::default();
    let producer = Producer::new(client.clone(), config).expect("the configuration is sound");
    let mut placed = BTreeSet::new();
    let mut number = 0;
    while app.env().clock.timeout(PACE, app.healed()).await.is_err() {
        let order = format!("order-{number}");
        number += 1;
        let mut record = ProducerRecord::to(ORDERS);
        record.key = Some(order.clone().into());
        record.value = Some("one teapot".into());
        let Ok(delivery) = producer.send(record).await else { continue };
        if delivery.wait().await.is_ok() {
            placed.insert(order);
        }
    }
    placed
}

/// Reads receipts until none is missing.
async fn read_receipts(client: &Client, missing: &mut BTreeSet<String>) {
    let config = ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        enable_auto_commit: false,
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::new(client.clone(), config).expect("the configuration is sound");
    let partition = |partition| TopicPartition { topic: RECEIPTS.into(), partition };
    consumer.assign(&[0, 1, 2].map(partition)).expect("a fresh consumer");
    while !missing.is_empty() {
        for receipt in consumer.poll(Duration::from_secs(1)).await.unwrap_or_default() {
            let key = receipt.key.expect("a receipt has its order's key");
            missing.remove(std::str::from_utf8(&key).expect("orders have plain names"));
        }
    }
}
