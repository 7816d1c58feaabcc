//! What is refused, in which words, and what a connection survives.

use bytes::Bytes;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::wire::codec::Secret;
use rivven_core::wire::frame::Head;
use rivven_core::wire::message::NewRecord;
use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;

use crate::fixture::Fixture;
use crate::native_client::{Native, consume, consume_records, long_poll, publish, publish_records};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_begin_with_the_words_that_released_clients_know() {
    let fixture = Fixture::start_with(|config| config.auto_create_topics = false).await;
    let mut native = Native::connect(&fixture).await;
    native.create("t", 1).await;
    native.call(&publish("t", 0, "v")).await;
    let create = |name: &str, count| Request::CreateTopic { name: name.into(), partitions: count };
    let secret = Secret(Bytes::from_static(b"p"));
    let stale = Request::Publish {
        topic: "t".into(),
        partition: Some(0),
        key: None,
        value: Bytes::new(),
        leader_epoch: Some(5),
    };
    let begin = Request::BeginTransaction {
        txn_id: "x".into(),
        producer_id: 1,
        producer_epoch: 0,
        timeout_ms: None,
    };
    let authenticate =
        Request::Authenticate { username: "u".into(), password: secret, require_tls: false };
    let empty = Request::PublishBatch {
        topic: "t".into(),
        partition: None,
        records: vec![],
        leader_epoch: None,
    };
    let cases = [
        (publish("none", 0, "v"), "UNKNOWN_TOPIC_OR_PARTITION: "),
        (publish("bad name", 0, "v"), "INVALID_TOPIC_NAME: "),
        (publish("__consumer_offsets", 0, "v"), "UNKNOWN_TOPIC_OR_PARTITION: "),
        (publish("t", 1, "v"), "UNKNOWN_TOPIC_OR_PARTITION: "),
        (publish("t", u32::MAX, "v"), "UNKNOWN_TOPIC_OR_PARTITION: "),
        (publish("t", 0, vec![0; 2 << 20]), "MESSAGE_TOO_LARGE: "),
        (stale, "UNKNOWN_LEADER_EPOCH: "),
        (empty, "INVALID_RECORD: "),
        (consume("none", 0, 1), "UNKNOWN_TOPIC_OR_PARTITION: "),
        (consume("t", 2, 1), "OFFSET_OUT_OF_RANGE: "),
        (consume("t", u64::MAX, 1), "OFFSET_OUT_OF_RANGE: "),
        (long_poll("t", 2), "OFFSET_OUT_OF_RANGE: "),
        (create("t", None), "TOPIC_ALREADY_EXISTS: "),
        (create("..", None), "INVALID_TOPIC_NAME: "),
        (create("zero", Some(0)), "INVALID_PARTITION_COUNT: "),
        (Request::DeleteTopic { name: "none".into() }, "UNKNOWN_TOPIC_OR_PARTITION: "),
        (Request::GetMetadata { topic: "none".into() }, "UNKNOWN_TOPIC_OR_PARTITION: "),
        (begin, "INVALID_TXN_STATE: "),
        (authenticate, "SECURITY_DISABLED: "),
        (Request::DescribeQuotas { entities: vec![] }, "UNSUPPORTED: "),
    ];
    for (request, prefix) in cases {
        let error = native.error(&request).await;
        assert!(error.starts_with(prefix), "{request:?}: {error}");
    }
    let handshake = Request::Handshake { protocol_version: 9, client_id: "x".into() };
    let answer = native.call(&handshake).await;
    assert!(matches!(answer, Response::HandshakeResult { compatible: false, .. }), "{answer:?}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_requests_and_clients_get_codes() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    native.create("t", 1).await;
    let code = |response: Response| match response {
        Response::ErrorWithCode { code, is_retriable, message } => {
            assert!(!message.is_empty());
            (ErrorCode(code), is_retriable)
        }
        other => panic!("{other:?}"),
    };
    let beyond = consume_records("t", 5, 1000);
    let expected = (ErrorCode::OFFSET_OUT_OF_RANGE, false);
    assert_eq!(code(native.call(&beyond).await), expected);
    let old = consume("none", 0, 1);
    assert!(matches!(native.call(&old).await, Response::Error { .. }));
    native.call(&Request::Handshake { protocol_version: 3, client_id: "x".into() }).await;
    let expected = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, true);
    assert_eq!(code(native.call(&old).await), expected);
    native.client.send_frame(&[0, 0, 0, 0, 9, 0xff]).await;
    let expected = (ErrorCode::INVALID_REQUEST, false);
    assert_eq!(code(native.receive().await.1), expected);
    native.client.send_bytes(&(10_485_761u32).to_be_bytes()).await;
    let expected = (ErrorCode::MESSAGE_TOO_LARGE, false);
    assert_eq!(code(native.receive().await.1), expected);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_0_is_silent_and_closes_on_an_error() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    native.create("quiet", 1).await;
    let record = NewRecord { value: Some("v".into()), ..NewRecord::default() };
    let request = publish_records("quiet", vec![record], 0);
    native.send(&request).await;
    let read = native.values(&consume("quiet", 0, 9)).await;
    assert_eq!(read, [(0, Bytes::from("v"))]);
    native.send(&publish_records("quiet", vec![], 0)).await;
    assert!(native.client.is_closed().await);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_no_requests_are_answered_and_long_ones_end_the_connection() {
    let fixture = Fixture::start().await;
    let mut native = Native::connect(&fixture).await;
    let garbage = [[0, 0, 0, 0, 9, 0xff].as_slice(), &[0xff; 20]].concat();
    native.client.send_frame(&garbage).await;
    let (id, answer) = native.receive().await;
    assert!(matches!(answer, Response::Error { .. }), "{answer:?}");
    assert_eq!(id, 9);
    for short in [&[0u8][..], &[7; 30]] {
        native.client.send_frame(short).await;
        let (id, answer) = native.receive().await;
        assert!(matches!(answer, Response::Error { .. }), "{answer:?}");
        assert_eq!(id, 0);
    }
    assert_eq!(native.call(&Request::Ping).await, Response::Pong);
    native.client.send_bytes(&(10_485_761u32).to_be_bytes()).await;
    let (_, answer) = native.receive().await;
    let Response::Error { message } = answer else { panic!("{answer:?}") };
    assert!(message.starts_with("MESSAGE_TOO_LARGE: "), "{message}");
    assert!(native.client.is_closed().await);

    let mut first = Native::connect(&fixture).await;
    let long = publish("t", 0, vec![0; 10 << 20]);
    let mut frame = Head::request(1, &publish("t", 0, "v")).unwrap();
    frame.resize(4 + (11 << 20), 0);
    frame[..4].copy_from_slice(&(11u32 << 20).to_be_bytes());
    first.client.send_bytes(&frame).await;
    assert!(Head::request(1, &long).is_err(), "a client does not even send it");
    let answered = first.client.frame().await;
    assert!(answered.is_none_or(|frame| frame[0] == 0), "an error at most");
    assert!(first.client.is_closed().await);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_frames_hurt_nobody_else() {
    let fixture = Fixture::start().await;
    let mut neighbour = Native::connect(&fixture).await;
    neighbour.create("n", 1).await;
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..200 {
        // A ping first, so that the rest is not taken for Kafka's.
        let mut bytes = Head::request(1, &Request::Ping).unwrap();
        for _ in 0..50 {
            let mut frame = vec![(random() % 2) as u8, 0, 0, 0, 9, (random() % 46) as u8];
            let length = random() % 60;
            frame.extend((0..length).map(|_| (random() >> (random() % 60)) as u8));
            bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&frame);
        }
        Native::connect(&fixture).await.client.send_or_lose(&bytes).await;
    }
    let published = neighbour.call(&publish("n", 0, "v")).await;
    assert!(matches!(published, Response::Published { .. }), "{published:?}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protobuf_clients_are_answered_in_protobuf() {
    let fixture = Fixture::start().await;
    let client = &mut fixture.client().await;
    // Ping is field 30, an empty message; so is the answer, behind a header.
    client.send_frame(&[1, 0, 0, 0, 7, 0xf2, 0x01, 0]).await;
    let frame = client.frame().await.unwrap();
    assert_eq!(frame[..], [1, 0, 0, 0, 7, 0x0a, 4, 8, 1, 16, 7, 0xf2, 0x01, 0]);
    // Consume is field 11; an unknown topic is error 3.
    client.send_frame(&[1, 0, 0, 0, 8, 0x5a, 3, 0x0a, 1, b'x']).await;
    let frame = client.frame().await.unwrap();
    assert_eq!(frame[..11], [1, 0, 0, 0, 8, 0x0a, 4, 8, 1, 16, 8]);
    assert_eq!(frame[11..13], [0x9a, 0x06], "field 99");
    assert_eq!(frame[14..16], [8, 3], "{frame:?}");
    // GetMetadata is field 15; of one topic it is an error, too, of two an empty list.
    client.send_frame(&[1, 0, 0, 0, 9, 0x7a, 3, 0x0a, 1, b'x']).await;
    let frame = client.frame().await.unwrap();
    assert_eq!((&frame[11..13], &frame[14..16]), (&[0x9a, 0x06][..], &[8, 3][..]), "{frame:?}");
    client.send_frame(&[1, 0, 0, 0, 9, 0x7a, 6, 0x0a, 1, b'x', 0x0a, 1, b'y']).await;
    let frame = client.frame().await.unwrap();
    assert_eq!(frame[11], 0x7a, "{frame:?}");
    // A frame that is cut off, and ListTopics with a prefix, which is not served.
    for cut in [&[0x5a, 3, 0x0a][..], &[0x72, 3, 0x0a, 1, b'x']] {
        client.send_frame(&[&[1, 0, 0, 0, 9], cut].concat()).await;
        let frame = client.frame().await.unwrap();
        assert_eq!(frame[11..13], [0x9a, 0x06], "field 99");
        assert_eq!(frame[14..16], [8, 2], "{frame:?}");
    }
    fixture.stop().await;
}
