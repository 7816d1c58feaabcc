//! Short histories for the oracles' tests, written as a story of what clients saw.

use rivven_core::ids::{PartitionId, TopicId};

use crate::history::READ_BACK_CLIENT;
use crate::history::event::{
    Call, CommittedOffset, Consumed, ConsumerSaw, Event, EventKind, Failure, Fetch, Fetched,
    GivenRecord, GroupAsk, GroupCall, GroupReply, Mark, Produce, Reply, SeenBatch, SeenRecord,
    SentValue, Stamp,
};
use crate::history::value::ValueId;
use crate::oracles::{Contract, Evidence, Violation, judge};

/// A partition of the topic whose id is all `topic`.
pub(crate) fn partition(topic: u8) -> PartitionId {
    PartitionId { topic: TopicId([topic; 16]), index: 0 }
}

/// The value `made` of client 1, whose hash is its number.
pub(crate) fn sent(made: u64) -> SentValue {
    SentValue { id: ValueId::of(1, made), hash: made, key: made, tombstone: false }
}

/// A sound batch at `base` with these values of client 1.
pub(crate) fn batch(base: i64, made: &[u64]) -> SeenBatch {
    let records: Vec<_> = (base..)
        .zip(made)
        .map(|(offset, made)| {
            let sent = sent(*made);
            SeenRecord { offset, value: Some(sent.id), hash: sent.hash }
        })
        .collect();
    SeenBatch {
        base_offset: base,
        last_offset: base + made.len() as i64 - 1,
        leader_epoch: 0,
        producer: None,
        sound: true,
        records,
    }
}

/// The batch of an idempotent producer with id 9 and epoch 0.
pub(crate) fn stamped(base: i64, made: &[u64], base_sequence: i32) -> SeenBatch {
    SeenBatch { producer: stamp(base_sequence), ..batch(base, made) }
}

pub(crate) fn stamp(base_sequence: i32) -> Option<Stamp> {
    Some(Stamp { producer_id: 9, epoch: 0, base_sequence })
}

/// An offset of partition 1.
pub(crate) fn committed(offset: i64) -> CommittedOffset {
    CommittedOffset { topic: "t".to_owned(), id: partition(1).topic, partition: 0, offset }
}

/// A history in the making; each event is a millisecond after the one before.
pub(crate) struct Story {
    pub(crate) evidence: Evidence,
    next_op: u64,
}

impl Story {
    pub(crate) fn new() -> Story {
        let evidence = Evidence {
            events: Vec::new(),
            contract: Contract::FsyncAck,
            resources: Vec::new(),
            memory: Vec::new(),
            polls_max: 0,
            end_ns: 1_000_000_000,
        };
        Story { evidence, next_op: 0 }
    }

    pub(crate) fn event(&mut self, op: u64, client: u32, kind: EventKind) -> &mut Story {
        let at_ns = (self.evidence.events.len() as u64 + 1) * 1_000_000;
        self.evidence.events.push(Event { at_ns, client, op, kind });
        self
    }

    pub(crate) fn mark(&mut self, mark: Mark) -> &mut Story {
        self.event(u64::MAX, 0, EventKind::Mark(mark))
    }

    pub(crate) fn ask(&mut self, client: u32, call: Call, end: EventKind) -> &mut Story {
        self.next_op += 1;
        let op = self.next_op;
        self.event(op, client, EventKind::Invoke(call)).event(op, client, end)
    }

    /// What client 1 asked and was answered, one after the other.
    pub(crate) fn of_asks(asks: impl IntoIterator<Item = (Call, EventKind)>) -> Story {
        let mut story = Story::new();
        for (call, end) in asks {
            story.ask(1, call, end);
        }
        story
    }

    pub(crate) fn send(made: &[u64], base_sequence: Option<i32>) -> Produce {
        Produce {
            topic: "t".to_owned(),
            partition: partition(1),
            acks: -1,
            producer: base_sequence.and_then(stamp),
            connection: 1,
            values: made.iter().map(|made| sent(*made)).collect(),
            bytes: 100,
            made_ns: 0,
            stamped_ms: None,
        }
    }

    /// Sends a batch to partition 1 that is acknowledged at `offset`.
    pub(crate) fn acked(&mut self, made: &[u64], offset: i64) -> &mut Story {
        let reply = Reply::Produced { base_offset: offset, log_start: 0 };
        self.ask(1, Call::Produce(Story::send(made, None)), EventKind::Ok(reply))
    }

