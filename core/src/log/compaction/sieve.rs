//! What the cleaner leaves of a batch. Offsets, the batch's range of them, producer, sequence and
//! codec stay as they are, and so do the bytes of every record that stays, but for its distance
//! from a base timestamp that became a delete horizon.
//!
//! A record stays while no later one of its key was noted, a tombstone besides until its batch's
//! delete horizon, which the first cleaning sets. Of a producer's last batch at least the header
//! stays, control batches stay whole, and nothing behind what the map has looked at is judged.

use std::collections::BTreeMap;

use crate::ids::{Offset, ProducerId, TimestampMs};
use crate::limits::BATCH_BYTES_MAX;
use crate::log::compaction::offset_map::OffsetMap;
use crate::record::compression::Codec;
use crate::record::header::{
    ATTRIBUTES_POSITION, BASE_TIMESTAMP_POSITION, BATCH_LENGTH_POSITION, BatchHeader, CODEC_MASK,
    COUNT_POSITION, CRC_POSITION, DELETE_HORIZON_BIT, HEADER_BYTES, LOG_OVERHEAD_BYTES,
    MAX_TIMESTAMP_POSITION, TimestampType, compute_crc, put,
};
use crate::record::records::Record;
use crate::record::unpacked::{UnpackedBatch, UnreadableBatch, unpack};
use crate::record::varint;

/// Max timestamp of a batch without records: it must not be found by a search for one.
const NO_TIMESTAMP: TimestampMs = TimestampMs(-1);

/// What one run of the cleaner holds batches against.
pub struct Sieve<'a> {
    pub map: &'a OffsetMap,
    pub now: TimestampMs,
    /// `delete.retention.ms`.
    pub delete_retention_ms: u64,
    /// Offset of the last record of each producer whose sequence is remembered.
    pub producers: &'a BTreeMap<ProducerId, Offset>,
    /// Whether every tombstone stays: a batch before was left as it is, with what they delete.
    pub holds_tombstones: bool,
}

/// What is left of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sifted {
    /// All of it, as it is.
    Whole,
    /// These bytes; they may be more than the batch had, if others packed it better.
    Written(Vec<u8>),
    Nothing,
    /// Less than all, which packs to more than a batch may have: it has to stay as it is.
    TooLarge,
}

/// What the records of a batch that stay have in common. They are not listed: a batch may hold
/// millions, of a few bytes each.
#[derive(Default)]
struct Kept {
    count: usize,
    has_tombstone: bool,
    max_timestamp: Option<TimestampMs>,
}

