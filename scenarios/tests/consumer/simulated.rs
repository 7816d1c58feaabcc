//! Members of a group in the simulated world, where broker, network and members fail: every record
//! is given out, none is committed before that, and no partition is read by two members at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rivven_broker::config::Config;
use rivven_broker::lifecycle::Broker;
use rivven_client::assignor::{Assignor, TopicPartition};
use rivven_client::consumer::config::OffsetReset;
use rivven_client::consumer::event::ConsumerEvent;
use rivven_client::consumer::record::ConsumerRecord;
use rivven_client::{Client, ClientConfig, Consumer, ConsumerConfig, Error, Lane, Target};
use rivven_core::ids::{TimestampMs, TopicId};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use rivven_core::kafka::messages::produce::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_io::Env;
use rivven_io::sim::{SimNode, World};

use crate::fixture::TOPIC;

const SEEDS: u64 = 8;
pub(crate) const PARTITIONS: i32 = 6;
pub(crate) const BROKER: u64 = 1;
pub(crate) const JUDGE: u64 = 2;
pub(crate) const MEMBERS: [u64; 3] = [11, 12, 13];
/// Time with faults, and the longest time after them.
const TROUBLED: Duration = Duration::from_secs(90);
const PATIENCE: Duration = Duration::from_secs(120);

/// What all have seen.
#[derive(Default)]
struct Story {
    given: BTreeMap<i32, BTreeSet<i64>>,
    repeated: usize,
    /// The stint of a member that gave a partition's records out last.
    stints: BTreeMap<i32, u64>,
    stint_count: u64,
    /// Nothing more is written.
    is_quiet: bool,
    is_over: bool,
    events: BTreeMap<&'static str, usize>,
}

type Shared = Arc<Mutex<Story>>;

/// A member's stints as owner of partitions, each with a number.
#[derive(Default)]
struct Stints(BTreeMap<TopicPartition, u64>);

impl Stints {
    fn note_events(&mut self, events: Vec<ConsumerEvent>, story: &Shared) {
        let mut story = story.lock().unwrap();
        for event in events {
            match event {
                ConsumerEvent::Assigned(partitions) => {
                    *story.events.entry("assigned").or_default() += 1;
                    for of in partitions {
                        story.stint_count += 1;
                        let before = self.0.insert(of.clone(), story.stint_count);
                        assert_eq!(before, None, "{of} is assigned to who has it");
                    }
                }
                ConsumerEvent::Revoked(partitions) => {
                    *story.events.entry("revoked").or_default() += 1;
                    self.0.retain(|of, _| !partitions.contains(of));
                }
                ConsumerEvent::Lost { partitions, .. } => {
                    *story.events.entry("lost").or_default() += 1;
                    self.0.retain(|of, _| !partitions.contains(of));
                }
            }
        }
    }

    fn note_records(&self, records: &[ConsumerRecord], story: &Shared) {
        let mut story = story.lock().unwrap();
        for record in records {
            let of = TopicPartition::new(record.topic.clone(), record.partition);
            let stint = *self.0.get(&of).unwrap_or_else(|| panic!("{of} is not owned"));
            let newest = story.stints.entry(record.partition).or_default();
            assert!(stint >= *newest, "{of} at {} has a new owner", record.offset);
            *newest = stint;
            let is_new = story.given.entry(record.partition).or_default().insert(record.offset);
            story.repeated += usize::from(!is_new);
        }
    }
}

pub(crate) fn client(env: &Env, broker: SocketAddr) -> Client {
    let config = ClientConfig {
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(3),
        api_timeout: Duration::from_secs(10),
        ..ClientConfig::to(&broker.to_string())
    };
    Client::new(env.clone(), config).unwrap()
}

fn draw(env: &Env, below: u64) -> u64 {
    env.rng.u64() % below
}

async fn pause(env: &Env, below_ms: u64) {
    env.clock.sleep(Duration::from_millis(draw(env, below_ms))).await;
}

pub(crate) fn config(assignor: Assignor, name: Option<String>) -> ConsumerConfig {
    ConsumerConfig {
        group: Some("g".to_owned()),
        instance_id: name,
        assignors: vec![assignor],
        session_timeout: Duration::from_secs(6),
        heartbeat_interval: Duration::from_millis(500),
        max_poll_interval: Duration::from_secs(5),
        auto_commit_interval: Duration::from_millis(700),
        auto_offset_reset: OffsetReset::Earliest,
        max_poll_records: 20,
        max_partition_fetch_bytes: 2000,
        ..ConsumerConfig::default()
    }
}

