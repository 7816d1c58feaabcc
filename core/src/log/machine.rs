//! The machine of one partition's log: where a batch goes, what is visible, what may be deleted.
//!
//! An append is planned without a change of state, gets its room on disk, and is applied; it
//! becomes visible only by `synced`. So no failed append leaves a trace (KAFKA-6683), and no
//! answer can come before the sync.

use std::ops::Range;

use crate::ids::{Offset, TimestampMs};
use crate::log::index::{IndexEntry, SparseIndex};
use crate::log::positions::Positions;
use crate::log::retention::{RetentionRules, log_start_after_retention};
use crate::log::segment::{SEGMENT_BYTES_MAX, Segment, SegmentName};
use crate::producer::{ProducerError, ProducerTable, ProducerVerdict};
use crate::record::validate::ValidBatch;

/// When a segment is closed, and how dense its index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollRules {
    pub segment_bytes: u64,
    pub segment_ms: u64,
    pub index_interval_bytes: u64,
}

/// Where a batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub base_offset: Offset,
    /// Base offset of the segment that takes it; equal to `base_offset` if the batch opens it.
    pub segment_base: Offset,
    /// File position in bytes in that segment.
    pub position: u64,
}

/// What an append would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendPlan {
    Append(Placement),
    /// The batch is in the log already; it was appended at `base_offset`.
    Duplicate {
        base_offset: Offset,
    },
}

/// Why a record of the WAL does not fit the log that it should continue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a batch at offset {found} does not continue a log that ends at {expected}: {reason}")]
pub struct ReplayGap {
    pub expected: Offset,
    pub found: Offset,
    pub reason: &'static str,
}

/// The log of one partition.
#[derive(Clone, Debug)]
pub struct PartitionLog {
    positions: Positions,
    /// Closed segments, oldest first.
    sealed: Vec<Segment>,
    active: Segment,
    /// End of what the cleaner has compared: below it no key stands twice, but for what was dropped
    /// by the log start meanwhile.
    cleaned: Offset,
    /// Index of the active segment from position `indexed_from` on.
    index: SparseIndex,
    indexed_from: u32,
    producers: ProducerTable,
}

impl PartitionLog {
    /// The log of a new partition.
    #[must_use]
    pub fn new(now: TimestampMs) -> PartitionLog {
        PartitionLog {
            positions: Positions::default(),
            sealed: Vec::new(),
            active: Segment::starting_at(Offset::ZERO, now),
            cleaned: Offset::ZERO,
            index: SparseIndex::default(),
            indexed_from: 0,
            producers: ProducerTable::default(),
        }
    }

    /// A log as a checkpoint describes it: everything in `segments` (oldest first, the last one
    /// active) is on disk. `None` if the segments do not form a chain.
    #[must_use]
    pub fn restored(
        (log_start, cleaned): (Offset, Offset),
        mut segments: Vec<Segment>,
        producers: ProducerTable,
    ) -> Option<PartitionLog> {
        let active = segments.pop()?;
        let mut expected = segments.first().map_or(active.base, |first| first.base);
        for segment in segments.iter().chain([&active]) {
            if segment.base != expected || !segment.is_sound() {
                return None;
            }
            expected = segment.end;
        }
        let first = segments.first().map_or(active.base, |first| first.base);
        if log_start < first || log_start > active.end {
            return None;
        }
        if cleaned < Offset::ZERO || cleaned > active.base || active.has_gaps() {
            return None;
        }
        let mut positions = Positions::starting_at(active.end);
        positions.log_start = log_start;
        let indexed_from = u32::try_from(active.bytes).ok()?;
        let index = SparseIndex::default();
        let sealed = segments;
        let log =
            PartitionLog { positions, sealed, active, cleaned, index, indexed_from, producers };
        log.check();
        Some(log)
    }

    #[must_use]
    pub fn positions(&self) -> Positions {
        self.positions
    }

    /// Closed segments, oldest first.
    #[must_use]
    pub fn sealed(&self) -> &[Segment] {
        &self.sealed
    }

    /// The segment that takes the next batch.
    #[must_use]
    pub fn active(&self) -> &Segment {
        &self.active
    }

