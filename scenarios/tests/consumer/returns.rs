//! A static member in the simulated world that comes back to its old assignment while the topics
//! that this was made from have changed: nobody but itself could notice.

use std::net::SocketAddr;
use std::time::Duration;

use rivven_client::assignor::Assignor;
use rivven_client::{Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord};
use rivven_io::sim::World;

use crate::fixture::TOPIC;
use crate::simulated::{self, BROKER, JUDGE, MEMBERS};

const LATER: &str = "later";
const SHORT: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

fn member(world: &World, broker: SocketAddr, node: u64) -> Consumer {
    let config = ConsumerConfig {
        session_timeout: Duration::from_secs(30),
        allow_auto_create_topics: false,
        ..simulated::config(Assignor::Range, Some("returning".to_owned()))
    };
    let client = simulated::client(&world.node(node).env(), broker);
    let mut consumer = Consumer::new(client, config).unwrap();
    consumer.subscribe(&[TOPIC, LATER]).unwrap();
    consumer
}

async fn write(world: &World, broker: SocketAddr, topic: &str) {
    let client = simulated::client(&world.node(JUDGE).env(), broker);
    let producer = Producer::new(client, ProducerConfig::default()).unwrap();
    drop(producer.send(ProducerRecord::to(topic).value("v")).await.unwrap());
    producer.close().await;
}

/// Polls until a record of the topic comes.
async fn read(world: &World, consumer: &mut Consumer, topic: &str) {
    let begun = world.now();
    while !consumer.poll(SHORT).await.unwrap().iter().any(|record| &*record.topic == topic) {
        assert!(world.now() - begun < PATIENCE, "{topic} is not read: {:?}", consumer.assignment());
    }
}

async fn story(world: &World) {
    let node = world.node(BROKER);
    let broker = SocketAddr::new(node.ip(), 9092);
    simulated::start_broker(&node);
    simulated::create(simulated::client(&world.node(JUDGE).env(), broker)).await;
    write(world, broker, TOPIC).await;
    let mut first = member(world, broker, MEMBERS[0]);
    read(world, &mut first, TOPIC).await;
    // It does not leave: its place waits for it until the session ends.
    drop(first);
    write(world, broker, LATER).await;
    let mut second = member(world, broker, MEMBERS[1]);
    read(world, &mut second, LATER).await;
}

#[test]
fn a_leader_that_comes_back_sees_topics_that_came_while_it_was_away() {
    let world = World::new(11);
    world.run(story(&world));
    assert!(world.take_panics().is_empty());
}
