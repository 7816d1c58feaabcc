//! `simulator run`: many seeds, one line a failing one, sums at the end.

use rivven_simulator::ensemble::Totals;
use rivven_simulator::run::probes;

use crate::args::Run;
use crate::failing::Runner;
use crate::out::say;
use crate::{outlook, selection};

/// An ensemble over all scenarios with so many runs must have hit every probe.
const RUNS_FOR_ALL_PROBES: u64 = 1_000;

pub(crate) async fn sweep(args: Run) -> Result<u8, String> {
    let planted = selection::planted(args.planted.as_deref())?;
    let plans = selection::plans(&args.select, &planted, args.time)?;
    let bar = outlook::bar(selection::count(&args.select, args.time));
    let scenario = args.select.scenario.as_ref();
    let runner = Runner::new((&args.runs, &args.artefacts), scenario, bar).await?;
    let mut totals = Totals::default();
    let end = runner.run(plans, |report, _| {
        totals.add(&report.outcome);
        runner.bar.set_message(format!("{} failed", totals.failed));
        runner.bar.inc(1);
    });
    let end = end.await;
    runner.bar.finish_and_clear();
    let known: Vec<&str> = probes::expected().collect();
    outlook::show_totals(&totals, &known);
    let never = outlook::missed(&totals, &known);
    let whole = args.select.all && planted.is_empty() && totals.runs >= RUNS_FOR_ALL_PROBES;
    if args.runs.json {
        say!("{}", serde_json::to_string(&totals).map_err(|error| error.to_string())?);
    }
    let code = match totals.exit_code() {
        // What was cut short proves nothing about what it would have hit.
        0 if whole && !never.is_empty() && end.interrupted.is_none() => 1,
        code => code,
    };
    Ok(end.exit_code(code))
}
