//! What a history keeps of the bytes that a fetch brought.

use rivven_core::record::batches::{Batch, Batches};
use rivven_core::record::unpacked::unpack;

use crate::history::event::{SeenBatch, SeenRecord, Stamp};
use crate::history::value::{hash, id_of};

/// The whole batches in `bytes`, and in words what stands behind them if it is no batch.
pub(crate) fn seen_batches(bytes: &[u8]) -> (Vec<SeenBatch>, Option<String>) {
    let mut batches = Batches::new(bytes);
    let mut seen = Vec::new();
    for batch in batches.by_ref() {
        match batch {
            Ok(batch) => seen.push(seen_batch(&batch)),
            Err(error) => return (seen, Some(error.to_string())),
        }
    }
    // A batch that is cut off at the end of an answer is legal behind a whole one only (KIP-74).
    let stuck = seen.is_empty() && !bytes.is_empty();
    let garbage = stuck.then(|| format!("{} bytes without a whole batch", bytes.len()));
    (seen, garbage)
}

fn seen_batch(batch: &Batch<'_>) -> SeenBatch {
    let header = &batch.header;
    let base_offset = header.base_offset.0;
    let last_offset = base_offset.saturating_add(i64::from(header.last_offset_delta));
    let records = batch.crc_is_valid().then(|| seen_records(batch.bytes)).flatten();
    let (sound, records) = (records.is_some(), records.unwrap_or_default());
    let producer = (header.producer_id.0 >= 0).then_some(Stamp {
        producer_id: header.producer_id.0,
        epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    });
    let leader_epoch = header.leader_epoch.0;
    SeenBatch { base_offset, last_offset, leader_epoch, producer, sound, records }
}

/// The records of a sound batch.
fn seen_records(bytes: &[u8]) -> Option<Vec<SeenRecord>> {
    let mut records = Vec::new();
    let unpacked = unpack(bytes).ok()?;
    let read = unpacked.each_record(|offset, record, _| {
        let (value, hash) = (id_of(record), hash(record.key, record.value));
        records.push(SeenRecord { offset: offset.0, value, hash });
        true
    });
    read.ok().map(|_| records)
}

#[cfg(test)]
mod tests {
    use rivven_core::ids::{Offset, ProducerId, TimestampMs};
    use rivven_core::record::builder::BatchBuilder;

    use super::*;
    use crate::history::value::{Value, ValueId};

    #[test]
    fn records_are_known_by_id_and_hash_and_damage_is_noted() {
        let values = [0, 1].map(|made| {
            let id = ValueId::of(3, made);
            Value { id, counter: made, key: made, filler_bytes: 20, tombstone: false }
        });
        let builder =
            BatchBuilder::new(TimestampMs(5)).base_offset(Offset(10)).producer(ProducerId(4), 1, 7);
        let bytes =
            values.iter().fold(builder, |builder, value| value.push_to(builder, None)).build();
        let (batches, garbage) = seen_batches(&bytes);
        assert_eq!((batches.len(), garbage), (1, None));
        let batch = &batches[0];
        assert_eq!((batch.base_offset, batch.last_offset, batch.sound), (10, 11, true));
        let stamp = Stamp { producer_id: 4, epoch: 1, base_sequence: 7 };
        assert_eq!(batch.producer, Some(stamp));
        for (record, value) in batch.records.iter().zip(values) {
            assert_eq!((record.value, record.hash), (Some(value.id), value.sent().hash));
        }
        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(!seen_batches(&damaged).0[0].sound);
        assert!(seen_batches(&bytes[..80]).1.is_some(), "a consumer could never get past this");
        assert!(seen_batches(&[0xff; 100]).1.is_some());
        assert_eq!(seen_batches(&[]), (Vec::new(), None));
    }
}
