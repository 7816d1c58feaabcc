//! What the storage tasks share: queues towards the committer, partitions, topics, failure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use rivven_io::Env;
use rivven_io::clock::Monotonic;
use tokio::sync::{Notify, oneshot};

use crate::ids::{Offset, PartitionId};
use crate::log::segment::{Segment, SegmentName};
use crate::metadata::command::MetadataCommand;
use crate::metadata::image::MetadataImage;
use crate::record::validate::ValidBatch;
use crate::storage::error::{AppendError, StorageFailed};
use crate::storage::files::FileCache;
use crate::storage::indexes::IndexCache;
use crate::storage::layout::Layout;
use crate::storage::metadata_change::MetadataTurn;
use crate::storage::options::StorageOptions;
use crate::storage::pace::Pace;
use crate::storage::partition::Partition;
use crate::storage::recent::Recent;
use crate::storage::stats::Stats;
use crate::storage::wal::record::Rolled;
use crate::storage::wal::replay::WalPosition;

/// A batch to append. Its CRC is checked, and `header` describes it.
pub struct AppendRequest {
    pub partition: Arc<Partition>,
    pub batch: Bytes,
    pub header: ValidBatch,
    /// Who hears of the outcome, and under which token.
    pub sink: Arc<dyn AppendSink>,
    pub token: u64,
}

/// Who waits for appends. Both calls come from the committer and must not block.
pub trait AppendSink: Send + Sync {
    /// The batch is as durable as the sync policy promises, or it was refused.
    fn appended(&self, token: u64, outcome: Result<Appended, AppendError>);
    /// All outcomes of one commit for this sink were given.
    fn flush(&self);
}

/// A batch in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    pub log_start: Offset,
    /// It was there already (KIP-98); `base_offset` is where.
    pub duplicate: bool,
}

/// A change of state on its way through the WAL.
pub(crate) enum Change {
    /// Topic metadata; applied to the image once durable, and nobody plans against that before.
    Metadata { commands: Vec<MetadataCommand>, turn: MetadataTurn },
    /// A partition's log start moves up.
    LogStart { partition: Arc<Partition>, to: Offset },
    /// A segment that the cleaner wrote, durable under its name, takes the place of those that it
    /// stands for; what lies before `cleaned` was compared.
    Compacted { partition: Arc<Partition>, segment: Segment, cleaned: Offset },
    /// Pages of segments that are about to be written again.
    Pages(Vec<PageImage>),
    /// A start closed a segment whose end cannot be read.
    Rolled { partition: PartitionId, rolled: Rolled },
    /// Nothing; answered when everything that was applied before is published.
    Barrier,
    /// A checkpoint covers everything through this place.
    Checkpointed(WalPosition),
}

/// The front part of a page that was durable before.
pub(crate) struct PageImage {
    pub(crate) partition: PartitionId,
    pub(crate) segment_base: Offset,
    pub(crate) position: u64,
    pub(crate) bytes: Bytes,
}

/// One entry of the committer's queue.
pub(crate) enum Request {
    Append(AppendRequest),
    Change {
        change: Change,
        done: oneshot::Sender<Result<WalPosition, StorageFailed>>,
    },
    /// Ends the committer after what was queued before.
    Close,
}

impl Request {
    /// Whether a checkpoint or the writer, which make room, wait for it; so it must not wait for
    /// room itself.
    fn is_urgent(&self) -> bool {
        let Request::Change { change, .. } = self else { return false };
        match change {
            Change::Pages(_)
            | Change::Rolled { .. }
            | Change::Barrier
            | Change::Checkpointed(_) => true,
            Change::Metadata { .. } | Change::LogStart { .. } | Change::Compacted { .. } => false,
        }
    }
}

pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) options: StorageOptions,
    pub(crate) layout: Layout,
    pub(crate) cluster_id: String,
    pub(crate) files: FileCache,
    pub(crate) indexes: IndexCache,
    pub(crate) stats: Stats,
    /// What reads leave to commits.
    pub(crate) pace: Pace,
    /// Batches that their segments hold and that are kept in memory for readers.
    pub(crate) recent: Recent,
    queue: Mutex<Vec<Request>>,
    pub(crate) queue_filled: Notify,
    /// Wakes the committer while it waits for memory or for a WAL file.
    pub(crate) urgent: Notify,
    partitions: RwLock<BTreeMap<PartitionId, Arc<Partition>>>,
    /// Topics, and the number of the last command applied to them.
    image: RwLock<(Arc<MetadataImage>, u64)>,
    /// Partitions with a tail, the one that waits longest first.
    write_queue: Mutex<VecDeque<Arc<Partition>>>,
    /// Wakes the writer: there is something to copy, and perhaps it hurries.
    pub(crate) write_wanted: Notify,
    /// Whether the writer should copy even little.
    pub(crate) write_all: AtomicBool,
    /// Wakes the committer and the checkpointer: batches were copied, memory is free again.
    pub(crate) written: Notify,
    pub(crate) written_for_checkpoint: Notify,
    /// Wakes the checkpointer.
    pub(crate) checkpoint_wanted: Notify,
    /// Wakes the cleaner, to end.
    pub(crate) cleaner_wanted: Notify,
    /// Whether the committer waits for a WAL file, which only a checkpoint frees.
    pub(crate) ring_full: AtomicBool,
    /// Partitions changed since the last checkpoint.
    dirty: Mutex<BTreeMap<PartitionId, Arc<Partition>>>,
    /// Partitions whose folders are to be removed.
    condemned: Mutex<Vec<Condemned>>,
    /// Segment files written since they were last synced.
    touched: Mutex<BTreeMap<(PartitionId, Offset), Arc<Partition>>>,
    /// Small files and folders whose contents or names changed since they were last synced.
    new_names: Mutex<(BTreeSet<PathBuf>, BTreeSet<PathBuf>)>,
    /// Held while partition folders are made or set aside: the topic folders that a checkpoint
    /// counts or that this life has made.
    pub(crate) folders: tokio::sync::Mutex<BTreeSet<PathBuf>>,
    /// Held by who removes what was set aside.
    pub(crate) remover: tokio::sync::Mutex<()>,
    /// Somebody waits to be the next.
    pub(crate) is_remover_wanted: AtomicBool,
    failure: OnceLock<StorageFailed>,
    failed: Notify,
    pub(crate) closing: AtomicBool,
    /// The last checkpoint is made: the writer has nothing to come.
    pub(crate) writer_may_end: AtomicBool,
}

/// Files that nobody may read any more, to be removed when they are due.
pub(crate) struct Condemned {
    pub(crate) files: CondemnedFiles,
    pub(crate) due: Monotonic,
}

pub(crate) enum CondemnedFiles {
    /// All of a deleted partition.
    Partition(Arc<Partition>),
    /// Segments below the log start, or ones that the cleaner replaced.
    Segments(Arc<Partition>, Vec<SegmentName>),
}

/// Fails storage when a task ends that must not: it panicked. Without it everyone would wait.
pub(crate) struct EndGuard {
    shared: Arc<Shared>,
    task: &'static str,
    is_expected: bool,
}

impl EndGuard {
    pub(crate) fn new(shared: Arc<Shared>, task: &'static str) -> EndGuard {
        EndGuard { shared, task, is_expected: false }
    }

    /// The task ends as it should.
    pub(crate) fn expected(mut self) {
        self.is_expected = true;
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if !self.is_expected {
            self.shared.end(&format!("{} ended by a mistake of its own", self.task));
        }
    }
}

pub(crate) struct SharedParts {
    pub(crate) env: Env,
    pub(crate) options: StorageOptions,
    pub(crate) layout: Layout,
    pub(crate) cluster_id: String,
    pub(crate) image: MetadataImage,
    /// Number of the last command applied to the image.
    pub(crate) commands: u64,
    pub(crate) partitions: BTreeMap<PartitionId, Arc<Partition>>,
    /// Whether segments can be written past the page cache.
    pub(crate) direct: bool,
}

