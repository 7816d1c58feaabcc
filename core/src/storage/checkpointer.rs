//! The checkpointer: makes segments durable while the broker runs, so that the WAL's files become
//! free and recovery stays short. It also applies retention and removes what nobody may read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rivven_io::clock::Monotonic;
use rivven_io::disk::{Create, Disk, File, OpenOptions};

use crate::ids::{Offset, PartitionId};
use crate::log::segment::SegmentName;
use crate::storage::checkpoint_file::{CHECKPOINT_BYTES_MAX, Checkpoint, encode_log};
use crate::storage::error::lacks_room;
use crate::storage::housekeeping;
use crate::storage::partition::{Partition, Trust};
use crate::storage::shared::{Change, CondemnedFiles, EndGuard, Shared};
use crate::storage::syncing;

/// Room for a checkpoint's file is reserved in steps of so many bytes.
const ROOM_STEP_BYTES: u64 = 64 << 10;

/// The state that only the checkpointer touches.
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    /// Sequence of the last durable checkpoint.
    sequence: u64,
    /// Encoded state of every partition that ever held something.
    partitions: BTreeMap<PartitionId, Bytes>,
    /// Number of the last metadata command in the last checkpoint.
    commands: u64,
    /// Partitions whose begun checkpoint is not durable yet, and how many replaced segments it no
    /// longer counts.
    begun: BTreeMap<PartitionId, (Arc<Partition>, usize)>,
    /// Whether the last checkpoint found no room on the disk, and must be made up for.
    owed: bool,
    retention_due: Monotonic,
    checkpoint_due: Monotonic,
}

/// One partition to be made durable through a place.
struct Goal {
    partition: Arc<Partition>,
    end: (Offset, u64),
    encoded: Bytes,
    /// Segments that the cleaner has replaced, and that this checkpoint no longer counts.
    replaced: usize,
}

impl Checkpointer {
    pub(crate) fn new(shared: Arc<Shared>, last: &Checkpoint) -> Checkpointer {
        let now = shared.env.clock.now();
        Checkpointer {
            retention_due: now.after(shared.options.retention_interval),
            checkpoint_due: now.after(shared.options.checkpoint_interval),
            sequence: last.sequence,
            partitions: last.partitions.clone(),
            commands: last.commands,
            begun: BTreeMap::new(),
            owed: false,
            shared,
        }
    }

    /// Runs until storage fails or closes; closing ends with a checkpoint of everything.
    pub(crate) async fn run(mut self, ended: EndGuard) {
        if let Err(error) = housekeeping::remove_strays(&self.shared).await {
            tracing::warn!(%error, "removing what a crash left behind; the next start tries again");
        }
        loop {
            let now = self.shared.env.clock.now();
            let next = self.retention_due.min(self.checkpoint_due);
            let wait = next.since(now);
            if !self.shared.is_closing() {
                tokio::select! {
                    biased;
                    () = self.shared.checkpoint_wanted.notified() => {}
                    () = self.shared.env.clock.sleep(wait) => {}
                }
            }
            if self.shared.failure().is_some() {
                return ended.expected();
            }
            let closing = self.shared.is_closing();
            if let Err(reason) = self.turn().await {
                self.shared.fail(&reason);
                return ended.expected();
            }
            if closing {
                return ended.expected();
            }
        }
    }

    async fn turn(&mut self) -> Result<(), String> {
        let now = self.shared.env.clock.now();
        if now >= self.retention_due {
            self.retention_due = now.after(self.shared.options.retention_interval);
            housekeeping::apply_retention(&self.shared);
        }
        self.checkpoint_due = now.after(self.shared.options.checkpoint_interval);
        let (_, commands) = self.shared.image();
        let (used, all) = (
            self.shared.stats.wal_used_bytes.load(Ordering::Relaxed),
            self.shared.stats.wal_bytes.load(Ordering::Relaxed),
        );
        // Page images alone can fill the WAL, too, and keep a file that a checkpoint began in.
        let is_full = self.shared.ring_full.swap(false, Ordering::AcqRel) || used * 2 > all;
        if self.owed || self.shared.has_dirty() || commands != self.commands || is_full {
            self.checkpoint().await?;
        }
        housekeeping::remove_condemned(&self.shared).await
    }

