//! The supervisor of a run: applies the plan's faults at their times, starts the broker again
//! after each of its ends, and notices ends that nothing explains.

mod decay;
mod foreign;
mod inject;
mod network;
mod passing;
mod process;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rivven_io::clock::Clock;
use rivven_io::sim::disk::{DiskFaults, Platter};
use rivven_io::sim::net::LinkConfig;
use rivven_io::sim::{SimNode, World};

use crate::history::History;
use crate::history::event::{CrashKind, EventKind, Mark};
use crate::oracles::{MemoryReading, Violation};
use crate::plan::fault::{Fault, PlannedFault, When};
use crate::plan::{Plan, SERVER};
use crate::run::server::{self, EXIT_STORAGE, Life};
use crate::run::supervisor::foreign::Swaps;
use crate::run::supervisor::passing::Element;
use crate::workload::ClientKind;

/// A node without a process of its own: the supervisor's fine clock. Each broker's supervisor has
/// two such nodes.
const CONTROL: u64 = 60_000;
const NODES_EACH: u64 = 2;
/// Time from an end that nothing explains to the next start.
const DOWN_MS: u64 = 500;

/// Longer than any run.
const NEVER_MS: u64 = 24 * 3_600_000;

/// What the supervisor does at a moment.
#[derive(Clone, Debug)]
enum Step {
    Fault(usize),
    Start,
    Crash { power: bool, down_ms: u64 },
    Watch { when: When, seen: u64, until_us: u64, crash: Aimed },
    DiskHasRoom,
    DiskIsFast,
    DiskIsBack,
    HoleEnds(Vec<(u64, u64)>),
    Clog(u64),
    LagEnds(Vec<(u64, u64)>),
    NarrowEnds(Vec<(u64, u64)>),
    DriftEnds(u64),
    Resume(u64),
    CpuIsFast,
    DisksReturn,
    LookAtMemory,
    KeepDisk,
}

/// What happened to the broker's node, in numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) injected: BTreeMap<&'static str, u64>,
    /// Effective faults of the process, by their number in the catalogue.
    pub(crate) process: BTreeMap<&'static str, u64>,
    pub(crate) crashes: u64,
    pub(crate) recoveries: u64,
}

impl Tally {
    /// What happened to another broker's node, too.
    pub(crate) fn add(&mut self, other: &Tally) {
        for (kind, count) in &other.injected {
            *self.injected.entry(kind).or_default() += count;
        }
        for (number, count) in &other.process {
            *self.process.entry(number).or_default() += count;
        }
        self.crashes += other.crashes;
        self.recoveries += other.recoveries;
    }
}

/// A crash that waits for its moment, and what follows it.
#[derive(Clone, Copy, Debug)]
struct Aimed {
    power: bool,
    after_us: u64,
    down_ms: u64,
    /// 0: nothing follows.
    then_us: u64,
}

/// The crashes that are still to come in a loop.
#[derive(Clone, Copy, Debug)]
struct Loop {
    left: u64,
    power: bool,
    after_us: u64,
    down_ms: u64,
}

pub(crate) struct Supervisor<'a> {
    world: &'a World,
    /// Of this broker alone.
    pub(crate) plan: &'a Plan,
    /// Its number in the plan, from 0.
    pub(crate) broker: u64,
    node: SimNode,
    clock: Clock,
    pub(crate) history: Arc<History>,
    /// Only where a fault of the plan needs it.
    element: Option<Element>,
    swaps: Swaps,
    agenda: BTreeMap<(u64, u64), Step>,
    queued: u64,
    life: Option<Life>,
    starts: u64,
    loops: VecDeque<Loop>,
    /// Something was done to this life of the process that may end it with an error.
    may_fail: bool,
    /// An operation of the disk is going to fail, in this life of the process or a later one.
    armed: bool,
    /// Bytes that only this disk had were changed, and not only in segments.
    rotten: bool,
    /// The broker found that what it acknowledged is damaged, said so, and does not start.
    pub(crate) refused: bool,
    down_ms: u64,
    /// What the disk had, with the moments, if a fault of the plan may bring that back.
    kept_disks: VecDeque<(u64, Platter)>,
    /// The next lives of the broker clean no log and let nothing of it expire: whoever reads it in
    /// several answers sees one log.
    pub(crate) keeps_logs: bool,
    /// The moment at which the broker's connections took most, if a client is there for that.
    pub(crate) memory: Option<MemoryReading>,
    pub(crate) tally: Tally,
    pub(crate) violations: Vec<Violation>,
}

