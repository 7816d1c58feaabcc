//! I12: what is recovered is a prefix of what was written: every record that anyone is shown was
//! sent to that partition with those bytes, was not refused for sure and not sent later than it
//! was seen; nothing is shown whose CRC is wrong; and nothing shown to a consumer goes away.

use super::{Case, Findings, Oracle};
use crate::ledger::{FetchSeen, Outcome};

pub(super) const ORACLE: Oracle = Oracle {
    id: "I12",
    about: "only what was written is shown, whole and with a right CRC, and what was shown stays",
    check,
};

fn check(case: &Case<'_>, findings: &mut Findings) {
    for fetch in case.ledger.all_fetches() {
        findings.judged(fetch.reply.batches.iter().map(|batch| batch.records.len()).sum());
        if let Err(what) = check_answer(case, fetch) {
            let text = format!("{} {}: {what}", fetch.call.topic, fetch.call.partition);
            findings.add(fetch.at.at_ns, text);
        }
    }
    if !case.may_lose() {
        for (at, fetch) in &case.ledger.damaged {
            let text = format!("{} {}: damage at {}", fetch.topic, fetch.partition, fetch.offset);
            findings.add(at.at_ns, text);
        }
        what_was_shown_stays(case, findings);
    }
}

fn check_answer(case: &Case<'_>, fetch: &FetchSeen<'_>) -> Result<(), String> {
    if let Some(garbage) = &fetch.reply.garbage {
        return Err(format!("bytes that are no batch were served: {garbage}"));
    }
    for batch in &fetch.reply.batches {
        if !batch.sound {
            return Err(format!("a damaged batch was served at {}", batch.base_offset));
        }
        for record in &batch.records {
            let sent = match case.ledger.judge_record(fetch.call.partition, record) {
                Ok(sent) => sent,
                // Whatever answered a request by name is judged by I33.
                Err(_) if fetch.call.by_name => continue,
                Err(what) => return Err(what),
            };
            if sent.outcome == Outcome::Refused {
                return Err(format!("the record at {} was refused for sure", record.offset));
            }
            if sent.first_at() > fetch.at {
                return Err(format!("the record at {} was not sent yet", record.offset));
            }
        }
    }
    Ok(())
}

/// Whatever a consumer saw is below the high watermark, and so on disk: it is there at the end.
fn what_was_shown_stays(case: &Case<'_>, findings: &mut Findings) {
    for (id, partition) in &case.ledger.partitions {
        let Some(log) = &partition.final_log else { continue };
        if log.next_offset.is_none_or(|next| next < log.high_watermark) {
            continue;
        }
        for fetch in &partition.fetches {
            let highest = fetch.reply.batches.last().map_or(-1, |batch| batch.last_offset);
            if highest >= log.high_watermark {
                let (topic, end) = (&partition.topic, log.high_watermark);
                let text =
                    format!("{topic} {id}: offset {highest} was shown, the log ends at {end}");
                findings.add(fetch.at.at_ns, text);
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Contract;
    use crate::history::event::{Call, EventKind, Failure, Fetch, SeenBatch};
    use crate::story::{Story, batch, failure, partition};

    #[test]
    fn damaged_batches_strangers_and_changed_bytes_fire() {
        let unsound = SeenBatch { sound: false, ..batch(0, &[1]) };
        let mut stranger = batch(0, &[1]);
        stranger.records[0].value = None;
        let mut changed = batch(0, &[1]);
        changed.records[0].hash ^= 1;
        for (seen, broken) in [
            (batch(0, &[1]), false),
            (unsound, true),
            (stranger, true),
            (changed, true),
            (batch(0, &[77]), true),
        ] {
            let mut story = Story::new();
            story.unknown(&[1]).fetched(0, 1, vec![seen.clone()]);
            assert_eq!(story.is_broken("I12"), broken, "{seen:?}");
        }
    }

    #[test]
    fn damage_is_reported_only_where_a_disk_forges() {
        for (contract, broken) in [(Contract::FsyncAck, true), (Contract::ExpectLoss, false)] {
            let mut story = Story::new();
            story.evidence.contract = contract;
            let (topic, partition) = ("t".to_owned(), partition(1));
            let call = Call::Fetch(Fetch { topic, partition, by_name: false, offset: 0 });
            let told = Failure { code: Some(2), why: "CORRUPT_MESSAGE".to_owned() };
            story.ask(2, call, EventKind::Fail(told));
            assert_eq!(story.is_broken("I12"), broken, "{contract:?}");
        }
    }

    #[test]
    fn a_refused_record_that_is_there_fires() {
        let mut story = Story::new();
        story.ask(1, Call::Produce(Story::send(&[1], None)), EventKind::Fail(failure()));
        assert!(!story.is_broken("I12"));
        story.fetched(0, 1, vec![batch(0, &[1])]);
        assert!(story.is_broken("I12"));
    }

    #[test]
    fn what_was_shown_and_is_gone_at_the_end_fires() {
        for (log, broken) in [(vec![batch(0, &[1])], true), (vec![batch(0, &[1, 2])], false)] {
            let mut story = Story::new();
            story.unknown(&[1, 2]).fetched(0, 2, vec![batch(0, &[1, 2])]).read_back(log);
            assert_eq!(story.is_broken("I12"), broken);
        }
    }
}
