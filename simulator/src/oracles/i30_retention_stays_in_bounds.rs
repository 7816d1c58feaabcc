//! I30: a log start moves up only as far as DeleteRecords asked or the topic's retention allows,
//! never past the high watermark, and never back.
//!
//! A record is as young as its first attempt; of bytes, all that may have been appended count as
//! kept, so that an unknown outcome never accuses.

use super::{Case, Findings, Oracle};
use crate::history::event::Retention;
use crate::ledger::{EndSeen, Moment, Outcome, PartitionLedger, Sent};

pub(super) const ORACLE: Oracle = Oracle {
    id: "I30",
    about: "the log start moves as deletes and retention allow, below the watermark, never back",
    check,
};

fn check(case: &Case<'_>, findings: &mut Findings) {
    for (id, partition) in &case.ledger.partitions {
        let mut starts = partition.log_starts.clone();
        starts.sort_by_key(|seen| seen.invoked);
        let mut by_answer = starts.clone();
        by_answer.sort_by_key(|seen| seen.at);
        let mut answers = by_answer.into_iter().peekable();
        let mut highest = 0;
        for seen in &starts {
            while let Some(before) = answers.next_if(|before| before.at < seen.invoked) {
                highest = highest.max(before.offset);
            }
            if seen.offset < highest && !case.may_lose() {
                let topic = &partition.topic;
                let text = format!("{topic} {id}: log start {} was {highest} before", seen.offset);
                findings.add(seen.at.at_ns, text);
            }
        }
        above_watermark(case, partition, findings);
        starts.sort_by_key(|seen| (seen.offset, seen.at));
        starts.dedup_by_key(|seen| seen.offset);
        for seen in &starts {
            findings.judged(usize::from(seen.offset > 0));
            if let Err(what) = is_allowed(case, partition, seen) {
                let topic = &partition.topic;
                let text = format!("{topic} {id}: log start {}: {what}", seen.offset);
                findings.add(seen.at.at_ns, text);
            }
        }
    }
}

fn above_watermark(case: &Case<'_>, partition: &PartitionLedger<'_>, findings: &mut Findings) {
    let _ = case;
    for fetch in &partition.fetches {
        let (start, end) = (fetch.reply.log_start, fetch.reply.high_watermark);
        if start > end {
            let (topic, id) = (&partition.topic, fetch.call.partition);
            let text = format!("{topic} {id}: log start {start} is above the watermark {end}");
            findings.add(fetch.at.at_ns, text);
        }
    }
}

/// Whether the log start may have been where `seen` says.
fn is_allowed(
    case: &Case<'_>,
    partition: &PartitionLedger<'_>,
    seen: &EndSeen,
) -> Result<(), String> {
    let asked = partition.deletes.iter().filter(|delete| delete.invoked < seen.at);
    // −1 asks for everything up to the high watermark.
    let deleted = asked.map(|delete| if delete.to < 0 { i64::MAX } else { delete.to });
    let deleted = deleted.max().unwrap_or(0);
    if seen.offset <= deleted {
        return Ok(());
    }
    let retention = case.ledger.retention.get(&partition.topic).copied().unwrap_or_default();
    if retention == Retention::default() {
        return Err(format!("only {deleted} was asked for, and nothing expires"));
    }
    // Either bound alone is reason enough to remove a segment: one that is too young went because
    // enough stood behind it, though some of that may have been removed by its age since.
    let too_young = last_too_young(case, partition, (seen, deleted), retention);
    let Some((offset, age_ms)) = too_young else { return Ok(()) };
    let Some(bytes) = too_few_behind(case, partition, (seen, offset), retention) else {
        return Ok(());
    };
    Err(format!("offset {offset} was {age_ms} ms old, with {bytes} bytes behind it: it must stay"))
}

/// The most bytes that may have stood behind `offset`, if that is below what the topic keeps.
fn too_few_behind(
    case: &Case<'_>,
    partition: &PartitionLedger<'_>,
    (seen, offset): (&EndSeen, i64),
    retention: Retention,
) -> Option<u64> {
    let bound = retention.bytes.unwrap_or(u64::MAX);
    let may_be_behind = |sent: &&Sent<'_>| match sent.outcome {
        Outcome::Acked { base_offset, .. } => last_of(sent, base_offset) > offset,
        Outcome::Unknown => true,
        Outcome::Refused => false,
    };
    let earlier = |sent: &&Sent<'_>| sent.first_at() < seen.at;
    // A batch may stand in the log as often as it was sent.
    let size = |sent: &Sent<'_>| sent.call.bytes * sent.attempts.len() as u64;
    let behind: u64 =
        case.ledger.sent_to(partition).filter(earlier).filter(may_be_behind).map(size).sum();
    (behind < bound).then_some(behind)
}

