//! I47: no stale reads: who asks for an offset after it was acknowledged, shown to anyone or told
//! to be below the high watermark gets a record from there on, or an error, never an empty answer.
//! A watermark that is behind is I3's. Compacted topics are left out: what is asked for, and all
//! behind it, may be compacted away.

use super::{Case, Findings, Oracle};
use crate::ledger::{FetchSeen, Moment, Outcome, PartitionLedger};

pub(super) const ORACLE: Oracle = Oracle {
    id: "I47",
    about: "a fetch sees what was acknowledged or shown before it was sent",
    check,
};

fn check(case: &Case<'_>, findings: &mut Findings) {
    if case.may_lose() {
        return;
    }
    for (id, partition) in &case.ledger.partitions {
        if case.ledger.compaction.contains_key(&partition.topic) {
            continue;
        }
        let mut known = known_ends(case, partition).into_iter().peekable();
        let mut fetches: Vec<&FetchSeen<'_>> = partition.fetches.iter().collect();
        fetches.sort_by_key(|fetch| fetch.invoked);
        let mut highest = (0, Moment::default());
        for fetch in fetches {
            while let Some((at, end)) = known.next_if(|(at, _)| *at < fetch.invoked) {
                if end > highest.0 {
                    highest = (end, at);
                }
            }
            let (asked, (end, since)) = (fetch.call.offset, highest);
            if asked >= end {
                continue;
            }
            findings.judged(1);
            if is_empty(fetch) {
                let topic = &partition.topic;
                let text = format!(
                    "{topic} {id}: nothing is shown at {asked}, and the log was known to reach \
                     {end} at {} ns",
                    since.at_ns
                );
                findings.add(fetch.at.at_ns, text);
            }
        }
    }
}

/// Whether there is no record in an answer that was not overtaken by the log start.
fn is_empty(fetch: &FetchSeen<'_>) -> bool {
    let reply = fetch.reply;
    reply.batches.is_empty() && reply.garbage.is_none() && reply.log_start <= fetch.call.offset
}

/// From which moment on consumers may see all offsets below which one, in order.
fn known_ends(case: &Case<'_>, partition: &PartitionLedger<'_>) -> Vec<(Moment, i64)> {
    let mut ends: Vec<(Moment, i64)> =
        partition.high_watermarks.iter().map(|seen| (seen.at, seen.offset)).collect();
    for sent in case.ledger.sent_to(partition) {
        if let Outcome::Acked { base_offset, at } = sent.outcome {
            let count = i64::try_from(sent.call.values.len()).expect("a small batch");
            ends.push((at, base_offset + count));
        }
    }
    for fetch in &partition.fetches {
        let shown = fetch.reply.batches.last().map_or(0, |batch| batch.last_offset + 1);
        ends.push((fetch.at, shown.max(fetch.reply.high_watermark)));
    }
    ends.sort_unstable();
    ends
}

#[cfg(test)]
mod tests {
    use super::super::Contract;
    use crate::history::event::{Call, EventKind, Fetch, Fetched, Reply};
    use crate::story::{Story, batch, partition};

    #[test]
    fn an_empty_answer_below_a_known_end_fires() {
        let known: [fn(&mut Story); 3] = [
            |story| {
                story.acked(&[1, 2], 0);
            },
            |story| {
                story.unknown(&[1, 2]).fetched(0, 2, vec![batch(0, &[1, 2])]);
            },
            |story| {
                story.unknown(&[1, 2]).fetched(5, 2, vec![]);
            },
        ];
        for (index, known) in known.into_iter().enumerate() {
            for (asked, broken) in [(0, true), (1, true), (2, false)] {
                let mut story = Story::new();
                known(&mut story);
                story.fetched(asked, 2, vec![]);
                assert_eq!(story.is_broken("I47"), broken, "{index} {asked}");
            }
        }
    }

    #[test]
    fn answers_with_records_and_expected_losses_pass() {
        let mut story = Story::new();
        story.acked(&[1, 2], 0).fetched(0, 2, vec![batch(0, &[1, 2])]);
        assert!(!story.is_broken("I47"));
        let mut story = Story::new();
        story.evidence.contract = Contract::ExpectLoss;
        story.acked(&[1, 2], 0).fetched(0, 2, vec![]);
        assert!(!story.is_broken("I47"));
    }

    #[test]
    fn what_becomes_known_while_the_question_is_asked_binds_nothing() {
        let mut story = Story::new();
        let (topic, partition) = ("t".to_owned(), partition(1));
        let call = Call::Fetch(Fetch { topic, partition, by_name: false, offset: 0 });
        story.event(90, 2, EventKind::Invoke(call)).acked(&[1], 0);
        let reply = Fetched { high_watermark: 0, log_start: 0, batches: vec![], garbage: None };
        story.event(90, 2, EventKind::Ok(Reply::Fetched(reply)));
        assert!(!story.is_broken("I47"));
    }
}
