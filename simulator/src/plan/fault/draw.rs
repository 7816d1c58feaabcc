//! Drawing the faults of a plan from the ranges of its scenario.

use rivven_io::sim::rng::{Stream, stream};

use super::{Fault, Hole, PlannedFault, Target, When, pick};
use crate::plan::SERVER;
use crate::scenario::draw::Draw;
use crate::scenario::faults::{CrashAtSpec, FaultSpecs, PathSpec};
use crate::scenario::{Scenario, SwarmSpec};

/// Most faults of one kind in a plan, whatever the rate says.
const FAULTS_PER_KIND_MAX: u64 = 1_000;

/// Draws all faults of a run, sorted by time. Each fault draws from a stream of its own, so that
/// one can be taken out, or a kind's rate changed, without touching another.
pub(crate) fn draw(scenario: &Scenario, seed: u64, brokers: u64) -> Vec<PlannedFault> {
    let mut faults = Vec::new();
    for (kind, rate) in scenario.faults.rates() {
        let Some(rate) = rate else { continue };
        for broker in 0..brokers {
            faults.extend(draw_kind(scenario, (kind, rate), (seed, broker)));
        }
    }
    faults.sort_by_key(|fault| fault.at_us);
    faults
}

/// The faults of one kind of one broker.
fn draw_kind(
    scenario: &Scenario,
    (kind, rate): (&str, &Draw),
    (seed, broker): (u64, u64),
) -> Vec<PlannedFault> {
    let concern = format!("plan.fault.{kind}");
    let node = SERVER + broker;
    let mut shape = stream(seed, &concern, node, u64::MAX);
    let count = count(&scenario.swarm, kind, (rate, scenario.time.seconds), &mut shape);
    let fault = |k| {
        let mut draws = stream(seed, &concern, node, k);
        let at_us = draws.below(scenario.time.seconds * 1_000_000);
        let what = draw_one(&scenario.faults, kind, &mut draws)?;
        Some(PlannedFault { at_us, broker, what })
    };
    (0..count).filter_map(fault).collect()
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
            let hole = draw_hole(draws)?;
            Some(Fault::BlackHole { hole, for_ms: specs.black_hole.as_ref()?.for_ms.draw(draws) })
        }
        _ => draw_of_drive(specs, kind, draws)
            .or_else(|| draw_of_network(specs, kind, draws))
            .or_else(|| draw_of_node(specs, kind, draws)),
    }
}

/// What the drive itself does wrong.
fn draw_of_drive(specs: &FaultSpecs, kind: &str, draws: &mut Stream) -> Option<Fault> {
    match kind {
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
        "bad_sector" => {
            let (path, down_ms) = draw_path(specs.bad_sector.as_ref()?, draws);
            Some(Fault::BadSector { path, pick: draws.below(1 << 32), down_ms })
        }
        "misdirected_write" => {
            let path = pick(&specs.misdirected_write.as_ref()?.paths, draws)?.clone();
            Some(Fault::MisdirectedWrite { path })
        }
        "phantom_write" => {
            let path = pick(&specs.phantom_write.as_ref()?.paths, draws)?.clone();
            Some(Fault::PhantomWrite { path })
        }
        "misdirected_read" => {
            let path = pick(&specs.misdirected_read.as_ref()?.paths, draws)?.clone();
            Some(Fault::MisdirectedRead { path })
        }
        "disk_gone" => {
            let spec = specs.disk_gone.as_ref()?;
            let (for_ms, down_ms) = (spec.for_ms.draw(draws), spec.down_ms.draw(draws));
            Some(Fault::DiskGone { for_ms, down_ms })
        }
        "old_disk" => {
            let spec = specs.old_disk.as_ref()?;
            let (age_ms, down_ms) = (spec.age_ms.draw(draws), spec.down_ms.draw(draws));
            Some(Fault::OldDisk { age_ms, down_ms })
        }
        _ => None,
    }
}

fn draw_of_network(specs: &FaultSpecs, kind: &str, draws: &mut Stream) -> Option<Fault> {
    match kind {
        "isolate" => {
            let client = draws.below(1 << 32);
            let hole = draw_hole(draws)?;
            let for_ms = specs.isolate.as_ref()?.for_ms.draw(draws);
            Some(Fault::Isolate { client, hole, for_ms })
        }
        "swizzle" => {
            let spec = specs.swizzle.as_ref()?;
            let order = draws.below(1 << 32);
            let (gap_ms, for_ms) = (spec.gap_ms.draw(draws), spec.for_ms.draw(draws));
            Some(Fault::Swizzle { order, gap_ms, for_ms })
        }
        "lag" => {
            let spec = specs.lag.as_ref()?;
            let hole = draw_hole(draws)?;
            let (lag_ms, for_ms) = (spec.lag_ms.draw(draws), spec.for_ms.draw(draws));
            Some(Fault::Lag { hole, lag_ms, for_ms })
        }
        "narrow" => {
            let spec = specs.narrow.as_ref()?;
            let bytes_per_second = spec.bytes_per_second.draw(draws);
            Some(Fault::Narrow { bytes_per_second, for_ms: spec.for_ms.draw(draws) })
        }
        "late_duplicate" => {
            let age_ms = specs.late_duplicate.as_ref()?.age_ms.draw(draws);
            Some(Fault::LateDuplicate { age_ms })
        }
        "corrupt" => specs.corrupt.as_ref().map(|_| Fault::Corrupt { place: draws.below(1 << 32) }),
        _ => None,
    }
}

