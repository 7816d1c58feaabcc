//! Records that say who they are: unique, in order, and with bytes that follow from a few numbers.
//!
//! ```text
//! value: magic u32 | value id u64 | client u32 | counter u64 | filler, SplitMix64 of the value id
//! key:   "k" and a number in decimal
//! ```
//! Numbers are big endian. The counter counts a client's records to one partition from 0. A
//! tombstone has no value: its id stands in a header.

use rivven_core::ids::TimestampMs;
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::record::records::Record;
use serde::{Deserialize, Serialize};

use crate::history::event::SentValue;

const MAGIC: u32 = 0x5256_4e31;
const HEAD_BYTES: usize = 24;

/// Low bits of a value id that count; the client's number stands above them.
const COUNTER_BITS: u32 = 40;

/// Identity of a record in one run: client × 2⁴⁰ + how many values the client had made before.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct ValueId(pub u64);

impl ValueId {
    /// The `made`-th value of a client, counted from 0.
    #[must_use]
    pub fn of(client: u32, made: u64) -> ValueId {
        assert!(made < 1 << COUNTER_BITS, "a client makes fewer than 2^40 values");
        ValueId(u64::from(client) << COUNTER_BITS | made)
    }

    /// Who made it.
    #[must_use]
    pub fn client(self) -> u32 {
        u32::try_from(self.0 >> COUNTER_BITS).expect("24 bits fit")
    }
}

impl std::fmt::Display for ValueId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.client(), self.0 & ((1 << COUNTER_BITS) - 1))
    }
}

/// A record to send, from which its bytes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    pub id: ValueId,
    /// The client's records to this partition before this one.
    pub counter: u64,
    /// Number of its key.
    pub key: u64,
    /// Bytes after the head.
    pub filler_bytes: usize,
    /// Whether it has no value.
    pub tombstone: bool,
}

/// Name of the header in which a tombstone says who it is.
const ID_HEADER: &[u8] = b"id";

impl Value {
    #[must_use]
    pub fn key_bytes(&self) -> Vec<u8> {
        format!("k{}", self.key).into_bytes()
    }

    #[must_use]
    pub fn value_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.filler_bytes);
        bytes.extend_from_slice(&MAGIC.to_be_bytes());
        bytes.extend_from_slice(&self.id.0.to_be_bytes());
        bytes.extend_from_slice(&self.id.client().to_be_bytes());
        bytes.extend_from_slice(&self.counter.to_be_bytes());
        let mut state = self.id.0;
        while bytes.len() < HEAD_BYTES + self.filler_bytes {
            let word = split_mix(&mut state).to_be_bytes();
            let left = HEAD_BYTES + self.filler_bytes - bytes.len();
            bytes.extend_from_slice(&word[..left.min(8)]);
        }
        bytes
    }

    /// What a history keeps of it.
    #[must_use]
    pub fn sent(&self) -> SentValue {
        let value = (!self.tombstone).then(|| self.value_bytes());
        let hash = hash(Some(&self.key_bytes()), value.as_deref());
        SentValue { id: self.id, hash, key: self.key, tombstone: self.tombstone }
    }

    /// Puts it into a batch.
    #[must_use]
    pub fn push_to(&self, batch: BatchBuilder, timestamp: Option<TimestampMs>) -> BatchBuilder {
        if self.tombstone {
            return batch.push(NewRecord {
                timestamp,
                key: Some(&self.key_bytes()),
                headers: &[(ID_HEADER, Some(&self.id.0.to_be_bytes()))],
                ..NewRecord::default()
            });
        }
        let (key, value) = (self.key_bytes(), self.value_bytes());
        batch.push(NewRecord { timestamp, ..NewRecord::keyed(&key, &value) })
    }
}

/// The id that a record carries, if it is one of ours.
#[must_use]
pub fn id_of(record: &Record<'_>) -> Option<ValueId> {
    let Some(value) = record.value else {
        let header = record.headers.into_iter().find(|header| header.key == ID_HEADER)?;
        let id = header.value?.first_chunk::<8>()?;
        return Some(ValueId(u64::from_be_bytes(*id)));
    };
    id_in(value)
}

