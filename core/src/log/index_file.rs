//! The index files of a segment: `.idx` (offsets) and `.timeindex` (timestamps).
//!
//! Both are a header of 32 bytes and fixed-size entries, little endian, and are written whole:
//!
//! ```text
//! header   0  magic "RVIX" (offsets) or "RVTX" (timestamps)
//!          4  u16 format = 1 · u16 zero
//!          8  i64 base offset of the segment
//!         16  u32 bytes of the segment that the entries cover
//!         20  u32 entries
//!         24  u32 zero
//!         28  u32 CRC-32 over bytes 0..28 and all entries
//! entry of .idx        u32 offset delta · u32 position
//! entry of .timeindex  i64 largest timestamp before the batch of the same number in .idx
//! ```
//!
//! They are hints: what does not check out is rebuilt from the segment, which is the truth.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::ids::{Offset, TimestampMs};
use crate::log::index::{IndexEntry, SparseIndex};

const HEADER_BYTES: usize = 32;
const FORMAT: u16 = 1;
const OFFSETS_MAGIC: &[u8; 4] = b"RVIX";
const TIMES_MAGIC: &[u8; 4] = b"RVTX";

/// Both files of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFiles {
    pub offsets: Bytes,
    pub times: Bytes,
}

/// Draws both files of `index`, which covers the first `covered` bytes of the segment.
#[must_use]
pub fn encode(base: Offset, covered: u32, index: &SparseIndex) -> IndexFiles {
    let entries = index.entries();
    let mut offsets = begin(OFFSETS_MAGIC, (base, covered, entries.len()), entries.len() * 8);
    let mut times = begin(TIMES_MAGIC, (base, covered, entries.len()), entries.len() * 8);
    for entry in entries {
        offsets.put_u32_le(entry.offset_delta);
        offsets.put_u32_le(entry.position);
        times.put_i64_le(entry.max_timestamp_before.0);
    }
    IndexFiles { offsets: finish(offsets), times: finish(times) }
}

/// Reads both files; the index and how many bytes of the segment it covers. `None` if either is
/// damaged or they do not belong together.
#[must_use]
pub fn decode(base: Offset, files: &IndexFiles) -> Option<(SparseIndex, u32)> {
    let (covered, mut offsets) = open(OFFSETS_MAGIC, base, &files.offsets)?;
    let (covered_times, mut times) = open(TIMES_MAGIC, base, &files.times)?;
    if covered != covered_times || offsets.len() != times.len() {
        return None;
    }
    let mut entries = Vec::with_capacity(offsets.len() / 8);
    while offsets.has_remaining() {
        entries.push(IndexEntry {
            offset_delta: offsets.get_u32_le(),
            position: offsets.get_u32_le(),
            max_timestamp_before: TimestampMs(times.get_i64_le()),
        });
    }
    if entries.last().is_some_and(|last| last.position >= covered) {
        return None;
    }
    Some((SparseIndex::from_entries(entries)?, covered))
}

/// What one index file of the two says by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoneIndexFile {
    /// Base offset of the segment.
    pub base: Offset,
    /// Bytes of the segment that the entries cover.
    pub covered: u32,
    pub entries: LoneEntries,
}

/// Entries of an index file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoneEntries {
    /// Offset delta and position of each entry of an `.idx`.
    Offsets(Vec<(u32, u32)>),
    /// Largest timestamp before each entry of a `.timeindex`.
    Times(Vec<TimestampMs>),
}

/// Reads one of the two files without the other, to show it. `None` if it is damaged.
#[must_use]
pub fn decode_alone(file: &[u8]) -> Option<LoneIndexFile> {
    let base = Offset(i64::from_le_bytes(file.get(8..16)?.try_into().ok()?));
    if let Some((covered, entries)) = open(OFFSETS_MAGIC, base, file) {
        let pairs =
            entries.chunks_exact(8).map(|mut entry| (entry.get_u32_le(), entry.get_u32_le()));
        return Some(LoneIndexFile {
            base,
            covered,
            entries: LoneEntries::Offsets(pairs.collect()),
        });
    }
    let (covered, entries) = open(TIMES_MAGIC, base, file)?;
    let times = entries.chunks_exact(8).map(|mut entry| TimestampMs(entry.get_i64_le()));
    Some(LoneIndexFile { base, covered, entries: LoneEntries::Times(times.collect()) })
}

