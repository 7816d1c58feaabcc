//! The digest of a history that all oracles look at.

mod build;

use std::collections::BTreeMap;

use rivven_core::ids::{PartitionId, TopicId};
use rivven_core::kafka::codec::error_code::ErrorCode;

use crate::history::event::{
    Call, Compaction, ConsumerSaw, Event, Fetch, Fetched, GivenRecord, GroupCall, GroupReply,
    NewTopic, Produce, Reply, Retention, SeenBatch, SeenRecord,
};
use crate::history::value::ValueId;

/// A moment: virtual time, and the event's place in the history, which orders equal times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) at_ns: u64,
    pub(crate) index: usize,
}

/// What became of a batch that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acked {
        base_offset: i64,
        at: Moment,
    },
    /// Every attempt was refused for sure.
    Refused,
    Unknown,
}

/// One attempt to append a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) at: Moment,
    pub(crate) connection: u64,
}

/// A batch that a client sent, once or more often.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) client: u32,
    pub(crate) call: &'a Produce,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) outcome: Outcome,
    /// The moment of an OUT_OF_ORDER_SEQUENCE_NUMBER answer, if there was one, and the attempt
    /// that it answered.
    pub(crate) out_of_order: Option<(Moment, Moment)>,
}

impl Sent<'_> {
    /// When its first attempt began: it was nowhere before that.
    pub(crate) fn first_at(&self) -> Moment {
        self.attempts[0].at
    }

    pub(crate) fn last_attempt(&self) -> Attempt {
        *self.attempts.last().expect("a batch is in the ledger because of an attempt")
    }
}

/// An answered fetch.
#[derive(Debug)]
pub(crate) struct FetchSeen<'a> {
    pub(crate) client: u32,
    pub(crate) invoked: Moment,
    pub(crate) at: Moment,
    pub(crate) call: &'a Fetch,
    pub(crate) reply: &'a Fetched,
}

/// One end of a partition as ListOffsets, or the answer to a delete or a produce, told it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndSeen {
    pub(crate) invoked: Moment,
    pub(crate) at: Moment,
    pub(crate) offset: i64,
}

/// An answered search for a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SearchSeen {
    pub(crate) invoked: Moment,
    pub(crate) at: Moment,
    /// The time that was asked for, or [`MAX_TIMESTAMP`](crate::client::reads::MAX_TIMESTAMP).
    pub(crate) asked: i64,
    /// Offset and timestamp of the record that was answered, if one was.
    pub(crate) found: Option<(i64, i64)>,
}

/// The read-back of a partition.
#[derive(Debug, Default)]
pub(crate) struct FinalLog<'a> {
    pub(crate) at: Moment,
    pub(crate) log_start: i64,
    pub(crate) high_watermark: i64,
    /// Each batch once, in the order of the log.
    pub(crate) batches: Vec<&'a SeenBatch>,
    /// Ranges (start, end exclusive, why) that answered errors.
    pub(crate) gaps: Vec<(i64, i64, String)>,
    /// Times that were searched for in vain, why, and when that was given up.
    pub(crate) failed_searches: Vec<(i64, String, Moment)>,
    /// The offset behind the last one read or given up; `None` if the read-back did not end.
    pub(crate) next_offset: Option<i64>,
}

impl FinalLog<'_> {
    /// Whether each of its offsets was served.
    pub(crate) fn is_whole(&self) -> bool {
        self.gaps.is_empty() && self.next_offset.is_some_and(|next| next >= self.high_watermark)
    }

    /// Every record from the log start on, in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = &SeenRecord> {
        let all = self.batches.iter().flat_map(|batch| &batch.records);
        all.filter(|record| record.offset >= self.log_start)
    }

    /// Why `offset` was not served, if it lies in a gap.
    pub(crate) fn gap_at(&self, offset: i64) -> Option<&str> {
        let holds = |gap: &&(i64, i64, String)| (gap.0..gap.1).contains(&offset);
        self.gaps.iter().find(holds).map(|gap| gap.2.as_str())
    }
}

/// A request to move a log start up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeleteRecords {
    pub(crate) invoked: Moment,
    pub(crate) to: i64,
}

