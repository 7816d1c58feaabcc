//! I50: a search by time (ListOffsets with a timestamp, or for the largest one: KIP-79, KIP-734)
//! answers the first record that fits. The record at its offset was sent with the timestamp that is
//! told, and no record that was acknowledged before the question fits better. Where records may be
//! removed meanwhile, what is not there any more binds nothing. At the end of a run, a log that can
//! be read whole can be searched.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, Findings, Oracle};
use crate::client::reads::MAX_TIMESTAMP;
use crate::ledger::{Moment, Outcome, PartitionLedger, SearchSeen};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I50", about: "a search by time finds the first record that fits", check };

/// A record whose place and timestamp are known.
struct Stamped {
    acked: Moment,
    offset: i64,
    timestamp: i64,
}

fn check(case: &Case<'_>, findings: &mut Findings) {
    for (id, partition) in &case.ledger.partitions {
        if let Some(log) = partition.final_log.as_ref().filter(|log| log.is_whole()) {
            for (asked, why, at) in &log.failed_searches {
                findings.judged(1);
                let text = format!("{} {id}: asked for time {asked}: {why}", partition.topic);
                findings.add(at.at_ns, text);
            }
        }
        if case.may_lose() || partition.searches.is_empty() {
            continue;
        }
        let acked = acked(case, partition);
        let seen = seen(case, partition, &acked);
        for search in &partition.searches {
            let lost_below = case.ledger.removed_below(*id, search.at);
            let wrong = forged(search, &seen, findings)
                .or_else(|| passed_over(search, (&acked, lost_below), findings));
            if let Some(wrong) = wrong {
                let (topic, asked) = (&partition.topic, search.asked);
                let text = format!("{topic} {id}: asked for time {asked}, {wrong}");
                findings.add(search.at.at_ns, text);
            }
        }
    }
}

fn acked(case: &Case<'_>, partition: &PartitionLedger<'_>) -> Vec<Stamped> {
    let batches = case.ledger.sent_to(partition).filter_map(|sent| match sent.outcome {
        Outcome::Acked { base_offset, at } if base_offset >= 0 => Some((sent, base_offset, at)),
        _ => None,
    });
    let records = batches.flat_map(|(sent, base_offset, acked)| {
        (base_offset..).zip(0..sent.call.values.len()).filter_map(move |(offset, index)| {
            Some(Stamped { acked, offset, timestamp: sent.call.stamp_of(index)? })
        })
    });
    records.collect()
}

/// The timestamps of the records at the offsets that were answered, as far as they are known.
fn seen(case: &Case<'_>, partition: &PartitionLedger<'_>, acked: &[Stamped]) -> BTreeMap<i64, i64> {
    let found = partition.searches.iter().filter_map(|search| search.found);
    let answered: BTreeSet<i64> = found.map(|(offset, _)| offset).collect();
    let of_acked = acked.iter().map(|record| (record.offset, record.timestamp));
    let mut known: BTreeMap<i64, i64> =
        of_acked.filter(|(offset, _)| answered.contains(offset)).collect();
    let batches = partition.fetches.iter().flat_map(|fetch| &fetch.reply.batches);
    for record in batches.flat_map(|batch| &batch.records) {
        if answered.contains(&record.offset)
            && let Some((batch, index)) = record.value.and_then(|id| case.ledger.values.get(&id))
            && let Some(timestamp) = case.ledger.sent[*batch].call.stamp_of(*index)
        {
            known.insert(record.offset, timestamp);
        }
    }
    known
}

/// What is wrong with the record that was answered.
fn forged(
    search: &SearchSeen,
    seen: &BTreeMap<i64, i64>,
    findings: &mut Findings,
) -> Option<String> {
    let (offset, told) = search.found?;
    findings.judged(1);
    if search.asked >= 0 && told < search.asked {
        return Some(format!("told of {offset}, whose timestamp is {told}"));
    }
    let sent = *seen.get(&offset)?;
    (sent != told).then(|| format!("told {told} of {offset}, which was sent with {sent}"))
}

