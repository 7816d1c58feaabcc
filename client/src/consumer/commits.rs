//! Committed offsets: storing them and asking for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition,
};
use rivven_core::kafka::messages::offset_fetch::{
    OffsetFetchGroup, OffsetFetchRequest, OffsetFetchTopic,
};
use rivven_io::clock::Monotonic;

use super::config::Isolation;
use super::coordinator::Retries;
use super::membership::Membership;
use super::partitions::{Partitions, Position, Row, Stored};
use super::shared::Shared;
use crate::assignor::TopicPartition;
use crate::client::Lane;
use crate::error::{Error, accepted};
use crate::image::ClusterImage;

/// After which an automatic commit stores an offset again that has not moved: brokers forget those
/// of a group without members some days after they were committed.
const STORED_AGE_MAX: Duration = Duration::from_secs(3600);

/// For what is given up, once the coordinator is there.
const GIVEN_UP_LIMIT: Duration = Duration::from_secs(5);

/// After which a topic that the coordinator does not know is gone, and not one that brokers have
/// not heard of yet.
const GONE_LIMIT: Duration = Duration::from_secs(5);

/// How long a commit is tried.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    limit: Duration,
    /// While nothing but topics that the coordinator does not know stands in its way: all other
    /// offsets are stored then.
    of_gone: Duration,
}

impl Patience {
    /// As long as that, whatever stands in its way.
    pub(super) fn of(limit: Duration) -> Patience {
        Patience { limit, of_gone: limit }
    }

    /// Of who wants to go.
    pub(super) fn at_end(limit: Duration) -> Patience {
        Patience { limit, of_gone: GONE_LIMIT }
    }
}

const WENT_ON: &str =
    "the group went on without this member, and its partitions are read by others";

/// An offset that a group has committed: the next one to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: i64,
    /// Of the record before it; -1 if it is not known.
    pub leader_epoch: i32,
    /// What the application wants to remember with it.
    pub metadata: String,
}

impl From<i64> for CommittedOffset {
    fn from(offset: i64) -> CommittedOffset {
        CommittedOffset { offset, leader_epoch: -1, metadata: String::new() }
    }
}

/// Offsets by partition.
pub type Offsets = BTreeMap<TopicPartition, CommittedOffset>;

/// Offsets to commit, with the topic whose records each of them counts, where that is known: a name
/// may be another topic's by the time of the commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) offsets: Offsets,
    topics: BTreeMap<TopicPartition, TopicId>,
}

impl From<Offsets> for Counted {
    fn from(offsets: Offsets) -> Counted {
        Counted { offsets, topics: BTreeMap::new() }
    }
}

impl Counted {
    pub(super) fn add(&mut self, of: TopicPartition, at: CommittedOffset, topic: Option<TopicId>) {
        self.topics.extend(topic.map(|topic| (of.clone(), topic)));
        self.offsets.insert(of, at);
    }

    pub(super) fn extend(&mut self, other: Counted) {
        self.topics.retain(|of, _| !other.offsets.contains_key(of));
        self.offsets.extend(other.offsets);
        self.topics.extend(other.topics);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Those whose topic was not made anew. Of one that is not there the coordinator has the word.
    fn of_topics_in(&self, image: &ClusterImage) -> Offsets {
        let is_there = |of: &TopicPartition| {
            let found = image.topics.get(&*of.topic);
            let other = |topic: &TopicId| found.is_some_and(|found| found.id != *topic);
            !self.topics.get(of).is_some_and(other)
        };
        let offsets = self.offsets.iter().filter(|(of, _)| is_there(of));
        offsets.map(|(of, at)| (of.clone(), at.clone())).collect()
    }
}

impl Partitions {
    /// Every position, of partitions that are revoked or not.
    pub(super) fn positions(&self, wants: impl Fn(&Row) -> bool) -> Counted {
        let mut offsets = Counted::default();
        for (of, row) in self.rows.iter().filter(|(_, row)| wants(row)) {
            let Position::At(at) = row.position else { continue };
            let at = if rivven_io::planted!("B72") { row.fetched } else { at };
            let (offset, leader_epoch) = (at.offset, at.leader_epoch);
            let at = CommittedOffset { offset, leader_epoch, metadata: String::new() };
            offsets.add(of.clone(), at, row.topic_id);
        }
        offsets
    }

