//! Consumers of a broker that answers as the test says.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rivven_client::assignor::TopicPartition;
use rivven_client::{Client, ClientConfig, Consumer, ConsumerConfig, Error};
use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::api::{SERVED, Served};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::frame::encode_response;
use rivven_core::kafka::codec::header::RequestHeader;
use rivven_core::kafka::codec::message::Message;
use rivven_core::kafka::messages::Request;
use rivven_core::kafka::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use rivven_core::kafka::messages::find_coordinator::{Coordinator, FindCoordinatorResponse};
use rivven_core::kafka::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};
use rivven_core::kafka::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use rivven_core::kafka::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use rivven_core::kafka::messages::offset_fetch::{
    OffsetFetchGroupResponse, OffsetFetchPartitionResponse, OffsetFetchRequest,
    OffsetFetchResponse, OffsetFetchTopicResponse,
};
use rivven_io::Env;
use rivven_io::net::{Listener, Stream};

const TOPIC: &str = "t";

/// A broker that is node 1 and 2, at one port.
struct Broker {
    port: u16,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Node 2 has another port, until the coordinator was asked for.
    has_moved: bool,
    /// How often the topic was made anew.
    topic_id: u8,
    /// Timestamps that were asked for.
    times: Vec<i64>,
    joins: usize,
}

impl Broker {
    async fn start(env: &Env) -> (Arc<Broker>, Client) {
        let listener = env.net.listen(([127, 0, 0, 1], 0).into()).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let broker = Arc::new(Broker { port, state: Mutex::default() });
        drop(env.tasks.spawn("accept", accept(env.clone(), listener, broker.clone())));
        let config = ClientConfig {
            api_timeout: Duration::from_secs(10),
            ..ClientConfig::to(&format!("127.0.0.1:{port}"))
        };
        (broker, Client::new(env.clone(), config).expect("a client"))
    }

    async fn serve(&self, mut stream: Stream) {
        let mut received = BytesMut::new();
        loop {
            while let Some(frame) = cut(&mut received) {
                let (header, body) = RequestHeader::decode(frame).expect("a header");
                let request = Request::decode(&header, body).expect("a request");
                let Some(answer) = self.answer(&header, request) else { continue };
                stream.writer.write_all(&answer).await.expect("written");
            }
            received.reserve(4096);
            if !matches!(stream.reader.read(&mut received).await, Ok(1..)) {
                return;
            }
        }
    }

    /// `None`: it never answers.
    fn answer(&self, header: &RequestHeader, request: Request) -> Option<Vec<u8>> {
        let mut state = self.state.lock().expect("whole");
        match request {
            Request::ApiVersions(_) => encode(header, &versions()),
            Request::Metadata(_) => encode(header, &self.metadata(&state)),
            Request::FindCoordinator(_) => {
                state.has_moved = true;
                encode(header, &self.coordinator())
            }
            Request::ListOffsets(request) => encode(header, &state.offsets(&request)),
            Request::OffsetFetch(request) => encode(header, &state.committed(&request)),
            Request::JoinGroup(request) => {
                state.joins += 1;
                encode(header, &two_of_one_id(request))
            }
            Request::Fetch(_) => None,
            other => panic!("nobody asks for {other:?}"),
        }
    }

    fn coordinator(&self) -> FindCoordinatorResponse {
        let (host, port) = ("127.0.0.1".into(), self.port.into());
        let row = Coordinator { key: "g".into(), node_id: 2, host, port, ..Default::default() };
        FindCoordinatorResponse { coordinators: vec![row], ..Default::default() }
    }

    fn metadata(&self, state: &State) -> MetadataResponse {
        let moved = if state.has_moved { self.port.into() } else { 1 };
        let broker = |(node_id, port)| MetadataResponseBroker {
            node_id,
            host: "127.0.0.1".into(),
            port,
            ..Default::default()
        };
        let partition = MetadataResponsePartition { leader_id: 1, ..Default::default() };
        let topic = MetadataResponseTopic {
            name: Some(TOPIC.into()),
            topic_id: TopicId([state.topic_id + 1; 16]),
            partitions: vec![partition],
            ..Default::default()
        };
        MetadataResponse {
            brokers: [(1, self.port.into()), (2, moved)].map(broker).into(),
            controller_id: 1,
            topics: vec![topic],
            ..Default::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("whole")
    }
}

impl State {
    /// The log ends at 10, and has no record that is as young as anybody asks for.
    fn offsets(&mut self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let timestamp = request.topics[0].partitions[0].timestamp;
        self.times.push(timestamp);
        let offset = match timestamp {
            -2 => 0,
            -1 => 10,
            _ => -1,
        };
        let partitions = vec![ListOffsetsPartitionResponse { offset, ..Default::default() }];
        let topics = vec![ListOffsetsTopicResponse { name: TOPIC.into(), partitions }];
        ListOffsetsResponse { topics, ..Default::default() }
    }

