//! The simulator for an application's own tests: its processes, written against
//! [`rivven_io::Env`] and the client library, work with a simulated broker while faults from a seed
//! hit the broker, the network and themselves.
//!
//! ```text
//! a test ─► check(stage, story) ─► for each seed a fresh process of the test binary:
//!           broker starts ─► story + faults ─► healed ─► the story judges and returns
//! ```
//!
//! A seed fails when the story or a process panics (a failed assertion is a panic), when the story
//! does not return in time after the faults are over, or when the broker breaks down. Everything
//! that a process draws, and every time that it takes, must come from its `Env`: then a seed gives
//! the same run each time.

mod act;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::ops::Range;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rivven_io::Env;
use rivven_io::sim::rng::stream;
use rivven_io::sim::{SimNode, host};

use crate::launch::{self, Job, Launcher};
use crate::oracles::Violation;
use crate::plan::{CLIENTS, Plan};
use crate::run::Records;
use crate::run::outcome::Outcome;
use crate::scenario::Scenario;
use crate::workload::{ClientKind, ClientParams, Stop};

/// Tells a child which story it plays.
const STORY: &str = "RIVVEN_SIMULATOR_STORY";
/// Plays one seed only.
const ONE_SEED: &str = "SIM_SEED";
/// Plays so many seeds from the first one of a stage on.
const SEEDS: &str = "SIM_SEEDS";
/// Real time of one run.
const WATCHDOG: Duration = Duration::from_secs(300);
/// Partitions that an application may have in all, unless its stage says otherwise.
const PARTITIONS: u32 = 64;
/// Longest time that a killed process is down.
const DOWN_MS_MAX: u64 = 3_000;
const MINUTE_MS: u64 = 60_000;

/// What a story is played on: the application's processes, the faults, the seeds.
#[derive(Clone, Debug)]
pub struct Stage {
    scenario: Scenario,
    processes: Vec<String>,
    kills_per_minute: u64,
    partitions: u32,
    seeds: Range<u64>,
}

impl Stage {
    /// A stage with these processes of the application, by name. Ten seeds from 0 on; the faults of
    /// `simulator/src/app/application.toml` for a minute of simulated time; each process is killed
    /// four times a minute and started again.
    ///
    /// # Panics
    /// With more than 100 processes, or two of one name.
    #[must_use]
    pub fn new(processes: &[&str]) -> Stage {
        let mut names: Vec<String> = processes.iter().map(|name| (*name).to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        assert!(names.len() == processes.len(), "two processes have one name: {processes:?}");
        assert!(names.len() <= 100, "a stage has 100 processes at most");
        let scenario = Scenario::parse("application", include_str!("app/application.toml"));
        Stage {
            scenario: scenario.expect("the built-in faults are sound"),
            processes: processes.iter().map(|name| (*name).to_owned()).collect(),
            kills_per_minute: 4,
            partitions: PARTITIONS,
            seeds: 0..10,
        }
    }

    /// Plays these seeds. For [`check`], `SIM_SEEDS=500` in the environment plays so many from the
    /// first one on, `SIM_SEED=7` only that one.
    #[must_use]
    pub fn seeds(self, seeds: Range<u64>) -> Stage {
        Stage { seeds, ..self }
    }

    /// Faults, their time and the broker's knobs from the text of a scenario file; its topics,
    /// clients and oracles count for nothing.
    ///
    /// # Panics
    /// If the text is no scenario; says why.
    #[must_use]
    pub fn scenario(self, text: &str) -> Stage {
        match Scenario::parse("the stage's scenario", text) {
            Ok(scenario) => Stage { scenario, ..self },
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes room for so many partitions of the application's topics; for 64 unless told.
    #[must_use]
    pub fn partitions(self, partitions: u32) -> Stage {
        Stage { partitions, ..self }
    }

    /// How often each process is killed and started again; 0: never.
    #[must_use]
    pub fn kills_per_minute(self, kills_per_minute: u64) -> Stage {
        Stage { kills_per_minute, ..self }
    }

    fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::draw(&self.scenario, seed, "").with_brokers(&[0]);
        plan.workload.topics.clear();
        plan.broker = plan.broker.with_room_for(u64::from(self.partitions));
        plan.oracles.clear();
        let numbers = (0..).take(self.processes.len());
        plan.workload.clients = numbers.map(|client| process(client, seed)).collect();
        plan
    }

    fn seeds_wanted(&self) -> Range<u64> {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            let number = text.parse::<u64>();
            Some(number.unwrap_or_else(|_| panic!("{name}={text} is not a number of seeds")))
        };
        match (number(ONE_SEED), number(SEEDS)) {
            (Some(seed), _) => seed..seed + 1,
            (None, Some(count)) => self.seeds.start..self.seeds.start + count,
            (None, None) => self.seeds.clone(),
        }
    }
}

/// A place in a plan for a process: faults of clients find it there.
fn process(client: u32, seed: u64) -> ClientParams {
    ClientParams {
        client,
        broker: 0,
        kind: ClientKind::Application,
        seed,
        topics: Vec::new(),
        pause_ms: (0, 0),
        batch_records: (1, 1),
        keys: 0,
        tombstone_percent: 0,
        codec: 0,
        time_searches_percent: 0,
        broker_changes_percent: 0,
        filler_bytes: (0, 0),
        in_flight: 1,
        acks: -1,
        fetch_wait_ms: 0,
        fetch_bytes: 0,
        request_timeout_ms: 0,
        connection_requests: 0,
        operations_max: 0,
        operations: None,
        group: None,
    }
}

/// What a story has at hand; clones are the same.
#[derive(Clone)]
pub struct App {
    /// Of the story's own process, which no fault hits.
    env: Env,
    broker: SocketAddr,
    seed: u64,
    kills_per_minute: u64,
    nodes: Arc<Vec<(String, SimNode)>>,
    /// Names of the processes that were begun.
    running: Arc<Mutex<BTreeSet<String>>>,
    healed: Arc<Stop>,
}

impl App {
    /// Of the story itself, whose process no fault hits.
    #[must_use]
    pub fn env(&self) -> Env {
        self.env.clone()
    }

