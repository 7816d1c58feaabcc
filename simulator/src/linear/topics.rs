//! The topics of one name as an object: there is none, or one with an id and so many partitions.
//!
//! An id lives once. That makes changes of unknown outcome definite: an id that Metadata shows and
//! no answer to a create tells was made by a create of unknown outcome, before it was first shown;
//! an id that is shown no more was deleted before somebody first missed it. What nobody ever saw
//! did not happen, as far as anyone can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Formatter};

use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::metadata::topic_name::is_internal;

use super::{End, Object, Operation};
use crate::history::event::{Call, KnownTopic, Reply};
use crate::ledger::{Ledger, Moment, TopicEnd, TopicOp};

/// A topic as Metadata shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Shape {
    pub(crate) id: TopicId,
    pub(crate) partitions: usize,
}

impl Debug for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} partitions", self.id, self.partitions)
    }
}

/// What is done to a name, or seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Create(Shape),
    /// A create was refused, because there is a topic.
    IsThere,
    Show(Option<Shape>),
    Delete(TopicId),
    /// A delete was refused, because there is no such topic.
    IsNotThere(TopicId),
}

pub(crate) struct Name;

impl Object for Name {
    type State = Option<Shape>;
    type Ask = Ask;

    fn fresh() -> Option<Shape> {
        None
    }

    fn step(ask: &Ask, state: &Option<Shape>) -> Option<Option<Shape>> {
        let (is_possible, after) = match ask {
            Ask::Create(shape) => (state.is_none(), Some(*shape)),
            Ask::IsThere => (state.is_some(), *state),
            Ask::Show(shown) => (shown == state, *state),
            Ask::Delete(id) => (state.is_some_and(|shape| shape.id == *id), None),
            Ask::IsNotThere(id) => (state.is_none_or(|shape| shape.id != *id), *state),
        };
        is_possible.then_some(after)
    }

    fn settles(ask: &Ask) -> Option<Option<Shape>> {
        match ask {
            Ask::Create(shape) => Some(Some(*shape)),
            Ask::Show(shown) => Some(*shown),
            Ask::Delete(_) => Some(None),
            Ask::IsThere | Ask::IsNotThere(_) => None,
        }
    }
}

/// What was done to one name, each with its beginning and end.
#[derive(Default)]
struct Told {
    operations: Vec<(Moment, Moment, Ask)>,
    /// Partitions and beginnings of creates of unknown outcome.
    maybe_created: Vec<(Moment, usize)>,
    /// Beginnings of deletes of unknown outcome.
    maybe_deleted: BTreeMap<TopicId, Moment>,
}

/// The history of each name that a client knows of.
pub(crate) fn histories(ledger: &Ledger<'_>) -> BTreeMap<String, Vec<Operation<Ask>>> {
    let told = told(&ledger.topic_ops);
    let whole = |(name, told): (&str, Told)| (name.to_owned(), whole(told));
    told.into_iter().map(whole).collect()
}

fn told<'a>(ops: &[TopicOp<'a>]) -> BTreeMap<&'a str, Told> {
    let mut all: BTreeMap<&str, Told> = BTreeMap::new();
    let mut shown: Vec<(Moment, Moment, &[KnownTopic])> = Vec::new();
    for TopicOp { began, call, end } in ops {
        match (call, end) {
            (Call::Metadata, TopicEnd::Ok(at, Reply::Topics(topics))) => {
                shown.push((*began, *at, topics));
                for topic in topics.iter().filter(|topic| !is_internal(&topic.name)) {
                    all.entry(&topic.name).or_default();
                }
            }
            (Call::CreateTopic(topic), end) => {
                let told = all.entry(&topic.name).or_default();
                let partitions = usize::try_from(topic.partitions).expect("a plan has few");
                match end {
                    TopicEnd::Ok(at, Reply::Created { id }) => {
                        let shape = Shape { id: *id, partitions };
                        told.operations.push((*began, *at, Ask::Create(shape)));
                    }
                    TopicEnd::Refused(at, Some(ErrorCode::TOPIC_ALREADY_EXISTS)) => {
                        told.operations.push((*began, *at, Ask::IsThere));
                    }
                    TopicEnd::Refused(..) => {}
                    TopicEnd::Ok(..) | TopicEnd::Unknown => {
                        told.maybe_created.push((*began, partitions));
                    }
                }
            }
            (Call::DeleteTopic { name, id }, end) => {
                let told = all.entry(name).or_default();
                match end {
                    TopicEnd::Ok(at, _) => {
                        told.operations.push((*began, *at, Ask::Delete(*id)));
                    }
                    TopicEnd::Refused(at, Some(ErrorCode::UNKNOWN_TOPIC_ID)) => {
                        told.operations.push((*began, *at, Ask::IsNotThere(*id)));
                    }
                    TopicEnd::Refused(..) => {}
                    TopicEnd::Unknown => {
                        told.maybe_deleted.entry(*id).or_insert(*began);
                    }
                }
            }
            _ => {}
        }
    }
    for (name, told) in &mut all {
        let of_name = |topics: &[KnownTopic]| {
            let found = topics.iter().find(|topic| topic.name == *name);
            found.map(|topic| Shape { id: topic.id, partitions: topic.leader_epochs.len() })
        };
        let shows =
            shown.iter().map(|(began, at, topics)| (*began, *at, Ask::Show(of_name(topics))));
        told.operations.extend(shows);
    }
    all
}