/// The last acknowledged record that was removed before its time, with its age.
fn last_too_young(
    case: &Case<'_>,
    partition: &PartitionLedger<'_>,
    (seen, deleted): (&EndSeen, i64),
    retention: Retention,
) -> Option<(i64, u64)> {
    let keep_ms = retention.ms.unwrap_or(u64::MAX);
    let removed = case.ledger.sent_to(partition).filter_map(|sent| {
        let Outcome::Acked { base_offset, .. } = sent.outcome else { return None };
        let (last, age_ms) = (last_of(sent, base_offset), age_ms(sent.first_at(), seen.at));
        let is_too_young = (deleted..seen.offset).contains(&last) && age_ms < keep_ms;
        is_too_young.then_some((last, age_ms))
    });
    removed.max()
}

fn last_of(sent: &Sent<'_>, base_offset: i64) -> i64 {
    base_offset + i64::try_from(sent.call.values.len()).expect("a small batch") - 1
}

fn age_ms(from: Moment, to: Moment) -> u64 {
    to.at_ns.saturating_sub(from.at_ns) / 1_000_000
}

#[cfg(test)]
mod tests {
    use crate::history::event::{Call, EventKind, NewTopic, Reply, Retention};
    use crate::story::{Story, partition};

    fn starts_at(story: &mut Story, log_start: i64) {
        story.fetched_by(2, partition(1), (log_start, log_start, 9, vec![]));
    }

    #[test]
    fn a_log_start_that_nobody_asked_for_fires() {
        for (asked, start, broken) in
            [(None, 0, false), (None, 1, true), (Some(1), 1, false), (Some(1), 2, true)]
        {
            let mut story = Story::new();
            story.acked(&[1], 0).acked(&[2], 1);
            if let Some(to) = asked {
                let reply = Reply::RecordsDeleted { log_start: to };
                let call = Call::DeleteRecords { partition: partition(1), to };
                story.ask(1, call, EventKind::Ok(reply));
            }
            starts_at(&mut story, start);
            assert_eq!(story.is_broken("I30"), broken, "{asked:?} {start}");
        }
    }

    #[test]
    fn retention_removes_what_is_old_or_too_much_and_nothing_else() {
        // Each batch has 100 bytes and is some milliseconds old.
        for (ms, bytes, broken) in [
            (Some(1), None, false),
            (Some(1000), None, true),
            (None, Some(100), false),
            (None, Some(200), true),
            (Some(1000), Some(200), true),
            (Some(1), Some(200), false),
        ] {
            let mut story = Story::new();
            let retention = Retention { ms, bytes };
            let topic =
                NewTopic { name: "t".to_owned(), partitions: 1, retention, compaction: None };
            let created = Reply::Created { id: partition(1).topic };
            story.ask(1, Call::CreateTopic(topic), EventKind::Ok(created));
            story.acked(&[1], 0).acked(&[2], 1);
            starts_at(&mut story, 1);
            assert_eq!(story.is_broken("I30"), broken, "{ms:?} {bytes:?}");
        }
    }

    #[test]
    fn what_is_old_may_go_with_the_young_before_it_that_were_too_much() {
        for (bytes, broken) in [(100, false), (101, true)] {
            let mut story = Story::new();
            let retention = Retention { ms: Some(10), bytes: Some(bytes) };
            let topic =
                NewTopic { name: "t".to_owned(), partitions: 1, retention, compaction: None };
            let created = Reply::Created { id: partition(1).topic };
            story.ask(1, Call::CreateTopic(topic), EventKind::Ok(created));
            story.acked(&[2], 1);
            for _ in 0..10 {
                story.looked_up(0);
            }
            story.acked(&[1], 0);
            starts_at(&mut story, 2);
            assert_eq!(story.is_broken("I30"), broken, "{bytes}");
        }
    }

    #[test]
    fn a_log_start_that_goes_back_or_above_the_watermark_fires() {
        let mut story = Story::new();
        let call = Call::DeleteRecords { partition: partition(1), to: 20 };
        story.ask(1, call, EventKind::Ok(Reply::RecordsDeleted { log_start: 5 }));
        starts_at(&mut story, 5);
        assert!(!story.is_broken("I30"));
        let mut back = Story::new();
        back.evidence.events.clone_from(&story.evidence.events);
        starts_at(&mut back, 4);
        assert!(back.is_broken("I30"));
        starts_at(&mut story, 10);
        assert!(story.is_broken("I30"));
    }
}
