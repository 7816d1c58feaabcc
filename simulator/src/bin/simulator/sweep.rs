//! `simulator run`: many seeds, one line a failing one, sums at the end.

use rivven_simulator::ensemble::{Totals, run_all};
use rivven_simulator::launch::{Job, Report};
use rivven_simulator::run::Records;
use rivven_simulator::run::outcome::Verdict;

use crate::args::Run;
use crate::{artefacts, outlook, selection};

/// An ensemble over all scenarios with so many runs must have hit every probe.
const RUNS_FOR_ALL_PROBES: u64 = 1_000;

pub(crate) async fn sweep(args: Run) -> Result<u8, String> {
    let planted = selection::planted(args.planted.as_deref())?;
    let plans = selection::plans(&args.select, &planted, args.time)?;
    let launcher = selection::launcher(args.select.watchdog).await?;
    let records = Records { history: true, ..Records::default() };
    let jobs =
        plans.map(move |plan| Job { plan, records: records.clone(), log: "warn".to_owned() });
    let bar = outlook::bar(selection::count(&args.select, args.time));
    let build = outlook::build();
    let mut totals = Totals::default();
    let each = |job: Job, report: Report| {
        totals.add(&report.outcome);
        if report.outcome.verdict() != Verdict::Pass {
            let scenario = args.select.scenario.as_deref().unwrap_or(&job.plan.scenario);
            let replay = outlook::replay_line(&job.plan, scenario);
            bar.suspend(|| outlook::show_failure(&report.outcome, &build, &replay));
            if let Some(folder) = artefacts::keep(&args.artefacts, &job.plan, &report, &build) {
                bar.suspend(|| println!("  artefacts in {}", folder.display()));
            }
        }
        bar.set_message(format!("{} failed", totals.failed));
        bar.inc(1);
    };
    run_all(&launcher, args.select.jobs, jobs, each).await;
    bar.finish_and_clear();
    outlook::show_totals(&totals, &rivven_simulator::run::probes::ALL);
    let never = outlook::missed(&totals, &rivven_simulator::run::probes::ALL);
    let whole = args.select.all && planted.is_empty() && totals.runs >= RUNS_FOR_ALL_PROBES;
    if args.select.json {
        println!("{}", serde_json::to_string(&totals).map_err(|error| error.to_string())?);
    }
    match totals.exit_code() {
        0 if whole && !never.is_empty() => Ok(1),
        code => Ok(code),
    }
}
