//! I23: commits of old generations are refused: once a member has its assignment of a generation,
//! no member of an older one commits any more. A generation that nobody was assigned anything in
//! may be forgotten by a crash.

use std::collections::BTreeMap;

use super::{Case, Findings, Oracle};
use crate::history::event::{GroupAsk, GroupReply};
use crate::ledger::{GroupEnd, Moment};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I23", about: "commits of old generations are refused", check };

fn check(case: &Case<'_>, findings: &mut Findings) {
    if case.may_lose() {
        return;
    }
    // When somebody was first assigned something in each generation of a group.
    let mut known: BTreeMap<&str, BTreeMap<i32, Moment>> = BTreeMap::new();
    for op in &case.ledger.groups {
        if let GroupEnd::Ok(at, GroupReply::Assigned(_)) = op.end {
            let of_group = known.entry(&op.call.group).or_default();
            let first = of_group.entry(op.call.generation).or_insert(at);
            *first = at.min(*first);
        }
    }
    for op in &case.ledger.groups {
        let (GroupAsk::Commit(_), 0..) = (&op.call.what, op.call.generation) else { continue };
        let of_group = known.get(op.call.group.as_str());
        let mut newer = of_group.into_iter().flat_map(|all| all.range(op.call.generation + 1..));
        let newer = newer.find(|(_, first)| **first < op.invoked);
        // A refusal is what is wanted of it.
        findings.judged(usize::from(newer.is_some() && op.end != GroupEnd::Unknown));
        if let (Some((generation, _)), GroupEnd::Ok(at, _)) = (newer, op.end) {
            let (group, old) = (&op.call.group, op.call.generation);
            let text = format!("{group}: generation {old} commits in generation {generation}");
            findings.add(at.at_ns, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::history::event::{Call, EventKind, GroupAsk, GroupCall, GroupReply, Reply};
    use crate::story::Story;

    fn ask(story: &mut Story, generation: i32, (what, reply): (GroupAsk, GroupReply)) {
        let (group, member) = ("g".to_owned(), "m".to_owned());
        let call = Call::Group(GroupCall { group, member, generation, what });
        story.ask(1, call, EventKind::Ok(Reply::Group(reply)));
    }

    #[test]
    fn a_commit_of_an_older_generation_fires() {
        for (generation, broken) in [(1, true), (2, false), (-1, false)] {
            let mut story = Story::new();
            let assigned = || (GroupAsk::Sync, GroupReply::Assigned(Vec::new()));
            ask(&mut story, 1, assigned());
            ask(&mut story, 1, (GroupAsk::Commit(Vec::new()), GroupReply::Committed));
            ask(&mut story, 2, assigned());
            let commit = (GroupAsk::Commit(Vec::new()), GroupReply::Committed);
            ask(&mut story, generation, commit);
            assert_eq!(story.is_broken("I23"), broken, "{generation}");
        }
    }
}
