//! Kafka's answers to idempotent producers row by row, and random sequences against a model that
//! remembers everything.

use proptest::collection::vec;
use proptest::prelude::*;

use super::snapshot::RestoreError;
use super::*;
use crate::record::compression::Codec;

const OUT_OF_ORDER: &str = "out of order";
const INVALID_EPOCH: &str = "invalid epoch";

fn batch(producer: i64, epoch: i16, sequence: i32, count: i32) -> ValidBatch {
    ValidBatch {
        count,
        last_offset_delta: count - 1,
        base_timestamp: TimestampMs(0),
        max_timestamp: TimestampMs(0),
        needs_create_time: false,
        producer_id: ProducerId(producer),
        producer_epoch: epoch,
        base_sequence: sequence,
        is_transactional: false,
        codec: Codec::None,
        size: 70,
    }
}

/// Produces a batch as a partition does; gives the base offset that the producer is told.
fn produce(
    table: &mut ProducerTable,
    end: &mut i64,
    batch: &ValidBatch,
) -> Result<i64, &'static str> {
    let before = table.clone();
    let verdict = table.check(batch);
    assert_eq!(*table, before);
    match verdict {
        Ok(ProducerVerdict::Fresh) => {
            let base_offset = Offset(*end);
            table.record(batch, base_offset, TimestampMs(*end));
            *end += i64::from(batch.count);
            table.check_all();
            Ok(base_offset.0)
        }
        Ok(ProducerVerdict::Duplicate { base_offset, append_timestamp }) => {
            assert_eq!(base_offset.0, append_timestamp.0);
            Ok(base_offset.0)
        }
        Err(ProducerError::OutOfOrder { .. }) => Err(OUT_OF_ORDER),
        Err(ProducerError::InvalidEpoch { .. }) => Err(INVALID_EPOCH),
    }
}

#[test]
fn idempotent_producers_get_kafka_s_answers() {
    let seven: Vec<(i16, i32, i32)> = (0..7).map(|sequence| (0, sequence, 1)).collect();
    let after_seven = |sequence| [&seven[..], &[(0, sequence, 1)]].concat();
    let max = i32::MAX;
    type Case = (&'static str, Vec<(i16, i32, i32)>, Result<i64, &'static str>);
    let cases: Vec<Case> = vec![
        ("last batch again", after_seven(6), Ok(6)),
        ("5th last again", after_seven(2), Ok(2)),
        ("6th last again", after_seven(1), Err(OUT_OF_ORDER)),
        ("7th last again", after_seven(0), Err(OUT_OF_ORDER)),
        ("gap", vec![(0, 0, 1), (0, 5, 1)], Err(OUT_OF_ORDER)),
        ("other length", vec![(0, 0, 3), (0, 0, 5)], Err(OUT_OF_ORDER)),
        ("overlap", vec![(0, 0, 3), (0, 2, 3)], Err(OUT_OF_ORDER)),
        ("old epoch", vec![(1, 0, 1), (0, 1, 1)], Err(INVALID_EPOCH)),
        ("old epoch, duplicate", vec![(0, 0, 1), (1, 0, 1), (0, 0, 1)], Err(INVALID_EPOCH)),
        ("new epoch at 0", vec![(0, 0, 1), (1, 0, 1)], Ok(1)),
        ("new epoch at 1", vec![(0, 0, 1), (1, 1, 1)], Err(OUT_OF_ORDER)),
        ("unknown at 0", vec![(0, 0, 1)], Ok(0)),
        ("unknown at 5", vec![(0, 5, 1)], Ok(0)),
        ("wrap", vec![(0, max - 1, 2), (0, 0, 1)], Ok(2)),
        ("wrap inside a batch", vec![(0, max - 1, 4), (0, 2, 1)], Ok(4)),
        ("wrapped batch again", vec![(0, max - 1, 4), (0, max - 1, 4)], Ok(0)),
        ("wrap with a gap", vec![(0, max - 1, 2), (0, 1, 1)], Err(OUT_OF_ORDER)),
        ("epoch -1", vec![(-1, 0, 1)], Ok(0)),
        ("epoch -1 goes anywhere", vec![(-1, 0, 1), (-1, 9, 1)], Ok(1)),
        ("epoch after -1 starts anywhere", vec![(-1, 0, 1), (0, 9, 1)], Ok(1)),
        ("epoch -2", vec![(-2, 0, 1)], Err(INVALID_EPOCH)),
    ];
    for (name, steps, expected) in cases {
        let (mut table, mut end) = (ProducerTable::default(), 0);
        let answers: Vec<_> = steps
            .into_iter()
            .map(|(epoch, sequence, count)| {
                produce(&mut table, &mut end, &batch(9, epoch, sequence, count))
            })
            .collect();
        let (last, before) = answers.split_last().unwrap();
        assert!(before.iter().all(Result::is_ok), "{name}: {answers:?}");
        assert_eq!(*last, expected, "{name}");
    }
}

