//! A broker in a folder of its own, clients of it, and what they have read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rivven_broker::config::Config;
use rivven_broker::lifecycle::Broker;
use rivven_client::assignor::TopicPartition;
use rivven_client::consumer::config::OffsetReset;
use rivven_client::consumer::record::ConsumerRecord;
use rivven_client::{Client, ClientConfig, Consumer, ConsumerConfig, Lane, Target};
use rivven_core::ids::TimestampMs;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use rivven_core::kafka::messages::produce::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_io::Env;
use tempfile::TempDir;

pub(crate) const TOPIC: &str = "orders";
/// Of one poll in a round of polls.
pub(crate) const SHORT: Duration = Duration::from_millis(20);
/// Far above what any test needs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Fixture {
    pub(crate) env: Env,
    pub(crate) client: Client,
    broker: Broker,
    config: Config,
    folder: TempDir,
    /// Records that were written, by partition.
    pub(crate) written: BTreeMap<i32, i64>,
}

impl Fixture {
    pub(crate) async fn start(partitions: i32) -> Fixture {
        let folder = TempDir::new().unwrap();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config {
            data_dir: folder.path().join("data"),
            bind: vec![any_port],
            api_bind: any_port,
            group_initial_rebalance_delay: Duration::ZERO,
            offsets_topic_partitions: 3,
            ..Config::default()
        };
        let env = Env::real();
        let broker = Broker::start(env.clone(), config.clone()).await.unwrap();
        config.bind = vec![broker.kafka_addrs()[0]];
        let client = client(&env, &config);
        let fixture = Fixture { env, client, broker, config, folder, written: BTreeMap::new() };
        fixture.create(TOPIC, partitions).await;
        fixture
    }

    pub(crate) async fn stop(self) {
        self.broker.shutdown().await.unwrap();
    }

    /// Stops the broker and starts it again on the same folder and port.
    pub(crate) async fn restart(self) -> Fixture {
        let Fixture { env, client, broker, config, folder, written } = self;
        broker.shutdown().await.unwrap();
        let broker = Broker::start(env.clone(), config.clone()).await.unwrap();
        Fixture { env, client, broker, config, folder, written }
    }

    /// A consumer with connections of its own.
    pub(crate) fn consumer(&self, config: ConsumerConfig) -> Consumer {
        Consumer::new(client(&self.env, &self.config), config).unwrap()
    }

    pub(crate) async fn create(&self, name: &str, partitions: i32) {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 10_000,
            ..CreateTopicsRequest::default()
        };
        let answer = self.client.call(Target::Any, Lane::Admin, &request).await.unwrap();
        assert_eq!(answer.topics[0].error_code, ErrorCode::NONE);
    }

    /// Writes one batch; each value is its partition and offset.
    pub(crate) async fn write(&mut self, partition: i32, count: i64) {
        let next = self.written.entry(partition).or_default();
        let mut batch = BatchBuilder::new(TimestampMs(1_000_000 + *next));
        for offset in *next..*next + count {
            let (key, value) = (offset.to_string(), format!("{partition}-{offset}"));
            let record = NewRecord {
                timestamp: Some(TimestampMs(1_000_000 + offset)),
                headers: &[(b"h", Some(b"v"))],
                ..NewRecord::keyed(key.as_bytes(), value.as_bytes())
            };
            batch = batch.push(record);
        }
        *next += count;
        let topic_id = self.client.topic(TOPIC, false).await.unwrap().id;
        let records = Some(batch.build().into());
        let partition_data = vec![PartitionProduceData { index: partition, records }];
        let topic_data = vec![TopicProduceData { name: TOPIC.into(), topic_id, partition_data }];
        let request =
            ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data, ..Default::default() };
        let answer = self.client.call(Target::Any, Lane::Produce, &request).await.unwrap();
        let row = &answer.responses[0].partition_responses[0];
        assert_eq!(row.error_code, ErrorCode::NONE);
    }

    /// Polls these one after the other until `is_done`.
    pub(crate) async fn poll_until(
        &self,
        consumers: &mut [&mut Consumer],
        seen: &mut Seen,
        is_done: impl Fn(&Seen, &[&mut Consumer]) -> bool,
    ) {
        let begun = self.env.clock.now();
        while !is_done(seen, consumers) {
            for consumer in consumers.iter_mut() {
                seen.note(consumer.poll(SHORT).await.unwrap());
            }
            let waited = self.env.clock.now().since(begun);
            assert!(waited < PATIENCE, "no end after {waited:?}: {:?}", seen.counts());
        }
    }

    /// Polls until everything that was written was seen.
    pub(crate) async fn read_all(&self, consumers: &mut [&mut Consumer], seen: &mut Seen) {
        self.poll_until(consumers, seen, |seen, _| seen.has(&self.written)).await;
    }
}

fn client(env: &Env, config: &Config) -> Client {
    Client::new(env.clone(), ClientConfig::to(&config.bind[0].to_string())).unwrap()
}

pub(crate) fn of(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

/// Reads from the beginning, alone.
pub(crate) fn alone() -> ConsumerConfig {
    ConsumerConfig { auto_offset_reset: OffsetReset::Earliest, ..ConsumerConfig::default() }
}

/// Reads from the beginning, in the group `g`.
pub(crate) fn grouped() -> ConsumerConfig {
    ConsumerConfig {
        group: Some("g".to_owned()),
        heartbeat_interval: Duration::from_millis(100),
        session_timeout: Duration::from_secs(6),
        ..alone()
    }
}

/// How often each record was given out.
#[derive(Default)]
pub(crate) struct Seen(BTreeMap<i32, BTreeMap<i64, u32>>);

impl Seen {
    pub(crate) fn note(&mut self, records: Vec<ConsumerRecord>) {
        for record in records {
            let value = format!("{}-{}", record.partition, record.offset);
            assert_eq!(record.value.as_deref(), Some(value.as_bytes()));
            let offsets = self.0.entry(record.partition).or_default();
            *offsets.entry(record.offset).or_default() += 1;
        }
    }

    pub(crate) fn counts(&self) -> BTreeMap<i32, usize> {
        self.0.iter().map(|(partition, offsets)| (*partition, offsets.len())).collect()
    }

    /// Whether there is no gap up to what was written.
    pub(crate) fn has(&self, written: &BTreeMap<i32, i64>) -> bool {
        written.iter().all(|(partition, count)| {
            let seen = self.0.get(partition).map_or(0, BTreeMap::len);
            seen == usize::try_from(*count).unwrap()
        })
    }

    pub(crate) fn repeated(&self) -> usize {
        self.0.values().flat_map(BTreeMap::values).filter(|times| **times > 1).count()
    }
}
