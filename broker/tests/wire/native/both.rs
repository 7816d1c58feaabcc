//! One topic, two protocols: each reads what the other wrote.

use bytes::Bytes;
use rivven_core::ids::TimestampMs;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use rivven_core::record::batches::Batches;
use rivven_core::record::builder::{self, BatchBuilder};
use rivven_core::record::header::{
    ATTRIBUTES_POSITION, BATCH_LENGTH_POSITION, CRC_POSITION, HEADER_BYTES, compute_crc,
};
use rivven_core::record::records::Records;
use rivven_core::wire::message::{ConsumedRecord, MessageData, NewRecord};
use rivven_core::wire::response::Response;

use crate::fixture::Fixture;
use crate::native_client::{Native, consume, consume_records, publish_records};

const SNAPPY: u8 = 2;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// `batch` with another body, as a client that packs it sends it.
fn packed(batch: &[u8], body: &[u8]) -> Bytes {
    let mut packed = [&batch[..HEADER_BYTES], body].concat();
    let length = i32::try_from(packed.len() - 12).unwrap();
    packed[BATCH_LENGTH_POSITION..][..4].copy_from_slice(&length.to_be_bytes());
    packed[ATTRIBUTES_POSITION + 1] |= SNAPPY;
    let crc = compute_crc(&packed);
    packed[CRC_POSITION..][..4].copy_from_slice(&crc.to_be_bytes());
    packed.into()
}

