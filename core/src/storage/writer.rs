//! The writer: copies acknowledged batches from the tail to their segments, in large pieces, the
//! partition that waits longest first.
//!
//! Segments are written in whole pages, past the page cache where that works: memory that is new to
//! the kernel costs more than the disk does. What was copied stays in memory for a while, for those
//! who follow the log.
//!
//! Before it writes into a page that holds bytes a checkpoint trusts, it has the front of that page
//! logged: a power cut may spoil every page that was being written, also the part of it that was
//! durable before, and by then the WAL no longer holds those batches.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rivven_io::disk::Create;

use crate::ids::Offset;
use crate::log::index_file;
use crate::log::machine::ClosedSegment;
use crate::log::segment::SegmentName;
use crate::storage::error::lacks_room;
use crate::storage::partition::Partition;
use crate::storage::segment_write::{SegmentWriter, Stretch};
use crate::storage::shared::{Change, EndGuard, PageImage, Shared};
use crate::storage::{folder, layout, segment_end};

/// Unit of what a disk may spoil, in bytes.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// Bytes copied in one write.
const PIECE_BYTES_MAX: usize = 4 << 20;
/// Partitions whose pages are logged together.
const ROUND_PIECES_MAX: usize = 256;

/// What one write copies.
struct Piece {
    partition: Arc<Partition>,
    segment_base: Offset,
    position: u64,
    batches: Vec<Bytes>,
    bytes: u64,
    /// Offset after the last record.
    end: Offset,
    /// Whether the page at `position` must be logged first.
    log_page: bool,
}

/// Runs until storage closes or fails.
pub(crate) async fn run(shared: Arc<Shared>, ended: EndGuard) {
    let mut segments = SegmentWriter::new(shared.clone());
    loop {
        if shared.failure().is_some() {
            return ended.expected();
        }
        let hurry = shared.write_all.load(Ordering::Acquire) || shared.is_closing();
        let low = shared.options.tail_bytes_max as u64 / 8;
        let waiting = shared.stats.tail_bytes.load(Ordering::Relaxed);
        if shared.writes_waiting() == 0 || !hurry && waiting <= low {
            if hurry {
                shared.write_all.store(false, Ordering::Release);
                shared.written_for_checkpoint.notify_one();
            }
            // What the committer publishes until the last checkpoint is still to be copied.
            if shared.writer_may_end.load(Ordering::Acquire) && shared.writes_waiting() == 0 {
                return ended.expected();
            }
            shared.write_wanted.notified().await;
            continue;
        }
        if let Err(reason) = write_round(&shared, &mut segments).await {
            shared.fail(&reason);
        }
        shared.written.notify_one();
        shared.written_for_checkpoint.notify_one();
    }
}

/// Copies one piece of each of the partitions that wait longest.
async fn write_round(shared: &Arc<Shared>, segments: &mut SegmentWriter) -> Result<(), String> {
    let mut pieces = Vec::new();
    let mut bytes = 0;
    while pieces.len() < ROUND_PIECES_MAX && bytes < PIECE_BYTES_MAX as u64 {
        let Some(partition) = shared.next_write() else { break };
        if let Some(piece) = take_piece(&partition) {
            bytes += piece.bytes;
            pieces.push(piece);
        }
    }
    log_pages(shared, &pieces).await?;
    for piece in pieces {
        write_piece(shared, segments, piece).await?;
    }
    Ok(())
}

/// The front of a partition's tail, as far as it goes to one segment.
fn take_piece(partition: &Arc<Partition>) -> Option<Piece> {
    let mut state = partition.lock();
    let Some(front) = state.uncopied() else {
        state.queued = false;
        return None;
    };
    let (segment_base, position) = (front.segment_base, front.position);
    assert!(state.queued, "a tail that is copied stands in the queue");
    let mut batches = Vec::new();
    let mut bytes = 0;
    let mut end = front.end;
    for entry in state.tail.range(state.copied..) {
        if entry.segment_base != segment_base || bytes >= PIECE_BYTES_MAX as u64 {
            break;
        }
        assert_eq!(entry.position, position + bytes, "the tail has no gap inside a segment");
        bytes += entry.batch.len() as u64;
        end = entry.end;
        batches.push(entry.batch.clone());
    }
    let log_page = state.must_log_page((segment_base, position));
    let partition = partition.clone();
    Some(Piece { partition, segment_base, position, batches, bytes, end, log_page })
}

