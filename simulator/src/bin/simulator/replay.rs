//! `simulator replay`: the same events once more, with more to see.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use rivven_simulator::ensemble::Totals;
use rivven_simulator::launch::{Job, Report};
use rivven_simulator::oracles::{ORACLES, Violation};
use rivven_simulator::plan::Plan;
use rivven_simulator::run::outcome::{Outcome, Verdict};
use rivven_simulator::run::{Records, Wanted};

use crate::args::{One, Replay};
use crate::build_id::build_id;
use crate::out::{note, say};
use crate::output::Output;
use crate::{out, outlook, selection};

/// Events shown before a property broke.
const EVENTS_SHOWN: usize = 200;

pub(crate) async fn replay(args: Replay) -> Result<u8, String> {
    let plan = selection::plan(&args.one)?;
    if args.print_plan {
        out::print(format_args!("{}", plan.to_toml()));
        return Ok(0);
    }
    let (node, directives) = log_of(args.log.as_deref())?;
    let break_on = args.break_on.as_deref().map(property).transpose()?;
    let outputs = Outputs::of(&args, &plan)?;
    let wants_events = node.is_some() || break_on.is_some();
    let scratch = wants_events.then(|| Scratch::file("trace"));
    let trace = outputs.trace.as_ref().map(Output::beside);
    let trace = trace.or(scratch.as_ref().map(|file| file.0.as_path()));
    let until_us = args.until.map(|until| u64::try_from(until.as_micros()).unwrap_or(u64::MAX));
    let is_history_wanted = args.history.is_some() || args.history_edn.is_some();
    let history = if is_history_wanted { Wanted::Always } else { Wanted::Never };
    let trace_file = trace.map(Path::to_owned);
    let records = Records { trace: trace_file, history, until_us, ..Records::default() };
    let launcher = selection::launcher(args.watchdog).await?;
    let report = launcher.run(&Job { plan: plan.clone(), records, log: directives }).await;
    out::log(format_args!("{}", report.log));
    let shown = trace.map_or(Ok(()), |trace| show_events(trace, node, break_on, &report.outcome));
    let unbroken = |property: &&str| broken(property, &report.outcome).is_none();
    if let Some(property) = break_on.filter(unbroken) {
        let is_judged = is_judged(property, &report.outcome, args.until.is_none());
        say!("{property} {}", if is_judged { "holds" } else { "was not judged" });
    }
    show(&args, &plan, &report.outcome);
    shown.and(outputs.write(&report))?;
    let mut totals = Totals::default();
    totals.add(&report.outcome);
    Ok(totals.exit_code())
}

/// The files that are asked for.
struct Outputs {
    trace: Option<Output>,
    history: Option<Output>,
    history_edn: Option<Output>,
    /// Whose history.
    broker: usize,
}

impl Outputs {
    fn of(args: &Replay, plan: &Plan) -> Result<Outputs, String> {
        let broker = usize::try_from(args.broker).unwrap_or(usize::MAX);
        if args.broker >= plan.brokers {
            let last = plan.brokers - 1;
            return Err(format!(
                "there is no broker {broker}; name one of 0 to {last} with --broker"
            ));
        }
        let at = |file: &Option<PathBuf>, option| {
            file.as_ref().map(|file| Output::at(file, option)).transpose()
        };
        Ok(Outputs {
            trace: at(&args.trace, "--trace")?,
            history: at(&args.history, "--history")?,
            history_edn: at(&args.history_edn, "--history-edn")?,
            broker,
        })
    }

    /// Of a run that did not come to its end there is as much as it wrote of its trace.
    fn write(&self, report: &Report) -> Result<(), String> {
        if let Some(trace) = self.trace.as_ref().filter(|trace| trace.beside().exists()) {
            trace.put_in_place()?;
        }
        if report.outcome.trace_hash.is_empty() {
            if self.history.is_some() || self.history_edn.is_some() {
                note!("the run did not come to its end: it has no history, and no file is written");
            }
            return Ok(());
        }
        if let Some(history) = &self.history {
            history.write(report.histories.get(self.broker).map_or("", String::as_str))?;
        }
        match &self.history_edn {
            Some(history) => history.write(&report.history_edn(self.broker)?),
            None => Ok(()),
        }
    }
}

/// What a run can break besides what the oracles judge.
const OTHER_PROPERTIES: [&str; 3] = ["exit", "liveness", "panic"];

/// The property as it is registered.
fn property(id: &str) -> Result<&'static str, String> {
    let known = || ORACLES.iter().map(|oracle| oracle.id).chain(OTHER_PROPERTIES);
    known().find(|known| known.eq_ignore_ascii_case(id)).ok_or_else(|| {
        let known: Vec<&str> = known().collect();
        format!("there is no property {id}; name one of {}", known.join(", "))
    })
}

/// The first violation of a property.
fn broken<'a>(property: &str, outcome: &'a Outcome) -> Option<&'a Violation> {
    outcome.violations.iter().find(|violation| violation.property == property)
}

/// Whether a run says anything about a property that it did not break.
fn is_judged(property: &str, outcome: &Outcome, is_whole: bool) -> bool {
    let came_to_its_end = is_whole && !outcome.trace_hash.is_empty();
    let other = OTHER_PROPERTIES.contains(&property) && came_to_its_end;
    other || outcome.judged.contains_key(property)
}

fn show(args: &Replay, plan: &Plan, outcome: &Outcome) {
    if outcome.verdict() == Verdict::Pass {
        say!("passed {} seed {} trace {}", outcome.scenario, outcome.seed, outcome.trace_hash);
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
        say!("{}", serde_json::to_string(outcome).expect("an outcome is plain data"));
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
    let until_ns = match break_on.map(|property| broken(property, outcome)) {
        None if node.is_none() => return Ok(()),
        None => u64::MAX,
        Some(None) => return Ok(()),
        Some(Some(first)) => first.at_ns,
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
        say!("{line}");
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
