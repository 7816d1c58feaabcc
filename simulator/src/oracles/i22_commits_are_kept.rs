//! I22: a committed offset is never lost: what a group is told it has committed is what somebody
//! committed, and nothing that was acknowledged later had replaced it before the question.

use std::collections::BTreeMap;

use super::{Case, Findings, Oracle};
use crate::history::event::{CommittedOffset, GroupAsk, GroupReply};
use crate::ledger::{GroupEnd, Moment};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I22", about: "a committed offset is never lost", check };

/// Group, topic and partition.
type Key<'a> = (&'a str, &'a str, i32);

/// One commit of one partition.
#[derive(Clone, Copy)]
struct Write {
    invoked: Moment,
    /// When it was acknowledged, if it was.
    acked: Option<Moment>,
    offset: i64,
}

fn check(case: &Case<'_>, findings: &mut Findings) {
    if case.may_lose() {
        return;
    }
    let mut writes: BTreeMap<Key<'_>, Vec<Write>> = BTreeMap::new();
    for op in &case.ledger.groups {
        let GroupAsk::Commit(offsets) = &op.call.what else { continue };
        let acked = match op.end {
            GroupEnd::Ok(at, _) => Some(at),
            GroupEnd::Unknown => None,
            GroupEnd::Refused => continue,
        };
        for of in offsets {
            let key = (op.call.group.as_str(), of.topic.as_str(), of.partition);
            let write = Write { invoked: op.invoked, acked, offset: of.offset };
            writes.entry(key).or_default().push(write);
        }
    }
    for op in &case.ledger.groups {
        let GroupEnd::Ok(at, GroupReply::Offsets(shown)) = op.end else { continue };
        for (key, writes) in writes.iter().filter(|(key, _)| key.0 == op.call.group) {
            let is_it = |of: &&CommittedOffset| of.topic == key.1 && of.partition == key.2;
            let shown = shown.iter().find(is_it).map_or(-1, |of| of.offset);
            if let Some(what) = contradicts(writes, shown, (op.invoked, at)) {
                let (group, topic, partition) = key;
                findings.add(at.at_ns, format!("{group} {topic}-{partition}: {what}"));
            }
        }
        for of in shown {
            let key = (op.call.group.as_str(), of.topic.as_str(), of.partition);
            if of.offset >= 0 && !writes.contains_key(&key) {
                let (group, topic, partition) = key;
                let text =
                    format!("{group} {topic}-{partition}: {} was never committed", of.offset);
                findings.add(at.at_ns, text);
            }
        }
    }
}

/// Why `shown` cannot have been the last commit at any moment between question and answer.
fn contradicts(
    writes: &[Write],
    shown: i64,
    (asked, answered): (Moment, Moment),
) -> Option<String> {
    let done = |write: &&Write| write.acked.is_some_and(|acked| acked < asked);
    if shown < 0 {
        let lost = writes.iter().filter(done).map(|write| write.offset).next_back();
        return lost.map(|offset| format!("shows nothing after {offset} was acknowledged"));
    }
    let mut candidates = writes.iter().filter(|write| write.offset == shown);
    let is_possible = |write: &Write| {
        let replaced =
            |later: &Write| write.acked.is_some_and(|acked| acked < later.invoked) && done(&later);
        write.invoked < answered && !writes.iter().any(replaced)
    };
    match candidates.any(is_possible) {
        true => None,
        false => {
            let last = writes.iter().filter(done).map(|write| write.offset).next_back();
            Some(format!("shows {shown}, the last that was acknowledged is {last:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::history::event::CommittedOffset;
    use crate::history::event::{Call, EventKind, GroupAsk, GroupCall, GroupReply, Reply};
    use crate::story::{Story, failure};

    fn of(offset: i64) -> CommittedOffset {
        CommittedOffset { topic: "t".to_owned(), partition: 0, offset }
    }

    fn ask(story: &mut Story, what: GroupAsk, end: EventKind) {
        let (group, member) = ("g".to_owned(), "m".to_owned());
        story.ask(1, Call::Group(GroupCall { group, member, generation: 1, what }), end);
    }

    fn commit(story: &mut Story, offset: i64, is_acked: bool) {
        let end = match is_acked {
            true => EventKind::Ok(Reply::Group(GroupReply::Committed)),
            false => EventKind::Info(failure()),
        };
        ask(story, GroupAsk::Commit(vec![of(offset)]), end);
    }

    #[test]
    fn only_the_last_commit_or_an_unknown_one_may_be_shown() {
        for (shown, broken) in [
            (vec![of(5)], true),
            (vec![of(7)], false),
            (vec![of(9)], false),
            (vec![], true),
            (vec![of(6)], true),
            (vec![of(7), CommittedOffset { partition: 1, ..of(3) }], true),
        ] {
            let mut story = Story::new();
            commit(&mut story, 5, true);
            commit(&mut story, 7, true);
            commit(&mut story, 9, false);
            let end = EventKind::Ok(Reply::Group(GroupReply::Offsets(shown.clone())));
            ask(&mut story, GroupAsk::FetchOffsets, end);
            assert_eq!(story.is_broken("I22"), broken, "{shown:?}");
        }
    }
}
