//! The faults of a plan: what happens, and when, with every number drawn.

mod draw;

pub(crate) use draw::draw;

use rivven_io::sim::rng::Stream;
use serde::{Deserialize, Serialize};

/// A fault and its moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Virtual time in microseconds since the start of the run.
    pub at_us: u64,
    /// Which of the plan's brokers it strikes, or whose clients and links, from 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub broker: u64,
    pub what: Fault,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_first(broker: &u64) -> bool {
    *broker == 0
}

/// What happens. A fault that finds nothing to change (a kill of a dead process) does nothing and
/// does not count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    PowerCut { down_ms: u64 },
    Kill { down_ms: u64 },
    Stop { down_ms: u64 },
    CrashLoop { crashes: u64, power: bool, after_us: u64, down_ms: u64 },
    CrashAt { when: When, power: bool, after_us: u64, down_ms: u64, then_us: u64 },
    FullDisk { free_bytes: u64, for_ms: u64 },
    FailedSync { path: String, down_ms: u64, then_us: u64 },
    FailedWrite { path: String, down_ms: u64 },
    FailedRead { path: String, down_ms: u64 },
    Stall { for_ms: u64 },
    SlowDisk { percent: u64, for_ms: u64 },
    Reset,
    HalfOpen,
    BlackHole { hole: Hole, for_ms: u64 },
    BitRot { path: String, pick: u64, bytes: u64, down_ms: u64 },
    LostEnd { path: String, pick: u64, down_ms: u64 },
    BadSector { path: String, pick: u64, down_ms: u64 },
    MisdirectedWrite { path: String },
    PhantomWrite { path: String },
    MisdirectedRead { path: String },
    DiskGone { for_ms: u64, down_ms: u64 },
    OldDisk { age_ms: u64, down_ms: u64 },
    Isolate { client: u64, hole: Hole, for_ms: u64 },
    Swizzle { order: u64, gap_ms: u64, for_ms: u64 },
    Lag { hole: Hole, lag_ms: u64, for_ms: u64 },
    Narrow { bytes_per_second: u64, for_ms: u64 },
    LateDuplicate { age_ms: u64 },
    Corrupt { place: u64 },
    ClockOffset { who: Target, offset_ms: i64 },
    ClockDrift { who: Target, drift_ppm: i64, for_ms: u64 },
    ClockStep { who: Target, step_ms: i64 },
    Pause { who: Target, for_ms: u64 },
    SlowCpu { poll_us: u64, for_ms: u64 },
    TaskPanic { task: String, down_ms: u64 },
    SwapDisks { other: u64, for_ms: u64 },
}

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Broker,
    /// One of the clients of the plan, counted from 0 and over again.
    Client(u64),
}

/// What a crash waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The next operation on a path that contains this.
    Path(String),
    /// The next hit of a probe.
    Probe(String),
    /// The next effect of a fault, by its number in the catalogue.
    Fault(String),
}

/// Which packets vanish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hole {
    ToBroker,
    FromBroker,
    Both,
}

impl Fault {
    /// The name of its kind, as in scenario files.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::PowerCut { .. } => "power_cut",
            Fault::Kill { .. } => "kill",
            Fault::Stop { .. } => "stop",
            Fault::CrashLoop { .. } => "crash_loop",
            Fault::CrashAt { .. } => "crash_at",
            Fault::FullDisk { .. } => "full_disk",
            Fault::FailedSync { .. } => "failed_sync",
            Fault::FailedWrite { .. } => "failed_write",
            Fault::FailedRead { .. } => "failed_read",
            Fault::Stall { .. } => "stall",
            Fault::SlowDisk { .. } => "slow_disk",
            Fault::Reset => "reset",
            Fault::HalfOpen => "half_open",
            Fault::BlackHole { .. } => "black_hole",
            Fault::BitRot { .. } => "bit_rot",
            Fault::LostEnd { .. } => "lost_end",
            Fault::BadSector { .. } => "bad_sector",
            Fault::MisdirectedWrite { .. } => "misdirected_write",
            Fault::PhantomWrite { .. } => "phantom_write",
            Fault::MisdirectedRead { .. } => "misdirected_read",
            Fault::DiskGone { .. } => "disk_gone",
            Fault::OldDisk { .. } => "old_disk",
            Fault::Isolate { .. } => "isolate",
            Fault::Swizzle { .. } => "swizzle",
            Fault::Lag { .. } => "lag",
            Fault::Narrow { .. } => "narrow",
            Fault::LateDuplicate { .. } => "late_duplicate",
            Fault::Corrupt { .. } => "corrupt",
            Fault::ClockOffset { .. } => "clock_offset",
            Fault::ClockDrift { .. } => "clock_drift",
            Fault::ClockStep { .. } => "clock_step",
            Fault::Pause { .. } => "pause",
            Fault::SlowCpu { .. } => "slow_cpu",
            Fault::TaskPanic { .. } => "task_panic",
            Fault::SwapDisks { .. } => "swap_disks",
        }
    }
}

/// One of some that are there, with equal chance.
///
/// # Panics
/// If there is none.
pub(crate) fn one_of<T: Copy>(choices: &[T], draws: &mut Stream) -> T {
    *pick(choices, draws).expect("there is one at least")
}

/// One of `choices` with equal chance, `None` if there is none.
pub(crate) fn pick<'a, T>(choices: &'a [T], draws: &mut Stream) -> Option<&'a T> {
    let index = usize::try_from(draws.below(choices.len() as u64)).ok()?;
    choices.get(index)
}