/// What would have been the better answer.
fn passed_over(
    search: &SearchSeen,
    (acked, lost_below): (&[Stamped], i64),
    findings: &mut Findings,
) -> Option<String> {
    let there =
        acked.iter().filter(|record| record.acked < search.invoked && record.offset >= lost_below);
    let fits = |record: &&Stamped| match search.asked {
        MAX_TIMESTAMP => true,
        asked => record.timestamp >= asked,
    };
    let best = there.filter(fits).min_by_key(|record| match search.asked {
        MAX_TIMESTAMP => (-record.timestamp, record.offset),
        _ => (record.offset, 0),
    })?;
    findings.judged(1);
    let Stamped { offset: first, timestamp, .. } = *best;
    let is_worse = |(offset, told): (i64, i64)| match search.asked {
        MAX_TIMESTAMP => told < timestamp || told == timestamp && offset > first,
        _ => offset > first,
    };
    let better = format!("{first} with {timestamp} was acknowledged before");
    match search.found {
        None => Some(format!("told of no record, and {better}")),
        Some(found) if is_worse(found) => {
            Some(format!("told of {} with {}, and {better}", found.0, found.1))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::event::{Call, EventKind, Failure, KnownTopic, Mark, Reply};
    use crate::story::{Story, partition};

    impl Story {
        /// Sends a batch with a timestamp to partition 1 that is acknowledged at `offset`.
        fn stamped(&mut self, made: &[u64], (offset, timestamp): (i64, i64)) -> &mut Story {
            let mut send = Story::send(made, None);
            send.stamped_ms = Some(timestamp);
            let reply = Reply::Produced { base_offset: offset, log_start: 0 };
            self.ask(1, Call::Produce(send), EventKind::Ok(reply))
        }

        fn searched(&mut self, asked: i64, (offset, timestamp): (i64, i64)) -> &mut Story {
            let call = Call::ListOffsets { partition: partition(1), timestamp: asked };
            let reply = Reply::Listed { offset, timestamp, leader_epoch: 0 };
            self.ask(2, call, EventKind::Ok(reply))
        }
    }

    /// Offset 0 with timestamp 10, 1 with 50, 2 with 30, 3 with 20.
    fn story() -> Story {
        let (name, id) = ("t".to_owned(), partition(1).topic);
        let topic = KnownTopic { name, id, leader_epochs: vec![0] };
        let mut story = Story::new();
        story.ask(1, Call::Metadata, EventKind::Ok(Reply::Topics(vec![topic])));
        story.stamped(&[1, 2], (0, 10)).stamped(&[3], (2, 30)).stamped(&[4], (3, 20));
        story
    }

    #[test]
    fn the_first_record_that_fits_passes_and_any_other_answer_fires() {
        let cases = [
            (5, (0, 10), false),
            (5, (1, 50), true),
            (10, (0, 10), false),
            (11, (1, 50), false),
            (11, (1, 49), true),
            (11, (0, 10), true),
            (11, (2, 30), true),
            (11, (-1, -1), true),
            (50, (1, 50), false),
            (51, (-1, -1), false),
            (MAX_TIMESTAMP, (1, 50), false),
            (MAX_TIMESTAMP, (0, 10), true),
            (MAX_TIMESTAMP, (2, 30), true),
            (MAX_TIMESTAMP, (-1, -1), true),
        ];
        for (asked, found, broken) in cases {
            assert_eq!(
                story().searched(asked, found).is_broken("I50"),
                broken,
                "{asked} {found:?}"
            );
        }
    }

    #[test]
    fn a_record_that_nobody_was_told_of_may_be_the_answer() {
        let mut story = story();
        story.unknown(&[5]).searched(11, (1, 50)).searched(60, (4, 60));
        assert!(!story.is_broken("I50"));
        // Acknowledged only after the question was asked.
        let call = Call::ListOffsets { partition: partition(1), timestamp: 60 };
        let reply = Reply::Listed { offset: -1, timestamp: -1, leader_epoch: 0 };
        story.event(900, 2, EventKind::Invoke(call)).stamped(&[6], (5, 70));
        story.event(900, 2, EventKind::Ok(reply));
        assert!(!story.is_broken("I50"));
    }

    #[test]
    fn a_log_that_is_read_whole_is_searched_too() {
        for (has_gap, next_offset, broken) in
            [(false, 4, true), (true, 4, false), (false, 2, false)]
        {
            let partition = partition(1);
            let topic = "t".to_owned();
            let mut story = story();
            story.mark(Mark::ReadBackBegin { topic, partition, log_start: 0, high_watermark: 4 });
            let error = Failure { code: Some(56), why: "KAFKA_STORAGE_ERROR".to_owned() };
            if has_gap {
                let error = error.clone();
                story.mark(Mark::ReadBackGap { partition, from: 1, end: 2, error });
            }
            story.mark(Mark::SearchFailed { partition, asked: 5, error });
            story.mark(Mark::ReadBackEnd { partition, next_offset });
            assert_eq!(story.is_broken("I50"), broken, "gap: {has_gap}, to {next_offset}");
        }
    }

    #[test]
    fn what_was_deleted_meanwhile_binds_nothing() {
        let mut story = story();
        let call = Call::DeleteRecords { partition: partition(1), to: 3 };
        let reply = Reply::RecordsDeleted { log_start: 3 };
        story.ask(3, call, EventKind::Ok(reply)).searched(MAX_TIMESTAMP, (3, 20));
        assert!(!story.is_broken("I50"));
        story.searched(MAX_TIMESTAMP, (-1, -1));
        assert!(story.is_broken("I50"));
    }
}