/// Consumers one after the other, until the story is over.
async fn member(env: Env, broker: SocketAddr, story: Shared, assignor: Assignor) -> i32 {
    // Some come back under their name after every end.
    let name = (draw(&env, 3) == 0).then(|| format!("i-{}", draw(&env, 1 << 40)));
    while !story.lock().unwrap().is_over {
        let config = ConsumerConfig {
            enable_auto_commit: draw(&env, 4) > 0,
            ..config(assignor, name.clone())
        };
        let mut consumer = Consumer::new(client(&env, broker), config).unwrap();
        consumer.subscribe(&[TOPIC]).unwrap();
        let polls = 20 + draw(&env, 300);
        work(&env, &mut consumer, (&story, polls)).await;
        let end = draw(&env, 4);
        if end > 0 {
            let limit = Duration::from_secs(if end == 1 { 1 } else { 60 });
            // A close that is cut off leaves the rest to the session timeout.
            let _ = env.clock.timeout(limit, consumer.close()).await;
        }
        pause(&env, 2000).await;
    }
    0
}

async fn work(env: &Env, consumer: &mut Consumer, (story, polls): (&Shared, u64)) {
    let mut stints = Stints::default();
    for _ in 0..polls {
        if story.lock().unwrap().is_over {
            return;
        }
        let poll = consumer.poll(Duration::from_millis(draw(env, 400)));
        let limit = if draw(env, 4) == 0 { draw(env, 5) } else { 10_000 };
        let polled = env.clock.timeout(Duration::from_millis(limit), poll).await;
        let records = match polled {
            Err(_) => continue,
            Ok(Ok(records)) => records,
            Ok(Err(error)) => {
                stints.note_events(consumer.events(), story);
                check_error(&error);
                pause(env, 300).await;
                continue;
            }
        };
        // A poll that brings events brings no records.
        let events = consumer.events();
        assert!(events.is_empty() || records.is_empty());
        stints.note_events(events, story);
        stints.note_records(&records, story);
        if !records.is_empty() {
            let work_ms = if draw(env, 200) == 0 { 7000 } else { 30 };
            pause(env, work_ms).await;
        }
        if draw(env, 30) == 0 {
            let commit = consumer.commit();
            let _ = env.clock.timeout(Duration::from_millis(draw(env, 3000)), commit).await;
        }
    }
}

/// Trouble with the broker is no surprise; anything else is.
fn check_error(error: &Error) {
    let is_expected = match error {
        Error::Unreachable { .. } | Error::Connection { .. } | Error::TimedOut { .. } => true,
        // The member before was cut off from the broker, and its connection is still open there.
        Error::Refused { code, .. } => {
            *code == ErrorCode::FENCED_INSTANCE_ID || code.is_retriable()
        }
        Error::Uncertain { .. } | Error::Malformed(_) | Error::Invalid(_) | Error::Closed => false,
    };
    assert!(is_expected, "{error}");
}

pub(crate) fn start_broker(node: &SimNode) {
    let env = node.env();
    node.spawn_main(async move {
        let config = Config {
            data_dir: "/data".into(),
            bind: vec![SocketAddr::from(([0, 0, 0, 0], 9092))],
            bind_is_default: false,
            group_initial_rebalance_delay: Duration::from_millis(50),
            group_min_session_timeout: Duration::from_secs(1),
            offsets_topic_partitions: 2,
            ..Config::default()
        };
        let broker = Broker::start(env, config).await.unwrap();
        broker.failed().await;
        4
    });
}

