//! What is remembered of one producer in one partition: its epoch and its last few batches.

use crate::ids::{Offset, TimestampMs};
use crate::limits::PRODUCER_BATCHES_MAX;
use crate::record::validate::ValidBatch;

/// A batch of which a retry is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RememberedBatch {
    pub(super) base_offset: Offset,
    pub(super) append_timestamp: TimestampMs,
    pub(super) last_sequence: i32,
    /// Records of the batch, less one.
    pub(super) sequence_delta: i32,
}

/// One producer: its newest epoch, and 1 to [`PRODUCER_BATCHES_MAX`] batches of that epoch, the
/// oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProducerEntry {
    batches: [RememberedBatch; PRODUCER_BATCHES_MAX],
    epoch: i16,
    count: u8,
}

impl RememberedBatch {
    pub(super) fn new(
        batch: &ValidBatch,
        base_offset: Offset,
        append_timestamp: TimestampMs,
    ) -> RememberedBatch {
        RememberedBatch {
            base_offset,
            append_timestamp,
            last_sequence: advance(batch.base_sequence, batch.last_offset_delta),
            sequence_delta: batch.last_offset_delta,
        }
    }

    fn is_same(&self, batch: &ValidBatch) -> bool {
        self.sequence_delta == batch.last_offset_delta
            && self.last_sequence == advance(batch.base_sequence, batch.last_offset_delta)
    }

    pub(super) fn is_sound(&self) -> bool {
        self.base_offset >= Offset::ZERO && self.last_sequence >= 0 && self.sequence_delta >= 0
    }
}

/// The sequence `delta` later; after 2^31 - 1 comes 0.
fn advance(sequence: i32, delta: i32) -> i32 {
    debug_assert!(sequence >= 0 && delta >= 0);
    sequence.wrapping_add(delta) & i32::MAX
}

impl ProducerEntry {
    pub(super) fn new(epoch: i16, batch: RememberedBatch) -> ProducerEntry {
        let mut batches = [RememberedBatch::default(); PRODUCER_BATCHES_MAX];
        batches[0] = batch;
        ProducerEntry { batches, epoch, count: 1 }
    }

    /// Adds the newest batch; another epoch forgets the batches of the one before.
    pub(super) fn push(&mut self, epoch: i16, batch: RememberedBatch) {
        if epoch != self.epoch {
            *self = ProducerEntry::new(epoch, batch);
            return;
        }
        let count = usize::from(self.count);
        if count == PRODUCER_BATCHES_MAX {
            self.batches.rotate_left(1);
            self.batches[count - 1] = batch;
        } else {
            self.batches[count] = batch;
            self.count += 1;
        }
    }

    pub(super) fn epoch(&self) -> i16 {
        self.epoch
    }

    pub(super) fn batches(&self) -> &[RememberedBatch] {
        &self.batches[..usize::from(self.count)]
    }

    fn last(&self) -> &RememberedBatch {
        self.batches().last().expect("an entry holds at least one batch")
    }

    pub(super) fn last_timestamp(&self) -> TimestampMs {
        self.last().append_timestamp
    }

    pub(super) fn last_offset(&self) -> Offset {
        let last = self.last();
        last.base_offset.plus(i64::from(last.sequence_delta))
    }

    pub(super) fn next_sequence(&self) -> i32 {
        advance(self.last().last_sequence, 1)
    }

    pub(super) fn find_duplicate(&self, batch: &ValidBatch) -> Option<&RememberedBatch> {
        if batch.producer_epoch != self.epoch {
            return None;
        }
        self.batches().iter().find(|remembered| remembered.is_same(batch))
    }

    pub(super) fn check(&self) {
        assert!((1..=PRODUCER_BATCHES_MAX).contains(&usize::from(self.count)));
        assert!(self.batches().iter().all(RememberedBatch::is_sound));
    }
}