    async fn checkpoint(&mut self) -> Result<(), String> {
        let failed = |failure: crate::storage::error::StorageFailed| failure.reason;
        let wal = self.shared.change(Change::Barrier).await.map_err(failed)?;
        let goals = self.begin();
        // Everything that the snapshots count is published only after this.
        self.shared.change(Change::Barrier).await.map_err(failed)?;
        self.wait_until_written(&goals).await?;
        if self.shared.env.buggify("checkpoint_after_write") {
            self.shared.env.clock.sleep(std::time::Duration::from_millis(50)).await;
        }
        if !rivven_io::planted!("B03") {
            self.sync_segments().await?;
        }
        let (image, commands) = self.shared.image();
        for goal in goals {
            self.partitions.insert(goal.partition.id(), goal.encoded);
            self.begun.insert(goal.partition.id(), (goal.partition, goal.replaced));
        }
        self.partitions.retain(|id, _| image.topic_by_id(id.topic).is_some());
        let checkpoint = Checkpoint {
            sequence: self.sequence + 1,
            wal,
            commands,
            image: image.snapshot().into(),
            partitions: self.partitions.clone(),
        };
        assert!(wal.lsn.0 > 0 || commands > 0, "a checkpoint counts something");
        // Without it the last checkpoint and the WAL behind it still tell everything.
        self.owed = !self.write(&checkpoint).await?;
        if self.owed {
            return Ok(());
        }
        for (partition, replaced) in std::mem::take(&mut self.begun).into_values() {
            self.settle(partition, replaced);
        }
        self.sequence += 1;
        self.commands = commands;
        self.shared.change(Change::Checkpointed(wal)).await.map_err(failed)?;
        self.shared.stats.checkpoints.fetch_add(1, Ordering::Relaxed);
        housekeeping::export_topics(&self.shared, &image).await
    }

    /// Notes that a partition's begun checkpoint is durable: only now nobody needs the files of
    /// segments that it no longer counts, not even a start after a crash.
    fn settle(&self, partition: Arc<Partition>, replaced: usize) {
        let names: Vec<SegmentName> = {
            let mut state = partition.lock();
            state.durable = state.begun;
            assert!(replaced <= state.replaced.len(), "only a checkpoint settles them");
            state.replaced.drain(..replaced).collect()
        };
        if !names.is_empty() {
            let delay_ms = partition.config().file_delete_delay_ms;
            self.shared.condemn(CondemnedFiles::Segments(partition, names), delay_ms);
        }
    }

    /// Takes a snapshot of every changed partition; from here on its end counts as trusted.
    fn begin(&self) -> Vec<Goal> {
        let mut goals = Vec::new();
        for partition in self.shared.take_dirty().into_values() {
            let mut state = partition.lock();
            state.dirty = false;
            if state.deleted {
                continue;
            }
            let end = (state.log.active().base, state.log.active().bytes);
            assert!(end >= state.begun.end, "what is trusted never shrinks");
            state.begun = Trust { end, page_logged: false };
            let encoded = encode_log(&state.log);
            let replaced = state.replaced.len();
            drop(state);
            goals.push(Goal { partition, end, encoded, replaced });
        }
        goals
    }

    /// Waits until the writer has copied all that the snapshots count.
    async fn wait_until_written(&self, goals: &[Goal]) -> Result<(), String> {
        for goal in goals {
            loop {
                if let Some(failure) = self.shared.failure() {
                    return Err(failure.reason.clone());
                }
                let written = {
                    let state = goal.partition.lock();
                    state.deleted || state.flushed() >= goal.end && state.closed_through(goal.end.0)
                };
                if written {
                    break;
                }
                self.shared.write_all.store(true, Ordering::Release);
                self.shared.write_wanted.notify_one();
                self.shared.written_for_checkpoint.notified().await;
            }
        }
        Ok(())
    }

