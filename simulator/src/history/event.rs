//! The events of a history.

use rivven_core::ids::{PartitionId, TopicId};
use serde::{Deserialize, Serialize};

use crate::history::value::ValueId;

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Virtual time in nanoseconds since the start of the run.
    pub at_ns: u64,
    pub client: u32,
    /// Ties `Invoke` to its end; an operation that is tried again keeps its id.
    pub op: u64,
    pub kind: EventKind,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EventKind {
    /// A request is about to be sent, once per attempt.
    Invoke(Call),
    /// The request was answered without an error.
    Ok(Reply),
    /// The request had no effect and never will have.
    Fail(Failure),
    /// Nobody knows whether the request had, or will have, an effect.
    Info(Failure),
    /// What a consumer of the client library told its application. The consumer's number is `op`:
    /// a client has one consumer after the other.
    Consumer(Consumed),
    Mark(Mark),
}

/// What an application was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consumed {
    pub group: String,
    pub what: ConsumerSaw,
}

/// What a member of a group sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ConsumerSaw {
    /// Topic and partition of each, here and below.
    Assigned(Vec<(String, i32)>),
    Revoked(Vec<(String, i32)>),
    Lost(Vec<(String, i32)>),
    /// Records in the order in which they were given out.
    Given(Vec<GivenRecord>),
    /// It was closed, or dropped.
    Ended,
}

/// A record that a consumer gave its application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GivenRecord {
    pub topic: String,
    pub partition: i32,
    pub record: SeenRecord,
}

/// Why a request has no good answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Kafka's error code, if the broker answered.
    pub code: Option<i16>,
    pub why: String,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Call {
    Produce(Produce),
    Fetch(Fetch),
    ListOffsets {
        partition: PartitionId,
        timestamp: i64,
    },
    Metadata,
    InitProducerId,
    CreateTopic(NewTopic),
    DeleteTopic {
        name: String,
        id: TopicId,
    },
    DeleteRecords {
        partition: PartitionId,
        to: i64,
    },
    AlterTopic {
        name: String,
        key: String,
        value: String,
    },
    /// Without a value the key is as if it had never been set.
    AlterBroker {
        name: String,
        key: String,
        value: Option<String>,
    },
    Group(GroupCall),
}

/// A request about a consumer group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupCall {
    pub group: String,
    /// Who asks; empty: nobody in particular, or one who has no id yet.
    pub member: String,
    /// -1: none.
    pub generation: i32,
    pub what: GroupAsk,
}

/// What is asked about a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum GroupAsk {
    Join,
    Sync,
    Heartbeat,
    Leave,
    Commit(Vec<CommittedOffset>),
    /// Every offset that the group has committed.
    FetchOffsets,
    /// The same of these partitions only, whose offsets are -1 here.
    FetchOffsetsOf(Vec<CommittedOffset>),
}

/// An offset of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommittedOffset {
    pub topic: String,
    /// Which topic of that name; nil if it is not known.
    pub id: TopicId,
    pub partition: i32,
    /// -1: none.
    pub offset: i64,
}

/// One attempt to append one batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Produce {
    pub topic: String,
    pub partition: PartitionId,
    pub acks: i16,
    pub producer: Option<Stamp>,
    /// Number of the client's connection, counted from 1: order is promised inside one.
    pub connection: u64,
    /// In the order of the batch.
    pub values: Vec<SentValue>,
    /// Size of the batch.
    pub bytes: u64,
    /// When it was made; see `stamped_ms` for what its records say.
    pub made_ns: u64,
    /// The timestamp of its first record, if the client gave it one; see [`stamp_of`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamped_ms: Option<i64>,
}

/// What the timestamps of a batch's records have over that of the first, in milliseconds, in turn:
/// they do not rise, and the largest may stand twice.
const STAMP_SHIFTS_MS: [i64; 4] = [0, 40, -25, 40];

/// Timestamp of the record at `index` of a batch that begins with `first_ms`.
pub(crate) fn stamp_of(first_ms: i64, index: usize) -> i64 {
    first_ms + STAMP_SHIFTS_MS[index % STAMP_SHIFTS_MS.len()]
}

impl Produce {
    /// Timestamp of the record at `index`, if the client gave it one.
    pub(crate) fn stamp_of(&self, index: usize) -> Option<i64> {
        Some(stamp_of(self.stamped_ms?, index))
    }
}

/// The identity of an idempotent producer's batch (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    pub producer_id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
}

/// One record as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentValue {
    pub id: ValueId,
    /// Of key and value, see [`crate::history::value::hash`].
    pub hash: u64,
    /// Number of its key.
    pub key: u64,
    /// Whether it has no value: it deletes its key from a compacted topic.
    pub tombstone: bool,
}

