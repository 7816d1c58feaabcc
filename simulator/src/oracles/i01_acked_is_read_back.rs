//! I1: every acknowledged record is read back at its offset with equal bytes, and every topic whose
//! creation was acknowledged is there.

use rivven_core::ids::PartitionId;

use super::{Case, Findings, Oracle};
use crate::ledger::{FinalLog, Outcome, PartitionLedger, Sent};

pub(super) const ORACLE: Oracle = Oracle {
    id: "I1",
    about: "every acknowledged record is read back at its offset with equal bytes",
    check,
};

fn check(case: &Case<'_>, findings: &mut Findings) {
    let end_ns = case.evidence.end_ns;
    if case.ledger.read_back_done.is_none() {
        findings.add(end_ns, "the read-back did not come to its end".to_owned());
        return;
    }
    for (id, partition) in &case.ledger.partitions {
        let topic = case.ledger.topics.get(&id.topic);
        if topic.is_some_and(|topic| topic.delete_invoked.is_some()) {
            continue;
        }
        match &partition.final_log {
            Some(log) => check_partition(case, (*id, partition, log), findings),
            None => {
                let acked = |sent: &Sent<'_>| matches!(sent.outcome, Outcome::Acked { .. });
                if case.ledger.sent_to(partition).any(acked) {
                    let topic = &partition.topic;
                    let text = format!("{topic} {id} has acked records and was not read back");
                    findings.add(end_ns, text);
                }
            }
        }
    }
    for (id, topic) in &case.ledger.topics {
        let done = case.ledger.read_back_done.expect("checked above");
        let kept = topic.created.is_some() && topic.delete_invoked.is_none();
        let last_shown = topic.shown.last().map(|shown| shown.1);
        let last_look = case.ledger.topics.values().filter_map(|topic| topic.shown.last()).max();
        if kept && last_shown < last_look.map(|shown| shown.1) {
            let text = format!("topic {} {id} was created and is gone", topic.name);
            findings.add(done.at_ns, text);
        }
    }
}

fn check_partition(
    case: &Case<'_>,
    (id, partition, log): (PartitionId, &PartitionLedger<'_>, &FinalLog<'_>),
    findings: &mut Findings,
) {
    let next = log.next_offset.unwrap_or(-1);
    if next < log.high_watermark {
        let (topic, end) = (&partition.topic, log.high_watermark);
        let text = format!("{topic} {id} could not be read to {end}, only to {next}");
        findings.add(log.at.at_ns, text);
    }
    if !case.may_lose() {
        for (from, end, why) in &log.gaps {
            let topic = &partition.topic;
            let text = format!("{topic} {id} does not serve {from} to {end}: {why}");
            findings.add(log.at.at_ns, text);
        }
    }
    if case.ledger.compaction.contains_key(&partition.topic) {
        // I27 says which of its records may be gone.
        return;
    }
    let mut records = log.records().peekable();
    let mut acked: Vec<(i64, usize, &Sent<'_>)> = Vec::new();
    for sent in case.ledger.sent_to(partition) {
        if let Outcome::Acked { base_offset, .. } = sent.outcome {
            let places = 0..sent.call.values.len();
            acked.extend((base_offset..).zip(places).map(|(offset, place)| (offset, place, sent)));
        }
    }
    acked.sort_by_key(|(offset, _, _)| *offset);
    for (offset, place, sent) in acked {
        while records.next_if(|record| record.offset < offset).is_some() {}
        let found = records.peek().filter(|record| record.offset == offset);
        let value = sent.call.values[place];
        findings.judged(1);
        let whole =
            found.is_some_and(|record| record.value == Some(value.id) && record.hash == value.hash);
        let excused = offset < log.log_start
            || (case.may_lose() && found.is_none() && log.gap_at(offset).is_some());
        if !whole && !excused {
            let at = found.map_or("nothing".to_owned(), |record| match record.value {
                Some(value) => format!("value {value}"),
                None => "a stranger's bytes".to_owned(),
            });
            let topic = &partition.topic;
            let text = format!(
                "{topic} {id} offset {offset}: value {} was acknowledged, {at} is there \
                 (log {} to {})",
                value.id, log.log_start, log.high_watermark
            );
            findings.add(log.at.at_ns, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use rivven_core::ids::TopicId;

    use super::super::Contract;
    use crate::history::event::{Call, EventKind, KnownTopic, Mark, NewTopic, Reply, Retention};
    use crate::story::{Story, batch, failure, partition};

    #[test]
    fn a_lost_or_changed_acked_record_fires() {
        for (log, broken) in [
            (vec![batch(0, &[1, 2])], false),
            (vec![batch(0, &[1, 2]), batch(2, &[3])], false),
            (vec![batch(1, &[2])], false),
            (vec![batch(0, &[1])], true),
            (vec![batch(0, &[2, 1])], true),
            (vec![], true),
        ] {
            let mut story = Story::new();
            story.acked(&[1, 2], 0).unknown(&[3]).read_back(log.clone());
            assert_eq!(story.is_broken("I1"), broken, "{log:?}");
        }
    }

    #[test]
    fn a_read_back_that_did_not_end_fires() {
        let mut story = Story::new();
        story.acked(&[1], 0);
        assert!(story.is_broken("I1"));
        let (topic, partition) = ("t".to_owned(), partition(1));
        story.mark(Mark::ReadBackBegin { topic, partition, log_start: 0, high_watermark: 1 });
        story.mark(Mark::ReadBackEnd { partition, next_offset: 0 }).mark(Mark::ReadBackDone);
        assert!(story.is_broken("I1"));
    }

    #[test]
    fn a_gap_is_a_loss_unless_the_disk_forged_data() {
        for (contract, gap, broken) in [
            (Contract::FsyncAck, true, true),
            (Contract::ExpectLoss, true, false),
            (Contract::ExpectLoss, false, true),
        ] {
            let mut story = Story::new();
            story.evidence.contract = contract;
            story.acked(&[1], 0).acked(&[2], 1);
            let (topic, partition) = ("t".to_owned(), partition(1));
            story.mark(Mark::ReadBackBegin { topic, partition, log_start: 0, high_watermark: 2 });
            if gap {
                story.mark(Mark::ReadBackGap { partition, from: 0, end: 1, error: failure() });
            }
            let answer = (1, 0, 2, vec![batch(1, &[2])]);
            story.fetched_by(crate::history::READ_BACK_CLIENT, partition, answer);
            story.mark(Mark::ReadBackEnd { partition, next_offset: 2 }).mark(Mark::ReadBackDone);
            assert_eq!(story.is_broken("I1"), broken, "{contract:?} {gap}");
        }
    }

    #[test]
    fn a_created_topic_that_is_gone_fires() {
        let shown = |id: u8| {
            let topic =
                KnownTopic { name: "t".to_owned(), id: TopicId([id; 16]), leader_epochs: vec![] };
            EventKind::Ok(Reply::Topics(vec![topic]))
        };
        for (last, broken) in [(7, false), (8, true)] {
            let mut story = Story::new();
            let topic = NewTopic {
                name: "t".to_owned(),
                partitions: 1,
                retention: Retention::default(),
                compaction: None,
            };
            let created = EventKind::Ok(Reply::Created { id: TopicId([7; 16]) });
            story.ask(1, Call::CreateTopic(topic), created);
            story.ask(1, Call::Metadata, shown(7)).ask(1, Call::Metadata, shown(last));
            story.mark(Mark::ReadBackDone);
            assert_eq!(story.is_broken("I1"), broken, "{last}");
        }
    }
}
