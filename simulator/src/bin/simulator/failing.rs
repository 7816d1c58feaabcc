//! Runs of many plans: a failing one is run once more for its trace, shown, and kept.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;
use rivven_simulator::ensemble::run_all;
use rivven_simulator::launch::{Job, Launcher, Report};
use rivven_simulator::plan::Plan;
use rivven_simulator::run::outcome::{Outcome, Verdict};
use rivven_simulator::run::{Records, Wanted};

use crate::args::Runs;
use crate::artefacts::{Artefacts, Partial, Trace};
use crate::build_id::build_id;
use crate::interrupt::interrupted;
use crate::meta::EXIT_NON_DETERMINISM;
use crate::out::{note, say};
use crate::{EXIT_HARNESS, outlook, selection};

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

/// A run.
struct Done {
    plan: Plan,
    report: Report,
    /// If it failed: what its second run gave, and where that is.
    left: Option<(Trace, Partial)>,
}

/// How a command's runs ended, besides their verdicts.
pub(crate) struct End {
    /// The exit code of a signal that ended it.
    pub(crate) interrupted: Option<u8>,
    is_deterministic: bool,
    /// Whether no run was lost by a mistake of the simulator.
    is_whole: bool,
}

impl End {
    /// What the command should exit with if its runs' verdicts ask for `code`.
    pub(crate) fn exit_code(&self, code: u8) -> u8 {
        match (self.is_deterministic, code, self.interrupted) {
            (false, ..) => EXIT_NON_DETERMINISM,
            (true, ..) if !self.is_whole => EXIT_HARNESS,
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
        let show = |Done { plan, report, left }: Done| {
            let scenario = self.scenario.as_deref().unwrap_or(&plan.scenario);
            let replay = outlook::replay_line(&plan, scenario);
            if let Some((trace, partial)) = left {
                if let Trace::Differs(_) = trace {
                    is_deterministic.store(false, Ordering::Relaxed);
                }
                kept += 1;
                let partial = (kept <= KEPT_MAX).then_some(partial);
                let folder = partial.map(|partial| partial.keep(&plan, &report, (&trace, &replay)));
                self.bar.suspend(|| show_failure(&report.outcome, (&trace, &replay), folder));
            }
            each(&report, &replay);
        };
        let (launcher, artefacts) = (self.launcher.clone(), self.artefacts.clone());
        let work = move |plan| {
            let (launcher, artefacts) = (launcher.clone(), artefacts.clone());
            async move { run_one(&launcher, &artefacts, plan).await }
        };
        let (interrupted, ended) = tokio::select! {
            biased;
            signal = interrupted() => (Some(signal), Ok(())),
            ended = run_all(self.side_by_side, plans, work, show) => (None, ended),
        };
        if let Err(mistake) = &ended {
            self.bar.suspend(|| note!("simulator: {mistake}"));
        }
        let is_deterministic = is_deterministic.into_inner();
        End { interrupted, is_deterministic, is_whole: ended.is_ok() }
    }
}

/// Prints a failing run and where its files are, if they were kept.
fn show_failure(
    outcome: &Outcome,
    (trace, replay): (&Trace, &str),
    folder: Option<Result<PathBuf, String>>,
) {
    outlook::show_failure(outcome, build_id(), replay);
    if let Trace::Differs(how) = trace {
        say!("  NOT DETERMINISTIC: {how}");
    }
    match folder {
        Some(Ok(folder)) => say!("  artefacts in {}", folder.display()),
        Some(Err(reason)) => note!("simulator: {reason}"),
        None => say!("  no artefacts: {KEPT_MAX} failing runs are kept"),
    }
}

/// The log of a run. Which task said something costs every run a twentieth of its time: it is in
/// the log of a failing run, which is repeated if it came to its end.
const LOG: &str = "warn,madsim=off";
const LOG_OF_FAILED: &str = "warn";

async fn run_one(launcher: &Launcher, artefacts: &Artefacts, plan: Plan) -> Done {
    let records = Records { history: Wanted::OfFailed, ..Records::default() };
    let job = Job { plan, records, log: LOG.to_owned() };
    let mut report = launcher.run(&job).await;
    let left = match report.outcome.verdict() {
        Verdict::Pass => None,
        _ => {
            // If a signal ends the command, it goes after the child that writes into it.
            let partial = artefacts.of(&job.plan);
            let trace = trace(launcher, &partial, (&job, &mut report)).await;
            Some((trace, partial))
        }
    };
    Done { plan: job.plan, report, left }
}

/// Runs a failing plan once more for its trace and a log that says more, which most runs do not
/// need.
async fn trace(launcher: &Launcher, partial: &Partial, (job, first): (&Job, &mut Report)) -> Trace {
    if first.outcome.trace_hash.is_empty() {
        return Trace::Missing("the run did not come to its end".to_owned());
    }
    let file = match partial.trace() {
        Ok(file) => file,
        Err(why) => return Trace::Missing(why),
    };
    let records = Records { trace: Some(file.clone()), ..Records::default() };
    let again = Job { records, log: LOG_OF_FAILED.to_owned(), ..job.clone() };
    let Report { outcome: second, log, .. } = launcher.run(&again).await;
    if second == first.outcome {
        first.log = log;
        return Trace::Whole;
    }
    // It is not the trace of the run whose history is kept.
    let _ = std::fs::remove_file(file);
    if second.trace_hash.is_empty() {
        let why = second.violations.first().map_or_else(String::new, |why| why.text.clone());
        return Trace::Missing(format!("the second run: {why}"));
    }
    let (one, other) = (&first.outcome.trace_hash, &second.trace_hash);
    Trace::Differs(format!("the first run's trace is {one}, the second's {other}"))
}