impl<'a> Supervisor<'a> {
    /// One for each broker of a plan, of which each has its part and its history.
    pub(crate) fn all(
        world: &'a World,
        parts: &'a [Plan],
        histories: &[Arc<History>],
    ) -> Vec<Supervisor<'a>> {
        let swaps = Swaps::default();
        let of = |(broker, (plan, history)): (u64, (&'a Plan, &Arc<History>))| {
            Supervisor::new(world, (plan, broker), history.clone(), swaps.clone())
        };
        let mut all: Vec<Supervisor<'a>> = (0..).zip(parts.iter().zip(histories)).map(of).collect();
        let watched = all.iter_mut().filter(|supervisor| supervisor.needs_element());
        let elements = watched.map(|supervisor| {
            let element = Element::of(supervisor.node.id(), supervisor.clock.clone());
            supervisor.element = Some(element.clone());
            element
        });
        Element::put_all_into(world, elements.collect());
        all
    }

    /// That of a plan with one broker.
    pub(crate) fn alone(
        world: &'a World,
        plan: &'a Plan,
        history: &Arc<History>,
    ) -> Supervisor<'a> {
        let mut all =
            Supervisor::all(world, std::slice::from_ref(plan), std::slice::from_ref(history));
        all.pop().expect("one part makes one supervisor")
    }

    fn new(
        world: &'a World,
        (plan, broker): (&'a Plan, u64),
        history: Arc<History>,
        swaps: Swaps,
    ) -> Supervisor<'a> {
        let node = world.node(SERVER + broker);
        node.disk().set_faults(base_faults(plan));
        let clock = world.node(CONTROL + NODES_EACH * broker).env().clock;
        Supervisor {
            world,
            plan,
            broker,
            node,
            clock,
            history,
            element: None,
            swaps,
            agenda: BTreeMap::new(),
            queued: 0,
            life: None,
            starts: 0,
            loops: VecDeque::new(),
            may_fail: false,
            armed: false,
            rotten: false,
            refused: false,
            down_ms: DOWN_MS,
            kept_disks: VecDeque::new(),
            keeps_logs: false,
            memory: None,
            tally: Tally::default(),
            violations: Vec::new(),
        }
    }

    /// Whether a fault of its plan needs the middlebox.
    fn needs_element(&self) -> bool {
        let needs =
            |fault: &Fault| matches!(fault, Fault::LateDuplicate { .. } | Fault::Corrupt { .. });
        self.plan.faults.iter().any(|fault| needs(&fault.what))
    }

    pub(crate) fn node(&self) -> &SimNode {
        &self.node
    }

    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.world.now().as_micros()).expect("a run is shorter than 500,000 years")
    }

    pub(crate) fn mark(&self, mark: Mark) {
        self.history.mark(self.now_ns(), EventKind::Mark(mark));
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.world.now().as_nanos()).expect("a run is shorter than 500 years")
    }

    /// Begins the phase with faults now.
    pub(crate) fn schedule_faults(&mut self) {
        self.disks_may_go();
        let start_us = self.now_us();
        for (index, fault) in self.plan.faults.iter().enumerate() {
            self.queue(start_us + fault.at_us, Step::Fault(index));
        }
        let is_old = |fault: &PlannedFault| matches!(fault.what, Fault::OldDisk { .. });
        if self.plan.faults.iter().any(is_old) {
            self.queue(start_us, Step::KeepDisk);
        }
        let mut clients = self.plan.workload.clients.iter();
        if clients.any(|client| client.kind == ClientKind::StalledConsumer) {
            self.queue(start_us, Step::LookAtMemory);
        }
    }

    /// Serves the agenda and the broker's own ends for `span`.
    pub(crate) async fn pass(&mut self, span: Duration) {
        let end_us = self.now_us().saturating_add(micros(span));
        while self.now_us() < end_us {
            self.advance(end_us).await;
        }
    }

    /// As `pass`, until the broker serves or `span` is over; whether it serves.
    pub(crate) async fn pass_until_ready(&mut self, span: Duration) -> bool {
        let end_us = self.now_us().saturating_add(micros(span));
        while self.now_us() < end_us {
            if self.refused {
                return false;
            }
            if self.life.as_ref().is_some_and(|life| life.noticed && !life.stopped) {
                return true;
            }
            self.advance(end_us).await;
        }
        false
    }

    /// As `pass`, until `work` is done.
    pub(crate) async fn pass_while<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = Box::pin(work);
        loop {
            let end_us = self.now_us() + 1_000_000;
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = self.advance(end_us) => {}
            }
        }
    }

    /// Waits for the next thing that happens, at most until `end_us`, and deals with it.
    async fn advance(&mut self, end_us: u64) {
        let next_us = self.agenda.first_key_value().map_or(end_us, |(key, _)| key.0.min(end_us));
        let wait = Duration::from_micros(next_us.saturating_sub(self.now_us()));
        let (clock, node) = (self.clock.clone(), self.node.clone());
        let ready = self.life.as_ref().filter(|life| !life.noticed).map(Life::ready);
        tokio::select! {
            biased;
            code = node.ended(), if self.life.is_some() => return self.ended(code),
            () = async { ready.expect("guarded").await }, if self.life_is_starting() => {
                return self.serves();
            }
            () = clock.sleep(wait) => {}
        }
        let now_us = self.now_us();
        while let Some(first) = self.agenda.first_entry() {
            if first.key().0 > now_us {
                return;
            }
            let step = first.remove();
            self.step(step);
        }
    }

    fn life_is_starting(&self) -> bool {
        self.life.as_ref().is_some_and(|life| !life.noticed)
    }

    fn queue(&mut self, at_us: u64, step: Step) {
        self.agenda.insert((at_us, self.queued), step);
        self.queued += 1;
    }

    fn queue_in(&mut self, delay_us: u64, step: Step) {
        self.queue(self.now_us().saturating_add(delay_us), step);
    }

    /// Starts the broker if it is down.
    pub(crate) fn start(&mut self) {
        if self.life.is_some() || self.refused {
            return;
        }
        if self.starts > 0 {
            self.node.restart();
        }
        self.starts += 1;
        self.looks_anew();
        let is_full = self.node.disk().faults().capacity_bytes.is_some();
        self.may_fail = self.armed || is_full || !self.node.has_disk();
        self.mark(Mark::Started { node: self.node.id(), incarnation: self.node.incarnation() });
        let mut knobs = self.plan.broker.clone();
        if self.keeps_logs {
            knobs.cleaner_interval_ms = NEVER_MS;
            knobs.retention_interval_ms = NEVER_MS;
        }
        self.life = Some(server::start(&self.node, self.broker, knobs));
        if let Some(next) = self.loops.front_mut() {
            let Loop { power, after_us, down_ms, .. } = *next;
            // What a kill leaves in the page cache only, a power cut then takes.
            next.power = !power;
            next.left -= 1;
            if next.left == 0 {
                self.loops.pop_front();
            }
            self.queue_in(after_us, Step::Crash { power, down_ms });
        }
    }

    fn serves(&mut self) {
        if let Some(life) = &mut self.life {
            life.noticed = true;
            self.tally.recoveries += u64::from(self.starts > 1);
            self.mark(Mark::Ready { node: self.node.id() });
        }
        self.serves_foreign();
    }

    /// The process ended by itself, with `code`.
    fn ended(&mut self, code: Option<i32>) {
        if self.cut_by_another(code) {
            return;
        }
        let (stopped, served) =
            self.life.take().map_or((false, false), |life| (life.stopped, life.noticed));
        let code = code.unwrap_or(-1);
        self.mark(Mark::Exited { node: self.node.id(), code });
        let has_own_disk = self.node.has_disk() && !self.has_foreign_disk();
        if self.rotten && code == EXIT_STORAGE && !served && has_own_disk {
            self.refused = true;
            self.agenda.clear();
            return;
        }
        let refuses = self.refuses_foreign(code);
        let explained =
            refuses || (stopped && code == 0) || (self.may_fail && matches!(code, 3 | 4));
        if !explained {
            let text = format!("the broker ended with exit code {code} for no reason");
            self.violate("exit", text);
        }
        self.queue_in(self.down_ms * 1_000, Step::Start);
        self.down_ms = DOWN_MS;
    }

    pub(crate) fn violate(&mut self, property: &str, text: String) {
        let property = property.to_owned();
        let (at_ns, node) = (self.now_ns(), self.node.id());
        self.violations.push(Violation { property, at_ns, node, text });
    }

    /// Ends the process by force; whether there was one.
    pub(crate) fn crash(&mut self, power: bool, down_ms: u64) -> bool {
        if self.life.take().is_none() {
            return false;
        }
        let kind = if power {
            self.node.power_cut();
            CrashKind::PowerCut
        } else {
            self.node.kill();
            *self.tally.process.entry("P1").or_default() += 1;
            CrashKind::Kill
        };
        self.tally.crashes += 1;
        self.mark(Mark::Crashed { node: self.node.id(), kind });
        self.queue_in(down_ms * 1_000, Step::Start);
        true
    }

    /// Ends all faults, and starts the broker if it is down. The network heals for all brokers,
    /// whose phases end within seconds of each other.
    pub(crate) fn heal(&mut self) {
        self.agenda.clear();
        self.loops.clear();
        self.disks_stay();
        self.world.set_buggify(false);
        self.world.net().heal_all();
        self.world.net().set_all(&LinkConfig::default());
        self.node.disk().set_faults(DiskFaults::default());
        self.node.disk().forget_one_shots();
        self.heal_processes();
        if let Some(element) = &self.element {
            element.spoil_no_more();
        }
        self.armed = false;
        self.return_disk();
        self.start();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Fault(index) => self.inject(&self.plan.faults[index].what.clone()),
            Step::Start => self.start(),
            Step::Crash { power, down_ms } => {
                self.end_watch();
                self.crash(power, down_ms);
            }
            Step::Watch { when, seen, until_us, crash } => {
                self.watch((when, seen), until_us, crash);
            }
            Step::DiskHasRoom => self.set_disk(|faults| faults.capacity_bytes = None),
            Step::DiskIsFast => {
                let percent = base_faults(self.plan).latency_percent;
                self.set_disk(|faults| faults.latency_percent = percent);
            }
            Step::DiskIsBack => {
                self.node.disk().bring_back();
            }
            Step::HoleEnds(links) => {
                for (from, to) in links {
                    self.world.net().heal(from, to);
                }
            }
            Step::Clog(client) => self.world.net().clog(client, self.node.id()),
            Step::LagEnds(links) => self.shape(&links, |link| link.lag = Duration::ZERO),
            Step::NarrowEnds(links) => self.shape(&links, |link| link.bytes_per_second = None),
            Step::DriftEnds(node) => self.world.node(node).clock().set_drift(0),
            Step::Resume(node) => {
                self.world.node(node).resume();
            }
            Step::CpuIsFast => self.node.set_poll_cost(Duration::ZERO),
            Step::DisksReturn => self.return_disks(),
            Step::LookAtMemory => self.look_at_memory(),
            Step::KeepDisk => self.keep_disk(),
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The disk of the plan without any fault that comes and goes.
fn base_faults(plan: &Plan) -> DiskFaults {
    let short = plan.disk.short_permille as f64 / 1_000.0;
    DiskFaults {
        short_read: short,
        short_write: short,
        latency_percent: u32::try_from(plan.disk.latency_percent).unwrap_or(100),
        crash: plan.disk.crash.model(),
        ..DiskFaults::default()
    }
}
