//! A batch that its topic does not take whole (KIP-126) goes on as two halves, with the sequences
//! that its records had.

use std::sync::Arc;

use rivven_core::ids::ProducerId;
use rivven_core::record::builder::{BatchBuilder, NewHeader, NewRecord};
use rivven_core::record::unpacked::{UnpackedBatch, unpack};

use super::batch::{Batch, Contents, Number, Outcome};
use super::queue::sequence_after;

/// The halves of a batch that was refused, and the bytes, before they are packed, at which later
/// ones are full. Gives it back if it cannot be halved: a single record, or one that a broker may
/// have taken after all.
pub(super) fn halve(
    mut batch: Batch,
    identity: Option<(ProducerId, i16)>,
) -> Result<([Batch; 2], usize), Box<Batch>> {
    if batch.count < 2 || batch.is_uncertain {
        return Err(Box::new(batch));
    }
    let Contents::Built(bytes) = &batch.contents else { return Err(Box::new(batch)) };
    let middle = batch.count / 2;
    let Ok(unpacked) = unpack(bytes) else { return Err(Box::new(batch)) };
    let Some([first, second]) = build(&unpacked, middle) else { return Err(Box::new(batch)) };
    let full_at = first.size().max(second.size());
    let outcomes = [Arc::<Outcome>::default(), Arc::<Outcome>::default()];
    let share = batch.room.as_ref().map_or(0, |room| room.num_permits() / 2);
    let rooms = (batch.room.as_mut().and_then(|room| room.split(share)), batch.room.take());
    let half = |builder: BatchBuilder, begin: i32, room, outcome: &Arc<Outcome>| {
        let first = batch.sequence;
        let sequence = if begin == 0 { first } else { first.map(|it| sequence_after(it, begin)) };
        let count = builder.count();
        let builder = match identity.zip(sequence) {
            Some(((id, epoch), sequence)) => builder.producer(id, epoch, sequence),
            None => builder,
        };
        Batch {
            number: Number { part: batch.number.part + begin, ..batch.number },
            contents: Contents::Built(builder.build().into()),
            count,
            begun: batch.begun,
            due: batch.due,
            attempts: batch.attempts,
            sequence,
            is_refused: false,
            is_uncertain: false,
            is_outdated: false,
            last_error: batch.last_error.clone(),
            outcome: outcome.clone(),
            room,
        }
    };
    let halves =
        [half(first, 0, rooms.0, &outcomes[0]), half(second, middle, rooms.1, &outcomes[1])];
    batch.outcome.halve(i64::from(middle), outcomes);
    Ok((halves, full_at))
}

fn build(batch: &UnpackedBatch<'_>, middle: i32) -> Option<[BatchBuilder; 2]> {
    let base = batch.header.base_timestamp;
    let mut halves = [(); 2].map(|()| BatchBuilder::new(base).codec(batch.codec));
    for record in batch.records() {
        let record = record.ok()?;
        let half = usize::from(record.offset_delta >= middle);
        let headers: Vec<NewHeader<'_>> =
            record.headers.map(|header| (header.key, header.value)).collect();
        halves[half].append(NewRecord {
            timestamp: Some(record.timestamp),
            key: record.key,
            value: record.value,
            headers: &headers,
        });
    }
    halves.iter().all(|half| half.count() > 0).then_some(halves)
}
