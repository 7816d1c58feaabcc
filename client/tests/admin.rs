//! Administration against a broker that answers as the test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rivven_client::admin::Admin;
use rivven_client::admin::topics::NewTopic;
use rivven_client::{Client, ClientConfig, Error};
use rivven_core::kafka::codec::api::{SERVED, Served};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::frame::encode_response;
use rivven_core::kafka::codec::header::RequestHeader;
use rivven_core::kafka::messages::Request;
use rivven_core::kafka::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use rivven_core::kafka::messages::create_topics::{CreatableTopicResult, CreateTopicsResponse};
use rivven_core::kafka::messages::delete_groups::{DeletableGroupResult, DeleteGroupsResponse};
use rivven_core::kafka::messages::find_coordinator::{Coordinator, FindCoordinatorResponse};
use rivven_core::kafka::messages::metadata::{MetadataResponse, MetadataResponseBroker};
use rivven_io::Env;
use rivven_io::net::{Listener, Stream};

/// What the broker says to the next request that asks for something.
#[derive(Clone, Debug)]
enum Step {
    /// A code for each item, in their order; items without one are left out.
    Codes(Vec<ErrorCode>),
    /// The connection ends in place of an answer.
    HangUp,
}

struct Broker {
    port: u16,
    script: Mutex<VecDeque<Step>>,
    /// The items of each request.
    asked: Mutex<Vec<Vec<String>>>,
}

impl Broker {
    async fn start(env: &Env, steps: &[Step]) -> (Arc<Broker>, Admin) {
        let listener = env.net.listen(([127, 0, 0, 1], 0).into()).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let script = Mutex::new(steps.iter().cloned().collect());
        let broker = Arc::new(Broker { port, script, asked: Mutex::default() });
        drop(env.tasks.spawn("accept", accept(env.clone(), listener, broker.clone())));
        let config = ClientConfig {
            retry_backoff: Duration::from_millis(1),
            retry_backoff_max: Duration::from_millis(2),
            ..ClientConfig::to(&format!("127.0.0.1:{port}"))
        };
        (broker, Admin::new(Client::new(env.clone(), config).expect("a client")))
    }

    async fn serve(&self, mut stream: Stream) {
        let mut received = BytesMut::new();
        loop {
            while let Some(frame) = cut(&mut received) {
                let (header, body) = RequestHeader::decode(frame).expect("a header");
                let request = Request::decode(&header, body).expect("a request");
                let Some(answer) = self.answer(&header, request) else { return };
                stream.writer.write_all(&answer).await.expect("written");
            }
            received.reserve(4096);
            if !matches!(stream.reader.read(&mut received).await, Ok(1..)) {
                return;
            }
        }
    }

    /// `None`: it hangs up.
    fn answer(&self, header: &RequestHeader, request: Request) -> Option<Vec<u8>> {
        let (id, version) = (header.correlation_id, header.api_version);
        let pieces = match request {
            Request::ApiVersions(_) => encode_response(id, version, &versions()),
            Request::Metadata(_) => encode_response(id, version, &self.metadata()),
            Request::FindCoordinator(request) => {
                let key = request.coordinator_keys[0].clone();
                let found = Coordinator { key, node_id: 1, ..Coordinator::default() };
                let coordinators = vec![found];
                let answer = FindCoordinatorResponse { coordinators, ..Default::default() };
                encode_response(id, version, &answer)
            }
            Request::CreateTopics(request) => {
                let names = request.topics.into_iter().map(|topic| topic.name.to_string());
                let topics = self.next(names.collect())?.into_iter().map(|(name, error_code)| {
                    CreatableTopicResult { name: name.into(), error_code, ..Default::default() }
                });
                let topics = topics.collect();
                encode_response(id, version, &CreateTopicsResponse { topics, throttle_time_ms: 0 })
            }
            Request::DeleteGroups(request) => {
                let names = request.groups_names.iter().map(ToString::to_string).collect();
                let results = self.next(names)?.into_iter().map(|(name, error_code)| {
                    DeletableGroupResult { group_id: name.into(), error_code }
                });
                let results = results.collect();
                encode_response(id, version, &DeleteGroupsResponse { results, throttle_time_ms: 0 })
            }
            other => panic!("nobody asks for {other:?}"),
        };
        Some(pieces.concat())
    }

