//! Holds a closed segment's index files to the batches of the segment.

use std::path::Path;

use crate::ids::TimestampMs;
use crate::log::index::{IndexEntry, SparseIndex};
use crate::log::index_file::{self, IndexFiles};
use crate::log::segment::Segment;
use crate::record::header::BatchHeader;
use crate::storage::layout;
use crate::storage::verify::Verifier;

/// Largest index file that is read, in bytes; as a broker reads it.
const INDEX_BYTES_MAX: u64 = 16 << 20;

/// Compares an index with batches that come in order.
pub(super) struct IndexCheck {
    index: SparseIndex,
    segment: Segment,
    /// Entries that were met.
    met: usize,
    max_timestamp: TimestampMs,
    agrees: bool,
}

impl IndexCheck {
    fn new(index: SparseIndex, segment: Segment) -> IndexCheck {
        assert!(!segment.is_empty(), "an empty segment is never closed");
        let max_timestamp = TimestampMs(-1);
        IndexCheck { index, segment, met: 0, max_timestamp, agrees: true }
    }

    pub(super) fn note(&mut self, position: u64, header: &BatchHeader) {
        if let Some(entry) = self.index.entries().get(self.met)
            && u64::from(entry.position) <= position
        {
            self.agrees &= u64::from(entry.position) == position && self.is_right(entry, header);
            self.met += 1;
        }
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
    }

    fn is_right(&self, entry: &IndexEntry, header: &BatchHeader) -> bool {
        header.base_offset.0 - self.segment.base.0 == i64::from(entry.offset_delta)
            && entry.max_timestamp_before == self.max_timestamp
    }

    /// Whether every entry named a batch.
    pub(super) fn is_met(&self) -> bool {
        assert!(self.met <= self.index.entries().len(), "an entry is met once");
        self.agrees && self.met == self.index.entries().len()
    }
}

impl Verifier<'_> {
    /// The index of a closed segment, if both files are there and sound. An index is a hint, and
    /// rebuilt when it is missing.
    pub(super) async fn index_check(
        &mut self,
        folder: &Path,
        segment: Segment,
    ) -> Option<IndexCheck> {
        let offsets_path = layout::index_path(folder, segment.name());
        let offsets = self.read_index(&offsets_path).await?;
        let times = self.read_index(&layout::time_index_path(folder, segment.name())).await?;
        let decoded = index_file::decode(segment.base, &IndexFiles { offsets, times });
        match decoded {
            Some((index, covered)) if u64::from(covered) == segment.bytes => {
                Some(IndexCheck::new(index, segment))
            }
            Some((_, covered)) => {
                let bytes = segment.bytes;
                let what = format!("it covers {covered} of {bytes} bytes; readers rebuild it");
                self.findings.warning(&offsets_path, what);
                None
            }
            None => {
                let what = "it or its .timeindex is damaged; readers rebuild it";
                self.findings.warning(&offsets_path, what);
                None
            }
        }
    }

    async fn read_index(&mut self, path: &Path) -> Option<bytes::Bytes> {
        match self.env.read_file(path, INDEX_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) => {
                self.findings.warning(path, format!("it cannot be read: {error}"));
                None
            }
        }
    }
}