fn begin(magic: &[u8; 4], (base, covered, count): (Offset, u32, usize), bytes: usize) -> BytesMut {
    let mut file = BytesMut::with_capacity(HEADER_BYTES + bytes);
    file.put_slice(magic);
    file.put_u16_le(FORMAT);
    file.put_u16_le(0);
    file.put_i64_le(base.0);
    file.put_u32_le(covered);
    file.put_u32_le(u32::try_from(count).expect("a segment has fewer than 2^32 index entries"));
    file.put_u32_le(0);
    file.put_u32_le(0);
    file
}

fn finish(mut file: BytesMut) -> Bytes {
    let crc = checksum(&file);
    file[28..32].copy_from_slice(&crc.to_le_bytes());
    file.freeze()
}

fn checksum(file: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file[..28]);
    hasher.update(&file[HEADER_BYTES..]);
    hasher.finalize()
}

fn open<'a>(magic: &[u8; 4], base: Offset, file: &'a [u8]) -> Option<(u32, &'a [u8])> {
    if file.len() < HEADER_BYTES || &file[..4] != magic {
        return None;
    }
    let mut header = &file[4..HEADER_BYTES];
    let format = header.get_u16_le();
    header.get_u16_le();
    let found_base = header.get_i64_le();
    let covered = header.get_u32_le();
    let count = header.get_u32_le() as usize;
    header.get_u32_le();
    let crc = header.get_u32_le();
    let entries = &file[HEADER_BYTES..];
    let right = format == FORMAT
        && found_base == base.0
        && count.checked_mul(8) == Some(entries.len())
        && crc == checksum(file);
    right.then_some((covered, entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SparseIndex {
        let mut index = SparseIndex::default();
        for k in 1..50_u32 {
            let entry = IndexEntry {
                offset_delta: k * 3,
                position: k * 5000,
                max_timestamp_before: TimestampMs(i64::from(k) * 7),
            };
            index.note(entry, 4096);
        }
        index
    }

    #[test]
    fn index_files_round_trip() {
        let files = encode(Offset(77), 250_000, &sample());
        assert_eq!(decode(Offset(77), &files), Some((sample(), 250_000)));
    }

    #[test]
    fn each_index_file_can_be_read_alone() {
        let files = encode(Offset(77), 250_000, &sample());
        let entries = sample().entries().to_vec();
        let offsets = entries.iter().map(|entry| (entry.offset_delta, entry.position)).collect();
        let times = entries.iter().map(|entry| entry.max_timestamp_before).collect();
        for (file, entries) in [
            (files.offsets, LoneEntries::Offsets(offsets)),
            (files.times, LoneEntries::Times(times)),
        ] {
            let wanted = LoneIndexFile { base: Offset(77), covered: 250_000, entries };
            assert_eq!(decode_alone(&file), Some(wanted));
            for len in 0..file.len() {
                assert_eq!(decode_alone(&file[..len]), None);
            }
        }
    }

    #[test]
    fn first_bytes_of_an_index_file_stay_as_they_are() {
        let files = encode(Offset(258), 9000, &SparseIndex::default());
        assert_eq!(
            files.offsets[..28],
            *b"RVIX\x01\0\0\0\x02\x01\0\0\0\0\0\0\x28\x23\0\0\0\0\0\0\0\0\0\0"
        );
    }

    #[test]
    fn any_flipped_or_missing_byte_of_an_index_file_is_noticed() {
        let files = encode(Offset(77), 250_000, &sample());
        for at in 0..files.offsets.len() {
            let mut bad = files.offsets.to_vec();
            bad[at] ^= 0x40;
            let flipped = IndexFiles { offsets: bad.into(), times: files.times.clone() };
            let cut = IndexFiles { offsets: files.offsets.slice(..at), times: files.times.clone() };
            assert!(decode(Offset(77), &cut).is_none(), "cut at {at}");
            // Bytes 24..28 are covered by the CRC too, so every flip must show.
            assert!(decode(Offset(77), &flipped).is_none(), "flipped at {at}");
        }
        assert!(decode(Offset(78), &files).is_none(), "another segment's index");
    }
}
