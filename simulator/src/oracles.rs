//! The oracles: each judges one property over everything that a run left behind. One file each.
//!
//! They all look at the same digest of the history, the [`Ledger`], and decide by what
//! clients saw; none of them asks the broker's own code whether it is right.

mod eras;
mod i01_acked_is_read_back;
mod i02_one_value_per_offset;
mod i03_high_watermark_never_falls;
mod i10_offsets_are_dense;
mod i11_epochs_are_consistent;
mod i12_recovered_is_what_was_written;
mod i13_exactly_once_per_producer;
mod i14_log_order_is_send_order;
mod i22_commits_are_kept;
mod i23_old_generations_are_fenced;
mod i24_one_owner_per_partition;
mod i25_runs_are_contiguous;
mod i26_nothing_is_skipped;
mod i27_last_value_of_each_key_stays;
mod i28_cleaned_only_below_the_bound;
mod i30_retention_stays_in_bounds;
mod i33_recreated_shows_nothing_old;
mod i42_requests_are_answered;
mod i45_resources_return;
mod i46_no_spin;
mod i47_reads_are_fresh;
mod i48_topics_are_linearizable;
mod i49_offsets_are_linearizable;
mod i50_times_are_found;

use std::collections::BTreeMap;

use rivven_io::sim::Resources;
use serde::{Deserialize, Serialize};

use crate::history::event::{Event, EventKind, Mark};
use crate::ledger::Ledger;
use crate::linear::Looked;

/// What the broker promised in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contract {
    /// What is acknowledged, or was shown to a consumer, survives every power cut.
    FsyncAck,
    /// The disk itself forged data: loss is allowed where it is reported as an error, forged
    /// bytes are never served, and everything that is served keeps I2 and I10 to I12.
    ExpectLoss,
}

/// What a node held before the faults and after the liveness phase, with no client connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceReading {
    pub node: u64,
    pub at_ns: u64,
    pub baseline: Resources,
    pub now: Resources,
    /// Segment files that the broker may hold open once it has read, none of them at the baseline.
    pub open_files: u64,
}

/// What the requests and answers of a broker's clients took at a moment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryReading {
    pub node: u64,
    pub at_ns: u64,
    pub bytes: u64,
    pub bytes_max: u64,
    pub connections: u64,
}

/// Everything that the oracles look at.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The history, in order.
    pub events: Vec<Event>,
    pub contract: Contract,
    pub resources: Vec<ResourceReading>,
    /// Of each run in which clients put the broker short of memory, the highest reading.
    pub memory: Vec<MemoryReading>,
    /// From `World::max_polls_without_progress`.
    pub polls_max: u64,
    /// Virtual time at the end of the run.
    pub end_ns: u64,
}

impl Evidence {
    fn clone_without_events(&self) -> Evidence {
        Evidence {
            events: Vec::new(),
            contract: self.contract,
            resources: self.resources.clone(),
            memory: self.memory.clone(),
            polls_max: self.polls_max,
            end_ns: self.end_ns,
        }
    }
}

/// A broken property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Its number, as `I13`.
    pub property: String,
    pub at_ns: u64,
    /// The node that is to blame, 0 if it is no single one.
    pub node: u64,
    pub text: String,
}

/// One oracle.
pub struct Oracle {
    pub id: &'static str,
    pub about: &'static str,
    check: fn(&Case<'_>, &mut Findings),
}

/// What the oracles said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// In the order of virtual time.
    pub violations: Vec<Violation>,
    /// How many things each oracle judged; one that had nothing to judge is not in it.
    pub judged: BTreeMap<&'static str, u64>,
    /// What was searched for an order, and what was given up.
    pub looked: Looked,
}

/// What an oracle is given.
pub(crate) struct Case<'a> {
    pub(crate) evidence: &'a Evidence,
    pub(crate) ledger: &'a Ledger<'a>,
}

impl Case<'_> {
    fn may_lose(&self) -> bool {
        self.evidence.contract == Contract::ExpectLoss
    }
}

/// Violations of one oracle; one bug breaks thousands of records alike, so their number is bounded.
pub(crate) struct Findings {
    id: &'static str,
    found: Vec<Violation>,
    judged: u64,
    /// Of an oracle that searches for orders.
    pub(crate) looked: Looked,
}

const FINDINGS_MAX: usize = 10;

/// The node of the single broker.
const BROKER: u64 = 1;

impl Findings {
    /// Notes a violation by the broker.
    pub(crate) fn add(&mut self, at_ns: u64, text: String) {
        self.add_at(BROKER, at_ns, text);
    }

    /// Counts things that were compared with what they had to be, and would have been violations
    /// if they had been otherwise. What could not have been wrong (the first value seen at an
    /// offset, a topic that lost nothing to compaction) does not count.
    pub(crate) fn judged(&mut self, count: usize) {
        self.judged += count as u64;
    }

    pub(crate) fn add_at(&mut self, node: u64, at_ns: u64, text: String) {
        if self.found.len() < FINDINGS_MAX {
            self.found.push(Violation { property: self.id.to_owned(), at_ns, node, text });
        }
    }
}

