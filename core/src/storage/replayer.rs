//! Applies replayed commits to the recovered state.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use rivven_io::disk::Create;

use crate::ids::{Offset, PartitionId, ProducerId, TimestampMs};
use crate::log::machine::{Placement, Replayed};
use crate::log::segment::{Segment, SegmentName};
use crate::metadata::command::MetadataCommand;
use crate::record::header::BatchHeader;
use crate::storage::apply::{apply_change, apply_metadata};
use crate::storage::damage;
use crate::storage::error::OpenError;
use crate::storage::folder;
use crate::storage::layout;
use crate::storage::partition::{Partition, TailEntry};
use crate::storage::segment_end;
use crate::storage::shared::{Change, Shared};
use crate::storage::stage::roll_rules;
use crate::storage::stored::stored_batch;
use crate::storage::wal::record::{Rolled, WalRecord};
use crate::storage::wal::replay::{Replay, ReplayedCommit, RingShape, WalPosition};
use crate::storage::writer::PAGE_BYTES;

/// Applies every commit after the checkpoint, through `end`; `rolled` is what earlier starts have
/// closed since.
pub(crate) async fn replay(
    shared: &Arc<Shared>,
    (shape, from, end): (&RingShape, WalPosition, WalPosition),
    rolled: BTreeMap<PartitionId, Vec<Rolled>>,
) -> Result<(), OpenError> {
    let mut replayer = Replayer::new(shared, rolled);
    let env = shared.env.clone();
    // Before the writer touches a segment: what it writes would hide that the rest is missing.
    let damages = damage::find(shared).await?;
    let mut replay = Replay::new(&env, shape, from);
    while replay.position().lsn < end.lsn {
        let commit = replay.next().await?;
        let commit = commit.ok_or_else(|| replayer.damaged("the WAL changed".to_owned()))?;
        replayer.apply(&commit).await?;
        replayer.wait_for_room().await?;
    }
    damage::quarantine(shared, damages).await;
    Ok(())
}

/// Puts back the fronts of pages that were being written again, in the order of the WAL.
pub(crate) async fn restore_pages(
    shared: &Arc<Shared>,
    pages: Vec<WalRecord>,
) -> Result<(), OpenError> {
    let replayer = Replayer::new(shared, BTreeMap::new());
    for page in pages {
        if let WalRecord::Page { partition, segment_base, position, bytes } = page
            && let Some(partition) = shared.partition(partition)
        {
            replayer.restore_page(&partition, (segment_base, position), bytes).await?;
        }
    }
    Ok(())
}

struct Replayer {
    shared: Arc<Shared>,
    /// Partitions of which no further change of the cleaner is applied.
    uncompacted: BTreeSet<PartitionId>,
    /// Segments that were closed where a checkpoint's trust ends.
    rolled: BTreeMap<PartitionId, Vec<Rolled>>,
}

impl Replayer {
    fn new(shared: &Arc<Shared>, rolled: BTreeMap<PartitionId, Vec<Rolled>>) -> Replayer {
        Replayer { shared: shared.clone(), uncompacted: BTreeSet::new(), rolled }
    }

    async fn apply(&mut self, commit: &ReplayedCommit) -> Result<(), OpenError> {
        let mut payload = commit.payload.clone();
        for _ in 0..commit.header.records {
            let Some(record) = WalRecord::decode(&mut payload) else {
                return Err(self.damaged(format!(
                    "commit {} holds a record that this release cannot read",
                    commit.header.lsn.0
                )));
            };
            self.apply_record(record).await?;
        }
        Ok(())
    }

    /// Lets the writer copy while the tail is over half its bound.
    async fn wait_for_room(&self) -> Result<(), OpenError> {
        let low = self.shared.options.tail_bytes_max as u64 / 2;
        while self.shared.stats.tail_bytes.load(Ordering::Relaxed) > low {
            rivven_io::probe!("replay_spills_tail");
            if let Some(failure) = self.shared.failure() {
                return Err(OpenError::Failed(failure.clone()));
            }
            self.shared.write_all.store(true, Ordering::Release);
            self.shared.write_wanted.notify_one();
            self.shared.written_for_checkpoint.notified().await;
        }
        Ok(())
    }

