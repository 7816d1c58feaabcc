//! What stands in a commit: batches with their places, and every change of state that a replay
//! must not forget.
//!
//! ```text
//! record     u8 kind · u8[3] zero · u32 body bytes · body            (little endian)
//! 1 append   u8[16] topic id · u32 partition · u32 zero · i64 segment base · u64 position
//!            · i64 time of append, ms · record batch v2 with its final offsets
//! 2 page     u8[16] topic id · u32 partition · u32 zero · i64 segment base · u64 position · bytes
//! 3 start    u8[16] topic id · u32 partition · u32 zero · i64 log start
//! 4 metadata u64 number of the command · command (postcard)
//! 5 compacted u8[16] topic id · u32 partition · u32 zero · i64 base · i64 end · u64 bytes
//!            · i64 max timestamp · i64 created · u32 generation · u32 zero · i64 cleaned
//! 6 rolled   u8[16] topic id · u32 partition · u32 zero · i64 closed segment base · u64 its bytes
//!            · i64 base of the new segment
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::ids::{Offset, PartitionId, TimestampMs, TopicId};
use crate::log::machine::Placement;
use crate::log::segment::{SEGMENT_BYTES_MAX, Segment};
use crate::record::header::BatchHeader;

/// Bytes of an append record before its batch.
pub const APPEND_OVERHEAD_BYTES: usize = 8 + 24 + 24;
/// Bytes of a page record before its bytes.
pub const PAGE_OVERHEAD_BYTES: usize = 8 + 24 + 16;
/// Bytes of a compacted record.
pub const COMPACTED_BYTES: usize = 8 + 24 + COMPACTED_BODY_BYTES;

/// Bytes of a rolled record.
pub const ROLLED_BYTES: usize = 8 + 24 + ROLLED_BODY_BYTES;

const COMPACTED_BODY_BYTES: usize = 5 * 8 + 2 * 4 + 8;
const ROLLED_BODY_BYTES: usize = 3 * 8;

const APPEND: u8 = 1;
const PAGE: u8 = 2;
const LOG_START: u8 = 3;
const METADATA: u8 = 4;
const COMPACTED: u8 = 5;
const ROLLED: u8 = 6;

/// One record of the WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalRecord {
    Append {
        partition: PartitionId,
        placement: Placement,
        appended: TimestampMs,
        batch: Bytes,
    },
    /// The front part of a segment's page that was durable before and is about to be written
    /// again: a power cut may spoil the whole page.
    Page {
        partition: PartitionId,
        segment_base: Offset,
        position: u64,
        bytes: Bytes,
    },
    LogStart {
        partition: PartitionId,
        log_start: Offset,
    },
    Metadata {
        number: u64,
        command: Bytes,
    },
    /// A segment that the cleaner wrote takes the place of those that it stands for.
    Compacted {
        partition: PartitionId,
        segment: Segment,
        /// End of what the cleaner has compared.
        cleaned: Offset,
    },
    /// A start closed a segment whose end cannot be read. It stands behind the batches that it
    /// moves.
    Rolled {
        partition: PartitionId,
        rolled: Rolled,
    },
}

/// A segment that was closed where its trusted bytes end, although the WAL places more in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolled {
    /// Base offset of the closed segment.
    pub closed: Offset,
    /// Bytes of the closed segment.
    pub bytes: u64,
    /// Where it ends, and base offset of the segment that goes on.
    pub base: Offset,
}

impl Rolled {
    /// Where a batch goes that the WAL places at `placement`.
    #[must_use]
    pub fn moved(&self, placement: Placement) -> Placement {
        let is_behind = placement.segment_base == self.closed && placement.base_offset >= self.base;
        match placement.position.checked_sub(self.bytes) {
            Some(position) if is_behind => {
                Placement { segment_base: self.base, position, ..placement }
            }
            _ => placement,
        }
    }

    /// Where a batch goes after all of them, in the order of the WAL.
    #[must_use]
    pub fn moved_by_all(all: &[Rolled], placement: Placement) -> Placement {
        all.iter().fold(placement, |placement, rolled| rolled.moved(placement))
    }

    fn is_sound(&self) -> bool {
        Offset::ZERO <= self.closed
            && self.closed < self.base
            && (1..=SEGMENT_BYTES_MAX).contains(&self.bytes)
    }
}