#[test]
fn batches_without_producer_id_leave_no_trace() {
    let (mut table, mut end) = (ProducerTable::default(), 0);
    assert_eq!(produce(&mut table, &mut end, &batch(-1, -1, -1, 3)), Ok(0));
    assert_eq!(produce(&mut table, &mut end, &batch(-1, -1, -1, 3)), Ok(3));
    assert!(table.is_empty());
}

#[test]
fn producers_expire_by_their_last_append() {
    let mut table = ProducerTable::default();
    table.record(&batch(1, 0, 0, 1), Offset(0), TimestampMs(100));
    table.record(&batch(2, 0, 0, 1), Offset(1), TimestampMs(150));
    table.record(&batch(1, 0, 1, 1), Offset(2), TimestampMs(200));
    assert_eq!(table.expire(TimestampMs(249), 100), 0);
    assert_eq!(table.expire(TimestampMs(250), 100), 1);
    assert_eq!(table.check(&batch(2, 0, 77, 1)), Ok(ProducerVerdict::Fresh));
    assert!(table.check(&batch(1, 0, 77, 1)).is_err());
}

#[test]
fn the_longest_silent_producers_are_forgotten_at_the_bound() {
    let mut table = ProducerTable::default();
    for producer in 0..64 {
        let now = TimestampMs(1000 + (producer * 7) % 64);
        table.record_within(64, &batch(producer, 0, 0, 1), Offset(producer), now);
    }
    table.record_within(64, &batch(900, 0, 0, 1), Offset(64), TimestampMs(2000));
    table.check_all();
    assert_eq!(table.len(), 61);
    let forgotten: Vec<i64> =
        (0..64).filter(|id| !table.producers.contains_key(&ProducerId(*id))).collect();
    let oldest: Vec<i64> = (0..64).filter(|producer| (producer * 7) % 64 < 4).collect();
    assert_eq!(forgotten, oldest);
}

#[test]
fn snapshot_has_its_drawn_bytes() {
    let mut table = ProducerTable::default();
    table.record(&batch(7, 2, 5, 3), Offset(100), TimestampMs(1000));
    let mut bytes = Vec::new();
    table.snapshot(&mut bytes);
    let expected = [
        &[1, 0, 0, 0, 1][..],               // version, count
        &[0, 0, 0, 0, 0, 0, 0, 7, 0, 2, 1], // id, epoch, batches
        &[0, 0, 0, 0, 0, 0, 0, 100],        // base offset
        &[0, 0, 0, 0, 0, 0, 3, 0xe8],       // append timestamp
        &[0, 0, 0, 7, 0, 0, 0, 2],          // last sequence, sequence delta
    ]
    .concat();
    assert_eq!(bytes, expected);
    let patched = |position: usize, value: u8| {
        let mut bytes = expected.clone();
        bytes[position] = value;
        ProducerTable::restore(&bytes)
    };
    let unsound = |producer| Err(RestoreError::Unsound { producer });
    assert_eq!(patched(0, 2), Err(RestoreError::Version { version: 2 }));
    assert_eq!(patched(1, 1), Err(RestoreError::TooMany { count: 0x0100_0001 }));
    assert_eq!(patched(5, 0x80), unsound(i64::MIN + 7));
    assert_eq!(patched(13, 0x80), unsound(7));
    assert_eq!(patched(15, 0), unsound(7));
    assert_eq!(patched(15, 6), unsound(7));
    assert_eq!(patched(16, 0x80), unsound(7));
    assert_eq!(patched(4, 0), Err(RestoreError::Trailing { bytes: expected.len() - 5 }));
}

