//! The Kafka codec: a produce request read, a fetch response and a metadata response written.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rivven_bench::batches::batch;
use rivven_core::kafka::codec::frame::{RequestFrame, encode_response};
use rivven_core::kafka::codec::header::RequestHeader;
use rivven_core::kafka::codec::records::Records;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::Request;
use rivven_core::kafka::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use rivven_core::kafka::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use rivven_core::kafka::messages::produce::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};

const TOPIC: WireStr = WireStr::from_static("orders");

/// A frame as the broker reads it from a socket, without its length.
fn frame(pieces: &[Bytes]) -> Bytes {
    Bytes::from(pieces.concat()).slice(4..)
}

fn request_frame(api_version: i16) -> RequestFrame {
    let client_id = Some(WireStr::from_static("bench"));
    RequestFrame { api_version, correlation_id: 1, client_id }
}

fn decode(frame: &Bytes) -> Request {
    let (header, body) = RequestHeader::decode(frame.clone()).expect("a header");
    Request::decode(&header, body).expect("a body")
}

fn produce_request(partitions: i32, records: &Bytes) -> ProduceRequest {
    let rows =
        (0..partitions).map(|index| PartitionProduceData { index, records: Some(records.clone()) });
    let topic =
        TopicProduceData { name: TOPIC, partition_data: rows.collect(), ..Default::default() };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

fn produce(criterion: &mut Criterion) {
    let records = Bytes::from(batch(64, 1024));
    let mut group = criterion.benchmark_group("codec/produce_decode");
    for partitions in [1, 64] {
        let pieces = request_frame(9).encode(&produce_request(partitions, &records));
        let frame = frame(&pieces);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(format!("64KiB_x{partitions}"), |bencher| {
            bencher.iter(|| decode(&frame));
        });
    }
}

fn fetch_response(records: &Bytes) -> FetchResponse {
    let row = PartitionData { records: Some(Records::from(records.clone())), ..Default::default() };
    let topic =
        FetchableTopicResponse { topic: TOPIC, partitions: vec![row], ..Default::default() };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

fn fetch(criterion: &mut Criterion) {
    let records = Bytes::from(batch(1000, 1024));
    let body = fetch_response(&records);
    let mut group = criterion.benchmark_group("codec/fetch_encode");
    group.throughput(Throughput::Bytes(records.len() as u64));
    for version in [11, 12] {
        group.bench_function(format!("1MiB_v{version}"), |bencher| {
            bencher.iter(|| encode_response(1, version, &body));
        });
    }
}

fn metadata_topic(index: usize) -> MetadataResponseTopic {
    let partition = |index| MetadataResponsePartition {
        partition_index: index,
        replica_nodes: vec![0],
        isr_nodes: vec![0],
        ..Default::default()
    };
    let name = WireStr::from(format!("topic-{index}"));
    let partitions = (0..4).map(partition).collect();
    MetadataResponseTopic { name: Some(name), partitions, ..Default::default() }
}

fn metadata(criterion: &mut Criterion) {
    let wanted = MetadataRequestTopic { name: Some(TOPIC), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![wanted]), ..Default::default() };
    let frame = frame(&request_frame(12).encode(&request));
    criterion.bench_function("codec/metadata_decode/1_topic", |bencher| {
        bencher.iter(|| decode(&frame));
    });

    let host = WireStr::from_static("localhost");
    let broker = MetadataResponseBroker { host, port: 9092, ..Default::default() };
    let topics = (0..100).map(metadata_topic).collect();
    let body = MetadataResponse { brokers: vec![broker], topics, ..Default::default() };
    criterion.bench_function("codec/metadata_encode/100_topics_x4", |bencher| {
        bencher.iter(|| encode_response(1, 12, &body));
    });
}

criterion_group!(benches, produce, fetch, metadata);
criterion_main!(benches);
