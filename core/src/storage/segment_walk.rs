//! Walks through the batches of a segment's file, with the CRC of each, past damage, in bounded
//! memory: for offline verification and for `rivven log dump`. Serving reads is `segment_read`.

use std::io;

use bytes::{Bytes, BytesMut};
use rivven_io::disk::File;

use crate::ids::{LeaderEpoch, Offset};
use crate::limits::BATCH_BYTES_MAX;
use crate::record::header::{
    ATTRIBUTES_POSITION, BatchHeader, HEADER_BYTES, MAGIC_POSITION, compute_crc,
};
use crate::storage::segment_read::plausible;

/// Bytes that are read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// What of a segment is walked through.
#[derive(Clone, Debug, Default)]
pub struct Stretch {
    /// Offset that the first batch must have, if that is known.
    pub base: Option<Offset>,
    /// Whether the cleaner wrote the segment: offsets rise, but some are missing.
    pub has_gaps: bool,
    /// Bytes from the file's front.
    pub bytes: u64,
    /// A position and the bytes that count there in place of the file's.
    pub page: Option<(u64, Bytes)>,
}

/// One step of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A batch whose CRC is right, and whose offset follows the one before.
    Batch {
        position: u64,
        header: BatchHeader,
    },
    Damage(Damage),
}

/// A place where no right batch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub position: u64,
    /// Offset that should stand here, if it is known.
    pub expected: Option<Offset>,
    pub reason: String,
    /// The header that stands here, if it is plausible.
    pub header: Option<BatchHeader>,
    /// Whether only the header's offset or epoch is wrong; the walk goes on behind the batch.
    pub passed: bool,
    /// Position and base offset of the next whole batch; `None` if there is none.
    pub next: Option<(u64, Offset)>,
}

/// Walks through one file.
pub struct SegmentWalk<'a> {
    source: Source<'a>,
    position: u64,
    /// End of the stretch.
    end: u64,
    expected: Option<Offset>,
    has_gaps: bool,
}

