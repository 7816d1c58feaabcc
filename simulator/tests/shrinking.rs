//! The command shrinks a plan that fails, says clearly why it cannot, and leaves nothing half done.
//! And the ground that it stands on: an operation left out leaves the others as they were.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test may panic outside its test function, too")]
#![expect(clippy::disallowed_methods, reason = "the test reads and writes plans")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rivven_simulator::history::event::{Call, Event, EventKind};
use rivven_simulator::launch::{self, Job, Launcher, Report};
use rivven_simulator::plan::Plan;
use rivven_simulator::plan::fault::{Fault, PlannedFault};
use rivven_simulator::run::{Records, Wanted};
use rivven_simulator::scenario::registry;
use rivven_simulator::shrink::parts::operations;
use rivven_simulator::workload::operations::PlannedOperation;

const WATCHDOG: Duration = Duration::from_secs(300);

/// The whole life of a child; without a parent it is a test that has nothing to do.
#[test]
fn a_child_process_runs_one_plan() {
    if launch::is_child() {
        launch::serve();
    }
}

/// The first seconds of a seed.
fn short_plan(seconds: u64, planted: &str) -> Plan {
    let mut plan = Plan::draw(registry::find("power_cuts").unwrap(), 3, planted);
    plan.seconds = seconds;
    plan.faults.retain(|fault| fault.at_us < seconds * 1_000_000);
    plan
}

fn run(plan: &Plan) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let test = ["--exact", "a_child_process_runs_one_plan", "--nocapture"];
        let program = std::env::current_exe().unwrap().into_os_string();
        let command = [program].into_iter().chain(test.map(Into::into)).collect();
        let records = Records { history: Wanted::Always, operations: true, ..Records::default() };
        let launcher = Launcher::new(command, WATCHDOG).await;
        launcher.run(&Job { plan: plan.clone(), records, log: String::new() }).await
    })
}

/// What was sent of each value: its topic, partition and key.
fn sent(report: &Report) -> BTreeMap<u64, (String, u32, u64)> {
    let lines = report.histories.iter().flat_map(|history| history.lines());
    let events = lines.map(|line| serde_json::from_str::<Event>(line).unwrap());
    let batches = events.filter_map(|event| match event.kind {
        EventKind::Invoke(Call::Produce(batch)) => Some(batch),
        _ => None,
    });
    let values = batches.flat_map(|batch| {
        let place = (batch.topic, batch.partition.index);
        batch
            .values
            .into_iter()
            .map(move |value| (value.id.0, (place.0.clone(), place.1, value.key)))
    });
    values.collect()
}

#[test]
fn an_operation_left_out_leaves_the_others_as_they_were() {
    let mut plan = short_plan(3, "");
    plan.faults.clear();
    let whole = run(&plan);
    let client = plan.workload.clients[0].client;
    let own = whole.operations.iter().filter(|operation| operation.client == client);
    let named: Vec<PlannedOperation> = own
        .map(|operation| PlannedOperation { number: operation.number, at_us: operation.at_us })
        .collect();
    assert!(named.len() > 20, "{named:?}");
    let out: Vec<u64> = named.iter().map(|one| one.number).filter(|one| one % 3 == 1).collect();
    let kept = named.iter().copied().filter(|one| !out.contains(&one.number)).collect();
    plan.workload.clients[0].operations = Some(kept);
    let less = run(&plan);
    let (whole, less) = (sent(&whole), sent(&less));
    // The others do all that they come to: at the end, perhaps another number of operations.
    assert!(less.iter().all(|(value, what)| whole.get(value).is_none_or(|same| same == what)));
    let own = |value: &&u64| **value >> 40 == u64::from(client);
    // The low 16 bits of a value count inside its operation, 24 bits above it are the operation's.
    let left_out = |value: &u64| {
        let number = (value >> 16) & ((1 << 24) - 1);
        own(&value) && out.contains(&number)
    };
    assert!(less.keys().all(|value| !left_out(value)));
    assert!(whole.keys().any(left_out));
    assert!(less.keys().filter(own).all(|value| whole.contains_key(value)));
    assert!(less.keys().filter(own).count() > whole.keys().filter(own).count() / 4);
}

fn simulator(folder: &Path, args: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simulator"));
    let output = command.current_dir(folder).args(args).output().unwrap();
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output, String::from_utf8(text).unwrap())
}

#[test]
fn a_planted_bug_shrinks_to_a_plan_that_replays() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = short_plan(3, "B01");
    let cut = |at_us| PlannedFault { at_us, broker: 0, what: Fault::PowerCut { down_ms: 20 } };
    plan.faults = (1..6).map(|half| cut(half * 500_000)).collect();
    std::fs::write(folder.path().join("plan.toml"), plan.to_toml()).unwrap();
    let args = ["shrink", "plan.toml", "--out", "kept/small.toml", "--budget", "4m", "--json"];
    let (output, text) = simulator(folder.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let kept: Vec<_> = std::fs::read_dir(folder.path().join("kept")).unwrap().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let small = std::fs::read_to_string(folder.path().join("kept/small.toml")).unwrap();
    let small = Plan::from_toml(&small).unwrap();
    assert!(small.faults.len() <= 5 && operations(&small) <= 30, "{text}");
    let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(json["operations"], operations(&small));
    let (output, text) = simulator(folder.path(), &["replay", "kept/small.toml"]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(json["property"].as_str().unwrap()), "{text}");
}

#[test]
fn what_cannot_be_shrunk_is_said_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = short_plan(1, "");
    plan.faults.clear();
    let sound = plan.to_toml();
    for (name, text) in [
        ("sound.toml", sound.as_str()),
        ("newer.toml", &sound.replace("version = 1", "version = 2")),
        ("other.toml", "seconds = 1\n"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    for (args, code, said) in [
        (&["sound.toml"][..], 1, "breaks no property: replay it"),
        (&["newer.toml"], 4, "version 2, and this simulator runs version 1"),
        (&["other.toml"], 4, "not a plan"),
        (&["none.toml"], 4, "a scenario needs its --seed"),
        (&["power_cust", "--seed", "1"], 4, "did you mean power_cuts?"),
        (&["sound.toml", "--out", "folder"], 4, "name a file with --out"),
        (&["sound.toml", "--out", "sound.toml/x"], 4, "cannot be written"),
        (&["sound.toml", "--watchdog", "1ms"], 3, "the run does not end"),
    ] {
        let mut all = vec!["shrink"];
        all.extend(args);
        if !args.contains(&"--out") {
            all.extend(["--out", "result.toml"]);
        }
        let (output, text) = simulator(folder.path(), &all);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
    }
    let mut left: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["folder", "newer.toml", "other.toml", "sound.toml"]);
}
