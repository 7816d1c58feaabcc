//! The faults of a scenario: how often each kind comes, and how hard.

use serde::Deserialize;

use crate::scenario::draw::Draw;

/// Every kind of fault that a scenario can have; those that it does not name do not happen.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultSpecs {
    /// D1–D4: the power goes, and comes back.
    pub power_cut: Option<DownSpec>,
    /// P1: SIGKILL; what was written stays.
    pub kill: Option<DownSpec>,
    /// P5: a graceful stop under load.
    pub stop: Option<DownSpec>,
    /// P6: a crash, and another one shortly after each of the next starts.
    pub crash_loop: Option<CrashLoopSpec>,
    /// P2: a crash in the middle of work on chosen files, or when a rare state is reached.
    pub crash_at: Option<CrashAtSpec>,
    /// D11: the disk is full for a while.
    pub full_disk: Option<FullDiskSpec>,
    /// D10: a sync fails and drops what it should have synced.
    pub failed_sync: Option<FailedSyncSpec>,
    /// D12: a write fails with EIO.
    pub failed_write: Option<PathSpec>,
    /// D12: a read fails with EIO.
    pub failed_read: Option<PathSpec>,
    /// D13: no operation of the disk ends for a while.
    pub stall: Option<SpanSpec>,
    /// D13: the disk is slow for a while.
    pub slow_disk: Option<SlowSpec>,
    /// N8: some connections are reset.
    pub reset: Option<RateSpec>,
    /// N8: some connections are reset at the broker's end only.
    pub half_open: Option<RateSpec>,
    /// N6, N8: one or all clients cannot reach the broker, or it cannot reach them.
    pub black_hole: Option<SpanSpec>,
    /// D5: bytes of the disk change while the power is off.
    pub bit_rot: Option<BitRotSpec>,
    /// D5: the end of a file is gone when the power comes back.
    pub lost_end: Option<PathSpec>,
    /// D6: a page cannot be read from when the power comes back until it is written again.
    pub bad_sector: Option<PathSpec>,
    /// D7: a page lands in another one's place.
    pub misdirected_write: Option<LieSpec>,
    /// D8: a page never lands.
    pub phantom_write: Option<LieSpec>,
    /// D9: a read brings another place's bytes.
    pub misdirected_read: Option<LieSpec>,
    /// D14: the disk is gone for a while, and with it what was not synced.
    pub disk_gone: Option<DiskGoneSpec>,
    /// D15: the power goes, and comes back with the disk as it was some time ago, or an empty one.
    pub old_disk: Option<OldDiskSpec>,
    /// N6, N8: one client cannot reach the broker, or it cannot reach that client.
    pub isolate: Option<SpanSpec>,
    /// N5: clients are clogged one by one, and unclogged one by one in another order.
    pub swizzle: Option<SwizzleSpec>,
    /// N4: all packets of one direction, or of both, take longer for a while.
    pub lag: Option<LagSpec>,
    /// N9: the links have little bandwidth for a while, so that send buffers fill.
    pub narrow: Option<NarrowSpec>,
    /// N2: a Produce request of an idempotent producer that was answered long ago comes once more,
    /// byte by byte the same, on a new connection.
    pub late_duplicate: Option<LateDuplicateSpec>,
    /// N10: a byte of a record batch changes on its way to the broker.
    pub corrupt: Option<RateSpec>,
    /// C1: a wall clock is wrong from the start of the world on.
    pub clock_offset: Option<ClockShiftSpec>,
    /// C2: a wall clock runs too fast or too slow for a while.
    pub clock_drift: Option<ClockDriftSpec>,
    /// C3: a wall clock jumps.
    pub clock_step: Option<ClockShiftSpec>,
    /// P4: a process stands still, and goes on with what it believed.
    pub pause: Option<PauseSpec>,
    /// P9: each poll of the broker's tasks takes time on its one core for a while.
    pub slow_cpu: Option<SlowCpuSpec>,
    /// P8: a task of the broker panics.
    pub task_panic: Option<TaskPanicSpec>,
    /// D16: two brokers have each other's disks for a while.
    pub swap_disks: Option<SpanSpec>,
}

