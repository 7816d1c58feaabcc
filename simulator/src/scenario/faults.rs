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

impl FaultSpecs {
    /// Each kind, and how often it comes if it is in the scenario.
    pub(crate) fn rates(&self) -> [(&'static str, Option<&Draw>); 16] {
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
        ]
    }
}
