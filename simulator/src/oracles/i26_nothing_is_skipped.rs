//! I26: nothing is skipped on rebalance: before a member commits an offset, each record below it
//! was given out by some member of its group; and when nobody writes any more, the group reads each
//! partition to its end, and every record of the log was given out. Records may come twice.

use std::collections::{BTreeMap, BTreeSet};

use rivven_core::ids::{PartitionId, TopicId};

use super::{Case, Findings, Oracle};
use crate::history::event::{CommittedOffset, ConsumerSaw, GroupAsk};
use crate::ledger::{GroupEndSeen, GroupOp, Told};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I26", about: "nothing is skipped on rebalance", check };

/// The offsets of a partition that a group has given out.
#[derive(Default)]
struct Given {
    /// All below it were given out, or are gone.
    through: i64,
    beyond: BTreeSet<i64>,
}

impl Given {
    fn add(&mut self, offset: i64) {
        if offset >= self.through {
            self.beyond.insert(offset);
            self.advance();
        }
    }

    fn skip_to(&mut self, offset: i64) {
        if offset > self.through {
            self.through = offset;
            self.beyond = self.beyond.split_off(&offset);
            self.advance();
        }
    }

    fn advance(&mut self) {
        while self.beyond.remove(&self.through) {
            self.through += 1;
        }
    }

    fn has(&self, offset: i64) -> bool {
        offset < self.through || self.beyond.contains(&offset)
    }
}

/// By group and partition.
type All<'a> = BTreeMap<(&'a str, PartitionId), Given>;

fn check(case: &Case<'_>, findings: &mut Findings) {
    if case.may_lose() || case.ledger.told.is_empty() {
        return;
    }
    let groups: BTreeSet<&str> = case.ledger.told.iter().map(|told| told.group).collect();
    let mut all = All::new();
    let mut told = case.ledger.told.iter().peekable();
    for op in case.ledger.groups.iter().filter(|op| groups.contains(op.call.group.as_str())) {
        let GroupAsk::Commit(offsets) = &op.call.what else { continue };
        while let Some(told) = told.next_if(|told| told.at < op.invoked) {
            take(case, told, &mut all);
        }
        for of in offsets {
            check_commit(case, (op, of), &mut all, findings);
        }
    }
    told.for_each(|told| take(case, told, &mut all));
    for end in &case.ledger.group_ends {
        check_end(case, end, &mut all, findings);
    }
    let is_over = case.ledger.read_back_done.is_some();
    let has_logs = case.ledger.partitions.values().any(|known| known.final_log.is_some());
    if case.ledger.group_ends.is_empty() && is_over && has_logs {
        findings.add(case.evidence.end_ns, "nobody saw how far the groups came".to_owned());
    }
}

fn take<'a>(case: &Case<'a>, told: &Told<'a>, all: &mut All<'a>) {
    let ConsumerSaw::Given(records) = told.what else { return };
    for given in records {
        // What was never sent is I25's.
        if let Ok(place) = case.ledger.place_of(given) {
            all.entry((told.group, place)).or_default().add(given.record.offset);
        }
    }
}

fn check_commit<'a>(
    case: &Case<'a>,
    (op, of): (&GroupOp<'a>, &CommittedOffset),
    all: &mut All<'a>,
    findings: &mut Findings,
) {
    // A topic without an id is none, and refused.
    let Ok(index) = u32::try_from(of.partition) else { return };
    if of.id == TopicId::NIL {
        return;
    }
    let place = PartitionId { topic: of.id, index };
    let given = all.entry((&op.call.group, place)).or_default();
    given.skip_to(case.ledger.removed_below(place, op.invoked));
    findings.judged(usize::from(of.offset > 0));
    if given.through < of.offset {
        let (group, topic, partition) = (&op.call.group, &of.topic, of.partition);
        let text = format!(
            "{group}: client {} commits {} of {topic}-{partition} ({}), and {} was not given out",
            op.client, of.offset, of.id, given.through
        );
        findings.add(op.invoked.at_ns, text);
    }
}

fn check_end<'a>(
    case: &Case<'a>,
    end: &GroupEndSeen<'a>,
    all: &mut All<'a>,
    findings: &mut Findings,
) {
    let GroupEndSeen { at, group, partition, end, reached } = *end;
    if !reached {
        let text = format!("{group} has not read {partition} to its end at {end} in time");
        findings.add(at.at_ns, text);
        return;
    }
    let known = case.ledger.partitions.get(&partition);
    let Some(log) = known.and_then(|known| known.final_log.as_ref()) else { return };
    let given = all.entry((group, partition)).or_default();
    given.skip_to(case.ledger.removed_below(partition, at));
    let below = log.records().filter(|record| record.offset < end);
    let missing = below.inspect(|_| findings.judged(1)).filter(|one| !given.has(one.offset));
    let missing: Vec<i64> = missing.map(|record| record.offset).collect();
    if let Some(first) = missing.first() {
        let count = missing.len();
        let text = format!("{group}: {count} records of {partition} were skipped, first {first}");
        findings.add(at.at_ns, text);
    }
}

#[cfg(test)]
mod tests {
    use crate::history::event::{GroupAsk, GroupReply, Mark};
    use crate::story::{Story, batch, committed, partition};

    fn commit(story: &mut Story, offset: i64) {
        story.of_group(GroupAsk::Commit(vec![committed(offset)]), GroupReply::Committed);
    }

    fn end(story: &mut Story, reached: bool) {
        let (group, partition) = ("g".to_owned(), partition(1));
        story.mark(Mark::GroupEnd { group, partition, end: 4, reached });
        story.read_back(vec![batch(0, &[1, 2, 3, 4])]);
    }

    #[test]
    fn a_commit_of_what_was_not_given_out_fires() {
        for (given, offset, broken) in [
            (&[(0, 1), (1, 2)][..], 2, false),
            (&[(0, 1), (1, 2)], 3, true),
            (&[(0, 1), (2, 3)], 3, true),
            (&[(0, 1), (2, 3), (1, 2)], 3, false),
            (&[], 0, false),
        ] {
            let mut story = Story::new();
            story.acked(&[1, 2, 3, 4], 0);
            story.assigned(1).given(1, given);
            commit(&mut story, offset);
            story.given(1, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
            assert_eq!(story.is_broken("I26"), broken, "{given:?} {offset}");
        }
    }

    #[test]
    fn a_record_that_no_member_gave_out_fires() {
        let all = [(0, 1), (1, 2), (2, 3), (3, 4)];
        for (given, reached, broken) in
            [(&all[..], true, false), (&all[..], false, true), (&all[1..], true, true)]
        {
            let mut story = Story::new();
            story.acked(&[1, 2, 3, 4], 0);
            let (one, other) = given.split_at(2);
            story.assigned(1).given(1, one).assigned(2).given(2, other);
            end(&mut story, reached);
            assert_eq!(story.is_broken("I26"), broken, "{given:?} {reached}");
        }
    }

    #[test]
    fn a_run_that_never_asked_how_far_groups_came_fires() {
        let mut story = Story::new();
        story.acked(&[1], 0).assigned(1).given(1, &[(0, 1)]);
        story.read_back(vec![batch(0, &[1])]);
        assert!(story.is_broken("I26"));
    }
}
