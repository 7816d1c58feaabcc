//! What a run came to, in numbers and words; printed as JSON.

use std::collections::BTreeMap;

use rivven_io::sim::World;
use serde::{Deserialize, Serialize};

use crate::linear::Looked;
use crate::oracles::Violation;
use crate::plan::Plan;
use crate::run::{Sums, queues};

/// The result of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub scenario: String,
    pub seed: u64,
    pub planted: String,
    /// The run's fingerprint, in hexadecimal.
    pub trace_hash: String,
    pub simulated_ms: u64,
    pub operations_acked: u64,
    pub crashes: u64,
    pub recoveries: u64,
    /// Applied faults, and what clients did that counts as one, by their names in scenario files.
    pub faults_injected: BTreeMap<String, u64>,
    /// Faults that changed something, by their numbers in the catalogue.
    pub faults_effective: BTreeMap<String, u64>,
    pub probes: BTreeMap<String, u64>,
    /// How many things each oracle judged; those that had nothing to judge are not in it.
    pub judged: BTreeMap<String, u64>,
    /// Histories that were searched for an order, and what of that was given up.
    pub looked: Looked,
    pub violations: Vec<Violation>,
}

/// What a run says about the promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Pass,
    /// A property is broken.
    Failed,
    /// The broker never came back, or the run did not end.
    Stuck,
    /// The simulator itself made a mistake.
    Harness,
}

impl Outcome {
    pub(crate) fn of(
        world: &World,
        plan: &Plan,
        (mut violations, sums): (Vec<Violation>, Sums),
    ) -> Outcome {
        let Sums { operations_acked, tally, judged, looked } = sums;
        violations.sort_by_key(|violation| violation.at_ns);
        let named = |counts: &BTreeMap<&'static str, u64>| {
            counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        let mut injected = tally.injected.clone();
        injected.extend(queues::injected(plan));
        let probes = rivven_io::probe::hits();
        let full = queues::full(plan, &probes);
        let mut effective = world.fault_counts();
        effective.extend(tally.process.iter().map(|(number, count)| (*number, *count)));
        if full > 0 {
            effective.insert("M2", full);
        }
        Outcome {
            scenario: plan.scenario.clone(),
            seed: plan.seed,
            planted: plan.planted.clone(),
            trace_hash: format!("{:016x}", world.trace_hash()),
            simulated_ms: u64::try_from(world.now().as_millis()).unwrap_or(u64::MAX),
            operations_acked,
            crashes: tally.crashes,
            recoveries: tally.recoveries,
            faults_injected: named(&injected),
            faults_effective: named(&effective),
            probes: named(&probes),
            judged: named(&judged),
            looked,
            violations,
        }
    }

    /// An outcome that holds nothing but why there is none.
    #[must_use]
    pub fn without_run(plan: &Plan, property: &str, text: String) -> Outcome {
        let violation = Violation { property: property.to_owned(), at_ns: 0, node: 0, text };
        Outcome {
            scenario: plan.scenario.clone(),
            seed: plan.seed,
            planted: plan.planted.clone(),
            trace_hash: String::new(),
            simulated_ms: 0,
            operations_acked: 0,
            crashes: 0,
            recoveries: 0,
            faults_injected: BTreeMap::new(),
            faults_effective: BTreeMap::new(),
            probes: BTreeMap::new(),
            judged: BTreeMap::new(),
            looked: Looked::default(),
            violations: vec![violation],
        }
    }

    /// The worst that its violations say.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let of = |violation: &Violation| match violation.property.as_str() {
            "harness" => Verdict::Harness,
            "stuck" | "liveness" => Verdict::Stuck,
            _ => Verdict::Failed,
        };
        let broken = self.violations.iter().map(of);
        // A broken property says more than that the run then stood still, and is the code's own.
        if broken.clone().any(|verdict| verdict == Verdict::Failed) {
            return Verdict::Failed;
        }
        broken.max().unwrap_or(Verdict::Pass)
    }
}
