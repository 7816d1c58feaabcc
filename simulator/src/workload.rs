//! What clients do in a run: tasks that produce, consume and administrate until they are stopped,
//! the probes of the liveness phase, and the read-back of everything at the end.
//!
//! All parameters stand in the plan. Each client draws from its own seed, and each of its
//! operations from a stream of its own: taking a client, an operation or a topic out of a plan
//! leaves what the others draw as it was.

pub(crate) mod admin;
mod consumer;
mod known;
mod library;
pub(crate) mod library_member;
pub(crate) mod member;
mod native;
pub mod operations;
mod producer;
mod read_back;
mod set_up;
mod settle;
pub(crate) mod stalled;
mod stop;
mod watched;

use core::net::SocketAddr;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rivven_client::ClientConfig;
use rivven_io::Env;
use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::history::event::{Compaction, Retention};

use operations::PlannedOperation;
pub use stop::Stop;

/// A topic of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicParams {
    pub name: String,
    pub partitions: u32,
    /// Topic configurations as CreateTopics takes them (`segment.bytes`, …). `retention.ms` and
    /// `retention.bytes` stand here too: see [`TopicParams::retention`].
    pub configs: std::collections::BTreeMap<String, String>,
    /// Whether a [`ClientKind::TopicAdmin`] deletes and recreates it. All requests name such a
    /// topic by its id.
    pub churn: bool,
}

impl TopicParams {
    /// What its configurations let retention remove.
    #[must_use]
    pub fn retention(&self) -> Retention {
        let bound = |key: &str| self.configs.get(key).and_then(|value| value.parse().ok());
        Retention { ms: bound("retention.ms"), bytes: bound("retention.bytes") }
    }
}

impl TopicParams {
    /// What its configurations let the cleaner take.
    #[must_use]
    pub fn compaction(&self) -> Option<Compaction> {
        let policy = self.configs.get("cleanup.policy")?;
        let number = |key: &str| self.configs.get(key).and_then(|value| value.parse().ok());
        policy.contains("compact").then(|| Compaction {
            delete_retention_ms: number("delete.retention.ms").unwrap_or(u64::MAX),
            lag_min_ms: number("min.compaction.lag.ms").unwrap_or(0),
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKind {
    /// No producer id; tries again only what was definitely refused.
    PlainProducer,
    /// A producer id; tries the same batch again, on another connection, until it has an answer
    /// (X1).
    IdempotentProducer,
    /// Long polls at the end of its partitions.
    TailConsumer,
    /// Reads from the start to the end, again and again.
    ScanConsumer,
    /// Deletes and recreates the topics that churn.
    TopicAdmin,
    /// Does so too, and goes away before it is answered.
    Deserter,
    /// Moves log starts up.
    RecordDeleter,
    /// Sets configurations of topics and brokers that change nothing which an oracle watches.
    ConfigAdmin,
    /// A member of a consumer group.
    GroupMember,
    /// A producer of the client library, which batches, retries and reconnects by itself.
    LibraryProducer,
    /// Consumers of the client library, one after the other, in a group of their own kind.
    LibraryMember,
    /// A client of the native protocol, which publishes, reads and commits.
    NativeClient,
    /// Asks for much and does not read the answers for seconds (M4).
    StalledConsumer,
    /// A process of an application under test ([`crate::app`]), which runs what the test says.
    Application,
}

/// What the members of a group have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupParams {
    pub name: String,
    /// By their names in the group protocol, the preferred one first.
    pub assignors: Vec<String>,
    pub commits: CommitStyle,
}

/// How the members of a group commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommitStyle {
    Automatic,
    Explicit,
    /// Each consumer as it likes.
    Mixed,
}

/// One client; ranges are inclusive at both ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientParams {
    /// Unique in the run, from 1 to 9,999.
    pub client: u32,
    /// Which of the plan's brokers it is a client of, from 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub broker: u64,
    pub kind: ClientKind,
    pub seed: u64,
    /// Topics that it works on, by name.
    pub topics: Vec<String>,
    /// Time between two operations; 0 works without pause.
    pub pause_ms: (u64, u64),
    /// Records of a batch (producers).
    pub batch_records: (u64, u64),
    /// Keys that it draws from; 0: it counts through 64 of them (producers).
    #[serde(default)]
    pub keys: u64,
    /// Share of records without a value, in 1/100 (producers that draw keys).
    #[serde(default)]
    pub tombstone_percent: u64,
    /// How it packs batches: attribute bits 0 to 2 (producers).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub codec: u64,
    /// Share of its turns in which it searches for a time, in 1/100 (consumers).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub time_searches_percent: u64,
    /// Share of its changes that are of the broker's defaults, in 1/100 (config admins).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub broker_changes_percent: u64,
    /// Bytes of a record's value beyond its head of 24 bytes (producers).
    pub filler_bytes: (u64, u64),
    /// Batches on the way at once to one partition, 1 to 5 (producers).
    pub in_flight: u64,
    /// −1, 1 or 0 (plain producers; idempotent ones use −1).
    pub acks: i16,
    /// The longest wait of a fetch (consumers).
    pub fetch_wait_ms: u64,
    /// Bytes that a fetch asks for (consumers).
    pub fetch_bytes: u64,
    pub request_timeout_ms: u64,
    /// Requests that are sent over a connection before one is answered (the client library); 0: as
    /// it does by itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub connection_requests: u64,
    /// Operations after which it stops by itself.
    pub operations_max: u64,
    /// Those that it does; without them, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<PlannedOperation>>,
    /// Of a library member, or a native client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupParams>,
}

/// The clients and topics of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadParams {
    pub topics: Vec<TopicParams>,
    pub clients: Vec<ClientParams>,
}

