//! I13: no duplicate and no gap per (producer, partition): in the read-back the sequences of each
//! producer id and epoch follow each other, no value stands twice that an idempotent producer sent,
//! or that was sent only once, and no producer that kept its order is told that it did not.

use std::collections::{BTreeMap, BTreeSet};

use rivven_core::ids::PartitionId;

use super::{Case, Findings, Oracle};
use crate::history::event::SeenBatch;
use crate::ledger::{FinalLog, Outcome, PartitionLedger, Sent};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I13", about: "no duplicate and no gap per producer and partition", check };

/// Sequences count from 0 to 2³¹ − 1 and begin again (KIP-98).
const SEQUENCES: i64 = 1 << 31;

fn check(case: &Case<'_>, findings: &mut Findings) {
    for (id, partition) in &case.ledger.partitions {
        if let Some(log) = &partition.final_log {
            sequences_follow(case, (*id, &partition.topic, log), findings);
            values_stand_once(case, (*id, partition, log), findings);
        }
        if !case.may_lose() {
            order_was_kept(case, (*id, partition), findings);
        }
    }
}

fn sequences_follow(
    case: &Case<'_>,
    (id, topic, log): (PartitionId, &str, &FinalLog<'_>),
    findings: &mut Findings,
) {
    let has_gaps = case.ledger.compaction.contains_key(topic);
    let may_lose = case.may_lose();
    let mut next: BTreeMap<(i64, i16), i64> = BTreeMap::new();
    for batch in &log.batches {
        let Some(stamp) = batch.producer else { continue };
        let producer = (stamp.producer_id, stamp.epoch);
        let base = i64::from(stamp.base_sequence);
        // What stood before the log start, or in a lost range, is not known.
        let unknown = log.log_start > 0 || has_gaps || (may_lose && !log.gaps.is_empty());
        let expected = next.get(&producer).copied().or((!unknown).then_some(0));
        findings.judged(usize::from(expected.is_some()));
        let gap_is_excused =
            (has_gaps || may_lose && !log.gaps.is_empty()) && Some(base) > expected;
        if let Some(expected) = expected.filter(|expected| *expected != base)
            && !gap_is_excused
        {
            let what = if base < expected { "a duplicate" } else { "a gap" };
            let text = format!(
                "{topic} {id} offset {}: {what}: producer {} epoch {} has sequence {base}, \
                 expected was {expected}",
                batch.base_offset, stamp.producer_id, stamp.epoch
            );
            findings.add(log.at.at_ns, text);
        }
        next.insert(producer, (base + count(batch)) % SEQUENCES);
    }
}

fn count(batch: &SeenBatch) -> i64 {
    batch.last_offset - batch.base_offset + 1
}

fn values_stand_once(
    case: &Case<'_>,
    (id, partition, log): (PartitionId, &PartitionLedger<'_>, &FinalLog<'_>),
    findings: &mut Findings,
) {
    let mut places = BTreeMap::new();
    for record in log.records() {
        let Some(value) = record.value else { continue };
        let batch = case.ledger.values.get(&value).map(|place| &case.ledger.sent[place.0]);
        let may_repeat =
            |batch: &Sent<'_>| batch.call.producer.is_none() && batch.attempts.len() > 1;
        if batch.is_none_or(may_repeat) {
            continue;
        }
        if let Some(first) = places.insert(value, record.offset) {
            let (topic, second) = (&partition.topic, record.offset);
            let text = format!("{topic} {id}: value {value} stands at {first} and at {second}");
            findings.add(log.at.at_ns, text);
        }
    }
}

/// A batch whose predecessors were all acknowledged before it was sent is never out of order.
fn order_was_kept(
    case: &Case<'_>,
    (id, partition): (PartitionId, &PartitionLedger<'_>),
    findings: &mut Findings,
) {
    let mut acked: BTreeMap<(i64, i16, i64), _> = BTreeMap::new();
    for sent in case.ledger.sent_to(partition) {
        if let (Some(stamp), Outcome::Acked { at, .. }) = (sent.call.producer, sent.outcome) {
            let count = i64::try_from(sent.call.values.len()).expect("a small batch");
            let end = (i64::from(stamp.base_sequence) + count) % SEQUENCES;
            acked.insert((stamp.producer_id, stamp.epoch, end), at);
        }
    }
    let mut known = BTreeSet::new();
    for sent in case.ledger.sent_to(partition) {
        let Some(stamp) = sent.call.producer else { continue };
        let is_first = known.insert((stamp.producer_id, stamp.epoch));
        let Some((at, attempt)) = sent.out_of_order else { continue };
        findings.judged(1);
        let base = i64::from(stamp.base_sequence);
        let before = acked.get(&(stamp.producer_id, stamp.epoch, base));
        if is_first || before.is_some_and(|acked| *acked < attempt) {
            let topic = &partition.topic;
            let text = format!(
                "{topic} {id}: sequence {base} of producer {} was called out of order",
                stamp.producer_id
            );
            findings.add(at.at_ns, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::history::event::{Call, EventKind, Failure, Reply};
    use crate::story::{Story, batch, failure, stamped};

    fn sent(story: &mut Story, made: &[u64], sequence: i32, end: EventKind) {
        story.ask(1, Call::Produce(Story::send(made, Some(sequence))), end);
    }

    #[test]
    fn duplicates_and_gaps_fire() {
        for (log, broken) in [
            (vec![stamped(0, &[1, 2], 0), stamped(2, &[3], 2)], false),
            (vec![stamped(0, &[1, 2], 0), stamped(2, &[1, 2], 0)], true),
            (vec![stamped(0, &[1, 2], 0), stamped(2, &[3], 3)], true),
            (vec![stamped(0, &[3], 2)], true),
            (vec![stamped(7, &[3], 2)], false),
        ] {
            let mut story = Story::new();
            sent(&mut story, &[1, 2], 0, EventKind::Info(failure()));
            sent(&mut story, &[3], 2, EventKind::Info(failure()));
            story.read_back(log.clone());
            assert_eq!(story.is_broken("I13"), broken, "{log:?}");
        }
    }

    #[test]
    fn what_a_plain_producer_sent_once_and_stands_twice_fires() {
        for (attempts, broken) in [(1, true), (2, false)] {
            let mut story = Story::new();
            for _ in 0..attempts {
                let call = Call::Produce(Story::send(&[1], None));
                story.event(7, 1, EventKind::Invoke(call)).event(7, 1, EventKind::Info(failure()));
            }
            story.read_back(vec![batch(0, &[1]), batch(1, &[1])]);
            assert_eq!(story.is_broken("I13"), broken, "{attempts}");
        }
    }

    #[test]
    fn sequences_wrap() {
        let mut story = Story::new();
        let last = i32::MAX;
        story.read_back(vec![stamped(5, &[1], last), stamped(6, &[2], 0)]);
        assert!(!story.is_broken("I13"));
    }

    #[test]
    fn an_orderly_producer_that_is_refused_for_its_order_fires() {
        for (first_is_acked, broken) in [(true, true), (false, false)] {
            let mut story = Story::new();
            let first = match first_is_acked {
                true => EventKind::Ok(Reply::Produced { base_offset: 0, log_start: 0 }),
                false => EventKind::Info(failure()),
            };
            sent(&mut story, &[1], 0, first);
            let refused = Failure { code: Some(45), why: "out of order".to_owned() };
            sent(&mut story, &[2], 1, EventKind::Fail(refused));
            assert_eq!(story.is_broken("I13"), broken);
        }
    }
}
