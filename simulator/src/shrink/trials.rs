//! Candidates in child processes: which is the first that still breaks the property.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rivven_io::Env;
use rivven_io::clock::Monotonic;
use rivven_io::task::Task;

use crate::launch::{Job, Launcher, Report};
use crate::plan::Plan;
use crate::run::Records;
use crate::run::outcome::{Outcome, Verdict};
use crate::shrink::HARNESS;

/// A candidate gets at least so much real time.
const PATIENCE_MIN: Duration = Duration::from_secs(1);

pub(crate) struct Trials {
    env: Env,
    launcher: Launcher,
    side_by_side: usize,
    property: String,
    deadline: Monotonic,
    /// Longest real time of a candidate.
    patience: Duration,
    /// Fingerprints of plans that did not break the property.
    in_vain: BTreeSet<u64>,
    pub(crate) runs: u64,
    /// Whether a run counts in which a client panicked or did not end, as it did in the first one.
    pub(crate) bears_mistakes: bool,
}

impl Trials {
    /// Runs candidates until `deadline`, each for `patience` at most.
    pub(crate) fn new(
        (env, launcher): (Env, Launcher),
        side_by_side: usize,
        property: &str,
        (deadline, patience): (Monotonic, Duration),
    ) -> Trials {
        Trials {
            env,
            launcher,
            side_by_side: side_by_side.max(1),
            property: property.to_owned(),
            deadline,
            patience,
            in_vain: BTreeSet::new(),
            runs: 0,
            bears_mistakes: false,
        }
    }

    /// Lets half of the time that is left be used; what the deadline was.
    pub(crate) fn halve_time_left(&mut self) -> Monotonic {
        let (now, whole) = (self.env.clock.now().0, self.deadline);
        self.deadline = Monotonic(now + whole.0.saturating_sub(now) / 2);
        whole
    }

    pub(crate) fn set_deadline(&mut self, deadline: Monotonic) {
        self.deadline = deadline;
    }

    /// Whether the time is up.
    pub(crate) fn is_over(&self) -> bool {
        self.env.clock.now() >= self.deadline
    }

    /// The first of `count` candidates that breaks the property, some of them tried at once. Which
    /// one it is does not depend on how many. `told` hears of each that is begun.
    pub(crate) async fn first_failing(
        &mut self,
        count: usize,
        candidate: impl Fn(usize) -> Plan,
        mut told: impl FnMut(usize),
    ) -> Option<(usize, Plan)> {
        let mut under_way: VecDeque<(usize, Plan, Task<Report>)> = VecDeque::new();
        let mut next = 0;
        let mut found = None;
        while found.is_none() {
            while next < count && under_way.len() < self.side_by_side && !self.is_over() {
                let plan = candidate(next);
                if !self.in_vain.contains(&fingerprint(&plan)) {
                    told(next);
                    let task = self.begin(&plan);
                    under_way.push_back((next, plan, task));
                }
                next += 1;
            }
            let Some((index, plan, task)) = under_way.pop_front() else { break };
            let report = task.await.expect("a launcher does not panic");
            self.runs += 1;
            if self.breaks(&report.outcome) && self.is_innocent_without_its_bug(&plan).await {
                found = Some((index, plan));
            } else if !self.is_over() {
                // Near the end a run may have been too short to tell.
                self.in_vain.insert(fingerprint(&plan));
            }
        }
        for (_, _, task) in under_way {
            // Its child dies with it.
            task.abort();
        }
        found
    }

    fn begin(&self, plan: &Plan) -> Task<Report> {
        let left = Duration::from_nanos(self.deadline.0.saturating_sub(self.env.clock.now().0));
        let patience = self.patience.min(left).max(PATIENCE_MIN);
        let launcher = self.launcher.with_watchdog(patience);
        let job = Job { plan: plan.clone(), records: Records::default(), log: String::new() };
        self.env.tasks.spawn("candidate", async move { launcher.run(&job).await })
    }

    /// Whether a run breaks the property, and the simulator made no mistake of its own.
    fn breaks(&self, outcome: &Outcome) -> bool {
        let mut broken = outcome.violations.iter().map(|violation| violation.property.as_str());
        let is_it = broken.clone().any(|property| property == self.property);
        is_it && (self.bears_mistakes || broken.all(|property| property != HARNESS))
    }

    /// A plan that fails without its planted bug as well has found something else on the way.
    async fn is_innocent_without_its_bug(&mut self, plan: &Plan) -> bool {
        if plan.planted.is_empty() {
            return true;
        }
        let without = Plan { planted: String::new(), ..plan.clone() };
        let report = self.begin(&without).await.expect("a launcher does not panic");
        self.runs += 1;
        report.outcome.verdict() == Verdict::Pass
    }
}

fn fingerprint(plan: &Plan) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(plan).expect("a plan is plain data").hash(&mut hasher);
    hasher.finish()
}