impl WorkloadParams {
    /// The groups of library members and native clients, by name.
    fn groups(&self) -> BTreeSet<String> {
        let groups = self.clients.iter().filter_map(|client| client.group.as_ref());
        groups.map(|group| group.name.clone()).collect()
    }
}

/// What a client task needs; clones share the history.
#[derive(Clone)]
pub struct ClientContext {
    /// Of the client's own node.
    pub env: Env,
    /// The broker's listener.
    pub broker: SocketAddr,
    pub history: Arc<History>,
    pub topics: Arc<Vec<TopicParams>>,
    /// Asks all to end, but members of the library's groups only to be quiet.
    pub stop: Arc<Stop>,
    /// Asks those to end.
    pub leave: Arc<Stop>,
    /// Virtual time at which the clients began.
    pub began_ns: u64,
}

impl ClientContext {
    /// Virtual time since the clients began.
    pub(crate) fn now_us(&self) -> u64 {
        self.history.now_ns().saturating_sub(self.began_ns) / 1_000
    }
}

/// Creates the topics and waits until Metadata shows them, at most `within`.
///
/// # Errors
/// In words, if the broker does not get there.
pub async fn set_up(context: &ClientContext, within: Duration) -> Result<(), String> {
    set_up::create_all(context, within).await
}

/// Runs one client until it is stopped or has done its operations; what was on the way then is
/// recorded as unknown.
pub async fn run_client(context: ClientContext, params: ClientParams) {
    match params.kind {
        ClientKind::PlainProducer => producer::run(context, params, false).await,
        ClientKind::IdempotentProducer => producer::run(context, params, true).await,
        ClientKind::TailConsumer => consumer::run(context, params, true).await,
        ClientKind::ScanConsumer => consumer::run(context, params, false).await,
        ClientKind::TopicAdmin => admin::churn_topics(context, params).await,
        ClientKind::Deserter => admin::desert_topics(context, params).await,
        ClientKind::RecordDeleter => admin::delete_records(context, params).await,
        ClientKind::ConfigAdmin => admin::alter_configs(context, params).await,
        ClientKind::GroupMember => member::run(context, params).await,
        ClientKind::LibraryProducer => library::run(context, params).await,
        ClientKind::LibraryMember => library_member::run(context, params).await,
        ClientKind::NativeClient => native::run(context, params).await,
        ClientKind::StalledConsumer => stalled::run(context, params).await,
        ClientKind::Application => {}
    }
}

/// The liveness phase, to be run after the mark `Healed` and to be followed by `LivenessEnd`: a
/// fresh client produces to, and fetches from, every partition of every topic that exists; each
/// request has `within` to be answered. What went wrong is in the history, for I42.
pub async fn probe_liveness(context: &ClientContext, within: Duration) {
    read_back::probe(context, within).await;
}

/// Gives the library's groups of a plan, which must be quiet, `within` to read everything, and
/// notes for I26 how far they came.
pub async fn settle_groups(context: &ClientContext, plan: &WorkloadParams, within: Duration) {
    settle::run(context, &plan.groups(), within).await;
}

/// Reads every partition that exists from its log start to its high watermark, and records it with
/// its marks. A range that answers an error is tried for `patience`; after that the read goes on
/// behind it.
pub async fn read_back(context: &ClientContext, patience: Duration) {
    read_back::run(context, patience).await;
}

/// The client library's configuration of connections, with the queue that a plan may make short.
fn library_connections(params: &ClientParams) -> ClientConfig {
    let mut config = ClientConfig::default();
    if let Ok(requests @ 1..) = usize::try_from(params.connection_requests) {
        config.in_flight_max = requests;
    }
    config
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