/// The id that a value begins with, if it is one of ours.
#[must_use]
pub fn id_in(value: &[u8]) -> Option<ValueId> {
    let head = value.first_chunk::<HEAD_BYTES>()?;
    let (magic, rest) = head.split_first_chunk::<4>()?;
    let id = rest.first_chunk::<8>()?;
    (u32::from_be_bytes(*magic) == MAGIC).then(|| ValueId(u64::from_be_bytes(*id)))
}

/// FNV-1a over key and value, each with its length in front, so that no byte can move between them.
#[must_use]
pub fn hash(key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for field in [key, value] {
        let len = field.map_or(-1, |field| i64::try_from(field.len()).unwrap_or(i64::MAX));
        feed(&len.to_be_bytes());
        feed(field.unwrap_or_default());
    }
    hash
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use rivven_core::record::batches::Batches;
    use rivven_core::record::records::Records;

    use super::*;

    #[test]
    fn a_value_is_known_again_in_the_batch_that_carries_it() {
        for filler_bytes in [0, 1, 7, 8, 1000] {
            let value = Value { filler_bytes, ..value() };
            let bytes = value.push_to(BatchBuilder::new(TimestampMs(1)), None).build();
            let batch = Batches::new(&bytes).next().unwrap().unwrap();
            let record = Records::new(&batch.header, batch.body()).next().unwrap().unwrap();
            assert_eq!(id_of(&record), Some(value.id));
            assert_eq!(hash(record.key, record.value), value.sent().hash);
            assert_eq!(record.value.unwrap().len(), HEAD_BYTES + filler_bytes);
        }
        assert_eq!(ValueId::of(7, 9).to_string(), "7:9");
    }

    #[test]
    fn a_tombstone_is_known_again_by_its_header() {
        let tombstone = Value { tombstone: true, ..value() };
        let bytes = tombstone.push_to(BatchBuilder::new(TimestampMs(1)), None).build();
        let batch = Batches::new(&bytes).next().unwrap().unwrap();
        let record = Records::new(&batch.header, batch.body()).next().unwrap().unwrap();
        assert_eq!((record.value, id_of(&record)), (None, Some(tombstone.id)));
        assert_eq!(hash(record.key, None), tombstone.sent().hash);
        assert_ne!(value().sent().hash, tombstone.sent().hash);
    }

    fn value() -> Value {
        let id = ValueId::of(7, 9);
        Value { id, counter: 3, key: 3, filler_bytes: 10, tombstone: false }
    }

    #[test]
    fn every_flipped_bit_and_every_shifted_boundary_changes_the_hash() {
        let value = value();
        let (key, mut bytes) = (value.key_bytes(), value.value_bytes());
        for position in 0..bytes.len() {
            bytes[position] ^= 4;
            assert_ne!(hash(Some(&key), Some(&bytes)), value.sent().hash);
            bytes[position] ^= 4;
        }
        assert_ne!(hash(Some(b"ab"), Some(b"c")), hash(Some(b"a"), Some(b"bc")));
        assert_ne!(hash(None, Some(b"a")), hash(Some(b""), Some(b"a")));
    }

    #[test]
    fn foreign_values_have_no_id() {
        for value in [None, Some(&b""[..]), Some(&[0; 24][..])] {
            let record = Record {
                offset_delta: 0,
                timestamp: TimestampMs(0),
                key: None,
                value,
                headers: empty_headers(),
            };
            assert_eq!(id_of(&record), None);
        }
    }

    fn empty_headers() -> rivven_core::record::records::RecordHeaders<'static> {
        static BATCH: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let bytes = BATCH
            .get_or_init(|| BatchBuilder::new(TimestampMs(1)).push(NewRecord::value(b"v")).build());
        let batch = Batches::new(bytes).next().unwrap().unwrap();
        Records::new(&batch.header, batch.body()).next().unwrap().unwrap().headers
    }
}
