//! Runs of plans in fresh child processes: one process per run, because libraries keep counters
//! per process and per thread. The parent passes the plan on the child's standard input and reads
//! the outcome from its standard output.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::pin::pin;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rivven_io::Env;
use rivven_io::sim::host;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::history::{edn, read_jsonl};
use crate::plan::Plan;
use crate::run::outcome::Outcome;
use crate::run::{Records, Run, run};
use crate::workload::operations::BegunOperation;

/// Set in the environment of every child: the id of its parent's process. It has always the same
/// length, so that it moves nothing in the child's memory.
const CHILD: &str = "RIVVEN_SIMULATOR_CHILD";
/// Has the C library keep what is freed, instead of giving it back to the system over and over: a
/// child lives for seconds.
const MEMORY_KEPT: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "1073741824"),
    ("MALLOC_TRIM_THRESHOLD_", "1073741824"),
    ("MALLOC_TOP_PAD_", "16777216"),
];
/// What begins the line with the outcome; other output of the child is a log.
const OUTCOME: &str = "outcome ";
/// What begins a line of a history, before the broker's number.
const EVENT: &str = "event ";
/// What begins the line with the clients' operations.
const OPERATIONS: &str = "operations ";
/// What of a child's log goes into a report, in bytes from its end.
const LOG_BYTES_MAX: usize = 4_000;

/// How often a child gets the watchdog's time on a machine that is too busy for it.
const PATIENCE: u32 = 10;

/// What a child is asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub plan: Plan,
    pub records: Records,
    /// Directives of the log on standard error; empty: no log.
    pub log: String,
}

/// What a child gave back.
#[derive(Clone, Debug)]
pub struct Report {
    pub outcome: Outcome,
    /// JSON lines of each broker's history, if they were wanted.
    pub histories: Vec<String>,
    /// What clients began, if it was wanted.
    pub operations: Vec<BegunOperation>,
    /// Standard error.
    pub log: String,
}

impl Report {
    /// A broker's history as EDN, see [`edn`]; empty if there is none.
    ///
    /// # Errors
    /// In words, if the history holds a line that is no event.
    pub fn history_edn(&self, broker: usize) -> Result<String, String> {
        let Some(history) = self.histories.get(broker) else { return Ok(String::new()) };
        let events = read_jsonl(history).map_err(|error| format!("history: {error}"))?;
        Ok(edn::text(&events))
    }
}

/// How children are started.
#[derive(Clone)]
pub struct Launcher {
    env: Env,
    command: Vec<OsString>,
    /// More for the children's environment.
    variables: Vec<(&'static str, OsString)>,
    /// Real time after which a child is killed that could have used it.
    watchdog: Duration,
}

impl Launcher {
    /// Children are processes of `command`, which must end up in [`serve`]. If this machine lets
    /// it, their addresses are not randomised, and they die with this process.
    pub async fn new(command: Vec<OsString>, watchdog: Duration) -> Launcher {
        let wrappers: [&[&str]; 2] =
            [&["setarch", "--addr-no-randomize"], &["setpriv", "--pdeathsig", "KILL"]];
        let mut whole = command;
        for wrapper in wrappers {
            let mut probe = Command::new(wrapper[0]);
            probe.args(&wrapper[1..]).arg("true").stdin(Stdio::null()).stderr(Stdio::null());
            if probe.status().await.is_ok_and(|status| status.success()) {
                whole.splice(0..0, wrapper.iter().map(OsString::from));
            }
        }
        Launcher { env: Env::real(), command: whole, variables: Vec::new(), watchdog }
    }

    /// The same with another time after which a child is killed.
    #[must_use]
    pub fn with_watchdog(&self, watchdog: Duration) -> Launcher {
        Launcher { watchdog, ..self.clone() }
    }

