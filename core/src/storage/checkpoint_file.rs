//! The checkpoint: what the segments hold durably, so that the WAL before it can be forgotten.
//!
//! Two files take turns, so that a torn write leaves the older one; a reader takes the valid one
//! with the higher sequence. Little endian:
//!
//! ```text
//!   0  magic "RVCP" · u16 format = 2 · u16 zero
//!   8  u64 sequence, counted from 1
//!  16  u64 LSN · u64 WAL file sequence · u64 position · u64 start: replay begins after this commit
//!  48  u64 number of the last metadata command in the image
//!  56  u32 bytes of the image · u32 partitions
//!  64  image, as metadata draws it
//!      per partition: u8[16] topic id · u32 partition · u32 bytes · PartitionCheckpoint (postcard)
//!  end u32 CRC-32 of everything before
//! ```
//!
//! Format 1, whose segments have no generation, is read and turned into this one.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::ids::{Offset, PartitionId, TimestampMs, TopicId};
use crate::log::machine::PartitionLog;
use crate::log::segment::Segment;
use crate::producer::ProducerTable;
use crate::storage::wal::commit::Lsn;
use crate::storage::wal::replay::WalPosition;

const MAGIC: &[u8; 4] = b"RVCP";
const FORMAT: u16 = 2;
const HEADER_BYTES: usize = 64;
/// Largest checkpoint that is read, in bytes.
pub const CHECKPOINT_BYTES_MAX: u64 = 1 << 30;

/// Everything a checkpoint says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    pub sequence: u64,
    /// Where replay begins.
    pub wal: WalPosition,
    /// Number of the last metadata command in the image.
    pub commands: u64,
    /// Topics, as metadata draws them; no bytes for none.
    pub image: Bytes,
    /// State of each partition that ever held something; see [`decode_log`].
    pub partitions: BTreeMap<PartitionId, Bytes>,
}

/// One partition as its segments hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PartitionCheckpoint {
    log_start: i64,
    /// Oldest first; the last one is active.
    segments: Vec<SegmentCheckpoint>,
    producers: Vec<u8>,
    /// End of what the cleaner has compared.
    cleaned: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SegmentCheckpoint {
    base: i64,
    end: i64,
    bytes: u64,
    max_timestamp: i64,
    created: i64,
    generation: u32,
}

/// The same as format 1 drew it.
mod format_1 {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(super) struct PartitionCheckpoint {
        pub(super) log_start: i64,
        pub(super) segments: Vec<SegmentCheckpoint>,
        pub(super) producers: Vec<u8>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct SegmentCheckpoint {
        pub(super) base: i64,
        pub(super) end: i64,
        pub(super) bytes: u64,
        pub(super) max_timestamp: i64,
        pub(super) created: i64,
    }
}

/// Turns a partition's state of format 1 into one of this format; bytes that are none stay as they
/// are, and are refused when they are decoded.
fn upgraded(bytes: Bytes) -> Bytes {
    let Ok(old) = postcard::from_bytes::<format_1::PartitionCheckpoint>(&bytes) else {
        return bytes;
    };
    let segments = old.segments.into_iter().map(|segment| SegmentCheckpoint {
        base: segment.base,
        end: segment.end,
        bytes: segment.bytes,
        max_timestamp: segment.max_timestamp,
        created: segment.created,
        generation: 0,
    });
    let checkpoint = PartitionCheckpoint {
        log_start: old.log_start,
        segments: segments.collect(),
        producers: old.producers,
        cleaned: 0,
    };
    postcard::to_stdvec(&checkpoint).expect("plain data has a postcard form").into()
}

/// Draws one partition's state.
pub(crate) fn encode_log(log: &PartitionLog) -> Bytes {
    let segments = log.sealed().iter().chain([log.active()]);
    let mut producers = Vec::new();
    log.producers().snapshot(&mut producers);
    let checkpoint = PartitionCheckpoint {
        log_start: log.positions().log_start.0,
        segments: segments
            .map(|segment| SegmentCheckpoint {
                base: segment.base.0,
                end: segment.end.0,
                bytes: segment.bytes,
                max_timestamp: segment.max_timestamp.0,
                created: segment.created.0,
                generation: segment.generation,
            })
            .collect(),
        producers,
        cleaned: log.cleaned().0,
    };
    postcard::to_stdvec(&checkpoint).expect("plain data has a postcard form").into()
}

/// Reads one partition's state.
///
/// # Errors
/// What is wrong with it.
pub fn decode_log(bytes: &[u8]) -> Result<PartitionLog, String> {
    let checkpoint: PartitionCheckpoint =
        postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
    let producers =
        ProducerTable::restore(&checkpoint.producers).map_err(|error| error.to_string())?;
    let segments = checkpoint
        .segments
        .iter()
        .map(|segment| Segment {
            base: Offset(segment.base),
            end: Offset(segment.end),
            bytes: segment.bytes,
            max_timestamp: TimestampMs(segment.max_timestamp),
            created: TimestampMs(segment.created),
            generation: segment.generation,
        })
        .collect();
    let starts = (Offset(checkpoint.log_start), Offset(checkpoint.cleaned));
    PartitionLog::restored(starts, segments, producers)
        .ok_or_else(|| "its segments form no chain".to_owned())
}

impl Checkpoint {
    pub(crate) fn encode(&self) -> Bytes {
        let entries: usize = self.partitions.values().map(|bytes| 24 + bytes.len()).sum();
        let mut out = BytesMut::with_capacity(HEADER_BYTES + self.image.len() + entries + 4);
        out.put_slice(MAGIC);
        out.put_u16_le(FORMAT);
        out.put_u16_le(0);
        out.put_u64_le(self.sequence);
        out.put_u64_le(self.wal.lsn.0);
        out.put_u64_le(self.wal.file_sequence);
        out.put_u64_le(self.wal.position);
        out.put_u64_le(self.wal.start);
        out.put_u64_le(self.commands);
        out.put_u32_le(length(self.image.len()));
        out.put_u32_le(length(self.partitions.len()));
        out.put_slice(&self.image);
        for (id, bytes) in &self.partitions {
            out.put_slice(&id.topic.0);
            out.put_u32_le(id.index);
            out.put_u32_le(length(bytes.len()));
            out.put_slice(bytes);
        }
        let crc = crc32fast::hash(&out);
        out.put_u32_le(crc);
        out.freeze()
    }

