//! What the command does with bad input, bad children and signals: a clear error, its exit code,
//! nothing half written, and no process left behind. And what it says of good runs.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test may panic outside its test function, too")]
#![expect(clippy::disallowed_methods, reason = "the test reads what the command wrote")]

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rivven_io::Env;
use rivven_simulator::plan::Plan;
use rivven_simulator::scenario::registry;
use serde_json::Value;
use tempfile::TempDir;

/// In the environment of a command under test, and so of all that it starts.
const MARK: &str = "RIVVEN_COMMAND_TEST";
/// In the environment of the children that run plans.
const CHILD: &str = "RIVVEN_SIMULATOR_CHILD=";
/// How often processes are looked for, in steps of 10 ms, until that counts as in vain.
const LOOKS_MAX: u32 = 3_000;
/// Long enough that a signal finds it at work.
const LONG: [&str; 5] = ["run", "--scenario", "power_cuts", "--seeds", "0..1000"];

/// A scenario but for its name.
const STORY: &str = "name = 'NAME'\nabout = 'x'\ncontract = 'fsync-ack'\noracles = []\n\
                     [time]\nseconds = 60\n";

/// A folder to work in, whose name marks the processes of the test.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simulator"));
        command.args(args).current_dir(self.path()).env(MARK, self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// Runs a command to its end: exit code and all that it said.
    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        said(self.command(args).output().unwrap())
    }

    /// Processes that came from this place, or only those that run plans.
    fn processes(&self, children_only: bool) -> Vec<String> {
        let mark = format!("{MARK}={}", self.path().display());
        let is_ours = |id: &String| {
            // A process that has ended, or is another user's, is none of ours.
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let mut variables = environment.split('\0');
            variables.clone().any(|one| one == mark)
                && (!children_only || variables.any(|one| one.starts_with(CHILD)))
        };
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let ids = names.filter(|name| name.bytes().all(|letter| letter.is_ascii_digit()));
        ids.filter(is_ours).collect()
    }

    /// Waits until a child runs; its process id.
    fn child(&self) -> String {
        let mut found = Vec::new();
        self.look_until(|| {
            found = self.processes(true);
            !found.is_empty()
        });
        found.remove(0)
    }

    /// A killed process may take a moment to go.
    fn assert_nothing_runs(&self) {
        self.look_until(|| self.processes(false).is_empty());
    }

    fn look_until(&self, mut is_so: impl FnMut() -> bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clock = Env::real().clock;
            for _ in 0..LOOKS_MAX {
                if is_so() {
                    return;
                }
                clock.sleep(Duration::from_millis(10)).await;
            }
            panic!("processes of the test: {:?}", self.processes(false));
        });
    }

    /// Whether the second run of a failing plan writes its trace.
    fn has_begun_a_trace(&self) -> bool {
        let folders = std::fs::read_dir(self.path().join("target/simulator"));
        let mut folders = folders.into_iter().flatten().flatten();
        folders.any(|folder| {
            let trace = std::fs::metadata(folder.path().join("trace.txt"));
            trace.is_ok_and(|trace| trace.len() > 0)
        })
    }

    /// The names in a folder, in order.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path().join(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).unwrap()
    }
}

fn said(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn signal(name: &str, process: &str) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {process}")).status();
    assert!(status.unwrap().success());
}

