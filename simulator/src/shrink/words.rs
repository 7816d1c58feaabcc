//! A plan's story in words: the head of a kept plan.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::oracles::{ORACLES, Violation};
use crate::plan::Plan;
use crate::plan::fault::PlannedFault;
use crate::planted;
use crate::shrink::Before;
use crate::shrink::parts::operations;

/// Columns of a comment.
const COLUMNS: usize = 98;
/// What an oracle says can be long.
const SAID_MAX: usize = 400;

/// The comment in front of a shrunk plan: which property breaks, what its oracle says, what
/// happens, and the command that shows it.
#[must_use]
pub fn head(plan: &Plan, violation: &Violation, before: Before, file: &str) -> String {
    let mut text = String::new();
    let mut line = |line: &str| wrap(&mut text, line);
    line(&format!("{}: {}.", violation.property, about(&violation.property)));
    let said: String = violation.text.chars().take(SAID_MAX).collect();
    let said = said.split_whitespace().collect::<Vec<&str>>().join(" ");
    line(&format!("It says, at {}: {said}", seconds(violation.at_ns / 1_000)));
    let bug = planted::ALL.iter().find(|bug| bug.id == plan.planted);
    let with = bug.map(|bug| format!(" with {} planted ({})", bug.id, bug.what));
    line(&format!(
        "Shrunk from seed {} of {}{}: {} faults to {}, {} operations to {}.",
        before.seed,
        plan.scenario,
        with.unwrap_or_default(),
        before.faults,
        plan.faults.len(),
        before.operations,
        operations(plan),
    ));
    match plan.faults.len() {
        0 => line("Without any fault but the power cut before the read-back."),
        _ => line("What happens, in time since the clients began:"),
    }
    for (number, fault) in (1..).zip(&plan.faults) {
        line(&format!("  {number}. {}", fault_in_words(fault)));
    }
    line(&format!("Operations: {}.", clients_in_words(plan)));
    line(&format!("See it: cargo sim replay {file}"));
    text
}

/// A fault as a clause: when, what, how long.
#[must_use]
pub fn fault_in_words(fault: &PlannedFault) -> String {
    let what = match fault.what.kind() {
        "power_cut" => "the power goes",
        "kill" => "the broker is killed",
        "stop" => "the broker is asked to stop",
        "crash_loop" => "the broker crashes, and again after each of the next starts",
        "crash_at" => "the broker crashes at a chosen moment",
        "full_disk" => "the disk is full",
        "failed_sync" => "the next sync fails and drops what it should have synced",
        "failed_write" => "the next write fails",
        "failed_read" => "the next read fails",
        "stall" => "the disk stands still",
        "slow_disk" => "the disk is slow",
        "reset" => "some connections are reset",
        "half_open" => "some connections are reset at the broker's end only",
        "black_hole" => "packets vanish",
        "bit_rot" => "the power goes, and bytes change meanwhile",
        "lost_end" => "the power goes, and the end of a file with it",
        "bad_sector" => "the power goes, and a page of a file cannot be read any more",
        "misdirected_write" => "a page that is synced next lands in another one's place",
        "phantom_write" => "a page that is synced next never lands",
        "misdirected_read" => "the next read brings the bytes of another place",
        "disk_gone" => "the disk is gone, and with it what was not synced",
        "old_disk" => "the power goes, and comes back with the disk of some time ago",
        "isolate" => "a client's packets vanish",
        "swizzle" => "the clients are cut off one after the other, and come back in another order",
        "lag" => "packets take longer",
        "narrow" => "the links carry less",
        "late_duplicate" => "an answered request comes once more, from elsewhere",
        "corrupt" => "a byte of a batch changes on its way",
        "clock_offset" => "a wall clock is wrong from the start",
        "clock_drift" => "a wall clock runs fast or slow",
        "clock_step" => "a wall clock jumps",
        "pause" => "a process stands still",
        "slow_cpu" => "the broker's processor is slow",
        "task_panic" => "a task of the broker panics",
        "swap_disks" => "two brokers have each other's disks",
        other => other,
    };
    let at = match fault.broker {
        0 => seconds(fault.at_us),
        broker => format!("{}, broker {broker}:", seconds(fault.at_us)),
    };
    match details(fault) {
        details if details.is_empty() => format!("at {at} {}", what.replace('_', " ")),
        details => format!("at {at} {} ({details})", what.replace('_', " ")),
    }
}

/// Every field of a fault with its unit.
fn details(fault: &PlannedFault) -> String {
    let value = serde_json::to_value(&fault.what).expect("a fault is plain data");
    let fields = value.as_object().into_iter().flatten();
    let known = fields.filter(|(name, _)| !["kind", "pick", "other"].contains(&name.as_str()));
    let words: Vec<String> = known.filter_map(|(name, value)| detail(name, value)).collect();
    words.join(", ")
}

