//! `simulator cover`: which faults, components and oracles came together in many runs, and what
//! none of them reached.

use console::Style;
use rivven_simulator::coverage::{Coverage, FaultCoverage, Missed};
use rivven_simulator::ensemble::Totals;
use rivven_simulator::oracles::ORACLES;
use rivven_simulator::run::catalogue;
use rivven_simulator::run::probes::COMPONENTS;
use serde::Serialize;

use crate::args::Cover;
use crate::failing::Runner;
use crate::out::say;
use crate::table::{Table, plain};
use crate::{out, outlook, selection};

/// The last line with `--json`.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    totals: &'a Totals,
    coverage: &'a Coverage,
    #[serde(flatten)]
    missed: &'a Missed,
}

pub(crate) async fn cover(mut args: Cover) -> Result<u8, String> {
    let select = &mut args.select;
    select.all |= select.scenario.is_none();
    if select.seed.is_none() && select.seeds.is_none() && args.time.is_none() {
        return Err("say which runs: --seeds 0..1000, or --for 10m".to_owned());
    }
    let plans = selection::plans(&args.select, "", args.time)?;
    let bar = outlook::bar(selection::count(&args.select, args.time));
    let scenario = args.select.scenario.as_ref();
    let runner = Runner::new((&args.runs, &args.artefacts), scenario, bar).await?;
    let (mut totals, mut coverage) = (Totals::default(), Coverage::default());
    let end = runner.run(plans, |report, _| {
        totals.add(&report.outcome);
        coverage.add(&report.outcome);
        let missed = coverage.missed();
        let left = missed.probes_never_hit.len()
            + missed.faults_never_effective.len()
            + missed.oracles_that_never_judged.len();
        runner.bar.set_message(format!("{left} not reached yet, {} failed", totals.failed));
        runner.bar.inc(1);
    });
    let end = end.await;
    runner.bar.finish_and_clear();
    let missed = coverage.missed();
    show(&totals, &coverage, &missed);
    if args.runs.json {
        let json = Json { totals: &totals, coverage: &coverage, missed: &missed };
        say!("{}", serde_json::to_string(&json).map_err(|error| error.to_string())?);
    }
    let code = match totals.exit_code() {
        // What was cut short proves nothing about what it would have reached.
        0 if args.select.all && !missed.is_empty() && end.interrupted.is_none() => 1,
        code => code,
    };
    Ok(end.exit_code(code))
}

fn show(totals: &Totals, coverage: &Coverage, missed: &Missed) {
    say!("Runs in which a fault was injected, and in which it changed something:\n");
    out::print(format_args!("{}", faults(coverage).text()));
    say!("\nRuns in which it changed something and a component hit one of its probes:\n");
    out::print(format_args!("{}", components(totals.runs, coverage).text()));
    say!("\nRuns in which it changed something and an oracle had something to judge:\n");
    out::print(format_args!("{}", oracles(totals.runs, coverage).text()));
    say!();
    for (what, names) in [
        ("probes never hit", &missed.probes_never_hit),
        ("faults never effective", &missed.faults_never_effective),
        ("oracles that never judged", &missed.oracles_that_never_judged),
    ] {
        match names.is_empty() {
            true => say!("{what}: {}", Style::new().green().apply_to("none")),
            false => say!("{what}: {}", Style::new().red().apply_to(names.join(", "))),
        }
    }
    outlook::show_looked(totals.looked);
    say!(
        "{} runs, {} failed; {} simulated s",
        totals.runs,
        totals.failed,
        totals.simulated_seconds
    );
}

fn faults(coverage: &Coverage) -> Table {
    let mut table = Table::new(3, ["fault", "what", "by", "injected", "effective"]);
    for fault in &catalogue::ALL {
        let of = coverage.faults.get(fault.number).cloned().unwrap_or_default();
        table.row([
            plain(fault.number),
            plain(fault.about),
            plain(fault.kinds.join(" ")),
            plain(of.injected.to_string()),
            count(of.effective),
        ]);
    }
    table
}

/// A row for each fault and a column for each component; the first row is of all runs.
fn components(runs: u64, coverage: &Coverage) -> Table {
    let names = || COMPONENTS.iter().map(|component| component.name);
    let mut table = Table::new(1, ["fault", "runs"].into_iter().chain(names()));
    let all = |name: &str| coverage.components.get(name).copied().unwrap_or_default();
    table.row(cells("all", runs, names().map(all)));
    for (number, fault) in rows(coverage) {
        let of = |name: &str| fault.components.get(name).copied().unwrap_or_default();
        table.row(cells(number, fault.effective, names().map(of)));
    }
    table
}

/// The same for oracles.
fn oracles(runs: u64, coverage: &Coverage) -> Table {
    let ids = || ORACLES.iter().map(|oracle| oracle.id);
    let mut table = Table::new(1, ["fault", "runs"].into_iter().chain(ids()));
    let all = |id: &str| coverage.oracles.get(id).map_or(0, |oracle| oracle.runs);
    table.row(cells("all", runs, ids().map(all)));
    for (number, fault) in rows(coverage) {
        let of = |id: &str| fault.oracles.get(id).copied().unwrap_or_default();
        table.row(cells(number, fault.effective, ids().map(of)));
    }
    table
}

/// The faults that were effective, in the catalogue's order.
fn rows(coverage: &Coverage) -> impl Iterator<Item = (&'static str, &FaultCoverage)> {
    let numbers = catalogue::ALL.iter().map(|fault| fault.number);
    let rows = numbers.filter_map(|number| Some((number, coverage.faults.get(number)?)));
    rows.filter(|(_, fault)| fault.effective > 0)
}

fn cells(
    name: &str,
    runs: u64,
    counts: impl Iterator<Item = u64>,
) -> impl Iterator<Item = (String, Style)> {
    [plain(name), plain(runs.to_string())].into_iter().chain(counts.map(count))
}

/// A count of runs; none is what the eye must find.
fn count(runs: u64) -> (String, Style) {
    match runs {
        0 => ("-".to_owned(), Style::new().red().bold()),
        _ => (runs.to_string(), Style::new().green()),
    }
}
