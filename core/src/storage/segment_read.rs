//! Finds and checks batches in a segment's file.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rivven_io::disk::{Create, File};

use crate::ids::Offset;
use crate::limits::BATCH_BYTES_MAX;
use crate::log::index::{IndexEntry, SparseIndex};
use crate::log::segment::SegmentName;
use crate::record::header::{BatchHeader, HEADER_BYTES, compute_crc};
use crate::storage::error::ReadError;
use crate::storage::indexes;
use crate::storage::partition::Partition;
use crate::storage::read::ReadRequest;
use crate::storage::shared::Shared;
use crate::storage::writer::{PAGE_BYTES, is_lost};

/// Bytes read at once while a batch is looked for.
const WINDOW_BYTES: usize = 64 << 10;
/// Bytes that the kernel is asked to read behind what had to be waited for, so that one who reads
/// on waits once in a while only.
const READ_AHEAD_BYTES: u64 = 4 << 20;
/// Stands for each byte of a page that cannot be read: an offset that begins with it is negative.
const UNREADABLE: u8 = 0xFF;
/// Pages in a row that are tried in vain, each of which may take the drive seconds, before the rest
/// of a piece is given up.
const UNREADABLE_IN_A_ROW_MAX: usize = 4;

/// Where in a segment to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentSpan {
    pub(crate) name: SegmentName,
    /// Base offset and position of a batch at or before the one that is looked for, if the index
    /// in memory knows one.
    pub(crate) start: Option<(Offset, u64)>,
    /// Bytes of the file that hold batches.
    pub(crate) end: u64,
    pub(crate) active: bool,
    /// Batches from this offset on are not given: the writer may have copied what its commit is
    /// still making visible.
    pub(crate) limit: Offset,
    /// Offset behind the last one that the segment stands for.
    pub(crate) behind: Offset,
}

impl SegmentSpan {
    /// Whether a batch may stand where the offset `expected` was expected: the cleaner leaves gaps,
    /// but no disorder.
    fn follows(&self, expected: Offset, header: &BatchHeader) -> bool {
        match self.name.generation {
            0 => header.base_offset == expected,
            _ => header.base_offset >= expected && header.last_offset() < self.behind,
        }
    }

    /// Whether a batch may be the first one of an answer from `offset` on.
    fn may_answer(&self, offset: Offset, header: &BatchHeader) -> bool {
        let has_gaps = self.name.generation > 0;
        header.last_offset() >= offset && (has_gaps || header.base_offset <= offset)
    }
}

/// What was found.
pub(crate) enum Span {
    Batches(Bytes),
    /// The segment holds no batch at or behind the offset: the cleaner took them.
    Passed,
    WouldWait,
}

/// Reads whole, checked batches of one segment, from the one that holds `request.from`.
pub(crate) async fn read_span(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    (span, request): (SegmentSpan, ReadRequest),
) -> Result<Span, ReadError> {
    let io = |error: io::Error| failed(partition, request.from, error);
    let start = match span.start {
        Some(start) => start,
        None => match indexes::position_of(shared, partition, (span, request)).await? {
            Some(start) => start,
            None => return Ok(Span::WouldWait),
        },
    };
    let file = match shared.files.cached((partition.id(), span.name)) {
        Some(file) => file,
        None if request.cold => {
            shared.files.segment(partition, span.name, Create::Never).await.map_err(io)?
        }
        None => return Ok(Span::WouldWait),
    };
    let mut reader = SegmentReader::new(&file, span.end, request.cold);
    // What is read ahead takes the disk's time without being counted.
    let reads_ahead = request.cold && !shared.pace.is_busy();
    if request.cold {
        file.guess_reads(reads_ahead).await;
    }
    let first = match reader.find(&span, request.from, start).await.map_err(io)? {
        Found::At(position) => position,
        Found::Behind => return Ok(Span::Passed),
        Found::WouldWait => return Ok(Span::WouldWait),
        Found::Damaged(reason) => {
            return Err(reader.damage(partition, (request.from, reason)));
        }
    };
    let taken = take_batches(&mut reader, partition, (first, span, request)).await?;
    if let (Span::Batches(data), true) = (&taken, reads_ahead) {
        let next = first + data.len() as u64;
        let ahead = reader.end.saturating_sub(next).min(READ_AHEAD_BYTES);
        reader.file.read_ahead(next, ahead).await;
    }
    Ok(taken)
}

