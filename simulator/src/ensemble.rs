//! Many runs: children side by side, and their sums.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rivven_io::Env;
use rivven_io::task::TaskEnd;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::linear::Looked;
use crate::run::outcome::{Outcome, Verdict};

/// Does `work` for each job, `side_by_side` at a time, and hands over what came out as it comes:
/// before the next job is asked for in its place. Dropped, it begins no other job; those under way
/// end with the runtime.
///
/// # Errors
/// The panic of a job, in words. Its worker takes no other job; the others go on to the end.
pub async fn run_all<J, R, W>(
    side_by_side: usize,
    jobs: impl Iterator<Item = J> + Send + 'static,
    work: impl Fn(J) -> W + Clone + Send + Sync + 'static,
    mut each: impl FnMut(R),
) -> Result<(), String>
where
    J: Send,
    R: Send + 'static,
    W: Future<Output = R> + Send,
{
    let env = Env::real();
    let jobs = Arc::new(Mutex::new(jobs));
    let (sender, mut receiver) = mpsc::channel(side_by_side.max(1));
    let mut workers = Vec::new();
    for _ in 0..side_by_side.max(1) {
        let (jobs, sender, work) = (jobs.clone(), sender.clone(), work.clone());
        workers.push(env.tasks.spawn("launcher", async move {
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
    let mut ended = Ok(());
    for worker in workers {
        if let Err(TaskEnd::Panicked(text)) = worker.await {
            ended = ended.and(Err(format!("a job panicked, and what it was is lost: {text}")));
        }
    }
    ended
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
    fn a_panic_of_a_job_is_told_and_the_other_jobs_are_done() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let draw = |at: u32| move |job: u32| if job == at { panic!("job {job}") } else { job };
        for (side_by_side, drawn, worked, done, told) in [
            (2, 1, u32::MAX, vec![0, 2, 3], Some("job 1")),
            (2, u32::MAX, 1, vec![0, 2, 3], Some("job 1")),
            (1, u32::MAX, 1, vec![0], Some("job 1")),
            (2, u32::MAX, u32::MAX, vec![0, 1, 2, 3], None),
        ] {
            let mut handed = Vec::new();
            let work = move |job: u32| async move { draw(worked)(job) };
            let jobs = (0..4).map(draw(drawn));
            let ended = runtime.block_on(async {
                run_all(side_by_side, jobs, work, |job| handed.push(job)).await
            });
            handed.sort_unstable();
            assert_eq!(handed, done);
            let text = ended.err();
            match told {
                Some(told) => assert!(text.is_some_and(|text| text.ends_with(told))),
                None => assert_eq!(text, None),
            }
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
