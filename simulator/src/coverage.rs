//! What many runs reached together: which component reached a rare state, and which oracle had
//! something to judge, in runs in which a fault changed something.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::oracles::ORACLES;
use crate::run::catalogue;
use crate::run::outcome::Outcome;
use crate::run::probes::{self, COMPONENTS};

/// Counts of runs. A run counts once, however often a fault hit in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// By number of the catalogue.
    pub faults: BTreeMap<String, FaultCoverage>,
    pub probes: BTreeMap<String, u64>,
    pub components: BTreeMap<&'static str, u64>,
    pub oracles: BTreeMap<String, OracleCoverage>,
}

/// The runs of one fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FaultCoverage {
    /// Runs in which it was done.
    pub injected: u64,
    /// Runs in which it changed something; the other counts are of these.
    pub effective: u64,
    pub components: BTreeMap<&'static str, u64>,
    pub probes: BTreeMap<String, u64>,
    pub oracles: BTreeMap<String, u64>,
}

/// The runs of one oracle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OracleCoverage {
    /// Runs in which it had something to judge.
    pub runs: u64,
    /// How many things it judged in them.
    pub judged: u64,
}

/// What no run reached, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Missed {
    pub probes_never_hit: Vec<&'static str>,
    pub faults_never_effective: Vec<&'static str>,
    pub oracles_that_never_judged: Vec<&'static str>,
}

impl Coverage {
    pub fn add(&mut self, outcome: &Outcome) {
        let hit = |name: &&str| outcome.probes.contains_key(*name);
        let components = COMPONENTS.iter().filter(|component| component.probes.iter().any(hit));
        let components: Vec<&'static str> = components.map(|component| component.name).collect();
        for name in &components {
            *self.components.entry(name).or_default() += 1;
        }
        for name in outcome.probes.keys() {
            *self.probes.entry(name.clone()).or_default() += 1;
        }
        for (id, judged) in &outcome.judged {
            let oracle = self.oracles.entry(id.clone()).or_default();
            oracle.runs += 1;
            oracle.judged += judged;
        }
        for fault in &catalogue::ALL {
            let is_injected = |kind: &&str| outcome.faults_injected.contains_key(*kind);
            if fault.kinds.iter().any(is_injected) {
                self.faults.entry(fault.number.to_owned()).or_default().injected += 1;
            }
        }
        for number in outcome.faults_effective.keys() {
            let fault = self.faults.entry(number.clone()).or_default();
            fault.effective += 1;
            for name in &components {
                *fault.components.entry(name).or_default() += 1;
            }
            for (sums, names) in [
                (&mut fault.probes, outcome.probes.keys()),
                (&mut fault.oracles, outcome.judged.keys()),
            ] {
                for name in names {
                    *sums.entry(name.clone()).or_default() += 1;
                }
            }
        }
    }

    /// What of everything that is known was never reached.
    #[must_use]
    pub fn missed(&self) -> Missed {
        let is_effective =
            |number: &str| self.faults.get(number).is_some_and(|fault| fault.effective > 0);
        let faults = catalogue::ALL.iter().map(|fault| fault.number);
        let oracles = ORACLES.iter().map(|oracle| oracle.id);
        Missed {
            probes_never_hit: probes::expected()
                .filter(|name| !self.probes.contains_key(*name))
                .collect(),
            faults_never_effective: faults.filter(|number| !is_effective(number)).collect(),
            oracles_that_never_judged: oracles
                .filter(|id| !self.oracles.contains_key(*id))
                .collect(),
        }
    }
}

impl Missed {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self == &Missed::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::scenario::registry;

    fn counts(names: &[&str]) -> BTreeMap<String, u64> {
        names.iter().map(|name| ((*name).to_owned(), 3)).collect()
    }

    fn outcome(
        injected: &[&str],
        effective: &[&str],
        (probes, judged): (&[&str], &[&str]),
    ) -> Outcome {
        let plan = Plan::draw(registry::find("power_cuts").unwrap(), 0, "");
        Outcome {
            faults_injected: counts(injected),
            faults_effective: counts(effective),
            probes: counts(probes),
            judged: counts(judged),
            ..Outcome::without_run(&plan, "I1", String::new())
        }
    }

    #[test]
    fn a_fault_that_changed_nothing_covers_nothing() {
        let mut coverage = Coverage::default();
        coverage.add(&outcome(&["pause"], &["P1"], (&["wal_ring_full", "tail_full"], &["I1"])));
        coverage.add(&outcome(&["pause"], &["P1", "P4"], (&["session_over"], &[])));
        let of = |number: &str| coverage.faults[number].clone();
        assert_eq!((of("P4").injected, of("P4").effective), (2, 1));
        assert_eq!((of("P1").injected, of("P1").effective), (0, 2));
        assert_eq!(of("P4").components, BTreeMap::from([("groups", 1)]));
        assert_eq!(of("P1").components, BTreeMap::from([("groups", 1), ("wal", 1)]));
        assert_eq!(of("P1").probes["tail_full"], 1);
        assert_eq!((of("P1").oracles.len(), of("P4").oracles.len()), (1, 0));
        assert_eq!(coverage.oracles["I1"], OracleCoverage { runs: 1, judged: 3 });
    }

    #[test]
    fn what_no_run_reached_is_named() {
        let mut coverage = Coverage::default();
        coverage.add(&outcome(&["pause"], &["P1"], (&["wal_ring_full"], &["I1"])));
        let missed = coverage.missed();
        for (names, reached, never) in [
            (&missed.probes_never_hit, "wal_ring_full", "tail_full"),
            (&missed.faults_never_effective, "P1", "P4"),
            (&missed.oracles_that_never_judged, "I1", "I2"),
        ] {
            assert!(!names.contains(&reached) && names.contains(&never), "{names:?}");
        }
        let (faults, oracles) = (catalogue::ALL.map(|fault| fault.number), ORACLES.each_ref());
        let oracles = oracles.map(|oracle| oracle.id);
        let probes: Vec<&str> = probes::expected().collect();
        coverage.add(&outcome(&[], &faults, (&probes, &oracles)));
        assert!(coverage.missed().is_empty());
    }
}
