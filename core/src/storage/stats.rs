//! Counters of what storage did, for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in microseconds of the sync latency histogram; the last bucket has none.
pub const SYNC_BUCKETS_US: [u64; 12] =
    [50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 51_200, 204_800, 1_638_400];

#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) commits: AtomicU64,
    pub(crate) commit_bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    sync_ns: AtomicU64,
    sync_buckets: [AtomicU64; SYNC_BUCKETS_US.len() + 1],
    pub(crate) wal_used_bytes: AtomicU64,
    pub(crate) wal_bytes: AtomicU64,
    pub(crate) tail_bytes: AtomicU64,
    pub(crate) arena_bytes: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    reads_waited_ns: AtomicU64,
    pub(crate) no_room: AtomicU64,
    pub(crate) direct_io: AtomicBool,
    pub(crate) recovered_batches: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) compactions_stopped: AtomicU64,
}

/// What storage did and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageStats {
    pub commits: u64,
    pub commit_bytes: u64,
    pub syncs: u64,
    pub sync_time: Duration,
    /// Counts per bucket of [`SYNC_BUCKETS_US`], not cumulative; one more for what is slower.
    pub sync_buckets: Vec<u64>,
    /// Bytes of the WAL that no checkpoint has made superfluous.
    pub wal_used_bytes: u64,
    pub wal_bytes: u64,
    /// Bytes of batches that are not in their segments yet.
    pub tail_bytes: u64,
    /// Memory held for commits and the tail.
    pub arena_bytes: u64,
    pub checkpoints: u64,
    pub batches_appended: u64,
    pub bytes_appended: u64,
    pub records_appended: u64,
    /// Damaged batches that reads met.
    pub corrupt_batches: u64,
    /// Time that reads left the disk to commits, before they began.
    pub reads_waited: Duration,
    /// Appends refused for lack of disk space.
    pub appends_without_room: u64,
    pub direct_io: bool,
    pub recovered_batches: u64,
    /// Runs of the cleaner that went through.
    pub compactions: u64,
    /// Logs whose compaction stopped at a batch that cannot be read.
    pub compactions_stopped: u64,
}

impl Stats {
    pub(crate) fn note_sync(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = SYNC_BUCKETS_US.partition_point(|bound| *bound < us);
        self.sync_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_ns.fetch_add(us.saturating_mul(1000), Ordering::Relaxed);
    }

    pub(crate) fn note_read_waited(&self, waited: Duration) {
        let ns = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.reads_waited_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> StorageStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StorageStats {
            commits: get(&self.commits),
            commit_bytes: get(&self.commit_bytes),
            syncs: get(&self.syncs),
            sync_time: Duration::from_nanos(get(&self.sync_ns)),
            sync_buckets: self.sync_buckets.iter().map(get).collect(),
            wal_used_bytes: get(&self.wal_used_bytes),
            wal_bytes: get(&self.wal_bytes),
            tail_bytes: get(&self.tail_bytes),
            arena_bytes: get(&self.arena_bytes),
            checkpoints: get(&self.checkpoints),
            batches_appended: get(&self.batches),
            bytes_appended: get(&self.bytes),
            records_appended: get(&self.records),
            corrupt_batches: get(&self.corrupt),
            reads_waited: Duration::from_nanos(get(&self.reads_waited_ns)),
            appends_without_room: get(&self.no_room),
            direct_io: self.direct_io.load(Ordering::Relaxed),
            recovered_batches: get(&self.recovered_batches),
            compactions: get(&self.compactions),
            compactions_stopped: get(&self.compactions_stopped),
        }
    }
}
