//! The way into a generation of the group: commit, JoinGroup, the assignment if this member leads,
//! SyncGroup. A task does it, so that a poll that is dropped stops nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
};
use rivven_core::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use rivven_io::clock::Monotonic;

use super::commits::{self, Counted};
use super::config::millis;
use super::coordinator::Retries;
use super::membership::Membership;
use super::shared::Shared;
use crate::assignor::{Assignor, Member, PartitionCounts, Subscription, TopicPartition, protocol};
use crate::client::Lane;
use crate::error::{Error, accepted};
use crate::image::ClusterImage;

/// Above the time for which the coordinator holds a join.
const HELD_EXTRA: Duration = Duration::from_secs(5);
/// For the commit before a join; what is not committed is read again.
const COMMIT_LIMIT: Duration = Duration::from_secs(5);

/// What a member joins with.
pub(super) struct Intent {
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

/// Joins, and leaves in `joined` what came of it.
pub(super) async fn run(shared: Arc<Shared>, intent: Intent) {
    let end = join(&shared, &intent).await;
    let now = shared.now();
    let mut state = shared.lock();
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

async fn join(shared: &Shared, intent: &Intent) -> JoinEnd {
    let given_up = shared.lock().given_up.clone();
    if !given_up.is_empty() {
        if let Err(error) = commits::store(shared, &given_up, COMMIT_LIMIT).await {
            tracing::warn!(%error, "not committed before a rebalance: records will be read again");
        }
        shared.lock().given_up = Counted::default();
    }
    let limit = shared.client.config().api_timeout;
    let mut retries = Retries::new(&shared.client, "joining the group", limit);
    loop {
        let error = match round(shared, intent).await {
            Ok(joined) => return JoinEnd::Joined(joined),
            Err(Round::Again) => continue,
            Err(Round::Lost(reason)) if !intent.owned.is_empty() => return JoinEnd::Lost(reason),
            Err(Round::Lost(_)) => continue,
            Err(Round::Failed(error)) => error,
        };
        if let Err(error) = retries.after(&shared.client, error).await {
            return JoinEnd::Failed(error);
        }
    }
}

async fn round(shared: &Shared, intent: &Intent) -> Result<Joined, Round> {
    let me = shared.me();
    let request = join_request(shared, intent, &me)?;
    let held = shared.config.max_poll_interval + HELD_EXTRA;
    let answer = shared.call_coordinator(Lane::Rebalance, (&request, held)).await?;
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
    let synced = shared.call_coordinator(Lane::Rebalance, (&request, held)).await?;
    if synced.error_code == ErrorCode::REBALANCE_IN_PROGRESS {
        return Err(Round::Again);
    }
    heed(shared, &me, synced.error_code)?;
    let partitions = protocol::decode_assignment(synced.assignment).ok_or_else(|| {
        Error::Invalid("the leader of the group sent an assignment that is none".to_owned())
    })?;
    Ok(Joined { generation: me.generation, sent, partitions })
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
    let mut state = shared.lock();
    match code {
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
/// what it was made from.
async fn lead(
    shared: &Shared,
    assignor: Assignor,
    answer: &JoinGroupResponse,
) -> Result<Vec<SyncGroupRequestAssignment>, Error> {
    let members: Vec<Member> =
        answer.members.iter().map(|row| read_member(assignor, row)).collect();
    let topics: BTreeSet<Arc<str>> =
        members.iter().flat_map(|member| member.subscription.topics.iter().cloned()).collect();
    let counts = partition_counts(shared, &topics).await?;
    {
        let mut state = shared.lock();
        // Exactly these are watched; the own ones are among them.
        state.topics.retain(|topic, _| topics.contains(topic));
        for topic in topics {
            state.topics.entry(topic).or_insert(false);
        }
        state.membership.assigned_from = Some(counts.clone());
    }
    if answer.skip_assignment {
        return Ok(Vec::new());
    }
    let given = assignor.assign(&counts, &members);
    let row = |(member, partitions): (&String, &BTreeSet<TopicPartition>)| {
        let assignment = protocol::encode_assignment(partitions);
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
