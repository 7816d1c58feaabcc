//! A run: one plan in a world of its own, from an empty disk to the verdict. It must be the only
//! run of its process.
//!
//! ```text
//! start ─► topics ─► clients + faults ─► heal ─► clients end ─► liveness ─► groups read to the end
//!       ─► power cut ─► read-back
//! ```

mod abreast;
pub mod catalogue;
pub mod outcome;
pub mod probes;
pub(crate) mod queues;
pub(crate) mod server;
pub(crate) mod supervisor;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rivven_io::sim::net::LinkConfig;
use rivven_io::sim::{Resources, World};
use rivven_io::task::Task;

use crate::history::History;
use crate::history::event::Mark;
use crate::linear::Looked;
use crate::oracles::{Evidence, ResourceReading, Violation, judge};
use crate::plan::{CLIENTS, Plan, SERVER};
use crate::run::outcome::{Outcome, Verdict};
use crate::run::supervisor::{Supervisor, Tally};
use crate::workload::{self, ClientContext, ClientParams, Stop};

/// The node of the client that sets topics up, probes liveness and reads back; those of other
/// brokers follow it.
pub(crate) const JUDGE: u64 = 50_000;
/// How long a healthy broker may take for its first start and the topics.
pub(crate) const SET_UP: Duration = Duration::from_secs(30);
/// How long clients work on with the healed broker, so that what was held up comes to its end.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(5);
/// How long clients may take to end.
const CLIENTS_END: Duration = Duration::from_secs(30);
/// How long a damaged range is asked for in the read-back.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the broker may hold what ended connections used.
const REST: Duration = Duration::from_secs(5);
/// How often what the broker holds is looked at after that, and how far apart: longer than a
/// checkpoint syncs, and not in step with it.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(333);

/// Oracles of the end of a run, which a broker that rightly refuses to start does not reach.
const NEEDS_SERVICE: [&str; 4] = ["I1", "I13", "I42", "I45"];

/// Of which runs something is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Wanted {
    #[default]
    Never,
    /// Of those that do not pass.
    OfFailed,
    Always,
}

impl Wanted {
    pub(crate) fn is_wanted(self, outcome: &Outcome) -> bool {
        match self {
            Wanted::Never => false,
            Wanted::OfFailed => outcome.verdict() != Verdict::Pass,
            Wanted::Always => true,
        }
    }
}

/// What to write down besides the outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Records {
    /// File of the host for the trace, one event a line.
    pub trace: Option<PathBuf>,
    /// Whether the history is wanted.
    pub history: Wanted,
    /// Whether a list of the clients' operations is wanted.
    #[serde(default)]
    pub operations: bool,
    /// Virtual time in microseconds at which the run is left as it is, and not judged.
    pub until_us: Option<u64>,
}

/// What a run left behind.
pub struct Run {
    pub outcome: Outcome,
    /// Of each broker.
    pub histories: Vec<Arc<History>>,
}

/// What counts of all brokers of a run.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) operations_acked: u64,
    pub(crate) tally: Tally,
    /// By oracle.
    pub(crate) judged: BTreeMap<&'static str, u64>,
    pub(crate) looked: Looked,
}