fn draw_of_node(specs: &FaultSpecs, kind: &str, draws: &mut Stream) -> Option<Fault> {
    match kind {
        "clock_offset" => {
            let spec = specs.clock_offset.as_ref()?;
            let who = draw_target(&spec.clients_percent, draws);
            Some(Fault::ClockOffset { who, offset_ms: draw_signed(&spec.ms, draws) })
        }
        "clock_drift" => {
            let spec = specs.clock_drift.as_ref()?;
            let who = draw_target(&spec.clients_percent, draws);
            let drift_ppm = draw_signed(&spec.ppm, draws);
            Some(Fault::ClockDrift { who, drift_ppm, for_ms: spec.for_ms.draw(draws) })
        }
        "clock_step" => {
            let spec = specs.clock_step.as_ref()?;
            let who = draw_target(&spec.clients_percent, draws);
            Some(Fault::ClockStep { who, step_ms: draw_signed(&spec.ms, draws) })
        }
        "pause" => {
            let spec = specs.pause.as_ref()?;
            let who = draw_target(&spec.clients_percent, draws);
            Some(Fault::Pause { who, for_ms: spec.for_ms.draw(draws) })
        }
        "slow_cpu" => {
            let spec = specs.slow_cpu.as_ref()?;
            let (poll_us, for_ms) = (spec.poll_us.draw(draws), spec.for_ms.draw(draws));
            Some(Fault::SlowCpu { poll_us, for_ms })
        }
        "task_panic" => {
            let spec = specs.task_panic.as_ref()?;
            let task = pick(&spec.tasks, draws)?.clone();
            Some(Fault::TaskPanic { task, down_ms: spec.down_ms.draw(draws) })
        }
        "swap_disks" => {
            let for_ms = specs.swap_disks.as_ref()?.for_ms.draw(draws);
            Some(Fault::SwapDisks { other: draws.below(1 << 32), for_ms })
        }
        _ => None,
    }
}

fn draw_hole(draws: &mut Stream) -> Option<Hole> {
    pick(&[Hole::ToBroker, Hole::FromBroker, Hole::Both], draws).copied()
}

fn draw_target(clients_percent: &Draw, draws: &mut Stream) -> Target {
    let is_client = draws.below(100) < clients_percent.draw(draws);
    let client = draws.below(1 << 32);
    if is_client { Target::Client(client) } else { Target::Broker }
}

/// Either sign has an equal chance.
fn draw_signed(magnitude: &Draw, draws: &mut Stream) -> i64 {
    let drawn = i64::try_from(magnitude.draw(draws)).unwrap_or(i64::MAX);
    if draws.chance(0.5) { -drawn } else { drawn }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::scenario::registry;

    #[test]
    fn a_kind_that_is_taken_out_leaves_the_others_as_they_were() {
        type TakeOut = fn(&mut FaultSpecs);
        let cases: [(&str, &str, TakeOut); 12] = [
            ("partitions", "isolate", |faults| faults.isolate = None),
            ("partitions", "swizzle", |faults| faults.swizzle = None),
            ("slow_links", "lag", |faults| faults.lag = None),
            ("slow_links", "narrow", |faults| faults.narrow = None),
            ("late_duplicates", "late_duplicate", |faults| faults.late_duplicate = None),
            ("late_duplicates", "corrupt", |faults| faults.corrupt = None),
            ("clocks", "clock_offset", |faults| faults.clock_offset = None),
            ("clocks", "clock_drift", |faults| faults.clock_drift = None),
            ("clocks", "clock_step", |faults| faults.clock_step = None),
            ("pauses", "pause", |faults| faults.pause = None),
            ("slow_cpu", "slow_cpu", |faults| faults.slow_cpu = None),
            ("slow_cpu", "task_panic", |faults| faults.task_panic = None),
        ];
        for (scenario, kind, take_out) in cases {
            let whole = registry::find(scenario).unwrap();
            let mut part = whole.clone();
            take_out(&mut part.faults);
            let mut count = 0;
            for seed in 0..20 {
                let (mut with, without) =
                    (Plan::draw(whole, seed, ""), Plan::draw(&part, seed, ""));
                let before = with.faults.len();
                with.faults.retain(|fault| fault.what.kind() != kind);
                count += before - with.faults.len();
                assert_eq!(with, without, "{kind}");
            }
            assert!(count > 0, "{scenario} has no {kind}");
        }
    }

    #[test]
    fn shifts_go_both_ways_and_hit_clients_as_often_as_they_should() {
        let mut draws = stream(1, "test", 0, 0);
        let (magnitude, share) = (Draw::between(1, 1_000), Draw::Fixed(30));
        let signed: Vec<i64> = (0..1_000).map(|_| draw_signed(&magnitude, &mut draws)).collect();
        assert!(signed.iter().all(|ms| (1..=1_000).contains(&ms.abs())));
        let behind = signed.iter().filter(|ms| **ms < 0).count();
        assert!((400..600).contains(&behind), "{behind}");
        let targets = (0..1_000).map(|_| draw_target(&share, &mut draws));
        let clients = targets.filter(|who| matches!(who, Target::Client(_))).count();
        assert!((250..350).contains(&clients), "{clients}");
    }
}