/// Everything known of one partition of one incarnation of a topic.
#[derive(Debug, Default)]
pub(crate) struct PartitionLedger<'a> {
    pub(crate) topic: String,
    /// Indexes into [`Ledger::sent`], in the order of first attempts.
    pub(crate) sent: Vec<usize>,
    pub(crate) fetches: Vec<FetchSeen<'a>>,
    /// High watermarks from ListOffsets.
    pub(crate) high_watermarks: Vec<EndSeen>,
    pub(crate) log_starts: Vec<EndSeen>,
    pub(crate) searches: Vec<SearchSeen>,
    pub(crate) deletes: Vec<DeleteRecords>,
    pub(crate) final_log: Option<FinalLog<'a>>,
}

/// Everything known of one incarnation of a topic.
#[derive(Debug, Default)]
pub(crate) struct TopicLedger {
    pub(crate) name: String,
    /// When a create of it was acknowledged.
    pub(crate) created: Option<Moment>,
    /// When the first delete of it was invoked.
    pub(crate) delete_invoked: Option<Moment>,
    /// When a delete of it was acknowledged.
    pub(crate) deleted: Option<Moment>,
    /// When Metadata showed it: invoked and answered.
    pub(crate) shown: Vec<(Moment, Moment)>,
}

/// A request of the liveness probe.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) invoked: Moment,
    pub(crate) partition: Option<PartitionId>,
    pub(crate) kind: ProbeKind,
    pub(crate) end: ProbeEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    Produce,
    Fetch,
    Group,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProbeEnd {
    Good,
    Refused(String),
    TimedOut,
    Never,
}

/// How a request about a group ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum GroupEnd<'a> {
    Ok(Moment, &'a GroupReply),
    /// It had no effect.
    Refused,
    Unknown,
}

/// A request about a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupOp<'a> {
    pub(crate) client: u32,
    pub(crate) invoked: Moment,
    pub(crate) call: &'a GroupCall,
    pub(crate) end: GroupEnd<'a>,
}

/// How a request about topics ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum TopicEnd<'a> {
    Ok(Moment, &'a Reply),
    /// It had no effect; what the broker said, if it did.
    Refused(Moment, Option<ErrorCode>),
    Unknown,
}

/// A request that creates or deletes a topic, or asks for all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicOp<'a> {
    pub(crate) began: Moment,
    pub(crate) call: &'a Call,
    pub(crate) end: TopicEnd<'a>,
}

/// What a consumer told its application.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) at: Moment,
    pub(crate) client: u32,
    /// Unique in the history; a client has one after the other.
    pub(crate) consumer: u64,
    pub(crate) group: &'a str,
    pub(crate) what: &'a ConsumerSaw,
}

/// How far a group came, after its time to read a partition to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupEndSeen<'a> {
    pub(crate) at: Moment,
    pub(crate) group: &'a str,
    pub(crate) partition: PartitionId,
    pub(crate) end: i64,
    pub(crate) reached: bool,
}

