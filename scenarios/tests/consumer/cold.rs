//! A Fetch of several partitions whose records stand on a slow disk only, beside commits that
//! keep it busy.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rivven_broker::config::Config;
use rivven_broker::lifecycle::Broker;
use rivven_client::{Client, Lane, Target};
use rivven_core::ids::{TimestampMs, TopicId};
use rivven_core::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use rivven_core::kafka::messages::produce::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::storage::options::StorageOptions;
use rivven_io::sim::disk::DiskFaults;
use rivven_io::sim::{SimNode, World};

use crate::fixture::TOPIC;
use crate::simulated::{self, BROKER, JUDGE, PARTITIONS};

const BATCHES: usize = 60;
const BATCH_BYTES: usize = 8000;
/// Of each partition.
const PARTITION_BYTES: i32 = 64 << 10;
/// Who writes while the reader reads.
const WRITER: u64 = 3;

/// Memory holds little of the logs, so that what is old is read from segments.
fn start_broker(node: &SimNode) {
    let env = node.env();
    node.spawn_main(async move {
        let config = Config {
            data_dir: "/data".into(),
            bind: vec![SocketAddr::from(([0, 0, 0, 0], 9092))],
            bind_is_default: false,
            ..Config::default()
        };
        let options = StorageOptions {
            wal_file_bytes: 256 << 10,
            wal_files: 4,
            tail_bytes_max: 128 << 10,
            ..StorageOptions::new(PathBuf::from("/data"), 1)
        };
        let broker = Broker::start_with_storage(env, config, options).await.unwrap();
        broker.failed().await;
        4
    });
}

/// The broker may still be starting.
async fn id_of(client: &Client) -> TopicId {
    loop {
        if let Ok(image) = client.topics(&[TOPIC], false).await {
            return image.topics[TOPIC].id;
        }
        client.env().clock.sleep(Duration::from_millis(100)).await;
    }
}

async fn write(client: &Client, topic_id: TopicId, index: i32, bytes: usize) -> bool {
    let value = vec![b'v'; bytes];
    let batch = BatchBuilder::new(TimestampMs(1)).push(NewRecord::value(&value)).build();
    let partition_data = vec![PartitionProduceData { index, records: Some(batch.into()) }];
    let topic = TopicProduceData { name: TOPIC.into(), topic_id, partition_data };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 3000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    client.call(Target::Any, Lane::Produce, &request).await.is_ok()
}

/// Records of all partitions but the last one from their beginning: how many of them the answer
/// has records of.
async fn read(client: &Client, topic_id: TopicId, min_bytes: i32) -> usize {
    let partition = |partition| FetchPartition {
        partition,
        partition_max_bytes: PARTITION_BYTES,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: TOPIC.into(),
        topic_id,
        partitions: (0..PARTITIONS - 1).map(partition).collect(),
    };
    let request =
        FetchRequest { max_wait_ms: 2000, min_bytes, topics: vec![topic], ..Default::default() };
    let answer = client.call(Target::Any, Lane::Fetch, &request).await.unwrap();
    let rows = answer.responses.iter().flat_map(|topic| &topic.partitions);
    rows.filter(|row| row.records.as_ref().is_some_and(|records| !records.is_empty())).count()
}

/// How many partitions each of ten answers has records of.
fn partitions_answered(beside_writer: bool, min_bytes: i32) -> Vec<usize> {
    let world = World::new(5);
    let (broker, judge) = (world.node(BROKER), world.node(JUDGE));
    let address = SocketAddr::new(broker.ip(), 9092);
    let answered = world.run(async {
        start_broker(&broker);
        let filled = simulated::client(&judge.env(), address);
        let fill = async move {
            simulated::create(filled.clone()).await;
            let id = id_of(&filled).await;
            for _ in 0..BATCHES {
                for index in 0..PARTITIONS {
                    assert!(write(&filled, id, index, BATCH_BYTES).await, "written");
                }
            }
        };
        judge.spawn(fill).await.unwrap();
        // What stood in memory is gone.
        broker.power_cut();
        broker.restart();
        let faults = broker.disk().faults();
        broker.disk().set_faults(DiskFaults { latency_percent: 2000, ..faults });
        start_broker(&broker);
        let writer = simulated::client(&world.node(WRITER).env(), address);
        let writing = world.node(WRITER).spawn(async move {
            let id = id_of(&writer).await;
            while beside_writer && write(&writer, id, PARTITIONS - 1, 1).await {}
        });
        let reader = simulated::client(&judge.env(), address);
        let reading = judge.spawn(async move {
            let id = id_of(&reader).await;
            reader.env().clock.sleep(Duration::from_millis(200)).await;
            let mut answered = Vec::new();
            for _ in 0..10 {
                answered.push(read(&reader, id, min_bytes).await);
            }
            answered
        });
        let answered = reading.await.unwrap();
        writing.abort();
        answered
    });
    assert!(world.take_panics().is_empty());
    answered
}

#[test]
fn a_fetch_that_has_enough_leaves_other_cold_partitions_to_the_next() {
    let all = usize::try_from(PARTITIONS).unwrap() - 1;
    let cases = [
        // Nobody has to be given way to.
        (false, 1, all),
        // Each answer is there after one rest.
        (true, 1, 1),
        // It is not enough before it has them all.
        (true, PARTITION_BYTES * (PARTITIONS - 2), all),
    ];
    for (beside_writer, min_bytes, expected) in cases {
        let answered = partitions_answered(beside_writer, min_bytes);
        assert_eq!(answered, [expected; 10], "beside a writer: {beside_writer}, {min_bytes} bytes");
    }
}