impl WalRecord {
    /// Bytes in a commit.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        match self {
            WalRecord::Append { batch, .. } => APPEND_OVERHEAD_BYTES + batch.len(),
            WalRecord::Page { bytes, .. } => PAGE_OVERHEAD_BYTES + bytes.len(),
            WalRecord::LogStart { .. } => 8 + 24 + 8,
            WalRecord::Metadata { command, .. } => 8 + 8 + command.len(),
            WalRecord::Compacted { .. } => COMPACTED_BYTES,
            WalRecord::Rolled { .. } => ROLLED_BYTES,
        }
    }

    /// Appends the record to a commit. Where in `out` a batch landed.
    pub fn encode(&self, out: &mut BytesMut) -> std::ops::Range<usize> {
        let before = out.len();
        let body = self.encoded_bytes() - 8;
        let kind = match self {
            WalRecord::Append { .. } => APPEND,
            WalRecord::Page { .. } => PAGE,
            WalRecord::LogStart { .. } => LOG_START,
            WalRecord::Metadata { .. } => METADATA,
            WalRecord::Compacted { .. } => COMPACTED,
            WalRecord::Rolled { .. } => ROLLED,
        };
        out.put_u32_le(u32::from(kind));
        out.put_u32_le(u32::try_from(body).expect("limits keep a record below 4 GiB"));
        match self {
            WalRecord::Append { partition, placement, appended, batch } => {
                put_partition(out, *partition);
                out.put_i64_le(placement.segment_base.0);
                out.put_u64_le(placement.position);
                out.put_i64_le(appended.0);
                out.put_slice(batch);
            }
            WalRecord::Page { partition, segment_base, position, bytes } => {
                put_partition(out, *partition);
                out.put_i64_le(segment_base.0);
                out.put_u64_le(*position);
                out.put_slice(bytes);
            }
            WalRecord::LogStart { partition, log_start } => {
                put_partition(out, *partition);
                out.put_i64_le(log_start.0);
            }
            WalRecord::Metadata { number, command } => {
                out.put_u64_le(*number);
                out.put_slice(command);
            }
            WalRecord::Compacted { partition, segment, cleaned } => {
                put_partition(out, *partition);
                put_segment(out, segment);
                out.put_i64_le(cleaned.0);
            }
            WalRecord::Rolled { partition, rolled } => {
                put_partition(out, *partition);
                out.put_i64_le(rolled.closed.0);
                out.put_u64_le(rolled.bytes);
                out.put_i64_le(rolled.base.0);
            }
        }
        assert_eq!(out.len() - before, self.encoded_bytes(), "a record has its announced size");
        let payload = match self {
            WalRecord::Append { .. } => APPEND_OVERHEAD_BYTES,
            _ => out.len() - before,
        };
        before + payload..out.len()
    }

    /// Takes the first record off `payload`, of which batches stay slices. `None` if it is none;
    /// then the commit was not written by this format.
    #[must_use]
    pub fn decode(payload: &mut Bytes) -> Option<WalRecord> {
        if payload.len() < 8 {
            return None;
        }
        let kind = payload.get_u32_le();
        let body_bytes = payload.get_u32_le() as usize;
        if body_bytes > payload.len() {
            return None;
        }
        let mut body = payload.split_to(body_bytes);
        match u8::try_from(kind).ok()? {
            APPEND => {
                let partition = get_partition(&mut body, 24)?;
                let segment_base = Offset(body.get_i64_le());
                let position = body.get_u64_le();
                let appended = TimestampMs(body.get_i64_le());
                let base_offset = BatchHeader::parse(&body).ok()?.base_offset;
                let placement = Placement { base_offset, segment_base, position };
                Some(WalRecord::Append { partition, placement, appended, batch: body })
            }
            PAGE => {
                let partition = get_partition(&mut body, 16)?;
                let segment_base = Offset(body.get_i64_le());
                let position = body.get_u64_le();
                Some(WalRecord::Page { partition, segment_base, position, bytes: body })
            }
            LOG_START => {
                let partition = get_partition(&mut body, 8)?;
                Some(WalRecord::LogStart { partition, log_start: Offset(body.get_i64_le()) })
            }
            METADATA if body.len() >= 8 => {
                let number = body.get_u64_le();
                Some(WalRecord::Metadata { number, command: body })
            }
            COMPACTED => {
                let partition = get_partition(&mut body, COMPACTED_BODY_BYTES)?;
                let segment = get_segment(&mut body);
                let cleaned = Offset(body.get_i64_le());
                // What a cleaner never writes would not be a segment of any log.
                let is_sound = segment.has_gaps() && segment.is_sound() && cleaned >= Offset::ZERO;
                is_sound.then_some(WalRecord::Compacted { partition, segment, cleaned })
            }
            ROLLED => {
                let partition = get_partition(&mut body, ROLLED_BODY_BYTES)?;
                let closed = Offset(body.get_i64_le());
                let bytes = body.get_u64_le();
                let rolled = Rolled { closed, bytes, base: Offset(body.get_i64_le()) };
                rolled.is_sound().then_some(WalRecord::Rolled { partition, rolled })
            }
            _ => None,
        }
    }
}

