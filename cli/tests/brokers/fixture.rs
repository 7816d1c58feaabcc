//! A broker in a folder of its own, and the command that talks to it.

use std::net::SocketAddr;
use std::process::{Child, Command, Output};

use bytes::Bytes;
use rivven_broker::config::Config;
use rivven_broker::lifecycle::Broker;
use rivven_client::admin::Admin;
use rivven_client::{Client, ClientConfig, Lane, Target};
use rivven_core::ids::TimestampMs;
use rivven_core::kafka::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use rivven_core::kafka::messages::produce::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use rivven_core::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_io::Env;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) struct Fixture {
    pub(crate) runtime: Runtime,
    pub(crate) client: Client,
    pub(crate) http: SocketAddr,
    kafka: SocketAddr,
    broker: Option<Broker>,
    _folder: TempDir,
}

/// What the command printed and how it ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Fixture {
    pub(crate) fn start() -> Fixture {
        Fixture::start_with(true)
    }

    pub(crate) fn without_auto_create() -> Fixture {
        Fixture::start_with(false)
    }

    fn start_with(auto_create_topics: bool) -> Fixture {
        let folder = TempDir::new().expect("a temporary directory");
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config {
            data_dir: folder.path().join("data"),
            bind: vec![any_port],
            api_bind: any_port,
            node_id: 7,
            default_partitions: 2,
            auto_create_topics,
            ..Config::default()
        };
        let runtime = Runtime::new().expect("a runtime");
        let started = runtime.block_on(async {
            let env = Env::real();
            (Broker::start(env.clone(), config).await.expect("a broker"), env)
        });
        let (broker, env) = started;
        let (kafka, http) = (broker.kafka_addrs()[0], broker.http_addr());
        let client = Client::new(env, ClientConfig::to(&kafka.to_string())).expect("a client");
        Fixture { runtime, client, http, kafka, broker: Some(broker), _folder: folder }
    }

    pub(crate) fn admin(&self) -> Admin {
        Admin::new(self.client.clone())
    }

    /// `rivven ARGUMENTS`, with the broker in the environment.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(&self.kafka.to_string(), arguments)
    }

    /// [`Fixture::run`] of a command that must work; the document that it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat());
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
        serde_json::from_str(&ran.out).expect("one document of JSON")
    }

    /// [`Fixture::run`] of a command that must work; what it prints.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
        ran.out
    }

    pub(crate) fn produce(&self, topic: &str, index: i32, values: &[&[u8]]) {
        let now = TimestampMs(self.client.env().clock.wall_ms());
        let push = |batch: BatchBuilder, value: &&[u8]| batch.push(NewRecord::value(value));
        let batch: Bytes = values.iter().fold(BatchBuilder::new(now), push).build().into();
        self.runtime.block_on(async {
            let topic_id = self.client.topic(topic, false).await.expect("a topic").id;
            let request = ProduceRequest {
                acks: -1,
                timeout_ms: 30_000,
                topic_data: vec![TopicProduceData {
                    name: topic.into(),
                    topic_id,
                    partition_data: vec![PartitionProduceData { index, records: Some(batch) }],
                }],
                ..ProduceRequest::default()
            };
            let answer = self.client.call(Target::Any, Lane::Produce, &request).await;
            let answer = answer.expect("an answer");
            let code = answer.responses[0].partition_responses[0].error_code;
            assert!(!code.is_error(), "{code}");
        });
    }

    /// Makes a group with one member, which reads partition 0 of the topic. Its id.
    pub(crate) fn join(&self, group: &str, topic: &str) -> String {
        self.join_by(&self.client, (group, topic), b"\0\0\0\x01\0\0\0\0")
    }

    /// [`Fixture::join`] by a client that calls itself something else, and reads nothing.
    pub(crate) fn join_idly_as(&self, client_id: &str, (group, topic): (&str, &str)) -> String {
        let bootstrap = self.client.config().bootstrap.clone();
        let config =
            ClientConfig { bootstrap, client_id: client_id.to_owned(), ..ClientConfig::default() };
        let client = Client::new(self.client.env().clone(), config).expect("a client");
        self.join_by(&client, (group, topic), b"\0\0\0\0")
    }

    fn join_by(&self, client: &Client, (group, topic): (&str, &str), partitions: &[u8]) -> String {
        let name = [&i16::try_from(topic.len()).expect("short").to_be_bytes(), topic.as_bytes()];
        let name = name.concat();
        let subscription = [b"\0\0\0\0\0\x01", name.as_slice(), b"\xff\xff\xff\xff"].concat();
        let assignment =
            [b"\0\0\0\0\0\x01", name.as_slice(), partitions, b"\xff\xff\xff\xff"].concat();
        let protocol =
            JoinGroupRequestProtocol { name: "range".into(), metadata: subscription.into() };
        let mut join = JoinGroupRequest {
            group_id: group.into(),
            session_timeout_ms: 60_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..JoinGroupRequest::default()
        };
        self.runtime.block_on(async {
            let to = (Target::Any, Lane::Rebalance);
            let joined = loop {
                let answer = client.call(to.0, to.1, &join).await.expect("an answer");
                if !answer.error_code.is_error() {
                    break answer;
                }
                // The first answer only says who the member is, or that the group is being read.
                join.member_id = answer.member_id;
            };
            let member_id = joined.member_id.clone();
            let row = SyncGroupRequestAssignment {
                member_id: member_id.clone(),
                assignment: assignment.into(),
            };
            let sync = SyncGroupRequest {
                group_id: group.into(),
                generation_id: joined.generation_id,
                member_id: member_id.clone(),
                protocol_type: joined.protocol_type,
                protocol_name: joined.protocol_name,
                assignments: vec![row],
                ..SyncGroupRequest::default()
            };
            let synced = client.call(to.0, to.1, &sync).await.expect("an answer");
            assert!(!synced.error_code.is_error(), "{}", synced.error_code);
            member_id.to_string()
        })
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            let stopped = self.runtime.block_on(broker.shutdown());
            assert!(stopped.is_ok() || std::thread::panicking(), "the broker ends in order");
        }
    }
}

/// `rivven`, and nothing in its environment that the test does not say.
pub(crate) fn command(brokers: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rivven"));
    command.args(arguments).env_remove("RIVVEN_DATA_DIR").env("RIVVEN_BROKERS", brokers);
    command
}

pub(crate) fn run(brokers: &str, arguments: &[&str]) -> Ran {
    ran(command(brokers, arguments).output().expect("it runs"))
}

/// What Ctrl-C does.
pub(crate) fn interrupt(child: &Child) {
    signal(child, "-INT");
}

pub(crate) fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().expect("it runs").success());
}

pub(crate) fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