/// How often a fault comes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateSpec {
    pub per_minute: Draw,
}

/// A crash, and the time until the next start.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownSpec {
    pub per_minute: Draw,
    pub down_ms: Draw,
}

/// Crashes of which each comes shortly after the start that follows the one before.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrashLoopSpec {
    pub per_minute: Draw,
    pub crashes: Draw,
    /// From the start of the process to its next crash.
    pub after_us: Draw,
    pub down_ms: Draw,
}

/// A crash at a moment that the broker's own doings choose.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrashAtSpec {
    pub per_minute: Draw,
    /// The first disk operation on a path that contains one of these…
    #[serde(default)]
    pub paths: Vec<String>,
    /// …or the first hit of one of these probes.
    #[serde(default)]
    pub probes: Vec<String>,
    /// From that moment to the crash.
    pub after_us: Draw,
    pub down_ms: Draw,
    /// From the next start to another crash, of the other kind; 0: there is none. A power cut
    /// takes what a kill left in the page cache only.
    #[serde(default)]
    pub then_us: Draw,
}

/// Space that is left, and for how long.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullDiskSpec {
    pub per_minute: Draw,
    pub free_bytes: Draw,
    pub for_ms: Draw,
}

/// The next operation on a path that contains one of `paths`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathSpec {
    pub per_minute: Draw,
    pub paths: Vec<String>,
    /// If the broker ends itself because of it: time until the next start.
    pub down_ms: Draw,
}

/// The next sync of a path that contains one of `paths`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedSyncSpec {
    pub per_minute: Draw,
    pub paths: Vec<String>,
    /// If the broker ends itself because of it: time until the next start.
    pub down_ms: Draw,
    /// From the failure to a power cut, if the process is still there; 0: there is none. It takes
    /// what a broker that believes the next sync has acknowledged.
    #[serde(default)]
    pub then_us: Draw,
}

/// A fault that lasts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanSpec {
    pub per_minute: Draw,
    pub for_ms: Draw,
}

/// A disk that takes `percent` of its usual time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowSpec {
    pub per_minute: Draw,
    pub percent: Draw,
    pub for_ms: Draw,
}

/// A power cut that also changes bytes of a file whose path contains one of `paths`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitRotSpec {
    pub per_minute: Draw,
    pub paths: Vec<String>,
    pub bytes: Draw,
    pub down_ms: Draw,
}

/// The next operation on a file whose path contains one of `paths`, of which the drive tells
/// something else than it does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LieSpec {
    pub per_minute: Draw,
    pub paths: Vec<String>,
}

/// A disk that is gone for `for_ms`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskGoneSpec {
    pub per_minute: Draw,
    pub for_ms: Draw,
    /// From the end of the broker that has no disk to its next start.
    pub down_ms: Draw,
}

/// A disk that has what the broker's had `age_ms` ago.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OldDiskSpec {
    pub per_minute: Draw,
    /// 0: the disk is empty.
    pub age_ms: Draw,
    pub down_ms: Draw,
}

/// Clients clogged one after the other, `gap_ms` apart, all for `for_ms`, unclogged in another
/// order.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwizzleSpec {
    pub per_minute: Draw,
    pub gap_ms: Draw,
    pub for_ms: Draw,
}

/// Links that take `lag_ms` longer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LagSpec {
    pub per_minute: Draw,
    pub lag_ms: Draw,
    pub for_ms: Draw,
}

/// Links that carry `bytes_per_second`, each way.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NarrowSpec {
    pub per_minute: Draw,
    pub bytes_per_second: Draw,
    pub for_ms: Draw,
}

/// A request that comes again `age_ms` after its answer, or later.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateDuplicateSpec {
    pub per_minute: Draw,
    pub age_ms: Draw,
}

/// A wall clock that is `ms` off, ahead or behind. So many of a hundred are a client's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockShiftSpec {
    pub per_minute: Draw,
    pub ms: Draw,
    #[serde(default)]
    pub clients_percent: Draw,
}

/// A wall clock that gains or loses `ppm` microseconds a second.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockDriftSpec {
    pub per_minute: Draw,
    pub ppm: Draw,
    pub for_ms: Draw,
    #[serde(default)]
    pub clients_percent: Draw,
}

