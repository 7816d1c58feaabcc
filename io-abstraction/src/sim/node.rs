//! One simulated machine: its process can be killed, its power cut, both started again.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use madsim::task::NodeId;
use tokio::sync::Notify;

use crate::Env;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::net::Net;
use crate::rng::Rng;
use crate::sim::clock::{ClockControl, SimClock, WallClock};
use crate::sim::core::Core;
use crate::sim::cpu::Cpu;
use crate::sim::disk::state::{DiskState, Port};
use crate::sim::disk::{DiskControl, SimDisk};
use crate::sim::exclusive::Exclusive;
use crate::sim::incarnation::Incarnation;
use crate::sim::net::SimNet;
use crate::sim::rng::{SimRng, stream};
use crate::sim::task::SimTasks;
use crate::task::{Task, Tasks};

const NODE_ID_MAX: u64 = 65_534;

/// The exit code of a process whose main future panicked, as Rust's own.
pub const EXIT_PANICKED: i32 = 101;

/// What a node's process holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub tasks: u64,
    pub files: u64,
    pub streams: u64,
    pub listeners: u64,
    pub datagrams: u64,
    pub mapped_bytes: u64,
}

impl Resources {
    /// Of each kind as many as the one that holds fewer.
    #[must_use]
    pub fn least(&self, other: &Resources) -> Resources {
        Resources {
            tasks: self.tasks.min(other.tasks),
            files: self.files.min(other.files),
            streams: self.streams.min(other.streams),
            listeners: self.listeners.min(other.listeners),
            datagrams: self.datagrams.min(other.datagrams),
            mapped_bytes: self.mapped_bytes.min(other.mapped_bytes),
        }
    }
}

/// What outlives a node's incarnations, and the current one.
pub(crate) struct NodeState {
    madsim_id: NodeId,
    disk: Arc<DiskState>,
    wall: Arc<WallClock>,
    cpu: Arc<Cpu>,
    life: Exclusive<Life>,
    ended: Notify,
}

struct Life {
    incarnation: Arc<Incarnation>,
    env: Env,
    powered: bool,
    paused: bool,
    exit_code: Option<i32>,
}

impl NodeState {
    pub(crate) fn incarnation(&self) -> Arc<Incarnation> {
        self.life.lock().incarnation.clone()
    }

    pub(crate) fn is_powered(&self) -> bool {
        self.life.lock().powered
    }
}

/// The address that node `id` has at first.
pub(crate) fn node_ip(id: u64) -> Ipv4Addr {
    let [.., high, low] = id.to_be_bytes();
    Ipv4Addr::new(10, 0, high, low)
}

/// The supervisor's hand on one machine. Clones are hands on the same machine.
#[derive(Clone)]
pub struct SimNode {
    core: Arc<Core>,
    state: Arc<NodeState>,
    id: u64,
}

impl SimNode {
    pub(crate) fn get_or_create(core: &Arc<Core>, id: u64) -> SimNode {
        assert!((1..=NODE_ID_MAX).contains(&id), "node id {id} is not in 1..={NODE_ID_MAX}");
        let known = core.nodes.lock().get(&id).cloned();
        let state = known.unwrap_or_else(|| {
            let madsim_id = core.madsim.create_node().name(format!("node-{id}")).build().id();
            let disk = Arc::new(DiskState::new(core, id));
            let wall = Arc::new(WallClock::new());
            let cpu = Arc::new(Cpu::new(core.seed, id));
            let life = Life::start(core, (id, 1), (&disk, &wall, &cpu), madsim_id);
            let (life, ended) = (Exclusive::new(life), Notify::new());
            let state = Arc::new(NodeState { madsim_id, disk, wall, cpu, life, ended });
            core.nodes.lock().insert(id, state.clone());
            core.event(id, "node.start", 1, 0);
            state
        });
        SimNode { core: core.clone(), state, id }
    }

