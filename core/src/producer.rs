//! Producer state: which sequences a partition has seen, so that a retry is stored once (KIP-98).
//!
//! Only a batch that was accepted changes it: a check never does, or a refused batch would make
//! its own retry a duplicate (KAFKA-6683).

mod entry;
pub mod snapshot;

use std::collections::BTreeMap;

use crate::ids::{Offset, ProducerId, TimestampMs};
use crate::limits::{PARTITION_PRODUCERS_FORGOTTEN, PARTITION_PRODUCERS_MAX};
use crate::record::validate::ValidBatch;
use entry::{ProducerEntry, RememberedBatch};

/// What a partition remembers of the idempotent producers that wrote to it.
///
/// The caller checks and records in the order of the log, when it accepts a batch: the state runs
/// ahead of the disk, which is sound because a failed sync ends the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerTable {
    // Boxed, so that a partition with one producer does not pay for a whole tree node of them.
    producers: BTreeMap<ProducerId, Box<ProducerEntry>>,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerVerdict {
    /// Append it, then call [`ProducerTable::record`].
    Fresh,
    /// It is in the log already: answer as the first time, append nothing.
    Duplicate {
        /// Offset of its first record.
        base_offset: Offset,
        /// When it was appended, by the broker's clock.
        append_timestamp: TimestampMs,
    },
}

/// Why a batch of an idempotent producer is refused; nothing was or will be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// INVALID_PRODUCER_EPOCH (47): a newer instance of the producer has written.
    #[error("epoch {epoch} of producer {producer} is older than its last seen epoch {current}")]
    InvalidEpoch { producer: i64, epoch: i16, current: i16 },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER (45): batches before this one are missing, or it overlaps
    /// what was stored, or it is an old duplicate that is no longer remembered.
    #[error(
        "sequence {sequence} of producer {producer} is out of order: expected {expected} in \
         epoch {epoch}"
    )]
    OutOfOrder { producer: i64, epoch: i16, sequence: i32, expected: i32 },
}

/// Epoch of a producer that never named one.
const NO_EPOCH: i16 = -1;

impl ProducerTable {
    /// Decides about a batch without changing anything. A batch without producer id is fresh.
    ///
    /// # Errors
    /// [`ProducerError`], see there.
    pub fn check(&self, batch: &ValidBatch) -> Result<ProducerVerdict, ProducerError> {
        self.check_invariants();
        if batch.producer_id.0 < 0 {
            return Ok(ProducerVerdict::Fresh);
        }
        assert!(batch.base_sequence >= 0, "validation lets no negative sequence through");
        let producer = batch.producer_id.0;
        let (epoch, sequence) = (batch.producer_epoch, batch.base_sequence);
        let entry = self.producers.get(&batch.producer_id);
        if let Some(found) = entry.and_then(|entry| entry.find_duplicate(batch)) {
            return Ok(ProducerVerdict::Duplicate {
                base_offset: found.base_offset,
                append_timestamp: found.append_timestamp,
            });
        }
        let current = entry.map_or(NO_EPOCH, |entry| entry.epoch());
        if epoch < current {
            return Err(ProducerError::InvalidEpoch { producer, epoch, current });
        }
        let expected = match entry {
            // Whoever is unknown, or known without an epoch, may start anywhere: what was
            // remembered of it may have expired.
            None => return Ok(ProducerVerdict::Fresh),
            Some(_) if current == NO_EPOCH => return Ok(ProducerVerdict::Fresh),
            Some(entry) if epoch == current => entry.next_sequence(),
            Some(_) => 0,
        };
        if sequence == expected || (rivven_io::planted!("B90") && sequence < expected) {
            Ok(ProducerVerdict::Fresh)
        } else {
            if sequence < expected {
                rivven_io::probe!("late_batch_refused");
            }
            Err(ProducerError::OutOfOrder { producer, epoch, sequence, expected })
        }
    }

    /// Remembers a batch that [`ProducerTable::check`] called fresh and that was accepted at
    /// `base_offset`. A batch without producer id is passed over.
    ///
    /// Beyond [`PARTITION_PRODUCERS_MAX`] producers the ones that were silent longest are
    /// forgotten, several at once, so that a flood of new producers stays cheap.
    pub fn record(&mut self, batch: &ValidBatch, base_offset: Offset, now: TimestampMs) {
        self.record_within(PARTITION_PRODUCERS_MAX, batch, base_offset, now);
    }

    fn record_within(
        &mut self,
        producers_max: usize,
        batch: &ValidBatch,
        base_offset: Offset,
        now: TimestampMs,
    ) {
        if batch.producer_id.0 < 0 {
            return;
        }
        assert!(base_offset >= Offset::ZERO && batch.base_sequence >= 0);
        let remembered = RememberedBatch::new(batch, base_offset, now);
        if let Some(entry) = self.producers.get_mut(&batch.producer_id) {
            entry.push(batch.producer_epoch, remembered);
        } else {
            if self.producers.len() >= producers_max {
                self.forget_oldest(producers_max);
            }
            let entry = ProducerEntry::new(batch.producer_epoch, remembered);
            self.producers.insert(batch.producer_id, Box::new(entry));
        }
        self.check_invariants();
    }

    fn forget_oldest(&mut self, producers_max: usize) {
        let mut by_age: Vec<(TimestampMs, ProducerId)> =
            self.producers.iter().map(|(id, entry)| (entry.last_timestamp(), *id)).collect();
        let count = (producers_max / PARTITION_PRODUCERS_FORGOTTEN).max(1);
        by_age.select_nth_unstable(count - 1);
        for (_, id) in &by_age[..count] {
            self.producers.remove(id);
        }
    }

    /// Forgets the producers whose last batch is `expiration_ms` old or older
    /// (`producer.id.expiration.ms`); gives how many.
    pub fn expire(&mut self, now: TimestampMs, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers
            .retain(|_, entry| now.0.saturating_sub(entry.last_timestamp().0) < expiration_ms);
        before - self.producers.len()
    }

    /// The offset of the last record of each producer that is remembered.
    pub fn last_offsets(&self) -> impl Iterator<Item = (ProducerId, Offset)> {
        self.producers.iter().map(|(id, entry)| (*id, entry.last_offset()))
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Asserts what can be seen at once.
    pub fn check_invariants(&self) {
        assert!(self.producers.len() <= PARTITION_PRODUCERS_MAX);
    }

    /// Asserts what holds of every producer, in O(n).
    pub fn check_all(&self) {
        self.check_invariants();
        for (id, entry) in &self.producers {
            assert!(id.0 >= 0, "producer {} has no id", id.0);
            entry.check();
        }
    }
}

const _: () = assert!(size_of::<ProducerTable>() <= 32);
const _: () = assert!(size_of::<ProducerEntry>() <= 160);

#[cfg(test)]
mod tests;
