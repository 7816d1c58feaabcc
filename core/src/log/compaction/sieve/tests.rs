//! Batches against a naive model: the last record of each key, tombstones by the clock.

use proptest::prelude::*;

use super::*;
use crate::record::builder::{BatchBuilder, NewRecord};
use crate::record::header::stamp_append_time;

const DAY_MS: i64 = 24 * 3_600_000;

/// A record to be made.
#[derive(Clone, Debug)]
struct Made {
    key: Option<u8>,
    value: Option<u8>,
    delta_ms: i64,
}

/// A batch to be made.
#[derive(Clone, Debug)]
struct Batch {
    records: Vec<Made>,
    codec: Codec,
    producer: Option<i64>,
    append_time: bool,
}

/// A record as a reader sees it: offset, key, value, timestamp.
type Seen = (i64, Option<Vec<u8>>, Option<Vec<u8>>, i64);

fn made() -> impl Strategy<Value = Made> {
    let key = prop_oneof![9 => (0_u8..12).prop_map(Some), 1 => Just(None)];
    let value = prop_oneof![3 => any::<u8>().prop_map(Some), 1 => Just(None)];
    (key, value, -5000..5000_i64).prop_map(|(key, value, delta_ms)| Made { key, value, delta_ms })
}

fn batch() -> impl Strategy<Value = Batch> {
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    let records = prop::collection::vec(made(), 1..6);
    let producer = prop::option::of(0..3_i64);
    (records, prop::sample::select(codecs.to_vec()), producer, prop::bool::weighted(0.2)).prop_map(
        |(records, codec, producer, append_time)| Batch { records, codec, producer, append_time },
    )
}

fn pack(plain: &[u8], codec: Codec) -> Vec<u8> {
    let mut out = plain[..HEADER_BYTES].to_vec();
    let (used, packed) = codec.compress(&plain[HEADER_BYTES..]);
    assert_eq!(used, codec, "it packs small bodies");
    out.extend(packed);
    put(&mut out, ATTRIBUTES_POSITION, &(codec as i16).to_be_bytes());
    let count = BatchHeader::parse(plain).unwrap().count;
    finish(out, count)
}

/// The log that the batches make, without gaps from offset 100 on.
fn log_of(batches: &[Batch]) -> Vec<Vec<u8>> {
    let mut offset = 100;
    let mut log = Vec::new();
    for (index, batch) in (0..).zip(batches) {
        let base = 1_700_000_000_000 + index * 1000;
        let mut builder = BatchBuilder::new(TimestampMs(base)).base_offset(Offset(offset));
        if let Some(producer) = batch.producer {
            builder = builder.producer(ProducerId(producer), 0, i32::try_from(index).unwrap());
        }
        for record in &batch.records {
            let (key, value) = (record.key.map(|key| [key]), record.value.map(|value| [value]));
            builder = builder.push(NewRecord {
                timestamp: Some(TimestampMs(base + record.delta_ms)),
                key: key.as_ref().map(|key| &key[..]),
                value: value.as_ref().map(|value| &value[..]),
                headers: &[(b"h", Some(b"x"))],
            });
        }
        offset += batch.records.len() as i64;
        let mut bytes = pack(&builder.build(), batch.codec);
        if batch.append_time {
            stamp_append_time(&mut bytes, TimestampMs(base + 7));
        }
        log.push(bytes);
    }
    log
}

fn seen(batch: &[u8]) -> Vec<Seen> {
    let unpacked = unpack(batch).unwrap();
    let owned = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
    let base = unpacked.header.base_offset.0;
    let records = unpacked.records().map(|record| {
        let record = record.unwrap();
        assert_eq!(record.headers.len(), 1, "headers stay");
        let offset = base + i64::from(record.offset_delta);
        (offset, owned(record.key), owned(record.value), record.timestamp.0)
    });
    records.collect()
}

/// The last offset of each producer.
fn producers(log: &[Vec<u8>]) -> BTreeMap<ProducerId, Offset> {
    let headers = log.iter().map(|batch| BatchHeader::parse(batch).unwrap());
    headers.map(|header| (header.producer_id, header.last_offset())).collect()
}

