//! `simulator meta`: each seed in two processes, which must do the same events in the same order.

use std::path::Path;

use rivven_io::Env;
use rivven_simulator::ensemble::Totals;
use rivven_simulator::launch::{Job, Launcher, Report};
use rivven_simulator::plan::Plan;
use rivven_simulator::run::Records;
use rivven_simulator::run::outcome::Verdict;

use crate::args::Meta;
use crate::build_id::build_id;
use crate::out::say;
use crate::replay::Scratch;
use crate::{outlook, selection};

/// Exit code when a seed gave two different runs.
pub(crate) const EXIT_NON_DETERMINISM: u8 = 2;

pub(crate) async fn meta(args: Meta) -> Result<u8, String> {
    let plans: Vec<Plan> = selection::plans(&args.select, "", None)?.collect();
    let launcher = selection::launcher(args.runs.watchdog).await?;
    let bar = outlook::bar(Some(plans.len() as u64));
    let mut totals = Totals::default();
    for plan in plans {
        let first = twice(&launcher, &plan, 0);
        let second = twice(&launcher, &plan, 1);
        let (first, second) = both(args.runs.jobs, first, second).await;
        let [(first, first_trace), (second, second_trace)] = [first, second];
        for run in [&first, &second] {
            // A run that has no end has no trace to compare.
            if run.outcome.trace_hash.is_empty() {
                bar.finish_and_clear();
                return Ok(show_mistake(&plan, run));
            }
        }
        let difference = compare((&first, &first_trace.0), (&second, &second_trace.0))?;
        totals.add(&first.outcome);
        if let Some(difference) = difference {
            bar.finish_and_clear();
            say!("NOT DETERMINISTIC {} seed {}", plan.scenario, plan.seed);
            say!("{difference}");
            say!("  cargo sim meta --scenario {} --seed {}", plan.scenario, plan.seed);
            return Ok(EXIT_NON_DETERMINISM);
        }
        if first.outcome.verdict() == Verdict::Harness {
            bar.finish_and_clear();
            return Ok(show_mistake(&plan, &first));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    say!("{} seeds gave the same run twice", totals.runs);
    if args.runs.json {
        say!("{}", serde_json::to_string(&totals).map_err(|error| error.to_string())?);
    }
    Ok(0)
}

/// Shows a run that says nothing about determinism; the exit code for it.
fn show_mistake(plan: &Plan, run: &Report) -> u8 {
    let replay = outlook::replay_line(plan, &plan.scenario);
    outlook::show_failure(&run.outcome, build_id(), &replay);
    let mut totals = Totals::default();
    totals.add(&run.outcome);
    totals.exit_code()
}

/// Side by side, or one after the other.
async fn both<A, B>(
    jobs: usize,
    first: impl Future<Output = A> + Send + 'static,
    second: impl Future<Output = B>,
) -> (A, B)
where
    A: Send + 'static,
{
    if jobs < 2 {
        return (first.await, second.await);
    }
    let first = Env::real().tasks.spawn("first run", first);
    let second = second.await;
    (first.await.expect("a launcher does not panic"), second)
}

fn twice(
    launcher: &Launcher,
    plan: &Plan,
    number: u32,
) -> impl Future<Output = (Report, Scratch)> + Send + 'static {
    let launcher = launcher.clone();
    let trace = Scratch::file(&format!("meta-{}-{number}", plan.seed));
    let records = Records { trace: Some(trace.0.clone()), ..Records::default() };
    let job = Job { plan: plan.clone(), records, log: String::new() };
    async move { (launcher.run(&job).await, trace) }
}

/// The first events that differ, both of them; `None` if the runs are equal.
fn compare(first: (&Report, &Path), second: (&Report, &Path)) -> Result<Option<String>, String> {
    if first.0.outcome == second.0.outcome {
        return Ok(None);
    }
    let texts = [selection::read(first.1)?, selection::read(second.1)?];
    let [mut left, mut right] = [texts[0].lines(), texts[1].lines()];
    for number in 1.. {
        match (left.next(), right.next()) {
            (None, None) => break,
            (left, right) if left == right => {}
            (left, right) => {
                let show = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
                return Ok(Some(format!("  event {number}:\n  {}\n  {}", show(left), show(right))));
            }
        }
    }
    Ok(Some("  the traces are equal, the outcomes differ".to_owned()))
}