impl Sieve<'_> {
    /// Decides about one whole batch of the log.
    ///
    /// # Errors
    /// Its records cannot be read. So nothing behind it may go either: a tombstone there may be for
    /// a value here.
    pub fn sift(&self, batch: &[u8]) -> Result<Sifted, UnreadableBatch> {
        let header = BatchHeader::parse(batch)?;
        if header.is_control() || header.base_offset >= self.map.end() {
            return Ok(Sifted::Whole);
        }
        let unpacked = unpack(batch)?;
        let kept = self.kept(&unpacked)?;
        let count = usize::try_from(header.count).unwrap_or(0);
        assert!(kept.count <= count, "no record is made");
        if kept.count == 0 {
            let is_last = self.producers.get(&header.producer_id) == Some(&header.last_offset());
            return Ok(match (is_last && header.producer_id.0 >= 0, count) {
                (true, 0) => Sifted::Whole,
                (true, _) => Sifted::Written(emptied(batch)),
                (false, _) => Sifted::Nothing,
            });
        }
        let horizon = TimestampMs(self.now.0.saturating_add_unsigned(self.delete_retention_ms));
        // Before all of the batch was compared, what a tombstone's key held before may be there.
        let is_compared = header.last_offset() < self.map.end();
        let needs_horizon = is_compared && kept.has_tombstone && header.delete_horizon().is_none();
        if kept.count == count && !needs_horizon {
            return Ok(Sifted::Whole);
        }
        self.write(batch, (unpacked, &kept), needs_horizon.then_some(horizon))
    }

    fn kept(&self, batch: &UnpackedBatch<'_>) -> Result<Kept, UnreadableBatch> {
        let mut kept = Kept::default();
        batch.each_record(|offset, record, _| {
            if self.keeps(&batch.header, (offset, record)) {
                kept.count += 1;
                kept.has_tombstone |= record.value.is_none();
                kept.max_timestamp = kept.max_timestamp.max(Some(record.timestamp));
            }
            true
        })?;
        Ok(kept)
    }

    fn keeps(&self, header: &BatchHeader, (offset, record): (Offset, &Record<'_>)) -> bool {
        if offset >= self.map.end() {
            return true;
        }
        // As in Kafka, what has no key does not survive in a topic that is about keys.
        let Some(key) = record.key else { return false };
        let is_live = record.value.is_some() || self.keeps_tombstones(header);
        is_live && !self.map.supersedes(key, offset)
    }

    fn keeps_tombstones(&self, header: &BatchHeader) -> bool {
        if self.holds_tombstones {
            return true;
        }
        if rivven_io::planted!("B52") {
            return header.delete_horizon().is_none();
        }
        header.delete_horizon().is_none_or(|horizon| self.now < horizon)
    }

    /// The batch with fewer records, or with a delete horizon.
    fn write(
        &self,
        batch: &[u8],
        (unpacked, kept): (UnpackedBatch<'_>, &Kept),
        horizon: Option<TimestampMs>,
    ) -> Result<Sifted, UnreadableBatch> {
        let (header, codec) = (unpacked.header, unpacked.codec);
        let body = self.body(&unpacked, (kept, horizon))?;
        // One copy fewer while it is packed and read back.
        drop(unpacked);
        let (codec, packed) = codec.compress(&body);
        drop(body);
        if HEADER_BYTES + packed.len() > BATCH_BYTES_MAX {
            // Without a horizon its tombstones stay until another cleaning finds room for one.
            return match horizon {
                Some(_) => self.write(batch, (unpack(batch)?, kept), None),
                None => Ok(Sifted::TooLarge),
            };
        }
        let mut out = [&batch[..HEADER_BYTES], &packed].concat();
        let mut attributes = header.attributes & !CODEC_MASK | codec as i16;
        if let Some(horizon) = horizon {
            attributes |= DELETE_HORIZON_BIT;
            put(&mut out, BASE_TIMESTAMP_POSITION, &horizon.0.to_be_bytes());
        }
        put(&mut out, ATTRIBUTES_POSITION, &attributes.to_be_bytes());
        let max_timestamp = match header.timestamp_type() {
            TimestampType::LogAppendTime => header.max_timestamp,
            TimestampType::CreateTime => kept.max_timestamp.expect("some record stays"),
        };
        put(&mut out, MAX_TIMESTAMP_POSITION, &max_timestamp.0.to_be_bytes());
        let count = i32::try_from(kept.count).expect("no more than there were");
        Ok(Sifted::Written(finish(out, count)))
    }

    /// The records that stay, one after the other.
    fn body(
        &self,
        batch: &UnpackedBatch<'_>,
        (kept, horizon): (&Kept, Option<TimestampMs>),
    ) -> Result<Vec<u8>, UnreadableBatch> {
        let further = horizon.map(|at| batch.header.base_timestamp.0.wrapping_sub(at.0));
        let mut body = Vec::with_capacity(batch.body.len());
        let mut count = 0;
        batch.each_record(|offset, record, range| {
            if self.keeps(&batch.header, (offset, record)) {
                count += 1;
                match further {
                    None => body.extend_from_slice(&batch.body[range]),
                    Some(further) => rebase(&mut body, &batch.body[range], further),
                }
            }
            true
        })?;
        assert_eq!(count, kept.count, "the same records stay whenever it is asked");
        Ok(body)
    }
}

/// The header alone: range of offsets, producer and sequence.
fn emptied(batch: &[u8]) -> Vec<u8> {
    let header = BatchHeader::parse(batch).expect("it was parsed before");
    let mut out = batch[..HEADER_BYTES].to_vec();
    let attributes = header.attributes & !(CODEC_MASK | DELETE_HORIZON_BIT) | Codec::None as i16;
    put(&mut out, ATTRIBUTES_POSITION, &attributes.to_be_bytes());
    put(&mut out, BASE_TIMESTAMP_POSITION, &NO_TIMESTAMP.0.to_be_bytes());
    put(&mut out, MAX_TIMESTAMP_POSITION, &NO_TIMESTAMP.0.to_be_bytes());
    finish(out, 0)
}

fn finish(mut out: Vec<u8>, count: i32) -> Vec<u8> {
    let length = i32::try_from(out.len() - LOG_OVERHEAD_BYTES).expect("a batch is below 2 GiB");
    put(&mut out, BATCH_LENGTH_POSITION, &length.to_be_bytes());
    put(&mut out, COUNT_POSITION, &count.to_be_bytes());
    let crc = compute_crc(&out);
    put(&mut out, CRC_POSITION, &crc.to_be_bytes());
    out
}

/// Appends a record whose timestamp counts from a base that lies `further` milliseconds before the
/// new one.
fn rebase(out: &mut Vec<u8>, record: &[u8], further: i64) {
    let mut rest = record;
    let sound = "it was read before";
    varint::read_i32(&mut rest).expect(sound);
    let (attributes, mut rest) = rest.split_first().expect(sound);
    let delta = varint::read_i64(&mut rest).expect(sound).wrapping_add(further);
    let mut front = vec![*attributes];
    varint::write(&mut front, delta);
    varint::write(out, (front.len() + rest.len()) as i64);
    out.extend_from_slice(&front);
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests;