    /// Its number, also the low bits of its address.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its address on the simulated network.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        IpAddr::V4(self.core.net.lock().ip_of(self.id))
    }

    /// The handles of the current incarnation, or of the last one if the node is down.
    #[must_use]
    pub fn env(&self) -> Env {
        self.state.life.lock().env.clone()
    }

    /// The number of the current (or last) incarnation; counts from 1.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.state.incarnation().number
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state.incarnation().is_alive()
    }

    /// Runs `future` as a task of the current incarnation.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.env().tasks.spawn("spawned by the supervisor", future)
    }

    /// Runs `future` as the process's main function: the process exits, and all its tasks end,
    /// when it returns its exit code; a panic exits with [`EXIT_PANICKED`].
    pub fn spawn_main<F>(&self, future: F)
    where
        F: Future<Output = i32> + Send + 'static,
    {
        let tasks = self.env().tasks;
        let main = tasks.spawn("main", future);
        let node = self.clone();
        let incarnation = self.state.incarnation();
        // The waiting task is one of the node's own: a kill ends both.
        drop(tasks.spawn("main.exit", async move {
            let code = main.await.unwrap_or(EXIT_PANICKED);
            node.exit(&incarnation, code);
        }));
    }

    /// The code with which the main future of the last incarnation exited; `None` while it runs,
    /// or if it was killed.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.state.life.lock().exit_code
    }

    /// Waits until the process is not running; its exit code, `None` if it was killed.
    pub async fn ended(&self) -> Option<i32> {
        loop {
            let ended = self.state.ended.notified();
            if !self.is_up() {
                return self.exit_code();
            }
            ended.await;
        }
    }

    /// Kills the process (SIGKILL): tasks end, handles are refused, connections are reset; the
    /// page cache, and so everything written, stays. Nothing if it is not running.
    pub fn kill(&self) {
        let incarnation = self.state.incarnation();
        if incarnation.end() {
            self.core.event(self.id, "node.kill", incarnation.number, 0);
            self.process_gone(false);
        }
    }

    /// Cuts the power: as a kill, but peers hear nothing, and the disk keeps what a real one could
    /// have kept (see [`crate::sim::disk`]). Works on a node whose process is gone, too.
    pub fn power_cut(&self) {
        let was_powered = std::mem::replace(&mut self.state.life.lock().powered, false);
        let incarnation = self.state.incarnation();
        let was_up = incarnation.end();
        if was_powered {
            self.core.event(self.id, "node.power_cut", incarnation.number, u64::from(was_up));
            if was_up {
                self.process_gone(true);
            }
            self.state.disk.crash(&self.core);
        }
    }

    /// D16: from the next start on, each of the two nodes, both without power, has the other's
    /// disk: what was durable there. The faults of a drive stay with its machine.
    ///
    /// # Panics
    /// If one of them has power: a cable that is pulled from a running machine is another fault.
    pub fn swap_disks(&self, other: &SimNode) {
        for node in [self, other] {
            assert!(!node.state.is_powered(), "node {} has power", node.id);
        }
        if self.id != other.id {
            self.state.disk.swap_content(&other.state.disk);
            self.core.event(self.id, "disk.swap", other.id, 0);
        }
    }

    /// Starts a new incarnation, with power; kills the running one first. Nothing is spawned on it.
    pub fn restart(&self) {
        self.kill();
        let number = self.state.incarnation().number + 1;
        self.core.madsim.restart(self.state.madsim_id);
        let parts = (&self.state.disk, &self.state.wall, &self.state.cpu);
        let life = Life::start(&self.core, (self.id, number), parts, self.state.madsim_id);
        let old = std::mem::replace(&mut *self.state.life.lock(), life);
        drop(old);
        self.core.event(self.id, "node.start", number, 0);
        crate::sim::net::fabric::node_booted(&self.core, self.id);
    }

    /// P4: stops the node's tasks where they are; time, timers and the network go on. False if
    /// there is no process, or it is stopped already.
    pub fn pause(&self) -> bool {
        let incarnation = self.state.incarnation();
        if !incarnation.is_alive() || std::mem::replace(&mut self.state.life.lock().paused, true) {
            return false;
        }
        incarnation.take_missed();
        self.core.event(self.id, "node.pause", 0, 0);
        self.core.madsim.pause(self.state.madsim_id);
        true
    }

    /// Lets a paused node run on, with what it believed before; whether it was paused.
    pub fn resume(&self) -> bool {
        if !std::mem::take(&mut self.state.life.lock().paused) {
            return false;
        }
        self.core.event(self.id, "node.resume", 0, 0);
        self.core.madsim.resume(self.state.madsim_id);
        if self.state.incarnation().take_missed() {
            self.core.fault(self.id, "P4", 0);
        }
        true
    }

    /// P9: each poll of the node's tasks takes about `cost` of virtual time on its only core, in
    /// this life and the next ones. Zero: none, as at first.
    pub fn set_poll_cost(&self, cost: Duration) {
        self.state.cpu.set_cost(&self.core, cost);
    }

    /// P8: the next poll of a task that was spawned as `task` panics.
    pub fn panic_task(&self, task: &'static str) {
        self.state.incarnation().doom(task);
    }

    /// The supervisor's hand on its disk.
    #[must_use]
    pub fn disk(&self) -> DiskControl {
        DiskControl { core: self.core.clone(), disk: self.state.disk.clone() }
    }

    /// Whether the disk was there all the time since the current (or last) incarnation began: see
    /// [`DiskControl::take_away`].
    #[must_use]
    pub fn has_disk(&self) -> bool {
        match &self.env().disk {
            Disk::Sim(disk) => disk.port.has_disk(),
            Disk::Real(_) => true,
        }
    }

    /// The supervisor's hand on its wall clock.
    #[must_use]
    pub fn clock(&self) -> ClockControl {
        let wall = self.state.wall.clone();
        ClockControl { core: self.core.clone(), node: self.id, wall }
    }

    /// What the current incarnation holds; zeros if it is dead.
    #[must_use]
    pub fn resources(&self) -> Resources {
        let incarnation = self.state.incarnation();
        if !incarnation.is_alive() {
            return Resources::default();
        }
        let held = &incarnation.held;
        Resources {
            tasks: held.tasks.load(Relaxed),
            files: held.files.load(Relaxed),
            streams: held.streams.load(Relaxed),
            listeners: held.listeners.load(Relaxed),
            datagrams: held.datagrams.load(Relaxed),
            mapped_bytes: held.mapped_bytes.load(Relaxed),
        }
    }

    fn exit(&self, incarnation: &Incarnation, code: i32) {
        if incarnation.end() {
            self.state.life.lock().exit_code = Some(code);
            let code = u64::from(code.cast_unsigned());
            self.core.event(self.id, "node.exit", incarnation.number, code);
            self.process_gone(false);
        }
    }

    fn process_gone(&self, silent: bool) {
        if std::mem::take(&mut self.state.life.lock().paused) {
            // What is stopped must be dropped as everything else is: by the executor.
            self.core.madsim.resume(self.state.madsim_id);
        }
        self.state.cpu.process_gone();
        self.core.madsim.kill(self.state.madsim_id);
        self.state.disk.process_gone();
        crate::sim::net::fabric::process_gone(&self.core, self.id, silent);
        self.state.ended.notify_waiters();
    }
}

impl Life {
    fn start(
        core: &Arc<Core>,
        (id, number): (u64, u64),
        (disk, wall, cpu): (&Arc<DiskState>, &Arc<WallClock>, &Arc<Cpu>),
        madsim_id: NodeId,
    ) -> Life {
        let incarnation = Incarnation::new(core.clone(), (id, number), cpu.clone());
        let spawner = core.madsim.get_node(madsim_id).expect("madsim forgets no node");
        let port = Port::new(disk.clone(), incarnation.clone());
        let env = Env {
            disk: Disk::Sim(SimDisk { port }),
            net: Net::Sim(SimNet { incarnation: incarnation.clone() }),
            clock: Clock::Sim(SimClock { incarnation: incarnation.clone(), wall: wall.clone() }),
            rng: Rng::Sim(SimRng::new(stream(core.seed, "rng", id, number))),
            tasks: Tasks::Sim(SimTasks { incarnation: incarnation.clone(), spawner }),
        };
        Life { incarnation, env, powered: true, paused: false, exit_code: None }
    }
}