    fn next(&self, items: Vec<String>) -> Option<Vec<(String, ErrorCode)>> {
        self.asked.lock().expect("whole").push(items.clone());
        let step = self.script.lock().expect("whole").pop_front();
        match step.expect("no more is asked than the script has") {
            Step::Codes(codes) => Some(items.into_iter().zip(codes).collect()),
            Step::HangUp => None,
        }
    }

    fn metadata(&self) -> MetadataResponse {
        let broker = MetadataResponseBroker {
            node_id: 1,
            host: "127.0.0.1".into(),
            port: self.port.into(),
            ..Default::default()
        };
        MetadataResponse { brokers: vec![broker], controller_id: 1, ..Default::default() }
    }

    fn asked(&self) -> Vec<Vec<String>> {
        self.asked.lock().expect("whole").clone()
    }
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

fn run(steps: &[Step], work: impl AsyncFnOnce(&Broker, &Admin)) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (broker, admin) = Broker::start(&Env::real(), steps).await;
        work(&broker, &admin).await;
        assert!(broker.script.lock().expect("whole").is_empty(), "all of the script is asked for");
    });
}

fn topics(names: &[&str]) -> BTreeMap<String, NewTopic> {
    names.iter().map(|name| ((*name).to_owned(), NewTopic::default())).collect()
}

const OK: ErrorCode = ErrorCode::NONE;

#[test]
fn only_items_that_fail_for_a_while_are_asked_again() {
    let steps = [
        Step::Codes(vec![ErrorCode::NOT_CONTROLLER, ErrorCode::INVALID_PARTITIONS, OK]),
        Step::Codes(vec![ErrorCode::LEADER_NOT_AVAILABLE]),
        Step::Codes(vec![OK]),
    ];
    run(&steps, async |broker, admin| {
        let results = admin.create_topics(&topics(&["a", "b", "c"]), false).await;
        let results = results.expect("results");
        assert!(results["a"].is_ok() && results["c"].is_ok());
        let refused = results["b"].as_ref().expect_err("refused");
        assert_eq!(refused.code(), Some(ErrorCode::INVALID_PARTITIONS));
        assert_eq!(broker.asked(), [vec!["a", "b", "c"], vec!["a"], vec!["a"]]);
    });
}

#[test]
fn after_a_lost_connection_everything_is_asked_again() {
    let steps = [Step::HangUp, Step::Codes(vec![OK, ErrorCode::TOPIC_ALREADY_EXISTS])];
    run(&steps, async |broker, admin| {
        let results = admin.create_topics(&topics(&["a", "b"]), false).await.expect("results");
        assert!(results["a"].is_ok());
        let refused = results["b"].as_ref().expect_err("refused");
        assert_eq!(refused.code(), Some(ErrorCode::TOPIC_ALREADY_EXISTS));
        assert!(refused.is_after_lost_try(), "{refused}");
        assert_eq!(broker.asked().len(), 2);
    });
}

#[test]
fn coordinators_that_move_or_load_are_waited_for() {
    let steps = [
        Step::Codes(vec![ErrorCode::NOT_COORDINATOR, ErrorCode::NON_EMPTY_GROUP]),
        Step::Codes(vec![ErrorCode::COORDINATOR_LOAD_IN_PROGRESS]),
        Step::Codes(vec![OK]),
    ];
    run(&steps, async |broker, admin| {
        let results = admin.delete_groups(&["g", "h"]).await.expect("results");
        assert!(results["g"].is_ok());
        let refused = results["h"].as_ref().expect_err("refused");
        assert_eq!(refused.code(), Some(ErrorCode::NON_EMPTY_GROUP));
        assert_eq!(broker.asked(), [vec!["g", "h"], vec!["g"], vec!["g"]]);
    });
}

#[test]
fn an_item_without_an_answer_is_an_error() {
    run(&[Step::Codes(vec![OK])], async |_, admin| {
        let results = admin.create_topics(&topics(&["a", "b"]), false).await.expect("results");
        assert!(results["a"].is_ok());
        let error = results["b"].as_ref().expect_err("no answer");
        assert!(matches!(error, Error::Refused { .. }) && !error.is_retriable(), "{error}");
        assert!(admin.create_topics(&topics(&[]), false).await.expect("nothing").is_empty());
    });
}
