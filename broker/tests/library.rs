//! The client library against a broker on real sockets and files.

#![allow(clippy::unwrap_used, reason = "functions that tests share")]

use std::net::SocketAddr;
use std::time::Duration;

use rivven_broker::config::Config;
use rivven_broker::lifecycle::Broker;
use rivven_client::producer::{Acks, Compression, ProducerConfig};
use rivven_client::{Client, ClientConfig, Error, Producer, ProducerRecord};
use rivven_io::Env;
use tempfile::TempDir;

struct Fixture {
    broker: Broker,
    config: Config,
    _folder: TempDir,
}

impl Fixture {
    async fn start() -> Fixture {
        let folder = TempDir::new().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config {
            data_dir: folder.path().join("data"),
            bind: vec![any],
            api_bind: any,
            default_partitions: 3,
            ..Config::default()
        };
        let broker = Broker::start(Env::real(), config.clone()).await.unwrap();
        Fixture { broker, config, _folder: folder }
    }

    /// Stops the broker, and starts it again where it was.
    async fn restart(self) -> Fixture {
        let Fixture { broker, mut config, _folder } = self;
        config.bind = broker.kafka_addrs().to_vec();
        broker.shutdown().await.unwrap();
        let broker = Broker::start(Env::real(), config.clone()).await.unwrap();
        Fixture { broker, config, _folder }
    }

    fn client(&self) -> Client {
        let address = self.broker.kafka_addrs()[0].to_string();
        Client::new(Env::real(), ClientConfig::to(&address)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_delivered_with_offsets_that_follow_each_other() {
    let fixture = Fixture::start().await;
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4];
    for compression in codecs.into_iter().chain([Compression::Zstd]) {
        let config = ProducerConfig { compression, ..ProducerConfig::default() };
        let producer = Producer::new(fixture.client(), config).unwrap();
        let topic = format!("codec-{}", compression.bits());
        let mut deliveries = Vec::new();
        for number in 0..2000u32 {
            let value = format!("{number:0100}");
            let record = ProducerRecord::to(&*topic).partition(0).value(value).header("h", "v");
            deliveries.push(producer.send(record).await.unwrap());
        }
        for (offset, delivery) in (0..).zip(deliveries) {
            let delivered = delivery.await.unwrap();
            assert_eq!((delivered.partition, delivered.offset), (0, offset), "{topic}");
        }
        assert_eq!(producer.buffered_bytes(), 0);
        producer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_broker_is_ridden_out() {
    let fixture = Fixture::start().await;
    let producer = Producer::new(fixture.client(), ProducerConfig::default()).unwrap();
    let record = |value: &str| ProducerRecord::to("t").partition(1).value(value.to_owned());
    assert_eq!(producer.send(record("a")).await.unwrap().await.unwrap().offset, 0);
    let (fixture, later) = tokio::join!(fixture.restart(), async {
        let mut deliveries = Vec::new();
        for _ in 0..100 {
            deliveries.push(producer.send(record("b")).await.unwrap());
            Env::real().clock.sleep(Duration::from_millis(2)).await;
        }
        deliveries
    });
    for (offset, delivery) in (1..).zip(later) {
        assert_eq!(delivery.await.unwrap().offset, offset);
    }
    drop(fixture);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_by_name() {
    let fixture = Fixture::start().await;
    let producer = Producer::new(fixture.client(), ProducerConfig::default()).unwrap();
    let illegal = producer.send(ProducerRecord::to("a/b").value("v")).await.err().unwrap();
    assert!(illegal.to_string().contains("\"a/b\""), "{illegal}");
    let large = ProducerRecord::to("t").value(vec![0; 2 << 20]);
    let large = producer.send(large).await.err().unwrap().to_string();
    assert!(large.contains("request_bytes_max"), "{large}");
    let beyond = ProducerRecord::to("t").partition(3).value("v");
    let beyond = producer.send(beyond).await.err().unwrap().to_string();
    assert!(beyond.contains("3 partitions"), "{beyond}");
    let both = ProducerConfig { acks: Acks::Leader, ..ProducerConfig::default() };
    assert!(matches!(Producer::new(fixture.client(), both), Err(Error::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_not_kafka_s_is_named_so() {
    let fixture = Fixture::start().await;
    let http = fixture.broker.http_addr().to_string();
    let patience = ClientConfig { api_timeout: Duration::from_secs(1), ..ClientConfig::to(&http) };
    let client = Client::new(Env::real(), patience).unwrap();
    let error = client.topic("t", false).await.err().unwrap().to_string();
    assert!(error.contains("HTTP"), "{error}");
    let clock = Env::real().clock;
    let begun = clock.now();
    let nobody =
        ClientConfig { bootstrap: vec!["127.0.0.1:1".to_owned()], ..ClientConfig::default() };
    let nobody = ClientConfig { api_timeout: Duration::from_secs(1), ..nobody };
    let client = Client::new(Env::real(), nobody).unwrap();
    let error = client.topic("t", false).await.err().unwrap();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(clock.now().since(begun) < Duration::from_secs(3));
}
