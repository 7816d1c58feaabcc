//! The way into a generation of the group: commit, JoinGroup, the assignment if this member leads,
//! SyncGroup. A task does it, so that a poll that is dropped stops nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::message::Request;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
};
use rivven_core::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use rivven_io::clock::Monotonic;
use rivven_io::task::Task;

use super::commits;
use super::config::millis;
use super::membership::Membership;
use super::shared::Shared;
use crate::assignor::{Assignor, Member, PartitionCounts, Subscription, TopicPartition, protocol};
use crate::client::Lane;
use crate::connection::ConnectionError;
use crate::error::{Error, accepted};
use crate::image::ClusterImage;

/// Above the time for which the coordinator holds a join.
const HELD_EXTRA: Duration = Duration::from_secs(5);

/// What a member joins with.
pub(super) struct Intent {
    /// Of this join.
    pub(super) number: u64,
    pub(super) topics: BTreeSet<Arc<str>>,
    /// What it goes on reading meanwhile.
    pub(super) owned: BTreeSet<TopicPartition>,
    /// What it had, and in which generation.
    pub(super) before: BTreeSet<TopicPartition>,
    pub(super) generation: i32,
    pub(super) reason: String,
}

/// How a join ended.
pub(super) enum JoinEnd {
    Joined(Joined),
    /// The group went on without this member: what it owned is not its own any more.
    Lost(String),
    /// It was refused, or cannot work.
    Failed(Error),
}

/// A place in a generation.
pub(super) struct Joined {
    pub(super) generation: i32,
    /// When the last of its requests was sent.
    sent: Monotonic,
    pub(super) partitions: BTreeSet<TopicPartition>,
}

/// Why a round did not end in a generation.
enum Round {
    /// Begin again at once.
    Again,
    Lost(String),
    Failed(Error),
}

impl From<Error> for Round {
    fn from(error: Error) -> Round {
        Round::Failed(error)
    }
}

/// Joins, and leaves in `joined` what came of it. `before` is a commit that was cut off.
pub(super) async fn run(shared: Arc<Shared>, intent: Intent, before: Option<Task<()>>) {
    let ending = Ending { shared: shared.clone(), number: intent.number };
    if let Some(before) = before {
        // Cut off or not: it must not take back what is committed next.
        drop(before.await);
    }
    ending.end(join(&shared, &intent).await);
}

/// Ends a join, with a failure if nobody does.
struct Ending {
    shared: Arc<Shared>,
    number: u64,
}

impl Ending {
    fn end(&self, end: JoinEnd) {
        let shared = &self.shared;
        let now = shared.now();
        let mut state = shared.lock();
        if !state.membership.is_joining || state.join_number != self.number {
            return;
        }
        state.membership.is_joining = false;
        match &end {
            JoinEnd::Joined(joined) => {
                state.membership.generation = joined.generation;
                // The answer may have been held, or long on its way: what counts is the request.
                state.membership.hear(joined.sent, true, now);
                state.membership.beat_due = joined.sent.after(shared.config.heartbeat_interval);
            }
            JoinEnd::Lost(_) | JoinEnd::Failed(_) => state.membership.generation = -1,
        }
        state.joined = Some(end);
        drop(state);
        shared.beat.notify_one();
        shared.arrived.notify_one();
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let text = "joining the group ended without a result, which is a fault of this client";
        self.end(JoinEnd::Failed(Error::Invalid(text.to_owned())));
    }
}

async fn join(shared: &Shared, intent: &Intent) -> JoinEnd {
    commits::store_given_up(shared).await;
    let mut backoff = shared.client.backoff();
    loop {
        let error = match round(shared, intent).await {
            Ok(joined) => return JoinEnd::Joined(joined),
            Err(Round::Lost(reason)) if !intent.owned.is_empty() => return JoinEnd::Lost(reason),
            Err(Round::Again | Round::Lost(_)) => continue,
            Err(Round::Failed(error)) if !error.is_retriable() => return JoinEnd::Failed(error),
            Err(Round::Failed(error)) => error,
        };
        // As long as the group has not said otherwise, what is owned stays owned.
        tracing::debug!(%error, "joining again");
        shared.fall_silent(error);
        backoff.wait(shared.client.env()).await;
    }
}

