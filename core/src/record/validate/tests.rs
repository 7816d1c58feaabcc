//! One row per answer of Kafka 4.3.1 to a produced batch, and random damage.

use proptest::prelude::*;

use super::*;
use crate::record::builder::{BatchBuilder, NewRecord};
use crate::record::header::{
    ATTRIBUTES_POSITION, BASE_SEQUENCE_POSITION, BASE_TIMESTAMP_POSITION, CONTROL_BIT,
    COUNT_POSITION, DELETE_HORIZON_BIT, LAST_OFFSET_DELTA_POSITION, LEADER_EPOCH_POSITION,
    MAX_TIMESTAMP_POSITION, PRODUCER_ID_POSITION, TRANSACTIONAL_BIT, put, stamp_append_time,
    stamp_create_time,
};
use ProduceRefusalKind::{
    CorruptMessage, InvalidRecord, InvalidTimestamp, MessageTooLarge, UnsupportedCompressionType,
};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const HOUR_MS: i64 = 3_600_000;

const RULES: ProduceRules<'static> = ProduceRules {
    topic: "t",
    partition: 0,
    produce_version: 8,
    max_message_bytes: 1_048_588,
    timestamp_type: TimestampType::CreateTime,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: HOUR_MS,
    is_compacted: false,
    now: NOW,
};

fn batch(count: usize) -> Vec<u8> {
    (0..count)
        .fold(BatchBuilder::new(NOW), |batch, _| batch.push(NewRecord::keyed(b"k", b"v")))
        .build()
}

/// A batch with its header fields overwritten and the CRC made right again.
fn with(count: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = batch(count);
    for (position, field) in fields {
        put(&mut bytes, *position, field);
    }
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = bytes.len() as i32 - 12;
    put(&mut bytes, BATCH_LENGTH_POSITION, &length.to_be_bytes());
    let crc = compute_crc(&bytes);
    put(&mut bytes, CRC_POSITION, &crc.to_be_bytes());
    bytes
}

/// A header for `count` records around a body of any bytes.
fn with_body(count: i32, body: &[u8]) -> Vec<u8> {
    let header = with(
        1,
        &[
            (COUNT_POSITION, &count.to_be_bytes()),
            (LAST_OFFSET_DELTA_POSITION, &(count - 1).to_be_bytes()),
        ],
    );
    sealed([&header[..HEADER_BYTES], body].concat())
}

fn attributes(bits: i16) -> Vec<u8> {
    with(1, &[(ATTRIBUTES_POSITION, &bits.to_be_bytes())])
}

fn at_time(timestamp: i64) -> Vec<u8> {
    BatchBuilder::new(TimestampMs(timestamp)).push(NewRecord::keyed(b"k", b"v")).build()
}

fn legacy(magic: u8) -> Vec<u8> {
    let mut message = vec![0; 12];
    message.extend([0x12, 0x34, 0x56, 0x78, magic, 0]);
    message.extend(vec![0; if magic == 1 { 8 } else { 0 }]);
    message.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, b'v']);
    let length = message.len() as i32 - 12;
    put(&mut message, BATCH_LENGTH_POSITION, &length.to_be_bytes());
    message
}

fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = batch(1);
    change(&mut bytes);
    bytes
}

fn without_key(count: usize, missing: &[usize]) -> Vec<u8> {
    (0..count)
        .fold(BatchBuilder::new(NOW), |batch, index| {
            let key = if missing.contains(&index) { None } else { Some(&b"k"[..]) };
            batch.push(NewRecord { key, ..NewRecord::value(b"v") })
        })
        .build()
}