impl<'a> SegmentWalk<'a> {
    /// Begins at the front of the file.
    ///
    /// # Errors
    /// The file's length cannot be read.
    pub async fn new(file: &'a File, stretch: Stretch) -> io::Result<SegmentWalk<'a>> {
        let Stretch { base, has_gaps, bytes, page } = stretch;
        let mut end = file.len().await?;
        if let Some((position, page)) = page.as_ref().filter(|(position, _)| *position <= end) {
            end = end.max(position + page.len() as u64);
        }
        let source = Source { file, end: end.min(bytes), page, position: 0, window: Bytes::new() };
        Ok(SegmentWalk { source, position: 0, end: bytes, expected: base, has_gaps })
    }

    /// Where the walk stands: everything before was given out.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Offset that comes next, if it is known.
    #[must_use]
    pub fn expected(&self) -> Option<Offset> {
        self.expected
    }

    /// The next batch or damage; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn next(&mut self) -> io::Result<Option<Step>> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        if position >= self.source.end {
            self.position = self.end;
            let missing = self.end - position;
            return Ok(Some(self.damage(position, format!("{missing} bytes are missing"))));
        }
        let head = self.source.read(position, HEADER_BYTES).await?;
        let header = plausible(&head, self.source.end - position);
        let Some(header) = header else {
            return self.past_damage("no batch header stands here", None).await;
        };
        if self.source.crc(position, &header).await? != header.crc {
            return self.past_damage("the batch's checksum does not match", Some(header)).await;
        }
        self.position = position + header.size() as u64;
        assert!(self.position <= self.source.end, "a plausible batch lies within the stretch");
        let expected = self.expected;
        let is_next = expected.is_none_or(|expected| {
            header.base_offset == expected || self.has_gaps && header.base_offset > expected
        });
        let reason = if !is_next {
            let should = expected.map_or(0, |expected| expected.0);
            format!("the batch says offset {} where {should} must stand", header.base_offset)
        } else if header.leader_epoch != LeaderEpoch(0) {
            format!("the batch has epoch {}, a single node stays in 0", header.leader_epoch.0)
        } else {
            self.expected = Some(Offset(header.last_offset().0.saturating_add(1)));
            return Ok(Some(Step::Batch { position, header }));
        };
        // The CRC covers neither field, so the batch itself is whole and the chain goes on.
        let delta = i64::from(header.last_offset_delta) + 1;
        let base = expected.unwrap_or(header.base_offset);
        self.expected = Some(Offset(base.0.saturating_add(delta)));
        let next = None;
        let header = Some(header);
        let damage = Damage { position, expected, reason, header, passed: true, next };
        Ok(Some(Step::Damage(damage)))
    }

    fn damage(&self, position: u64, reason: String) -> Step {
        let expected = self.expected;
        Step::Damage(Damage { position, expected, reason, header: None, passed: false, next: None })
    }

    /// Moves on to the next whole batch.
    async fn past_damage(
        &mut self,
        reason: &str,
        header: Option<BatchHeader>,
    ) -> io::Result<Option<Step>> {
        let (position, expected) = (self.position, self.expected);
        let next = self.resync(position + 1).await?;
        self.position = next.map_or(self.end, |(next, _)| next);
        self.expected = next.map(|(_, offset)| offset);
        assert!(self.position > position, "a walk always moves on");
        let reason = reason.to_owned();
        let damage = Damage { position, expected, reason, header, passed: false, next };
        Ok(Some(Step::Damage(damage)))
    }

    /// The first whole batch at `position` or behind it whose offset is not below the expected.
    async fn resync(&mut self, mut position: u64) -> io::Result<Option<(u64, Offset)>> {
        let least = self.expected.unwrap_or(Offset::ZERO);
        loop {
            let chunk = self.source.read(position, WINDOW_BYTES).await?;
            let Some(last) = chunk.len().checked_sub(HEADER_BYTES) else { return Ok(None) };
            for at in 0..=last {
                if chunk[at + MAGIC_POSITION] != 2 {
                    continue;
                }
                let here = position + at as u64;
                let header = plausible(&chunk[at..], self.source.end - here)
                    .filter(|h| h.base_offset >= least && h.leader_epoch == LeaderEpoch(0));
                if let Some(header) = header
                    && self.source.crc(here, &header).await? == header.crc
                {
                    return Ok(Some((here, header.base_offset)));
                }
            }
            position += last as u64 + 1;
        }
    }

    /// A whole batch that a step gave, header included; at most `BATCH_BYTES_MAX` bytes. They may
    /// be read a second time, and are held to the header and its CRC once more.
    ///
    /// # Errors
    /// The file cannot be read, or gives other bytes than before.
    pub async fn batch(&mut self, position: u64, header: &BatchHeader) -> io::Result<Bytes> {
        assert!(header.size() <= BATCH_BYTES_MAX, "parsing keeps the bound");
        let mut batch = BytesMut::with_capacity(header.size());
        while batch.len() < header.size() {
            let at = position + batch.len() as u64;
            let piece = self.source.read(at, header.size() - batch.len()).await?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            batch.extend_from_slice(&piece);
        }
        let is_same = BatchHeader::parse(&batch).is_ok_and(|found| found == *header);
        if !is_same || compute_crc(&batch) != header.crc {
            let reason = format!("the batch at position {position} reads differently each time");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(batch.freeze())
    }
}

/// A file seen through one window, with a page that is laid over it.
struct Source<'a> {
    file: &'a File,
    end: u64,
    page: Option<(u64, Bytes)>,
    position: u64,
    window: Bytes,
}

impl Source<'_> {
    /// At most `len` bytes, and at most a window, from `position`; fewer only at the end.
    async fn read(&mut self, position: u64, len: usize) -> io::Result<Bytes> {
        let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let len = len.min(WINDOW_BYTES).min(left);
        let held = self.position..self.position + self.window.len() as u64;
        if position < held.start || position + len as u64 > held.end {
            self.window = self.load(position, WINDOW_BYTES.min(left)).await?;
            self.position = position;
        }
        let from = usize::try_from(position - self.position).expect("inside the window");
        assert!(from + len <= self.window.len(), "the window holds what was asked");
        Ok(self.window.slice(from..from + len))
    }

    async fn load(&self, position: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = BytesMut::with_capacity(len);
        while bytes.len() < len {
            let had = bytes.len();
            bytes = self.file.read_at(position + had as u64, len - had, bytes).await?;
            if bytes.len() == had {
                break;
            }
        }
        // Only a page can reach past the end of the file.
        bytes.resize(len, 0);
        if let Some((page, front)) = &self.page {
            let from = (*page).max(position);
            let to = (page + front.len() as u64).min(position + len as u64);
            if from < to {
                let at = |base: u64, place: u64| {
                    usize::try_from(place - base).expect("inside window and page")
                };
                bytes[at(position, from)..at(position, to)]
                    .copy_from_slice(&front[at(*page, from)..at(*page, to)]);
            }
        }
        Ok(bytes.freeze())
    }

    /// CRC-32C of a batch, computed window by window.
    async fn crc(&mut self, position: u64, header: &BatchHeader) -> io::Result<u32> {
        let end = position + header.size() as u64;
        assert!(end <= self.end, "only a batch that lies within the file is looked at");
        let mut at = position + ATTRIBUTES_POSITION as u64;
        let mut crc = 0;
        while at < end {
            let left = usize::try_from(end - at).expect("a batch fits memory");
            let piece = self.read(at, left).await?;
            if piece.is_empty() {
                return Ok(!header.crc);
            }
            crc = crc32c::crc32c_append(crc, &piece);
            at += piece.len() as u64;
        }
        Ok(crc)
    }
}

