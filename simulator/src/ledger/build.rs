//! Reads a history once, from front to end, into a ledger.

use std::collections::{BTreeMap, BTreeSet};

use rivven_core::ids::{PartitionId, TopicId};
use rivven_core::kafka::codec::error_code::ErrorCode;

use super::{
    Attempt, DeleteRecords, EndSeen, FetchSeen, FinalLog, GroupEnd, GroupEndSeen, GroupOp, Ledger,
    Moment, Outcome, Probe, ProbeEnd, ProbeKind, SearchSeen, Sent, Told, TopicEnd, TopicOp,
};
use crate::client::TIMED_OUT;
use crate::client::reads::{EARLIEST, LATEST};
use crate::history::event::{
    Call, Consumed, Event, EventKind, Failure, Fetched, Mark, Reply, Retention,
};
use crate::history::{LIVENESS_CLIENT, READ_BACK_CLIENT};

pub(super) fn build(events: &[Event]) -> Ledger<'_> {
    let mut builder = Builder {
        ledger: Ledger::default(),
        open: BTreeMap::new(),
        deletes: Vec::new(),
        batches: BTreeMap::new(),
        groups: BTreeMap::new(),
        topic_ops: BTreeMap::new(),
        unsure: BTreeSet::new(),
        reused_names: reused_names(events),
    };
    for (index, event) in events.iter().enumerate() {
        let at = Moment { at_ns: event.at_ns, index };
        builder.take(at, event);
    }
    builder.finish()
}

/// Names that more than one incarnation had.
fn reused_names(events: &[Event]) -> BTreeSet<&str> {
    let mut ids: BTreeMap<&str, TopicId> = BTreeMap::new();
    let mut reused = BTreeSet::new();
    for event in events {
        let EventKind::Ok(Reply::Topics(topics)) = &event.kind else { continue };
        for topic in topics {
            let first = *ids.entry(&topic.name).or_insert(topic.id);
            if first != topic.id {
                reused.insert(topic.name.as_str());
            }
        }
    }
    for event in events {
        if let EventKind::Invoke(Call::DeleteTopic { name, .. }) = &event.kind {
            reused.insert(name);
        }
    }
    reused
}

/// A request that has no end yet.
struct Open<'a> {
    at: Moment,
    client: u32,
    call: &'a Call,
    probe: Option<usize>,
}

struct Builder<'a> {
    ledger: Ledger<'a>,
    open: BTreeMap<u64, Open<'a>>,
    deletes: Vec<(PartitionId, DeleteRecords)>,
    /// The batch of each produce operation.
    batches: BTreeMap<u64, usize>,
    /// The place in the ledger of each request about a group.
    groups: BTreeMap<u64, usize>,
    /// The same of each request about topics.
    topic_ops: BTreeMap<u64, usize>,
    /// Batches with an attempt whose outcome nobody knows.
    unsure: BTreeSet<usize>,
    reused_names: BTreeSet<&'a str>,
}

impl<'a> Builder<'a> {
    fn take(&mut self, at: Moment, event: &'a Event) {
        match &event.kind {
            EventKind::Invoke(call) => self.invoke(at, event, call),
            EventKind::Ok(reply) => self.answered(at, event, reply),
            EventKind::Fail(failure) => self.failed(at, event, (failure, false)),
            EventKind::Info(failure) => self.failed(at, event, (failure, true)),
            EventKind::Consumer(Consumed { group, what }) => {
                let (client, consumer) = (event.client, event.op);
                self.ledger.told.push(Told { at, client, consumer, group, what });
            }
            EventKind::Mark(mark) => self.mark(at, mark),
        }
    }

