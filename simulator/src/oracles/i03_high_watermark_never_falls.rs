//! I3: the high watermark never falls, and is above everything that was acknowledged or shown.
//!
//! Only what ended before a question was asked binds its answer. In expect-loss runs a crash may
//! take the log's end with it, so only one incarnation's answers are compared.

use super::{Case, Findings, Oracle};
use crate::ledger::{EndSeen, Moment, Outcome, PartitionLedger};

pub(super) const ORACLE: Oracle = Oracle {
    id: "I3",
    about: "the high watermark never falls, nor below what was acknowledged or shown",
    check,
};

fn check(case: &Case<'_>, findings: &mut Findings) {
    for (id, partition) in &case.ledger.partitions {
        let mut floors = floors(case, partition);
        let mut readings = partition.high_watermarks.clone();
        for fetch in &partition.fetches {
            let offset = fetch.reply.high_watermark;
            readings.push(EndSeen { invoked: fetch.invoked, at: fetch.at, offset });
            let shown = fetch.reply.batches.last().map_or(-1, |batch| batch.last_offset);
            if shown >= offset {
                let topic = &partition.topic;
                let text = format!("{topic} {id}: offset {shown} was shown at watermark {offset}");
                findings.add(fetch.at.at_ns, text);
            }
        }
        floors.extend(readings.iter().map(|reading| (reading.at, reading.offset)));
        floors.sort_unstable();
        readings.sort_by_key(|reading| reading.invoked);
        let crashes = if case.may_lose() { case.ledger.crashes.as_slice() } else { &[] };
        let below = below_their_floor(&readings, &floors, (crashes, &mut *findings));
        for (reading, floor, since) in below {
            let (topic, offset) = (&partition.topic, reading.offset);
            let text = format!(
                "{topic} {id}: the high watermark is {offset}, and was at least {floor} at {} ns",
                since.at_ns
            );
            findings.add(reading.at.at_ns, text);
        }
    }
}

/// From which moment on the high watermark is known to be at least so high.
fn floors(case: &Case<'_>, partition: &PartitionLedger<'_>) -> Vec<(Moment, i64)> {
    let mut floors = Vec::new();
    for sent in case.ledger.sent_to(partition) {
        if let Outcome::Acked { base_offset, at } = sent.outcome {
            let count = i64::try_from(sent.call.values.len()).expect("a small batch");
            floors.push((at, base_offset + count));
        }
    }
    floors
}

/// The readings that are below a floor of before their invocation. Both lists are in order.
fn below_their_floor(
    readings: &[EndSeen],
    floors: &[(Moment, i64)],
    (crashes, findings): (&[Moment], &mut Findings),
) -> Vec<(EndSeen, i64, Moment)> {
    let mut found = Vec::new();
    let mut highest = (i64::MIN, Moment::default());
    let mut floors = floors.iter().peekable();
    for reading in readings {
        while let Some((at, floor)) = floors.next_if(|floor| floor.0 < reading.invoked) {
            if *floor >= highest.0 {
                highest = (*floor, *at);
            }
        }
        findings.judged(usize::from(highest.0 > i64::MIN));
        let crashed = crashes.iter().any(|at| highest.1 < *at && *at < reading.at);
        if reading.offset < highest.0 && !crashed {
            found.push((*reading, highest.0, highest.1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Contract;
    use crate::history::event::{CrashKind, Mark};
    use crate::story::{Story, batch, partition};

    #[test]
    fn a_falling_watermark_fires_also_across_a_restart() {
        for crash in [false, true] {
            for contract in [Contract::FsyncAck, Contract::ExpectLoss] {
                for (second, falls) in [(5, false), (6, false), (4, true)] {
                    let mut story = Story::new();
                    story.evidence.contract = contract;
                    story.fetched(0, 5, vec![]);
                    if crash {
                        story.mark(Mark::Crashed { node: 1, kind: CrashKind::PowerCut });
                    }
                    story.fetched(0, second, vec![]);
                    let broken = falls && !(crash && contract == Contract::ExpectLoss);
                    assert_eq!(story.is_broken("I3"), broken, "{crash} {contract:?} {second}");
                }
            }
        }
    }

    #[test]
    fn a_watermark_below_what_is_acked_or_shown_fires() {
        let mut story = Story::new();
        story.acked(&[1, 2], 3).fetched(0, 4, vec![]);
        assert!(story.is_broken("I3"));
        let mut story = Story::new();
        story.unknown(&[1]).fetched(0, 0, vec![batch(0, &[1])]);
        assert!(story.is_broken("I3"));
    }

    #[test]
    fn answers_to_questions_that_overlap_bind_nothing() {
        let mut story = Story::new();
        story.fetched_by(2, partition(1), (0, 0, 5, vec![]));
        story.fetched_by(3, partition(1), (0, 0, 4, vec![]));
        // Both questions were asked before either answer came.
        let times = [0, 2, 1, 3].map(|from| story.evidence.events[from].clone());
        let shuffled = [times[0].clone(), times[1].clone(), times[2].clone(), times[3].clone()];
        story.evidence.events = shuffled.to_vec();
        for (event, at_ns) in story.evidence.events.iter_mut().zip(1..) {
            event.at_ns = at_ns;
        }
        assert!(!story.is_broken("I3"));
    }
}