impl Shared {
    pub(crate) fn new(parts: SharedParts) -> Shared {
        let open_max = parts.options.open_files_max;
        let files = FileCache::new(parts.env.clone(), open_max, parts.direct);
        let recent = Recent::new(parts.options.tail_bytes_max as u64 / 4);
        Shared {
            env: parts.env,
            options: parts.options,
            layout: parts.layout,
            cluster_id: parts.cluster_id,
            files,
            indexes: IndexCache::default(),
            stats: Stats::default(),
            pace: Pace::default(),
            recent,
            queue: Mutex::new(Vec::new()),
            queue_filled: Notify::new(),
            urgent: Notify::new(),
            partitions: RwLock::new(parts.partitions),
            image: RwLock::new((Arc::new(parts.image), parts.commands)),
            write_queue: Mutex::new(VecDeque::new()),
            write_wanted: Notify::new(),
            write_all: AtomicBool::new(false),
            written: Notify::new(),
            written_for_checkpoint: Notify::new(),
            checkpoint_wanted: Notify::new(),
            cleaner_wanted: Notify::new(),
            ring_full: AtomicBool::new(false),
            dirty: Mutex::new(BTreeMap::new()),
            condemned: Mutex::new(Vec::new()),
            touched: Mutex::new(BTreeMap::new()),
            new_names: Mutex::default(),
            folders: tokio::sync::Mutex::default(),
            remover: tokio::sync::Mutex::default(),
            is_remover_wanted: AtomicBool::new(false),
            failure: OnceLock::new(),
            failed: Notify::new(),
            closing: AtomicBool::new(false),
            writer_may_end: AtomicBool::new(false),
        }
    }

    /// Queues a request for the committer.
    pub(crate) fn submit(&self, request: Request) {
        let urgent = request.is_urgent();
        let first = {
            let mut queue = lock(&self.queue);
            queue.push(request);
            queue.len() == 1
        };
        if urgent {
            self.urgent.notify_one();
        }
        if first {
            self.queue_filled.notify_one();
        }
    }

    /// Everything queued but what makes room, in order; `into` must be empty.
    pub(crate) fn take_queue(&self, into: &mut Vec<Request>) {
        assert!(into.is_empty(), "requests are handled before more are taken");
        let mut queue = lock(&self.queue);
        if queue.iter().any(Request::is_urgent) {
            let (urgent, rest) = queue.drain(..).partition(Request::is_urgent);
            *queue = urgent;
            *into = rest;
            if !queue.is_empty() {
                self.urgent.notify_one();
                self.queue_filled.notify_one();
            }
        } else {
            std::mem::swap(&mut *queue, into);
        }
    }

    /// Takes the queued changes that make room; the rest keeps its order.
    pub(crate) fn take_urgent(&self) -> Vec<Request> {
        let mut queue = lock(&self.queue);
        let (urgent, rest) = queue.drain(..).partition(Request::is_urgent);
        *queue = rest;
        urgent
    }

    /// Waits until commits leave time for a read from the disk.
    pub(crate) async fn give_way(&self) {
        let waited = self.pace.turn(&self.env.clock).await;
        self.stats.note_read_waited(waited);
    }

    /// Sends a change through the WAL and waits until it is durable and applied.
    pub(crate) async fn change(&self, change: Change) -> Result<WalPosition, StorageFailed> {
        let (done, answer) = oneshot::channel();
        self.submit(Request::Change { change, done });
        tokio::select! {
            biased;
            answer = answer => match answer {
                Ok(result) => result,
                Err(_) => Err(self.failure_or("the committer has ended")),
            },
            // A committer that has ended by a mistake leaves what was in its queue there.
            failure = self.until_failed() => Err(failure),
        }
    }