    /// The same with one more variable in the environment of its children.
    pub(crate) fn with_variable(mut self, name: &'static str, value: &str) -> Launcher {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs a job in a fresh process. A child that does not end in time, or ends without an
    /// outcome, is an outcome too.
    pub async fn run(&self, job: &Job) -> Report {
        let began = self.env.clock.now();
        let id = AtomicU32::new(0);
        let ended = self.in_time(&id, self.output(job, &id)).await;
        let failed = |property: &str, text: String, log: String| Report {
            outcome: Outcome::without_run(&job.plan, property, text),
            histories: Vec::new(),
            operations: Vec::new(),
            log,
        };
        match ended {
            None => {
                let took = self.env.clock.now().since(began);
                let text = format!("no end after {} real seconds", took.as_secs());
                failed("stuck", text, String::new())
            }
            Some(Err(error)) => failed("harness", format!("no child: {error}"), String::new()),
            Some(Ok(output)) => {
                let log = String::from_utf8_lossy(&output.stderr).into_owned();
                match read_report(&output, &log) {
                    Some(report) => report,
                    None => {
                        let text = format!("the child ended with {}: {}", output.status, end(&log));
                        failed("harness", text, log)
                    }
                }
            }
        }
    }

    /// What came of a child within the watchdog's time; `None` if it did not end. One that only
    /// waits for a processor, and had less than half of one, gets as much time again.
    async fn in_time<T>(&self, id: &AtomicU32, output: impl Future<Output = T>) -> Option<T> {
        let mut output = pin!(output);
        for _ in 0..PATIENCE {
            if let Ok(ended) = self.env.clock.timeout(self.watchdog, &mut output).await {
                return Some(ended);
            }
            let state = host::process_state(id.load(Relaxed));
            if state.is_none_or(|state| !state.is_runnable || state.used * 2 >= self.watchdog) {
                return None;
            }
        }
        None
    }

    async fn output(&self, job: &Job, id: &AtomicU32) -> std::io::Result<Output> {
        let mut command = Command::new(&self.command[0]);
        let parent = format!("{:010}", std::process::id());
        command.args(&self.command[1..]).env(CHILD, parent).kill_on_drop(true);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.envs(MEMORY_KEPT);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        id.store(child.id().unwrap_or(0), Relaxed);
        let mut input = child.stdin.take().expect("standard input is a pipe");
        let written = input.write_all(&serde_json::to_vec(job)?).await;
        // How a child ended that did not read its job says more than that it did not.
        written.or_else(|error| match error.kind() {
            ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        })?;
        drop(input);
        child.wait_with_output().await
    }
}

fn read_report(output: &Output, log: &str) -> Option<Report> {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut histories: Vec<String> = Vec::new();
    let mut outcome = None;
    let mut operations = Vec::new();
    for line in text.lines() {
        if let Some((broker, event)) =
            line.strip_prefix(EVENT).and_then(|line| line.split_once(' '))
        {
            let broker: usize = broker.parse().ok()?;
            if histories.len() <= broker {
                histories.resize_with(broker + 1, String::new);
            }
            histories[broker].push_str(event);
            histories[broker].push('\n');
        } else if let Some(json) = line.strip_prefix(OPERATIONS) {
            operations = serde_json::from_str(json).ok()?;
        } else if let Some(json) = line.strip_prefix(OUTCOME) {
            outcome = serde_json::from_str(json).ok();
        }
    }
    Some(Report { outcome: outcome?, histories, operations, log: log.to_owned() })
}

/// The last bytes of a log.
pub(crate) fn end(log: &str) -> &str {
    let mut from = log.len().saturating_sub(LOG_BYTES_MAX);
    while !log.is_char_boundary(from) {
        from += 1;
    }
    &log[from..]
}

/// Whether this process is a child of a [`Launcher`].
#[must_use]
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn is_orphan() -> bool {
    let parent = std::env::var(CHILD).ok().and_then(|parent| parent.parse().ok());
    parent != Some(std::os::unix::process::parent_id())
}

/// The whole life of a child: runs the job on standard input, prints what came out, and ends.
///
/// # Panics
/// If standard input holds no job, or the run cannot be recorded: the parent sees no outcome.
pub fn serve() -> ! {
    serve_with(|job| run(&job.plan, &job.records))
}

/// As [`serve`], with another kind of run.
pub(crate) fn serve_with(run: impl FnOnce(&Job) -> Result<Run, String>) -> ! {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).expect("the parent wrote a job");
    let job: Job = serde_json::from_slice(&input).expect("the parent wrote a job");
    if is_orphan() {
        // A parent that died before this process asked to die with it.
        std::process::exit(1);
    }
    if !job.log.is_empty() {
        crate::log::to_stderr(&job.log);
    }
    let run = run(&job).expect("the records can be written");
    let mut text = String::new();
    if job.records.history.is_wanted(&run.outcome) {
        for (broker, history) in run.histories.iter().enumerate() {
            let mut lines = Vec::new();
            history.write_jsonl(&mut lines).expect("memory takes every write");
            for line in String::from_utf8_lossy(&lines).lines() {
                text += &format!("{EVENT}{broker} {line}\n");
            }
        }
    }
    if job.records.operations {
        let begun: Vec<BegunOperation> =
            run.histories.iter().flat_map(|history| history.begun()).collect();
        let begun = serde_json::to_string(&begun).expect("numbers are plain data");
        text += &format!("{OPERATIONS}{begun}\n");
    }
    let outcome = serde_json::to_string(&run.outcome).expect("an outcome is plain data");
    // A line of its own, whatever a test harness has written before.
    println!("\n{text}{OUTCOME}{outcome}");
    std::process::exit(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::registry;

    #[test]
    fn a_child_that_ends_before_it_reads_its_job_is_heard() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let plan = Plan::draw(registry::find("power_cuts").unwrap(), 1, "");
        // More than a pipe holds.
        let job = Job { plan, records: Records::default(), log: "x".repeat(1 << 21) };
        let command = ["sh", "-c", "echo no room >&2; exit 3"].map(OsString::from).to_vec();
        let report = runtime.block_on(async {
            Launcher::new(command, Duration::from_secs(120)).await.run(&job).await
        });
        let text = &report.outcome.violations[0].text;
        assert!(text.contains("exit status: 3") && text.contains("no room"), "{text}");
    }
}
