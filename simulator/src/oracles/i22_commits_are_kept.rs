//! I22: a committed offset is never lost: what a group is told it has committed is what somebody
//! committed for that very topic, and nothing that was acknowledged later had replaced it before
//! the question. An offset goes with its topic: another one of the same name has none.

use std::collections::BTreeMap;

use rivven_core::ids::TopicId;

use super::{Case, Findings, Oracle};
use crate::history::event::{CommittedOffset, GroupAsk, GroupReply};
use crate::ledger::{GroupEnd, GroupOp, Moment};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I22", about: "a committed offset is never lost", check };

/// Group, topic and partition.
type Key<'a> = (&'a str, TopicId, i32);

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
    let writes = writes(case);
    for op in &case.ledger.groups {
        let GroupEnd::Ok(at, GroupReply::Offsets(shown)) = op.end else { continue };
        let group = op.call.group.as_str();
        for (key, writes) in writes.range((group, TopicId::NIL, i32::MIN)..) {
            if key.0 != group {
                break;
            }
            let is_it = |of: &CommittedOffset| (of.id, of.partition) == (key.1, key.2);
            if matches!(&op.call.what, GroupAsk::FetchOffsetsOf(asked) if !asked.iter().any(is_it))
            {
                continue;
            }
            let shown = shown.iter().find(|of| is_it(of)).map_or(-1, |of| of.offset);
            // A topic that goes takes its offsets along.
            if shown < 0 && may_be_deleted(case, key.1, at) {
                continue;
            }
            findings.judged(1);
            if let Some(what) = contradicts(writes, shown, (op.invoked, at)) {
                findings.add(at.at_ns, format!("{}: {what}", name(case, *key)));
            }
        }
        let never = |of: &&CommittedOffset| {
            of.offset >= 0 && !writes.contains_key(&(group, of.id, of.partition))
        };
        for of in shown.iter().filter(never) {
            let key = (group, of.id, of.partition);
            let text = format!("{}: {} was never committed", name(case, key), of.offset);
            findings.add(at.at_ns, text);
        }
    }
}

/// All commits that took effect or may have.
fn writes<'a>(case: &Case<'a>) -> BTreeMap<Key<'a>, Vec<Write>> {
    let mut writes: BTreeMap<Key<'_>, Vec<Write>> = BTreeMap::new();
    for GroupOp { call, end, invoked, .. } in &case.ledger.groups {
        let GroupAsk::Commit(offsets) = &call.what else { continue };
        let acked = match end {
            GroupEnd::Ok(at, _) => Some(*at),
            GroupEnd::Unknown => None,
            GroupEnd::Refused => continue,
        };
        for of in offsets {
            let write = Write { invoked: *invoked, acked, offset: of.offset };
            writes.entry((&call.group, of.id, of.partition)).or_default().push(write);
        }
    }
    writes
}

fn may_be_deleted(case: &Case<'_>, topic: TopicId, at: Moment) -> bool {
    let topic = case.ledger.topics.get(&topic);
    topic.and_then(|topic| topic.delete_invoked).is_some_and(|deleted| deleted < at)
}

fn name(case: &Case<'_>, (group, topic, partition): Key<'_>) -> String {
    let name = case.ledger.topics.get(&topic).map_or("", |topic| topic.name.as_str());
    format!("{group} {name} ({topic}) {partition}")
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
    use crate::story::{Story, failure, partition};

    fn of(offset: i64) -> CommittedOffset {
        CommittedOffset { topic: "t".to_owned(), id: partition(1).topic, partition: 0, offset }
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

    #[test]
    fn an_offset_that_outlives_its_topic_fires() {
        for (id, shown, broken) in [(1, 5, false), (1, -1, false), (2, -1, false), (2, 5, true)] {
            let mut story = Story::new();
            commit(&mut story, 5, true);
            let call = Call::DeleteTopic { name: "t".to_owned(), id: partition(1).topic };
            story.ask(3, call, EventKind::Ok(Reply::Deleted));
            let of = CommittedOffset { id: partition(id).topic, ..of(shown) };
            let end = EventKind::Ok(Reply::Group(GroupReply::Offsets(vec![of])));
            ask(&mut story, GroupAsk::FetchOffsets, end);
            assert_eq!(story.is_broken("I22"), broken, "{id} {shown}");
        }
    }

    #[test]
    fn who_asks_for_one_partition_hears_nothing_of_others() {
        for (asked, broken) in [(0, true), (1, false)] {
            let mut story = Story::new();
            commit(&mut story, 5, true);
            let asked = vec![CommittedOffset { partition: asked, ..of(-1) }];
            let end = EventKind::Ok(Reply::Group(GroupReply::Offsets(asked.clone())));
            ask(&mut story, GroupAsk::FetchOffsetsOf(asked), end);
            assert_eq!(story.is_broken("I22"), broken);
        }
    }
}
