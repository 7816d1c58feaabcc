//! Produce: what is refused and how, pipelines, and what a restart keeps.

use bytes::Bytes;
use rivven_core::ids::{ProducerId, TimestampMs};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::api_versions::ApiVersionsRequest;
use rivven_core::kafka::messages::init_producer_id::InitProducerIdRequest;
use rivven_core::kafka::messages::produce::ProduceRequest;
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::record::header::{CRC_POSITION, compute_crc};

use crate::client::{batch, produce_one};
use crate::fixture::Fixture;

/// `batch` with a change and the CRC put right.
fn changed(batch: &Bytes, change: impl FnOnce(&mut [u8])) -> Bytes {
    let mut bytes = batch.to_vec();
    change(&mut bytes);
    let crc = compute_crc(&bytes);
    bytes[CRC_POSITION..CRC_POSITION + 4].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_refused_with_kafka_s_codes() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("p", 1, &[]).await;
    client.create("small", 1, &[("max.message.bytes", "100")]).await;
    client.create("keyed", 1, &[("cleanup.policy", "compact")]).await;
    let good = batch(&fixture.env, &[b"a", b"b", b"c"]);
    let mut bad_crc = good.to_vec();
    *bad_crc.last_mut().unwrap() ^= 1;
    let mut magic_3 = good.to_vec();
    magic_3[16] = 3;
    let ahead = TimestampMs(fixture.env.clock.wall_ms() + 7_200_000);
    let ahead = BatchBuilder::new(ahead).push(NewRecord::value(b"v")).build();
    let cases: [(&str, &str, i32, Bytes, ErrorCode); 16] = [
        ("good", "p", 0, good.clone(), ErrorCode::NONE),
        ("crc", "p", 0, bad_crc.into(), ErrorCode::CORRUPT_MESSAGE),
        ("magic 3", "p", 0, magic_3.into(), ErrorCode::CORRUPT_MESSAGE),
        ("two", "p", 0, [&good[..], &good].concat().into(), ErrorCode::INVALID_RECORD),
        ("20 junk", "p", 0, [&good[..], &[0; 20]].concat().into(), ErrorCode::CORRUPT_MESSAGE),
        ("5 junk", "p", 0, [&good[..], &[0; 5]].concat().into(), ErrorCode::NONE),
        ("count 5", "p", 0, changed(&good, |b| b[60] = 5), ErrorCode::INVALID_RECORD),
        ("control", "p", 0, changed(&good, |b| b[22] |= 0x20), ErrorCode::INVALID_RECORD),
        (
            "transactional",
            "p",
            0,
            changed(&good, |b| b[22] |= 0x10),
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ),
        ("ahead", "p", 0, ahead.into(), ErrorCode::INVALID_TIMESTAMP),
        ("empty", "p", 0, Bytes::new(), ErrorCode::INVALID_RECORD),
        ("large", "small", 0, batch(&fixture.env, &[&[0; 90]]), ErrorCode::MESSAGE_TOO_LARGE),
        ("no key", "keyed", 0, good.clone(), ErrorCode::INVALID_RECORD),
        ("partition", "p", 1, good.clone(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("partition -1", "p", -1, good.clone(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("internal", "__consumer_offsets", 0, good, ErrorCode::INVALID_TOPIC_EXCEPTION),
    ];
    for (case, topic, partition, records, expected) in cases {
        let row = client.produce(topic, partition, records).await;
        assert_eq!(row.error_code, expected, "{case}: {row:?}");
        assert_eq!(row.base_offset < 0, expected.is_error(), "{case}: {row:?}");
        let names_record = matches!(case, "ahead" | "no key");
        assert_eq!(!row.record_errors.is_empty(), names_record, "{case}: {row:?}");
    }
    for acks in [5, -2] {
        let records = Some(batch(&fixture.env, &[b"v"]));
        let request = ProduceRequest { acks, ..produce_one("p", 0, records) };
        let response = client.call(8, &request).await;
        let row = &response.responses[0].partition_responses[0];
        assert_eq!(row.error_code, ErrorCode::INVALID_REQUIRED_ACKS);
    }
    let row = client.call(8, &produce_one("p", 0, None)).await;
    assert_eq!(
        row.responses[0].partition_responses[0].error_code,
        ErrorCode::INVALID_RECORD,
        "null records"
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_0_is_silent_and_closes_on_an_error() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("quiet", 1, &[]).await;
    let records = Some(batch(&fixture.env, &[b"v"]));
    let good = ProduceRequest { acks: 0, ..produce_one("quiet", 0, records.clone()) };
    client.send(8, &good).await;
    assert!(!client.call(0, &ApiVersionsRequest::default()).await.api_keys.is_empty());
    let bad = ProduceRequest { acks: 0, ..produce_one("none", 0, records) };
    client.send(8, &bad).await;
    assert!(client.is_closed().await);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_batches_get_dense_offsets_in_order() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("pipe", 1, &[]).await;
    let records = batch(&fixture.env, &[b"a", b"b"]);
    for _ in 0..200 {
        client.send(9, &produce_one("pipe", 0, Some(records.clone()))).await;
    }
    for index in 0..200 {
        let (_, response) = client.receive::<ProduceRequest>(9).await;
        let row = &response.responses[0].partition_responses[0];
        assert_eq!((row.error_code, row.base_offset), (ErrorCode::NONE, 2 * index));
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_idempotent_batch_has_its_first_offset_also_after_a_restart() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("once", 1, &[]).await;
    let id = client.call(4, &InitProducerIdRequest::default()).await;
    assert_eq!((id.error_code, id.producer_epoch), (ErrorCode::NONE, 0));
    let now = TimestampMs(fixture.env.clock.wall_ms());
    let numbered = |sequence: i32| -> Bytes {
        let builder = BatchBuilder::new(now).producer(ProducerId(id.producer_id), 0, sequence);
        builder.push(NewRecord::value(b"v")).build().into()
    };
    for sequence in 0..3 {
        let row = client.produce("once", 0, numbered(sequence)).await;
        assert_eq!((row.error_code, row.base_offset), (ErrorCode::NONE, i64::from(sequence)));
    }
    assert_eq!(client.produce("once", 0, numbered(1)).await.base_offset, 1);
    let gap = client.produce("once", 0, numbered(9)).await;
    assert_eq!(gap.error_code, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    let fixture = fixture.restart().await;
    let mut client = fixture.client().await;
    assert_eq!(client.produce("once", 0, numbered(2)).await.base_offset, 2);
    assert_eq!(client.produce("once", 0, numbered(3)).await.base_offset, 3);
    let other = client.call(4, &InitProducerIdRequest::default()).await;
    assert!(other.producer_id > id.producer_id, "ids are given once");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactional_ids_are_refused_for_good() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    let cases = [
        ("", 60_000, ErrorCode::INVALID_REQUEST),
        ("t", 0, ErrorCode::INVALID_TRANSACTION_TIMEOUT),
        ("t", 900_001, ErrorCode::INVALID_TRANSACTION_TIMEOUT),
        ("t", 60_000, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    ];
    for (id, transaction_timeout_ms, expected) in cases {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms,
            ..Default::default()
        };
        assert_eq!(client.call(1, &request).await.error_code, expected, "{id:?}");
    }
    fixture.stop().await;
}