    fn invoke(&mut self, at: Moment, event: &'a Event, call: &'a Call) {
        let probe = (event.client == LIVENESS_CLIENT).then(|| self.probe(at, call));
        let open = Open { at, client: event.client, call, probe };
        if let Some(left) = self.open.insert(event.op, open) {
            self.leave_open(event.op, &left);
        }
        if matches!(call, Call::CreateTopic(_) | Call::DeleteTopic { .. } | Call::Metadata) {
            self.topic_ops.insert(event.op, self.ledger.topic_ops.len());
            let end = TopicEnd::Unknown;
            self.ledger.topic_ops.push(TopicOp { began: at, call, end });
        }
        match call {
            Call::Produce(produce) => {
                let attempt = Attempt { at, connection: produce.connection };
                let next = self.ledger.sent.len();
                let index = *self.batches.entry(event.op).or_insert(next);
                if index < next {
                    self.ledger.sent[index].attempts.push(attempt);
                    return;
                }
                for (place, value) in produce.values.iter().enumerate() {
                    self.ledger.values.insert(value.id, (index, place));
                }
                self.ledger.sent.push(Sent {
                    client: event.client,
                    call: produce,
                    attempts: vec![attempt],
                    outcome: Outcome::Refused,
                    out_of_order: None,
                });
                let partition = self.partition(produce.partition);
                partition.topic.clone_from(&produce.topic);
                partition.sent.push(index);
            }
            Call::CreateTopic(topic) => {
                self.ledger.new_topics.push(topic);
                self.loosen(&topic.name, topic.retention);
                let compaction = topic.compaction.map(|rules| (topic.name.clone(), rules));
                self.ledger.compaction.extend(compaction);
            }
            Call::DeleteTopic { name, id } => {
                let topic = self.ledger.topics.entry(*id).or_default();
                topic.name.clone_from(name);
                topic.delete_invoked.get_or_insert(at);
            }
            Call::DeleteRecords { partition, to } => {
                let delete = DeleteRecords { invoked: at, to: *to };
                self.partition(*partition).deletes.push(delete);
                self.deletes.push((*partition, delete));
            }
            Call::AlterTopic { name, key, value } => {
                let bound = value.parse().ok();
                match key.as_str() {
                    "retention.ms" => self.loosen(name, Retention { ms: bound, bytes: None }),
                    "retention.bytes" => self.loosen(name, Retention { ms: None, bytes: bound }),
                    _ => {}
                }
            }
            Call::Fetch(_)
            | Call::ListOffsets { .. }
            | Call::Metadata
            | Call::InitProducerId
            | Call::AlterBroker { .. } => {}
            Call::Group(call) => {
                self.groups.insert(event.op, self.ledger.groups.len());
                let (invoked, client, end) = (at, event.client, GroupEnd::Unknown);
                self.ledger.groups.push(GroupOp { client, invoked, call, end });
            }
        }
    }

    fn answered(&mut self, at: Moment, event: &'a Event, reply: &'a Reply) {
        let Some(open) = self.open.remove(&event.op) else { return };
        if let Some(probe) = open.probe {
            self.ledger.probes[probe].end = ProbeEnd::Good;
        }
        let invoked = open.at;
        if let Some(index) = self.topic_ops.get(&event.op) {
            self.ledger.topic_ops[*index].end = TopicEnd::Ok(at, reply);
        }
        match (open.call, reply) {
            (Call::Produce(produce), Reply::Produced { base_offset, log_start }) => {
                let index = self.batches[&event.op];
                let outcome = Outcome::Acked { base_offset: *base_offset, at };
                self.ledger.sent[index].outcome = outcome;
                self.log_start(produce.partition, EndSeen { invoked, at, offset: *log_start });
            }
            (Call::Fetch(fetch), Reply::Fetched(reply)) => {
                let client = open.client;
                let seen = FetchSeen { client, invoked, at, call: fetch, reply };
                self.fetched(seen, reply);
            }
            (
                Call::ListOffsets { partition, timestamp },
                Reply::Listed { offset, timestamp: found, leader_epoch },
            ) => {
                let end = EndSeen { invoked, at, offset: *offset };
                self.listed((*partition, *timestamp, *found), end);
                self.ledger.epochs.push((at, *partition, *leader_epoch));
            }
            (Call::DeleteRecords { partition, .. }, Reply::RecordsDeleted { log_start }) => {
                let end = EndSeen { invoked, at, offset: *log_start };
                self.listed((*partition, EARLIEST, -1), end);
            }
            (Call::DeleteTopic { id, .. }, Reply::Deleted) => {
                self.ledger.topics.entry(*id).or_default().deleted.get_or_insert(at);
            }
            (Call::CreateTopic(topic), Reply::Created { id }) => {
                let created = self.ledger.topics.entry(*id).or_default();
                created.name.clone_from(&topic.name);
                created.created.get_or_insert(at);
            }
            (Call::Group(_), Reply::Group(reply)) => {
                self.ledger.groups[self.groups[&event.op]].end = GroupEnd::Ok(at, reply);
            }
            (Call::Metadata, Reply::Topics(topics)) => {
                for topic in topics {
                    let known = self.ledger.topics.entry(topic.id).or_default();
                    known.name.clone_from(&topic.name);
                    known.shown.push((invoked, at));
                    for (index, epoch) in (0..).zip(&topic.leader_epochs) {
                        let partition = PartitionId { topic: topic.id, index };
                        self.ledger.epochs.push((at, partition, *epoch));
                    }
                }
            }
            _ => {}
        }
    }