async fn round(shared: &Shared, intent: &Intent) -> Result<Joined, Round> {
    let me = shared.me();
    let request = join_request(shared, intent, &me)?;
    let answer = ask(shared, &request).await?;
    if answer.error_code == ErrorCode::MEMBER_ID_REQUIRED {
        shared.lock().membership.member_id = answer.member_id.to_string();
        return Err(Round::Again);
    }
    heed(shared, &me, answer.error_code)?;
    let me = Membership {
        member_id: answer.member_id.to_string(),
        generation: answer.generation_id,
        ..shared.me()
    };
    shared.lock().membership.member_id.clone_from(&me.member_id);
    let protocol = answer.protocol_name.as_deref().unwrap_or_default();
    let assignor = Assignor::from_name(protocol).ok_or_else(|| {
        Error::Invalid(format!("the group uses the assignor {protocol:?}, which is not known"))
    })?;
    let assignments = match answer.leader == answer.member_id {
        true => lead(shared, assignor, &answer).await?,
        false => {
            shared.lock().membership.assigned_from = None;
            Vec::new()
        }
    };
    let request = SyncGroupRequest {
        group_id: shared.group()?,
        generation_id: me.generation,
        member_id: WireStr::from(me.member_id.as_str()),
        group_instance_id: shared.instance(),
        protocol_type: Some(WireStr::from_static(protocol::CONSUMER)),
        protocol_name: Some(WireStr::from_static(assignor.name())),
        assignments,
    };
    let sent = shared.now();
    let synced = ask(shared, &request).await?;
    if synced.error_code == ErrorCode::REBALANCE_IN_PROGRESS {
        return Err(Round::Again);
    }
    heed(shared, &me, synced.error_code)?;
    let given = protocol::decode_assignment_of(synced.assignment);
    let (partitions, user_data) = given.ok_or_else(|| {
        Error::Invalid("the leader of the group sent an assignment that is none".to_owned())
    })?;
    if answer.skip_assignment {
        shared.check_made_from(user_data.as_ref());
    }
    Ok(Joined { generation: me.generation, sent, partitions })
}

/// A request that the coordinator may hold until the other members have come.
async fn ask<M: Request>(shared: &Shared, request: &M) -> Result<M::Response, Error> {
    let held = shared.config.max_poll_interval + HELD_EXTRA;
    let sent = shared.now();
    let answer = shared.call_coordinator(Lane::Rebalance, (request, held)).await;
    let was_there = match &answer {
        Ok(_) => true,
        Err(Error::Connection { error, .. }) => matches!(error, ConnectionError::Closed(_)),
        Err(_) => false,
    };
    let now = shared.now();
    if was_there && now.since(sent) > shared.client.config().request_timeout {
        // Somebody held it until now.
        shared.lock().membership.silent_since = now;
    }
    answer
}

fn join_request(
    shared: &Shared,
    intent: &Intent,
    me: &Membership,
) -> Result<JoinGroupRequest, Error> {
    let config = &shared.config;
    let subscription = Subscription {
        topics: intent.topics.clone(),
        owned: intent.owned.clone(),
        generation: intent.generation,
        rack: config.rack.clone(),
    };
    let protocols = config.assignors.iter().map(|assignor| JoinGroupRequestProtocol {
        name: WireStr::from_static(assignor.name()),
        metadata: assignor.metadata(&subscription, &intent.before),
    });
    Ok(JoinGroupRequest {
        group_id: shared.group()?,
        session_timeout_ms: millis(config.session_timeout),
        rebalance_timeout_ms: millis(config.max_poll_interval),
        member_id: WireStr::from(me.member_id.as_str()),
        group_instance_id: shared.instance(),
        protocol_type: WireStr::from_static(protocol::CONSUMER),
        protocols: protocols.collect(),
        reason: Some(WireStr::from(intent.reason.as_str())),
    })
}