/// Takes whole batches from `first` on, as many as fit, and checks each.
async fn take_batches(
    reader: &mut SegmentReader<'_>,
    partition: &Partition,
    (first, span, request): (u64, SegmentSpan, ReadRequest),
) -> Result<Span, ReadError> {
    let io = |error: io::Error| failed(partition, request.from, error);
    assert!(first < reader.end, "a batch begins inside the segment");
    let wanted = request.bytes_max.max(HEADER_BYTES);
    let Some(mut data) = reader.window(first, wanted).await.map_err(io)? else {
        return Ok(Span::WouldWait);
    };
    let header = plausible(&data, reader.end - first);
    let Some(header) = header.filter(|header| span.may_answer(request.from, header)) else {
        // One of the two reads erred, and the next one may tell which.
        let reason = "its header was another one when it was read again".to_owned();
        return Err(match reader.damage(partition, (request.from, reason)) {
            ReadError::Corrupt { partition, offset, reason } => {
                ReadError::Io { partition, reason: format!("at offset {offset}: {reason}") }
            }
            error => error,
        });
    };
    if header.size() > request.bytes_max {
        if !request.at_least_one {
            return Ok(Span::Batches(Bytes::new()));
        }
        let Some(whole) = reader.window(first, header.size()).await.map_err(io)? else {
            return Ok(Span::WouldWait);
        };
        data = whole;
    }
    let mut good = 0;
    let mut expected = header.base_offset;
    while let Ok(header) = BatchHeader::parse(&data[good..]) {
        let end = good + header.size();
        if header.base_offset >= span.limit && good > 0 {
            break;
        }
        // Neither the base offset nor the epoch is under the CRC; the chain and the one epoch of a
        // single node are what they are held against.
        let stands = end <= data.len()
            && span.follows(expected, &header)
            && header.leader_epoch == partition.leader_epoch()
            && compute_crc(&data[good..end]) == header.crc;
        if !stands {
            break;
        }
        expected = header.last_offset().plus(1);
        good = end;
    }
    if good == 0 {
        let reason = "its checksum does not match".to_owned();
        return Err(reader.damage(partition, (request.from, reason)));
    }
    Ok(Span::Batches(data.slice(..good)))
}

pub(super) fn failed(partition: &Partition, offset: Offset, error: io::Error) -> ReadError {
    let partition = partition.id();
    if is_lost(&error) {
        let reason = format!("its segment is missing or too short: {error}");
        return ReadError::Corrupt { partition, offset, reason };
    }
    ReadError::Io { partition, reason: error.to_string() }
}

enum Found {
    At(u64),
    /// Only batches before the offset are left.
    Behind,
    WouldWait,
    Damaged(String),
}

/// A window over one segment's file.
pub(crate) struct SegmentReader<'a> {
    file: &'a Arc<File>,
    end: u64,
    cold: bool,
    position: u64,
    bytes: Bytes,
    /// Why some page that was looked at could not be read.
    unreadable: Option<io::Error>,
}

/// An index that was built from what can be read of a segment.
pub(crate) struct BuiltIndex {
    pub(crate) index: SparseIndex,
    /// Whether no batch was passed over: otherwise it does not know the timestamps of some.
    pub(crate) is_whole: bool,
}