    fn fetched(&mut self, seen: FetchSeen<'a>, reply: &'a Fetched) {
        let (fetch, at, invoked) = (seen.call, seen.at, seen.invoked);
        let reads_back = seen.client == READ_BACK_CLIENT;
        if fetch.by_name && self.reused_names.contains(fetch.topic.as_str()) {
            self.ledger.ambiguous.push(seen);
            return;
        }
        let end = EndSeen { invoked, at, offset: reply.log_start };
        self.log_start(fetch.partition, end);
        let partition = self.partition(fetch.partition);
        partition.topic.clone_from(&fetch.topic);
        partition.fetches.push(seen);
        if let (true, Some(log)) = (reads_back, &mut partition.final_log) {
            log.at = at;
            for batch in &reply.batches {
                let end = log.batches.last().map_or(i64::MIN, |last| last.last_offset);
                if batch.last_offset > end {
                    log.batches.push(batch);
                }
            }
        }
    }

    fn listed(&mut self, (partition, asked, found): (PartitionId, i64, i64), end: EndSeen) {
        // ListOffsets and DeleteRecords name the topic: another incarnation may have answered.
        if self.is_reused(partition.topic) {
            return;
        }
        match asked {
            LATEST => self.partition(partition).high_watermarks.push(end),
            EARLIEST => self.log_start(partition, end),
            _ => {
                let EndSeen { invoked, at, offset } = end;
                let found = (offset >= 0).then_some((offset, found));
                self.partition(partition).searches.push(SearchSeen { invoked, at, asked, found });
            }
        }
    }

    fn is_reused(&self, topic: TopicId) -> bool {
        let name = self.ledger.topics.get(&topic).map(|topic| topic.name.as_str());
        name.is_none_or(|name| self.reused_names.contains(name))
    }

    /// A delete by a reused name may have met any incarnation.
    fn spread_deletes(&mut self) {
        for (partition, delete) in std::mem::take(&mut self.deletes) {
            if !self.is_reused(partition.topic) {
                continue;
            }
            let name = self.ledger.topics.get(&partition.topic).map(|topic| topic.name.clone());
            let named = self.ledger.topics.iter().filter(|(id, topic)| {
                Some(&topic.name) == name.as_ref() && **id != partition.topic
            });
            let others: Vec<TopicId> = named.map(|(id, _)| *id).collect();
            for topic in others {
                self.partition(PartitionId { topic, ..partition }).deletes.push(delete);
            }
        }
    }

    /// −1 means that the answer does not say it.
    fn log_start(&mut self, partition: PartitionId, end: EndSeen) {
        if end.offset >= 0 {
            self.partition(partition).log_starts.push(end);
        }
    }

