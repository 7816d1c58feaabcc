//! Arguments of the command.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use rivven_simulator::plan::SEED_MAX;

/// Runs a whole broker in one process from one seed, and says which promise broke.
///
/// Exit codes: 0 all passed, 1 a property failed, 2 a seed gave two different runs, 3 a run stood
/// still, 4 a mistake of the simulator or in its arguments, 130 Ctrl-C, 143 SIGTERM, 141 nobody
/// reads what it prints.
#[derive(Parser)]
#[command(name = "simulator", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Run(Run),
    /// Run one seed, or a plan, again
    Replay(Replay),
    Shrink(Shrink),
    /// Run each seed in two processes, which must do the same events in the same order
    Meta(Meta),
    Mutants(Mutants),
    Cover(Cover),
    Soak(Soak),
    #[command(hide = true)]
    Child,
}

/// What is run.
#[derive(ClapArgs)]
pub(crate) struct Select {
    /// A built-in scenario, or the path of a file
    #[arg(long, value_name = "NAME|PATH", conflicts_with = "all")]
    pub(crate) scenario: Option<String>,
    /// All built-in scenarios; the seeds are dealt over them in turn, one run a seed
    #[arg(long)]
    pub(crate) all: bool,
    /// One seed
    #[arg(long, conflicts_with = "seeds", value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Seeds from A up to B, B itself not
    #[arg(long, value_name = "A..B", value_parser = seed_range)]
    pub(crate) seeds: Option<SeedRange>,
}

/// How it is run.
#[derive(ClapArgs)]
pub(crate) struct Runs {
    /// Runs side by side
    #[arg(long, default_value_t = 2, value_parser = jobs)]
    pub(crate) jobs: usize,
    /// Real time after which a run counts as stuck, unless it only waits for a processor
    #[arg(long, value_name = "SPAN", default_value = "120s", value_parser = some_time)]
    pub(crate) watchdog: Duration,
    /// Print the sums as one line of JSON at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// Run scenarios over seeds
///
/// Prints a line for each failing seed, and the sums at the end.
///
/// Exit codes: 0 all passed; 1 a property failed, or 1,000 runs or more over all scenarios, without
/// a planted bug and not interrupted, never hit some probe; 2 a seed gave two different runs, 3 a
/// run stood still, 4 a mistake of the simulator or in its arguments; 130 Ctrl-C, 143 SIGTERM and
/// 141 nobody reads what it prints, if nothing failed.
#[derive(ClapArgs)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) runs: Runs,
    /// Switch a planted bug on
    #[arg(long, value_name = "Bnn")]
    pub(crate) planted: Option<String>,
    /// Begin no run after this much real time (500ms, 30s, 10m, 1h); without seeds, all from 0 on
    #[arg(long = "for", value_name = "SPAN", value_parser = some_time)]
    pub(crate) time: Option<Duration>,
    /// Folder for the plan, trace, history and verdict of each failing run
    #[arg(long, value_name = "DIR", default_value = "target/simulator")]
    pub(crate) artefacts: PathBuf,
}

/// One plan.
#[derive(ClapArgs)]
pub(crate) struct One {
    /// The path of a plan, or a scenario (built in, or the path of a file) with --seed
    pub(crate) what: String,
    /// The seed of a scenario
    #[arg(long, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Switch a planted bug on
    #[arg(long, value_name = "Bnn")]
    pub(crate) planted: Option<String>,
}

#[derive(ClapArgs)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) one: One,
    /// Stop at this virtual time
    #[arg(long, value_name = "SPAN", value_parser = some_time)]
    pub(crate) until: Option<Duration>,
    /// Print the log (directives as in RUST_LOG) and, with node=N, the events of that node
    #[arg(long, value_name = "[node=N,]LEVEL")]
    pub(crate) log: Option<String>,
    /// Print the last events before this property broke
    #[arg(long, value_name = "Inn")]
    pub(crate) break_on: Option<String>,
    /// Print the plan and do not run it
    #[arg(long)]
    pub(crate) print_plan: bool,
    /// File for the trace, one event a line
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// File for the history, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// File for the sends, polls and assignments of the history as EDN, in the form that Jepsen's
    /// workload for Kafka and Elle read
    #[arg(long, value_name = "FILE")]
    pub(crate) history_edn: Option<PathBuf>,
    /// Whose history, if the plan has several brokers: from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) broker: u64,
    #[arg(long, value_name = "SPAN", default_value = "600s", value_parser = some_time)]
    pub(crate) watchdog: Duration,
    /// Print the outcome as one line of JSON at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// Make a plan that fails as small as it can be, and keep it as a regression scenario
