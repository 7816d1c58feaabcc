//! The sparse index of one segment in memory: from offsets and timestamps to file positions.

use crate::ids::{Offset, TimestampMs};

/// One indexed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Base offset of the batch, less the segment's base offset.
    pub offset_delta: u32,
    /// File position in bytes of the batch.
    pub position: u32,
    /// Largest timestamp of all batches of the segment before this one.
    pub max_timestamp_before: TimestampMs,
}

/// Entries in rising order of offset and position, at least `interval` bytes apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseIndex {
    entries: Vec<IndexEntry>,
}

impl SparseIndex {
    /// Rebuilds an index from stored entries; `None` if they are not in rising order.
    #[must_use]
    pub fn from_entries(entries: Vec<IndexEntry>) -> Option<SparseIndex> {
        let rising = entries.windows(2).all(|pair| {
            pair[0].offset_delta < pair[1].offset_delta
                && pair[0].position < pair[1].position
                && pair[0].max_timestamp_before <= pair[1].max_timestamp_before
        });
        rising.then_some(SparseIndex { entries })
    }

    #[must_use]
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// Notes a batch that was appended, if it lies `interval` bytes past the last entry.
    pub fn note(&mut self, entry: IndexEntry, interval: u64) {
        if let Some(last) = self.entries.last() {
            assert!(last.offset_delta < entry.offset_delta, "index offsets must rise");
            assert!(last.position < entry.position, "index positions must rise");
            if u64::from(entry.position - last.position) < interval {
                return;
            }
        } else if u64::from(entry.position) < interval {
            return;
        }
        self.entries.push(entry);
    }

    /// The last indexed batch at or before the offset `delta` past the base: its offset delta and
    /// file position. Both are 0 before the first entry: there the segment's first batch begins.
    #[must_use]
    pub fn floor(&self, delta: u32) -> (u32, u32) {
        let after = self.entries.partition_point(|entry| entry.offset_delta <= delta);
        self.entry_before(after)
    }

    /// The last indexed batch before which no batch has a timestamp of `at_least` or more: its
    /// offset delta and file position.
    #[must_use]
    pub fn floor_of_timestamp(&self, at_least: TimestampMs) -> (u32, u32) {
        let after = self.entries.partition_point(|entry| entry.max_timestamp_before < at_least);
        self.entry_before(after)
    }

    /// The last indexed batch at or before the offset `delta` past the base.
    #[must_use]
    pub fn entry_at(&self, delta: u32) -> Option<IndexEntry> {
        let after = self.entries.partition_point(|entry| entry.offset_delta <= delta);
        after.checked_sub(1).map(|at| self.entries[at])
    }

    fn entry_before(&self, after: usize) -> (u32, u32) {
        after.checked_sub(1).map_or((0, 0), |at| {
            let entry = self.entries[at];
            (entry.offset_delta, entry.position)
        })
    }

    /// Holds the order of all entries.
    pub fn check_all(&self, base: Offset, bytes: u64) {
        assert!(base.0 >= 0, "negative base offset {base}");
        for pair in self.entries.windows(2) {
            assert!(pair[0].offset_delta < pair[1].offset_delta, "index offsets must rise");
            assert!(pair[0].position < pair[1].position, "index positions must rise");
        }
        if let Some(last) = self.entries.last() {
            assert!(u64::from(last.position) < bytes, "index points past the segment");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_do_not_rise_are_no_index() {
        let entry = |(offset_delta, position, before): (u32, u32, i64)| IndexEntry {
            offset_delta,
            position,
            max_timestamp_before: TimestampMs(before),
        };
        // What follows (5, 100, 30), and whether it may.
        let cases = [
            ((6, 200, 30), true),
            ((6, 200, 31), true),
            ((5, 200, 31), false),
            ((4, 200, 31), false),
            ((6, 100, 31), false),
            ((6, 99, 31), false),
            ((6, 200, 29), false),
        ];
        for (next, may_follow) in cases {
            let entries = [(1, 10, 20), (5, 100, 30), next].map(entry).to_vec();
            let built = SparseIndex::from_entries(entries.clone());
            assert_eq!(built.is_some(), may_follow, "{next:?}");
            assert!(built.is_none_or(|index| index.entries() == entries));
        }
    }
}