/// Puts the changes of unknown outcome in that somebody saw.
fn whole(mut told: Told) -> Vec<Operation<Ask>> {
    created(&mut told);
    deleted(&mut told);
    let last_show = told.operations.iter().filter(|of| matches!(of.2, Ask::Show(_)));
    let last_show = last_show.map(|of| of.0).max();
    // Behind the last look there may be a topic that nobody ever sees.
    let is_telling = |of: &(Moment, Moment, Ask)| of.2 != Ask::IsThere || Some(of.1) <= last_show;
    told.operations.retain(is_telling);
    let operation = |(began, at, ask)| Operation { began, end: End::At(at), ask };
    told.operations.into_iter().map(operation).collect()
}

/// Finds the create of each id that no answer to one tells.
fn created(told: &mut Told) {
    let mut first_shown: BTreeMap<Shape, Moment> = BTreeMap::new();
    let mut known: BTreeSet<TopicId> = BTreeSet::new();
    for (_, at, ask) in &told.operations {
        match ask {
            Ask::Show(Some(shape)) => {
                let first = first_shown.entry(*shape).or_insert(*at);
                *first = (*at).min(*first);
            }
            Ask::Create(shape) => drop(known.insert(shape.id)),
            _ => {}
        }
    }
    let mut unexplained: Vec<(Moment, Shape)> =
        first_shown.into_iter().map(|(shape, at)| (at, shape)).collect();
    unexplained.retain(|(_, shape)| !known.contains(&shape.id));
    unexplained.sort_unstable();
    told.maybe_created.sort_unstable();
    for (at, shape) in unexplained {
        // One that began earlier could be the cause of anything that a later one could.
        let fits = |of: &(Moment, usize)| of.0 < at && of.1 == shape.partitions;
        if let Some(index) = told.maybe_created.iter().position(fits) {
            let (began, _) = told.maybe_created.remove(index);
            // It was made after whoever was still shown something else had asked.
            let other = told.operations.iter().filter(|of| shows_other(&of.2, shape.id));
            let other = other.filter(|of| of.1 < at).map(|of| of.0).max().unwrap_or(began);
            told.operations.push((began.max(other), at, Ask::Create(shape)));
        }
    }
}

/// Finds out which deletes of unknown outcome took effect.
fn deleted(told: &mut Told) {
    for (id, began) in std::mem::take(&mut told.maybe_deleted) {
        let born = told.operations.iter().filter(|of| is_of(&of.2, id)).map(|of| of.1).min();
        let is_sure = told.operations.iter().any(|of| of.2 == Ask::Delete(id));
        let Some(born) = born.filter(|_| !is_sure) else { continue };
        let missed = told.operations.iter().filter(|of| misses(&of.2, id));
        let missed = missed.filter(|of| of.0 > born && of.1 > began).map(|of| of.1).min();
        if let Some(at) = missed {
            // It went after whoever was still shown it had asked.
            let shown = told.operations.iter().filter(|of| shows(&of.2, id)).map(|of| of.0).max();
            let began = shown.filter(|shown| *shown < at).map_or(began, |shown| shown.max(began));
            told.operations.push((began, at, Ask::Delete(id)));
        }
    }
}

/// Whether Metadata shows a topic.
fn shows(ask: &Ask, id: TopicId) -> bool {
    matches!(ask, Ask::Show(Some(shape)) if shape.id == id)
}

/// Whether Metadata shows another topic of the name, or none.
fn shows_other(ask: &Ask, id: TopicId) -> bool {
    matches!(ask, Ask::Show(_)) && !shows(ask, id)
}

/// Whether an answer says that the topic with this id is there.
fn is_of(ask: &Ask, id: TopicId) -> bool {
    match ask {
        Ask::Create(shape) | Ask::Show(Some(shape)) => shape.id == id,
        Ask::Show(None) | Ask::IsThere | Ask::IsNotThere(_) | Ask::Delete(_) => false,
    }
}

/// Whether an answer says that the topic with this id is not there, or was not just before.
fn misses(ask: &Ask, id: TopicId) -> bool {
    match ask {
        Ask::Create(shape) | Ask::Show(Some(shape)) => shape.id != id,
        Ask::Show(None) => true,
        Ask::IsNotThere(missed) => *missed == id,
        Ask::IsThere | Ask::Delete(_) => false,
    }
}

/// When each topic that was deleted went: the earliest and the latest moment.
pub(crate) fn ends(
    histories: &BTreeMap<String, Vec<Operation<Ask>>>,
) -> BTreeMap<TopicId, (Moment, Moment)> {
    let mut ends = BTreeMap::new();
    for operation in histories.values().flatten() {
        if let (Ask::Delete(id), End::At(at)) = (operation.ask, operation.end) {
            ends.insert(id, (operation.began, at));
        }
    }
    ends
}