#[cfg(test)]
mod tests {
    use rivven_io::disk::{Create, OpenOptions};

    use super::*;
    use crate::ids::TimestampMs;
    use crate::record::builder::{BatchBuilder, NewRecord};
    use crate::record::header::patch;
    use crate::storage::real_world::run;

    /// A batch larger than the window is read once for its CRC and again for its bytes.
    #[test]
    fn bytes_that_change_between_two_reads_are_not_given_out() {
        run(async |env| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let path = dir.path().join("segment");
            let options = OpenOptions::write(Create::New);
            let file = env.disk.open(&path, options).await.expect("made");
            let value = vec![b'v'; 3 << 20];
            let mut batch =
                BatchBuilder::new(TimestampMs(1)).push(NewRecord::keyed(b"k", &value)).build();
            patch(&mut batch, Offset(0), LeaderEpoch(0));
            let end = batch.len() as u64;
            // In the offset, which is not under the CRC, in the attributes, and at the end.
            for at in [7, 22, end - 1] {
                let original = vec![Bytes::from(batch.clone())];
                file.write_all_at(0, original).await.expect("written");
                let stretch = Stretch { bytes: end, ..Stretch::default() };
                let mut walk = SegmentWalk::new(&file, stretch).await.expect("begun");
                let step = walk.next().await.expect("read");
                let Some(Step::Batch { position, header }) = step else { panic!("{step:?}") };
                let whole = walk.batch(position, &header).await.expect("nothing changed");
                assert_eq!(whole, batch);
                let other = vec![Bytes::from_static(b"~")];
                file.write_all_at(at, other).await.expect("written");
                walk.source.window = Bytes::new();
                let error = walk.batch(position, &header).await.expect_err("it changed");
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "at {at}");
            }
        });
    }

    /// The offset of a batch is not under its checksum.
    #[test]
    fn a_batch_with_another_offset_is_one_damage_and_the_next_follows_on() {
        run(async |env| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let path = dir.path().join("segment");
            let file = env.disk.open(&path, OpenOptions::write(Create::New)).await.expect("made");
            let mut bytes = Vec::new();
            for base in [0, 70, 4, 6] {
                let builder = BatchBuilder::new(TimestampMs(1)).push(NewRecord::value(b"v"));
                let mut batch = builder.push(NewRecord::value(b"w")).build();
                patch(&mut batch, Offset(base), LeaderEpoch(0));
                bytes.extend(batch);
            }
            let end = bytes.len() as u64;
            file.write_all_at(0, vec![Bytes::from(bytes)]).await.expect("written");
            let bytes = end + 40;
            let stretch = Stretch { base: Some(Offset(0)), bytes, ..Stretch::default() };
            let mut walk = SegmentWalk::new(&file, stretch).await.expect("begun");
            let mut steps = Vec::new();
            while let Some(step) = walk.next().await.expect("read") {
                steps.push(match step {
                    Step::Batch { header, .. } => Ok(header.base_offset.0),
                    Step::Damage(damage) => Err(damage.reason),
                });
            }
            let error = |reason: &str| Err(reason.to_owned());
            let another = error("the batch says offset 70 where 2 must stand");
            assert_eq!(steps, [Ok(0), another, Ok(4), Ok(6), error("40 bytes are missing")]);
        });
    }
}