    #[must_use]
    pub fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    /// End of what the cleaner has compared.
    #[must_use]
    pub fn cleaned(&self) -> Offset {
        self.cleaned
    }

    /// Forgets producers that were silent for `expiration_ms`.
    pub fn expire_producers(&mut self, now: TimestampMs, expiration_ms: i64) {
        self.producers.expire(now, expiration_ms);
    }

    /// Index of the active segment, and the position from which on it is known.
    #[must_use]
    pub fn index(&self) -> (&SparseIndex, u32) {
        (&self.index, self.indexed_from)
    }

    /// Gives the index of the active segment the part before `indexed_from`, which was read from
    /// disk. Ignored if the active segment is no longer the one at `base`.
    pub fn adopt_index(&mut self, base: Offset, older: SparseIndex) {
        if self.active.base != base || self.indexed_from == 0 {
            return;
        }
        let joined: Vec<IndexEntry> = older
            .entries()
            .iter()
            .filter(|entry| entry.position < self.indexed_from)
            .chain(self.index.entries())
            .copied()
            .collect();
        if let Some(index) = SparseIndex::from_entries(joined) {
            self.index = index;
            self.indexed_from = 0;
        }
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sealed.iter().map(|segment| segment.bytes).sum::<u64>() + self.active.bytes
    }

    /// The segment that holds or would hold `offset`.
    #[must_use]
    pub fn segment_of(&self, offset: Offset) -> &Segment {
        if offset >= self.active.base {
            return &self.active;
        }
        let after = self.sealed.partition_point(|segment| segment.base <= offset);
        let at = after.checked_sub(1).expect("readable offsets lie in a segment");
        &self.sealed[at]
    }

    /// Whether the segment of that name is part of the log.
    #[must_use]
    pub fn holds(&self, name: SegmentName) -> bool {
        if self.active.name() == name {
            return true;
        }
        let at = self.sealed.partition_point(|segment| segment.base < name.base);
        self.sealed.get(at).is_some_and(|segment| segment.name() == name)
    }

    /// Where `batch` would go. Changes nothing.
    ///
    /// # Errors
    /// The producer's sequence or epoch does not fit.
    pub fn plan_append(
        &self,
        batch: &ValidBatch,
        rules: &RollRules,
        now: TimestampMs,
    ) -> Result<AppendPlan, ProducerError> {
        if !rivven_io::planted!("B25")
            && let ProducerVerdict::Duplicate { base_offset, .. } = self.producers.check(batch)?
        {
            return Ok(AppendPlan::Duplicate { base_offset });
        }
        let base_offset = self.positions.log_end;
        let rolls = self.must_roll(batch, rules, now);
        let placement = if rolls {
            Placement { base_offset, segment_base: base_offset, position: 0 }
        } else {
            Placement { base_offset, segment_base: self.active.base, position: self.active.bytes }
        };
        Ok(AppendPlan::Append(placement))
    }

    fn must_roll(&self, batch: &ValidBatch, rules: &RollRules, now: TimestampMs) -> bool {
        if self.active.is_empty() {
            return false;
        }
        let bytes_after = self.active.bytes + batch.size as u64;
        let last_delta = self.positions.log_end.0 + i64::from(batch.count) - 1 - self.active.base.0;
        bytes_after > rules.segment_bytes.min(SEGMENT_BYTES_MAX)
            || self.active_is_due(rules, now)
            || last_delta > i64::from(i32::MAX)
    }

    /// Whether the active segment has outlived `segment_ms`; an empty one never has.
    #[must_use]
    pub fn active_is_due(&self, rules: &RollRules, now: TimestampMs) -> bool {
        let age = u64::try_from(now.0.saturating_sub(self.active.created.0)).unwrap_or(0);
        !self.active.is_empty() && age >= rules.segment_ms
    }

