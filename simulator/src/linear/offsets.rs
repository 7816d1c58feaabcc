//! What a group has committed for one partition of one incarnation of a topic, as an object: a
//! register that is empty at first, and for ever once its topic is gone.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};

use rivven_core::ids::TopicId;

use super::topics;
use super::{End, Object, Operation};
use crate::history::event::{CommittedOffset, GroupAsk, GroupReply};
use crate::ledger::{GroupEnd, GroupOp, Ledger, Moment};

/// Group, topic and partition.
pub(crate) type Key<'a> = (&'a str, TopicId, i32);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Kept {
    /// What the group is told.
    offset: Option<i64>,
    /// Whether the topic is gone.
    is_over: bool,
}

impl Debug for Kept {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.offset, self.is_over) {
            (Some(offset), _) => write!(f, "{offset}"),
            (None, false) => write!(f, "nothing"),
            (None, true) => write!(f, "the topic's end"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Commit(i64),
    /// `None`: the group has committed nothing.
    Show(Option<i64>),
    /// Nothing is committed any more, for the topic is gone.
    ShowNoMore,
    /// The topic goes.
    End,
}

pub(crate) struct Register;

impl Object for Register {
    type State = Kept;
    type Ask = Ask;

    fn fresh() -> Kept {
        Kept { offset: None, is_over: false }
    }

    fn step(ask: &Ask, state: &Kept) -> Option<Kept> {
        match ask {
            // It may still be stored, and is not shown.
            Ask::Commit(_) if state.is_over => Some(*state),
            Ask::Commit(offset) => Some(Kept { offset: Some(*offset), ..*state }),
            Ask::Show(shown) => (*shown == state.offset).then_some(*state),
            Ask::ShowNoMore => state.is_over.then_some(*state),
            Ask::End => Some(Kept { offset: None, is_over: true }),
        }
    }

    fn settles(ask: &Ask) -> Option<Kept> {
        let (offset, is_over) = match ask {
            Ask::Commit(offset) => (Some(*offset), false),
            Ask::Show(shown) => (*shown, false),
            Ask::ShowNoMore | Ask::End => (None, true),
        };
        Some(Kept { offset, is_over })
    }
}

/// Everything that was committed or asked, by key.
type Told<'a> = BTreeMap<Key<'a>, Vec<Operation<Ask>>>;

/// The history of each key that somebody committed, or was shown something of.
pub(crate) fn histories<'a>(ledger: &Ledger<'a>) -> Told<'a> {
    let mut told = keys(&ledger.groups);
    for op in &ledger.groups {
        match (&op.call.what, op.end) {
            (GroupAsk::Commit(offsets), end) => commit(op, (offsets, end), &mut told),
            (asked, GroupEnd::Ok(at, GroupReply::Offsets(shown))) => {
                show(op, (asked, shown, at), &mut told);
            }
            _ => {}
        }
    }
    let ends = topics::ends(&topics::histories(ledger));
    for ((_, topic, _), operations) in &mut told {
        if let Some((began, at)) = ends.get(topic) {
            end(operations, (*began, *at));
        }
        settle(operations);
    }
    told
}

fn keys<'a>(groups: &[GroupOp<'a>]) -> Told<'a> {
    let mut told = Told::new();
    for GroupOp { call, end, .. } in groups {
        let rows = match (&call.what, end) {
            (GroupAsk::Commit(offsets), _) => offsets,
            (_, GroupEnd::Ok(_, GroupReply::Offsets(shown))) => shown,
            _ => continue,
        };
        // Where an id is not known, several topics may be meant.
        let is_something = |of: &&CommittedOffset| of.offset >= 0 && of.id != TopicId::NIL;
        for of in rows.iter().filter(is_something) {
            told.entry((&call.group, of.id, of.partition)).or_default();
        }
    }
    told
}

fn commit<'a>(
    op: &GroupOp<'a>,
    (offsets, end): (&[CommittedOffset], GroupEnd<'_>),
    told: &mut Told<'a>,
) {
    let end = match end {
        GroupEnd::Ok(at, _) => End::At(at),
        GroupEnd::Unknown => End::Open { matters_until: Moment::default() },
        GroupEnd::Refused => return,
    };
    for of in offsets {
        if let Some(operations) = told.get_mut(&(op.call.group.as_str(), of.id, of.partition)) {
            operations.push(Operation { began: op.invoked, end, ask: Ask::Commit(of.offset) });
        }
    }
}

fn show<'a>(
    op: &GroupOp<'a>,
    (asked, shown, at): (&GroupAsk, &[CommittedOffset], Moment),
    told: &mut Told<'a>,
) {
    let group = op.call.group.as_str();
    let from = (group, TopicId::NIL, i32::MIN);
    let shown: BTreeMap<(TopicId, i32), i64> =
        shown.iter().map(|of| ((of.id, of.partition), of.offset)).collect();
    let of_group = told.range_mut(from..).take_while(|(key, _)| key.0 == group);
    for ((_, topic, partition), operations) in of_group {
        let is_it = |of: &CommittedOffset| (of.id, of.partition) == (*topic, *partition);
        if matches!(asked, GroupAsk::FetchOffsetsOf(asked) if !asked.iter().any(is_it)) {
            continue;
        }
        let offset = shown.get(&(*topic, *partition)).copied().filter(|offset| *offset >= 0);
        let (began, end, ask) = (op.invoked, End::At(at), Ask::Show(offset));
        operations.push(Operation { began, end, ask });
    }
}

/// Puts the end of the topic in; what is committed after it is not looked at.
fn end(operations: &mut Vec<Operation<Ask>>, (began, at): (Moment, Moment)) {
    operations.retain(|of| !matches!(of.ask, Ask::Commit(_)) || of.began < at);
    for operation in operations.iter_mut().filter(|of| at < of.began) {
        if operation.ask == Ask::Show(None) {
            operation.ask = Ask::ShowNoMore;
        }
    }
    operations.push(Operation { began, end: End::At(at), ask: Ask::End });
}

/// Says of each commit of unknown outcome how long it matters; one that nobody can have seen is
/// taken out.
fn settle(operations: &mut Vec<Operation<Ask>>) {
    let mut last_shown: BTreeMap<i64, Moment> = BTreeMap::new();
    for operation in operations.iter() {
        if let (Ask::Show(Some(offset)), End::At(at)) = (operation.ask, operation.end) {
            let last = last_shown.entry(offset).or_insert(at);
            *last = at.max(*last);
        }
    }
    operations.retain_mut(|operation| {
        let (End::Open { matters_until }, Ask::Commit(offset)) =
            (&mut operation.end, operation.ask)
        else {
            return true;
        };
        *matters_until = last_shown.get(&offset).copied().unwrap_or_default();
        operation.began < *matters_until
    });
}
