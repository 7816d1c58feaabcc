//! Many runs: children side by side, and their sums.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rivven_io::Env;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::linear::Looked;
use crate::run::outcome::{Outcome, Verdict};

/// Does `work` for each job, `side_by_side` at a time, and hands over what came out as it comes:
/// before the next job is asked for in its place. Dropped, it begins no other job; those under way
/// end with the runtime.
pub async fn run_all<J, R, W>(
    side_by_side: usize,
    jobs: impl Iterator<Item = J> + Send + 'static,
    work: impl Fn(J) -> W + Clone + Send + Sync + 'static,
    mut each: impl FnMut(R),
) where
    J: Send,
    R: Send + 'static,
    W: Future<Output = R> + Send,
{
    let env = Env::real();
    let jobs = Arc::new(Mutex::new(jobs));
    let (sender, mut receiver) = mpsc::channel(side_by_side.max(1));
    for _ in 0..side_by_side.max(1) {
        let (jobs, sender, work) = (jobs.clone(), sender.clone(), work.clone());
        drop(env.tasks.spawn("launcher", async move {
            loop {
                let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(job) = next else { return };
                let done = work(job).await;
                let (taken, is_taken) = oneshot::channel();
                if sender.send((done, taken)).await.is_err() || is_taken.await.is_err() {
                    return;
                }
            }
        }));
    }
    drop(sender);
    while let Some((done, taken)) = receiver.recv().await {
        each(done);
        // A worker waits for it as long as there is a runtime.
        let _ = taken.send(());
    }
}

/// Sums over many runs; the last line of a command as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub runs: u64,
    /// Runs with any verdict but a pass.
    pub failed: u64,
    /// Whole seconds of [`Totals::simulated_ms`].
    pub simulated_seconds: u64,
    #[serde(skip)]
    pub simulated_ms: u64,
    pub operations_acked: u64,
    pub crashes: u64,
    pub recoveries: u64,
    pub faults_injected: BTreeMap<String, u64>,
    pub faults_effective: BTreeMap<String, u64>,
    pub probes: BTreeMap<String, u64>,
    /// Histories that were searched for an order, and what of that was given up.
    pub looked: Looked,
    /// Runs by verdict.
    #[serde(skip)]
    pub verdicts: BTreeMap<Verdict, u64>,
}

impl Totals {
    pub fn add(&mut self, outcome: &Outcome) {
        let verdict = outcome.verdict();
        self.runs += 1;
        self.failed += u64::from(verdict != Verdict::Pass);
        *self.verdicts.entry(verdict).or_default() += 1;
        self.simulated_ms += outcome.simulated_ms;
        self.simulated_seconds = self.simulated_ms / 1_000;
        self.operations_acked += outcome.operations_acked;
        self.crashes += outcome.crashes;
        self.recoveries += outcome.recoveries;
        self.looked.add(outcome.looked);
        let pairs = [
            (&mut self.faults_injected, &outcome.faults_injected),
            (&mut self.faults_effective, &outcome.faults_effective),
            (&mut self.probes, &outcome.probes),
        ];
        for (sums, counts) in pairs {
            for (name, count) in counts {
                *sums.entry(name.clone()).or_default() += count;
            }
        }
    }

    /// What the process that made these runs should exit with: 0 all passed, 1 a property failed,
    /// 3 a run stood still, 4 the simulator made a mistake.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let any = |verdict| self.verdicts.contains_key(&verdict);
        if any(Verdict::Failed) {
            1
        } else if any(Verdict::Harness) {
            4
        } else if any(Verdict::Stuck) {
            3
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::Violation;

    fn outcome(properties: &[&str]) -> Outcome {
        let violation = |property: &&str| Violation {
            property: (*property).to_owned(),
            at_ns: 0,
            node: 0,
            text: String::new(),
        };
        Outcome {
            scenario: "story".to_owned(),
            seed: 1,
            planted: String::new(),
            trace_hash: String::new(),
            simulated_ms: 61_500,
            operations_acked: 7,
            crashes: 2,
            recoveries: 1,
            faults_injected: BTreeMap::from([("kill".to_owned(), 2)]),
            faults_effective: BTreeMap::from([("P1".to_owned(), 2)]),
            probes: BTreeMap::new(),
            judged: BTreeMap::new(),
            looked: Looked { histories: 5, operations: 40, given_up: 1 },
            violations: properties.iter().map(violation).collect(),
        }
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst_run() {
        for (runs, code) in [
            (vec![outcome(&[])], 0),
            (vec![outcome(&[]), outcome(&["liveness"])], 3),
            (vec![outcome(&["stuck"]), outcome(&["harness"])], 4),
            (vec![outcome(&["harness"]), outcome(&["I1"])], 1),
            (vec![outcome(&["I42", "liveness"])], 1),
        ] {
            let mut totals = Totals::default();
            runs.iter().for_each(|run| totals.add(run));
            assert_eq!(totals.exit_code(), code, "{runs:?}");
        }
    }

    #[test]
    fn sums_are_over_all_runs() {
        let mut totals = Totals::default();
        totals.add(&outcome(&[]));
        totals.add(&outcome(&["I1", "I2"]));
        assert_eq!((totals.runs, totals.failed, totals.simulated_seconds), (2, 1, 123));
        assert_eq!((totals.operations_acked, totals.crashes, totals.recoveries), (14, 4, 2));
        assert_eq!(totals.faults_injected["kill"], 4);
        assert_eq!(totals.faults_effective["P1"], 4);
        assert_eq!(totals.looked, Looked { histories: 10, operations: 80, given_up: 2 });
    }
}
