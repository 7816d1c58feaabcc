//! The frame of one commit: what is written and synced at once.
//!
//! A commit begins at a multiple of 4096 in its file and is padded with zeros to the next one, so
//! that a torn write never touches the bytes of an earlier commit. Little endian:
//!
//! ```text
//!   0  magic "RVCM"
//!   4  u16 format = 1 · u16 zero
//!   8  u64 LSN: number of this commit, counted from 1, without gaps
//!  16  u64 LSN through which everything was synced when this was written
//!  24  u64 sequence of the file: rises by 1 with every file that is begun
//!  32  u64 start: how often this directory had been opened, this time included
//!  40  u32 payload bytes · u32 records
//!  48  u32 zero · u32 zero
//!  56  u32 CRC-32 over bytes 0..56
//!  60  u32 CRC-32 over bytes 0..56 and the payload, begun with the file's sequence and the start
//!  64  payload
//! ```

use bytes::{Buf, BufMut, BytesMut};
use serde::{Deserialize, Serialize};

/// Bytes of the header.
pub const COMMIT_HEADER_BYTES: usize = 64;
/// Commits begin at multiples of this many bytes.
pub const COMMIT_ALIGN: usize = 4096;

const MAGIC: &[u8; 4] = b"RVCM";
const FORMAT: u16 = 1;

/// Number of a commit, counted from 1; 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The commit after this one.
    #[must_use]
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

/// Header of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitHeader {
    pub lsn: Lsn,
    pub synced: Lsn,
    pub file_sequence: u64,
    pub start: u64,
    pub payload_bytes: u32,
    pub records: u32,
}

impl CommitHeader {
    /// Bytes of the commit on disk, padding included.
    #[must_use]
    pub fn padded_bytes(&self) -> u64 {
        padded(COMMIT_HEADER_BYTES + self.payload_bytes as usize) as u64
    }

    /// Reads a header whose own checksum is right; its payload may still be damaged.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<CommitHeader> {
        let head = bytes.get(..COMMIT_HEADER_BYTES)?;
        if &head[..4] != MAGIC {
            return None;
        }
        let mut at = &head[4..];
        let format = at.get_u16_le();
        at.get_u16_le();
        let header = CommitHeader {
            lsn: Lsn(at.get_u64_le()),
            synced: Lsn(at.get_u64_le()),
            file_sequence: at.get_u64_le(),
            start: at.get_u64_le(),
            payload_bytes: at.get_u32_le(),
            records: at.get_u32_le(),
        };
        at.get_u64_le();
        let crc = at.get_u32_le();
        (format == FORMAT && crc == crc32fast::hash(&head[..56])).then_some(header)
    }

    /// Whether `commit`, which begins with this header, holds its whole payload undamaged.
    #[must_use]
    pub fn verify(&self, commit: &[u8]) -> bool {
        let end = COMMIT_HEADER_BYTES + self.payload_bytes as usize;
        let Some(commit) = commit.get(..end) else { return false };
        let mut stored = &commit[60..64];
        stored.get_u32_le() == self.checksum(commit)
    }

    fn checksum(&self, commit: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.file_sequence.to_le_bytes());
        hasher.update(&self.start.to_le_bytes());
        hasher.update(&commit[..56]);
        hasher.update(&commit[COMMIT_HEADER_BYTES..]);
        hasher.finalize()
    }
}

/// Writes the header into the 64 bytes that stand before the payload in `commit`, and pads it.
///
/// # Panics
/// When `commit` is shorter than a header or its payload is not what `header` says.
pub fn seal(commit: &mut BytesMut, header: &CommitHeader) {
    assert_eq!(
        commit.len(),
        COMMIT_HEADER_BYTES + header.payload_bytes as usize,
        "the header must describe the payload"
    );
    assert!(header.lsn > header.synced, "a commit is not synced before it is written");
    let mut head = [0_u8; 56];
    let mut at = &mut head[..];
    at.put_slice(MAGIC);
    at.put_u16_le(FORMAT);
    at.put_u16_le(0);
    at.put_u64_le(header.lsn.0);
    at.put_u64_le(header.synced.0);
    at.put_u64_le(header.file_sequence);
    at.put_u64_le(header.start);
    at.put_u32_le(header.payload_bytes);
    at.put_u32_le(header.records);
    commit[..56].copy_from_slice(&head);
    commit[56..60].copy_from_slice(&crc32fast::hash(&head).to_le_bytes());
    let crc = header.checksum(commit);
    commit[60..64].copy_from_slice(&crc.to_le_bytes());
    commit.resize(padded(commit.len()), 0);
}

/// `bytes` rounded up to whole commit units.
#[must_use]
pub fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(COMMIT_ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(payload: &[u8]) -> (BytesMut, CommitHeader) {
        let header = CommitHeader {
            lsn: Lsn(7),
            synced: Lsn(6),
            file_sequence: 3,
            start: 2,
            payload_bytes: u32::try_from(payload.len()).expect("small"),
            records: 1,
        };
        let mut commit = BytesMut::zeroed(COMMIT_HEADER_BYTES);
        commit.extend_from_slice(payload);
        seal(&mut commit, &header);
        (commit, header)
    }

    #[test]
    fn a_sealed_commit_reads_back_and_is_padded() {
        let (commit, header) = sample(&[9; 5000]);
        assert_eq!(commit.len(), 8192);
        assert_eq!(CommitHeader::decode(&commit), Some(header));
        assert!(header.verify(&commit));
        assert_eq!(header.padded_bytes(), 8192);
    }

    #[test]
    fn first_bytes_of_a_commit_stay_as_they_are() {
        let (commit, _) = sample(b"abc");
        assert_eq!(
            commit[..56],
            *b"RVCM\x01\0\0\0\x07\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\
               \x02\0\0\0\0\0\0\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0"
        );
    }

    #[test]
    fn any_flipped_byte_of_a_commit_is_noticed() {
        let (commit, header) = sample(&[5; 100]);
        for at in 0..COMMIT_HEADER_BYTES + 100 {
            let mut bad = commit.to_vec();
            bad[at] ^= 1;
            let found = CommitHeader::decode(&bad);
            assert!(
                found != Some(header) || !header.verify(&bad),
                "byte {at} was flipped and nobody noticed"
            );
        }
    }

    #[test]
    fn a_commit_of_an_older_lap_or_start_does_not_verify_as_a_newer_one() {
        let (commit, header) = sample(&[5; 100]);
        for newer in [
            CommitHeader { file_sequence: 4, ..header },
            CommitHeader { start: 3, ..header },
            CommitHeader { file_sequence: 2, start: 3, ..header },
        ] {
            assert!(!newer.verify(&commit));
        }
    }
}
