//! Which segments the cleaner takes (`cleanup.policy=compact`), and in which groups; pure
//! decisions. What it does with a batch is `sieve`.
//!
//! ```text
//!   log start          cleaned              end of what may be cleaned      log end
//!      │  no key twice    │  dirty                      │  too young, not    │
//!      │                  │                             │  visible, active   │
//! ```

pub mod offset_map;
pub mod sieve;

use std::ops::Range;

use crate::ids::{Offset, TimestampMs};
use crate::log::machine::PartitionLog;
use crate::log::segment::{SEGMENT_BYTES_MAX, Segment};

/// Bytes after which a compacted topic's segment is closed, and of segments that become one. Other
/// packers than ours may have packed better, so what is left of a segment may take more than it.
pub const COMPACTED_SEGMENT_BYTES_MAX: u64 = SEGMENT_BYTES_MAX / 2;
/// Parts that a ratio is counted in.
pub const RATIO_ONE: u64 = 1_000_000;

/// When a log is cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionRules {
    /// `min.cleanable.dirty.ratio` in millionths: the dirty part must be larger than that.
    pub dirty_ratio_min: u64,
    /// `min.compaction.lag.ms`: what is younger stays as it is.
    pub lag_min_ms: u64,
    /// `max.compaction.lag.ms`: what is dirty for so long is cleaned whatever the ratio says.
    pub lag_max_ms: u64,
}

/// A log that is to be cleaned now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleanable {
    /// From the log's first through the last that may be cleaned.
    pub segments: Vec<Segment>,
    /// The first offset that was not compared yet.
    pub dirty_from: Offset,
    /// The dirty part in millionths of all that may be cleaned.
    pub dirty_ratio: u64,
}

/// Whether a log is to be cleaned now, and what of it. Nothing at or above the last stable offset
/// and the high watermark is taken, nor the active segment, nor one at or above `counted`: the base
/// of the active segment as the last durable checkpoint counts it.
#[must_use]
pub fn cleanable(
    log: &PartitionLog,
    counted: Offset,
    (rules, now): (CompactionRules, TimestampMs),
) -> Option<Cleanable> {
    let positions = log.positions();
    let bound = positions.last_stable.min(positions.high_watermark).min(counted);
    let dirty_from = log.cleaned().max(positions.log_start);
    let is_young = |segment: &Segment| {
        !rivven_io::planted!("B53") && age(segment.newest(), now) < rules.lag_min_ms
    };
    let is_free = |segment: &&Segment| {
        segment.end <= bound && (segment.end <= dirty_from || !is_young(segment))
    };
    let segments: Vec<Segment> = log.sealed().iter().take_while(is_free).copied().collect();
    let dirty = segments.iter().filter(|segment| segment.end > dirty_from);
    let dirty_bytes: u64 = dirty.clone().map(|segment| segment.bytes).sum();
    let all_bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    if dirty_bytes == 0 {
        return None;
    }
    let dirty_ratio = dirty_bytes.saturating_mul(RATIO_ONE) / all_bytes;
    let oldest = dirty.clone().map(|segment| segment.created).min()?;
    let is_due = dirty_ratio > rules.dirty_ratio_min || age(oldest, now) >= rules.lag_max_ms;
    assert!(dirty_ratio <= RATIO_ONE, "what is dirty is a part of all");
    assert!(segments.iter().all(|segment| segment.end <= log.active().base), "closed ones only");
    is_due.then_some(Cleanable { segments, dirty_from, dirty_ratio })
}

fn age(since: TimestampMs, now: TimestampMs) -> u64 {
    u64::try_from(now.0.saturating_sub(since.0)).unwrap_or(0)
}

/// Segments that become one, as ranges of `segments`, in order: as many as have `segment_bytes`
/// together and span fewer than 2³¹ offsets. The last is the one that holds the offset before
/// `end`.
#[must_use]
pub fn groups(segments: &[Segment], end: Offset, segment_bytes: u64) -> Vec<Range<usize>> {
    let count = segments.partition_point(|segment| segment.base < end);
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (index, segment) in segments[..count].iter().enumerate() {
        let joined = groups.last_mut().filter(|group| {
            let span = segment.end.0 - segments[group.start].base.0;
            bytes + segment.bytes <= segment_bytes && span <= i64::from(i32::MAX)
        });
        match joined {
            Some(group) => {
                group.end = index + 1;
                bytes += segment.bytes;
            }
            None => {
                groups.push(index..index + 1);
                bytes = segment.bytes;
            }
        }
    }
    assert!(groups.windows(2).all(|pair| pair[0].end == pair[1].start), "no segment is left out");
    groups
}

#[cfg(test)]
mod tests;
