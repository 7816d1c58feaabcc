//! Storage of one broker: the only part of the core that awaits.
//!
//! ```text
//!  append ──► committer ──► WAL (synced) ──► tail ──► writer ──► segments
//!                 │ answers                    ▲                    │ synced by
//!  read ──────────┼────────────────────────────┴────────────────────┤ the checkpointer,
//!                 └── frees WAL files ◄──────── checkpoint ◄────────┘ which frees the WAL
//! ```
//!
//! The cleaner writes closed segments of compacted topics anew, beside the others.

mod apply;
pub mod checkpoint_file;
mod checkpointer;
mod cleaner;
mod committer;
mod damage;
pub mod directory;
mod earlier_life;
pub mod error;
mod files;
mod folder;
mod housekeeping;
mod indexes;
pub mod layout;
pub mod metadata_change;
pub mod options;
mod pace;
pub mod partition;
pub mod read;
#[cfg(test)]
#[path = "../tests/support/real_world.rs"]
mod real_world;
mod recent;
mod recovery;
mod replayer;
#[cfg(test)]
mod sample;
mod segment_end;
mod segment_read;
pub mod segment_walk;
mod segment_write;
pub mod shared;
mod stage;
pub mod stats;
#[cfg(test)]
#[path = "../tests/support/storage_fixture.rs"]
mod storage_fixture;
mod stored;
mod syncing;
mod timestamps;
pub mod verify;
pub mod wal;
mod writer;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rivven_io::Env;
use rivven_io::disk::Lock;
use rivven_io::task::Task;

use crate::ids::{Offset, PartitionId, ProducerId, TimestampMs};
use crate::metadata::image::MetadataImage;
use crate::storage::checkpointer::Checkpointer;
use crate::storage::committer::{Committer, CommitterParts};
use crate::storage::error::{AppendError, OpenError, ReadError, StorageFailed};
use crate::storage::layout::Layout;
use crate::storage::metadata_change::{MetadataChange, MetadataLock};
use crate::storage::options::StorageOptions;
use crate::storage::partition::Partition;
use crate::storage::read::{ReadAnswer, ReadRequest};
use crate::storage::recovery::{RecoveryParts, recover};
use crate::storage::shared::{AppendRequest, Change, EndGuard, Request, Shared};
use crate::storage::stats::StorageStats;

/// An open data directory. Clones share it.
#[derive(Clone)]
pub struct Storage {
    shared: Arc<Shared>,
    metadata: Arc<MetadataLock>,
    running: Arc<Running>,
}

/// What ends with the storage.
struct Running {
    tasks: Mutex<Option<RunningTasks>>,
}

struct RunningTasks {
    committer: Task<()>,
    writer: Task<()>,
    checkpointer: Task<()>,
    cleaner: Task<()>,
    _lock: Lock,
}

