//! Children of this test binary.

use std::time::Duration;

use rivven_simulator::launch::{self, Job, Launcher, Report};
use rivven_simulator::plan::Plan;
use rivven_simulator::run::Records;
use rivven_simulator::run::outcome::Outcome;
use rivven_simulator::scenario::registry;

/// Real time of one run; a loaded machine is slow, a stuck run is not quick to see.
const WATCHDOG: Duration = Duration::from_secs(300);

/// The whole life of a child; without a parent it is a test that has nothing to do.
#[test]
fn a_child_process_runs_one_plan() {
    if launch::is_child() {
        launch::serve();
    }
}

/// Runs a plan in a fresh process.
pub(crate) fn run(plan: &Plan, records: Records) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let test = ["--exact", "harness::a_child_process_runs_one_plan", "--nocapture"];
        let program = std::env::current_exe().expect("this binary has a path").into_os_string();
        let command = [program].into_iter().chain(test.map(Into::into)).collect();
        let launcher = Launcher::new(command, WATCHDOG).await;
        launcher.run(&Job { plan: plan.clone(), records, log: String::new() }).await
    })
}

/// Runs one seed of a scenario, with a planted bug unless `planted` is empty.
pub(crate) fn outcome(scenario: &str, seed: u64, planted: &str) -> Outcome {
    let scenario = registry::find(scenario).expect("a known scenario");
    run(&Plan::draw(scenario, seed, planted), Records::default()).outcome
}

/// What broke, and how to see it again.
pub(crate) fn explain(outcome: &Outcome) -> String {
    let Outcome { scenario, seed, .. } = outcome;
    let mut text = format!("seed {seed} of {scenario} failed:\n");
    for violation in &outcome.violations {
        let at = violation.at_ns / 1_000_000;
        text += &format!(
            "  {} at {at} ms, node {}: {}\n",
            violation.property, violation.node, violation.text
        );
    }
    let planted = match outcome.planted.as_str() {
        "" => String::new(),
        id => format!(" --planted {id}"),
    };
    text += &format!("  replay with: cargo sim replay {scenario} --seed {seed}{planted}");
    text
}