/// Raw snappy of up to 256 bytes: one literal.
fn snappy(data: &[u8]) -> Vec<u8> {
    let length = data.len();
    assert!((61..=256).contains(&length));
    let announced = [(length & 0x7f) as u8 | 0x80, (length >> 7) as u8];
    [&announced, &[60 << 2, (length - 1) as u8][..], data].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_records_are_kafka_s_with_keys_headers_times_and_tombstones() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    native.create("one", 1).await;
    let now = fixture.env.clock.wall_ms();
    let records = vec![
        NewRecord {
            key: Some(bytes("k")),
            value: Some(bytes("v")),
            headers: vec![("h".to_owned(), Some(bytes("x"))), ("n".to_owned(), None)],
            timestamp_ms: Some(now - 5000),
        },
        NewRecord { key: Some(bytes("k")), timestamp_ms: Some(now), ..NewRecord::default() },
    ];
    let answer = native.call(&publish_records("one", records, -1)).await;
    let Response::RecordsPublished {
        base_offset: 0, record_count: 2, append_time_ms: None, ..
    } = answer
    else {
        panic!("{answer:?}")
    };
    let mut kafka = fixture.client().await;
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let topic =
        FetchTopic { topic: "one".into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { topics: vec![topic], ..FetchRequest::default() };
    let mut response = kafka.call(11, &request).await;
    let data = response.responses.remove(0).partitions.remove(0).records.unwrap().to_bytes();
    let batch = Batches::new(&data).next().unwrap().unwrap();
    assert!(batch.crc_is_valid());
    let read: Vec<_> = Records::new(&batch.header, batch.body()).map(Result::unwrap).collect();
    assert_eq!((read[0].key, read[0].value), (Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!((read[0].timestamp.0, read[1].timestamp.0), (now - 5000, now));
    let headers: Vec<_> = read[0].headers.map(|header| (header.key, header.value)).collect();
    assert_eq!(headers, [(&b"h"[..], Some(&b"x"[..])), (b"n", None)]);
    assert_eq!((read[1].key, read[1].value), (Some(&b"k"[..]), None), "a tombstone");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_clients_read_what_kafka_s_packed() {
    let fixture = Fixture::start().await;
    let mut kafka = fixture.client().await;
    kafka.create("two", 1, &[]).await;
    let now = fixture.env.clock.wall_ms();
    let headers: &[builder::NewHeader<'_>] = &[(b"h", Some(b"x")), (b"n", None)];
    let long = [b'z'; 100];
    let record = builder::NewRecord { headers, ..builder::NewRecord::keyed(b"k", &long) };
    let plain = BatchBuilder::new(TimestampMs(now))
        .push(record)
        .push(builder::NewRecord { key: Some(b"k"), ..builder::NewRecord::default() })
        .build();
    let batch = packed(&plain, &snappy(&plain[HEADER_BYTES..]));
    for _ in 0..2 {
        let row = kafka.produce("two", 0, batch.clone()).await;
        assert_eq!(row.error_code, ErrorCode::NONE, "{row:?}");
    }
    let mut native = Native::connect(&fixture).await;
    let Response::Records { next_offset, high_watermark, records, .. } =
        native.call(&consume_records("two", 1, 1 << 20)).await
    else {
        panic!("records are read")
    };
    assert_eq!((next_offset, high_watermark, records.len()), (4, 4, 3));
    let tombstone = ConsumedRecord {
        offset: 1,
        key: Some(bytes("k")),
        value: None,
        timestamp_ms: now,
        headers: vec![],
    };
    assert_eq!(records[0], tombstone);
    let headers = vec![("h".to_owned(), Some(bytes("x"))), ("n".to_owned(), None)];
    assert_eq!((records[1].offset, &records[1].headers), (2, &headers));
    assert_eq!(records[1].value.as_deref(), Some(&long[..]));
    let Response::Messages { messages } = native.call(&consume("two", 2, 1)).await else {
        panic!("messages are read")
    };
    let expected = MessageData {
        offset: 2,
        partition: 0,
        key: Some(bytes("k")),
        value: Bytes::copy_from_slice(&long),
        timestamp_ms: now,
        headers: vec![("h".to_owned(), bytes("x")), ("n".to_owned(), Bytes::new())],
    };
    assert_eq!(messages, [expected]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_is_refused_and_what_follows_it_is_read() {
    let fixture = Fixture::start().await;
    let mut kafka = fixture.client().await;
    kafka.create("bomb", 1, &[("max.message.bytes", "8388608")]).await;
    let plain = BatchBuilder::new(TimestampMs(-1)).push(builder::NewRecord::value(b"v")).build();
    // 80 MiB: a literal byte, then copies of 64 bytes each from one byte before.
    let mut body = vec![0x80, 0x80, 0x80, 0x28, 0, b'z'];
    let copies = (80usize << 20).div_ceil(64);
    body.extend([(63 << 2) | 2, 1, 0].repeat(copies - 1));
    body.extend([(62 << 2) | 2, 1, 0]);
    let [bomb, damaged] = [packed(&plain, &body), packed(&plain, b"no snappy")];
    let plain = Bytes::from(plain);
    for records in [plain.clone(), bomb, damaged, plain] {
        let row = kafka.produce("bomb", 0, records).await;
        assert_eq!(row.error_code, ErrorCode::NONE, "{row:?}");
    }
    let mut native = Native::connect(&fixture).await;
    assert_eq!(native.values(&consume("bomb", 0, 9)).await, [(0, bytes("v"))]);
    for (offset, word) in [(1, "MESSAGE_TOO_LARGE: "), (2, "CORRUPT_MESSAGE: ")] {
        let error = native.error(&consume("bomb", offset, 9)).await;
        assert!(error.starts_with(word), "{error}");
        assert!(error.ends_with(&format!("; go on at offset {}", offset + 1)), "{error}");
    }
    assert_eq!(native.values(&consume("bomb", 3, 9)).await, [(3, bytes("v"))]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packed_batch_whose_records_stand_anywhere_is_refused_for_good() {
    let fixture = Fixture::start().await;
    let mut kafka = fixture.client().await;
    kafka.create("order", 1, &[]).await;
    let value = [b'v'; 40];
    let record = || builder::NewRecord::value(&value);
    let plain = BatchBuilder::new(TimestampMs(-1)).push(record()).push(record()).build();
    let body = &plain[HEADER_BYTES..];
    // Length, attributes and time, each a byte, stand before a record's offset delta.
    let [first, second] = [3, body.len() / 2 + 3];
    assert_eq!((body[first], body[second]), (0, 2), "0 and 1 as zigzag varints");
    let good = (0, 2);
    let cases = [good, (0, 0), (2, 0), (0, 4), (1, 2), good];
    for deltas in cases {
        let mut body = body.to_vec();
        (body[first], body[second]) = deltas;
        let row = kafka.produce("order", 0, packed(&plain, &snappy(&body))).await;
        assert_eq!(row.error_code, ErrorCode::NONE, "{row:?}");
    }
    let mut native = Native::connect(&fixture).await;
    for (base, deltas) in (0..).step_by(2).zip(cases) {
        for offset in [base, base + 1] {
            let answer = native.call(&consume_records("order", offset, 1)).await;
            match answer {
                Response::Records { records, .. } if deltas == good => {
                    assert_eq!(records[0].offset, offset);
                }
                Response::ErrorWithCode { code, is_retriable, message } if deltas != good => {
                    assert_eq!(ErrorCode(code), ErrorCode::CORRUPT_MESSAGE);
                    assert!(!is_retriable);
                    let end = format!("; go on at offset {}", base + 2);
                    assert!(message.ends_with(&end), "{message}");
                }
                other => panic!("{deltas:?}: {other:?}"),
            }
        }
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_hold_whole_records_and_never_more_than_10_mib() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    native.create("large", 1).await;
    let value = Bytes::from(vec![7; 900_000]);
    for _ in 0..25 {
        let record = NewRecord { value: Some(value.clone()), ..NewRecord::default() };
        native.call(&publish_records("large", vec![record], 1)).await;
    }
    let mut offset = 0;
    let mut answers = 0;
    while offset < 25 {
        let read = native.values(&consume("large", offset, 1000)).await;
        assert!(read.iter().all(|(_, read)| *read == value));
        assert_eq!(read.first().map(|(at, _)| *at), Some(offset));
        offset = read.last().unwrap().0 + 1;
        answers += 1;
    }
    assert_eq!(answers, 3, "eleven fit an answer");
    let Response::Records { records, next_offset, .. } =
        native.call(&consume_records("large", 3, 2_000_000)).await
    else {
        panic!("records are read")
    };
    assert_eq!((records.len(), next_offset), (2, 5));
    let Response::Records { records, .. } = native.call(&consume_records("large", 3, 1)).await
    else {
        panic!("the first record comes whatever its size")
    };
    assert_eq!(records.len(), 1);
    fixture.stop().await;
}
