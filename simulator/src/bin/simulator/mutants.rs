//! `simulator mutants`: how many seeds it takes to find each planted bug.

use std::collections::BTreeSet;

use rivven_simulator::ensemble::run_all;
use rivven_simulator::launch::{Job, Report};
use rivven_simulator::plan::Plan;
use rivven_simulator::planted::{self, PlantedBug};
use rivven_simulator::run::Records;

use crate::args::Mutants;
use crate::selection;

/// Real time that a run may take.
const WATCHDOG: std::time::Duration = std::time::Duration::from_secs(120);

pub(crate) async fn mutants(args: Mutants) -> Result<u8, String> {
    let only = selection::planted(args.only.as_deref())?;
    println!("| bug | scenario | red seeds | first | found by | what |");
    println!("|---|---|---|---|---|---|");
    let mut caught = true;
    for bug in planted::ALL.iter().filter(|bug| only.is_empty() || bug.id == only) {
        caught &= score(&args, bug).await?;
    }
    Ok(u8::from(!caught))
}

/// Prints a bug's row; whether one of its own oracles found it.
async fn score(args: &Mutants, bug: &'static PlantedBug) -> Result<bool, String> {
    let scenario = selection::scenario(bug.scenario)?;
    let launcher = selection::launcher(WATCHDOG).await?;
    let plans: Vec<Plan> =
        (args.seeds.from..args.seeds.end).map(|seed| Plan::draw(&scenario, seed, bug.id)).collect();
    let jobs =
        plans.into_iter().map(|plan| Job { plan, records: Records::default(), log: String::new() });
    let mut red = BTreeSet::new();
    let mut found_by = BTreeSet::new();
    let each = |job: Job, report: Report| {
        for violation in report.outcome.violations {
            if bug.oracles.contains(&violation.property.as_str()) {
                red.insert(job.plan.seed);
            }
            found_by.insert(violation.property);
        }
    };
    run_all(&launcher, args.jobs, jobs, each).await;
    let first = red.first().map_or("never".to_owned(), u64::to_string);
    let found_by: Vec<String> = found_by.into_iter().collect();
    let (id, what, count) = (bug.id, bug.what, args.seeds.end - args.seeds.from);
    println!(
        "| {id} | {} | {} of {count} | {first} | {} | {what} |",
        bug.scenario,
        red.len(),
        found_by.join(" ")
    );
    Ok(!red.is_empty())
}