    /// The broker's address, as clients' configurations take it.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.broker.to_string()
    }

    /// The seed that is played.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Runs a process of the application on a machine of its own. Until the faults are over it is
    /// killed now and then: its tasks end where they are, what it has written stays, and `main`
    /// begins anew with the `Env` of the next life.
    ///
    /// # Panics
    /// If the stage has no process of that name, or it runs already.
    pub fn process<F, Fut>(&self, name: &str, main: F)
    where
        F: Fn(Env) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let found = self.nodes.iter().find(|(known, _)| known == name);
        let node = found.unwrap_or_else(|| panic!("the stage has no process {name:?}")).1.clone();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(running.insert(name.to_owned()), "the process {name:?} runs already");
        drop(running);
        drop(node.spawn(main(node.env())));
        if self.kills_per_minute == 0 {
            return;
        }
        let (env, healed) = (self.env.clone(), self.healed.clone());
        let mut draws = stream(self.seed, "application.kills", node.id(), 0);
        let mean_ms = MINUTE_MS / self.kills_per_minute;
        self.env.tasks.spawn("kills of a process", async move {
            loop {
                let pause = Duration::from_millis(draws.between(1, 2 * mean_ms));
                if healed.pause(&env, pause).await {
                    return;
                }
                node.kill();
                let down = Duration::from_millis(draws.between(1, DOWN_MS_MAX));
                let is_healed = healed.pause(&env, down).await;
                node.restart();
                drop(node.spawn(main(node.env())));
                if is_healed {
                    return;
                }
            }
        });
    }

    /// Waits until the faults are over: from then on everything works, processes that are down
    /// start, and the story must return within the scenario's `liveness_seconds`.
    pub async fn healed(&self) {
        while !self.healed.pause(&self.env, Duration::from_secs(3_600)).await {}
    }
}

/// A seed that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub seed: u64,
    /// What broke first.
    pub violation: Violation,
    /// The test, as its binary names it.
    test: String,
    /// The end of what the run has logged.
    log: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, violation, test, log } = self;
        let at_ms = violation.at_ns / 1_000_000;
        let Violation { property, text, node, .. } = violation;
        writeln!(f, "seed {seed}: {property}, at {at_ms} ms, node {node}: {text}")?;
        if !log.is_empty() {
            writeln!(f, "{log}")?;
        }
        write!(f, "see it again: SIM_SEED={seed} cargo test --features sim {test} -- --exact")?;
        write!(f, " (RUST_LOG=debug prints the whole log)")
    }
}

