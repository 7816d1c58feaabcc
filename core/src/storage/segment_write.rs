//! Writes batches to segments. Large stretches go past the page cache, in whole pages: the front
//! of the first page is written again with the same bytes, and the last page is filled up with
//! zeros, which the next write goes over and which a closed segment is cut off from. Small ones go
//! through the page cache: with many partitions the disk's latency would count, not its bandwidth.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rivven_io::disk::{Create, File};

use crate::ids::{Offset, PartitionId};
use crate::log::segment::SegmentName;
use crate::storage::partition::Partition;
use crate::storage::shared::Shared;
use crate::storage::wal::arena::{Arena, Lease};
use crate::storage::writer::{PAGE_BYTES, is_lost};

/// A stretch of this part of a write, 64 KiB of 2 MiB, goes past the page cache.
const DIRECT_SHARE: usize = 32;
/// Partitions whose last, partly filled page is remembered.
const FRONTS_MAX: usize = 256;

/// Batches that follow each other in one segment.
pub(crate) struct Stretch<'a> {
    pub(crate) partition: &'a Partition,
    pub(crate) segment_base: Offset,
    /// Where the first batch goes.
    pub(crate) position: u64,
    pub(crate) batches: &'a [Bytes],
}

impl Stretch<'_> {
    fn name(&self) -> SegmentName {
        SegmentName::appended(self.segment_base)
    }
}

/// The state that only the writer touches.
pub(crate) struct SegmentWriter {
    shared: Arc<Shared>,
    memory: Arena,
    /// Bytes of one write to the disk.
    write_bytes: usize,
    /// The bytes before the end of what was written last, as far as they share its page.
    fronts: BTreeMap<PartitionId, Front>,
}

struct Front {
    segment_base: Offset,
    /// Where the next batch goes.
    position: u64,
    bytes: Bytes,
}

/// A write in the making.
struct Pages<'a> {
    file: &'a File,
    lease: Lease,
    /// Where `lease.rest` begins in the file.
    position: u64,
}

impl SegmentWriter {
    pub(crate) fn new(shared: Arc<Shared>) -> SegmentWriter {
        let write_bytes = shared.options.segment_write_bytes();
        // The arena's chunk is an eighth of its bound, and only one is in use at a time.
        let memory = Arena::new(8 * write_bytes);
        SegmentWriter { shared, memory, write_bytes, fronts: BTreeMap::new() }
    }

    /// Writes a stretch. Nothing is durable before the file is synced. After an error any part of
    /// it may be written.
    pub(crate) async fn write(&mut self, stretch: Stretch<'_>) -> io::Result<()> {
        let bytes: usize = stretch.batches.iter().map(Bytes::len).sum();
        if !self.shared.files.is_direct() || bytes < self.write_bytes / DIRECT_SHARE {
            return self.write_cached(&stretch, bytes as u64).await;
        }
        rivven_io::probe!("segment_written_direct");
        let front = match self.front(&stretch).await {
            // The disk lost the end of the file: what is left of the page stays as it is.
            Err(error) if is_lost(&error) => {
                return self.write_cached(&stretch, bytes as u64).await;
            }
            front => front?,
        };
        let shared = self.shared.clone();
        let file = shared.files.segment_to_write(stretch.partition, stretch.name()).await?;
        let mut pages = Pages {
            file: &file,
            lease: self.lease(front.len() + bytes),
            position: stretch.position - front.len() as u64,
        };
        assert!(pages.position.is_multiple_of(PAGE_BYTES), "a write begins with its page");
        pages.lease.rest.extend_from_slice(&front);
        let mut left = front.len() + bytes;
        let write_bytes = self.write_bytes;
        for batch in stretch.batches {
            let mut rest = &batch[..];
            while !rest.is_empty() {
                let room = write_bytes - pages.lease.rest.len();
                let (piece, behind) = rest.split_at(rest.len().min(room));
                pages.lease.rest.extend_from_slice(piece);
                rest = behind;
                if pages.lease.rest.len() == write_bytes {
                    left -= write_bytes;
                    let written = pages.write().await;
                    self.memory.put_back(pages.lease, write_bytes);
                    written?;
                    pages.lease = self.lease(left);
                }
            }
        }
        assert_eq!(pages.lease.rest.len(), left, "every byte was taken once");
        self.write_last(pages, &stretch).await
    }

    /// Writes a stretch as it is, through the page cache.
    async fn write_cached(&mut self, stretch: &Stretch<'_>, bytes: u64) -> io::Result<()> {
        self.fronts.remove(&stretch.partition.id());
        let files = &self.shared.files;
        let file = files.segment(stretch.partition, stretch.name(), Create::IfMissing).await?;
        file.write_all_at(stretch.position, stretch.batches.to_vec()).await?;
        file.start_writeback(stretch.position, bytes).await
    }

    /// Writes the last, partly filled page, and remembers its front.
    async fn write_last(&mut self, mut pages: Pages<'_>, stretch: &Stretch<'_>) -> io::Result<()> {
        let partition = stretch.partition.id();
        let filled = pages.lease.rest.len();
        let front = filled % PAGE_BYTES as usize;
        let bytes = Bytes::copy_from_slice(&pages.lease.rest[filled - front..]);
        let position = pages.position + filled as u64;
        let used = filled.next_multiple_of(PAGE_BYTES as usize);
        pages.lease.rest.resize(used, 0);
        let written = if used == 0 { Ok(()) } else { pages.write().await };
        self.memory.put_back(pages.lease, used);
        self.fronts.remove(&partition);
        written?;
        if front > 0 {
            if self.fronts.len() >= FRONTS_MAX {
                self.fronts.pop_first();
            }
            let segment_base = stretch.segment_base;
            self.fronts.insert(partition, Front { segment_base, position, bytes });
        }
        Ok(())
    }

    /// What stands in the page of the stretch's first byte before it.
    async fn front(&mut self, stretch: &Stretch<'_>) -> io::Result<Bytes> {
        let wanted = usize::try_from(stretch.position % PAGE_BYTES).expect("less than a page");
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        let known = self.fronts.get(&stretch.partition.id()).filter(|front| {
            front.segment_base == stretch.segment_base && front.position == stretch.position
        });
        if let Some(front) = known {
            assert_eq!(front.bytes.len(), wanted, "the front reaches back to its page");
            return Ok(front.bytes.clone());
        }
        let files = &self.shared.files;
        let file = files.segment(stretch.partition, stretch.name(), Create::Never).await?;
        let page = stretch.position - wanted as u64;
        file.read_full_at(page, wanted).await.map(BytesMut::freeze)
    }

    /// Memory for one write.
    fn lease(&mut self, bytes: usize) -> Lease {
        let bytes = bytes.next_multiple_of(PAGE_BYTES as usize).min(self.write_bytes);
        self.memory.take(bytes).expect("one write is under way, so the rest is free")
    }
}

impl Pages<'_> {
    /// Writes all of `lease.rest`, which is empty then, and goes on behind it.
    async fn write(&mut self) -> io::Result<()> {
        let pages = self.lease.rest.split().freeze();
        let bytes = pages.len() as u64;
        assert!(bytes > 0 && bytes.is_multiple_of(PAGE_BYTES), "pages are written whole");
        self.file.write_all_at(self.position, vec![pages]).await?;
        self.position += bytes;
        Ok(())
    }
}