    /// Makes every segment written since the last checkpoint durable, and its name.
    async fn sync_segments(&self) -> Result<(), String> {
        let touched = self.shared.take_touched().into_iter();
        let touched = touched.map(|((_, base), partition)| (base, partition)).collect();
        let shared = self.shared.clone();
        let sync = move |(base, partition)| sync_segment(shared.clone(), partition, base);
        syncing::each(&self.shared.env.tasks, touched, sync).await?;
        self.sync_names().await
    }

    async fn sync_names(&self) -> Result<(), String> {
        let (files, folders) = self.shared.take_new_names();
        let env = &self.shared.env;
        let disk = env.disk.clone();
        let sync = move |path| sync_file(disk.clone(), path);
        syncing::each(&env.tasks, files.into_iter().collect(), sync).await?;
        if rivven_io::planted!("B02") {
            return Ok(());
        }
        let disk = env.disk.clone();
        let sync = move |path| sync_folder(disk.clone(), path);
        syncing::each(&env.tasks, folders.into_iter().collect(), sync).await
    }

    /// Writes a checkpoint over the older of the two and makes it durable; whether the disk had
    /// room for it.
    async fn write(&self, checkpoint: &Checkpoint) -> Result<bool, String> {
        let path: PathBuf = self.shared.layout.checkpoint(checkpoint.sequence % 2 == 1);
        let bytes = checkpoint.encode();
        assert!(bytes.len() as u64 <= CHECKPOINT_BYTES_MAX, "what is written can be read back");
        let failed = |error: std::io::Error| format!("writing {}: {error}", path.display());
        let file = match self.overwrite(&path, bytes).await {
            Ok(file) => file,
            Err(error) if lacks_room(&error) => {
                tracing::warn!(%error, "no room for a checkpoint; it is made when there is some");
                return Ok(false);
            }
            Err(error) => return Err(failed(error)),
        };
        if rivven_io::planted!("B03") {
            return Ok(true);
        }
        file.sync_data().await.map_err(failed)?;
        self.shared.env.disk.sync_dir(&self.shared.layout.root).await.map_err(failed)?;
        Ok(true)
    }

    async fn overwrite(&self, path: &Path, bytes: Bytes) -> std::io::Result<File> {
        let file = self.shared.env.disk.open(path, OpenOptions::write(Create::IfMissing)).await?;
        let len = bytes.len() as u64;
        file.allocate(len).await?;
        file.write_all_at(0, vec![bytes]).await?;
        file.set_len(len).await?;
        // Room for the next one, which a disk that fills up meanwhile must not keep from being
        // made. Only now: to set the length gives back what is reserved beyond it.
        if let Err(error) = file.allocate((len + len / 4).next_multiple_of(ROOM_STEP_BYTES)).await {
            tracing::debug!(%error, "no room is reserved for the next checkpoint");
        }
        Ok(file)
    }
}

async fn sync_segment(
    shared: Arc<Shared>,
    partition: Arc<Partition>,
    base: Offset,
) -> Result<(), String> {
    if partition.lock().deleted {
        return Ok(());
    }
    let name = SegmentName::appended(base);
    let synced =
        async { shared.files.segment(&partition, name, Create::Never).await?.sync_data().await };
    match synced.await {
        Err(error) if partition.lock().wants_segment(base) => {
            Err(format!("syncing segment {base} of {}: {error}", partition.id()))
        }
        _ => Ok(()),
    }
}

async fn sync_file(disk: Disk, path: PathBuf) -> Result<(), String> {
    let options = OpenOptions::write(Create::Never);
    let synced = async { disk.open(&path, options).await?.sync_data().await };
    forgive_missing(synced.await).map_err(|error| format!("syncing {}: {error}", path.display()))
}

async fn sync_folder(disk: Disk, path: PathBuf) -> Result<(), String> {
    forgive_missing(disk.sync_dir(&path).await)
        .map_err(|error| format!("syncing folder {}: {error}", path.display()))
}

/// A file that was removed meanwhile needs no sync.
fn forgive_missing(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