    fn failed(&mut self, at: Moment, event: &'a Event, (failure, unsure): (&'a Failure, bool)) {
        let Some(open) = self.open.remove(&event.op) else { return };
        if let Some(probe) = open.probe {
            self.ledger.probes[probe].end = match failure.why == TIMED_OUT {
                true => ProbeEnd::TimedOut,
                false => ProbeEnd::Refused(failure.why.clone()),
            };
        }
        if let (Call::Fetch(fetch), true) =
            (open.call, failure.code == Some(ErrorCode::CORRUPT_MESSAGE.0))
        {
            self.ledger.damaged.push((at, fetch));
        }
        if let (Some(index), false) = (self.topic_ops.get(&event.op), unsure) {
            let code = failure.code.map(ErrorCode);
            self.ledger.topic_ops[*index].end = TopicEnd::Refused(at, code);
        }
        if let (Some(index), false) = (self.groups.get(&event.op), unsure) {
            self.ledger.groups[*index].end = GroupEnd::Refused;
        }
        let Some(index) = self.batches.get(&event.op).copied() else { return };
        if unsure {
            self.unsure.insert(index);
        }
        if failure.code == Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0) {
            self.ledger.sent[index].out_of_order = Some((at, open.at));
        }
    }

    fn mark(&mut self, at: Moment, mark: &'a Mark) {
        match mark {
            Mark::Crashed { .. } | Mark::Exited { .. } => self.ledger.crashes.push(at),
            Mark::Healed => self.ledger.healed = Some(at),
            Mark::LivenessEnd => self.ledger.liveness_end = Some(at),
            Mark::ReadBackDone => self.ledger.read_back_done = Some(at),
            Mark::GroupEnd { group, partition, end, reached } => {
                let (partition, end, reached) = (*partition, *end, *reached);
                self.ledger.group_ends.push(GroupEndSeen { at, group, partition, end, reached });
            }
            Mark::ProducerEnd { partition, refused } => {
                self.ledger.producer_ends.push((at, *partition, refused.as_deref()));
            }
            Mark::ReadBackBegin { topic, partition, log_start, high_watermark } => {
                let log = FinalLog {
                    at,
                    log_start: *log_start,
                    high_watermark: *high_watermark,
                    ..FinalLog::default()
                };
                let partition = self.partition(*partition);
                partition.topic.clone_from(topic);
                partition.final_log = Some(log);
            }
            Mark::ReadBackGap { partition, from, end, error } => {
                if let Some(log) = &mut self.partition(*partition).final_log {
                    log.gaps.push((*from, *end, error.why.clone()));
                }
            }
            Mark::SearchFailed { partition, asked, error } => {
                if let Some(log) = &mut self.partition(*partition).final_log {
                    log.failed_searches.push((*asked, error.why.clone(), at));
                }
            }
            Mark::ReadBackEnd { partition, next_offset } => {
                if let Some(log) = &mut self.partition(*partition).final_log {
                    log.next_offset = Some(*next_offset);
                }
            }
            Mark::Started { .. }
            | Mark::Ready { .. }
            | Mark::Fault { .. }
            | Mark::OtherDisk { .. } => {}
        }
    }

    fn probe(&mut self, at: Moment, call: &Call) -> usize {
        let (partition, kind) = match call {
            Call::Produce(produce) => (Some(produce.partition), ProbeKind::Produce),
            Call::Fetch(fetch) => (Some(fetch.partition), ProbeKind::Fetch),
            Call::Group(_) => (None, ProbeKind::Group),
            _ => (None, ProbeKind::Other),
        };
        self.ledger.probes.push(Probe { invoked: at, partition, kind, end: ProbeEnd::Never });
        self.ledger.probes.len() - 1
    }

    /// An attempt that never ended before the next one of its operation began.
    fn leave_open(&mut self, op: u64, open: &Open<'a>) {
        if let (Call::Produce(_), Some(index)) = (open.call, self.batches.get(&op)) {
            self.unsure.insert(*index);
        }
    }

    fn loosen(&mut self, name: &str, retention: Retention) {
        let least = |known: Option<u64>, new: Option<u64>| match (known, new) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
        let known = self.ledger.retention.entry(name.to_owned()).or_default();
        known.ms = least(known.ms, retention.ms);
        known.bytes = least(known.bytes, retention.bytes);
    }

    fn partition(&mut self, id: PartitionId) -> &mut super::PartitionLedger<'a> {
        self.ledger.partitions.entry(id).or_default()
    }

    fn finish(mut self) -> Ledger<'a> {
        self.spread_deletes();
        for (op, open) in std::mem::take(&mut self.open) {
            self.leave_open(op, &open);
        }
        for index in self.unsure {
            let sent = &mut self.ledger.sent[index];
            if sent.outcome == Outcome::Refused {
                sent.outcome = Outcome::Unknown;
            }
        }
        self.ledger
    }
}