    /// A commit of these is about to be sent. From then on the group may have them, whatever
    /// becomes of the answer. Its number.
    pub(super) fn begin_commit(&mut self, offsets: &Offsets) -> u64 {
        let number = self.number();
        for of in offsets.keys() {
            if let Some(row) = self.rows.get_mut(of) {
                (row.committed, row.commit) = (None, number);
            }
        }
        number
    }

    /// The group has these, unless a later commit was begun, or the partition assigned anew.
    pub(super) fn end_commit(&mut self, offsets: &Offsets, number: u64, noted_at: Monotonic) {
        for (of, committed) in offsets {
            if let Some(row) = self.rows.get_mut(of).filter(|row| row.commit == number) {
                row.committed = Some(Stored { offset: committed.offset, noted_at });
            }
        }
    }
}

impl Row {
    /// Whether an automatic commit would change nothing.
    pub(super) fn is_committed(&self, now: Monotonic) -> bool {
        let (Position::At(at), Some(stored)) = (self.position, self.committed) else {
            return false;
        };
        stored.offset == at.offset && now.since(stored.noted_at) < STORED_AGE_MAX
    }
}

/// Commits as a member of the current generation, or as nobody if the consumer is in no group.
///
/// # Errors
/// The first that is not retriable, or the last one when the time is over.
pub(super) async fn store(
    shared: &Shared,
    offsets: &Counted,
    patience: Patience,
) -> Result<(), Error> {
    let mut retries = Retries::new(&shared.client, "committing offsets", patience.limit);
    let first = shared.me();
    let mut gone_since = None;
    loop {
        let me = shared.me();
        if me.generation != first.generation && !are_owned(shared, offsets) {
            let code = ErrorCode::REBALANCE_IN_PROGRESS;
            let text = "the group rebalanced, and a partition may be another member's by now";
            return Err(Error::refused("committing offsets", code, Some(text)));
        }
        let error = match store_once(shared, offsets, &me).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.code().is_some_and(is_of_unknown_topic) {
            let now = shared.now();
            if now.since(*gone_since.get_or_insert(now)) >= patience.of_gone {
                return Err(error);
            }
        } else {
            gone_since = None;
        }
        let now = shared.me();
        let is_between = now.is_joining || now.generation != me.generation;
        match error.code() {
            // The own join ends the rebalance, and the commit fits into the next generation.
            Some(ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION)
                if is_between =>
            {
                retries.wait(&shared.client, error).await?;
            }
            _ => retries.after(&shared.client, error).await?,
        }
    }
}

/// Commits what is given up, before a join lets others have it. A coordinator that is away cannot
/// give it to anybody: it is waited for, because what is not committed is read again.
pub(super) async fn store_given_up(shared: &Shared) {
    let mut backoff = shared.client.backoff();
    let mut refused_since = None;
    loop {
        let offsets = shared.lock().given_up.clone();
        if offsets.is_empty() {
            return;
        }
        let Err(error) = store_once(shared, &offsets, &shared.me()).await else { break };
        if is_away(&error) {
            tracing::debug!(%error, "a commit before a rebalance waits for the coordinator");
            refused_since = None;
            shared.fall_silent(error);
        } else {
            let may_pass =
                error.is_retriable() || error.code() == Some(ErrorCode::REBALANCE_IN_PROGRESS);
            let now = shared.now();
            let is_over = now.since(*refused_since.get_or_insert(now)) >= GIVEN_UP_LIMIT;
            if is_over || !may_pass {
                tracing::warn!(%error, "not committed before a rebalance: it is read again");
                break;
            }
        }
        backoff.wait(shared.client.env()).await;
    }
    shared.lock().given_up = Counted::default();
}

/// Whether nobody has decided anything.
fn is_away(error: &Error) -> bool {
    let code = error.code();
    code.is_none_or(|code| {
        matches!(
            code,
            ErrorCode::NOT_COORDINATOR
                | ErrorCode::COORDINATOR_NOT_AVAILABLE
                | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        )
    }) && error.is_retriable()
}

fn are_owned(shared: &Shared, counted: &Counted) -> bool {
    let state = shared.lock();
    counted.offsets.keys().all(|of| state.partitions.rows.contains_key(of))
}

async fn store_once(shared: &Shared, counted: &Counted, me: &Membership) -> Result<(), Error> {
    if me.generation < 0 && shared.lock().is_subscribed {
        // The coordinator would take it for nobody's, and accept it while the group is empty.
        let code = ErrorCode::UNKNOWN_MEMBER_ID;
        return Err(Error::refused("committing offsets", code, Some(WENT_ON)));
    }
    let names: BTreeSet<&str> = counted.offsets.keys().map(|of| &*of.topic).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let image = image_of(shared, &names).await?;
    let offsets = &counted.of_topics_in(&image);
    if offsets.is_empty() {
        return Ok(());
    }
    let request = OffsetCommitRequest {
        group_id: shared.group()?,
        generation_id_or_member_epoch: me.generation,
        member_id: WireStr::from(me.member_id.as_str()),
        group_instance_id: shared.instance().filter(|_| me.generation >= 0),
        topics: rows(offsets, &image),
        ..OffsetCommitRequest::default()
    };
    let timeout = shared.client.config().request_timeout;
    let number = shared.lock().partitions.begin_commit(offsets);
    let answer = shared.call_coordinator(Lane::Group, (&request, timeout)).await?;
    let (code, of) = worst(&answer);
    if !code.is_error() {
        let now = shared.now();
        shared.lock().partitions.end_commit(offsets, number, now);
        return Ok(());
    }
    let is_noticed = shared.lock().membership.notice(code, me);
    if is_noticed {
        shared.arrived.notify_one();
        shared.beat.notify_one();
    }
    distrust_topics(shared, code);
    let text = match code {
        ErrorCode::REBALANCE_IN_PROGRESS => "the next poll takes part in it",
        ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => WENT_ON,
        _ => "",
    };
    Err(Error::refused(format!("committing the offset of {of}"), code, Some(text)))
}

fn is_of_unknown_topic(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UNKNOWN_TOPIC_ID | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

/// A topic that was made anew has another id: the next try asks for it.
fn distrust_topics(shared: &Shared, code: ErrorCode) {
    if is_of_unknown_topic(code) {
        shared.distrust_metadata();
        shared.client.forget_topics();
    }
}

/// Metadata of these topics; one that is not there is refused by the coordinator, for itself.
async fn image_of(shared: &Shared, names: &[&str]) -> Result<Arc<ClusterImage>, Error> {
    match shared.client.topics(names, false).await {
        Err(Error::Refused { .. }) => Ok(shared.client.image()),
        answer => answer,
    }
}

fn rows(offsets: &Offsets, image: &ClusterImage) -> Vec<OffsetCommitRequestTopic> {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for (of, committed) in offsets {
        topics.entry(&of.topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: of.partition,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            committed_metadata: Some(WireStr::from(committed.metadata.as_str())),
        });
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        let topic_id = topic_id(image, name);
        OffsetCommitRequestTopic { name: WireStr::from(name), topic_id, partitions }
    });
    topics.collect()
}

