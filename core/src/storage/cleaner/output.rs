//! The segment that the cleaner writes: a file of a new name, which nobody reads before it is
//! durable.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rivven_io::disk::{Create, File, OpenOptions};

use super::Stop;
use crate::ids::TimestampMs;
use crate::log::index::{IndexEntry, SparseIndex};
use crate::log::index_file;
use crate::log::segment::{Segment, SegmentName};
use crate::record::header::BatchHeader;
use crate::storage::partition::Partition;
use crate::storage::shared::Shared;
use crate::storage::writer::write_index;
use crate::storage::{folder, housekeeping, layout};

/// Bytes of one write.
const WRITE_BYTES: usize = 1 << 20;

/// A segment in the making.
pub(super) struct Output {
    shared: Arc<Shared>,
    partition: Arc<Partition>,
    file: File,
    /// What it stands for, and what is known of it so far.
    segment: Segment,
    index: SparseIndex,
    /// Batches that are not in the file yet, and their bytes.
    pending: Vec<Bytes>,
    pending_bytes: usize,
}

impl Output {
    /// Begins the segment that is to take the place of `sources`.
    pub(super) async fn create(
        (shared, partition): (&Arc<Shared>, &Arc<Partition>),
        sources: &[Segment],
    ) -> Result<Output, Stop> {
        let (first, last) = (sources.first().ok_or(Stop::Ended)?, sources.last());
        let segment = Segment {
            base: first.base,
            end: last.unwrap_or(first).end,
            bytes: 0,
            max_timestamp: TimestampMs(-1),
            created: sources.iter().map(|segment| segment.created).max().ok_or(Stop::Ended)?,
            generation: 1 + sources.iter().map(|s| s.generation).max().unwrap_or_default(),
        };
        assert!(segment.is_sound(), "sources stand for something");
        let name = segment.name();
        partition.lock().written = Some(name);
        // The topic may be gone meanwhile, and the folder that of its successor.
        let _folders = shared.folders.lock().await;
        if !folder::is_own(shared, partition).await? {
            return Err(Stop::Ended);
        }
        // What an earlier life left there has perhaps a name that no sync makes durable.
        housekeeping::remove_files(shared, partition, &[name]).await?;
        let path = partition.folder().join(layout::segment_file_name(name));
        let file = shared.env.disk.open(&path, OpenOptions::write(Create::New)).await?;
        Ok(Output {
            shared: shared.clone(),
            partition: partition.clone(),
            file,
            segment,
            index: SparseIndex::default(),
            pending: Vec::new(),
            pending_bytes: 0,
        })
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.segment.bytes
    }

    /// Appends a whole batch.
    pub(super) async fn push(&mut self, batch: Bytes) -> io::Result<()> {
        let header = BatchHeader::parse(&batch).expect("the cleaner writes batches");
        assert_eq!(header.size(), batch.len(), "the cleaner writes whole batches");
        assert!(header.last_offset() < self.segment.end, "and only what stood there");
        let entry = IndexEntry {
            offset_delta: u32::try_from(header.base_offset.0 - self.segment.base.0)
                .expect("a segment spans less than 2^31 offsets"),
            position: u32::try_from(self.segment.bytes)
                .expect("a segment is smaller than 2^31 bytes"),
            max_timestamp_before: self.segment.max_timestamp,
        };
        self.index.note(entry, self.partition.config().index_interval_bytes);
        self.segment.bytes += batch.len() as u64;
        self.segment.max_timestamp = self.segment.max_timestamp.max(header.max_timestamp);
        self.pending_bytes += batch.len();
        self.pending.push(batch);
        if self.pending_bytes >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.pending_bytes) as u64;
        let position = self.segment.bytes - bytes;
        self.file.write_all_at(position, std::mem::take(&mut self.pending)).await?;
        self.file.start_writeback(position, bytes).await
    }

    /// Makes the segment durable under its name; one without batches has no file.
    pub(super) async fn finish(mut self) -> Result<Segment, Stop> {
        if self.segment.is_empty() {
            rivven_io::probe!("segment_emptied");
            remove(&self.shared, &self.partition, self.segment.name()).await;
            return Ok(self.segment);
        }
        if let Err(error) = self.flush().await {
            self.discard().await;
            return Err(error.into());
        }
        if !rivven_io::planted!("B51") {
            self.sync().await?;
        }
        self.write_index().await?;
        assert!(self.pending.is_empty(), "everything is in the file");
        match self.check_file().await {
            Ok(()) => Ok(self.segment),
            Err(stop) => {
                self.discard().await;
                Err(stop)
            }
        }
    }

    /// The last look before others are removed for it: whoever took the file away made a mistake,
    /// which must not cost the records.
    async fn check_file(&self) -> Result<(), Stop> {
        let name = self.segment.name();
        let path = self.partition.folder().join(layout::segment_file_name(name));
        let found = self.shared.env.disk.file_len(&path).await?.unwrap_or(0);
        if found == self.segment.bytes {
            return Ok(());
        }
        let bytes = self.segment.bytes;
        let reason = format!("{} has {found} of {bytes} bytes", path.display());
        Err(Stop::Disk(io::Error::new(io::ErrorKind::UnexpectedEof, reason)))
    }

    async fn sync(&self) -> Result<(), Stop> {
        let synced = async {
            self.file.sync_data().await?;
            self.shared.env.disk.sync_dir(self.partition.folder()).await
        };
        let Err(error) = synced.await else { return Ok(()) };
        if self.partition.lock().deleted {
            return Err(Stop::Ended);
        }
        // Names that others rely on may be among what was not synced.
        let name = self.segment.name();
        let (base, id) = (name.base, self.partition.id());
        self.shared.fail(&format!("syncing compacted segment {base} of {id}: {error}"));
        Err(Stop::Ended)
    }

    /// The index is a hint: without room for it readers build it.
    async fn write_index(&self) -> Result<(), Stop> {
        let _folders = self.shared.folders.lock().await;
        if !folder::is_own(&self.shared, &self.partition).await? {
            return Err(Stop::Ended);
        }
        let name = self.segment.name();
        let covered = u32::try_from(self.segment.bytes).expect("segments are below 2 GiB");
        let files = index_file::encode(name.base, covered, &self.index);
        if let Err(error) = write_index(&self.shared, &self.partition, name, files).await {
            tracing::warn!(partition = %self.partition.id(), %error, "writing an index");
        }
        Ok(())
    }

    /// Gives the segment up.
    pub(super) async fn discard(self) {
        remove(&self.shared, &self.partition, self.segment.name()).await;
    }
}

/// Removes a segment that is not part of the log; what cannot be removed the next start does.
pub(super) async fn remove(shared: &Shared, partition: &Partition, name: SegmentName) {
    if let Err(error) = housekeeping::remove_segments(shared, partition, &[name]).await {
        tracing::warn!(partition = %partition.id(), %error, "removing a segment given up");
    }
    let mut state = partition.lock();
    if state.written == Some(name) && !state.log.holds(name) {
        state.written = None;
    }
}

#[cfg(test)]
mod tests;