    pub(crate) fn partition(&self, id: PartitionId) -> Option<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(crate) fn partition_count(&self) -> usize {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn all_partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn with_partitions<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<PartitionId, Arc<Partition>>) -> T,
    ) -> T {
        change(&mut self.partitions.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Topics as of now, and the number of the last command applied to them.
    pub(crate) fn image(&self) -> (Arc<MetadataImage>, u64) {
        self.image.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_image(&self, image: MetadataImage, commands: u64) {
        *self.image.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(image), commands);
    }

    /// Puts a partition with a tail into the writer's queue; the caller set `queued`.
    pub(crate) fn queue_write(&self, partition: Arc<Partition>) {
        lock(&self.write_queue).push_back(partition);
    }

    /// The partition whose tail waits longest.
    pub(crate) fn next_write(&self) -> Option<Arc<Partition>> {
        lock(&self.write_queue).pop_front()
    }

    pub(crate) fn writes_waiting(&self) -> usize {
        lock(&self.write_queue).len()
    }

    /// Notes that a partition has changed since the last checkpoint; the caller set `dirty`.
    pub(crate) fn note_dirty(&self, partition: Arc<Partition>) {
        lock(&self.dirty).insert(partition.id(), partition);
    }

    /// All partitions changed since the last call.
    pub(crate) fn take_dirty(&self) -> BTreeMap<PartitionId, Arc<Partition>> {
        std::mem::take(&mut lock(&self.dirty))
    }

    pub(crate) fn has_dirty(&self) -> bool {
        !lock(&self.dirty).is_empty()
    }

    /// Notes that a segment's file must be synced by the next checkpoint.
    pub(crate) fn touch(&self, partition: Arc<Partition>, base: Offset) {
        lock(&self.touched).insert((partition.id(), base), partition);
    }

    /// Notes that a folder's entries must be synced by the next checkpoint.
    pub(crate) fn note_folder(&self, path: PathBuf) {
        lock(&self.new_names).1.insert(path);
    }

    /// Notes that a small file must be synced by the next checkpoint.
    pub(crate) fn note_file(&self, path: PathBuf) {
        lock(&self.new_names).0.insert(path);
    }

    /// Small files and folders noted since the last call.
    pub(crate) fn take_new_names(&self) -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
        std::mem::take(&mut lock(&self.new_names))
    }

    /// Segment files written since the last call.
    pub(crate) fn take_touched(&self) -> BTreeMap<(PartitionId, Offset), Arc<Partition>> {
        std::mem::take(&mut lock(&self.touched))
    }

    /// Has files removed after `delay_ms` (`file.delete.delay.ms`).
    pub(crate) fn condemn(&self, files: CondemnedFiles, delay_ms: u64) {
        let due = self.env.clock.now().after(Duration::from_millis(delay_ms));
        lock(&self.condemned).push(Condemned { files, due });
    }

    /// Condemned files that are due now.
    pub(crate) fn take_condemned(&self) -> Vec<CondemnedFiles> {
        let now = self.env.clock.now();
        let mut condemned = lock(&self.condemned);
        let (due, later) = condemned.drain(..).partition(|entry| entry.due <= now);
        *condemned = later;
        let due: Vec<Condemned> = due;
        due.into_iter().map(|entry| entry.files).collect()
    }

    /// Marks storage as failed for good; the first reason stays.
    pub(crate) fn fail(&self, reason: &str) -> StorageFailed {
        if self.failure.get().is_none() {
            rivven_io::probe!("storage_failed");
        }
        self.end(reason)
    }

    /// As [`Shared::fail`], also where a process that is killed drops its tasks.
    fn end(&self, reason: &str) -> StorageFailed {
        let failure = self.failure.get_or_init(|| {
            tracing::error!(reason, "storage failed, nothing more is acknowledged");
            StorageFailed { reason: reason.to_owned() }
        });
        self.failed.notify_waiters();
        for wake in [&self.queue_filled, &self.urgent, &self.write_wanted, &self.checkpoint_wanted]
        {
            wake.notify_one();
        }
        self.cleaner_wanted.notify_one();
        self.written.notify_one();
        self.written_for_checkpoint.notify_one();
        failure.clone()
    }

    pub(crate) fn failure(&self) -> Option<&StorageFailed> {
        self.failure.get()
    }

    fn failure_or(&self, reason: &str) -> StorageFailed {
        self.failure().cloned().unwrap_or_else(|| StorageFailed { reason: reason.to_owned() })
    }

    /// Resolves once storage has failed.
    pub(crate) async fn until_failed(&self) -> StorageFailed {
        loop {
            let notified = self.failed.notified();
            if let Some(failure) = self.failure() {
                return failure.clone();
            }
            notified.await;
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