    /// Applies a planned append, which moves the log end and nothing that readers see. The closed
    /// segment and its index, if the batch opened a new one.
    ///
    /// # Panics
    /// When `placement` is not what the log plans now, which is the caller's mistake.
    pub fn apply_append(
        &mut self,
        placement: Placement,
        batch: &ValidBatch,
        timing: (TimestampMs, &RollRules),
    ) -> Option<ClosedSegment> {
        let (now, rules) = timing;
        assert_eq!(
            placement.base_offset, self.positions.log_end,
            "an append must continue the log"
        );
        assert!(batch.count > 0, "a batch has at least one record");
        let closed = (placement.segment_base != self.active.base).then(|| self.roll(now));
        assert_eq!(placement.segment_base, self.active.base, "placed in the active segment");
        assert_eq!(placement.position, self.active.bytes, "placed at the segment's end");
        if self.active.is_empty() {
            self.active.created = now;
        }
        let entry = IndexEntry {
            offset_delta: u32::try_from(placement.base_offset.0 - self.active.base.0)
                .expect("a segment spans less than 2^31 offsets"),
            position: u32::try_from(placement.position)
                .expect("a segment is smaller than 2^31 bytes"),
            max_timestamp_before: self.active.max_timestamp,
        };
        self.index.note(entry, rules.index_interval_bytes);
        self.active.bytes += batch.size as u64;
        self.active.end = placement.base_offset.plus(i64::from(batch.count));
        self.active.max_timestamp = self.active.max_timestamp.max(batch.max_timestamp);
        self.positions.log_end = self.active.end;
        self.producers.record(batch, placement.base_offset, now);
        self.check();
        closed
    }

    fn roll(&mut self, now: TimestampMs) -> ClosedSegment {
        let fresh = Segment::starting_at(self.positions.log_end, now);
        let segment = std::mem::replace(&mut self.active, fresh);
        assert!(!segment.is_empty(), "an empty segment is never closed");
        let index = std::mem::take(&mut self.index);
        let indexed_from = std::mem::take(&mut self.indexed_from);
        self.sealed.push(segment);
        ClosedSegment { segment, index, indexed_from }
    }

    /// Applies an append that the WAL holds.
    ///
    /// # Errors
    /// [`ReplayGap`] if it does not continue the log.
    pub fn replay_append(
        &mut self,
        placement: Placement,
        batch: &ValidBatch,
        timing: (TimestampMs, &RollRules),
    ) -> Result<Replayed, ReplayGap> {
        let expected = self.positions.log_end;
        let gap = |reason| ReplayGap { expected, found: placement.base_offset, reason };
        if placement.base_offset < expected {
            let end = placement.base_offset.plus(i64::from(batch.count));
            return if end <= expected {
                Ok(Replayed::Known)
            } else {
                Err(gap("it overlaps the end"))
            };
        }
        if placement.base_offset > expected {
            return Err(gap("batches are missing"));
        }
        let opens = placement.segment_base == placement.base_offset && placement.position == 0;
        let continues =
            placement.segment_base == self.active.base && placement.position == self.active.bytes;
        if !(continues || opens && !self.active.is_empty()) {
            return Err(gap("its segment is not the active one"));
        }
        let closed = self.apply_append(placement, batch, timing);
        self.synced();
        Ok(Replayed::Appended(closed))
    }

    /// The planted bug B26: the producer's state moves before it is sure that the batch does.
    #[cfg(feature = "sim")]
    pub fn plant_producer_state(&mut self, batch: &ValidBatch, now: TimestampMs) {
        self.producers.record(batch, self.positions.log_end, now);
    }

    /// Everything appended so far is on disk: it becomes acknowledgeable and visible.
    pub fn synced(&mut self) {
        assert!(self.positions.ackable <= self.positions.log_end, "the chain holds");
        self.positions.ackable = self.positions.log_end;
        self.positions.high_watermark = self.positions.ackable;
        self.positions.last_stable = self.positions.high_watermark;
        self.check();
    }

    /// The log start that retention asks for now, if it is higher.
    #[must_use]
    pub fn retention_start(&self, rules: RetentionRules, now: TimestampMs) -> Option<Offset> {
        log_start_after_retention(
            &self.sealed,
            &self.active,
            self.positions.high_watermark,
            (rules, now),
        )
        .filter(|start| *start > self.positions.log_start)
    }