/// A fetch of one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fetch {
    pub topic: String,
    pub partition: PartitionId,
    /// Whether the request named the topic by its name, so that another incarnation may answer.
    pub by_name: bool,
    pub offset: i64,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewTopic {
    pub name: String,
    pub partitions: u32,
    pub retention: Retention,
    /// `None` if it is not compacted.
    pub compaction: Option<Compaction>,
}

/// What compaction may take, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    /// `delete.retention.ms`.
    pub delete_retention_ms: u64,
    /// `min.compaction.lag.ms`.
    pub lag_min_ms: u64,
}

/// What a topic may lose to retention; `None` is without bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    pub ms: Option<u64>,
    pub bytes: Option<u64>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Produced {
        base_offset: i64,
        log_start: i64,
    },
    Fetched(Fetched),
    /// Both are -1 if there is no such record; ends have no timestamp.
    Listed {
        offset: i64,
        timestamp: i64,
        leader_epoch: i32,
    },
    Topics(Vec<KnownTopic>),
    ProducerId {
        id: i64,
        epoch: i16,
    },
    Created {
        id: TopicId,
    },
    Deleted,
    RecordsDeleted {
        log_start: i64,
    },
    Altered,
    Group(GroupReply),
}

/// What was answered about a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum GroupReply {
    /// `members` is empty for all but the leader.
    Joined {
        generation: i32,
        member: String,
        leads: bool,
        members: Vec<String>,
    },
    /// Topic and partition of each.
    Assigned(Vec<(String, i32)>),
    Alive,
    Left,
    Committed,
    Offsets(Vec<CommittedOffset>),
}

/// A topic as Metadata shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTopic {
    pub name: String,
    pub id: TopicId,
    /// The leader epoch of each partition, by index.
    pub leader_epochs: Vec<i32>,
}

/// The answer to a fetch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fetched {
    pub high_watermark: i64,
    pub log_start: i64,
    /// Whole batches in the order of the answer.
    pub batches: Vec<SeenBatch>,
    /// Bytes at the end that are no batch at all, as an error in words.
    pub garbage: Option<String>,
}

/// A batch that a consumer was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenBatch {
    pub base_offset: i64,
    pub last_offset: i64,
    pub leader_epoch: i32,
    pub producer: Option<Stamp>,
    /// Whether the stored CRC is that of the bytes, and the records are what the header announces.
    pub sound: bool,
    pub records: Vec<SeenRecord>,
}

/// A record that a consumer was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRecord {
    pub offset: i64,
    /// `None` if the bytes do not begin like one of our values.
    pub value: Option<ValueId>,
    pub hash: u64,
}

/// How a broker's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CrashKind {
    /// SIGKILL: the page cache stays.
    Kill,
    /// What was not synced may be lost.
    PowerCut,
}

/// What the supervisor did or saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Mark {
    Started {
        node: u64,
        incarnation: u64,
    },
    /// The broker serves.
    Ready {
        node: u64,
    },
    Crashed {
        node: u64,
        kind: CrashKind,
    },
    Exited {
        node: u64,
        code: i32,
    },
    /// A fault of the catalogue was applied.
    Fault {
        node: u64,
        what: String,
    },
    /// From now on the broker has a disk that lacks what was acknowledged.
    OtherDisk {
        node: u64,
    },
    /// All faults are over: the liveness phase begins.
    Healed,
    /// The liveness phase ends; the read-back follows.
    LivenessEnd,
    /// Nobody writes any more, and a group had its time to read a partition to its end.
    GroupEnd {
        group: String,
        partition: PartitionId,
        /// The high watermark.
        end: i64,
        /// Whether the last record was given out.
        reached: bool,
    },
    /// Long after the faults, a producer of the client library wrote a last record to a partition,
    /// or could not: why.
    ProducerEnd {
        partition: PartitionId,
        refused: Option<String>,
    },
    /// The read-back client begins a partition.
    ReadBackBegin {
        topic: String,
        partition: PartitionId,
        log_start: i64,
        high_watermark: i64,
    },
    /// Offsets that the read-back could not get: every attempt answered an error.
    ReadBackGap {
        partition: PartitionId,
        /// First offset that was not served.
        from: i64,
        /// First one behind it that was, or the high watermark.
        end: i64,
        error: Failure,
    },
    /// A search by time in a partition that was read back got no answer but errors.
    SearchFailed {
        partition: PartitionId,
        /// The time that was looked for, or -3 for the largest one; a connection that speaks a
        /// version before that asks for the first record instead.
        asked: i64,
        error: Failure,
    },
    /// The read-back of a partition is over; the last offset that it got, or gave up, plus one.
    ReadBackEnd {
        partition: PartitionId,
        next_offset: i64,
    },
    /// The read-back of everything is complete.
    ReadBackDone,
}
