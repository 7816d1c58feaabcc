//! `simulator replay`: the same events once more, with more to see.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use rivven_simulator::ensemble::Totals;
use rivven_simulator::launch::Job;
use rivven_simulator::plan::Plan;
use rivven_simulator::run::Records;
use rivven_simulator::run::outcome::{Outcome, Verdict};

use crate::args::{One, Replay};
use crate::build_id::build_id;
use crate::{outlook, selection};

/// Events shown before a property broke.
const EVENTS_SHOWN: usize = 200;

pub(crate) async fn replay(args: Replay) -> Result<u8, String> {
    let plan = selection::plan(&args.one)?;
    if args.print_plan {
        print!("{}", plan.to_toml());
        return Ok(0);
    }
    let (node, directives) = log_of(args.log.as_deref())?;
    let wants_events = node.is_some() || args.break_on.is_some();
    let scratch = wants_events.then(|| Scratch::file("trace"));
    let trace = args.trace.clone().or_else(|| scratch.as_ref().map(|file| file.0.clone()));
    let until_us = args.until.map(|until| u64::try_from(until.as_micros()).unwrap_or(u64::MAX));
    let history = args.history.is_some() || args.history_edn.is_some();
    let records = Records { trace: trace.clone(), history, until_us, ..Records::default() };
    let launcher = selection::launcher(args.watchdog).await?;
    let report = launcher.run(&Job { plan: plan.clone(), records, log: directives }).await;
    eprint!("{}", report.log);
    if let Some(path) = &args.history {
        std::fs::write(path, &report.history).map_err(|error| format!("history: {error}"))?;
    }
    if let Some(path) = &args.history_edn {
        let edn = report.history_edn()?;
        std::fs::write(path, edn).map_err(|error| format!("history: {error}"))?;
    }
    if let Some(trace) = &trace {
        show_events(trace, node, args.break_on.as_deref(), &report.outcome)?;
    }
    show(&args, &plan, &report.outcome);
    let mut totals = Totals::default();
    totals.add(&report.outcome);
    Ok(totals.exit_code())
}

fn show(args: &Replay, plan: &Plan, outcome: &Outcome) {
    if outcome.verdict() == Verdict::Pass {
        println!("passed {} seed {} trace {}", outcome.scenario, outcome.seed, outcome.trace_hash);
    } else {
        let One { what, seed, planted } = &args.one;
        let line = match (seed, planted) {
            (Some(_), _) => outlook::replay_line(plan, what),
            (None, None) => format!("cargo sim replay {what}"),
            (None, Some(_)) => format!("cargo sim replay {what} --planted {}", plan.planted),
        };
        outlook::show_failure(outcome, build_id(), &line);
    }
    let mut totals = Totals::default();
    totals.add(outcome);
    outlook::show_totals(&totals, &[]);
    if args.json {
        println!("{}", serde_json::to_string(outcome).expect("an outcome is plain data"));
    }
}

/// The node whose events are wanted, and the directives of the log.
fn log_of(text: Option<&str>) -> Result<(Option<u64>, String), String> {
    let mut node = None;
    let mut directives = Vec::new();
    for part in text.unwrap_or_default().split(',').filter(|part| !part.is_empty()) {
        match part.strip_prefix("node=") {
            Some(number) => {
                node = Some(number.parse().map_err(|_| format!("{number} is not a node"))?);
            }
            None => directives.push(part),
        }
    }
    Ok((node, directives.join(",")))
}

/// A file in the machine's temporary folder that goes with its owner.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn file(name: &str) -> Scratch {
        let name = format!("rivven-simulator-{}-{name}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been written; one that stays there does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Prints a node's events, or the last ones before a property broke.
fn show_events(
    trace: &Path,
    node: Option<u64>,
    break_on: Option<&str>,
    outcome: &Outcome,
) -> Result<(), String> {
    let until_ns = match break_on {
        None if node.is_none() => return Ok(()),
        None => u64::MAX,
        Some(property) => {
            let mut broken = outcome.violations.iter();
            let Some(first) = broken.find(|violation| violation.property == property) else {
                println!("{property} holds");
                return Ok(());
            };
            first.at_ns
        }
    };
    let text = selection::read(trace)?;
    let mark = node.map(|node| format!(" n{node} "));
    let wanted = |line: &&str| mark.as_ref().is_none_or(|mark| line.contains(mark));
    let before = |line: &&str| at_ns(line) <= until_ns;
    let mut shown: VecDeque<&str> = VecDeque::new();
    for line in text.lines().filter(wanted).take_while(before) {
        if break_on.is_some() && shown.len() == EVENTS_SHOWN {
            shown.pop_front();
        }
        shown.push_back(line);
    }
    for line in shown {
        println!("{line}");
    }
    Ok(())
}

/// The time at the beginning of a line of a trace.
fn at_ns(line: &str) -> u64 {
    let time = line.split(' ').next().and_then(|time| time.split_once('.'));
    time.and_then(|(whole, part)| {
        Some(whole.parse::<u64>().ok()? * 1_000_000_000 + part.parse::<u64>().ok()?)
    })
    .unwrap_or(0)
}
