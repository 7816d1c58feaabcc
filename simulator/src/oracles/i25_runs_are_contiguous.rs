//! I25: a contiguous rising run without rebalance: from the moment when a consumer is assigned a
//! partition to that when it is revoked or lost, each record is given out once, in order and
//! without a gap, beginning at the committed offset, or at the log's start if there is none. Gaps
//! may be where records were deleted, and are not looked at where retention or compaction take
//! some. A topic that is made anew is read from its start.

use std::collections::{BTreeMap, BTreeSet};

use rivven_core::ids::PartitionId;

use super::{Case, Findings, Oracle};
use crate::history::event::{CommittedOffset, ConsumerSaw, GivenRecord, GroupAsk, GroupReply};
use crate::ledger::{GroupEnd, GroupOp, Moment, Told};

pub(super) const ORACLE: Oracle =
    Oracle { id: "I25", about: "a consumer's run is contiguous and begins where it must", check };

/// Of one consumer: topic and partition.
type Of<'a> = (u64, &'a str, i32);

/// What was given out of a partition since it was assigned.
struct Run {
    assigned: Moment,
    last: Option<(PartitionId, i64)>,
    /// Topics of this name that it has read.
    seen: BTreeSet<PartitionId>,
}

/// An answer that told committed offsets.
struct Lookup<'a> {
    invoked: Moment,
    at: Moment,
    offsets: &'a [CommittedOffset],
}

fn check(case: &Case<'_>, findings: &mut Findings) {
    if case.may_lose() {
        return;
    }
    let lookups = lookups(case);
    let mut runs: BTreeMap<Of<'_>, Run> = BTreeMap::new();
    for told in &case.ledger.told {
        match told.what {
            ConsumerSaw::Assigned(partitions) => {
                for (topic, partition) in partitions {
                    let run = Run { assigned: told.at, last: None, seen: BTreeSet::new() };
                    if runs.insert((told.consumer, topic, *partition), run).is_some() {
                        add(findings, told, format!("{topic}-{partition} is assigned twice"));
                    }
                }
            }
            ConsumerSaw::Revoked(partitions) | ConsumerSaw::Lost(partitions) => {
                for (topic, partition) in partitions {
                    runs.remove(&(told.consumer, topic, *partition));
                }
            }
            ConsumerSaw::Ended => runs.retain(|of, _| of.0 != told.consumer),
            ConsumerSaw::Given(records) => {
                findings.judged(records.len());
                let lookups = lookups.get(&told.client).map_or(&[][..], Vec::as_slice);
                for given in records {
                    let run = runs.get_mut(&(told.consumer, &given.topic, given.partition));
                    if let Err(what) = give((case, lookups), told.at, given, run) {
                        let (topic, partition) = (&given.topic, given.partition);
                        add(findings, told, format!("{topic}-{partition}: {what}"));
                    }
                }
            }
        }
    }
}

fn add(findings: &mut Findings, told: &Told<'_>, what: String) {
    findings.add(told.at.at_ns, format!("{}, client {}: {what}", told.group, told.client));
}

/// The answers about committed offsets, by client, in order.
fn lookups<'a>(case: &Case<'a>) -> BTreeMap<u32, Vec<Lookup<'a>>> {
    let mut lookups: BTreeMap<u32, Vec<Lookup<'_>>> = BTreeMap::new();
    for GroupOp { client, invoked, call, end } in &case.ledger.groups {
        if let (GroupAsk::FetchOffsetsOf(_), GroupEnd::Ok(at, GroupReply::Offsets(offsets))) =
            (&call.what, end)
        {
            let lookup = Lookup { invoked: *invoked, at: *at, offsets };
            lookups.entry(*client).or_default().push(lookup);
        }
    }
    lookups
}

