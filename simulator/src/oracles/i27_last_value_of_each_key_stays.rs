//! I27: in a compacted topic the last value of each key stays. A record that stood in the log may
//! be gone only if a later one of its key stood there, or if it is a tombstone whose time is over;
//! and with its tombstone gone, nothing that a key held before is back.

use std::collections::{BTreeMap, BTreeSet};

use rivven_core::ids::PartitionId;

use super::{Case, Findings, Oracle};
use crate::history::event::{Compaction, SentValue};
use crate::ledger::{FetchSeen, FinalLog, Moment, Outcome, PartitionLedger, Sent};

pub(super) const ORACLE: Oracle = Oracle {
    id: "I27",
    about: "the last value of each key stays, and a tombstone lives its time",
    check,
};

const MS_NS: u64 = 1_000_000;

/// A record that stood in the log.
#[derive(Clone, Copy)]
pub(super) struct Stood<'a> {
    pub(super) value: SentValue,
    pub(super) sent: &'a Sent<'a>,
    /// From then on it is known to be there.
    pub(super) since: Moment,
}

/// Everything that is known to have stood in one partition.
#[derive(Default)]
pub(super) struct Standing<'a> {
    by_offset: BTreeMap<i64, Stood<'a>>,
    by_key: BTreeMap<u64, BTreeSet<i64>>,
}

/// A part of the log as someone was shown it.
pub(super) struct View {
    /// First and last offset that the answer covers.
    pub(super) covers: (i64, i64),
    pub(super) present: BTreeSet<i64>,
    pub(super) invoked: Moment,
    pub(super) at: Moment,
    /// Whether it is the read-back, after which nothing was sent.
    is_last: bool,
}

impl<'a> Standing<'a> {
    /// What was acknowledged, and what anyone was shown.
    pub(super) fn of(case: &Case<'a>, partition: &'a PartitionLedger<'a>) -> Standing<'a> {
        let mut standing = Standing::default();
        for sent in partition.sent.iter().map(|index| &case.ledger.sent[*index]) {
            if let Outcome::Acked { base_offset, at } = sent.outcome {
                for (offset, value) in (base_offset..).zip(&sent.call.values) {
                    standing.note(offset, Stood { value: *value, sent, since: at });
                }
            }
        }
        for fetch in &partition.fetches {
            for record in fetch.reply.batches.iter().flat_map(|batch| &batch.records) {
                let place = record.value.and_then(|value| case.ledger.values.get(&value));
                if let Some((batch, place)) = place {
                    let sent = &case.ledger.sent[*batch];
                    let value = sent.call.values[*place];
                    standing.note(record.offset, Stood { value, sent, since: fetch.at });
                }
            }
        }
        standing
    }

    fn note(&mut self, offset: i64, stood: Stood<'a>) {
        let known = self.by_offset.entry(offset).or_insert(stood);
        known.since = known.since.min(stood.since);
        self.by_key.entry(stood.value.key).or_default().insert(offset);
    }

    /// What the view should show and does not, and whether a later one of its key may have been
    /// there.
    pub(super) fn gone(&self, view: &View) -> impl Iterator<Item = (i64, Stood<'a>, bool)> {
        let (from, through) = view.covers;
        let known = self.by_offset.range(from..=through.max(from));
        let missing = known
            .filter(|(offset, stood)| stood.since < view.invoked && !view.present.contains(offset));
        missing.map(|(offset, stood)| {
            let later = self.by_key[&stood.value.key].range(offset + 1..);
            let began = |at: &i64| self.by_offset[at].sent.first_at() < view.at;
            (*offset, *stood, later.into_iter().any(began))
        })
    }
}

impl View {
    pub(super) fn of_fetch(fetch: &FetchSeen<'_>) -> Option<View> {
        let through = fetch.reply.batches.last()?.last_offset;
        let records = fetch.reply.batches.iter().flat_map(|batch| &batch.records);
        Some(View {
            covers: (fetch.call.offset.max(fetch.reply.log_start), through),
            present: records.map(|record| record.offset).collect(),
            invoked: fetch.invoked,
            at: fetch.at,
            is_last: false,
        })
    }

