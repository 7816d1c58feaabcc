//! A seed that fails in one binary fails in `simulator replay` too, by the same property at the
//! same virtual time.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test may panic outside its test function, too")]

use std::time::Duration;

use rivven_simulator::launch::{self, Job, Launcher};
use rivven_simulator::plan::Plan;
use rivven_simulator::run::Records;
use rivven_simulator::run::outcome::{Outcome, Verdict};
use rivven_simulator::scenario::registry;
use tokio::process::Command;

const WATCHDOG: Duration = Duration::from_secs(300);
/// Every acknowledged record is in danger: nearly each seed is red.
const PLANTED: &str = "B01";

/// The whole life of a child; without a parent it is a test that has nothing to do.
#[test]
fn a_child_process_runs_one_plan() {
    if launch::is_child() {
        launch::serve();
    }
}

#[test]
fn a_seed_that_fails_here_fails_in_the_command_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let here = first_red().await;
        let seed = here.seed.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_simulator"));
        command.args(["replay", &here.scenario, "--seed", &seed, "--planted", PLANTED, "--json"]);
        let output = command.output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        let there: Outcome = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(there, here);
    });
}

async fn first_red() -> Outcome {
    let test = ["--exact", "a_child_process_runs_one_plan", "--nocapture"];
    let program = std::env::current_exe().unwrap().into_os_string();
    let command = [program].into_iter().chain(test.map(Into::into)).collect();
    let launcher = Launcher::new(command, WATCHDOG).await;
    let scenario = registry::find("power_cuts").unwrap();
    for seed in 0..50 {
        let plan = Plan::draw(scenario, seed, PLANTED);
        let job = Job { plan, records: Records::default(), log: String::new() };
        let outcome = launcher.run(&job).await.outcome;
        if outcome.verdict() == Verdict::Failed {
            return outcome;
        }
    }
    panic!("50 seeds do not find {PLANTED}");
}