fn topic_id(image: &ClusterImage, name: &str) -> TopicId {
    image.topics.get(name).map_or(TopicId::NIL, |topic| topic.id)
}

/// The error that says most: one that is final before one that is retriable, and what the whole
/// group is refused with before the word on a topic that is not there.
pub(super) fn worst(answer: &OffsetCommitResponse) -> (ErrorCode, String) {
    let rows = answer.topics.iter().flat_map(|topic| {
        let row = move |row: &OffsetCommitResponsePartition| {
            (row.error_code, format!("{}-{}", topic.name, row.partition_index))
        };
        topic.partitions.iter().map(row)
    });
    let rank = |code: ErrorCode| match code.is_error() {
        false => 0,
        true if is_of_unknown_topic(code) => 1,
        true if code.is_retriable() => 2,
        true => 3,
    };
    let worst = rows.max_by_key(|(code, _)| rank(*code));
    worst.unwrap_or((ErrorCode::NONE, String::new()))
}

/// Asks once what the group has committed; partitions without an offset are left out.
///
/// # Errors
/// Those of the coordinator, and of any partition.
pub(super) async fn fetch(
    shared: &Shared,
    partitions: &BTreeSet<TopicPartition>,
) -> Result<Offsets, Error> {
    let names: BTreeSet<&str> = partitions.iter().map(|of| &*of.topic).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let image = image_of(shared, &names).await?;
    let request = fetch_request(shared, partitions, &image)?;
    let me = shared.me();
    let timeout = shared.client.config().request_timeout;
    let mut answer = shared.call_coordinator(Lane::Group, (&request, timeout)).await?;
    let group = answer.groups.pop();
    let (topics, code) = match group {
        Some(group) => (group.topics, group.error_code),
        None => (answer.topics, answer.error_code),
    };
    let refuse = |code: ErrorCode, of: &str| {
        shared.lock().membership.notice(code, &me);
        distrust_topics(shared, code);
        accepted(code, None, || format!("committed offsets of {of}"))
    };
    refuse(code, "the group")?;
    let mut offsets = Offsets::new();
    for topic in topics {
        let by_id = || names.iter().find(|name| topic_id(&image, name) == topic.topic_id);
        let name = match topic.name.is_empty() {
            true => by_id().map(|name| Arc::from(*name)),
            false => Some(Arc::from(topic.name.as_str())),
        };
        let Some(name) = name else { continue };
        for row in topic.partitions {
            let of = TopicPartition::new(Arc::clone(&name), row.partition_index);
            refuse(row.error_code, &of.to_string())?;
            if row.committed_offset >= 0 {
                offsets.insert(
                    of,
                    CommittedOffset {
                        offset: row.committed_offset,
                        leader_epoch: row.committed_leader_epoch,
                        metadata: row.metadata.as_deref().unwrap_or_default().to_owned(),
                    },
                );
            }
        }
    }
    Ok(offsets)
}

