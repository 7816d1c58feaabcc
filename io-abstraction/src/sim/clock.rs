//! A node's clocks: monotonic time is the world's, wall time has its own offset, drift and steps.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{ClockOps, Monotonic};
use crate::sim::core::Core;
use crate::sim::exclusive::Exclusive;
use crate::sim::incarnation::Incarnation;
use crate::sim::timer::Sleep;

/// Wall time at the start of a run: 2026-01-01 00:00 UTC, in milliseconds since the Unix epoch.
pub const START_WALL_MS: i64 = 1_767_225_600_000;

/// The wall clock of one node; it outlives the node's incarnations.
pub(crate) struct WallClock {
    state: Exclusive<WallState>,
}

/// Wall time = `anchor_wall_ns` + (world time − `anchor_ns`) · (1 + `drift_ppm` / 10⁶).
struct WallState {
    anchor_ns: u64,
    anchor_wall_ns: i128,
    drift_ppm: i64,
    /// Faults whose effect nobody has read yet.
    unseen: Vec<(&'static str, u64)>,
}

impl WallClock {
    pub(crate) fn new() -> WallClock {
        let anchor_wall_ns = i128::from(START_WALL_MS) * 1_000_000;
        let unseen = Vec::new();
        let state = WallState { anchor_ns: 0, anchor_wall_ns, drift_ppm: 0, unseen };
        WallClock { state: Exclusive::new(state) }
    }

    fn wall_ns(&self, now_ns: u64) -> i128 {
        let state = self.state.lock();
        let passed = i128::from(now_ns) - i128::from(state.anchor_ns);
        state.anchor_wall_ns + passed + passed * i128::from(state.drift_ppm) / 1_000_000
    }
}

/// The supervisor's hand on a node's wall clock.
#[derive(Clone)]
pub struct ClockControl {
    pub(crate) core: Arc<Core>,
    pub(crate) node: u64,
    pub(crate) wall: Arc<WallClock>,
}

/// A fault of a clock counts when the node first reads the clock after it.
impl ClockControl {
    /// C1: the wall clock is `offset_ms` ahead (negative: behind), from the start of the world on.
    pub fn set_offset(&self, offset_ms: i64) {
        self.shift("C1", offset_ms);
    }

    /// C3: steps the wall clock by `step_ms` (negative: back), now. Monotonic time goes on as
    /// before.
    pub fn step(&self, step_ms: i64) {
        self.shift("C3", step_ms);
    }

    fn shift(&self, kind: &'static str, by_ms: i64) {
        let mut state = self.wall.state.lock();
        state.anchor_wall_ns += i128::from(by_ms) * 1_000_000;
        if by_ms != 0 {
            state.unseen.push((kind, by_ms.unsigned_abs()));
        }
        drop(state);
        self.core.event(self.node, "clock.shift", by_ms.cast_unsigned(), 0);
    }

    /// C2: from now on the wall clock gains `drift_ppm` microseconds a second (negative: loses).
    pub fn set_drift(&self, drift_ppm: i64) {
        let now_ns = self.core.timers.now_ns();
        let wall_ns = self.wall.wall_ns(now_ns);
        let mut state = self.wall.state.lock();
        (state.anchor_ns, state.anchor_wall_ns) = (now_ns, wall_ns);
        state.drift_ppm = drift_ppm;
        if drift_ppm != 0 {
            state.unseen.push(("C2", drift_ppm.unsigned_abs()));
        }
        drop(state);
        self.core.event(self.node, "clock.drift", drift_ppm.cast_unsigned(), 0);
    }
}

/// The clocks as one incarnation of a node sees them.
#[derive(Clone)]
pub struct SimClock {
    pub(crate) incarnation: Arc<Incarnation>,
    pub(crate) wall: Arc<WallClock>,
}

impl ClockOps for SimClock {
    fn now(&self) -> Monotonic {
        let incarnation = &self.incarnation;
        Monotonic(incarnation.core.timers.now_ns() + incarnation.monotonic_base_ns)
    }

    fn wall_ms(&self) -> i64 {
        let Incarnation { core, node, .. } = &*self.incarnation;
        if self.incarnation.is_alive() {
            let unseen = std::mem::take(&mut self.wall.state.lock().unseen);
            unseen.into_iter().for_each(|(kind, detail)| core.fault(*node, kind, detail));
        }
        let wall_ns = self.wall.wall_ns(core.timers.now_ns());
        i64::try_from(wall_ns.div_euclid(1_000_000)).expect("a run's wall time fits 64 bits of ms")
    }

    async fn sleep(&self, duration: Duration) {
        Sleep::new(self.incarnation.clone(), duration).await;
        if !self.incarnation.is_alive() {
            std::future::pending::<()>().await;
        }
    }
}
