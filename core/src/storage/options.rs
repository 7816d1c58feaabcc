//! What an operator decides about storage, with its bounds.

use std::path::PathBuf;
use std::time::Duration;

use crate::log::compaction::COMPACTED_SEGMENT_BYTES_MAX;
use crate::storage::writer::PAGE_BYTES;

/// Bytes of the WAL that the page images of one partition may take.
const PARTITION_IMAGES_BYTES: u64 = 4 * PAGE_BYTES;

/// When an append counts as done (`--sync-policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Every acknowledged batch survives power loss: the WAL is synced before the answer.
    #[default]
    EveryWrite,
    /// The WAL is synced after every n-th write; up to n - 1 acknowledged writes may be lost at a
    /// power cut, none at a kill of the process.
    EveryNWrites(u32),
    /// The operating system decides when batches reach the disk; they survive a kill of the
    /// process, not a power cut. Changes of state (topics, producer ids, log starts) are synced.
    None,
}

/// How storage is opened.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    pub data_dir: PathBuf,
    pub node_id: i32,
    pub sync_policy: SyncPolicy,
    /// Bytes of acknowledged batches that may wait in memory for their segment.
    pub tail_bytes_max: usize,
    /// Bytes of one file of the WAL ring, a multiple of 4096; bounds the largest batch.
    pub wal_file_bytes: u64,
    /// Files of the WAL ring, at least 3.
    pub wal_files: u32,
    /// Longest time between two checkpoints while there is something to write.
    pub checkpoint_interval: Duration,
    /// Time between two looks for expired segments and producers.
    pub retention_interval: Duration,
    /// How long a silent producer's sequence numbers are remembered.
    pub producer_expiration_ms: i64,
    /// Segment files held open at once.
    pub open_files_max: usize,
    /// Time between two looks for logs to compact.
    pub cleaner_interval: Duration,
    /// Bytes of memory for the last offset of each key while a log is compacted, of 24 bytes each;
    /// with more keys than that a log is compacted in several runs.
    pub cleaner_map_bytes: u64,
    /// Bytes of segments that become one when a log is compacted, at most
    /// [`COMPACTED_SEGMENT_BYTES_MAX`]; what becomes of them may have twice as many, or as many as
    /// a single one had.
    pub compacted_segment_bytes: u64,
}

impl StorageOptions {
    /// Production values for a directory.
    #[must_use]
    pub fn new(data_dir: PathBuf, node_id: i32) -> StorageOptions {
        StorageOptions {
            data_dir,
            node_id,
            sync_policy: SyncPolicy::EveryWrite,
            tail_bytes_max: 64 << 20,
            wal_file_bytes: 64 << 20,
            wal_files: 8,
            checkpoint_interval: Duration::from_secs(30),
            retention_interval: Duration::from_secs(30),
            producer_expiration_ms: 24 * 60 * 60 * 1000,
            open_files_max: 1024,
            cleaner_interval: Duration::from_secs(15),
            cleaner_map_bytes: 48 << 20,
            compacted_segment_bytes: COMPACTED_SEGMENT_BYTES_MAX,
        }
    }

    /// Bytes of requests after which a commit is closed; a larger batch is a commit of its own.
    #[must_use]
    pub fn commit_bytes_max(&self) -> usize {
        self.batch_bytes_max().min(4 << 20)
    }

    /// Bytes of one write to a segment, a multiple of 4096.
    #[must_use]
    pub fn segment_write_bytes(&self) -> usize {
        (self.tail_bytes_max / 32).clamp(4096, 2 << 20) / 4096 * 4096
    }

    /// Bytes of memory for commits and for the tail, which consists of their parts; the rest of
    /// `tail_bytes_max` is the writer's.
    #[must_use]
    pub fn arena_bytes_max(&self) -> usize {
        self.tail_bytes_max.saturating_sub(2 * self.segment_write_bytes())
    }

    /// Partitions for which the WAL can keep room. Each logs at most two page images before a
    /// checkpoint is durable, one that the last checkpoint trusts and one that the begun one
    /// trusts; an image that is logged alone takes two pages.
    #[must_use]
    pub fn partitions_max(&self) -> u64 {
        let files = u64::from(self.wal_files).saturating_sub(2);
        files * self.wal_file_bytes / PARTITION_IMAGES_BYTES
    }

    /// Files of the ring that only page images of so many partitions may fill; in a ring that is
    /// too small for them, all but the one that is written and one more.
    #[must_use]
    pub(crate) fn reserved_files(&self, partitions: u64) -> u64 {
        let files = (partitions * PARTITION_IMAGES_BYTES).div_ceil(self.wal_file_bytes);
        files.clamp(1, u64::from(self.wal_files) - 2)
    }

    /// Largest batch in bytes that fits one commit of the WAL.
    #[must_use]
    pub fn batch_bytes_max(&self) -> usize {
        let file = usize::try_from(self.wal_file_bytes).unwrap_or(usize::MAX);
        file.saturating_sub(8192).min(crate::limits::BATCH_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_images_of_all_partitions_have_room_and_some_is_left() {
        let options = StorageOptions {
            wal_file_bytes: 10 * PARTITION_IMAGES_BYTES,
            wal_files: 8,
            ..StorageOptions::new(PathBuf::from("/data"), 1)
        };
        assert_eq!(options.partitions_max(), 60);
        for (partitions, files) in [(0, 1), (1, 1), (10, 1), (11, 2), (20, 2), (60, 6), (600, 6)] {
            assert_eq!(options.reserved_files(partitions), files, "of {partitions} partitions");
        }
    }
}