///
/// Leaves out faults, clients, topics and operations, shortens what lasts, and puts knobs to rest,
/// as long as the same property breaks. The result must break it alike in three fresh processes,
/// and, if a bug is planted, must pass without it. It is written as a plan with a comment that
/// tells it.
///
/// Exit codes: 0 shrunk and confirmed, 1 the plan breaks no property, or not the one asked for,
/// 2 the result does not fail alike in each process, 3 the run does not end, 4 a mistake in the
/// arguments or the plan, an output that cannot be written, or a mistake of the simulator. A file
/// is written only with exit code 0.
#[derive(ClapArgs)]
pub(crate) struct Shrink {
    #[command(flatten)]
    pub(crate) one: One,
    /// The property that must stay broken [default: the first that the plan breaks; of a planted
    /// bug, the first that it should break]
    #[arg(long, value_name = "Inn")]
    pub(crate) property: Option<String>,
    /// File for the result [default: target/simulator/shrunk/SCENARIO-SEED[-Bnn].toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Real time after which nothing smaller is tried any more
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = some_time)]
    pub(crate) budget: Duration,
    /// Candidates side by side; the result does not depend on it
    #[arg(long, default_value_t = 2, value_parser = jobs)]
    pub(crate) jobs: usize,
    /// Real time after which the plan's own run counts as one that does not end
    #[arg(long, value_name = "SPAN", default_value = "120s", value_parser = some_time)]
    pub(crate) watchdog: Duration,
    /// Print what came out as one line of JSON at the end
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(ClapArgs)]
pub(crate) struct Meta {
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) runs: Runs,
}

/// Show which faults, components and oracles came together, and what was never reached
///
/// Counts a run for a fault if the fault changed something in it, for a component if the run hit
/// one of its probes, for an oracle if the oracle had something to judge. Shows how many runs a
/// fault had together with each component and each oracle, and names the probes never hit, the
/// faults never effective and the oracles that never judged.
///
/// Exit codes: 0 nothing failed and, over all scenarios, everything was reached; 1 a property
/// failed, or something was never reached; the others as of `run`. With --scenario only failures
/// count, because no single scenario is meant to reach everything.
#[derive(ClapArgs)]
#[command(after_help = COVER_EXAMPLES)]
pub(crate) struct Cover {
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) runs: Runs,
    /// Begin no run after this much real time (500ms, 30s, 10m, 1h); without seeds, all from 0 on
    #[arg(long = "for", value_name = "SPAN", value_parser = some_time)]
    pub(crate) time: Option<Duration>,
    /// Folder for the plan, trace, history and verdict of each failing run
    #[arg(long, value_name = "DIR", default_value = "target/simulator")]
    pub(crate) artefacts: PathBuf,
}

const COVER_EXAMPLES: &str = "\
Examples:
  cargo sim cover --seeds 0..1000         what a thousand seeds over all scenarios reach
  cargo sim cover --for 10m               as many seeds as ten minutes take
  cargo sim cover --scenario clocks --seeds 0..50
                                          what one scenario reaches

A row `P4  3 -` says: in three runs in which a pause changed something the first component hit a
probe, in none the second. A red dash is a pair that nothing has tried yet: a scenario is missing,
or its ranges keep the two apart.";

/// Run all scenarios over seeds for so much simulated or real time, whatever fails
///
/// Deals seeds over all scenarios, goes on after failures, and keeps plan, trace, history and
/// verdict of each (of the first hundred). Ctrl-C ends it as its limits do: with its sums.
///
/// Exit codes: 0 nothing failed, also if it was interrupted; the others as of `run`.
#[derive(ClapArgs)]
#[command(after_help = SOAK_EXAMPLES)]
pub(crate) struct Soak {
    /// Begin no run after this much real time (500ms, 30s, 10m, 1h)
    #[arg(long = "for", value_name = "SPAN", value_parser = some_time)]
    pub(crate) time: Option<Duration>,
    /// Begin no run after this much simulated time (30s, 10m, 100h)
    #[arg(long, value_name = "SPAN", value_parser = some_time)]
    pub(crate) simulated: Option<Duration>,
    /// The first seed, as 5000.., or seeds from A up to B
    #[arg(long, value_name = "A..[B]", value_parser = open_seed_range, default_value = "0..")]
    pub(crate) seeds: SeedRange,
    #[command(flatten)]
    pub(crate) runs: Runs,
    /// Folder for the plan, trace, history and verdict of each failing run
    #[arg(long, value_name = "DIR", default_value = "target/simulator")]
    pub(crate) artefacts: PathBuf,
}

const SOAK_EXAMPLES: &str = "\
Examples:
  cargo sim soak --simulated 1000000s     eleven and a half simulated days
  cargo sim soak --for 8h --seeds 500000.. --json
                                          a night, over seeds that nobody has run yet
  cargo sim soak                          until Ctrl-C

The same seeds are the same runs: begin a second soak behind the first.";

/// Switch each planted bug on, and count the seeds until its oracle finds it
///
/// For each bug, seeds are tried in order until one of its own oracles finds it. The table has the
/// seed, how many seeds that took, the simulated time of all of them (of the last one up to the
/// violation) and the real time.
///
/// Exit codes: 0 each was found, 1 one was not; 4 as of `run`.
#[derive(ClapArgs)]
#[command(after_help = MUTANTS_EXAMPLES)]
pub(crate) struct Mutants {
    /// One planted bug
    #[arg(long, value_name = "Bnn")]
    pub(crate) only: Option<String>,
    /// Seeds to try
    #[arg(long, value_name = "A..B", value_parser = seed_range, default_value = "0..50")]
    pub(crate) seeds: SeedRange,
    #[command(flatten)]
    pub(crate) runs: Runs,
}