#[test]
fn batches_that_kafka_accepts_are_accepted() {
    let same_delta = [16, 0, 0, 0, 2, b'k', 2, b'v', 0].repeat(3);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("good batch", batch(3)),
        ("5 junk bytes", [batch(1), vec![0; 5]].concat()),
        (
            "16 junk bytes that could begin a batch",
            [batch(1), [&[0; 11][..], &[99; 5]].concat()].concat(),
        ),
        ("a second batch that is cut off", [batch(1), batch(1)[..60].to_vec()].concat()),
        ("leader epoch 99", with(1, &[(LEADER_EPOCH_POSITION, &99i32.to_be_bytes())])),
        ("log append time bit", attributes(APPEND_TIME_BIT)),
        ("transactional bit", attributes(TRANSACTIONAL_BIT)),
        ("offset deltas 0,0,0", with_body(3, &same_delta)),
        ("gzip attribute, unpacked by nobody", attributes(1)),
        ("zstd in version 8", attributes(4)),
        ("30 minutes ahead", at_time(NOW.0 + HOUR_MS / 2)),
        ("an hour ahead", at_time(NOW.0 + HOUR_MS)),
        ("10 years ago", at_time(NOW.0 - 10 * 365 * 24 * HOUR_MS)),
        ("timestamp -1", at_time(-1)),
        ("timestamp -5", at_time(-5)),
        ("null key where no topic forbids it", without_key(1, &[0])),
    ];
    for (name, bytes) in cases {
        let valid = validate_produced(&bytes, &RULES);
        assert!(valid.is_ok(), "{name}: {valid:?}");
    }
}

#[test]
fn batches_that_kafka_refuses_are_refused_with_its_code() {
    let int = |value: i32| value.to_be_bytes();
    let count = |value: i32, last: i32| {
        with(3, &[(COUNT_POSITION, &int(value)), (LAST_OFFSET_DELTA_POSITION, &int(last))])
    };
    let length = |n: i32| changed(|b| put(b, BATCH_LENGTH_POSITION, &int(n)));
    let pid = |sequence: i32| {
        let sequence = (BASE_SEQUENCE_POSITION, &int(sequence)[..]);
        with(1, &[(PRODUCER_ID_POSITION, &5i64.to_be_bytes()), sequence])
    };
    let junk = |bytes: &[u8]| [&batch(1), bytes].concat();
    let cases: Vec<(&str, Vec<u8>, ProduceRefusalKind)> = vec![
        ("empty", vec![], InvalidRecord),
        ("10 zeros", vec![0; 10], InvalidRecord),
        ("bad crc", changed(|b| b[CRC_POSITION] ^= 1), CorruptMessage),
        ("magic 1 message set", legacy(1), InvalidRecord),
        ("magic 0 message set", legacy(0), InvalidRecord),
        ("v2 batch with magic 1", changed(|b| b[MAGIC_POSITION] = 1), InvalidRecord),
        ("v2 batch with magic 3", changed(|b| b[MAGIC_POSITION] = 3), CorruptMessage),
        ("v2 batch with magic -1", changed(|b| b[MAGIC_POSITION] = 255), CorruptMessage),
        ("two batches", [batch(1), batch(1)].concat(), InvalidRecord),
        ("20 junk bytes", junk(&[0; 20]), CorruptMessage),
        ("12 junk bytes", junk(&[0; 12]), CorruptMessage),
        ("17 junk bytes of magic 99", junk(&[99; 17]), CorruptMessage),
        ("count 3, last offset delta 5", count(3, 5), InvalidRecord),
        ("count 5 of 3", count(5, 4), InvalidRecord),
        ("count 2 of 3", count(2, 1), InvalidRecord),
        ("count 0, last -1", with_body(0, &[]), InvalidRecord),
        ("count 0, last 0", count(0, 0), InvalidRecord),
        ("count -1", count(-1, 0), InvalidRecord),
        ("count -2^31", count(i32::MIN, i32::MAX), InvalidRecord),
        ("record length too long", with_body(1, &[0x7e, 0, 0, 0, 1, 1, 0]), InvalidRecord),
        ("record length negative", with_body(1, &[1]), InvalidRecord),
        ("header count negative", with_body(1, &[12, 0, 0, 0, 1, 1, 1]), InvalidRecord),
        ("header key null", with_body(1, &[16, 0, 0, 0, 1, 1, 2, 1, 1]), InvalidRecord),
        ("header key cut off", with_body(1, &[14, 0, 0, 0, 1, 1, 2, 8]), InvalidRecord),
        ("control bit", attributes(CONTROL_BIT), InvalidRecord),
        ("delete horizon, which Kafka lets pass", attributes(DELETE_HORIZON_BIT), InvalidRecord),
        ("codec bits 5", attributes(5), InvalidRecord),
        ("producer id without sequence", pid(-1), InvalidRecord),
        ("base offset 1000", changed(|b| put(b, 0, &1000i64.to_be_bytes())), InvalidRecord),
        ("batch length 10", length(10), CorruptMessage),
        ("batch length -1", length(-1), CorruptMessage),
        ("batch length 20", length(20), CorruptMessage),
        ("batch length beyond the data", length(5000), InvalidRecord),
        ("batch length 2^31 - 1", length(i32::MAX), InvalidRecord),
        ("10 years ahead", at_time(NOW.0 + 10 * 365 * 24 * HOUR_MS), InvalidTimestamp),
        ("2 hours ahead", at_time(NOW.0 + 2 * HOUR_MS), InvalidTimestamp),
        ("latest timestamp of all", at_time(i64::MAX), InvalidTimestamp),
        (
            "no timestamp with log append time bit",
            {
                let mut bytes = at_time(-1);
                stamp_append_time(&mut bytes, NO_TIMESTAMP);
                bytes
            },
            InvalidTimestamp,
        ),
    ];
    for (name, bytes, kind) in cases {
        let refusal = validate_produced(&bytes, &RULES).expect_err(name);
        assert_eq!(refusal.kind, kind, "{name}: {refusal}");
    }
}