/// Takes the next record of a run; what is wrong with it.
fn give(
    (case, lookups): (&Case<'_>, &[Lookup<'_>]),
    at: Moment,
    given: &GivenRecord,
    run: Option<&mut Run>,
) -> Result<(), String> {
    let offset = given.record.offset;
    let run = run.ok_or_else(|| format!("{offset} is given out, and not assigned"))?;
    let place = case.ledger.place_of(given)?;
    let before = run.last.replace((place, offset));
    let is_new = run.seen.insert(place);
    // Whether reading may go on at `start`: what lies between may be gone.
    let goes_on = |start: i64| {
        offset == start || (offset > start && offset <= case.ledger.removed_below(place, at))
    };
    match before {
        Some((same, last)) if same == place => match goes_on(last + 1) {
            true => Ok(()),
            false => Err(format!("{offset} follows {last}")),
        },
        Some(_) if !is_new => Err(format!("{offset} is of a topic that was read before this one")),
        Some(_) => match goes_on(0) {
            true => Ok(()),
            false => Err(format!("the topic was made anew, and is read from {offset} on")),
        },
        None => {
            let known = lookups.iter().filter(|of| run.assigned < of.invoked && of.at < at);
            let known = known.flat_map(|lookup| lookup.offsets);
            let starts = known.filter(|of| {
                of.id == place.topic && u32::try_from(of.partition) == Ok(place.index)
            });
            let starts: Vec<i64> = starts.map(|of| of.offset.max(0)).collect();
            if starts.iter().any(|start| goes_on(*start)) {
                return Ok(());
            }
            // The topic may have been made anew after the lookup.
            if is_reused(case, place) && goes_on(0) {
                return Ok(());
            }
            Err(format!("{offset} is the first, and reading begins at one of {starts:?}"))
        }
    }
}

/// Whether there were several topics of its name.
fn is_reused(case: &Case<'_>, place: PartitionId) -> bool {
    let topics = &case.ledger.topics;
    let name = topics.get(&place.topic).map(|topic| topic.name.as_str());
    topics.values().filter(|topic| Some(topic.name.as_str()) == name).count() > 1
}

#[cfg(test)]
mod tests {
    use crate::history::event::{Call, ConsumerSaw, EventKind, Reply};
    use crate::story::{Story, partition};

    fn begun(committed: i64) -> Story {
        let mut story = Story::new();
        story.acked(&[1, 2, 3, 4], 0);
        story.assigned(1).looked_up(committed);
        story
    }

    #[test]
    fn a_gap_and_a_repetition_fire() {
        for (offsets, broken) in [
            (&[(0, 1), (1, 2), (2, 3)][..], false),
            (&[(0, 1), (2, 3)], true),
            (&[(0, 1), (1, 2), (1, 2)], true),
            (&[(1, 2), (0, 1)], true),
        ] {
            let mut story = begun(-1);
            story.given(1, offsets);
            assert_eq!(story.is_broken("I25"), broken, "{offsets:?}");
        }
    }

    #[test]
    fn a_run_begins_at_the_committed_offset() {
        for (committed, first, broken) in
            [(2, (2, 3), false), (2, (0, 1), true), (2, (3, 4), true), (-1, (1, 2), true)]
        {
            let mut story = begun(committed);
            story.given(1, &[first]);
            assert_eq!(story.is_broken("I25"), broken, "{committed} {first:?}");
        }
    }

    #[test]
    fn a_record_of_what_is_not_assigned_fires() {
        let lost = || ConsumerSaw::Lost(vec![("t".to_owned(), 0)]);
        for (end, broken) in [(None, false), (Some(lost()), true), (Some(ConsumerSaw::Ended), true)]
        {
            let mut story = begun(-1);
            story.given(1, &[(0, 1)]);
            if let Some(end) = end {
                story.told(1, end);
            }
            story.given(1, &[(1, 2)]);
            assert_eq!(story.is_broken("I25"), broken);
        }
    }

    #[test]
    fn a_record_that_nobody_sent_fires() {
        let mut story = begun(-1);
        story.given(1, &[(0, 77)]);
        assert!(story.is_broken("I25"));
    }

    #[test]
    fn deleted_records_may_be_left_out() {
        for (to, broken) in [(2, false), (1, true)] {
            let mut story = begun(-1);
            let call = Call::DeleteRecords { partition: partition(1), to };
            story.ask(4, call, EventKind::Ok(Reply::RecordsDeleted { log_start: to }));
            story.given(1, &[(2, 3), (3, 4)]);
            assert_eq!(story.is_broken("I25"), broken, "{to}");
        }
    }
}
