//! One segment of a log: a run of batches that share a file.

use crate::ids::{Offset, TimestampMs};

/// Largest segment in bytes: positions in it are 32 bits wide, as in Kafka.
pub const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// What is known of one segment without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset of its first record, and its file's name.
    pub base: Offset,
    /// Offset after its last record.
    pub end: Offset,
    /// Bytes of its batches: the position where the next one goes.
    pub bytes: u64,
    /// Largest timestamp of its batches, -1 if it has none.
    pub max_timestamp: TimestampMs,
    /// Wall-clock time of its first append; rolls by time count from here.
    pub created: TimestampMs,
}

impl Segment {
    /// An empty segment that begins at `base`.
    #[must_use]
    pub fn starting_at(base: Offset, now: TimestampMs) -> Segment {
        Segment { base, end: base, bytes: 0, max_timestamp: TimestampMs(-1), created: now }
    }

    /// Whether it holds no batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}