/// All oracles, in the order of their numbers.
pub const ORACLES: [Oracle; 24] = [
    i01_acked_is_read_back::ORACLE,
    i02_one_value_per_offset::ORACLE,
    i03_high_watermark_never_falls::ORACLE,
    i10_offsets_are_dense::ORACLE,
    i11_epochs_are_consistent::ORACLE,
    i12_recovered_is_what_was_written::ORACLE,
    i13_exactly_once_per_producer::ORACLE,
    i14_log_order_is_send_order::ORACLE,
    i22_commits_are_kept::ORACLE,
    i23_old_generations_are_fenced::ORACLE,
    i24_one_owner_per_partition::ORACLE,
    i25_runs_are_contiguous::ORACLE,
    i26_nothing_is_skipped::ORACLE,
    i27_last_value_of_each_key_stays::ORACLE,
    i28_cleaned_only_below_the_bound::ORACLE,
    i30_retention_stays_in_bounds::ORACLE,
    i33_recreated_shows_nothing_old::ORACLE,
    i42_requests_are_answered::ORACLE,
    i45_resources_return::ORACLE,
    i46_no_spin::ORACLE,
    i47_reads_are_fresh::ORACLE,
    i48_topics_are_linearizable::ORACLE,
    i49_offsets_are_linearizable::ORACLE,
    i50_times_are_found::ORACLE,
];

/// Runs the oracles whose numbers are `wanted` (all if it is empty). A history in which the disk
/// was exchanged is judged disk by disk.
///
/// # Panics
/// If no oracle has a number that is wanted.
#[must_use]
pub fn judge(evidence: &Evidence, wanted: &[String]) -> Judgement {
    for id in wanted {
        assert!(ORACLES.iter().any(|oracle| oracle.id == id), "there is no oracle {id}");
    }
    let mut all = Judgement::default();
    let is_exchange = |event: &Event| matches!(event.kind, EventKind::Mark(Mark::OtherDisk { .. }));
    if !evidence.events.iter().any(is_exchange) {
        judge_era(evidence, wanted, &mut all);
    } else {
        let eras = eras::of(&evidence.events);
        let last = eras.len() - 1;
        for (index, events) in eras.into_iter().enumerate() {
            let mut era = Evidence { events, ..evidence.clone_without_events() };
            if index < last {
                // What was read of the process and its memory is judged once.
                era.resources.clear();
                era.memory.clear();
                era.polls_max = 0;
            }
            judge_era(&era, wanted, &mut all);
        }
    }
    all.violations.sort_by_key(|violation| violation.at_ns);
    all
}

fn judge_era(evidence: &Evidence, wanted: &[String], all: &mut Judgement) {
    let ledger = Ledger::of(&evidence.events);
    let case = Case { evidence, ledger: &ledger };
    for oracle in &ORACLES {
        if wanted.is_empty() || wanted.iter().any(|id| id == oracle.id) {
            let looked = Looked::default();
            let mut findings = Findings { id: oracle.id, found: Vec::new(), judged: 0, looked };
            (oracle.check)(&case, &mut findings);
            all.violations.append(&mut findings.found);
            all.looked.add(findings.looked);
            if findings.judged > 0 {
                *all.judged.entry(oracle.id).or_default() += findings.judged;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::event::{CrashKind, GroupAsk, GroupReply, Mark};
    use crate::story::{Story, batch, committed, stamped};

    #[test]
    fn an_oracle_that_had_nothing_to_judge_is_not_counted() {
        let mut story = Story::new();
        story.mark(Mark::Crashed { node: 1, kind: CrashKind::Kill }).unknown(&[1]);
        story.mark(Mark::LivenessEnd).read_back(vec![]);
        assert_eq!(judge(&story.evidence, &[]).judged, BTreeMap::new());
    }

    #[test]
    fn what_could_not_have_been_wrong_is_not_counted() {
        let mut story = Story::new();
        story.acked(&[1, 2], 0).fetched(0, 2, vec![batch(0, &[1, 2])]);
        story.read_back(vec![batch(0, &[1, 2])]);
        let judged = judge(&story.evidence, &[]).judged;
        // Two records were acknowledged; each was seen twice more, once by the read-back; of the
        // watermarks the first binds the second, and the acknowledgement binds both.
        for (id, count) in [("I1", 2), ("I2", 4), ("I3", 2), ("I12", 4), ("I14", 1)] {
            assert_eq!(judged.get(id), Some(&count), "{id}: {judged:?}");
        }
        for id in ["I13", "I22", "I24", "I27", "I30", "I33", "I42", "I45", "I46"] {
            assert_eq!(judged.get(id), None, "{id}: {judged:?}");
        }
    }

    #[test]
    fn what_groups_and_producers_do_is_counted_by_their_oracles() {
        let mut story = Story::new();
        story.assigned(1).given(1, &[(0, 1)]);
        story.of_group(GroupAsk::Commit(vec![committed(1)]), GroupReply::Committed).looked_up(1);
        story.read_back(vec![stamped(0, &[1], 0), stamped(1, &[2], 1)]);
        let judged = judge(&story.evidence, &[]).judged;
        for (id, count) in [("I13", Some(2)), ("I22", Some(1)), ("I23", None), ("I25", Some(1))] {
            assert_eq!(judged.get(id).copied(), count, "{id}: {judged:?}");
        }
    }
}