    /// While the first question is under way, the topic is made anew.
    fn committed(&mut self, request: &OffsetFetchRequest) -> OffsetFetchResponse {
        let asked = request.groups[0].topics.as_ref().expect("topics are named")[0].clone();
        self.topic_id = 1;
        let error_code = match asked.topic_id == TopicId([2; 16]) {
            true => ErrorCode::NONE,
            false => ErrorCode::UNKNOWN_TOPIC_ID,
        };
        let row =
            OffsetFetchPartitionResponse { committed_offset: -1, error_code, ..Default::default() };
        let topic = OffsetFetchTopicResponse {
            name: asked.name,
            topic_id: asked.topic_id,
            partitions: vec![row],
        };
        let group = OffsetFetchGroupResponse {
            group_id: "g".into(),
            topics: vec![topic],
            ..Default::default()
        };
        OffsetFetchResponse { groups: vec![group], ..Default::default() }
    }
}

/// Makes who asks the leader of a group that cannot be.
fn two_of_one_id(request: JoinGroupRequest) -> JoinGroupResponse {
    let protocol = request.protocols[0].clone();
    let member = JoinGroupResponseMember {
        member_id: "m".into(),
        metadata: protocol.metadata,
        ..Default::default()
    };
    JoinGroupResponse {
        generation_id: 1,
        protocol_name: Some(protocol.name),
        leader: "m".into(),
        member_id: "m".into(),
        members: vec![member.clone(), member],
        ..Default::default()
    }
}

fn encode<M: Message>(header: &RequestHeader, answer: &M) -> Option<Vec<u8>> {
    Some(encode_response(header.correlation_id, header.api_version, answer).concat())
}

async fn accept(env: Env, listener: Listener, broker: Arc<Broker>) {
    while let Ok(stream) = listener.accept().await {
        let broker = broker.clone();
        drop(env.tasks.spawn("serve", async move { broker.serve(stream).await }));
    }
}

fn versions() -> ApiVersionsResponse {
    let row = |served: &Served| ApiVersion {
        api_key: served.key as i16,
        min_version: served.version_min,
        max_version: served.version_max,
    };
    ApiVersionsResponse { api_keys: SERVED.iter().map(row).collect(), ..Default::default() }
}

fn cut(received: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(*received.first_chunk()?) as usize;
    (received.len() >= 4 + length).then(|| received.split_to(4 + length).freeze().slice(4..))
}

fn run(group: Option<&str>, work: impl AsyncFnOnce(&Broker, Consumer)) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (broker, client) = Broker::start(&Env::real()).await;
        let group = group.map(str::to_owned);
        let config = ConsumerConfig { group, ..Default::default() };
        work(&broker, Consumer::new(client, config).expect("a consumer")).await;
    });
}

fn of() -> TopicPartition {
    TopicPartition::new(TOPIC, 0)
}

#[test]
fn the_end_is_asked_for_before_a_time_that_nothing_is_as_young_as() {
    run(None, async |broker, mut consumer| {
        consumer.assign(&[of()]).expect("assigned");
        consumer.seek_to_timestamp(&[of()], 5000).expect("sought");
        assert_eq!(consumer.position(&of()).await.expect("a position"), 10);
        assert_eq!(broker.state().times, [-1, 5000]);
    });
}

#[test]
fn a_topic_that_is_made_anew_is_found() {
    run(Some("g"), async |broker, mut consumer| {
        consumer.assign(&[of()]).expect("assigned");
        assert_eq!(consumer.position(&of()).await.expect("a position"), 0);
        assert_eq!(broker.state().topic_id, 1);
    });
}

#[test]
fn a_coordinator_with_a_new_address_is_found() {
    run(Some("g"), async |broker, mut consumer| {
        consumer.subscribe(&[TOPIC]).expect("subscribed");
        while broker.state().joins == 0 {
            let polled = consumer.poll(Duration::from_millis(10)).await;
            assert!(matches!(polled, Ok(_) | Err(Error::Malformed(_))), "{polled:?}");
        }
    });
}

#[test]
fn members_that_cannot_be_told_apart_are_an_error() {
    run(Some("g"), async |_, mut consumer| {
        consumer.subscribe(&[TOPIC]).expect("subscribed");
        let error = consumer.poll(Duration::from_secs(10)).await.expect_err("no assignment");
        assert!(error.to_string().contains("two members of the group have the same id"), "{error}");
    });
}