/// Logs the fronts of all pages that need it, with one commit.
async fn log_pages(shared: &Arc<Shared>, pieces: &[Piece]) -> Result<(), String> {
    let mut pages = Vec::new();
    for piece in pieces.iter().filter(|piece| piece.log_page) {
        let place = (piece.segment_base, piece.position);
        match segment_end::read_front(shared, &piece.partition, place).await {
            Ok(bytes) => pages.push(PageImage {
                partition: piece.partition.id(),
                segment_base: piece.segment_base,
                position: piece.position / PAGE_BYTES * PAGE_BYTES,
                bytes: bytes.freeze(),
            }),
            Err(_) if !piece.partition.lock().wants_segment(piece.segment_base) => {}
            // The disk lost the file or its end: there is nothing left to protect, recovery reports
            // it, and all other partitions go on.
            Err(error) if is_lost(&error) => {}
            // The next start finds these batches in the WAL and a page that cannot be read, and
            // gives them a segment of their own.
            Err(error) => return Err(describe("reading a page of", piece, &error)),
        }
    }
    if pages.is_empty() || rivven_io::planted!("B40") {
        return Ok(());
    }
    rivven_io::probe!("page_logged");
    let fit = (shared.options.commit_bytes_max() / (2 * PAGE_BYTES as usize)).max(1);
    while !pages.is_empty() {
        let rest = pages.split_off(pages.len().min(fit));
        let some = std::mem::replace(&mut pages, rest);
        shared.change(Change::Pages(some)).await.map_err(|failure| failure.reason)?;
    }
    for piece in pieces.iter().filter(|piece| piece.log_page) {
        piece.partition.lock().note_page_logged((piece.segment_base, piece.position));
    }
    Ok(())
}

async fn write_piece(
    shared: &Arc<Shared>,
    segments: &mut SegmentWriter,
    piece: Piece,
) -> Result<(), String> {
    assert!(piece.bytes > 0, "a piece holds something");
    if piece.partition.lock().wants_segment(piece.segment_base)
        && let Err(error) = copy(shared, segments, &piece).await
        && piece.partition.lock().wants_segment(piece.segment_base)
    {
        return Err(describe("writing", &piece, &error));
    }
    for closed in settle(shared, &piece) {
        let base = closed.segment.base;
        let cut = prepare_cut(shared, &piece.partition, &closed).await?;
        let sealed = seal_segment(shared, &piece.partition, (&closed, cut)).await;
        let mut state = piece.partition.lock();
        if let Err(error) = sealed
            && state.wants_segment(base)
        {
            return Err(describe("closing", &piece, &error));
        }
        // Only now: a checkpoint that passed over it earlier would trust what is cut off after it.
        state.closed.retain(|waiting| waiting.segment.base != base);
    }
    Ok(())
}

/// Where a closed segment is to be cut off, after its last page is logged if it must be. One that
/// cannot be read is left whole.
async fn prepare_cut(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    closed: &ClosedSegment,
) -> Result<u64, String> {
    let piece = closing(partition, closed);
    let place = (piece.segment_base, piece.position);
    if piece.log_page {
        let found = segment_end::is_readable(shared, partition, place).await;
        if found.is_ok_and(|is_readable| !is_readable) {
            return Ok(segment_end::page_end(closed.segment.bytes));
        }
    }
    log_pages(shared, &[piece]).await?;
    Ok(closed.segment.bytes)
}

/// To cut a closed segment off in the middle of a page is a write to that page.
fn closing(partition: &Arc<Partition>, closed: &ClosedSegment) -> Piece {
    let (segment_base, position) = (closed.segment.base, closed.segment.bytes);
    Piece {
        partition: partition.clone(),
        segment_base,
        position,
        batches: Vec::new(),
        bytes: 0,
        end: segment_base,
        log_page: partition.lock().must_log_page((segment_base, position)),
    }
}