    async fn apply_record(&mut self, record: WalRecord) -> Result<(), OpenError> {
        match record {
            WalRecord::Append { partition, placement, appended, batch } => {
                if let Some(partition) = self.shared.partition(partition) {
                    let placement = self.place(&partition, placement).await?;
                    self.begin_segment(&partition, placement).await?;
                    self.append(&partition, (placement, appended), batch)?;
                }
            }
            // Both were looked for before.
            WalRecord::Page { .. } | WalRecord::Rolled { .. } => {}
            WalRecord::LogStart { partition, log_start } => {
                if let Some(partition) = self.shared.partition(partition)
                    && !rivven_io::planted!("B43")
                {
                    apply_change(&self.shared, Change::LogStart { partition, to: log_start });
                }
            }
            WalRecord::Compacted { partition, segment, cleaned } => {
                if let Some(partition) = self.shared.partition(partition)
                    && self.has_bytes(&partition, &segment).await?
                {
                    let change = Change::Compacted { partition, segment, cleaned };
                    apply_change(&self.shared, change);
                }
            }
            WalRecord::Metadata { number, command } => {
                let (_, applied) = self.shared.image();
                if number <= applied {
                    return Ok(());
                }
                if number != applied + 1 {
                    return Err(self.damaged(format!("command {} is missing", applied + 1)));
                }
                let command = MetadataCommand::decode(&command)
                    .map_err(|error| self.damaged(format!("command {number}: {error}")))?;
                apply_metadata(&self.shared, &[command]).map_err(|error| {
                    self.damaged(format!("command {number} does not fit those before it: {error}"))
                })?;
            }
        }
        Ok(())
    }

    /// Whether a segment that the cleaner wrote has its bytes. If the disk lost some, what it
    /// stands for is still there, and stays; all later changes of that log are left undone, too:
    /// they let tombstones go whose values are back.
    async fn has_bytes(
        &mut self,
        partition: &Arc<Partition>,
        segment: &Segment,
    ) -> Result<bool, OpenError> {
        let id = partition.id();
        if self.uncompacted.contains(&id) {
            return Ok(false);
        }
        // One that the log has already, or had, may be gone for a reason.
        if segment.is_empty() || !partition.lock().log.would_replace(segment) {
            return Ok(true);
        }
        let path = partition.folder().join(layout::segment_file_name(segment.name()));
        let found = self.shared.env.disk.file_len(&path).await;
        let found = found.map_err(|error| self.io("looking at a segment of", id, error))?;
        if found == Some(segment.bytes) {
            return Ok(true);
        }
        rivven_io::probe!("compacted_segment_lost");
        tracing::error!(partition = %id, topic = partition.topic(), path = %path.display(), ?found,
            counted = segment.bytes, "a compacted segment is lost; what it was made of stays");
        self.uncompacted.insert(id);
        Ok(false)
    }

    /// Where a batch of the WAL goes: where it was placed, or in a segment of its own if the page
    /// in which it would go on cannot be read.
    async fn place(
        &mut self,
        partition: &Arc<Partition>,
        placement: Placement,
    ) -> Result<Placement, OpenError> {
        let id = partition.id();
        let rolled = self.rolled.get(&id).map_or(&[][..], Vec::as_slice);
        let placement = Rolled::moved_by_all(rolled, placement);
        let place = (placement.segment_base, placement.position);
        let (is_next, goes_on) = {
            let state = partition.lock();
            let is_next = placement.base_offset == state.log.positions().log_end;
            (is_next, state.durable.end == place && state.must_log_page(place))
        };
        if !is_next || !goes_on {
            return Ok(placement);
        }
        let found = segment_end::is_readable(&self.shared, partition, place).await;
        if found.map_err(|error| self.io("looking at a segment of", id, error))? {
            return Ok(placement);
        }
        let (closed, bytes) = place;
        let rolled = Rolled { closed, bytes, base: placement.base_offset };
        segment_end::report(partition, place, rolled.base);
        // Before the first batch that is placed behind it: the next start may find that the page
        // can be read.
        self.shared.change(Change::Rolled { partition: id, rolled }).await?;
        self.rolled.entry(id).or_default().push(rolled);
        Ok(rolled.moved(placement))
    }

    /// Before the first batch of a segment that no checkpoint knows: what stands under its name is
    /// of an earlier life.
    async fn begin_segment(
        &self,
        partition: &Arc<Partition>,
        placement: Placement,
    ) -> Result<(), OpenError> {
        let known = partition.positions().log_end > placement.base_offset;
        if placement.position > 0 || known {
            return Ok(());
        }
        folder::remove_leftover(&self.shared, partition, placement.segment_base)
            .await
            .map_err(|error| self.io("beginning a segment of", partition.id(), error))
    }