#[test]
fn rules_of_the_topic_and_the_request_decide() {
    let sized = batch(1).len();
    let max = |max_message_bytes| ProduceRules { max_message_bytes, ..RULES };
    let compacted = ProduceRules { is_compacted: true, ..RULES };
    let append_time = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..RULES };
    let before = ProduceRules { timestamp_before_max_ms: 1000, ..RULES };
    let version = |produce_version| ProduceRules { produce_version, ..RULES };
    let packed_count = |count: i32| {
        let fields = [(COUNT_POSITION, count), (LAST_OFFSET_DELTA_POSITION, count - 1)];
        let [count, last] = fields.map(|(position, field)| (position, field.to_be_bytes()));
        let gzip = (ATTRIBUTES_POSITION, &1i16.to_be_bytes()[..]);
        with(1, &[gzip, (count.0, &count.1), (last.0, &last.1)])
    };
    let hidden_future = {
        let mut bytes = at_time(NOW.0 + 2 * HOUR_MS);
        stamp_append_time(&mut bytes, NOW);
        bytes
    };
    let packed_at = |ms: i64| {
        let gzip = (ATTRIBUTES_POSITION, &1i16.to_be_bytes()[..]);
        with(1, &[gzip, (MAX_TIMESTAMP_POSITION, &ms.to_be_bytes())])
    };
    let cases = [
        ("as large as allowed", batch(1), max(sized), None),
        ("one byte larger", batch(1), max(sized - 1), Some(MessageTooLarge)),
        ("too large and bad crc", changed(|b| b[CRC_POSITION] ^= 1), max(9), Some(MessageTooLarge)),
        ("too large at offset 9", changed(|b| b[7] = 9), max(9), Some(InvalidRecord)),
        ("null key", without_key(1, &[0]), compacted, Some(InvalidRecord)),
        ("all keys", batch(3), compacted, None),
        ("zstd in version 6", attributes(4), version(6), Some(UnsupportedCompressionType)),
        ("zstd in version 7", attributes(4), version(7), None),
        ("any time", at_time(5), append_time, None),
        ("time bit", attributes(APPEND_TIME_BIT), append_time, Some(InvalidTimestamp)),
        ("too old", at_time(NOW.0 - 1001), before, Some(InvalidTimestamp)),
        ("just not too old", at_time(NOW.0 - 1000), before, None),
        ("packed, ahead", packed_at(NOW.0 + 2 * HOUR_MS), RULES, Some(InvalidTimestamp)),
        ("future behind the time bit", hidden_future, RULES, Some(InvalidTimestamp)),
        ("packed, 30 million records", packed_count(30_000_000), RULES, None),
        ("packed, too many to be true", packed_count(40_000_000), RULES, Some(InvalidRecord)),
        ("packed, now", packed_at(NOW.0), RULES, None),
    ];
    for (name, bytes, rules, expected) in cases {
        let kind = validate_produced(&bytes, &rules).err().map(|refusal| refusal.kind);
        assert_eq!(kind, expected, "{name}");
    }
}