    /// Sends a batch to partition 1 of which nobody knows what became.
    pub(crate) fn unknown(&mut self, made: &[u64]) -> &mut Story {
        self.ask(1, Call::Produce(Story::send(made, None)), EventKind::Info(failure()))
    }

    /// A consumer reads partition 1 from `offset` on.
    pub(crate) fn fetched(
        &mut self,
        offset: i64,
        high_watermark: i64,
        batches: Vec<SeenBatch>,
    ) -> &mut Story {
        self.fetched_by(2, partition(1), (offset, 0, high_watermark, batches))
    }

    /// A client reads `partition`: asked offset, log start, high watermark and batches.
    pub(crate) fn fetched_by(
        &mut self,
        client: u32,
        partition: PartitionId,
        (offset, log_start, high_watermark, batches): (i64, i64, i64, Vec<SeenBatch>),
    ) -> &mut Story {
        let topic = "t".to_owned();
        let call = Call::Fetch(Fetch { topic, partition, by_name: false, offset });
        let reply = Fetched { high_watermark, log_start, batches, garbage: None };
        self.ask(client, call, EventKind::Ok(Reply::Fetched(reply)))
    }

    /// The whole read-back of partition 1, beginning at the first batch.
    pub(crate) fn read_back(&mut self, batches: Vec<SeenBatch>) -> &mut Story {
        let log_start = batches.first().map_or(0, |batch| batch.base_offset);
        let high_watermark = batches.last().map_or(0, |batch| batch.last_offset + 1);
        let (topic, partition) = ("t".to_owned(), partition(1));
        self.mark(Mark::ReadBackBegin { topic, partition, log_start, high_watermark });
        if !batches.is_empty() {
            let answer = (log_start, log_start, high_watermark, batches);
            self.fetched_by(READ_BACK_CLIENT, partition, answer);
        }
        self.mark(Mark::ReadBackEnd { partition, next_offset: high_watermark });
        self.mark(Mark::ReadBackDone)
    }

    /// A consumer of group "g" tells its application something. It is client 3.
    pub(crate) fn told(&mut self, consumer: u64, what: ConsumerSaw) -> &mut Story {
        let told = Consumed { group: "g".to_owned(), what };
        self.event(1_000 + consumer, 3, EventKind::Consumer(told))
    }

    /// A consumer gets partition 1.
    pub(crate) fn assigned(&mut self, consumer: u64) -> &mut Story {
        self.told(consumer, ConsumerSaw::Assigned(vec![("t".to_owned(), 0)]))
    }

    /// A consumer gives out records of partition 1: the offset and value of each.
    pub(crate) fn given(&mut self, consumer: u64, records: &[(i64, u64)]) -> &mut Story {
        let record = |(offset, made): &(i64, u64)| {
            let sent = sent(*made);
            let record = SeenRecord { offset: *offset, value: Some(sent.id), hash: sent.hash };
            GivenRecord { topic: "t".to_owned(), partition: 0, record }
        };
        self.told(consumer, ConsumerSaw::Given(records.iter().map(record).collect()))
    }

    /// Group "g" is told that it has committed `offset` of partition 1 (-1: nothing).
    pub(crate) fn looked_up(&mut self, offset: i64) -> &mut Story {
        let asked = vec![committed(-1)];
        let reply = GroupReply::Offsets(vec![committed(offset)]);
        self.of_group(GroupAsk::FetchOffsetsOf(asked), reply)
    }

    /// Client 3 asks something of group "g".
    pub(crate) fn of_group(&mut self, what: GroupAsk, reply: GroupReply) -> &mut Story {
        let (group, member) = ("g".to_owned(), "m".to_owned());
        let call = Call::Group(GroupCall { group, member, generation: 1, what });
        self.ask(3, call, EventKind::Ok(Reply::Group(reply)))
    }

    /// What one oracle says of the story so far.
    pub(crate) fn judged_by(&self, id: &str) -> Vec<Violation> {
        judge(&self.evidence, &[id.to_owned()]).violations
    }

    pub(crate) fn is_broken(&self, id: &str) -> bool {
        !self.judged_by(id).is_empty()
    }
}

pub(crate) fn failure() -> Failure {
    Failure { code: None, why: "closed".to_owned() }
}