    /// Moves the log start up to `to` (never down, never past the high watermark); the segments
    /// that no reader can reach any more.
    pub fn move_log_start(&mut self, to: Offset) -> Vec<Segment> {
        let before = self.positions.log_start;
        let to = to.min(self.positions.high_watermark);
        self.positions.log_start = self.positions.log_start.max(to);
        let start = self.positions.log_start;
        assert!(start >= before, "the log start never falls");
        let dead = self.sealed.partition_point(|segment| segment.end <= start);
        let dropped = self.sealed.drain(..dead).collect();
        self.check();
        dropped
    }

    /// Puts a segment that the cleaner wrote in the place of those that it stands for, and notes
    /// how far the cleaner has compared; the segments that nobody reads any more. None, and
    /// nothing changes, if they are not all there: the log start has passed some, or a replay meets
    /// a change that the log has already.
    pub fn replace(&mut self, written: Segment, cleaned: Offset) -> Vec<Segment> {
        assert!(written.has_gaps() && written.is_sound(), "the cleaner wrote {written:?}");
        let Some(sources) = self.sources(&written) else { return Vec::new() };
        let replaced = self.sealed.splice(sources, [written]).collect();
        self.cleaned = self.cleaned.max(cleaned);
        assert!(self.cleaned <= self.active.base, "the active segment is never cleaned");
        self.check();
        replaced
    }

    /// Whether [`replace`](PartitionLog::replace) would change anything.
    #[must_use]
    pub fn would_replace(&self, written: &Segment) -> bool {
        self.sources(written).is_some()
    }

    /// The closed segments that `written` stands for, if they are all there.
    fn sources(&self, written: &Segment) -> Option<Range<usize>> {
        let first = self.sealed.partition_point(|segment| segment.base < written.base);
        let after = self.sealed.partition_point(|segment| segment.end <= written.end);
        let sources = self.sealed.get(first..after)?;
        let fits = sources.first()?.base == written.base
            && sources.last()?.end == written.end
            && sources.iter().all(|segment| segment.generation < written.generation);
        fits.then_some(first..after)
    }

    /// Holds the chain of positions and its ties to the segments; O(1).
    ///
    /// # Panics
    /// When an invariant is broken, which is our own mistake.
    pub fn check(&self) {
        self.positions.check();
        assert_eq!(self.active.end, self.positions.log_end, "the log ends in the active segment");
        assert!(self.active.bytes <= SEGMENT_BYTES_MAX, "segment of {} bytes", self.active.bytes);
        let first = self.sealed.first().unwrap_or(&self.active);
        assert!(first.base <= self.positions.log_start, "log start below the oldest segment");
        assert!(u64::from(self.indexed_from) <= self.active.bytes, "index starts past the end");
        assert!(!self.active.has_gaps(), "the active segment is as it was appended");
    }

    /// Holds everything; O(segments + index + producers).
    ///
    /// # Panics
    /// As `check`.
    pub fn check_all(&self) {
        self.check();
        let mut expected = self.sealed.first().unwrap_or(&self.active).base;
        for segment in self.sealed.iter().chain([&self.active]) {
            assert_eq!(segment.base, expected, "segments form a chain");
            assert!(segment.is_sound(), "bytes and offsets agree: {segment:?}");
            expected = segment.end;
        }
        assert!(self.sealed.iter().all(|segment| segment.base < segment.end), "offsets are closed");
        assert!(self.cleaned <= self.active.base, "the active segment is never cleaned");
        self.index.check_all(self.active.base, self.active.bytes.max(1));
        self.producers.check_all();
    }
}

/// What replaying an append did.
#[derive(Clone, Debug)]
pub enum Replayed {
    /// The log had the batch already.
    Known,
    /// It was appended; the segment that it closed, if it closed one.
    Appended(Option<ClosedSegment>),
}

/// A segment that an append closed.
#[derive(Clone, Debug)]
pub struct ClosedSegment {
    pub segment: Segment,
    pub index: SparseIndex,
    /// Position from which on `index` is known.
    pub indexed_from: u32,
}

#[cfg(test)]
mod tests;