    /// The whole log, if it could be read.
    pub(super) fn of_log(log: &FinalLog<'_>, begun: Moment) -> Option<View> {
        let is_whole = log.gaps.is_empty() && log.next_offset >= Some(log.high_watermark);
        is_whole.then(|| View {
            covers: (log.log_start, log.high_watermark - 1),
            present: log.records().map(|record| record.offset).collect(),
            invoked: begun,
            at: log.at,
            is_last: true,
        })
    }
}

fn check(case: &Case<'_>, findings: &mut Findings) {
    for (id, partition) in &case.ledger.partitions {
        let Some(rules) = case.ledger.compaction.get(&partition.topic).copied() else { continue };
        let standing = Standing::of(case, partition);
        let views = partition.fetches.iter().filter_map(View::of_fetch);
        for view in views {
            check_view(case, (*id, partition, rules), (&standing, &view), findings);
        }
        let begun = case.ledger.liveness_end.unwrap_or_default();
        let log = partition.final_log.as_ref();
        if let Some(view) = log.and_then(|log| View::of_log(log, begun)) {
            check_view(case, (*id, partition, rules), (&standing, &view), findings);
            nothing_is_back((*id, &partition.topic), (&standing, &view), findings);
        }
    }
}

fn check_view(
    case: &Case<'_>,
    (id, partition, rules): (PartitionId, &PartitionLedger<'_>, Compaction),
    (standing, view): (&Standing<'_>, &View),
    findings: &mut Findings,
) {
    for (offset, stood, is_superseded) in standing.gone(view) {
        let key = stood.value.key;
        findings.judged(1);
        if is_superseded || may_be_hidden(case, partition, (key, rules), view) {
            continue;
        }
        let age_ms = view.at.at_ns.saturating_sub(stood.sent.first_at().at_ns) / MS_NS;
        if stood.value.tombstone && age_ms >= rules.delete_retention_ms {
            continue;
        }
        let what = if stood.value.tombstone { "tombstone" } else { "last value" };
        let text = format!(
            "{} {id} offset {offset}: the {what} of key {key} is gone, {age_ms} ms after it was \
             sent",
            partition.topic
        );
        findings.add(view.at.at_ns, text);
    }
}

/// Whether a record of which nobody knows what became may have taken the place of the key's last
/// one, without being shown: it was superseded before anyone looked, or it is a tombstone whose
/// time is over. At the end the first would be known by what superseded it.
fn may_be_hidden(
    case: &Case<'_>,
    partition: &PartitionLedger<'_>,
    (key, rules): (u64, Compaction),
    view: &View,
) -> bool {
    let is_over = |sent: &Sent<'_>| {
        let ns = rules.delete_retention_ms.saturating_mul(MS_NS);
        sent.first_at().at_ns.saturating_add(ns) <= view.at.at_ns
    };
    case.ledger.sent_to(partition).any(|sent| {
        let has_begun = sent.outcome == Outcome::Unknown && sent.first_at() < view.at;
        let hides = |value: &SentValue| {
            value.key == key && (!view.is_last || value.tombstone && is_over(sent))
        };
        has_begun && sent.call.values.iter().any(hides)
    })
}

/// Of a key whose tombstone is gone, no older record is there; unless a later one is, too: then the
/// tombstone was superseded, and who reads on ends with that one. The cleaner leaves a batch whole
/// if what is left of it needs more room.
fn nothing_is_back(
    (id, topic): (PartitionId, &str),
    (standing, view): (&Standing<'_>, &View),
    findings: &mut Findings,
) {
    for (offset, stood, _) in standing.gone(view).filter(|(_, stood, _)| stood.value.tombstone) {
        let of_key = &standing.by_key[&stood.value.key];
        let mut later = of_key.range(offset + 1..);
        let is_superseded = later.any(|later| view.present.contains(later));
        let older = of_key.range(..offset).find(|older| view.present.contains(older));
        if let Some(older) = older.filter(|_| !is_superseded) {
            let key = stood.value.key;
            let text = format!(
                "{topic} {id}: key {key} was deleted at offset {offset}, the tombstone is gone and \
                 offset {older} is there"
            );
            findings.add(view.at.at_ns, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::history::event::{
        Call, Compaction, EventKind, NewTopic, Reply, Retention, SeenBatch,
    };
    use crate::story::{Story, batch, sent};

    /// A compacted topic of which `log` is left.
    fn story(records: &[(u64, bool)], log: Vec<SeenBatch>, delete_retention_ms: u64) -> Story {
        let mut story = Story::new();
        let compaction = Some(Compaction { delete_retention_ms, lag_min_ms: 0 });
        let (name, retention) = ("t".to_owned(), Retention::default());
        let topic = NewTopic { name, partitions: 1, retention, compaction };
        let created = Reply::Created { id: crate::story::partition(1).topic };
        story.ask(1, Call::CreateTopic(topic), EventKind::Ok(created));
        for (offset, (key, tombstone)) in (0..).zip(records) {
            let mut produce = Story::send(&[offset], None);
            let value = &mut produce.values[0];
            (value.key, value.tombstone) = (*key, *tombstone);
            let offset = i64::try_from(offset).unwrap();
            let reply = Reply::Produced { base_offset: offset, log_start: 0 };
            story.ask(1, Call::Produce(produce), EventKind::Ok(reply));
        }
        story.mark(crate::history::event::Mark::LivenessEnd);
        story.read_back(log);
        story
    }

    fn left(offsets: &[i64]) -> Vec<SeenBatch> {
        offsets.iter().map(|offset| batch(*offset, &[sent(offset.unsigned_abs()).hash])).collect()
    }

    #[test]
    fn only_what_is_superseded_or_deleted_long_ago_may_be_gone() {
        let (a, b, no_a) = ((1, false), (2, false), (1, true));
        let day = 24 * 3_600_000;
        for (records, log, retention_ms, broken) in [
            (vec![a, b, a], vec![0, 1, 2], 0, false),
            (vec![a, b, a], vec![1, 2], 0, false),
            (vec![a, b, a], vec![0, 2], 0, true),
            (vec![a, b, a, b], vec![0, 3], 0, true),
            (vec![a, no_a, b], vec![1, 2], day, false),
            (vec![a, no_a, b], vec![2], day, true),
            (vec![a, no_a, b], vec![2], 0, false),
            (vec![a, no_a, b], vec![0, 2], 0, true),
            (vec![a, no_a, a, b], vec![2, 3], day, false),
            // The batch with offset 0 was left whole.
            (vec![a, no_a, a, b], vec![0, 2, 3], day, false),
            (vec![a, no_a, a, no_a, b], vec![0, 2, 4], 0, true),
        ] {
            let mut left = left(&log);
            // The whole log is covered, from offset 0 on.
            left[0].base_offset = 0;
            let story = story(&records, left, retention_ms);
            assert_eq!(story.is_broken("I27"), broken, "{records:?} {log:?} {retention_ms}");
        }
    }
}