/// What one run makes of the log, whose dirty part begins at `from`.
fn clean(log: &[Vec<u8>], (from, keys_max): (i64, u64), now: i64) -> (Vec<Vec<u8>>, i64) {
    let mut map = OffsetMap::new((1000, keys_max * 24 * 4 / 3 + 24), Offset(from), [3, 4]);
    let dirty = log.iter().flat_map(|batch| seen(batch)).filter(|record| record.0 >= from);
    let is_whole = dirty
        .into_iter()
        .all(|(offset, key, ..)| key.is_none_or(|key| map.note(&key, Offset(offset))));
    if let Some(last) = log.last().filter(|_| is_whole) {
        map.pass(BatchHeader::parse(last).unwrap().last_offset().plus(1));
    }
    let producers = producers(log);
    let sieve = Sieve {
        map: &map,
        now: TimestampMs(now),
        delete_retention_ms: DAY_MS.unsigned_abs(),
        producers: &producers,
        holds_tombstones: false,
    };
    let left = log.iter().filter_map(|batch| match sieve.sift(batch).unwrap() {
        Sifted::Whole => Some(batch.clone()),
        Sifted::Written(bytes) => Some(bytes),
        Sifted::Nothing => None,
        Sifted::TooLarge => panic!("batches are small"),
    });
    (left.collect(), map.end().0)
}

/// The records that must be left.
fn model(log: &[Vec<u8>], (from, end): (i64, i64), now: i64) -> Vec<Seen> {
    let all: Vec<Seen> = log.iter().flat_map(|batch| seen(batch)).collect();
    let mut left = Vec::new();
    for batch in log {
        let horizon = BatchHeader::parse(batch).unwrap().delete_horizon();
        for record in seen(batch) {
            let is_later = |other: &&Seen| {
                other.0 > record.0 && other.0 >= from && other.0 < end && other.1 == record.1
            };
            let has_key = record.1.is_some();
            let is_last = all.iter().find(is_later).is_none();
            let is_live = record.2.is_some() || horizon.is_none_or(|horizon| now < horizon.0);
            if record.0 >= end || has_key && is_last && is_live {
                left.push(record);
            }
        }
    }
    left
}

fn holds_of_every_batch(before: &[Vec<u8>], after: &[Vec<u8>], (end, now): (i64, i64)) {
    let parse = |batch: &Vec<u8>| BatchHeader::parse(batch).unwrap();
    let old: BTreeMap<Offset, BatchHeader> =
        before.iter().map(|batch| (parse(batch).base_offset, parse(batch))).collect();
    for batch in after {
        let header = parse(batch);
        let was = &old[&header.base_offset];
        assert_eq!(header.size(), batch.len());
        assert_eq!(header.crc, compute_crc(batch));
        assert_eq!(header.last_offset_delta, was.last_offset_delta);
        assert_eq!(
            (header.producer_id, header.producer_epoch, header.base_sequence, header.leader_epoch),
            (was.producer_id, was.producer_epoch, was.base_sequence, was.leader_epoch)
        );
        assert_eq!(header.timestamp_type(), was.timestamp_type());
        let records = seen(batch);
        if records.is_empty() {
            assert_eq!((header.codec_bits(), header.max_timestamp), (0, NO_TIMESTAMP));
            continue;
        }
        assert_eq!(header.codec_bits(), was.codec_bits());
        assert_eq!(records.iter().map(|record| record.3).max(), Some(header.max_timestamp.0));
        let has_tombstone = records.iter().any(|record| record.2.is_none());
        if let Some(horizon) = was.delete_horizon() {
            assert_eq!(header.delete_horizon(), Some(horizon), "a horizon is set once");
        } else if header.delete_horizon().is_some() {
            assert!(has_tombstone);
            assert!(header.last_offset().0 < end, "no horizon before all of it was compared");
            assert_eq!(header.delete_horizon(), Some(TimestampMs(now + DAY_MS)));
        }
    }
    for (producer, last) in producers(before).iter().filter(|(producer, _)| producer.0 >= 0) {
        assert_eq!(producers(after).get(producer), Some(last), "the last sequence stays");
    }
}

