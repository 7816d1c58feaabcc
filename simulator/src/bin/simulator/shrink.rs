//! `simulator shrink`: a small plan that breaks the same property, as a file to keep.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rivven_simulator::plan::Plan;
use rivven_simulator::shrink::parts::operations;
use rivven_simulator::shrink::words::{fault_in_words, head};
use rivven_simulator::shrink::{self, Progress, Settings, ShrinkError, Shrunk};

use crate::args::Shrink;
use crate::out::{note, say};
use crate::output::Output;
use crate::{EXIT_HARNESS, artefacts, selection};

const EXIT_PASSES: u8 = 1;
const EXIT_UNCONFIRMED: u8 = 2;
const EXIT_HANGS: u8 = 3;
/// How often the bar shows the time.
const TICK: Duration = Duration::from_millis(200);

pub(crate) async fn shrink(args: Shrink) -> Result<u8, String> {
    let plan = selection::plan(&args.one)?;
    let out = args.out.clone().unwrap_or_else(|| default_out(&plan));
    let output = Output::at(&out, "--out")?;
    let launcher = selection::launcher(args.watchdog).await?;
    let settings =
        Settings { budget: args.budget, side_by_side: args.jobs, property: args.property.clone() };
    let bar = bar(args.budget)?;
    let began = Instant::now();
    let told = |progress: &Progress<'_>| show(&bar, progress, began);
    let shrunk = shrink::shrink(&launcher, &plan, &settings, told).await;
    bar.finish_and_clear();
    let shrunk = match shrunk {
        Ok(shrunk) => shrunk,
        Err(error) => {
            note!("simulator: {}: {error}", args.one.what);
            return Ok(exit_code(&error));
        }
    };
    let file = out.display().to_string();
    let text = head(&shrunk.plan, &shrunk.violation, shrunk.before, &file);
    output.write(&format!("{text}{}", shrunk.plan.to_toml()))?;
    report(&shrunk, &file, began.elapsed());
    if args.json {
        say!("{}", json(&shrunk, &file, began.elapsed()));
    }
    Ok(0)
}

fn exit_code(error: &ShrinkError) -> u8 {
    match error {
        ShrinkError::Passes | ShrinkError::OtherProperty { .. } => EXIT_PASSES,
        ShrinkError::Unconfirmed { .. } | ShrinkError::Elusive { .. } => EXIT_UNCONFIRMED,
        ShrinkError::Hangs { .. } => EXIT_HANGS,
        ShrinkError::Harness { .. } => EXIT_HARNESS,
    }
}

fn default_out(plan: &Plan) -> PathBuf {
    Path::new("target/simulator/shrunk").join(format!("{}.toml", artefacts::name(plan)))
}

/// How much of the budget is used, and what is tried.
fn bar(budget: Duration) -> Result<ProgressBar, String> {
    let bar = ProgressBar::new(budget.as_secs());
    let style = ProgressStyle::with_template("{bar:30} {elapsed} of {len}s {msg}");
    bar.set_style(style.map_err(|error| error.to_string())?);
    bar.enable_steady_tick(TICK);
    Ok(bar)
}

fn show(bar: &ProgressBar, progress: &Progress<'_>, began: Instant) {
    let Progress { plan, what, candidate, candidates, runs } = progress;
    bar.set_position(began.elapsed().as_secs());
    let (faults, operations) = (plan.faults.len(), operations(plan));
    bar.set_message(format!(
        "{what} {candidate}/{candidates} · {faults} faults, {operations} operations left · \
         {runs} runs"
    ));
}

fn report(shrunk: &Shrunk, file: &str, took: Duration) {
    let Shrunk { plan, violation, before, runs, is_minimal, trace_hash } = shrunk;
    let planted = match plan.planted.as_str() {
        "" => String::new(),
        id => format!(" with {id} planted"),
    };
    say!("{} seed {}{planted} breaks {}", plan.scenario, before.seed, violation.property);
    say!(
        "  faults {} of {}, operations {} of {}",
        plan.faults.len(),
        before.faults,
        operations(plan),
        before.operations
    );
    for fault in &plan.faults {
        say!("    {}", fault_in_words(fault));
    }
    let end = if *is_minimal { "nothing more can be left out" } else { "the time was up" };
    say!("  {} s, {runs} runs; {end}", took.as_secs());
    say!("  it fails alike in three fresh processes, trace {trace_hash}");
    say!("  cargo sim replay {file}");
}

fn json(shrunk: &Shrunk, file: &str, took: Duration) -> String {
    let Shrunk { plan, violation, before, runs, is_minimal, trace_hash } = shrunk;
    serde_json::json!({
        "scenario": plan.scenario,
        "seed": before.seed,
        "planted": plan.planted,
        "property": violation.property,
        "faults_before": before.faults,
        "faults": plan.faults.len(),
        "operations_before": before.operations,
        "operations": operations(plan),
        "clients": plan.workload.clients.len(),
        "runs": runs,
        "milliseconds": took.as_millis(),
        "is_minimal": is_minimal,
        "trace_hash": trace_hash,
        "file": file,
    })
    .to_string()
}
