//! What each native request does: it becomes a request of Kafka's APIs, so that one broker stands
//! behind both protocols. Nothing here knows a socket.

mod configs;
pub(crate) mod consume;
mod errors;
mod groups;
pub(crate) mod publish;
pub(crate) mod telling;
mod topics;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rivven_core::ids::TopicId;
use rivven_core::partitioner::Sticky;
use rivven_core::wire::codec::Name;
use rivven_core::wire::frame::{Call, Format, Head};
use rivven_core::wire::request::{FIRST_NEW, Request};
use rivven_core::wire::response::Response;
use rivven_io::clock::Monotonic;

use crate::api::Caller;
use crate::limits::NATIVE_MEMBERSHIPS_MAX;
use crate::node::Node;
use consume::Wish;
pub(crate) use errors::Failure;
pub(crate) use groups::{group_in_order, waits_for_group};
use publish::Publish;
use rivven_core::kafka::codec::error_code::ErrorCode;

/// Version of the handshake that released clients know.
const VERSION_RELEASED: u32 = 2;
/// Version whose clients read every error with its code.
const VERSION_WITH_CODES: u32 = 3;

/// What a request leads to.
#[derive(Debug)]
pub(crate) enum Work {
    Publish(Publish),
    Consume(Wish),
    Other(Request),
}

impl From<Request> for Work {
    fn from(request: Request) -> Work {
        Publish::of(request)
    }
}

/// What the answers of one connection depend on.
pub(crate) struct Session {
    node: Arc<Node>,
    caller: Caller,
    has_codes: AtomicBool,
    /// None until records come that it has to place.
    sticky: Mutex<Option<Sticky>>,
    /// Groups that this connection is a member of. A commit of release 0.0.22 does not say whose it
    /// is: it is that of the member who joined on the same connection.
    memberships: Mutex<BTreeMap<String, Member>>,
}

/// A member of a group, in one of its generations.
#[derive(Clone, Debug)]
struct Member {
    id: Name,
    generation: i32,
}

impl Member {
    /// Of a group that was not joined, or not yet.
    fn nobody() -> Member {
        Member { id: Name::default(), generation: -1 }
    }
}

/// How one request is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    head: Head,
    /// Number of the request in its format.
    asked: u32,
    /// Number of the request in postcard.
    index: usize,
    has_codes: bool,
    needs_its_topic: bool,
    at: Monotonic,
}

impl Session {
    pub(crate) fn new(node: Arc<Node>, caller: Caller) -> Session {
        Session {
            node,
            caller,
            has_codes: AtomicBool::new(false),
            sticky: Mutex::new(None),
            memberships: Mutex::default(),
        }
    }

    /// Whether errors carry codes, whatever is asked.
    fn has_codes(&self, head: Head) -> bool {
        head.format == Format::Protobuf || self.has_codes.load(Ordering::Relaxed)
    }

    /// The answer, which is counted here, to a frame that is no request.
    pub(crate) fn refuse(&self, head: Head, failure: &Failure) -> Vec<Bytes> {
        self.node.metrics.note_native_refusal(failure.code);
        let response = failure.response(self.has_codes(head));
        let frame = head.answer(0, &response).expect("an error fits every frame");
        vec![frame.into()]
    }

    pub(crate) fn asker(&self, call: &Call, at: Monotonic) -> Asker {
        let index = call.request.index();
        let has_codes = index >= FIRST_NEW || self.has_codes(call.head);
        let needs_its_topic = call.needs_its_topic();
        Asker { head: call.head, asked: call.asked, index, has_codes, needs_its_topic, at }
    }

    /// The partition for records that have neither a partition nor a key.
    fn choose(&self, topic: (TopicId, u32), bytes: usize) -> u32 {
        let now_ms = u64::try_from(self.node.env.clock.wall_ms()).unwrap_or(0);
        let mut sticky = self.sticky.lock().unwrap_or_else(PoisonError::into_inner);
        let sticky = sticky.get_or_insert_with(|| Sticky::new(self.node.env.rng.u64()));
        sticky.choose(topic, bytes, now_ms)
    }