impl Storage {
    /// Opens (or makes) the data directory, replays everything acknowledged, and starts the
    /// committer, the writer, the checkpointer and the cleaner. When it returns, all that is
    /// visible is durable as the sync policy says.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(env: &Env, options: StorageOptions) -> Result<Storage, OpenError> {
        let layout = Layout { root: options.data_dir.clone() };
        let directory = directory::open(env, &layout, &options).await?;
        let start = directory.meta.starts;
        let recovered = recover(RecoveryParts {
            env: env.clone(),
            layout,
            options,
            cluster_id: directory.meta.cluster_id,
        })
        .await?;
        let shared = recovered.shared;
        let parts = CommitterParts { shared: shared.clone(), ring: recovered.ring, start };
        let tasks = &env.tasks;
        // Made here, so that also a thread that cannot be started is noticed.
        let guard = |task| EndGuard::new(shared.clone(), task);
        let committer = Committer::new(parts).run(guard("the committer"));
        let committer = tasks.spawn_dedicated("wal-committer", committer);
        let writer = writer::run(shared.clone(), guard("the writer"));
        let writer = tasks.spawn_dedicated("segment-writer", writer);
        let span = (&recovered.shape, recovered.checkpoint.wal, recovered.end);
        replayer::replay(&shared, span, recovered.rolled).await?;
        shared.recent.begin();
        let checkpointer = Checkpointer::new(shared.clone(), &recovered.checkpoint);
        let checkpointer = checkpointer.run(guard("the checkpointer"));
        let checkpointer = tasks.spawn_dedicated("checkpointer", checkpointer);
        let cleaner = cleaner::run(shared.clone(), guard("the cleaner"));
        let cleaner = tasks.spawn_dedicated("cleaner", cleaner);
        let lock = directory.lock;
        let running = RunningTasks { committer, writer, checkpointer, cleaner, _lock: lock };
        Ok(Storage {
            metadata: MetadataLock::new(shared.clone()),
            shared,
            running: Arc::new(Running { tasks: Mutex::new(Some(running)) }),
        })
    }

    /// Batches that the WAL gave back when the directory was opened.
    #[must_use]
    pub fn recovered_batches(&self) -> u64 {
        self.shared.stats.recovered_batches.load(Ordering::Relaxed)
    }

    /// Partitions in all for which the WAL has room, [`StorageOptions::partitions_max`].
    #[must_use]
    pub fn partitions_max(&self) -> u64 {
        self.shared.options.partitions_max()
    }

    /// 22 characters of base64url.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.shared.cluster_id
    }

    /// Topics as of now.
    #[must_use]
    pub fn image(&self) -> Arc<MetadataImage> {
        self.shared.image().0
    }

    /// Waits until no one else changes topics; the guard plans against a fresh image.
    pub async fn change_metadata(&self) -> MetadataChange {
        self.metadata.enter().await
    }

    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<Arc<Partition>> {
        self.shared.partition(id)
    }

    /// Queues a batch. Its sink hears of it after the sync that covers it, or of its refusal.
    /// Batches of one caller to one partition are appended in the order of the calls.
    pub fn append(&self, request: AppendRequest) {
        if self.shared.is_closing() {
            // What came now would wait for a writer that is about to end.
            return committer::refuse(request, AppendError::Failed(committer::closing()));
        }
        self.shared.submit(Request::Append(request));
    }

    /// Reads whole batches that consumers may see.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(
        &self,
        partition: &Arc<Partition>,
        request: ReadRequest,
    ) -> Result<ReadAnswer, ReadError> {
        read::read(&self.shared, partition, request).await
    }

    /// How long [`Storage::give_way`] would wait now, at most 100 ms.
    #[must_use]
    pub fn reads_rest(&self) -> Duration {
        self.shared.pace.rest(self.shared.env.clock.now())
    }

    /// Waits until commits leave time for a `cold` read. To be called before each that may be one
    /// of many, as a consumer's may; the broker's own need not.
    pub async fn give_way(&self) {
        self.shared.give_way().await;
    }

    /// The first record, in the order of offsets, whose timestamp is `at_least` or more.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn find_timestamp(
        &self,
        partition: &Arc<Partition>,
        at_least: TimestampMs,
    ) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        timestamps::find(&self.shared, partition, at_least).await
    }

    /// The first record with the largest timestamp.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn max_timestamp(
        &self,
        partition: &Arc<Partition>,
    ) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        timestamps::max(&self.shared, partition).await
    }

    /// Timestamp of the first record at `from` or behind it, `None` if there is none yet, and the
    /// bytes of batches that were read for it: usually one batch.
    ///
    /// # Errors
    /// See [`ReadError`]; `Corrupt` also for a batch that unpacks to more than
    /// `FIRST_RECORD_UNPACKED_BYTES_MAX`.
    pub async fn first_timestamp(
        &self,
        partition: &Arc<Partition>,
        from: Offset,
    ) -> Result<(Option<TimestampMs>, usize), ReadError> {
        timestamps::first(&self.shared, partition, from).await
    }

    /// Moves a partition's log start up to `to`, at most to the high watermark; the new log
    /// start. Durable when it returns.
    ///
    /// # Errors
    /// `Gone`, or `Failed`.
    pub async fn move_log_start(
        &self,
        partition: &Arc<Partition>,
        to: Offset,
    ) -> Result<Offset, AppendError> {
        if partition.lock().deleted {
            return Err(AppendError::Gone(partition.id()));
        }
        let to = to.min(partition.positions().high_watermark);
        self.shared.change(Change::LogStart { partition: partition.clone(), to }).await?;
        Ok(partition.positions().log_start)
    }

    /// A producer id that was never given out before, in this life of the directory or another.
    ///
    /// # Errors
    /// Storage has failed.
    pub async fn allocate_producer_id(&self) -> Result<ProducerId, StorageFailed> {
        self.metadata.allocate_producer_id().await
    }

    /// Resolves once storage has failed for good.
    pub async fn failed(&self) -> StorageFailed {
        self.shared.until_failed().await
    }

    /// Copies everything to its segments, writes a checkpoint and ends all tasks. Requests that
    /// come later are not answered.
    ///
    /// # Errors
    /// Storage has failed, now or before.
    pub async fn shutdown(&self) -> Result<(), StorageFailed> {
        let tasks = self.running.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(tasks) = tasks else { return Ok(()) };
        self.shared.closing.store(true, Ordering::Release);
        // A committer that waits for memory looks again.
        self.shared.urgent.notify_one();
        self.shared.cleaner_wanted.notify_one();
        let _ = tasks.cleaner.await;
        self.shared.checkpoint_wanted.notify_one();
        let _ = tasks.checkpointer.await;
        self.shared.writer_may_end.store(true, Ordering::Release);
        self.shared.write_wanted.notify_one();
        let _ = tasks.writer.await;
        self.shared.submit(Request::Close);
        let _ = tasks.committer.await;
        match self.shared.failure() {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    /// Fails storage for a reason that lies outside it: nothing more is acknowledged, and
    /// [`Storage::failed`] resolves.
    pub fn fail(&self, reason: &str) {
        self.shared.fail(reason);
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> StorageStats {
        self.shared.stats.snapshot()
    }

    /// Everything that an expensive check can hold against each other, for tests and simulation.
    ///
    /// # Panics
    /// When an invariant is broken.
    pub fn check_all(&self) {
        for partition in self.shared.all_partitions() {
            let state = partition.lock();
            state.log.check_all();
            state.check();
        }
    }
}