/// Runs a plan. Its planted bug stays on for the life of the process.
///
/// # Errors
/// In words, if the host refuses the trace's file.
pub fn run(plan: &Plan, records: &Records) -> Result<Run, String> {
    if !plan.planted.is_empty() {
        rivven_io::planted::switch_on(&plan.planted);
    }
    let world = World::new(plan.seed);
    if let Some(path) = &records.trace {
        world.trace_to(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let parts: Vec<Plan> = (0..plan.brokers).map(|broker| plan.of_broker(broker)).collect();
    let history = |broker| History::timed_by(world.node(JUDGE + broker).env().clock);
    let histories: Vec<Arc<History>> = (0..plan.brokers).map(history).map(Arc::new).collect();
    let mut supervisors = Supervisor::all(&world, &parts, &histories);
    let clock = world.node(JUDGE).env().clock;
    let whole = world.run(async {
        world.net().set_all(&link(plan));
        let stories = supervisors.iter_mut().map(|supervisor| story(&world, supervisor));
        let stories = abreast::all(stories);
        match records.until_us {
            None => Ok(stories.await),
            Some(until_us) => clock.timeout(Duration::from_micros(until_us), stories).await,
        }
    });
    world.flush_trace().map_err(|error| format!("the trace cannot be written: {error}"))?;
    let mut found = panics_of(&world, plan, "harness");
    let mut sums = Sums::default();
    let mut readings = whole.iter().flatten();
    for supervisor in supervisors {
        let reading = readings.next().cloned().flatten();
        found.extend(judge_one(&world, supervisor, (whole.is_ok(), reading), &mut sums));
    }
    let outcome = Outcome::of(&world, plan, (found, sums));
    Ok(Run { outcome, histories })
}

/// What the oracles say of one broker.
fn judge_one(
    world: &World,
    supervisor: Supervisor<'_>,
    (is_whole, reading): (bool, Option<ResourceReading>),
    sums: &mut Sums,
) -> Vec<Violation> {
    let Supervisor { plan, broker, history, tally, violations, refused, memory, .. } = supervisor;
    let mut found = violations;
    let evidence = Evidence {
        events: history.events(),
        contract: plan.contract,
        resources: reading.into_iter().collect(),
        memory: memory.into_iter().collect(),
        // Of all nodes together.
        polls_max: if broker == 0 { world.max_polls_without_progress() } else { 0 },
        end_ns: u64::try_from(world.now().as_nanos()).expect("a run is shorter than 500 years"),
    };
    sums.operations_acked += history.acked_operations();
    sums.tally.add(&tally);
    sums.tally.add(&Tally { injected: history.injected(), ..Tally::default() });
    if is_whole {
        let wanted = plan.oracles.iter().filter(|id| !refused || !NEEDS_SERVICE.contains(&&***id));
        let wanted: Vec<String> = wanted.cloned().collect();
        let judgement = judge(&evidence, &wanted);
        found.extend(judgement.violations);
        for (id, count) in judgement.judged {
            *sums.judged.entry(id).or_default() += count;
        }
        sums.looked.add(judgement.looked);
    }
    if history.dropped() > 0 {
        let text = format!("{} events did not fit the history", history.dropped());
        found.push(Violation {
            property: "harness".to_owned(),
            at_ns: evidence.end_ns,
            node: 0,
            text,
        });
    }
    // Oracles know of one broker.
    let node = SERVER + broker;
    for violation in found.iter_mut().filter(|violation| violation.node == SERVER) {
        violation.node = node;
    }
    found
}

/// A panic of the broker is a broken promise; one of a client breaks `of_clients`.
pub(crate) fn panics_of(world: &World, plan: &Plan, of_clients: &str) -> Vec<Violation> {
    let brokers = SERVER..SERVER + plan.brokers;
    let violation = |panic: rivven_io::sim::NodePanic| Violation {
        property: if brokers.contains(&panic.node) { "panic" } else { of_clients }.to_owned(),
        at_ns: u64::try_from(panic.at.as_nanos()).unwrap_or(u64::MAX),
        node: panic.node,
        text: format!("task {} panicked: {}", panic.task, panic.message),
    };
    world.take_panics().into_iter().filter(|panic| !panic.injected).map(violation).collect()
}

/// The story of one broker, its clients and its faults.
async fn story(world: &World, supervisor: &mut Supervisor<'_>) -> Option<ResourceReading> {
    let (plan, history) = (supervisor.plan, supervisor.history.clone());
    let (stop, leave) = (Arc::new(Stop::new()), Arc::new(Stop::new()));
    let broker = SocketAddr::new(supervisor.node().ip(), server::PORT);
    let context = |node: u64| ClientContext {
        env: world.node(node).env(),
        broker,
        history: history.clone(),
        topics: Arc::new(plan.workload.topics.clone()),
        stop: stop.clone(),
        leave: leave.clone(),
        began_ns: history.now_ns(),
    };
    let judge = context(JUDGE + supervisor.broker);
    supervisor.set_offsets();
    supervisor.start();
    if !supervisor.pass_until_ready(SET_UP).await {
        supervisor.violate("liveness", "the broker does not serve on an empty disk".to_owned());
        return None;
    }
    if let Err(reason) = supervisor.pass_while(workload::set_up(&judge, SET_UP)).await {
        supervisor.violate("liveness", format!("the topics were not created: {reason}"));
        return None;
    }
    supervisor.pass(REST).await;
    let baseline = supervisor.node().resources();
    let spawn = |client: &ClientParams| spawn_client(world, context(node_of(client)), client);
    let (members, clients): (Vec<&ClientParams>, Vec<&ClientParams>) =
        plan.workload.clients.iter().partition(|client| client.group.is_some());
    let clients: Vec<Task<()>> = clients.into_iter().map(spawn).collect();
    let members: Vec<Task<()>> = members.into_iter().map(spawn).collect();
    supervisor.schedule_faults();
    supervisor.pass(Duration::from_secs(plan.seconds)).await;
    if !heal(supervisor, plan).await {
        return None;
    }
    supervisor.pass(AFTERMATH).await;
    stop.give();
    end_all(supervisor, (&judge, clients)).await;
    let within = Duration::from_secs(plan.liveness_seconds);
    supervisor.pass_while(workload::probe_liveness(&judge, within)).await;
    supervisor.pass_while(workload::settle_groups(&judge, &plan.workload, within)).await;
    leave.give();
    end_all(supervisor, (&judge, members)).await;
    supervisor.mark(Mark::LivenessEnd);
    last_words(supervisor, (plan, &judge), baseline).await
}

/// Ends all faults; whether the broker then serves within the time that the plan gives it.
pub(crate) async fn heal(supervisor: &mut Supervisor<'_>, plan: &Plan) -> bool {
    let within = Duration::from_secs(plan.liveness_seconds);
    supervisor.heal();
    if !supervisor.pass_until_ready(within).await {
        if supervisor.refused {
            return false;
        }
        let text = format!("{} s after the healing the broker does not serve", within.as_secs());
        supervisor.violate("liveness", text);
        return false;
    }
    supervisor.mark(Mark::Healed);
    true
}

/// Cuts the power once more, so that the read-back sees what the disk alone remembers. Were the log
/// cleaned meanwhile, an answer could show a value and a later one, rightly, no tombstone of it;
/// and what expired would be missed.
async fn last_words(
    supervisor: &mut Supervisor<'_>,
    (plan, judge): (&Plan, &ClientContext),
    baseline: Resources,
) -> Option<ResourceReading> {
    supervisor.keeps_logs = true;
    supervisor.crash(true, 1);
    let within = Duration::from_secs(plan.liveness_seconds);
    if !supervisor.pass_until_ready(within).await {
        if !supervisor.refused {
            let text = "the broker does not serve after the last power cut".to_owned();
            supervisor.violate("liveness", text);
        }
        return None;
    }
    supervisor.pass_while(workload::read_back(judge, PATIENCE)).await;
    let now = resources_at_rest(supervisor).await;
    let node = supervisor.node().id();
    let (at_ns, open_files) = (supervisor.now_us() * 1_000, plan.broker.open_files);
    Some(ResourceReading { node, at_ns, baseline, now, open_files })
}

/// The least of each kind that some looks after a rest show: one alone may come in the midst of a
/// checkpoint, which syncs with several tasks.
async fn resources_at_rest(supervisor: &mut Supervisor<'_>) -> Resources {
    supervisor.pass(REST).await;
    let mut least = supervisor.node().resources();
    for _ in 1..LOOKS {
        supervisor.pass(BETWEEN_LOOKS).await;
        least = least.least(&supervisor.node().resources());
    }
    least
}

fn node_of(client: &ClientParams) -> u64 {
    CLIENTS + u64::from(client.client)
}

fn spawn_client(world: &World, context: ClientContext, client: &ClientParams) -> Task<()> {
    world.node(node_of(client)).spawn(workload::run_client(context, client.clone()))
}

/// Waits for clients that were asked to end.
async fn end_all(
    supervisor: &mut Supervisor<'_>,
    (judge, clients): (&ClientContext, Vec<Task<()>>),
) {
    let ended = async {
        for client in clients {
            // A panic of a client is in the world's list of panics.
            let _ = client.await;
        }
    };
    if supervisor.pass_while(judge.env.clock.timeout(CLIENTS_END, ended)).await.is_err() {
        supervisor.violate("harness", "the clients do not end".to_owned());
    }
}

pub(crate) fn link(plan: &Plan) -> LinkConfig {
    let mut link =
        LinkConfig { tail: plan.network.tail_permille as f64 / 1_000.0, ..LinkConfig::default() };
    if let Ok(bytes @ 1..) = usize::try_from(plan.network.buffer_bytes) {
        link.send_buffer_bytes = bytes;
        link.receive_buffer_bytes = bytes;
    }
    link
}