/// Plays a story on every seed of a stage, or on those that `SIM_SEEDS` or `SIM_SEED` in the
/// environment ask for.
///
/// # Panics
/// With the first seed that fails, what broke, and the command that shows it again.
#[track_caller]
pub fn check<F, Fut>(stage: &Stage, story: F)
where
    F: Fn(App) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    if let Some(failure) = play(stage, stage.seeds_wanted(), story) {
        panic!("{failure}");
    }
}

/// Plays a story on the seeds of a stage until one fails; the environment changes nothing of them,
/// as who looks for a mistake that is there needs them all.
///
/// Each seed is a process that runs the test from its beginning, and in which stories that are not
/// its own return at once, this with `None`: what a test does before a story must not depend on
/// what came of an earlier one.
///
/// # Panics
/// If no child can be started.
#[track_caller]
pub fn first_failure<F, Fut>(stage: &Stage, story: F) -> Option<Failure>
where
    F: Fn(App) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    play(stage, stage.seeds.clone(), story)
}

#[track_caller]
fn play<F, Fut>(stage: &Stage, seeds: Range<u64>, story: F) -> Option<Failure>
where
    F: Fn(App) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let test = test_name::<F>();
    let wanted = story_id(&test, Location::caller());
    if launch::is_child() {
        // A test may have several stories: the child passes over those that are not its own.
        if std::env::var(STORY).is_ok_and(|own| own == wanted) {
            let names = (&stage.processes[..], stage.kills_per_minute);
            launch::serve_with(|job| act::act(&job.plan, &job.records, names, &story));
        }
        return None;
    }
    let played = async {
        let launcher = launcher(&test, &wanted).await;
        for seed in seeds {
            let log = std::env::var("RUST_LOG").unwrap_or_default();
            let wants_all = !log.is_empty();
            let job = Job { plan: stage.plan(seed), records: Records::default(), log };
            let report = launcher.run(&job).await;
            if wants_all {
                eprint!("{}", report.log);
            }
            if let Some(violation) = first(&report.outcome) {
                let log = launch::end(&report.log).trim().to_owned();
                return Some(Failure { seed, violation, test, log });
            }
        }
        None
    };
    host::block_on(played).expect("the host has timers and pollers")
}

/// What broke first; the application's own word counts more than what came of it.
fn first(outcome: &Outcome) -> Option<Violation> {
    let own = outcome.violations.iter().find(|violation| violation.property == act::APPLICATION);
    own.or(outcome.violations.first()).cloned()
}

/// Which story of a test this is: where the test asks for it, and how many it has asked for there
/// before. To be called once for each.
fn story_id(test: &str, place: &Location<'_>) -> String {
    static ASKED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
    let place = format!("{test} {place}");
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    let count = asked.entry(place.clone()).or_default();
    *count += 1;
    format!("{place} #{count}")
}

async fn launcher(test: &str, story: &str) -> Launcher {
    let program = std::env::current_exe().expect("this binary has a path").into_os_string();
    let words = ["--exact", test, "--nocapture", "--include-ignored"];
    let command = [program].into_iter().chain(words.map(Into::into)).collect();
    Launcher::new(command, WATCHDOG).await.with_variable(STORY, story)
}

/// The test that this is, as its binary names it: the name of its thread, or, where tests have none
/// of their own, the path of the closure without its crate.
fn test_name<F>() -> String {
    if let Some(name) = host::test_name() {
        return name;
    }
    let path = std::any::type_name::<F>();
    let path = path.split_once("::").map_or(path, |(_, rest)| rest);
    path.split("::{{closure}}").next().unwrap_or(path).to_owned()
}

/// The nodes of a stage's processes.
fn nodes(processes: &[String], node: impl Fn(u64) -> SimNode) -> Vec<(String, SimNode)> {
    (CLIENTS..).zip(processes).map(|(id, name)| (name.clone(), node(id))).collect()
}
