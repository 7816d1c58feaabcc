//! One segment of a log: a run of batches that share a file.

use crate::ids::{Offset, TimestampMs};

/// Largest segment in bytes: positions in it are 32 bits wide, as in Kafka.
pub const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// What names the files of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    pub base: Offset,
    /// How often the cleaner has written it anew; 0 as it was appended.
    pub generation: u32,
}

impl SegmentName {
    /// A segment that was appended.
    #[must_use]
    pub fn appended(base: Offset) -> SegmentName {
        SegmentName { base, generation: 0 }
    }
}

/// What is known of one segment without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First offset that it stands for, and its file's name.
    pub base: Offset,
    /// Offset after the last one that it stands for.
    pub end: Offset,
    /// Bytes of its batches: the position where the next one goes.
    pub bytes: u64,
    /// Largest timestamp of its batches, -1 if it has none.
    pub max_timestamp: TimestampMs,
    /// Wall-clock time of its first append; rolls by time count from here. The latest one of those
    /// that the cleaner joined.
    pub created: TimestampMs,
    /// How often the cleaner has written it anew. Above 0 offsets may be missing, also all of
    /// them: then there is no file.
    pub generation: u32,
}

impl Segment {
    /// An empty segment that begins at `base`.
    #[must_use]
    pub fn starting_at(base: Offset, now: TimestampMs) -> Segment {
        Segment {
            base,
            end: base,
            bytes: 0,
            max_timestamp: TimestampMs(-1),
            created: now,
            generation: 0,
        }
    }

    /// Whether it holds no batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    #[must_use]
    pub fn name(&self) -> SegmentName {
        SegmentName { base: self.base, generation: self.generation }
    }

    /// Whether offsets may be missing between its batches.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.generation > 0
    }

    /// Whether bytes, offsets and generation agree: only the cleaner empties a segment.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let holds_offsets = self.base < self.end;
        self.base <= self.end
            && self.bytes <= SEGMENT_BYTES_MAX
            && if self.has_gaps() { holds_offsets } else { holds_offsets != self.is_empty() }
    }

    /// The time that counts for its age: its newest timestamp, or that of its first append.
    #[must_use]
    pub fn newest(&self) -> TimestampMs {
        if self.max_timestamp.0 < 0 { self.created } else { self.max_timestamp }
    }
}