pub(crate) async fn create(client: Client) {
    let topic = CreatableTopic {
        name: TOPIC.into(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 10_000,
        ..CreateTopicsRequest::default()
    };
    // The broker may still be starting.
    while client.call(Target::Any, Lane::Admin, &request).await.is_err()
        || client.topics(&[TOPIC], false).await.is_err()
    {
        client.env().clock.sleep(Duration::from_millis(100)).await;
    }
}

/// Writes until the story is quiet. A record that is written twice is two records.
async fn write(env: Env, client: Client, story: Shared) {
    while !story.lock().unwrap().is_quiet {
        let mut batch = BatchBuilder::new(TimestampMs(1));
        for _ in 0..=draw(&env, 5) {
            batch = batch.push(NewRecord::value(b"some value"));
        }
        let index = i32::try_from(draw(&env, 6)).unwrap();
        let records = Some(batch.build().into());
        let image = client.topics(&[TOPIC], false).await.unwrap_or_default();
        let topic_id = image.topics.get(TOPIC).map_or(TopicId::NIL, |topic| topic.id);
        let topic = TopicProduceData {
            name: TOPIC.into(),
            topic_id,
            partition_data: vec![PartitionProduceData { index, records }],
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 3000,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        let _ = client.call(Target::Any, Lane::Produce, &request).await;
        pause(&env, 60).await;
    }
}

/// Faults of every kind, one after the other; at the end all is well.
async fn trouble(world: &World, spawn: impl Fn(u64)) {
    let env = world.node(JUDGE).env();
    let (begun, net) = (env.clock.now(), world.net());
    while env.clock.now().since(begun) < TROUBLED {
        pause(&env, 6000).await;
        let member = MEMBERS[usize::try_from(draw(&env, 3)).unwrap()];
        match draw(&env, 6) {
            0 => {
                let broker = world.node(BROKER);
                broker.kill();
                pause(&env, 3000).await;
                broker.restart();
                start_broker(&broker);
            }
            1 => drop(net.reset_some(BROKER)),
            2 => drop(net.half_open_some(BROKER)),
            3 => {
                net.partition(&[BROKER], &[member]);
                pause(&env, 12_000).await;
                net.heal_all();
            }
            4 => {
                let node = world.node(member);
                node.restart();
                spawn(member);
            }
            _ => {
                let node = world.node(member);
                node.pause();
                pause(&env, 9000).await;
                node.resume();
            }
        }
    }
    net.heal_all();
}

/// Offsets that a consumer of its own finds in the log, and what the group has committed.
async fn look(env: &Env, broker: SocketAddr) -> (BTreeMap<i32, i64>, BTreeMap<i32, i64>) {
    let all: Vec<TopicPartition> = (0..PARTITIONS).map(|p| TopicPartition::new(TOPIC, p)).collect();
    let group = Some("g".to_owned());
    let config = ConsumerConfig { group, enable_auto_commit: false, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(client(env, broker), config).unwrap();
    consumer.assign(&all).unwrap();
    consumer.seek_to_end(&all).unwrap();
    let committed = consumer.committed(&all).await.unwrap_or_default();
    let committed = committed.into_iter().map(|(of, at)| (of.partition, at.offset)).collect();
    let mut ends = BTreeMap::new();
    for of in &all {
        ends.insert(of.partition, consumer.position(of).await.unwrap_or(0));
    }
    (ends, committed)
}

fn check_committed(committed: &BTreeMap<i32, i64>, story: &Shared) {
    let story = story.lock().unwrap();
    for (partition, end) in committed {
        let given = story.given.get(partition).map_or(0, |given| given.range(..end).count());
        assert_eq!(i64::try_from(given).unwrap(), *end, "{partition}: committed, not given out");
    }
}

/// Waits until the records of a quiet log were all given out.
async fn settle(env: &Env, broker: SocketAddr, story: &Shared) -> Result<(), String> {
    let begun = env.clock.now();
    loop {
        let (ends, committed) = look(env, broker).await;
        check_committed(&committed, story);
        let missing: BTreeMap<i32, usize> = {
            let story = story.lock().unwrap();
            let missing = |(partition, end): (&i32, &i64)| {
                let given = story.given.get(partition);
                let missing = (0..*end).filter(|at| !given.is_some_and(|given| given.contains(at)));
                (*partition, missing.count())
            };
            ends.iter().map(missing).filter(|(_, missing)| *missing > 0).collect()
        };
        if missing.is_empty() && ends.len() == PARTITIONS as usize {
            return Ok(());
        }
        if env.clock.now().since(begun) > PATIENCE {
            return Err(format!("not given out: {missing:?}"));
        }
        env.clock.sleep(Duration::from_secs(1)).await;
    }
}

fn run(seed: u64) -> Story {
    let assignor = match seed % 3 {
        0 => Assignor::Range,
        1 => Assignor::CooperativeSticky,
        _ => Assignor::Sticky,
    };
    let world = World::new(seed);
    let story = Shared::default();
    let (broker, judge) = (world.node(BROKER), world.node(JUDGE));
    let (env, address) = (judge.env(), SocketAddr::new(broker.ip(), 9092));
    let spawn = |id: u64| {
        let node = world.node(id);
        node.spawn_main(member(node.env(), address, story.clone(), assignor));
    };
    let settled = world.run(async {
        start_broker(&broker);
        let writer = client(&env, address);
        judge.spawn(create(writer.clone())).await.unwrap();
        let writing = judge.spawn(write(env.clone(), writer, story.clone()));
        MEMBERS.iter().copied().for_each(&spawn);
        trouble(&world, &spawn).await;
        story.lock().unwrap().is_quiet = true;
        writing.await.unwrap();
        let settling = {
            let (env, story) = (env.clone(), story.clone());
            judge.spawn(async move { settle(&env, address, &story).await })
        };
        let settled = settling.await.unwrap();
        story.lock().unwrap().is_over = true;
        world.sleep(Duration::from_secs(70)).await;
        settled
    });
    let panics = world.take_panics();
    assert!(panics.is_empty(), "seed {seed} ({assignor:?}): {panics:?}");
    settled.unwrap_or_else(|text| panic!("seed {seed} ({assignor:?}): {text}"));
    std::mem::take(&mut *story.lock().unwrap())
}

#[test]
fn members_over_a_broker_and_a_network_that_fail_skip_nothing() {
    let mut events: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..SEEDS {
        let story = run(seed);
        let given: usize = story.given.values().map(BTreeSet::len).sum();
        println!("seed {seed}: {given} records, {} repeated, {:?}", story.repeated, story.events);
        story
            .events
            .into_iter()
            .for_each(|(kind, count)| *events.entry(kind).or_default() += count);
    }
    for kind in ["assigned", "revoked", "lost"] {
        assert!(events.contains_key(kind), "no {kind} in {events:?}");
    }
}
