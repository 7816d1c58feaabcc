//! I49: committed offsets are linearizable: for each group and partition, one order of all commits
//! and questions that keeps to real time explains every answer, through all crashes. Other than
//! I22, which looks at each answer by itself, it sees that answers contradict each other: an offset
//! that is shown, and then an older one.

use super::{Case, Findings, Oracle};
use crate::linear::offsets::{Register, histories};
use crate::linear::{STEPS_MAX, Search};

pub(super) const ORACLE: Oracle = Oracle {
    id: "I49",
    about: "one order in real time explains what is seen of each committed offset",
    check,
};

fn check(case: &Case<'_>, findings: &mut Findings) {
    if case.may_lose() {
        return;
    }
    let mut search = Search::new(STEPS_MAX);
    for ((group, topic, partition), operations) in histories(case.ledger) {
        if let Err(what) = search.check::<Register>(operations) {
            let text = format!("{group} {topic} {partition}: {}", what.text);
            findings.add(what.at_ns, text);
        }
    }
    findings.judged(usize::try_from(search.looked.operations).unwrap_or(usize::MAX));
    findings.looked = search.looked;
}

#[cfg(test)]
mod tests {
    use crate::history::event::{
        Call, CommittedOffset, EventKind, GroupAsk, GroupCall, GroupReply, Reply,
    };
    use crate::story::{Story, committed, failure, partition};

    /// What members of group "g" do to partition 1, or see of it (-1: nothing).
    #[derive(Clone, Copy, Debug)]
    enum Told {
        Commit(i64),
        MaybeCommit(i64),
        RefusedCommit(i64),
        Shown(i64),
        TopicDeleted,
    }
    use Told::{Commit, MaybeCommit, RefusedCommit, Shown, TopicDeleted};

    fn ask(told: Told) -> (Call, EventKind) {
        let of_group = |what: GroupAsk| {
            let (group, member) = ("g".to_owned(), "m".to_owned());
            Call::Group(GroupCall { group, member, generation: 1, what })
        };
        let commit = |offset: i64| of_group(GroupAsk::Commit(vec![committed(offset)]));
        let ok = |reply: GroupReply| EventKind::Ok(Reply::Group(reply));
        match told {
            Commit(offset) => (commit(offset), ok(GroupReply::Committed)),
            MaybeCommit(offset) => (commit(offset), EventKind::Info(failure())),
            RefusedCommit(offset) => (commit(offset), EventKind::Fail(failure())),
            Shown(offset) => {
                let shown = if offset < 0 { vec![] } else { vec![committed(offset)] };
                (of_group(GroupAsk::FetchOffsets), ok(GroupReply::Offsets(shown)))
            }
            TopicDeleted => {
                let (name, id) = ("t".to_owned(), partition(1).topic);
                (Call::DeleteTopic { name, id }, EventKind::Ok(Reply::Deleted))
            }
        }
    }

    fn story(told: &[Told]) -> Story {
        Story::of_asks(told.iter().copied().map(ask))
    }

    #[test]
    fn answers_that_no_order_explains_fire() {
        for (told, broken) in [
            (&[Shown(-1), Commit(5), Shown(5), Commit(7), Shown(7)][..], false),
            (&[Commit(5), Commit(7), Shown(5)], true),
            (&[Commit(5), Shown(-1)], true),
            (&[Shown(5)], true),
            (&[Commit(5), RefusedCommit(7), Shown(7)], true),
            // A group may go back.
            (&[Commit(7), Commit(5), Shown(5)], false),
            // Each of these may be the last commit, but not one after the other.
            (&[Commit(5), MaybeCommit(7), Shown(7), Shown(5)], true),
            (&[Commit(5), MaybeCommit(7), Shown(5), Shown(7)], false),
            (&[Commit(5), MaybeCommit(7), Shown(7), Commit(9), Shown(7)], true),
            (&[Commit(5), MaybeCommit(7), Commit(9), Shown(7)], false),
            (&[Commit(5), MaybeCommit(7), MaybeCommit(7), Shown(7), Commit(9), Shown(7)], false),
            (&[Commit(5), TopicDeleted, Shown(-1), Shown(-1)], false),
            (&[Commit(5), TopicDeleted, Shown(5)], true),
            (&[Commit(5), TopicDeleted, Commit(6), Shown(-1)], false),
        ] {
            assert_eq!(story(told).is_broken("I49"), broken, "{told:?}");
        }
    }

    #[test]
    fn who_asks_for_one_partition_hears_nothing_of_others() {
        for (asked, broken) in [(0, true), (1, false)] {
            let mut story = story(&[Commit(5)]);
            let asked = vec![CommittedOffset { partition: asked, ..committed(-1) }];
            let reply = GroupReply::Offsets(asked.clone());
            story.of_group(GroupAsk::FetchOffsetsOf(asked), reply);
            assert_eq!(story.is_broken("I49"), broken);
        }
    }
}