proptest! {
    #[test]
    fn what_is_left_is_what_the_model_leaves_and_again_the_same(
        batches in prop::collection::vec(batch(), 1..12),
        from in 100..140_i64,
        keys_max in 1..20_u64,
        later_ms in 0..2 * DAY_MS,
    ) {
        let log = log_of(&batches);
        let now = 1_700_000_100_000;
        let records =
            |log: &[Vec<u8>]| log.iter().flat_map(|batch| seen(batch)).collect::<Vec<_>>();
        let (once, end) = clean(&log, (from, keys_max), now);
        prop_assert_eq!(records(&once), model(&log, (from, end), now));
        holds_of_every_batch(&log, &once, (end, now));

        let (twice, again) = clean(&once, (from, keys_max), now);
        if again == end {
            prop_assert_eq!(&twice, &once, "a second run at once changes nothing");
        }

        let later = now + later_ms;
        let (last, end) = clean(&once, (100, 1000), later);
        prop_assert_eq!(records(&last), model(&once, (100, end), later));
        holds_of_every_batch(&once, &last, (end, later));
        // Nothing that a key held before comes back, and its last value is never lost.
        let mut newest = BTreeMap::new();
        for record in records(&log).into_iter().filter(|record| record.1.is_some()) {
            newest.insert(record.1.clone(), record);
        }
        for (key, newest) in newest {
            let left: Vec<Seen> = records(&last).into_iter().filter(|r| r.1 == key).collect();
            match newest.2 {
                Some(_) => prop_assert_eq!(left, vec![newest]),
                None => prop_assert!(left.is_empty() || left == vec![newest]),
            }
        }
    }

    #[test]
    fn damaged_records_are_refused_or_cleaned_but_never_panic(
        batch in batch(),
        flip in any::<(usize, u8)>(),
    ) {
        let mut bytes = log_of(&[batch]).remove(0);
        let position = HEADER_BYTES + flip.0 % (bytes.len() - HEADER_BYTES);
        bytes[position] ^= flip.1;
        let mut map = OffsetMap::new((10, 1000), Offset(0), [3, 4]);
        map.pass(Offset(1000));
        let sieve = Sieve {
            map: &map,
            now: TimestampMs(5),
            delete_retention_ms: 7,
            producers: &BTreeMap::new(),
            holds_tombstones: false,
        };
        let _ = sieve.sift(&bytes);
    }
}

#[test]
fn a_tombstone_lives_from_the_first_cleaning_to_its_horizon() {
    let tombstone = Made { key: Some(1), value: None, delta_ms: 0 };
    let value = Made { key: Some(2), value: Some(2), delta_ms: -3 };
    let records = vec![value, tombstone];
    let batch = Batch { records, codec: Codec::Gzip, producer: None, append_time: false };
    let log = log_of(&[batch]);
    let now = 1_700_000_100_000;
    let horizon = now + DAY_MS;
    let (first, _) = clean(&log, (100, 10), now);
    assert_eq!(seen(&first[0]), seen(&log[0]), "timestamps stay, whatever they count from");
    assert_eq!(BatchHeader::parse(&first[0]).unwrap().delete_horizon(), Some(TimestampMs(horizon)));
    for (at, left) in [(now + 1, 2), (horizon - 1, 2), (horizon, 1), (horizon + DAY_MS, 1)] {
        let (then, _) = clean(&first, (102, 10), at);
        assert_eq!(seen(&then[0]).len(), left, "at {at}");
    }
}

#[test]
fn a_tombstone_behind_a_full_map_gets_its_horizon_later() {
    let value = Made { key: Some(1), value: Some(2), delta_ms: 0 };
    let tombstone = Made { key: Some(2), value: None, delta_ms: 0 };
    let records = vec![value.clone(), value, tombstone];
    let batch = Batch { records, codec: Codec::None, producer: None, append_time: false };
    let log = log_of(&[batch]);
    let now = 1_700_000_100_000;
    let (first, end) = clean(&log, (100, 1), now);
    assert_eq!((end, seen(&first[0]).len()), (102, 2), "the map has room for one key");
    assert_eq!(BatchHeader::parse(&first[0]).unwrap().delete_horizon(), None);
    let (second, end) = clean(&first, (102, 1), now + 1);
    let horizon = BatchHeader::parse(&second[0]).unwrap().delete_horizon();
    assert_eq!((end, horizon), (103, Some(TimestampMs(now + 1 + DAY_MS))));
}