    fn append(
        &self,
        partition: &Arc<Partition>,
        (placement, appended): (Placement, TimestampMs),
        batch: Bytes,
    ) -> Result<(), OpenError> {
        let header = BatchHeader::parse(&batch)
            .map_err(|error| self.damaged(format!("a batch of {}: {error}", partition.id())))?;
        let mut valid = stored_batch(&header);
        if rivven_io::planted!("B42") {
            valid.producer_id = ProducerId(-1);
        }
        let mut state = partition.lock();
        let rules = roll_rules(&state.config);
        let end = placement.base_offset.plus(i64::from(valid.count));
        let continued = state
            .log
            .replay_append(placement, &valid, (appended, &rules))
            .map_err(|gap| self.damaged(format!("partition {}: {gap}", partition.id())))?;
        let Replayed::Appended(closed) = continued else { return Ok(()) };
        state.closed.extend(closed);
        self.shared.stats.recovered_batches.fetch_add(1, Ordering::Relaxed);
        self.shared.stats.tail_bytes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        state.tail.push_back(TailEntry {
            base_offset: placement.base_offset,
            end,
            segment_base: placement.segment_base,
            position: placement.position,
            batch,
        });
        if !state.dirty {
            state.dirty = true;
            self.shared.note_dirty(partition.clone());
        }
        if !state.queued {
            state.queued = true;
            self.shared.queue_write(partition.clone());
        }
        Ok(())
    }

    /// Puts back the front of a page that was being written again.
    async fn restore_page(
        &self,
        partition: &Arc<Partition>,
        (segment_base, position): (Offset, u64),
        bytes: Bytes,
    ) -> Result<(), OpenError> {
        let name = SegmentName::appended(segment_base);
        {
            let mut state = partition.lock();
            if !state.log.holds(name) {
                return Ok(());
            }
            // Only the page at the trusted end was written again after the checkpoint. An image
            // that ends before it is older than the checkpoint's sync: to write it would put
            // trusted bytes at risk that nothing in the WAL covers.
            let end = position + bytes.len() as u64;
            let (trusted_base, trusted_end) = state.durable.end;
            if segment_base != trusted_base || position > trusted_end || end < trusted_end {
                return Ok(());
            }
            assert_eq!(state.begun, state.durable, "no checkpoint begins before recovery ends");
            state.durable.page_logged = true;
            state.begun.page_logged = true;
            if !state.dirty {
                state.dirty = true;
                self.shared.note_dirty(partition.clone());
            }
        }
        rivven_io::probe!("page_restored");
        let restored: io::Result<()> = async {
            let path = partition.folder().join(layout::segment_file_name(name));
            let found = self.shared.env.disk.file_len(&path).await?.unwrap_or(0);
            if found < position {
                // What the disk lost is not to be hidden by a longer file: it is reported later.
                return Ok(());
            }
            folder::ensure_folder(&self.shared, partition).await?;
            let file = self.shared.files.segment(partition, name, Create::IfMissing).await?;
            // The whole page: part of one that cannot be read could not be written. What comes
            // behind the image stands in the WAL.
            let mut page = BytesMut::from(&bytes[..]);
            page.resize(usize::try_from(PAGE_BYTES).expect("a page fits memory"), 0);
            assert!(bytes.len() <= page.len(), "an image is the front of one page");
            file.write_all_at(position, vec![page.freeze()]).await?;
            self.shared.touch(partition.clone(), segment_base);
            self.shared.note_folder(partition.folder().clone());
            Ok(())
        }
        .await;
        restored.map_err(|error| self.io("restoring a page of", partition.id(), error))
    }

    fn damaged(&self, reason: String) -> OpenError {
        OpenError::Corrupt { path: self.shared.layout.wal(), reason }
    }

    fn io(&self, doing: &str, partition: PartitionId, error: io::Error) -> OpenError {
        OpenError::Io { doing: format!("{doing} partition {partition}"), error }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rivven_io::Env;

    use super::*;
    use crate::ids::TopicId;
    use crate::storage::Storage;
    use crate::storage::options::StorageOptions;

    #[tokio::test]
    async fn a_command_that_does_not_fit_is_damage_and_no_panic() {
        let directory = tempfile::tempdir().unwrap();
        let options = StorageOptions {
            wal_file_bytes: 64 << 10,
            ..StorageOptions::new(directory.path().join("data"), 1)
        };
        let storage = Storage::open(&Env::real(), options).await.unwrap();
        let mut replayer = Replayer::new(&storage.shared, BTreeMap::new());
        let create = |number, id| {
            let command = MetadataCommand::CreateTopic {
                name: "t".to_owned(),
                id: TopicId([id; 16]),
                partitions: 1,
                configs: BTreeMap::new(),
                created_ms: TimestampMs(0),
            };
            WalRecord::Metadata { number, command: command.encode().into() }
        };
        replayer.apply_record(create(1, 1)).await.unwrap();
        let refused = replayer.apply_record(create(2, 2)).await;
        let Err(OpenError::Corrupt { reason, .. }) = refused else { panic!("{refused:?}") };
        assert!(reason.starts_with("command 2 does not fit those before it: topic t"), "{reason}");
        storage.shutdown().await.unwrap();
    }
}