    fn memberships(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.memberships.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a place for a membership, before the group is asked: one that is refused afterwards
    /// would leave a member behind that nobody knows.
    fn reserve(&self, group: &str) -> Result<(), Failure> {
        let mut memberships = self.memberships();
        if memberships.len() >= NATIVE_MEMBERSHIPS_MAX && !memberships.contains_key(group) {
            let text = format!("a connection joins at most {NATIVE_MEMBERSHIPS_MAX} groups");
            return Err(Failure::new(ErrorCode::GROUP_MAX_SIZE_REACHED, text));
        }
        memberships.entry(group.to_owned()).or_insert_with(Member::nobody);
        Ok(())
    }

    fn remember(&self, group: &str, member: Member) {
        self.memberships().insert(group.to_owned(), member);
    }

    fn forget(&self, group: &str, member: &str) {
        let mut memberships = self.memberships();
        if memberships.get(group).is_some_and(|known| *known.id == *member) {
            memberships.remove(group);
        }
    }

    fn forget_group(&self, group: &str) {
        self.memberships().remove(group);
    }

    /// Who commits for a group on this connection: its member, or nobody.
    fn member(&self, group: &str) -> Member {
        self.memberships().get(group).cloned().unwrap_or_else(Member::nobody)
    }

    /// Answers any request but those that publish and consume.
    pub(crate) async fn answer(&self, request: Request) -> Result<Response, Failure> {
        let (node, caller) = (&self.node, self.caller);
        match request {
            Request::Ping => Ok(Response::Pong),
            Request::Handshake { protocol_version, .. } => Ok(self.handshake(protocol_version)),
            Request::CreateTopic { name, partitions } => {
                topics::create(node, (name, partitions, None), &[]).await
            }
            Request::CreateTopicWithConfigs { name, partitions, replication_factor, configs } => {
                topics::create(node, (name, partitions, replication_factor), &configs).await
            }
            Request::ListTopics => Ok(topics::list(node)),
            Request::DeleteTopic { name } => topics::delete(node, &name).await,
            Request::GetMetadata { topic } => topics::metadata(node, &topic),
            Request::GetClusterMetadata { topics: names } => {
                Ok(topics::cluster(node, caller, &names).await)
            }
            Request::GetOffsetBounds { topic, partition } => {
                topics::offset_bounds(node, &topic, partition)
            }
            Request::GetOffsetForTimestamp { topic, partition, timestamp_ms } => {
                topics::offset_for_timestamp(node, (&topic, partition), timestamp_ms).await
            }
            Request::InitProducerId { .. } => topics::init_producer_id(node).await,
            Request::AlterTopicConfig { topic, configs } => {
                configs::alter(node, &topic, &configs).await
            }
            Request::DescribeTopicConfigs { topics } => configs::describe(node, &topics),
            Request::CreatePartitions { topic, new_partition_count, assignments } => {
                topics::create_partitions(node, (&topic, new_partition_count), &assignments).await
            }
            Request::DeleteRecords { topic, partition_offsets } => {
                topics::delete_records(node, &topic, &partition_offsets).await
            }
            other => groups::answer(self, other).await,
        }
    }

    fn handshake(&self, version: u32) -> Response {
        let compatible = (VERSION_RELEASED..=VERSION_WITH_CODES).contains(&version);
        self.has_codes.store(version == VERSION_WITH_CODES, Ordering::Relaxed);
        let message = if compatible {
            "this broker speaks that version".to_owned()
        } else {
            format!("this broker speaks versions {VERSION_RELEASED} and {VERSION_WITH_CODES}")
        };
        let server_version = if compatible { version } else { VERSION_RELEASED };
        Response::HandshakeResult { server_version, compatible, message }
    }
}

impl Work {
    /// Whether the answer may depend on records that the same client has just sent.
    pub(crate) fn sees_appends(&self) -> bool {
        !matches!(self, Work::Publish(_) | Work::Other(Request::Ping | Request::Handshake { .. }))
    }
}

/// Whether a small request of the kind may have an answer of any size.
pub(crate) fn may_be_large(request: &Request) -> bool {
    matches!(
        request,
        Request::ListTopics
            | Request::GetClusterMetadata { .. }
            | Request::DescribeTopicConfigs { .. }
            | Request::DeleteRecords { .. }
            | Request::ListGroups
            | Request::DescribeGroup { .. }
            | Request::JoinGroup { .. }
    )
}

impl Asker {
    /// The frame to send, which is counted here.
    pub(crate) fn answer(&self, node: &Node, outcome: Result<Response, Failure>) -> Vec<Bytes> {
        let (response, error) = match outcome.and_then(|response| self.check(response)) {
            Ok(response) => (response, ErrorCode::NONE),
            Err(failure) => (failure.response(self.has_codes), failure.code),
        };
        let frame = self.head.answer(self.asked, &response).or_else(|error| {
            let failure =
                Failure::new(ErrorCode::MESSAGE_TOO_LARGE, format!("{error}: ask for less"));
            self.head.answer(self.asked, &failure.response(self.has_codes))
        });
        self.note(node, error);
        vec![frame.expect("an error fits every frame").into()]
    }

    fn check(&self, response: Response) -> Result<Response, Failure> {
        match &response {
            Response::ClusterMetadata { topics, .. }
                if self.needs_its_topic && topics.is_empty() =>
            {
                let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                Err(Failure::new(code, "there is no such topic"))
            }
            _ => Ok(response),
        }
    }

    fn note(&self, node: &Node, error: ErrorCode) {
        node.metrics.note_native(self.index, node.env.clock.now().since(self.at), error);
    }
}
