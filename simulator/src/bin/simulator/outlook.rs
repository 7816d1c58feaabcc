//! What a command prints: progress, failing runs, sums.

use indicatif::{ProgressBar, ProgressStyle};
use rivven_simulator::ensemble::Totals;
use rivven_simulator::linear::Looked;
use rivven_simulator::plan::Plan;
use rivven_simulator::run::outcome::Outcome;

use crate::out::say;

/// Violations printed of one run.
const VIOLATIONS_SHOWN: usize = 5;

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn bar(runs: Option<u64>) -> ProgressBar {
    let (bar, template) = match runs {
        Some(runs) => (ProgressBar::new(runs), "{bar:30} {pos}/{len} {elapsed} eta {eta} {msg}"),
        None => (ProgressBar::no_length(), "{spinner} {pos} {elapsed} {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the template is well formed"))
}

/// The command that makes a run again.
pub(crate) fn replay_line(plan: &Plan, scenario: &str) -> String {
    let planted = match plan.planted.as_str() {
        "" => String::new(),
        id => format!(" --planted {id}"),
    };
    format!("cargo sim replay {scenario} --seed {}{planted}", plan.seed)
}

/// Prints a failing run: what broke, when, where, and how to see it again.
pub(crate) fn show_failure(outcome: &Outcome, build: &str, replay: &str) {
    say!("FAILED {} seed {} build {build}", outcome.scenario, outcome.seed);
    for violation in outcome.violations.iter().take(VIOLATIONS_SHOWN) {
        let at = seconds(violation.at_ns);
        say!("  {} at {at} node {}: {}", violation.property, violation.node, violation.text);
    }
    let more = outcome.violations.len().saturating_sub(VIOLATIONS_SHOWN);
    if more > 0 {
        say!("  and {more} more");
    }
    say!("  {replay}");
}

/// Virtual time as seconds.
pub(crate) fn seconds(at_ns: u64) -> String {
    format!("{}.{:06} s", at_ns / 1_000_000_000, at_ns % 1_000_000_000 / 1_000)
}

/// A number as it is told.
pub(crate) fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Prints the sums in words.
pub(crate) fn show_totals(totals: &Totals, known_probes: &[&str]) {
    say!(
        "{} runs, {} failed; {} simulated s, {} operations acked, {} crashes, {} recoveries",
        totals.runs,
        totals.failed,
        totals.simulated_seconds,
        totals.operations_acked,
        totals.crashes,
        totals.recoveries
    );
    let pairs = |counts: &std::collections::BTreeMap<String, u64>| {
        let pairs: Vec<String> =
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        pairs.join(", ")
    };
    say!("faults injected: {}", pairs(&totals.faults_injected));
    say!("faults effective: {}", pairs(&totals.faults_effective));
    say!("probes: {}", pairs(&totals.probes));
    show_looked(totals.looked);
    let never = missed(totals, known_probes);
    if !never.is_empty() {
        say!("probes never hit: {}", never.join(", "));
    }
}

/// Prints what I48 and I49 searched.
pub(crate) fn show_looked(looked: Looked) {
    say!(
        "searched for an order: {} histories, {} operations judged, {} windows given up",
        looked.histories,
        looked.operations,
        looked.given_up
    );
}

/// Probes that no run hit.
pub(crate) fn missed<'a>(totals: &Totals, known: &[&'a str]) -> Vec<&'a str> {
    known.iter().copied().filter(|name| !totals.probes.contains_key(*name)).collect()
}