#[test]
fn a_tombstone_outlives_its_horizon_while_something_before_it_was_left() {
    let tombstone = Made { key: Some(1), value: None, delta_ms: 0 };
    let codec = Codec::None;
    let batch = Batch { records: vec![tombstone], codec, producer: None, append_time: false };
    let (first, _) = clean(&log_of(&[batch]), (100, 10), 1_700_000_100_000);
    let mut map = OffsetMap::new((10, 1000), Offset(0), [3, 4]);
    map.pass(Offset(1000));
    for (holds_tombstones, left) in [(false, Sifted::Nothing), (true, Sifted::Whole)] {
        let producers = BTreeMap::new();
        let now = TimestampMs(i64::MAX);
        let delete_retention_ms = 0;
        let sieve =
            Sieve { map: &map, now, delete_retention_ms, producers: &producers, holds_tombstones };
        assert_eq!(sieve.sift(&first[0]).unwrap(), left);
    }
}

#[test]
fn control_batches_stay_whole() {
    let batch = BatchBuilder::new(TimestampMs(1))
        .base_offset(Offset(4))
        .control()
        .push(NewRecord::keyed(b"\0\0\0\x01", b"\0\0\0\0\0\0"))
        .build();
    let mut map = OffsetMap::new((10, 1000), Offset(0), [3, 4]);
    assert!(map.note(b"\0\0\0\x01", Offset(9)));
    let producers = BTreeMap::new();
    let now = TimestampMs(i64::MAX);
    let sieve = Sieve {
        map: &map,
        now,
        delete_retention_ms: 0,
        producers: &producers,
        holds_tombstones: false,
    };
    assert_eq!(sieve.sift(&batch).unwrap(), Sifted::Whole);
}

/// A batch of a record that is superseded by a later one, a tombstone, and a value of that size.
fn batch_of(bytes: usize) -> Vec<u8> {
    let value = vec![b'v'; bytes];
    let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", None)];
    BatchBuilder::new(TimestampMs(1))
        .base_offset(Offset(4))
        .push(NewRecord { headers, ..NewRecord::keyed(b"a", b"") })
        .push(NewRecord { headers, key: Some(b"b"), ..NewRecord::default() })
        .push(NewRecord { headers, ..NewRecord::keyed(b"c", &value) })
        .build()
}

/// What is left of it at some time.
fn sifted(batch: &[u8], now: i64) -> Vec<u8> {
    let mut map = OffsetMap::new((10, 1000), Offset(0), [3, 4]);
    assert!(map.note(b"a", Offset(9)));
    map.pass(Offset(1000));
    let (producers, now) = (BTreeMap::new(), TimestampMs(now));
    let sieve = Sieve {
        map: &map,
        now,
        delete_retention_ms: 7,
        producers: &producers,
        holds_tombstones: false,
    };
    let Sifted::Written(written) = sieve.sift(batch).unwrap() else {
        panic!("there is room for what is left of it");
    };
    written
}

#[test]
fn a_batch_of_megabytes_is_written_anew_as_a_small_one_is() {
    let written = sifted(&batch_of(4 << 20), 5);
    let left = seen(&written).into_iter().map(|(offset, key, ..)| (offset, key));
    assert_eq!(left.collect::<Vec<_>>(), [(5, Some(b"b".to_vec())), (6, Some(b"c".to_vec()))]);
    let horizon = BatchHeader::parse(&written).unwrap().delete_horizon();
    assert_eq!(horizon, Some(TimestampMs(12)));
}

/// Deltas of timestamps to a horizon that is far away are longer than those that they replace.
#[test]
fn a_batch_that_a_horizon_would_make_too_large_has_none() {
    const SPARE: usize = 1000;
    let without = batch_of(BATCH_BYTES_MAX - SPARE).len();
    let batch = batch_of(BATCH_BYTES_MAX - SPARE + BATCH_BYTES_MAX - without);
    assert_eq!(batch.len(), BATCH_BYTES_MAX);
    let written = sifted(&batch, 1 << 60);
    assert!(written.len() < BATCH_BYTES_MAX, "one record is gone");
    assert_eq!(BatchHeader::parse(&written).unwrap().delete_horizon(), None);
}