/// What an error code of a join or a sync means for who asked.
fn heed(shared: &Shared, me: &Membership, code: ErrorCode) -> Result<(), Round> {
    let now = shared.now();
    let mut state = shared.lock();
    match code {
        ErrorCode::NONE => state.membership.silent_since = now,
        ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
            state.membership.coordinator = None;
        }
        // Without an id there is nothing to be unknown.
        ErrorCode::UNKNOWN_MEMBER_ID if !me.member_id.is_empty() => {
            state.membership.member_id.clear();
            return Err(Round::Lost("the group does not know this member (any more)".to_owned()));
        }
        ErrorCode::ILLEGAL_GENERATION => {
            return Err(Round::Lost("the group has another generation".to_owned()));
        }
        ErrorCode::REBALANCE_IN_PROGRESS => return Err(Round::Again),
        ErrorCode::FENCED_INSTANCE_ID => state.membership.fence(),
        _ => {}
    }
    drop(state);
    let group = shared.group()?;
    Ok(accepted(code, None, || format!("joining group {:?}", &*group))?)
}

/// Everybody's partitions. A leader that shall keep the assignment (KIP-814) only takes note of
/// the topics that it watches from now on.
async fn lead(
    shared: &Shared,
    assignor: Assignor,
    answer: &JoinGroupResponse,
) -> Result<Vec<SyncGroupRequestAssignment>, Error> {
    let members: Vec<Member> =
        answer.members.iter().map(|row| read_member(assignor, row)).collect();
    let ids: BTreeSet<&str> = members.iter().map(|member| member.id.as_str()).collect();
    if ids.len() < members.len() {
        return Err(Error::Malformed("two members of the group have the same id".to_owned()));
    }
    let topics: BTreeSet<Arc<str>> =
        members.iter().flat_map(|member| member.subscription.topics.iter().cloned()).collect();
    let counts = partition_counts(shared, &topics).await?;
    {
        let mut state = shared.lock();
        // These are watched; the own ones are among them, but for a subscription since.
        state.topics.retain(|topic, may_make| *may_make || topics.contains(topic));
        for topic in topics {
            state.topics.entry(topic).or_insert(false);
        }
        state.membership.assigned_from = Some(counts.clone());
    }
    if answer.skip_assignment {
        return Ok(Vec::new());
    }
    let given = assignor.assign(&counts, &members);
    let made_from = protocol::encode_made_from(&counts);
    let row = |(member, partitions): (&String, &BTreeSet<TopicPartition>)| {
        let is_own = *member == *answer.member_id;
        let assignment = protocol::encode_assignment_of(partitions, is_own.then_some(&made_from));
        SyncGroupRequestAssignment { member_id: WireStr::from(member.as_str()), assignment }
    };
    Ok(given.iter().map(row).collect())
}

/// A member as it describes itself. One that nobody can read gets nothing.
fn read_member(assignor: Assignor, row: &JoinGroupResponseMember) -> Member {
    let id = row.member_id.to_string();
    let subscription = assignor.read_metadata(row.metadata.clone()).unwrap_or_else(|| {
        tracing::warn!(member = id, "its subscription cannot be read: it gets no partitions");
        Subscription::default()
    });
    let instance = row.group_instance_id.as_deref().map(str::to_owned);
    Member { id, instance, subscription }
}

/// Partitions of the topics that are there.
async fn partition_counts(
    shared: &Shared,
    topics: &BTreeSet<Arc<str>>,
) -> Result<PartitionCounts, Error> {
    let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
    let image = match shared.client.topics(&names, false).await {
        // What is not there is left out.
        Err(Error::Refused { .. }) => shared.client.image(),
        answer => answer?,
    };
    Ok(counts(topics.iter(), &image))
}

/// Partitions of those of `topics` that are there.
pub(super) fn counts<'a>(
    topics: impl Iterator<Item = &'a Arc<str>>,
    image: &ClusterImage,
) -> PartitionCounts {
    let count = |name: &Arc<str>| {
        let count = image.topics.get(&**name)?.partitions.len();
        Some((name.clone(), i32::try_from(count).ok()?))
    };
    topics.filter_map(count).collect()
}