const MUTANTS_EXAMPLES: &str = "\
Examples:
  cargo sim mutants                       the score: every planted bug, up to 50 seeds each
  cargo sim mutants --only B09            one of them
  cargo sim mutants --seeds 1000..1050    other seeds: is the score luck?";

/// Half open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeedRange {
    pub(crate) from: u64,
    pub(crate) end: u64,
}

fn seed(text: &str) -> Result<u64, String> {
    let seed = text.parse().ok().filter(|seed| *seed <= SEED_MAX);
    seed.ok_or_else(|| format!("{text} is not a seed: a number from 0 to {SEED_MAX}"))
}

fn seed_range(text: &str) -> Result<SeedRange, String> {
    let range = text.split_once("..").and_then(|(from, end)| {
        let (from, end) = (from.parse().ok()?, end.parse().ok()?);
        (from < end && end <= SEED_MAX + 1).then_some(SeedRange { from, end })
    });
    range.ok_or_else(|| {
        format!("{text} is not a range of seeds, as 0..100, of numbers from 0 to {SEED_MAX}")
    })
}

/// As a range of seeds, which need not have an end.
fn open_seed_range(text: &str) -> Result<SeedRange, String> {
    match text.strip_suffix("..") {
        Some(from) => Ok(SeedRange { from: seed(from)?, end: SEED_MAX + 1 }),
        None => seed_range(text),
    }
}

/// Runs side by side: with none, nothing would be run.
fn jobs(text: &str) -> Result<usize, String> {
    let jobs = text.parse().ok().filter(|jobs| *jobs > 0);
    jobs.ok_or_else(|| format!("{text} is not a number of runs side by side: name 1 or more"))
}

/// A span in which something can happen.
fn some_time(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Err(format!("{text} is no time to run anything in: name 1ms or more")),
        time => Ok(time),
    }
}

/// Reads `500ms`, `30s`, `10m`, `1h` or a number of seconds.
fn span(text: &str) -> Result<Duration, String> {
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor_ms = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{text} has no unit of ms, s, m or h")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text} is not a time, as 10m"))?;
    Ok(Duration::from_millis(number.saturating_mul(factor_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open_and_not_empty() {
        for (text, wanted) in [
            ("0..100", Some(SeedRange { from: 0, end: 100 })),
            ("7..8", Some(SeedRange { from: 7, end: 8 })),
            ("7..7", None),
            ("8..7", None),
            ("7", None),
            ("7..", None),
            ("a..b", None),
            ("0..9223372036854775808", Some(SeedRange { from: 0, end: SEED_MAX + 1 })),
            ("0..9223372036854775809", None),
        ] {
            assert_eq!(seed_range(text).ok(), wanted, "{text}");
        }
        for (text, wanted) in [
            ("7..", Some(SeedRange { from: 7, end: SEED_MAX + 1 })),
            ("7..9", Some(SeedRange { from: 7, end: 9 })),
            ("9..7", None),
            ("..", None),
        ] {
            assert_eq!(open_seed_range(text).ok(), wanted, "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, wanted_ms) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("30", Some(30_000)),
            ("10m", Some(600_000)),
            ("1h", Some(3_600_000)),
            ("1d", None),
            ("m", None),
        ] {
            assert_eq!(span(text).ok(), wanted_ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn no_runs_side_by_side_and_no_time_are_refused() {
        for (line, said) in [
            ("run --all --for 0s", "0s is no time"),
            ("run --all --watchdog 0s", "0s is no time"),
            ("run --all --jobs 0", "0 is not a number of runs side by side: name 1 or more"),
            ("cover --for 0", "0 is no time to run anything in: name 1ms or more"),
            ("replay clocks --seed 1 --until 0s", "0s is no time to run anything in"),
            ("shrink clocks --seed 1 --budget 0s", "0s is no time to run anything in"),
            ("soak --for 0m", "0m is no time"),
            ("soak --simulated 0s", "0s is no time"),
            ("replay power_cuts --seed 1 --watchdog 0ms", "0ms is no time"),
            ("shrink power_cuts --seed 1 --watchdog 0s", "0s is no time"),
            ("shrink power_cuts --seed 1 --jobs 0", "name 1 or more"),
            ("meta --all --jobs 0", "name 1 or more"),
            ("mutants --jobs two", "name 1 or more"),
        ] {
            let args = ["simulator"].into_iter().chain(line.split(' '));
            let error = Args::try_parse_from(args).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|error| error.contains(said)), "{line}: {error:?}");
        }
        assert!(Args::try_parse_from(["simulator", "soak", "--simulated", "1ms"]).is_ok());
    }
}
