//! `simulator soak`: runs over all scenarios for so much simulated or real time, whatever fails.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rivven_simulator::ensemble::Totals;
use rivven_simulator::launch::Report;
use rivven_simulator::run::outcome::Verdict;
use serde::Serialize;

use crate::args::{Select, Soak};
use crate::failing::Runner;
use crate::out::{note, say};
use crate::outlook::tenths;
use crate::{outlook, selection};

/// How often a soak that nobody watches says how far it is.
const STATUS_EVERY: Duration = Duration::from_secs(60);
/// How often the bar shows the time.
const TICK: Duration = Duration::from_millis(200);
/// Processor time is told in hundredths of a second, whatever the kernel itself counts in.
const TICKS_PER_SECOND: f64 = 100.0;
const SECONDS_PER_HOUR: f64 = 3_600.0;

/// A failing run, for the list at the end.
#[derive(Serialize)]
struct Failure {
    scenario: String,
    seed: u64,
    verdict: Verdict,
    properties: Vec<String>,
    replay: String,
}

/// The last line with `--json`.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    totals: &'a Totals,
    #[serde(flatten)]
    rates: Rates,
    failures: &'a [Failure],
    interrupted: bool,
}

#[derive(Clone, Copy, Serialize)]
struct Rates {
    wall_seconds: f64,
    simulated_per_wall_second: f64,
    /// Of this process and its children; `None` where nobody tells.
    cpu_seconds: Option<f64>,
    crashes_per_simulated_hour: f64,
}

pub(crate) async fn soak(args: Soak) -> Result<u8, String> {
    let select = Select { scenario: None, all: true, seed: None, seeds: Some(args.seeds) };
    let simulated_ms = Arc::new(AtomicU64::new(0));
    let (done_ms, wanted) = (simulated_ms.clone(), args.simulated);
    let plans = selection::plans(&select, "", args.time)?.take_while(move |_| {
        let done = Duration::from_millis(done_ms.load(Ordering::Relaxed));
        wanted.is_none_or(|wanted| done < wanted)
    });
    let runner = Runner::new((&args.runs, &args.artefacts), None, bar(&args)?).await?;
    let mut totals = Totals::default();
    let mut failures = Vec::new();
    let began = Instant::now();
    let mut told = began;
    let end = runner.run(plans, |report, replay| {
        totals.add(&report.outcome);
        simulated_ms.fetch_add(report.outcome.simulated_ms, Ordering::Relaxed);
        if report.outcome.verdict() != Verdict::Pass {
            failures.push(failure(report, replay));
        }
        let status = status(&totals, began);
        if !std::io::stderr().is_terminal() && told.elapsed() >= STATUS_EVERY {
            told = Instant::now();
            note!("{status}");
        }
        runner.bar.set_message(status);
        runner.bar.set_position(match args.simulated {
            Some(_) => totals.simulated_seconds,
            None => began.elapsed().as_secs(),
        });
    });
    let end = end.await;
    runner.bar.finish_and_clear();
    let rates = rates(&totals, began);
    show(&totals, rates, &failures);
    if args.runs.json {
        let interrupted = end.interrupted.is_some();
        let json = Json { totals: &totals, rates, failures: &failures, interrupted };
        say!("{}", serde_json::to_string(&json).map_err(|error| error.to_string())?);
    }
    match end.exit_code(totals.exit_code()) {
        // To be ended is nothing unusual for a soak.
        _ if end.interrupted.is_some() && totals.failed == 0 => Ok(0),
        code => Ok(code),
    }
}

/// How much of the wanted time is over.
fn bar(args: &Soak) -> Result<ProgressBar, String> {
    let (bar, template) = match (args.simulated, args.time) {
        (Some(simulated), _) => (
            ProgressBar::new(simulated.as_secs()),
            "{bar:20} {pos}/{len} simulated s, {elapsed} {msg}",
        ),
        (None, Some(time)) => {
            (ProgressBar::new(time.as_secs()), "{bar:20} {elapsed} of {len}s {msg}")
        }
        (None, None) => (ProgressBar::no_length(), "{spinner} {elapsed} {msg}"),
    };
    let style = ProgressStyle::with_template(template).map_err(|error| error.to_string())?;
    bar.enable_steady_tick(TICK);
    Ok(bar.with_style(style))
}

fn rates(totals: &Totals, began: Instant) -> Rates {
    let wall_seconds = began.elapsed().as_secs_f64();
    let simulated = totals.simulated_seconds as f64;
    let per = |count: f64, of: f64| if of > 0.0 { count / of } else { 0.0 };
    Rates {
        wall_seconds: tenths(wall_seconds),
        simulated_per_wall_second: tenths(per(simulated, wall_seconds)),
        cpu_seconds: cpu_seconds(),
        crashes_per_simulated_hour: tenths(per(
            totals.crashes as f64,
            simulated / SECONDS_PER_HOUR,
        )),
    }
}

/// Processor time of this process and of its children that have ended (proc_pid_stat(5)).
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything; behind it the third field begins.
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_whitespace().skip(11).take(4).map(|field| field.parse::<u64>().ok());
    let ticks: u64 = times.sum::<Option<u64>>()?;
    Some(tenths(ticks as f64 / TICKS_PER_SECOND))
}

fn status(totals: &Totals, began: Instant) -> String {
    let rates = rates(totals, began);
    format!(
        "{} simulated s, {} a second, {} crashes a simulated hour, {} runs, {} failed",
        totals.simulated_seconds,
        rates.simulated_per_wall_second,
        rates.crashes_per_simulated_hour,
        totals.runs,
        totals.failed
    )
}

fn failure(report: &Report, replay: &str) -> Failure {
    let outcome = &report.outcome;
    let mut properties: Vec<String> =
        outcome.violations.iter().map(|violation| violation.property.clone()).collect();
    properties.sort();
    properties.dedup();
    Failure {
        scenario: outcome.scenario.clone(),
        seed: outcome.seed,
        verdict: outcome.verdict(),
        properties,
        replay: replay.to_owned(),
    }
}

fn show(totals: &Totals, rates: Rates, failures: &[Failure]) {
    outlook::show_totals(totals, &[]);
    let cpu = rates.cpu_seconds.map_or(String::new(), |cpu| format!(", {cpu} CPU s"));
    say!(
        "{} wall s{cpu}, {} simulated s a wall second, {} crashes a simulated hour",
        rates.wall_seconds,
        rates.simulated_per_wall_second,
        rates.crashes_per_simulated_hour
    );
    if !failures.is_empty() {
        say!("{} failed:", failures.len());
    }
    for failure in failures {
        say!("  {}  # {}", failure.replay, failure.properties.join(" "));
    }
}