fn detail(name: &str, value: &Value) -> Option<String> {
    let spaced = |name: &str| name.replace('_', " ");
    let timed = |name: &str, unit: &str| Some(format!("{} {value} {unit}", spaced(name)));
    match (name, value) {
        ("power", Value::Bool(true)) => Some("by a power cut".to_owned()),
        ("power", _) => Some("by a kill".to_owned()),
        ("then_us", Value::Number(number)) if number.as_u64() == Some(0) => None,
        (_, Value::Object(fields)) => {
            let words = fields.iter().filter_map(|(name, value)| detail(name, value));
            Some(format!("{} {}", spaced(name), words.collect::<Vec<String>>().join(", ")))
        }
        (_, Value::String(text)) => Some(format!("{} {}", spaced(name), text)),
        _ => match name.rsplit_once('_') {
            Some((name, "ms")) => timed(name, "ms"),
            Some((name, "us")) => timed(name, "µs"),
            Some((name, "bytes")) => timed(name, "bytes"),
            _ => Some(format!("{} {value}", spaced(name))),
        },
    }
}

/// How many operations each kind of client does.
fn clients_in_words(plan: &Plan) -> String {
    let mut kinds: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for client in &plan.workload.clients {
        let name = serde_json::to_value(client.kind).expect("a kind is a name");
        let name = name.as_str().unwrap_or_default().replace('-', " ");
        let (clients, done) = kinds.entry(name).or_default();
        *clients += 1;
        *done += client.operations.as_ref().map_or(0, Vec::len);
    }
    if kinds.is_empty() {
        return "none".to_owned();
    }
    let words = kinds.iter().map(|(kind, (clients, done))| match clients {
        1 => format!("{done} of one {kind}"),
        _ => format!("{done} of {clients} {kind}s"),
    });
    words.collect::<Vec<String>>().join(", ")
}

/// What a property promises.
fn about(property: &str) -> &'static str {
    let oracle = ORACLES.iter().find(|oracle| oracle.id == property);
    match (oracle, property) {
        (Some(oracle), _) => oracle.about,
        (None, "panic") => "no task of the broker panics",
        (None, "exit") => "the broker ends only when it is asked to or its disk fails",
        (None, "liveness") => "a healed broker serves again",
        (None, _) => "a promise of the broker",
    }
}

fn seconds(us: u64) -> String {
    format!("{}.{:06} s", us / 1_000_000, us % 1_000_000)
}

/// Appends a comment, as many lines as it takes.
fn wrap(text: &mut String, words: &str) {
    let indent = words.len() - words.trim_start().len();
    let mut line = " ".repeat(indent);
    for word in words.split_whitespace() {
        if line.trim().is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= COLUMNS {
            line = line + " " + word;
        } else {
            writeln!(text, "# {line}").expect("a string takes every write");
            line = " ".repeat(indent) + word;
        }
    }
    writeln!(text, "# {line}").expect("a string takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fault::{Fault, When};
    use crate::scenario::registry;

    #[test]
    fn faults_are_told_with_their_numbers() {
        let at_us = 1_500_000;
        let sync = Fault::FailedSync { path: ".wal".to_owned(), down_ms: 6, then_us: 20_000 };
        let when = When::Probe("index_rebuilt".to_owned());
        let crash = Fault::CrashAt { when, power: true, after_us: 9, down_ms: 3, then_us: 0 };
        for (what, wanted) in [
            (Fault::PowerCut { down_ms: 3 }, "at 1.500000 s the power goes (down 3 ms)"),
            (Fault::Reset, "at 1.500000 s some connections are reset"),
            (
                sync,
                "at 1.500000 s the next sync fails and drops what it should have synced \
                 (down 6 ms, path .wal, then 20000 µs)",
            ),
            (
                crash,
                "at 1.500000 s the broker crashes at a chosen moment \
                 (after 9 µs, down 3 ms, by a power cut, when probe index_rebuilt)",
            ),
        ] {
            assert_eq!(fault_in_words(&PlannedFault { at_us, broker: 0, what }), wanted);
        }
    }

    #[test]
    fn a_head_is_a_comment_before_a_plan_that_still_reads() {
        let plan = Plan::draw(registry::find("power_cuts").unwrap(), 3, "B01");
        let violation = Violation {
            property: "I1".to_owned(),
            at_ns: 2_000_000_000,
            node: 1,
            text: "lost\n".repeat(200),
        };
        let before = Before { seed: 3, faults: 70, operations: 9_000 };
        let head = head(&plan, &violation, before, "kept.toml");
        assert!(head.lines().all(|line| line.starts_with('#') && line.chars().count() <= 100));
        for part in ["I1: ", "at 2.000000 s", "B01", "70 faults to", "replay kept.toml", "  1. at "]
        {
            assert!(head.contains(part), "{part} is not in {head}");
        }
        assert_eq!(Plan::from_toml(&(head + &plan.to_toml())), Ok(plan));
    }
}
