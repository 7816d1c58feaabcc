//! The faults of a plan: what happens, and when, with every number drawn.

use rivven_io::sim::rng::{Stream, stream};
use serde::{Deserialize, Serialize};

use crate::plan::SERVER;
use crate::scenario::draw::Draw;
use crate::scenario::faults::{CrashAtSpec, FaultSpecs, PathSpec};
use crate::scenario::{Scenario, SwarmSpec};

/// Most faults of one kind in a plan, whatever the rate says.
const FAULTS_PER_KIND_MAX: u64 = 1_000;

/// A fault and its moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// Virtual time in microseconds since the start of the run.
    pub at_us: u64,
    pub what: Fault,
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
        }
    }
}

/// Draws all faults of a run, sorted by time. Each fault draws from a stream of its own, so that
/// one can be taken out, or a kind's rate changed, without touching another.
pub(crate) fn draw(scenario: &Scenario, seed: u64) -> Vec<PlannedFault> {
    let mut faults = Vec::new();
    for (kind, rate) in scenario.faults.rates() {
        let Some(rate) = rate else { continue };
        let concern = format!("plan.fault.{kind}");
        let mut shape = stream(seed, &concern, SERVER, u64::MAX);
        let count = count(&scenario.swarm, kind, (rate, scenario.time.seconds), &mut shape);
        for k in 0..count {
            let mut draws = stream(seed, &concern, SERVER, k);
            let at_us = draws.below(scenario.time.seconds * 1_000_000);
            let what = draw_one(&scenario.faults, kind, &mut draws);
            faults.extend(what.map(|what| PlannedFault { at_us, what }));
        }
    }
    faults.sort_by_key(|fault| fault.at_us);
    faults
}

fn count(swarm: &SwarmSpec, kind: &str, (rate, seconds): (&Draw, u64), shape: &mut Stream) -> u64 {
    let off = shape.below(100) < swarm.off_percent;
    let per_minute = rate.draw(shape);
    if off && !swarm.always.iter().any(|always| always == kind) {
        return 0;
    }
    (per_minute * seconds).div_ceil(60).min(FAULTS_PER_KIND_MAX)
}

fn draw_one(specs: &FaultSpecs, kind: &str, draws: &mut Stream) -> Option<Fault> {
    match kind {
        "power_cut" => {
            let down_ms = specs.power_cut.as_ref()?.down_ms.draw(draws);
            Some(Fault::PowerCut { down_ms })
        }
        "kill" => Some(Fault::Kill { down_ms: specs.kill.as_ref()?.down_ms.draw(draws) }),
        "stop" => Some(Fault::Stop { down_ms: specs.stop.as_ref()?.down_ms.draw(draws) }),
        "crash_loop" => {
            let spec = specs.crash_loop.as_ref()?;
            Some(Fault::CrashLoop {
                crashes: spec.crashes.draw(draws),
                power: draws.chance(0.5),
                after_us: spec.after_us.draw(draws),
                down_ms: spec.down_ms.draw(draws),
            })
        }
        "crash_at" => draw_crash_at(specs.crash_at.as_ref()?, draws),
        "full_disk" => {
            let spec = specs.full_disk.as_ref()?;
            let (free_bytes, for_ms) = (spec.free_bytes.draw(draws), spec.for_ms.draw(draws));
            Some(Fault::FullDisk { free_bytes, for_ms })
        }
        "failed_sync" => {
            let spec = specs.failed_sync.as_ref()?;
            let path = pick(&spec.paths, draws).cloned().unwrap_or_default();
            let (down_ms, then_us) = (spec.down_ms.draw(draws), spec.then_us.draw(draws));
            Some(Fault::FailedSync { path, down_ms, then_us })
        }
        "failed_write" => {
            let (path, down_ms) = draw_path(specs.failed_write.as_ref()?, draws);
            Some(Fault::FailedWrite { path, down_ms })
        }
        "failed_read" => {
            let (path, down_ms) = draw_path(specs.failed_read.as_ref()?, draws);
            Some(Fault::FailedRead { path, down_ms })
        }
        "stall" => Some(Fault::Stall { for_ms: specs.stall.as_ref()?.for_ms.draw(draws) }),
        "slow_disk" => {
            let spec = specs.slow_disk.as_ref()?;
            let (percent, for_ms) = (spec.percent.draw(draws), spec.for_ms.draw(draws));
            Some(Fault::SlowDisk { percent, for_ms })
        }
        "reset" => Some(Fault::Reset),
        "half_open" => Some(Fault::HalfOpen),
        "black_hole" => {
            let holes = [Hole::ToBroker, Hole::FromBroker, Hole::Both];
            let hole = *pick(&holes, draws)?;
            Some(Fault::BlackHole { hole, for_ms: specs.black_hole.as_ref()?.for_ms.draw(draws) })
        }
        "bit_rot" => {
            let spec = specs.bit_rot.as_ref()?;
            Some(Fault::BitRot {
                path: pick(&spec.paths, draws)?.clone(),
                pick: draws.below(1 << 32),
                bytes: spec.bytes.draw(draws),
                down_ms: spec.down_ms.draw(draws),
            })
        }
        "lost_end" => {
            let (path, down_ms) = draw_path(specs.lost_end.as_ref()?, draws);
            Some(Fault::LostEnd { path, pick: draws.below(1 << 32), down_ms })
        }
        _ => None,
    }
}

fn draw_crash_at(spec: &CrashAtSpec, draws: &mut Stream) -> Option<Fault> {
    let paths = spec.paths.iter().cloned().map(When::Path);
    let moments: Vec<When> = paths.chain(spec.probes.iter().cloned().map(When::Probe)).collect();
    Some(Fault::CrashAt {
        when: pick(&moments, draws)?.clone(),
        power: draws.chance(0.6),
        after_us: spec.after_us.draw(draws),
        down_ms: spec.down_ms.draw(draws),
        then_us: spec.then_us.draw(draws),
    })
}

fn draw_path(spec: &PathSpec, draws: &mut Stream) -> (String, u64) {
    let path = pick(&spec.paths, draws).cloned().unwrap_or_default();
    (path, spec.down_ms.draw(draws))
}

/// One of `choices` with equal chance, `None` if there is none.
pub(crate) fn pick<'a, T>(choices: &'a [T], draws: &mut Stream) -> Option<&'a T> {
    let index = usize::try_from(draws.below(choices.len() as u64)).ok()?;
    choices.get(index)
}
