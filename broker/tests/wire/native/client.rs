//! One native connection.

use bytes::Bytes;
use rivven_core::wire::codec::Name;
use rivven_core::wire::frame::Head;
use rivven_core::wire::message::NewRecord;
use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;

use crate::client::Client;
use crate::fixture::Fixture;

pub(crate) struct Native {
    pub(crate) client: Client,
    next_id: u32,
}

impl Native {
    pub(crate) async fn connect(fixture: &Fixture) -> Native {
        Native { client: fixture.client().await, next_id: 1 }
    }

    /// Sends a request; its correlation id.
    pub(crate) async fn send(&mut self, request: &Request) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        self.client.send_bytes(&Head::request(id, request).unwrap()).await;
        id
    }

    pub(crate) async fn receive(&mut self) -> (u32, Response) {
        let frame = self.client.frame().await.expect("the connection is open");
        assert!(frame.len() <= 10 << 20, "a frame of {} bytes", frame.len());
        let (head, message) = Head::split(frame).unwrap();
        (head.correlation_id, Response::decode(message).unwrap())
    }

    pub(crate) async fn call(&mut self, request: &Request) -> Response {
        let sent = self.send(request).await;
        let (received, response) = self.receive().await;
        assert_eq!(received, sent);
        response
    }

    /// The text of the error that must come.
    pub(crate) async fn error(&mut self, request: &Request) -> String {
        match self.call(request).await {
            Response::Error { message } => message,
            other => panic!("{request:?} was answered with {other:?}"),
        }
    }

    pub(crate) async fn create(&mut self, name: &str, partitions: u32) {
        let request = Request::CreateTopic { name: name.into(), partitions: Some(partitions) };
        let created = Response::TopicCreated { name: name.to_owned(), partitions };
        assert_eq!(self.call(&request).await, created);
    }

    /// The offsets and values that one Consume gives.
    pub(crate) async fn values(&mut self, request: &Request) -> Vec<(u64, Bytes)> {
        match self.call(request).await {
            Response::Messages { messages } => {
                messages.into_iter().map(|message| (message.offset, message.value)).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn publish(topic: &str, partition: u32, value: impl Into<Bytes>) -> Request {
    Request::Publish {
        topic: topic.into(),
        partition: Some(partition),
        key: None,
        value: value.into(),
        leader_epoch: None,
    }
}

pub(crate) fn consume(topic: &str, offset: u64, max_messages: u64) -> Request {
    Request::Consume {
        topic: topic.into(),
        partition: 0,
        offset,
        max_messages,
        isolation_level: None,
        max_wait_ms: None,
    }
}

/// As `consume`, waiting up to 20 seconds.
pub(crate) fn long_poll(topic: &str, offset: u64) -> Request {
    Request::Consume {
        topic: topic.into(),
        partition: 0,
        offset,
        max_messages: 10,
        isolation_level: Some(1),
        max_wait_ms: Some(20_000),
    }
}

pub(crate) fn consume_records(topic: &str, offset: u64, max_bytes: u32) -> Request {
    Request::ConsumeRecords {
        topic: topic.into(),
        partition: 0,
        offset,
        max_records: 1000,
        max_bytes,
        isolation_level: 0,
        max_wait_ms: 0,
    }
}

pub(crate) fn publish_records(topic: &str, records: Vec<NewRecord>, acks: i16) -> Request {
    Request::PublishRecords {
        topic: Name::from(topic),
        partition: Some(0),
        records,
        acks,
        producer: None,
        leader_epoch: None,
    }
}
