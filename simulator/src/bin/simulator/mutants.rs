//! `simulator mutants`: how many seeds it takes to find each planted bug.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rivven_simulator::ensemble::run_all;
use rivven_simulator::launch::{Job, Launcher};
use rivven_simulator::plan::Plan;
use rivven_simulator::planted::{self, PlantedBug};
use rivven_simulator::run::Records;
use rivven_simulator::run::outcome::{Outcome, Verdict};
use serde::Serialize;

use crate::args::Mutants;
use crate::out::say;
use crate::outlook::tenths;
use crate::{EXIT_HARNESS, outlook, selection};

/// Columns of the words; what is longer is cut.
const WHAT_MAX: usize = 60;

/// The score of one bug.
#[derive(Serialize)]
struct Score {
    bug: &'static str,
    what: &'static str,
    scenario: &'static str,
    /// The one of its oracles that complained first.
    oracle: Option<String>,
    /// The seed that shows it.
    seed: Option<u64>,
    /// How many seeds were tried up to that one, itself included, or in vain.
    seeds: u64,
    /// Of all these seeds' runs; of the one that shows it, up to the violation.
    simulated_seconds: f64,
    wall_seconds: f64,
}

/// The last line with `--json`.
#[derive(Serialize)]
struct Json<'a> {
    found: usize,
    of: usize,
    median_seeds: Option<f64>,
    median_simulated_seconds: Option<f64>,
    median_wall_seconds: Option<f64>,
    bugs: &'a [Score],
}

pub(crate) async fn mutants(args: Mutants) -> Result<u8, String> {
    let only = selection::planted(args.only.as_deref())?;
    let launcher = selection::launcher(args.runs.watchdog).await?;
    say!("bug  {:WHAT_MAX$} oracle     seed  seeds  simulated s  wall s", "what");
    let mut scores = Vec::new();
    let bar = outlook::bar(None);
    for bug in planted::ALL.iter().filter(|bug| only.is_empty() || bug.id == only) {
        bar.set_message(format!("{} {}", bug.id, bug.what));
        bar.tick();
        let score = match score(&args, &launcher, bug).await? {
            Ok(score) => score,
            Err(outcome) => {
                let replay = outlook::replay_line(&outcome.0, bug.scenario);
                outlook::show_failure(&outcome.1, crate::build_id::build_id(), &replay);
                return Ok(EXIT_HARNESS);
            }
        };
        bar.suspend(|| say!("{}", row(&score)));
        scores.push(score);
    }
    bar.finish_and_clear();
    let found: Vec<&Score> = scores.iter().filter(|score| score.seed.is_some()).collect();
    let of = |what: fn(&Score) -> f64| median(found.iter().map(|score| what(score)).collect());
    let json = Json {
        found: found.len(),
        of: scores.len(),
        median_seeds: of(|score| score.seeds as f64),
        median_simulated_seconds: of(|score| score.simulated_seconds),
        median_wall_seconds: of(|score| score.wall_seconds),
        bugs: &scores,
    };
    show(&json);
    if args.runs.json {
        say!("{}", serde_json::to_string(&json).map_err(|error| error.to_string())?);
    }
    Ok(u8::from(json.found < json.of))
}

/// Tries seeds until one of the bug's own oracles complains; or the run in which the simulator
/// itself made a mistake.
async fn score(
    args: &Mutants,
    launcher: &Launcher,
    bug: &'static PlantedBug,
) -> Result<Result<Score, Box<(Plan, Outcome)>>, String> {
    let scenario = selection::scenario(bug.scenario)?;
    let (from, end) = (args.seeds.from, args.seeds.end);
    // No seed above the lowest that decides is begun; those below are waited for.
    let lowest = Arc::new(AtomicU64::new(u64::MAX));
    let bound = lowest.clone();
    let plans = (from..end)
        .take_while(move |seed| *seed < bound.load(Ordering::Relaxed))
        .map(move |seed| Plan::draw(&scenario, seed, bug.id));
    let began = Instant::now();
    let mut runs: Vec<(Plan, Outcome)> = Vec::new();
    let launcher = launcher.clone();
    let work = move |plan: Plan| {
        let launcher = launcher.clone();
        async move {
            let job = Job { plan, records: Records::default(), log: String::new() };
            let outcome = launcher.run(&job).await.outcome;
            (job.plan, outcome)
        }
    };
    let each = |(plan, outcome): (Plan, Outcome)| {
        if found_by(bug, &outcome).is_some() || outcome.verdict() == Verdict::Harness {
            lowest.fetch_min(plan.seed, Ordering::Relaxed);
        }
        runs.push((plan, outcome));
    };
    run_all(args.runs.jobs, plans, work, each).await?;
    Ok(sum(bug, runs, tenths(began.elapsed().as_secs_f64())))
}

