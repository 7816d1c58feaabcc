//! The table of producers as bytes, for checkpoints and sealed segments.
//!
//! ```text
//! u8 version (1) | u32 count | count times, ascending by id:
//!   i64 producer id | i16 epoch | u8 batches (1 to 5) | that many times, the oldest first:
//!     i64 base offset | i64 append timestamp | i32 last sequence | i32 sequence delta
//! ```
//! Integers are big endian. The frame around it carries the checksum.

use super::entry::{ProducerEntry, RememberedBatch};
use super::{NO_EPOCH, ProducerTable};
use crate::ids::{Offset, ProducerId, TimestampMs};
use crate::limits::{PARTITION_PRODUCERS_MAX, PRODUCER_BATCHES_MAX};

const VERSION: u8 = 1;

/// Why bytes are no snapshot of a producer table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    #[error("producer snapshot version {version} is not 1")]
    Version { version: u8 },
    #[error("the producer snapshot is cut off")]
    CutOff,
    #[error("{bytes} bytes follow the producer snapshot")]
    Trailing { bytes: usize },
    #[error("{count} producers are more than the {PARTITION_PRODUCERS_MAX} of a partition")]
    TooMany { count: u32 },
    #[error("the snapshot of producer {producer} is not sound")]
    Unsound { producer: i64 },
}

impl ProducerTable {
    /// Appends the table to `out`, in the layout above.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        self.check_all();
        let count = u32::try_from(self.producers.len()).expect("at most PARTITION_PRODUCERS_MAX");
        out.push(VERSION);
        out.extend(count.to_be_bytes());
        for (id, entry) in &self.producers {
            out.extend(id.0.to_be_bytes());
            out.extend(entry.epoch().to_be_bytes());
            out.push(u8::try_from(entry.batches().len()).expect("at most 5 batches"));
            for batch in entry.batches() {
                out.extend(batch.base_offset.0.to_be_bytes());
                out.extend(batch.append_timestamp.0.to_be_bytes());
                out.extend(batch.last_sequence.to_be_bytes());
                out.extend(batch.sequence_delta.to_be_bytes());
            }
        }
    }

    /// Reads a table back; `bytes` hold exactly one snapshot.
    ///
    /// # Errors
    /// [`RestoreError`] when `bytes` are anything else.
    pub fn restore(bytes: &[u8]) -> Result<ProducerTable, RestoreError> {
        let mut rest = bytes;
        let [version] = take(&mut rest)?;
        if version != VERSION {
            return Err(RestoreError::Version { version });
        }
        let count = u32::from_be_bytes(take(&mut rest)?);
        if count as usize > PARTITION_PRODUCERS_MAX {
            return Err(RestoreError::TooMany { count });
        }
        let mut table = ProducerTable::default();
        for _ in 0..count {
            let producer = i64::from_be_bytes(take(&mut rest)?);
            let entry = restore_entry(producer, &mut rest)?;
            let last = table.producers.last_key_value().map_or(-1, |(id, _)| id.0);
            if producer <= last {
                return Err(RestoreError::Unsound { producer });
            }
            table.producers.insert(ProducerId(producer), Box::new(entry));
        }
        if !rest.is_empty() {
            return Err(RestoreError::Trailing { bytes: rest.len() });
        }
        table.check_all();
        Ok(table)
    }
}

fn restore_entry(producer: i64, rest: &mut &[u8]) -> Result<ProducerEntry, RestoreError> {
    let unsound = RestoreError::Unsound { producer };
    let epoch = i16::from_be_bytes(take(rest)?);
    let [count] = take(rest)?;
    if epoch < NO_EPOCH || !(1..=PRODUCER_BATCHES_MAX).contains(&usize::from(count)) {
        return Err(unsound);
    }
    let mut entry: Option<ProducerEntry> = None;
    for _ in 0..count {
        let batch = RememberedBatch {
            base_offset: Offset(i64::from_be_bytes(take(rest)?)),
            append_timestamp: TimestampMs(i64::from_be_bytes(take(rest)?)),
            last_sequence: i32::from_be_bytes(take(rest)?),
            sequence_delta: i32::from_be_bytes(take(rest)?),
        };
        if !batch.is_sound() {
            return Err(unsound);
        }
        match &mut entry {
            Some(entry) => entry.push(epoch, batch),
            none => *none = Some(ProducerEntry::new(epoch, batch)),
        }
    }
    entry.ok_or(unsound)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], RestoreError> {
    let (field, after) = rest.split_first_chunk::<N>().ok_or(RestoreError::CutOff)?;
    *rest = after;
    Ok(*field)
}
