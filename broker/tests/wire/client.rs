//! One connection of a client that may send anything.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rivven_core::ids::TimestampMs;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::frame::RequestFrame;
use rivven_core::kafka::codec::header::decode_response_header;
use rivven_core::kafka::codec::message::{Message, Request};
use rivven_core::kafka::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use rivven_core::kafka::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponseTopic,
};
use rivven_core::kafka::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_io::Env;
use rivven_io::net::Stream;

/// Longest wait for an answer; only a broker that hangs makes a test wait for it.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    env: Env,
    stream: Stream,
    received: BytesMut,
    next_id: i32,
}

/// A batch of records with these values, at the broker's time of now.
pub(crate) fn batch(env: &Env, values: &[&[u8]]) -> Bytes {
    let now = TimestampMs(env.clock.wall_ms());
    let builder = values
        .iter()
        .fold(BatchBuilder::new(now), |builder, value| builder.push(NewRecord::value(value)));
    builder.build().into()
}

/// Produce with one batch for one partition.
pub(crate) fn produce_one(topic: &str, index: i32, records: Option<Bytes>) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData { index, records }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

impl Client {
    pub(crate) async fn connect(env: &Env, addr: SocketAddr) -> Client {
        let stream = env.net.connect(addr).await.unwrap();
        Client { env: env.clone(), stream, received: BytesMut::new(), next_id: 1 }
    }

    pub(crate) async fn send_bytes(&self, bytes: &[u8]) {
        self.stream.writer.write_all(bytes).await.unwrap();
    }

    /// As [`Client::send_bytes`], but the broker may have closed the connection.
    pub(crate) async fn send_or_lose(&self, bytes: &[u8]) {
        let _ = self.stream.writer.write_all(bytes).await;
    }

    /// Ends the client's side of the connection; what the broker sends still comes.
    pub(crate) fn end(&self) {
        self.stream.writer.shutdown().unwrap();
    }

    /// A frame around `content`.
    pub(crate) async fn send_frame(&self, content: &[u8]) {
        let length = i32::try_from(content.len()).unwrap();
        self.send_bytes(&[&length.to_be_bytes(), content].concat()).await;
    }

    /// Sends a request; its correlation id.
    pub(crate) async fn send<R: Request>(&mut self, api_version: i16, body: &R) -> i32 {
        let correlation_id = self.next_id;
        self.next_id += 1;
        let frame = RequestFrame { api_version, correlation_id, client_id: Some("test".into()) };
        self.send_bytes(&frame.encode(body).concat()).await;
        correlation_id
    }

    /// The next frame, `None` once the broker has closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let env = self.env.clone();
        env.clock.timeout(PATIENCE, self.read_frame()).await.expect("an answer within the patience")
    }

    async fn read_frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(length) = self.received.first_chunk::<4>() {
                let length = usize::try_from(i32::from_be_bytes(*length)).unwrap();
                if self.received.len() >= 4 + length {
                    let _length = self.received.split_to(4);
                    return Some(self.received.split_to(length).freeze());
                }
            }
            self.received.reserve(64 << 10);
            match self.stream.reader.read(&mut self.received).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn receive<R: Request>(&mut self, api_version: i16) -> (i32, R::Response) {
        let frame = self.frame().await.expect("the connection is open");
        let (id, body) = decode_response_header(R::API, api_version, frame).unwrap();
        (id, R::Response::decode(body, api_version).unwrap())
    }

    pub(crate) async fn call<R: Request>(&mut self, api_version: i16, body: &R) -> R::Response {
        let sent = self.send(api_version, body).await;
        let (received, response) = self.receive::<R>(api_version).await;
        assert_eq!(received, sent);
        response
    }

    /// Whether the broker closes the connection without another word.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.frame().await.is_none()
    }

    pub(crate) async fn metadata(&mut self, topic: &str) -> MetadataResponseTopic {
        let asked = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![asked]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        self.call(12, &request).await.topics.remove(0)
    }

    pub(crate) async fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
        });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let result = self.call(7, &request).await.topics.remove(0);
        assert_eq!(result.error_code, ErrorCode::NONE, "{result:?}");
    }

    /// Produces to one partition in version 8.
    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        index: i32,
        records: Bytes,
    ) -> PartitionProduceResponse {
        let request = produce_one(topic, index, Some(records));
        self.call(8, &request).await.responses.remove(0).partition_responses.remove(0)
    }
}