/// A process that stands still. So many of a hundred are a client's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseSpec {
    pub per_minute: Draw,
    pub for_ms: Draw,
    #[serde(default)]
    pub clients_percent: Draw,
}

/// A broker each of whose polls takes about `poll_us`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowCpuSpec {
    pub per_minute: Draw,
    pub poll_us: Draw,
    pub for_ms: Draw,
}

/// The next poll of one of these tasks of the broker.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskPanicSpec {
    pub per_minute: Draw,
    pub tasks: Vec<String>,
    /// If the broker ends itself because of it: time until the next start.
    pub down_ms: Draw,
}

impl FaultSpecs {
    /// Each kind, and how often it comes if it is in the scenario.
    pub(crate) fn rates(&self) -> [(&'static str, Option<&Draw>); 35] {
        [
            ("power_cut", self.power_cut.as_ref().map(|spec| &spec.per_minute)),
            ("kill", self.kill.as_ref().map(|spec| &spec.per_minute)),
            ("stop", self.stop.as_ref().map(|spec| &spec.per_minute)),
            ("crash_loop", self.crash_loop.as_ref().map(|spec| &spec.per_minute)),
            ("crash_at", self.crash_at.as_ref().map(|spec| &spec.per_minute)),
            ("full_disk", self.full_disk.as_ref().map(|spec| &spec.per_minute)),
            ("failed_sync", self.failed_sync.as_ref().map(|spec| &spec.per_minute)),
            ("failed_write", self.failed_write.as_ref().map(|spec| &spec.per_minute)),
            ("failed_read", self.failed_read.as_ref().map(|spec| &spec.per_minute)),
            ("stall", self.stall.as_ref().map(|spec| &spec.per_minute)),
            ("slow_disk", self.slow_disk.as_ref().map(|spec| &spec.per_minute)),
            ("reset", self.reset.as_ref().map(|spec| &spec.per_minute)),
            ("half_open", self.half_open.as_ref().map(|spec| &spec.per_minute)),
            ("black_hole", self.black_hole.as_ref().map(|spec| &spec.per_minute)),
            ("bit_rot", self.bit_rot.as_ref().map(|spec| &spec.per_minute)),
            ("lost_end", self.lost_end.as_ref().map(|spec| &spec.per_minute)),
            ("bad_sector", self.bad_sector.as_ref().map(|spec| &spec.per_minute)),
            ("misdirected_write", self.misdirected_write.as_ref().map(|spec| &spec.per_minute)),
            ("phantom_write", self.phantom_write.as_ref().map(|spec| &spec.per_minute)),
            ("misdirected_read", self.misdirected_read.as_ref().map(|spec| &spec.per_minute)),
            ("disk_gone", self.disk_gone.as_ref().map(|spec| &spec.per_minute)),
            ("old_disk", self.old_disk.as_ref().map(|spec| &spec.per_minute)),
            ("isolate", self.isolate.as_ref().map(|spec| &spec.per_minute)),
            ("swizzle", self.swizzle.as_ref().map(|spec| &spec.per_minute)),
            ("lag", self.lag.as_ref().map(|spec| &spec.per_minute)),
            ("narrow", self.narrow.as_ref().map(|spec| &spec.per_minute)),
            ("late_duplicate", self.late_duplicate.as_ref().map(|spec| &spec.per_minute)),
            ("corrupt", self.corrupt.as_ref().map(|spec| &spec.per_minute)),
            ("clock_offset", self.clock_offset.as_ref().map(|spec| &spec.per_minute)),
            ("clock_drift", self.clock_drift.as_ref().map(|spec| &spec.per_minute)),
            ("clock_step", self.clock_step.as_ref().map(|spec| &spec.per_minute)),
            ("pause", self.pause.as_ref().map(|spec| &spec.per_minute)),
            ("slow_cpu", self.slow_cpu.as_ref().map(|spec| &spec.per_minute)),
            ("task_panic", self.task_panic.as_ref().map(|spec| &spec.per_minute)),
            ("swap_disks", self.swap_disks.as_ref().map(|spec| &spec.per_minute)),
        ]
    }
}
