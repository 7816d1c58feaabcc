//! Members in the simulated world whose broker goes away in the middle of a rebalance, for longer
//! than a session and than operations are tried: they keep their places, and repeat nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rivven_client::assignor::Assignor;
use rivven_client::consumer::event::ConsumerEvent;
use rivven_client::{Consumer, ConsumerConfig, Error, Producer, ProducerConfig, ProducerRecord};
use rivven_io::sim::World;

use crate::fixture::TOPIC;
use crate::simulated::{self, BROKER, JUDGE, MEMBERS, PARTITIONS};

const RECORDS: usize = 300;
const SHORT: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

/// What one member was given.
#[derive(Default)]
struct Seen {
    /// How often, by partition and offset.
    given: BTreeMap<(i32, i64), u32>,
    events: Vec<ConsumerEvent>,
    errors: Vec<Error>,
}

impl Seen {
    async fn poll(&mut self, consumer: &mut Consumer) {
        match consumer.poll(SHORT).await {
            Ok(records) => {
                for record in records {
                    *self.given.entry((record.partition, record.offset)).or_default() += 1;
                }
            }
            Err(error) => self.errors.push(error),
        }
        self.events.extend(consumer.events());
    }
}

async fn write(world: &World, broker: SocketAddr) {
    let client = simulated::client(&world.node(JUDGE).env(), broker);
    let producer = Producer::new(client, ProducerConfig::default()).unwrap();
    for _ in 0..RECORDS {
        // Close waits for all of them.
        drop(producer.send(ProducerRecord::to(TOPIC).value("v")).await.unwrap());
    }
    producer.close().await;
}

fn member(world: &World, broker: SocketAddr, (id, assignor): (u64, Assignor)) -> Consumer {
    // Only a rebalance commits.
    let config = ConsumerConfig {
        auto_commit_interval: Duration::from_secs(3600),
        max_poll_interval: Duration::from_secs(60),
        ..simulated::config(assignor, None)
    };
    let client = simulated::client(&world.node(id).env(), broker);
    let mut consumer = Consumer::new(client, config).unwrap();
    consumer.subscribe(&[TOPIC]).unwrap();
    consumer
}

async fn story(world: &World, assignor: Assignor) {
    let node = world.node(BROKER);
    let broker = SocketAddr::new(node.ip(), 9092);
    simulated::start_broker(&node);
    simulated::create(simulated::client(&world.node(JUDGE).env(), broker)).await;
    write(world, broker).await;
    let mut first = member(world, broker, (MEMBERS[0], assignor));
    let mut second = member(world, broker, (MEMBERS[1], assignor));
    let (mut firsts, mut seconds) = (Seen::default(), Seen::default());
    while firsts.given.len() < RECORDS {
        firsts.poll(&mut first).await;
    }
    firsts.events.clear();
    // The second wants to join, and the first has heard of that when the broker goes away.
    seconds.poll(&mut second).await;
    world.sleep(Duration::from_secs(2)).await;
    node.kill();
    let begun = world.now();
    while world.now() - begun < Duration::from_secs(25) {
        firsts.poll(&mut first).await;
    }
    assert!(matches!(firsts.errors[..], [Error::Unreachable { .. }, ..]), "{:?}", firsts.errors);
    node.restart();
    simulated::start_broker(&node);
    let half = PARTITIONS as usize / 2;
    while first.assignment().len() != half || second.assignment().len() != half {
        firsts.poll(&mut first).await;
        seconds.poll(&mut second).await;
        assert!(world.now() - begun < PATIENCE, "{:?} {:?}", firsts.events, seconds.errors);
    }
    write(world, broker).await;
    while firsts.given.len() + seconds.given.len() < 2 * RECORDS {
        firsts.poll(&mut first).await;
        seconds.poll(&mut second).await;
        assert!(world.now() - begun < 2 * PATIENCE, "{} read", firsts.given.len());
    }
    let lost = firsts.events.iter().find(|event| matches!(event, ConsumerEvent::Lost { .. }));
    assert_eq!(lost, None);
    let repeated =
        firsts.given.iter().find(|(at, times)| **times > 1 || seconds.given.contains_key(at));
    assert_eq!(repeated, None);
}

#[test]
fn a_member_that_joins_keeps_its_place_while_its_coordinator_is_away() {
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let world = World::new(7);
        world.run(story(&world, assignor));
        assert!(world.take_panics().is_empty());
    }
}