/// Notes what was copied; the closed segments that are complete now.
fn settle(shared: &Arc<Shared>, piece: &Piece) -> Vec<ClosedSegment> {
    let mut state = piece.partition.lock();
    if state.deleted {
        return Vec::new();
    }
    // Meanwhile the log start may have moved over some of it.
    let bytes = state.note_copied(piece.end);
    shared.stats.tail_bytes.fetch_sub(bytes, Ordering::Relaxed);
    if state.uncopied().is_none() {
        state.queued = false;
    } else {
        shared.queue_write(piece.partition.clone());
    }
    let (flushed_base, _) = state.flushed();
    let done = state.closed.partition_point(|closed| closed.segment.base < flushed_base);
    let closed = state.closed[..done].to_vec();
    drop(state);
    if bytes > 0 {
        shared.recent.keep(piece.partition.clone(), piece.end, bytes);
    }
    closed
}

async fn copy(shared: &Arc<Shared>, segments: &mut SegmentWriter, piece: &Piece) -> io::Result<()> {
    folder::ensure_folder(shared, &piece.partition).await?;
    if piece.position == 0 {
        shared.note_folder(piece.partition.folder().clone());
    }
    let stretch = Stretch {
        partition: &piece.partition,
        segment_base: piece.segment_base,
        position: piece.position,
        batches: &piece.batches,
    };
    segments.write(stretch).await?;
    // Noted after the write: a checkpoint that took the note before it would sync too early.
    shared.touch(piece.partition.clone(), piece.segment_base);
    Ok(())
}

/// Cuts a closed segment off, and writes its indexes. They are synced by the next checkpoint.
async fn seal_segment(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    (closed, cut): (&ClosedSegment, u64),
) -> io::Result<()> {
    let base = closed.segment.base;
    assert!(cut >= closed.segment.bytes, "no batch is cut off");
    assert!(!closed.segment.is_empty(), "an empty segment is never closed");
    let name = closed.segment.name();
    let file = shared.files.segment(partition, name, Create::Never).await?;
    if cut == closed.segment.bytes || file.len().await? > cut {
        file.set_len(cut).await?;
    }
    shared.touch(partition.clone(), base);
    if closed.indexed_from > 0 {
        return Ok(());
    }
    let covered = u32::try_from(closed.segment.bytes).expect("segments are below 2 GiB");
    let files = index_file::encode(base, covered, &closed.index);
    match write_index(shared, partition, name, files).await {
        Err(error) if lacks_room(&error) => {
            tracing::warn!(partition = %partition.id(), %base, %error, "no room for an index");
            Ok(())
        }
        written => written,
    }
}

/// Writes both index files of a segment; they are hints, and rebuilt when they are missing.
pub(crate) async fn write_index(
    shared: &Arc<Shared>,
    partition: &Partition,
    name: SegmentName,
    files: index_file::IndexFiles,
) -> io::Result<()> {
    for (path, bytes) in [
        (layout::index_path(partition.folder(), name), files.offsets),
        (layout::time_index_path(partition.folder(), name), files.times),
    ] {
        let options = rivven_io::disk::OpenOptions::write(Create::IfMissing);
        let file = shared.env.disk.open(&path, options).await?;
        file.set_len(0).await?;
        file.write_all_at(0, vec![bytes]).await?;
        shared.note_file(path);
    }
    shared.note_folder(partition.folder().clone());
    Ok(())
}

/// Whether the disk lost a file or its end.
pub(crate) fn is_lost(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
}

fn describe(doing: &str, piece: &Piece, error: &io::Error) -> String {
    format!("{doing} segment {} of {}: {error}", piece.segment_base, piece.partition.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::real_world::run;
    use crate::storage::sample::Sample;

    #[test]
    fn a_piece_of_which_the_log_kept_nothing_is_settled_and_not_remembered() {
        run(async |env| {
            let mut sample = Sample::new(&env, &["a"]).await;
            sample.reopen(&env).await;
            let partition = &sample.partition;
            let piece = Piece {
                partition: partition.clone(),
                segment_base: Offset::ZERO,
                position: 0,
                batches: Vec::new(),
                bytes: 0,
                end: partition.lock().log.positions().log_end,
                log_page: false,
            };
            assert!(settle(&sample.storage.shared, &piece).is_empty(), "no segment was closed");
            let error = io::Error::other("worn out");
            let expected = format!("writing segment 0 of {}: worn out", partition.id());
            assert_eq!(describe("writing", &piece, &error), expected);
            sample.storage.shutdown().await.expect("shuts down");
        });
    }
}