/// Remembers every accepted batch of a producer's current epoch, without a bound.
#[derive(Default)]
struct Model {
    batches: BTreeMap<i64, (i16, Vec<SeenBatch>)>,
}

/// Base sequence, count and base offset.
type SeenBatch = (i32, i32, i64);

impl Model {
    fn produce(&mut self, end: i64, b: &ValidBatch) -> Result<i64, &'static str> {
        let batch = (b.base_sequence, b.count, end);
        let Some((epoch, batches)) = self.batches.get_mut(&b.producer_id.0) else {
            self.batches.insert(b.producer_id.0, (b.producer_epoch, vec![batch]));
            return Ok(end);
        };
        if b.producer_epoch < *epoch {
            return Err(INVALID_EPOCH);
        }
        if b.producer_epoch > *epoch {
            if b.base_sequence != 0 && *epoch >= 0 {
                return Err(OUT_OF_ORDER);
            }
            (*epoch, *batches) = (b.producer_epoch, vec![batch]);
            return Ok(end);
        }
        let recent = batches.iter().rev().take(5);
        for (sequence, count, offset) in recent {
            if (*sequence, *count) == (b.base_sequence, b.count) {
                return Ok(*offset);
            }
        }
        let (sequence, count, _) = batches[batches.len() - 1];
        let next = (i64::from(sequence) + i64::from(count)) % (1 << 31);
        if i64::from(b.base_sequence) != next && *epoch >= 0 {
            return Err(OUT_OF_ORDER);
        }
        batches.push(batch);
        Ok(end)
    }
}

proptest! {
    #[test]
    fn random_sequences_are_answered_as_by_the_model(
        start in prop_oneof![Just(0), i32::MAX - 8..=i32::MAX],
        steps in vec((0i64..3, -1i16..3, 0i32..12, 1i32..4, 0u8..10), 1..120),
    ) {
        let (mut table, mut end) = (ProducerTable::default(), 0i64);
        let mut model = Model::default();
        for (producer, epoch, ahead, count, follow) in steps {
            let last = model.batches.get(&producer);
            // Most steps continue or repeat what the producer did, so that the log grows.
            let (epoch, sequence) = match last {
                Some((epoch, batches)) if follow > 3 => {
                    let (sequence, count, _) = batches[batches.len() - 1];
                    (*epoch, sequence.wrapping_add(count) & i32::MAX)
                }
                _ => (epoch, start.wrapping_add(ahead) & i32::MAX),
            };
            let batch = batch(producer, epoch, sequence, count);
            let expected = model.produce(end, &batch);
            prop_assert_eq!(produce(&mut table, &mut end, &batch), expected, "{:?}", batch);
        }
        let mut bytes = Vec::new();
        table.snapshot(&mut bytes);
        prop_assert_eq!(ProducerTable::restore(&bytes), Ok(table));
        for cut in 0..bytes.len() {
            prop_assert_eq!(ProducerTable::restore(&bytes[..cut]), Err(RestoreError::CutOff));
        }
    }

    #[test]
    fn random_snapshots_never_panic(mut bytes in vec(any::<u8>(), 0..200), count in 0u8..4) {
        let _ = ProducerTable::restore(&bytes);
        bytes.splice(..0, [1, 0, 0, 0, count]);
        if let Ok(table) = ProducerTable::restore(&bytes) {
            table.check_all();
        }
    }
}