fn put_segment(out: &mut BytesMut, segment: &Segment) {
    out.put_i64_le(segment.base.0);
    out.put_i64_le(segment.end.0);
    out.put_u64_le(segment.bytes);
    out.put_i64_le(segment.max_timestamp.0);
    out.put_i64_le(segment.created.0);
    out.put_u32_le(segment.generation);
    out.put_u32_le(0);
}

fn get_segment(body: &mut Bytes) -> Segment {
    let segment = Segment {
        base: Offset(body.get_i64_le()),
        end: Offset(body.get_i64_le()),
        bytes: body.get_u64_le(),
        max_timestamp: TimestampMs(body.get_i64_le()),
        created: TimestampMs(body.get_i64_le()),
        generation: body.get_u32_le(),
    };
    body.get_u32_le();
    segment
}

fn put_partition(out: &mut BytesMut, partition: PartitionId) {
    out.put_slice(&partition.topic.0);
    out.put_u32_le(partition.index);
    out.put_u32_le(0);
}

fn get_partition(body: &mut Bytes, more: usize) -> Option<PartitionId> {
    if body.len() < 24 + more {
        return None;
    }
    let mut topic = [0; 16];
    body.copy_to_slice(&mut topic);
    let index = body.get_u32_le();
    body.get_u32_le();
    Some(PartitionId { topic: TopicId(topic), index })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::builder::{BatchBuilder, NewRecord};

    fn one_record_batch() -> Vec<u8> {
        BatchBuilder::new(TimestampMs(5)).push(NewRecord::keyed(b"k", b"v")).build()
    }

    fn samples() -> Vec<WalRecord> {
        let partition = PartitionId { topic: TopicId([7; 16]), index: 3 };
        let placement =
            Placement { base_offset: Offset(40), segment_base: Offset(8), position: 999 };
        let mut batch = one_record_batch();
        crate::record::header::patch(&mut batch, Offset(40), crate::ids::LeaderEpoch(0));
        vec![
            WalRecord::Append {
                partition,
                placement,
                appended: TimestampMs(77),
                batch: Bytes::from(batch),
            },
            WalRecord::Page {
                partition,
                segment_base: Offset(8),
                position: 4096,
                bytes: Bytes::from_static(b"front of a page"),
            },
            WalRecord::LogStart { partition, log_start: Offset(12) },
            WalRecord::Metadata { number: 9, command: Bytes::from_static(b"command") },
            WalRecord::Compacted {
                partition,
                segment: Segment {
                    base: Offset(8),
                    end: Offset(40),
                    bytes: 77,
                    max_timestamp: TimestampMs(6),
                    created: TimestampMs(5),
                    generation: 2,
                },
                cleaned: Offset(39),
            },
            WalRecord::Rolled {
                partition,
                rolled: Rolled { closed: Offset(8), bytes: 999, base: Offset(40) },
            },
        ]
    }

    #[test]
    fn only_what_lies_behind_a_closed_segment_is_moved() {
        let rolled = Rolled { closed: Offset(8), bytes: 999, base: Offset(40) };
        let place = |base_offset, segment_base, position| Placement {
            base_offset: Offset(base_offset),
            segment_base: Offset(segment_base),
            position,
        };
        for (from, to) in [
            (place(40, 8, 999), place(40, 40, 0)),
            (place(45, 8, 1200), place(45, 40, 201)),
            (place(39, 8, 900), place(39, 8, 900)),
            (place(60, 40, 1500), place(60, 40, 1500)),
            (place(70, 70, 0), place(70, 70, 0)),
            (place(40, 8, 998), place(40, 8, 998)),
        ] {
            assert_eq!(rolled.moved(from), to, "{from:?}");
        }
        let next = Rolled { closed: Offset(40), bytes: 201, base: Offset(45) };
        let moved = Rolled::moved_by_all(&[rolled, next], place(45, 8, 1200));
        assert_eq!(moved, place(45, 45, 0));
    }

    #[test]
    fn records_round_trip_one_after_the_other() {
        let mut out = BytesMut::new();
        for record in samples() {
            record.encode(&mut out);
        }
        let mut payload = out.freeze();
        for record in samples() {
            assert_eq!(WalRecord::decode(&mut payload), Some(record));
        }
        assert!(payload.is_empty());
    }

    #[test]
    fn every_truncated_record_is_refused() {
        for record in samples() {
            let mut out = BytesMut::new();
            record.encode(&mut out);
            for len in 0..out.len() {
                let mut cut = Bytes::copy_from_slice(&out[..len]);
                assert_eq!(WalRecord::decode(&mut cut), None, "{record:?} cut to {len}");
            }
        }
    }
}