/// Packs the records of a batch, whose header says `count`.
fn packed(plain: &[u8], codec: Codec, count: i32) -> Vec<u8> {
    let (used, body) = codec.compress(&plain[HEADER_BYTES..]);
    assert_eq!(used, codec, "it packs small bodies");
    let mut bytes = [&plain[..HEADER_BYTES], &body].concat();
    put(&mut bytes, ATTRIBUTES_POSITION, &(codec as i16).to_be_bytes());
    put(&mut bytes, COUNT_POSITION, &count.to_be_bytes());
    put(&mut bytes, LAST_OFFSET_DELTA_POSITION, &(count - 1).to_be_bytes());
    sealed(bytes)
}

#[test]
fn a_compacted_topic_takes_only_what_the_cleaner_can_read() {
    let record = |delta| [&[16, 0, 0, 2 * delta][..], &[2, b'k', 2, b'v', 0]].concat();
    let deltas = |deltas: &[u8]| {
        let body = deltas.iter().map(|delta| record(*delta)).collect::<Vec<_>>().concat();
        with_body(deltas.len() as i32, &body)
    };
    let large = |bytes: usize| {
        let value = vec![0; bytes];
        BatchBuilder::new(NOW).push(NewRecord::keyed(b"k", &value)).build()
    };
    let late = at_time(NOW.0 + 2 * HOUR_MS);
    let most = COMPACTED_BATCH_UNPACKED_BYTES_MAX;
    let cases = [
        ("as it should be", batch(3), 3, None),
        ("fewer records than announced", batch(3), 5, Some(InvalidRecord)),
        ("more records than announced", batch(3), 2, Some(InvalidRecord)),
        ("a record without key", without_key(3, &[1]), 3, Some(InvalidRecord)),
        ("offset deltas in order", deltas(&[0, 1, 2]), 3, None),
        ("offset deltas 0,0,0", deltas(&[0, 0, 0]), 3, Some(InvalidRecord)),
        ("offset deltas 0,2", deltas(&[0, 2]), 2, Some(InvalidRecord)),
        ("too late", late, 1, Some(InvalidTimestamp)),
        ("nearly too large", large(most - 100), 1, None),
        ("too large", large(most), 1, Some(MessageTooLarge)),
    ];
    for (name, plain, count, expected) in cases {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bytes = packed(&plain, codec, count);
            let rules = ProduceRules { max_message_bytes: usize::MAX, ..RULES };
            let compacted = ProduceRules { is_compacted: true, ..rules };
            let kind = validate_produced(&bytes, &compacted).err().map(|refusal| refusal.kind);
            assert_eq!(kind, expected, "{name}, {codec:?}");
            if name != "too late" {
                let found = validate_produced(&bytes, &rules);
                assert!(found.is_ok(), "{name}, {codec:?}: {found:?}");
            }
        }
    }
    let compacted = ProduceRules { is_compacted: true, ..RULES };
    let kind = |bytes: &[u8]| validate_produced(bytes, &compacted).map_err(|refusal| refusal.kind);
    assert_eq!(kind(&deltas(&[0, 0, 0])).err(), Some(InvalidRecord), "nor uncompressed");
    for codec in 1..=4 {
        assert_eq!(kind(&attributes(codec)).err(), Some(InvalidRecord), "garbage of codec {codec}");
    }
    let mut hidden = packed(&batch(1), Codec::Gzip, 1);
    put(&mut hidden, MAX_TIMESTAMP_POSITION, &(NOW.0 - 5).to_be_bytes());
    let valid = kind(&sealed(hidden)).expect("its records are sound");
    assert_eq!((valid.max_timestamp, valid.needs_create_time), (NOW, true), "the records' own");
}

