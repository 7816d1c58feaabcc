//! Runs of many plans: a failing one is run once more for its trace, shown, and kept.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;
use rivven_simulator::ensemble::run_all;
use rivven_simulator::launch::{Job, Launcher, Report};
use rivven_simulator::plan::Plan;
use rivven_simulator::run::Records;
use rivven_simulator::run::outcome::Verdict;

use crate::args::Runs;
use crate::artefacts::{Artefacts, Trace};
use crate::build_id::build_id;
use crate::interrupt::interrupted;
use crate::meta::EXIT_NON_DETERMINISM;
use crate::{outlook, selection};

/// Failing runs whose files are kept, for a disk is finite and the hundred-first says nothing new.
const KEPT_MAX: usize = 100;

/// What is the same for all runs of a command.
pub(crate) struct Runner {
    launcher: Launcher,
    artefacts: Artefacts,
    side_by_side: usize,
    /// The scenario as the user named it, for the replay line.
    scenario: Option<String>,
    pub(crate) bar: ProgressBar,
}

/// A run, and its trace if it failed.
struct Done {
    plan: Plan,
    report: Report,
    second: Second,
}

/// What a second run of a failing plan gave.
enum Second {
    /// The first one passed.
    None,
    Trace(Trace),
    /// The same plan did something else.
    Differs(String),
}

/// How a command's runs ended, besides their verdicts.
pub(crate) struct End {
    /// The exit code of a signal that ended it.
    pub(crate) interrupted: Option<u8>,
    is_deterministic: bool,
}

impl End {
    /// What the command should exit with if its runs' verdicts ask for `code`.
    pub(crate) fn exit_code(&self, code: u8) -> u8 {
        match (self.is_deterministic, code, self.interrupted) {
            (false, ..) => EXIT_NON_DETERMINISM,
            (true, 0, Some(signal)) => signal,
            (true, code, _) => code,
        }
    }
}

impl Runner {
    pub(crate) async fn new(
        (runs, artefacts): (&Runs, &Path),
        scenario: Option<&String>,
        bar: ProgressBar,
    ) -> Result<Runner, String> {
        Ok(Runner {
            launcher: selection::launcher(runs.watchdog).await?,
            artefacts: Artefacts::at(artefacts)?,
            side_by_side: runs.jobs,
            scenario: scenario.cloned(),
            bar,
        })
    }

    /// Runs the plans until they are through or a signal comes, and hands each report over, with
    /// the line that replays it.
    pub(crate) async fn run(
        &self,
        plans: impl Iterator<Item = Plan> + Send + 'static,
        mut each: impl FnMut(&Report, &str),
    ) -> End {
        let mut kept = 0;
        let is_deterministic = AtomicBool::new(true);
        let show = |done: Done| {
            let scenario = self.scenario.as_deref().unwrap_or(&done.plan.scenario);
            let replay = outlook::replay_line(&done.plan, scenario);
            if let Second::Differs(_) = done.second {
                is_deterministic.store(false, Ordering::Relaxed);
            }
            if done.report.outcome.verdict() != Verdict::Pass {
                kept += 1;
                self.bar.suspend(|| self.show_failure(&done, &replay, kept <= KEPT_MAX));
            }
            each(&done.report, &replay);
        };
        let (launcher, artefacts) = (self.launcher.clone(), self.artefacts.clone());
        let work = move |plan| {
            let (launcher, artefacts) = (launcher.clone(), artefacts.clone());
            async move { run_one(&launcher, &artefacts, plan).await }
        };
        let interrupted = tokio::select! {
            biased;
            signal = interrupted() => Some(signal),
            () = run_all(self.side_by_side, plans, work, show) => None,
        };
        End { interrupted, is_deterministic: is_deterministic.into_inner() }
    }

    fn show_failure(&self, done: &Done, replay: &str, is_kept: bool) {
        let Done { plan, report, second } = done;
        outlook::show_failure(&report.outcome, build_id(), replay);
        let missing;
        let trace = match second {
            Second::Trace(trace) => trace,
            Second::None => unreachable!("a failing run is run again"),
            Second::Differs(how) => {
                println!("  NOT DETERMINISTIC: {how}");
                missing = Trace::Missing(how.clone());
                &missing
            }
        };
        if !is_kept {
            self.artefacts.forget(plan);
            println!("  no artefacts: {KEPT_MAX} failing runs are kept");
            return;
        }
        match self.artefacts.keep(plan, report, (trace, replay)) {
            Ok(folder) => println!("  artefacts in {}", folder.display()),
            Err(reason) => eprintln!("simulator: {reason}"),
        }
    }
}

async fn run_one(launcher: &Launcher, artefacts: &Artefacts, plan: Plan) -> Done {
    let records = Records { history: true, ..Records::default() };
    let job = Job { plan, records, log: "warn".to_owned() };
    let report = launcher.run(&job).await;
    let second = match report.outcome.verdict() {
        Verdict::Pass => Second::None,
        _ => trace(launcher, artefacts, (&job, &report)).await,
    };
    Done { plan: job.plan, report, second }
}

/// Runs a failing plan once more for its trace, which most runs do not need.
async fn trace(
    launcher: &Launcher,
    artefacts: &Artefacts,
    (job, first): (&Job, &Report),
) -> Second {
    if first.outcome.trace_hash.is_empty() {
        return Second::Trace(Trace::Missing("the run did not come to its end".to_owned()));
    }
    let file = match artefacts.trace_of(&job.plan) {
        Ok(file) => file,
        Err(why) => return Second::Trace(Trace::Missing(why)),
    };
    let records = Records { trace: Some(file.clone()), ..Records::default() };
    let second = launcher.run(&Job { records, ..job.clone() }).await.outcome;
    if second == first.outcome {
        return Second::Trace(Trace::Whole);
    }
    // It is not the trace of the run whose history is kept.
    let _ = std::fs::remove_file(file);
    if second.trace_hash.is_empty() {
        let why = second.violations.first().map_or_else(String::new, |why| why.text.clone());
        return Second::Trace(Trace::Missing(format!("the second run: {why}")));
    }
    let (one, other) = (&first.outcome.trace_hash, &second.trace_hash);
    Second::Differs(format!("the first run's trace is {one}, the second's {other}"))
}