fn fetch_request(
    shared: &Shared,
    partitions: &BTreeSet<TopicPartition>,
    image: &ClusterImage,
) -> Result<OffsetFetchRequest, Error> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for of in partitions {
        topics.entry(&of.topic).or_default().push(of.partition);
    }
    let topics = topics.into_iter().map(|(name, partition_indexes)| {
        let topic_id = topic_id(image, name);
        OffsetFetchTopic { name: WireStr::from(name), topic_id, partition_indexes }
    });
    let topics: Option<Vec<OffsetFetchTopic>> = Some(topics.collect());
    let group_id = shared.group()?;
    let group = OffsetFetchGroup {
        group_id: group_id.clone(),
        topics: topics.clone(),
        ..OffsetFetchGroup::default()
    };
    let require_stable = shared.config.isolation_level == Isolation::ReadCommitted;
    Ok(OffsetFetchRequest { group_id, topics, groups: vec![group], require_stable })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Topic;

    #[test]
    fn an_offset_is_committed_for_the_topic_whose_records_it_counts() {
        let topic =
            |id: u8| Topic { id: TopicId([id; 16]), is_internal: false, partitions: vec![] };
        let of = TopicPartition::new("t", 0);
        for (known, there, stays) in [
            (Some(1), Some(1), true),
            (Some(1), Some(2), false),
            (Some(1), None, true),
            (None, Some(2), true),
        ] {
            let mut image = ClusterImage::default();
            image.topics.extend(there.map(|id| ("t".to_owned(), topic(id))));
            let mut counted = Counted::default();
            counted.add(of.clone(), CommittedOffset::from(7), known.map(|id| TopicId([id; 16])));
            assert_eq!(
                counted.of_topics_in(&image).len(),
                usize::from(stays),
                "{known:?} {there:?}"
            );
        }
    }

    #[test]
    fn what_is_added_later_counts() {
        let of = TopicPartition::new("t", 0);
        let mut counted = Counted::default();
        counted.add(of.clone(), CommittedOffset::from(7), Some(TopicId([1; 16])));
        let later = Counted::from(Offsets::from([(of.clone(), CommittedOffset::from(3))]));
        counted.extend(later.clone());
        assert_eq!(counted, later);
    }
}