#[test]
fn refusals_carry_kafka_s_texts() {
    let compacted = ProduceRules { is_compacted: true, ..RULES };
    let text = |bytes: &[u8], rules| validate_produced(bytes, &rules).unwrap_err();
    let short = changed(|b| put(b, BATCH_LENGTH_POSITION, &10i32.to_be_bytes()));
    let expected = "Record size 10 is less than the minimum record overhead (14)";
    assert_eq!(text(&short, RULES).message, expected);
    let magic = changed(|b| b[MAGIC_POSITION] = 3);
    assert_eq!(text(&magic, RULES).message, "Invalid magic found in record: 3");

    let late = text(&at_time(NOW.0 + 2 * HOUR_MS), RULES);
    let expected = "One or more records have been rejected due to invalid timestamp";
    assert_eq!(late.message, expected);
    let expected = format!(
        "Timestamp 1700007200000 of message with offset 0 is out of range. The timestamp should \
         be within [{}, 1700003600000]",
        NOW.0 - i64::MAX
    );
    assert_eq!(late.records, [RefusedRecord { batch_index: 0, message: expected }]);

    let keyless = text(&without_key(3, &[1]), compacted);
    let expected = "One or more records have been rejected due to 1 record errors in total, and \
                    only showing the first three errors at most: [RecordError(batchIndex=1, \
                    message='Compacted topic cannot accept message without key in topic \
                    partition t-0')]";
    assert_eq!(keyless.message, expected);
    assert_eq!(keyless.records.len(), 1);

    let many = text(&without_key(1500, &(0..1500).collect::<Vec<_>>()), compacted);
    assert!(many.message.contains("due to 1500 record errors"));
    assert_eq!(many.message.matches("RecordError(").count(), 3);
    assert_eq!(many.records.len(), PRODUCE_RECORD_ERRORS_MAX);
}

#[test]
fn valid_batch_says_what_the_log_needs() {
    let bytes = BatchBuilder::new(NOW)
        .producer(ProducerId(7), 3, 11)
        .transactional()
        .push(NewRecord { timestamp: Some(TimestampMs(NOW.0 + 9)), ..NewRecord::value(b"a") })
        .push(NewRecord::value(b"b"))
        .build();
    let valid = validate_produced(&[&bytes[..], &[0; 5]].concat(), &RULES).unwrap();
    let expected = ValidBatch {
        count: 2,
        last_offset_delta: 1,
        base_timestamp: NOW,
        max_timestamp: TimestampMs(NOW.0 + 9),
        needs_create_time: false,
        producer_id: ProducerId(7),
        producer_epoch: 3,
        base_sequence: 11,
        is_transactional: true,
        codec: Codec::None,
        size: bytes.len(),
    };
    assert_eq!(valid, expected);
}

#[test]
fn header_time_that_lies_is_put_right() {
    let lying = [
        with(1, &[(MAX_TIMESTAMP_POSITION, &1i64.to_be_bytes())]),
        with(1, &[(ATTRIBUTES_POSITION, &APPEND_TIME_BIT.to_be_bytes())]),
    ];
    for mut bytes in lying {
        let valid = validate_produced(&bytes, &RULES).unwrap();
        assert!(valid.needs_create_time);
        assert_eq!(valid.max_timestamp, NOW);
        stamp_create_time(&mut bytes, valid.max_timestamp);
        assert_eq!(bytes, batch(1));
        assert!(!validate_produced(&bytes, &RULES).unwrap().needs_create_time);
    }
}

proptest! {
    #[test]
    fn damaged_batches_never_panic(
        count in 1usize..5,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        is_sealed: bool,
        is_compacted: bool,
    ) {
        let mut bytes = [batch(count), vec![7; 6]].concat();
        for (position, value) in damage {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        if is_sealed {
            bytes = sealed(bytes);
        } else {
            bytes.truncate(cut.index(bytes.len()) + 1);
        }
        let rules = ProduceRules { is_compacted, ..RULES };
        if let Ok(valid) = validate_produced(&bytes, &rules) {
            prop_assert!(valid.size <= bytes.len() && valid.count > 0);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(validate_produced(&bytes, &RULES).is_err());
    }

    #[test]
    fn base_timestamps_at_the_edge_never_panic(base: i64, delta: i64) {
        let record = NewRecord { timestamp: Some(TimestampMs(delta)), ..NewRecord::value(b"") };
        let mut bytes = BatchBuilder::new(TimestampMs(0)).push(record).build();
        put(&mut bytes, BASE_TIMESTAMP_POSITION, &base.to_be_bytes());
        let refused = validate_produced(&sealed(bytes), &RULES).is_err();
        let timestamp = base.wrapping_add(delta);
        let allowed = NOW.0 - i64::MAX..=NOW.0 + HOUR_MS;
        prop_assert_eq!(refused, !allowed.contains(&timestamp));
    }
}
