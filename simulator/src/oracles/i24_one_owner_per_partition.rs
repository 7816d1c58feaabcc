//! I24: a partition has at most one owner in a generation, and a generation has one assignment,
//! whatever crashes in between. A consumer gives nothing more out of a partition once a later owner
//! has begun to.

use std::collections::BTreeMap;

use super::{Case, Findings, Oracle};
use crate::history::event::{ConsumerSaw, GroupReply};
use crate::ledger::GroupEnd;

pub(super) const ORACLE: Oracle =
    Oracle { id: "I24", about: "a partition has one owner in a generation", check };

/// Group and generation, and a partition of it.
type Owned<'a> = (&'a str, i32, &'a str, i32);

fn check(case: &Case<'_>, findings: &mut Findings) {
    if case.may_lose() {
        return;
    }
    check_turns(case, findings);
    let mut owners: BTreeMap<Owned<'_>, &str> = BTreeMap::new();
    let mut members: BTreeMap<(&str, i32), &str> = BTreeMap::new();
    for op in &case.ledger.groups {
        let GroupEnd::Ok(at, GroupReply::Assigned(partitions)) = op.end else { continue };
        let generation = (op.call.group.as_str(), op.call.generation);
        let first = *members.entry(generation).or_insert(&op.call.member);
        if first != op.call.member {
            findings.judged(partitions.len());
        }
        for (topic, partition) in partitions {
            let owned = (op.call.group.as_str(), op.call.generation, topic.as_str(), *partition);
            let member = op.call.member.as_str();
            let owner = *owners.entry(owned).or_insert(member);
            // A static member that comes back has another id, and what was its own.
            if owner != member && !is_one_instance(owner, member) {
                let (group, generation, topic, partition) = owned;
                let text = format!(
                    "{group}, generation {generation}: {topic}-{partition} is {owner}'s and \
                     {member}'s"
                );
                findings.add(at.at_ns, text);
            }
        }
    }
}

/// Each owner of a partition begins after the one before has ended.
fn check_turns(case: &Case<'_>, findings: &mut Findings) {
    let mut stints: BTreeMap<(u64, &str, i32), usize> = BTreeMap::new();
    let mut newest: BTreeMap<(&str, &str, i32), usize> = BTreeMap::new();
    for (number, told) in case.ledger.told.iter().enumerate() {
        match told.what {
            ConsumerSaw::Assigned(partitions) => {
                for (topic, partition) in partitions {
                    stints.insert((told.consumer, topic, *partition), number);
                }
            }
            ConsumerSaw::Given(records) => {
                for given in records {
                    let (topic, partition) = (given.topic.as_str(), given.partition);
                    // What nobody was assigned is I25's.
                    let stint = stints.get(&(told.consumer, topic, partition));
                    let Some(stint) = stint.copied() else { continue };
                    let newest = newest.entry((told.group, topic, partition)).or_insert(stint);
                    findings.judged(usize::from(*newest != stint));
                    if stint < *newest {
                        let (group, offset) = (told.group, given.record.offset);
                        let text = format!(
                            "{group}: {topic}-{partition} at {offset} is given out by client {} \
                             after its next owner has begun",
                            told.client
                        );
                        findings.add(told.at.at_ns, text);
                    }
                    *newest = stint.max(*newest);
                }
            }
            ConsumerSaw::Revoked(_) | ConsumerSaw::Lost(_) | ConsumerSaw::Ended => {}
        }
    }
}

/// Whether two ids are of one static member: theirs begin with its instance.
fn is_one_instance(one: &str, other: &str) -> bool {
    let instance = |id: &str| {
        let mut parts = id.strip_prefix("instance-")?.splitn(2, '-');
        parts.next().map(str::to_owned)
    };
    instance(one).is_some() && instance(one) == instance(other)
}

#[cfg(test)]
mod tests {
    use crate::history::event::{Call, EventKind, GroupAsk, GroupCall, GroupReply, Reply};
    use crate::story::Story;

    #[test]
    fn two_owners_of_a_partition_fire() {
        for (generation, member, partition, broken) in
            [(1, "b", 0, true), (1, "a", 0, false), (2, "b", 0, false), (1, "b", 1, false)]
        {
            let mut story = Story::new();
            for (generation, member, partition) in [(1, "a", 0), (generation, member, partition)] {
                let (group, member) = ("g".to_owned(), member.to_owned());
                let call = GroupCall { group, member, generation, what: GroupAsk::Sync };
                let reply = GroupReply::Assigned(vec![("t".to_owned(), partition)]);
                story.ask(1, Call::Group(call), EventKind::Ok(Reply::Group(reply)));
            }
            assert_eq!(story.is_broken("I24"), broken, "{generation} {member} {partition}");
        }
    }

    #[test]
    fn a_static_member_takes_its_own_place() {
        let mut story = Story::new();
        for member in ["instance-7-aa", "instance-7-bb"] {
            let (group, member) = ("g".to_owned(), member.to_owned());
            let call = GroupCall { group, member, generation: 1, what: GroupAsk::Sync };
            let reply = GroupReply::Assigned(vec![("t".to_owned(), 0)]);
            story.ask(1, Call::Group(call), EventKind::Ok(Reply::Group(reply)));
        }
        assert!(!story.is_broken("I24"));
    }

    #[test]
    fn an_owner_that_goes_on_after_the_next_one_has_begun_fires() {
        for (order, broken) in [(&[1, 1, 2, 2][..], false), (&[1, 2, 1], true), (&[2, 1], true)] {
            let mut story = Story::new();
            story.acked(&[1, 2, 3, 4], 0);
            for consumer in [1, 2] {
                story.assigned(consumer);
            }
            for consumer in order {
                story.given(*consumer, &[(0, 1)]);
            }
            assert_eq!(story.is_broken("I24"), broken, "{order:?}");
        }
    }
}
