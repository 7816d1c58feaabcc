//! I10: offsets are dense: an answer begins at the offset asked for, and no offset is missing or
//! doubled inside or between its batches; the read-back has none missing either. Of a compacted
//! topic offsets may be missing, but they rise.

use rivven_core::ids::PartitionId;

use super::{Case, Findings, Oracle};
use crate::ledger::{FetchSeen, FinalLog};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I10", about: "offsets are dense in every answer and in the read-back", check };

fn check(case: &Case<'_>, findings: &mut Findings) {
    for fetch in case.ledger.all_fetches() {
        let has_gaps = case.ledger.compaction.contains_key(&fetch.call.topic);
        findings.judged(fetch.reply.batches.len());
        if let Err(what) = check_answer(fetch, has_gaps) {
            let partition = fetch.call.partition;
            let text = format!("{} {partition}: {what}", fetch.call.topic);
            findings.add(fetch.at.at_ns, text);
        }
    }
    for (id, partition) in &case.ledger.partitions {
        if let Some(log) = &partition.final_log {
            check_log(case, (*id, &partition.topic, log), findings);
        }
    }
}

fn check_answer(fetch: &FetchSeen<'_>, has_gaps: bool) -> Result<(), String> {
    let mut expected = None;
    for batch in &fetch.reply.batches {
        let (base, last) = (batch.base_offset, batch.last_offset);
        let asked = fetch.call.offset;
        match expected {
            None if asked > last || asked < base && !has_gaps => {
                return Err(format!("offset {asked} was asked, {base} to {last} answered"));
            }
            Some(next) if base < next || base > next && !has_gaps => {
                return Err(format!("after offset {} comes {base}", next - 1));
            }
            None | Some(_) => expected = Some(last + 1),
        }
        let offsets = || batch.records.iter().map(|record| record.offset);
        let is_right = match has_gaps {
            true => offsets().is_sorted_by(|a, b| a < b) && offsets().all(|at| at <= last),
            false => offsets().eq(base..=last),
        };
        if batch.sound && !is_right {
            return Err(format!("the batch {base} to {last} has holes or doubles"));
        }
    }
    Ok(())
}

fn check_log(
    case: &Case<'_>,
    (id, topic, log): (PartitionId, &str, &FinalLog<'_>),
    findings: &mut Findings,
) {
    let has_gaps = case.ledger.compaction.contains_key(topic);
    let mut next = log.log_start;
    findings.judged(log.batches.len());
    for batch in &log.batches {
        let excused =
            case.may_lose() && (next..batch.base_offset).all(|at| log.gap_at(at).is_some());
        // The first batch may begin before the log start, which can lie inside it.
        let inside = batch.base_offset <= next && batch.last_offset >= next;
        let excused = excused || has_gaps && batch.base_offset > next;
        if batch.base_offset != next && !inside && !excused {
            let text = format!("{topic} {id}: after {next} comes {}", batch.base_offset);
            findings.add(log.at.at_ns, text);
        }
        next = batch.last_offset + 1;
    }
}

#[cfg(test)]
mod tests {
    use crate::story::{Story, batch};

    #[test]
    fn holes_doubles_and_answers_elsewhere_fire() {
        let mut hole = batch(0, &[1, 2]);
        hole.records[1].offset = 2;
        for (batches, broken) in [
            (vec![], false),
            (vec![batch(0, &[1, 2]), batch(2, &[3])], false),
            (vec![batch(0, &[1, 2]), batch(3, &[3])], true),
            (vec![batch(0, &[1, 2]), batch(1, &[3])], true),
            (vec![batch(2, &[3])], true),
            (vec![hole], true),
        ] {
            let mut story = Story::new();
            story.unknown(&[1, 2, 3]).fetched(1, 9, batches.clone());
            assert_eq!(story.is_broken("I10"), broken, "{batches:?}");
        }
    }

    #[test]
    fn a_hole_between_two_answers_of_the_read_back_fires() {
        let mut story = Story::new();
        story.unknown(&[1, 2]).read_back(vec![batch(0, &[1]), batch(2, &[2])]);
        assert!(story.is_broken("I10"));
    }
}