    /// Reads a checkpoint; `None` if it is torn, damaged or of another format.
    #[must_use]
    pub fn decode(mut bytes: Bytes) -> Option<Checkpoint> {
        if bytes.len() < HEADER_BYTES + 4 || &bytes[..4] != MAGIC {
            return None;
        }
        let mut crc = bytes.split_off(bytes.len() - 4);
        if crc.get_u32_le() != crc32fast::hash(&bytes) {
            return None;
        }
        bytes.advance(4);
        let format = bytes.get_u16_le();
        if !(1..=FORMAT).contains(&format) {
            return None;
        }
        bytes.get_u16_le();
        let sequence = bytes.get_u64_le();
        let wal = WalPosition {
            lsn: Lsn(bytes.get_u64_le()),
            file_sequence: bytes.get_u64_le(),
            position: bytes.get_u64_le(),
            start: bytes.get_u64_le(),
        };
        let commands = bytes.get_u64_le();
        let image_bytes = bytes.get_u32_le() as usize;
        let count = bytes.get_u32_le();
        if image_bytes > bytes.len() {
            return None;
        }
        let image = bytes.split_to(image_bytes);
        let mut partitions = BTreeMap::new();
        for _ in 0..count {
            if bytes.len() < 24 {
                return None;
            }
            let mut topic = [0; 16];
            bytes.copy_to_slice(&mut topic);
            let id = PartitionId { topic: TopicId(topic), index: bytes.get_u32_le() };
            let entry_bytes = bytes.get_u32_le() as usize;
            if entry_bytes > bytes.len() {
                return None;
            }
            let state = bytes.split_to(entry_bytes);
            partitions.insert(id, if format == 1 { upgraded(state) } else { state });
        }
        Some(Checkpoint { sequence, wal, commands, image, partitions })
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("a checkpoint's parts are smaller than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let id = PartitionId { topic: TopicId([3; 16]), index: 5 };
        Checkpoint {
            sequence: 8,
            wal: WalPosition { lsn: Lsn(4), file_sequence: 1, position: 4096, start: 2 },
            commands: 17,
            image: Bytes::from_static(b"image"),
            partitions: BTreeMap::from([(id, encode_log(&PartitionLog::new(TimestampMs(9))))]),
        }
    }

    #[test]
    fn a_checkpoint_round_trips() {
        assert_eq!(Checkpoint::decode(sample().encode()), Some(sample()));
        for bytes in sample().partitions.values() {
            assert!(decode_log(bytes).is_ok());
        }
    }

    #[test]
    fn a_checkpoint_of_format_1_reads_as_one_of_this() {
        let id = PartitionId { topic: TopicId([3; 16]), index: 5 };
        let segment = format_1::SegmentCheckpoint {
            base: 3,
            end: 7,
            bytes: 100,
            max_timestamp: 5,
            created: 4,
        };
        let mut producers = Vec::new();
        ProducerTable::default().snapshot(&mut producers);
        let old =
            format_1::PartitionCheckpoint { log_start: 4, segments: vec![segment], producers };
        let state = Bytes::from(postcard::to_stdvec(&old).unwrap());
        let checkpoint =
            Checkpoint { partitions: BTreeMap::from([(id, state)]), ..Checkpoint::default() };
        let mut whole = checkpoint.encode().to_vec();
        whole[4..6].copy_from_slice(&1_u16.to_le_bytes());
        let end = whole.len() - 4;
        let crc = crc32fast::hash(&whole[..end]);
        whole[end..].copy_from_slice(&crc.to_le_bytes());
        let read = Checkpoint::decode(whole.into()).unwrap();
        let log = decode_log(&read.partitions[&id]).unwrap();
        assert_eq!((log.positions().log_start, log.positions().log_end), (Offset(4), Offset(7)));
        assert_eq!((log.active().generation, log.cleaned()), (0, Offset::ZERO));
        assert_eq!(Checkpoint::decode(read.encode()), Some(read));
    }

    #[test]
    fn a_torn_or_damaged_checkpoint_is_refused() {
        let whole = sample().encode();
        for at in 0..whole.len() {
            assert_eq!(Checkpoint::decode(whole.slice(..at)), None, "cut at {at}");
            let mut bad = whole.to_vec();
            bad[at] ^= 0x10;
            assert_eq!(Checkpoint::decode(bad.into()), None, "flipped at {at}");
        }
    }
}