impl<'a> SegmentReader<'a> {
    pub(crate) fn new(file: &'a Arc<File>, end: u64, cold: bool) -> SegmentReader<'a> {
        SegmentReader { file, end, cold, position: 0, bytes: Bytes::new(), unreadable: None }
    }

    /// What is said of a batch that is not there as it should be. An error of the disk may pass.
    fn damage(&self, partition: &Partition, (offset, reason): (Offset, String)) -> ReadError {
        let partition = partition.id();
        match &self.unreadable {
            Some(error) => {
                ReadError::Io { partition, reason: format!("at offset {offset}: {error}") }
            }
            None => ReadError::Corrupt { partition, offset, reason },
        }
    }

    /// `len` bytes from `position`, fewer at the end; `None` if the disk must be waited for.
    pub(crate) async fn window(&mut self, position: u64, len: usize) -> io::Result<Option<Bytes>> {
        let len =
            usize::try_from(self.end.saturating_sub(position)).map_or(len, |rest| len.min(rest));
        let held = self.position..self.position + self.bytes.len() as u64;
        if position < held.start || position + len as u64 > held.end {
            let want = usize::try_from(self.end - position)
                .unwrap_or(usize::MAX)
                .min(len.max(WINDOW_BYTES));
            let Some(bytes) = self.load(position, want).await? else { return Ok(None) };
            self.position = position;
            self.bytes = bytes;
        }
        assert!(position >= self.position, "the window begins at or before what is asked");
        let from = usize::try_from(position - self.position).expect("inside the window");
        Ok(Some(self.bytes.slice(from..from + len)))
    }

    async fn load(&mut self, position: u64, want: usize) -> io::Result<Option<Bytes>> {
        if self.cold {
            let read = self.file.read_full_at(position, want).await;
            let bytes = match read {
                Err(error) if !is_lost(&error) => self.load_pieces(position, want, error).await?,
                read => read?,
            };
            return Ok(Some(bytes.freeze()));
        }
        let mut bytes = BytesMut::with_capacity(want);
        while bytes.len() < want {
            let at = position + bytes.len() as u64;
            match self.file.try_read_cached(at, want - bytes.len(), &mut bytes) {
                // Whoever waits for the disk is told which page it is.
                Ok(None) | Err(_) => return Ok(None),
                Ok(Some(0)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(Some(_)) => {}
            }
        }
        Ok(Some(bytes.freeze()))
    }

    /// Reads in smaller pieces after `failure`: a page that cannot be read takes none beside it
    /// with it. In its place stands what no header begins with, and what a checksum shows in a
    /// batch.
    async fn load_pieces(
        &mut self,
        position: u64,
        want: usize,
        failure: io::Error,
    ) -> io::Result<BytesMut> {
        let mut bytes = BytesMut::with_capacity(want);
        let mut unreadable = 0;
        while bytes.len() < want {
            let len = WINDOW_BYTES.min(want - bytes.len());
            match self.file.read_full_at(position + bytes.len() as u64, len).await {
                Err(error) if is_lost(&error) => return Err(error),
                Err(_) => {
                    let missing = self.load_pages(position, len, &mut bytes).await?;
                    // Behind a piece of which no page was read, nobody waits for the drive to give
                    // up again.
                    let left = if missing == len { want - bytes.len() } else { 0 };
                    bytes.resize(bytes.len() + left, UNREADABLE);
                    unreadable += missing + left;
                }
                Ok(read) => bytes.extend_from_slice(&read),
            }
        }
        assert_eq!(bytes.len(), want, "every piece was looked at");
        if unreadable == want {
            // Maybe it is not the page but the disk.
            return Err(failure);
        }
        if unreadable > 0 {
            rivven_io::probe!("page_unreadable");
            self.unreadable = Some(failure);
        }
        Ok(bytes)
    }

    /// Adds `len` bytes to what was read from `position`, page by page; how many could not be read.
    /// Behind a few such pages in a row none is tried any more.
    async fn load_pages(
        &self,
        position: u64,
        len: usize,
        bytes: &mut BytesMut,
    ) -> io::Result<usize> {
        let end = bytes.len() + len;
        let (mut unreadable, mut in_a_row) = (0, 0);
        while bytes.len() < end {
            let at = position + bytes.len() as u64;
            let to_page_end = usize::try_from(PAGE_BYTES - at % PAGE_BYTES).expect("a page");
            let page = to_page_end.min(end - bytes.len());
            let read = match in_a_row < UNREADABLE_IN_A_ROW_MAX {
                true => Some(self.file.read_full_at(at, page).await),
                false => None,
            };
            match read {
                Some(Ok(read)) => {
                    in_a_row = 0;
                    bytes.extend_from_slice(&read);
                }
                Some(Err(error)) if is_lost(&error) => return Err(error),
                _ => {
                    in_a_row += 1;
                    unreadable += page;
                    bytes.resize(bytes.len() + page, UNREADABLE);
                }
            }
        }
        Ok(unreadable)
    }

    /// Position of the batch that holds `offset`, or of the next one if the cleaner took it, looked
    /// for from `start` on.
    async fn find(
        &mut self,
        span: &SegmentSpan,
        offset: Offset,
        (first, mut position): (Offset, u64),
    ) -> io::Result<Found> {
        let has_gaps = span.name.generation > 0;
        // Which offset the batch at `position` must have; unknown after damage.
        let mut expected = Some(first);
        loop {
            if position >= self.end {
                // After damage nobody knows what stood there.
                return Ok(match expected.is_some() && has_gaps {
                    true => Found::Behind,
                    false => Found::Damaged("no batch of the segment holds it".to_owned()),
                });
            }
            let Some(head) = self.window(position, HEADER_BYTES).await? else {
                return Ok(Found::WouldWait);
            };
            let header = plausible(&head, self.end - position)
                .filter(|header| expected.is_none_or(|base| span.follows(base, header)));
            match header {
                Some(header) if header.last_offset() >= offset => {
                    if header.base_offset <= offset || has_gaps && expected.is_some() {
                        return Ok(Found::At(position));
                    }
                    return Ok(Found::Damaged("the batch that held it is damaged".to_owned()));
                }
                Some(header) => {
                    position += header.size() as u64;
                    expected = Some(header.last_offset().plus(1));
                }
                None => {
                    if !self.cold {
                        return Ok(Found::WouldWait);
                    }
                    expected = None;
                    match self.resync(position).await? {
                        Some(next) => position = next,
                        None => return Ok(Found::Damaged("its batch is damaged".to_owned())),
                    }
                }
            }
        }
    }

    /// Position of the next undamaged batch after a damaged place.
    pub(crate) async fn resync(&mut self, damaged: u64) -> io::Result<Option<u64>> {
        rivven_io::probe!("resync_after_damage");
        let mut position = damaged + 1;
        while position + HEADER_BYTES as u64 <= self.end {
            let Some(head) = self.window(position, HEADER_BYTES).await? else { return Ok(None) };
            if let Some(header) = plausible(&head, self.end - position) {
                let whole = self.window(position, header.size()).await?;
                if whole.is_some_and(|whole| compute_crc(&whole) == header.crc) {
                    return Ok(Some(position));
                }
                // What that header claimed may be wrong, and reach far into what cannot be read.
                self.bytes = Bytes::new();
            }
            position += 1;
        }
        Ok(None)
    }

    /// Builds the index of the first `self.end` bytes of a segment anew. Past a stretch that cannot
    /// be read at all it knows nothing; readers look from its last entry on.
    pub(crate) async fn build_index(
        &mut self,
        base: Offset,
        interval: u64,
    ) -> io::Result<BuiltIndex> {
        let mut index = SparseIndex::default();
        match self.note_batches(&mut index, (base, interval)).await {
            Err(error) if is_lost(&error) || self.bytes.is_empty() => Err(error),
            noted => Ok(BuiltIndex { index, is_whole: noted.is_ok_and(|is_whole| is_whole) }),
        }
    }

    /// Notes all batches; whether none was passed over.
    async fn note_batches(
        &mut self,
        index: &mut SparseIndex,
        (base, interval): (Offset, u64),
    ) -> io::Result<bool> {
        let mut position = 0;
        let mut max_timestamp = crate::ids::TimestampMs(-1);
        let mut is_whole = true;
        while position < self.end {
            let Some(head) = self.window(position, HEADER_BYTES).await? else { break };
            let Some(header) = plausible(&head, self.end - position) else {
                is_whole = false;
                match self.resync(position).await? {
                    Some(next) => position = next,
                    None => break,
                }
                continue;
            };
            if let Ok(offset_delta) = u32::try_from(header.base_offset.0 - base.0) {
                let at = u32::try_from(position).expect("segments are below 2 GiB");
                let follows =
                    index.entries().last().is_none_or(|last| last.offset_delta < offset_delta);
                if follows {
                    let entry = IndexEntry {
                        offset_delta,
                        position: at,
                        max_timestamp_before: max_timestamp,
                    };
                    index.note(entry, interval);
                }
            }
            max_timestamp = max_timestamp.max(header.max_timestamp);
            position += header.size() as u64;
        }
        Ok(is_whole)
    }
}

/// A header that may be one of a stored batch with `left` bytes to the end of the segment.
pub(crate) fn plausible(head: &[u8], left: u64) -> Option<BatchHeader> {
    let header = BatchHeader::parse(head).ok()?;
    let right = header.size() as u64 <= left
        && header.size() <= BATCH_BYTES_MAX
        && header.base_offset >= Offset::ZERO
        && header.last_offset_delta >= 0
        // What stands behind a border between two pages, if the second one cannot be read.
        && header.count >= 0;
    right.then_some(header)
}

#[cfg(test)]
mod tests;