/// The line of JSON at the end of what a command said on standard output.
fn json(text: &str) -> Value {
    let line = text.lines().rfind(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no JSON in {text}"))).unwrap()
}

#[test]
fn bad_input_is_named_and_nothing_is_written() {
    let place = Place::new();
    let plan = Plan::draw(registry::find("power_cuts").unwrap(), 3, "").to_toml();
    for (name, text) in [
        ("newer.toml", plan.replace("version = 1", "version = 2")),
        ("other.toml", "seconds = 1\n".to_owned()),
        ("path.toml", plan.replace("scenario = \"power_cuts\"", "scenario = \"../story\"")),
        ("story.toml", STORY.replace("NAME", "/tmp/story")),
    ] {
        std::fs::write(place.path().join(name), text).unwrap();
    }
    for (line, said) in [
        ("run --scenario power_cust", "did you mean power_cuts?"),
        ("run", "name a --scenario, or say --all"),
        ("run --scenario none.toml", "none.toml: No such file"),
        ("run --scenario ./story.toml", "\"/tmp/story\" is not a scenario's name"),
        ("shrink path.toml", "\"../story\" is not a scenario's name"),
        ("run --scenario power_cuts --seed 9223372036854775808", "from 0 to 9223372036854775807"),
        ("run --scenario power_cuts --seed -1", "'-1'"),
        ("run --scenario power_cuts --seeds 9..3", "9..3 is not a range of seeds"),
        ("run --scenario power_cuts --planted B999", "there is no planted bug B999"),
        ("run --scenario power_cuts --artefacts other.toml/x", "name another --artefacts"),
        ("cover --seeds 0..2 --artefacts other.toml", "name another --artefacts"),
        ("soak --for 1s --artefacts other.toml", "name another --artefacts"),
        ("soak --simulated 1d", "no unit of ms, s, m or h"),
        ("soak --seeds 9..3", "9..3 is not a range of seeds"),
        ("cover --all", "say which runs: --seeds 0..1000"),
        ("mutants --only B999", "there is no planted bug B999"),
        ("meta --scenario power_cust", "did you mean power_cuts?"),
        ("replay newer.toml", "version 2, and this simulator runs version 1"),
        ("replay other.toml", "not a plan"),
        ("replay power_cuts --seed 9223372036854775808", "from 0 to 9223372036854775807"),
        (
            "replay power_cuts --seed 1 --break-on I99",
            "there is no property I99; name one of I1, I2",
        ),
        ("replay power_cuts --seed 1 --trace other.toml/x", "name another --trace"),
        ("replay power_cuts --seed 1 --history other.toml/x", "name another --history"),
        ("replay power_cuts --seed 1 --history-edn other.toml/x", "name another --history-edn"),
        ("cove", "similar subcommand exists: 'cover'"),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        let (code, text) = place.run(&args);
        assert_eq!(code, Some(4), "{line}: {text}");
        assert!(text.contains(said), "{line}: {text}");
    }
    assert_eq!(place.names(""), ["newer.toml", "other.toml", "path.toml", "story.toml"]);
    place.assert_nothing_runs();
}

#[test]
fn help_shows_how_a_command_is_used() {
    let place = Place::new();
    for (command, said) in [
        ("run", "1,000 runs or more"),
        ("cover", "cargo sim cover --for 10m"),
        ("soak", "cargo sim soak --simulated 1000000s"),
        ("mutants", "cargo sim mutants --only B09"),
        ("shrink", "--planted <Bnn>"),
    ] {
        let (code, text) = place.run(&[command, "--help"]);
        assert_eq!(code, Some(0), "{command}: {text}");
        assert!(text.contains(said) && text.contains("Exit codes: 0"), "{command}: {text}");
    }
}

#[test]
fn a_killed_child_is_a_mistake_of_the_simulator_and_one_that_hangs_is_stuck() {
    let run = ["run", "--scenario", "power_cuts", "--seed", "1"];
    let replay = ["replay", "power_cuts", "--seed", "1"];
    let shrink = ["shrink", "power_cuts", "--seed", "1", "--planted", "B01"];
    let meta = ["meta", "--scenario", "power_cuts", "--seed", "1"];
    let mutants = ["mutants", "--only", "B91", "--seeds", "0..1"];
    for (args, stuck) in [
        (&run[..], Some(3)),
        (&replay, Some(3)),
        (&shrink, Some(3)),
        (&meta, Some(3)),
        (&mutants, None),
    ] {
        for (name, code) in [("KILL", Some(4)), ("STOP", stuck)] {
            let Some(code) = code else { continue };
            let place = Place::new();
            // The others must come to their end, however busy the machine is.
            let watchdog = if name == "KILL" { "300s" } else { "2s" };
            let command = place.start(&[args, &["--watchdog", watchdog]].concat());
            signal(name, &place.child());
            let (ended, text) = said(command.wait_with_output().unwrap());
            assert_eq!(ended, Some(code), "{args:?} {name}: {text}");
            place.assert_nothing_runs();
            let left = place.names("");
            assert!(left.is_empty() || left == ["target"], "{args:?} {name}: {left:?}");
            if args[0] != "run" {
                continue;
            }
            let told = if name == "KILL" { "signal: 9" } else { "no end after 2 real seconds" };
            assert!(text.contains(told), "{text}");
            // Of a run that nobody told of there is no history and no trace, nor an empty file.
            let kept = place.names("target/simulator/power_cuts-1");
            assert!(kept.iter().any(|name| name == "plan.toml"), "{kept:?}");
            let told = ["history.jsonl", "trace.txt"];
            assert!(!kept.iter().any(|name| told.contains(&name.as_str())), "{kept:?}");
            let verdict = place.read("target/simulator/power_cuts-1/verdict.json");
            assert!(verdict.contains("did not come to its end"), "{verdict}");
        }
    }
}

#[test]
fn a_command_that_gets_a_signal_leaves_no_process_and_no_half_file() {
    let shrink = ["shrink", "power_cuts", "--seed", "0", "--planted", "B01", "--out", "out.toml"];
    let cover = ["cover", "--seeds", "0..1000"];
    let meta = ["meta", "--scenario", "power_cuts", "--seeds", "0..1000"];
    let mutants = ["mutants", "--only", "B62"];
    let failing = ["run", "--scenario", "power_cuts", "--seed", "0", "--planted", "B01"];
    for (args, code, told) in [
        (&LONG[..], 130, "0 failed"),
        (&failing, 130, "0 failed"),
        (&cover, 130, "probes never hit"),
        (&["soak"], 0, "simulated s a wall second"),
        (&shrink, 130, "interrupted"),
        (&meta, 130, "interrupted"),
        (&mutants, 130, "interrupted"),
    ] {
        for name in ["INT", "KILL"] {
            let place = Place::new();
            let command = place.start(args);
            place.child();
            if args == failing {
                place.look_until(|| place.has_begun_a_trace());
            }
            signal(name, &command.id().to_string());
            let (ended, text) = said(command.wait_with_output().unwrap());
            match name {
                "INT" => {
                    assert_eq!(ended, Some(code), "{args:?}: {text}");
                    assert!(text.contains(told), "{args:?}: {text}");
                }
                _ => assert_eq!(ended, None, "{args:?}: {text}"),
            }
            place.assert_nothing_runs();
            let left = place.names("");
            assert!(left.is_empty() || left == ["target"], "{args:?} {name}: {left:?}");
            // A command that is killed leaves what it was writing; the next one removes that.
            if left == ["target"] && (args, name) != (&failing, "KILL") {
                assert!(place.names("target/simulator").is_empty(), "{args:?} {name}");
            }
        }
    }
}

#[test]
fn a_reader_that_goes_away_costs_no_artefacts_and_no_panic() {
    let failing = ["run", "--scenario", "power_cuts", "--seeds", "0..1000", "--planted", "B01"];
    let replay = ["replay", "power_cuts", "--seed", "1"];
    let mutants = ["mutants", "--only", "B62"];
    for (args, code, kept) in [(&failing[..], 1, true), (&replay, 0, false), (&mutants, 141, false)]
    {
        let place = Place::new();
        let mut command = place.start(args);
        drop(command.stdout.take());
        let (ended, text) = said(command.wait_with_output().unwrap());
        assert_eq!((ended, text.as_str()), (Some(code), ""), "{args:?}");
        place.assert_nothing_runs();
        if kept {
            let names = place.names("target/simulator");
            assert!(names.iter().any(|name| name.starts_with("power_cuts-")), "{names:?}");
            assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
        }
    }
    let place = Place::new();
    let mut command = place.command(&replay);
    command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let (ended, text) = said(command.output().unwrap());
    assert_eq!(ended, Some(4), "{text}");
    assert!(text.contains("standard output cannot be written"), "{text}");
}

#[test]
fn a_failing_run_leaves_plan_trace_history_and_verdict() {
    let place = Place::new();
    // What a command that was killed long ago left half written. No process has this id.
    std::fs::create_dir_all(place.path().join("kept/.partial-4294967295-power_cuts-0")).unwrap();
    // Another program's.
    std::fs::create_dir_all(place.path().join("kept/.partial-download")).unwrap();
    let args = "run --scenario power_cuts --seed 0 --planted B01 --artefacts kept";
    let args: Vec<&str> = args.split(' ').collect();
    for _ in ["anew", "over the first"] {
        let (code, text) = place.run(&args);
        assert_eq!(code, Some(1), "{text}");
        assert_eq!(place.names("kept"), [".partial-download", "power_cuts-0-B01"]);
        let files = ["history.jsonl", "plan.toml", "trace.txt", "verdict.json"];
        let left: Vec<String> = place.names("kept/power_cuts-0-B01");
        assert!(files.iter().all(|file| left.iter().any(|name| name == file)), "{left:?}");
    }
    let verdict: Value =
        serde_json::from_str(&place.read("kept/power_cuts-0-B01/verdict.json")).unwrap();
    let program = std::fs::read(env!("CARGO_BIN_EXE_simulator")).unwrap();
    let build = verdict["build"].as_str().unwrap();
    let (version, sum) = (env!("CARGO_PKG_VERSION"), crc32c::crc32c(&program));
    assert!(build.starts_with(&format!("{version}-")), "{build}");
    assert!(build.ends_with(&format!("-{sum:08x}")), "{build}");
    assert_eq!(verdict["verdict"], "failed");
    assert_eq!(verdict["no_trace"], Value::Null);
    let events = place.read("kept/power_cuts-0-B01/history.jsonl");
    assert!(events.lines().count() > 1_000);
    // The trace is that of the very run: the plan gives the same one again.
    let again = "replay kept/power_cuts-0-B01/plan.toml --json --trace again.txt";
    let (code, text) = place.run(&again.split(' ').collect::<Vec<_>>());
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(json(&text)["trace_hash"], verdict["outcome"]["trace_hash"]);
    assert!(place.read("again.txt") == place.read("kept/power_cuts-0-B01/trace.txt"));
}

#[test]
fn a_replay_says_of_a_property_whether_it_broke_or_was_judged() {
    for (args, code, wanted) in [
        ("--seed 0 --planted B01 --break-on i2", 1, None),
        ("--seed 1 --break-on i2", 0, Some("I2 holds")),
        ("--seed 1 --break-on i22", 0, Some("I22 was not judged")),
        ("--seed 1 --break-on panic", 0, Some("panic holds")),
        ("--seed 1 --break-on I2 --until 30s", 0, Some("I2 was not judged")),
        ("--seed 1 --break-on panic --until 30s", 0, Some("panic was not judged")),
        ("--seed 1 --break-on I2 --watchdog 1ms", 3, Some("I2 was not judged")),
    ] {
        let place = Place::new();
        let line = format!("replay power_cuts {args} --trace deep/trace.txt");
        let (ended, text) = place.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(ended, Some(code), "{args}: {text}");
        let said = |word: &str| text.lines().any(|line| line.ends_with(word));
        match wanted {
            Some(wanted) => assert!(said(wanted), "{args}: {text}"),
            None => {
                assert!(!said("holds") && !said("judged"), "{args}: {text}");
                // The last events before it broke are those of the trace.
                let trace = place.read("deep/trace.txt");
                let events: HashSet<&str> = trace.lines().collect();
                let shown = text.lines().filter(|line| events.contains(line));
                assert_eq!(shown.count(), 200, "{args}: {text}");
            }
        }
        assert!(place.names("deep").iter().all(|name| name == "trace.txt"), "{args}");
    }
}

#[test]
fn mutants_tells_the_seeds_that_a_bug_needs() {
    for (bug, code, found) in [("B01", 0, 1), ("B91", 1, 0)] {
        let place = Place::new();
        let args = ["mutants", "--only", bug, "--seeds", "0..2", "--json"];
        let (ended, text) = place.run(&args);
        assert_eq!(ended, Some(code), "{text}");
        let table = text.lines().filter(|line| !line.starts_with('{'));
        assert!(table.map(|line| line.chars().count()).max() <= Some(120), "{text}");
        assert!(text.contains(&format!("{found} of 1 found")), "{text}");
        let json = json(&text);
        assert_eq!((&json["found"], &json["of"]), (&Value::from(found), &Value::from(1)));
        let row = &json["bugs"][0];
        assert_eq!(row["seed"].is_u64(), found == 1, "{row}");
        assert!(row["seeds"].as_u64() >= Some(1) && row["simulated_seconds"].as_f64() > Some(1.0));
    }
}

#[test]
fn cover_names_what_no_run_reached() {
    let one = ["cover", "--scenario", "power_cuts", "--seed", "1", "--json"];
    let all = ["cover", "--seeds", "0..1", "--json"];
    for (args, code) in [(&one[..], 0), (&all, 1)] {
        let (ended, text) = Place::new().run(args);
        assert_eq!(ended, Some(code), "{text}");
        let json = json(&text);
        assert_eq!(json["runs"], 1);
        assert!(text.contains("0 windows given up"), "{text}");
        let judged = |id: &str| json["coverage"]["oracles"][id]["judged"].as_u64();
        assert!(judged("I1") > Some(100) && judged("I22").is_none(), "{text}");
        for (list, name) in [
            ("probes_never_hit", "session_over"),
            ("faults_never_effective", "C3"),
            ("oracles_that_never_judged", "I22"),
        ] {
            let names = json[list].as_array().unwrap();
            assert!(names.iter().any(|one| one == name), "{list}: {text}");
            let said = text.lines().find(|line| line.starts_with(&list.replace('_', " "))).unwrap();
            assert!(said.contains(name), "{said}");
        }
        assert!(json["coverage"]["faults"]["D1"]["oracles"]["I1"].as_u64() == Some(1), "{text}");
    }
}

#[test]
fn a_soak_ends_at_its_limit_and_goes_on_after_failures() {
    let place = Place::new();
    let (code, text) = place.run(&["soak", "--simulated", "1s", "--jobs", "1", "--json"]);
    assert_eq!(code, Some(0), "{text}");
    let sums = json(&text);
    assert_eq!((&sums["runs"], &sums["failed"]), (&Value::from(1), &Value::from(0)));
    assert!(sums["simulated_seconds"].as_u64() >= Some(60) && sums["cpu_seconds"].is_f64());
    // Each run counts as stuck, and there are many in a second.
    let (code, text) = place.run(&["soak", "--for", "1s", "--watchdog", "1ms", "--json"]);
    assert_eq!(code, Some(3), "{text}");
    let sums = json(&text);
    let failures = sums["failures"].as_array().unwrap();
    assert!(failures.len() > 1, "{text}");
    assert_eq!(sums["failed"], failures.len());
    let replay = failures[0]["replay"].as_str().unwrap();
    assert!(replay.starts_with("cargo sim replay ") && text.contains(replay), "{text}");
    assert!(place.names("target/simulator").len() > 1);
    place.assert_nothing_runs();
}