fn found_by<'a>(
    bug: &PlantedBug,
    outcome: &'a Outcome,
) -> Option<&'a rivven_simulator::oracles::Violation> {
    let own = |property: &str| bug.oracles.contains(&property);
    outcome.violations.iter().find(|violation| own(&violation.property))
}

/// What the seeds up to the lowest that shows the bug came to; or the run below it in which the
/// simulator itself made a mistake. What was begun above the lowest counts for nothing.
fn sum(
    bug: &'static PlantedBug,
    mut runs: Vec<(Plan, Outcome)>,
    wall_seconds: f64,
) -> Result<Score, Box<(Plan, Outcome)>> {
    runs.sort_by_key(|(plan, _)| plan.seed);
    let mut score = Score {
        bug: bug.id,
        what: bug.what,
        scenario: bug.scenario,
        oracle: None,
        seed: None,
        seeds: 0,
        simulated_seconds: 0.0,
        wall_seconds,
    };
    for (plan, outcome) in runs {
        score.seeds += 1;
        if let Some(violation) = found_by(bug, &outcome) {
            score.simulated_seconds += violation.at_ns as f64 / 1e9;
            score.oracle = Some(violation.property.clone());
            score.seed = Some(plan.seed);
            break;
        }
        if outcome.verdict() == Verdict::Harness {
            return Err(Box::new((plan, outcome)));
        }
        score.simulated_seconds += outcome.simulated_ms as f64 / 1e3;
    }
    score.simulated_seconds = tenths(score.simulated_seconds);
    Ok(score)
}

fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    let upper = numbers.get(middle)?;
    match numbers.len() % 2 {
        0 => Some(tenths(f64::midpoint(numbers[middle - 1], *upper))),
        _ => Some(*upper),
    }
}

fn row(score: &Score) -> String {
    let what = match score.what.char_indices().nth(WHAT_MAX) {
        Some(_) => format!("{}…", score.what.chars().take(WHAT_MAX - 1).collect::<String>()),
        None => score.what.to_owned(),
    };
    let (oracle, seed) = match (&score.oracle, score.seed) {
        (Some(oracle), Some(seed)) => (oracle.clone(), seed.to_string()),
        _ => ("-".to_owned(), "never".to_owned()),
    };
    let colour = match score.seed {
        Some(_) => console::Style::new(),
        None => console::Style::new().red().bold(),
    };
    let Score { bug, seeds, simulated_seconds, wall_seconds, .. } = score;
    let row = format!(
        "{bug:4} {what:WHAT_MAX$} {oracle:6} {seed:>8} {seeds:>6} {simulated_seconds:>12.1} \
         {wall_seconds:>7.1}"
    );
    colour.apply_to(row).to_string()
}

fn show(json: &Json<'_>) {
    let told = |median: Option<f64>| median.map_or("-".to_owned(), |median| median.to_string());
    say!(
        "{} of {} found; median {} seeds, {} simulated s, {} wall s",
        json.found,
        json.of,
        told(json.median_seeds),
        told(json.median_simulated_seconds),
        told(json.median_wall_seconds)
    );
    say!("(seeds: tried until one of the bug's oracles complained, that one included;");
    say!(" simulated s: of all their runs, of the last one up to the violation)");
}

#[cfg(test)]
mod tests {
    use super::*;
    use rivven_simulator::scenario::registry;

    #[test]
    fn a_mistake_counts_only_below_the_lowest_seed_that_shows_the_bug() {
        let bug = &planted::ALL[0];
        let scenario = registry::find(bug.scenario).unwrap();
        let run = |(seed, property): &(u64, &str)| {
            let plan = Plan::draw(scenario, *seed, bug.id);
            let mut outcome = Outcome::without_run(&plan, property, String::new());
            outcome.violations.retain(|violation| !violation.property.is_empty());
            (plan, outcome)
        };
        let own = bug.oracles[0];
        for (runs, wanted) in [
            (&[(7, "harness"), (6, own), (5, "")][..], Ok((Some(6), 2))),
            (&[(7, own), (6, "harness"), (5, "")], Err(6)),
            (&[(6, own), (7, own)], Ok((Some(6), 1))),
            (&[(5, ""), (6, "")], Ok((None, 2))),
        ] {
            let summed = sum(bug, runs.iter().map(run).collect(), 0.0);
            let got = summed.map(|score| (score.seed, score.seeds)).map_err(|run| run.0.seed);
            assert_eq!(got, wanted, "{runs:?}");
        }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_ones() {
        for (numbers, wanted) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 1.0], Some(2.5)),
        ] {
            assert_eq!(median(numbers.clone()), wanted, "{numbers:?}");
        }
    }
}