/// The digest; it borrows the history.
#[derive(Debug, Default)]
pub(crate) struct Ledger<'a> {
    /// In the order of first attempts.
    pub(crate) sent: Vec<Sent<'a>>,
    /// Fetches that were told of damage.
    pub(crate) damaged: Vec<(Moment, &'a Fetch)>,
    /// Requests about groups, in the order in which they were made.
    pub(crate) groups: Vec<GroupOp<'a>>,
    /// Requests about topics, in the order in which they were made.
    pub(crate) topic_ops: Vec<TopicOp<'a>>,
    /// What consumers of the client library told, in order.
    pub(crate) told: Vec<Told<'a>>,
    pub(crate) group_ends: Vec<GroupEndSeen<'a>>,
    /// Why producers of the client library could write no more.
    pub(crate) producer_ends: Vec<(Moment, PartitionId, Option<&'a str>)>,
    /// Which batch each value was sent in, and its place there.
    pub(crate) values: BTreeMap<ValueId, (usize, usize)>,
    pub(crate) partitions: BTreeMap<PartitionId, PartitionLedger<'a>>,
    pub(crate) topics: BTreeMap<TopicId, TopicLedger>,
    /// How topics of a name are compacted, if they are.
    pub(crate) compaction: BTreeMap<String, Compaction>,
    /// What topics of a name may lose: the laxest that was ever asked for.
    pub(crate) retention: BTreeMap<String, Retention>,
    /// Fetches by name of topics that had several incarnations: anyone of them may have answered.
    pub(crate) ambiguous: Vec<FetchSeen<'a>>,
    pub(crate) new_topics: Vec<&'a NewTopic>,
    /// Each leader epoch that Metadata or ListOffsets told, with the moment.
    pub(crate) epochs: Vec<(Moment, PartitionId, i32)>,
    pub(crate) probes: Vec<Probe>,
    /// Kills, power cuts and exits.
    pub(crate) crashes: Vec<Moment>,
    pub(crate) healed: Option<Moment>,
    pub(crate) liveness_end: Option<Moment>,
    pub(crate) read_back_done: Option<Moment>,
}

impl<'a> Ledger<'a> {
    /// The digest of a whole history.
    pub(crate) fn of(events: &'a [Event]) -> Ledger<'a> {
        build::build(events)
    }

    /// Every fetch answer, the ambiguous ones included.
    pub(crate) fn all_fetches(&self) -> impl Iterator<Item = &FetchSeen<'a>> {
        self.partitions.values().flat_map(|partition| &partition.fetches).chain(&self.ambiguous)
    }

    /// The partition that a record was sent to, which the name of its topic leaves open; else what
    /// is wrong with it.
    pub(crate) fn place_of(&self, given: &GivenRecord) -> Result<PartitionId, String> {
        let GivenRecord { topic, partition, record } = given;
        let sent = record.value.and_then(|id| self.values.get(&id));
        let Some((batch, _)) = sent.copied() else {
            return Err(format!("the record at {} was never sent", record.offset));
        };
        let call = self.sent[batch].call;
        if call.topic != *topic || i64::from(call.partition.index) != i64::from(*partition) {
            let (to, index) = (&call.topic, call.partition.index);
            return Err(format!("the record at {} was sent to {to}-{index}", record.offset));
        }
        self.judge_record(call.partition, record)?;
        Ok(call.partition)
    }

    /// Below which offset a partition's records may have been removed at `moment`: `i64::MAX` if
    /// compaction or retention may take any.
    pub(crate) fn removed_below(&self, partition: PartitionId, moment: Moment) -> i64 {
        let Some(known) = self.partitions.get(&partition) else { return 0 };
        let retention = self.retention.get(&known.topic).copied().unwrap_or_default();
        if self.compaction.contains_key(&known.topic) || retention != Retention::default() {
            return i64::MAX;
        }
        let deletes = known.deletes.iter().filter(|delete| delete.invoked < moment);
        deletes.map(|delete| delete.to).max().unwrap_or(0)
    }

    /// The batches that were sent to a partition, in the order of first attempts.
    pub(crate) fn sent_to<'b>(
        &'b self,
        partition: &'b PartitionLedger<'a>,
    ) -> impl Iterator<Item = &'b Sent<'a>> {
        partition.sent.iter().map(|index| &self.sent[*index])
    }

    /// Whether a record with this id and hash was sent to `partition`; else what is wrong with it.
    pub(crate) fn judge_record(
        &self,
        partition: PartitionId,
        record: &SeenRecord,
    ) -> Result<&Sent<'a>, String> {
        let Some(id) = record.value else {
            return Err(format!("the record at {} is none that was sent", record.offset));
        };
        let Some((batch, place)) = self.values.get(&id).copied() else {
            return Err(format!("value {id} at {} was never sent", record.offset));
        };
        let sent = &self.sent[batch];
        if sent.call.values[place].hash != record.hash {
            return Err(format!("value {id} at {} has other bytes than it was sent with", {
                record.offset
            }));
        }
        if sent.call.partition != partition {
            let to = sent.call.partition;
            return Err(format!("value {id} at {} was sent to {to}", record.offset));
        }
        Ok(sent)
    }
}
