//! Frames, headers, unknown APIs, and the order of answers.

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::message::Message;
use rivven_core::kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use rivven_core::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};

use crate::fixture::Fixture;

/// Key, version, correlation id 7, then the rest.
fn request(key: i16, version: i16, rest: &[u8]) -> Vec<u8> {
    let mut frame = key.to_be_bytes().to_vec();
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&7i32.to_be_bytes());
    frame.extend_from_slice(rest);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_no_frames_close_the_connection() {
    let fixture = Fixture::start().await;
    let cases: [(&str, Vec<u8>); 8] = [
        ("length 0", 0i32.to_be_bytes().to_vec()),
        ("length -1", (-1i32).to_be_bytes().to_vec()),
        ("length i32::MAX", [&i32::MAX.to_be_bytes()[..], &[0; 100]].concat()),
        ("one above the limit", [&104_857_601i32.to_be_bytes()[..], &[0; 100]].concat()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("key and version only", [&4i32.to_be_bytes()[..], &[0, 18, 0, 0]].concat()),
        ("no client id", [&8i32.to_be_bytes()[..], &request(18, 0, &[])].concat()),
    ];
    for (case, bytes) in cases {
        let mut client = fixture.client().await;
        client.send_bytes(&bytes).await;
        assert!(client.is_closed().await, "{case}");
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_not_served_close_the_connection() {
    let fixture = Fixture::start().await;
    let null_client = [0xff, 0xff];
    let cases: [(&str, i16, i16, &[u8]); 13] = [
        ("unknown key", 1000, 0, &null_client),
        ("key -1", -1, 0, &null_client),
        ("LeaderAndIsr", 4, 0, &null_client),
        ("BrokerRegistration", 62, 0, &null_client),
        ("Metadata v99", 3, 99, &null_client),
        ("Metadata v14", 3, 14, &null_client),
        ("Metadata v-1", 3, -1, &null_client),
        ("Produce v2, advertised", 0, 2, &null_client),
        ("Fetch v3", 1, 3, &null_client),
        ("client id beyond the frame", 18, 0, &[0, 100, b'x']),
        ("Metadata v1 of 2^31 topics", 3, 1, &[0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]),
        ("Metadata v9 with a cut varint", 3, 9, &[0xff, 0xff, 0, 0xff]),
        ("ApiVersions v3 without a body", 18, 3, &[0xff, 0xff]),
    ];
    for (case, key, version, rest) in cases {
        let mut client = fixture.client().await;
        client.send_frame(&request(key, version, rest)).await;
        assert!(client.is_closed().await, "{case}");
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_versions_of_an_unknown_version_is_answered_in_version_0() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    for version in [99, 5, -1] {
        client.send_frame(&request(18, version, &[0xff, 0xff])).await;
        let frame = client.frame().await.unwrap();
        let response = ApiVersionsResponse::decode(frame.slice(4..), 0).unwrap();
        assert_eq!(response.error_code, ErrorCode::UNSUPPORTED_VERSION);
        let rows: Vec<_> = response
            .api_keys
            .iter()
            .map(|row| (row.api_key, row.min_version, row.max_version))
            .collect();
        assert_eq!(rows, [(18, 0, 4)]);
        assert_eq!(frame.len(), 4 + 2 + 4 + 6);
    }
    let software = |name: &str| ApiVersionsRequest {
        client_software_name: name.into(),
        client_software_version: "1.0".into(),
    };
    for name in ["", "my client"] {
        let response = client.call(3, &software(name)).await;
        assert_eq!(response.error_code, ErrorCode::INVALID_REQUEST);
        assert!(response.api_keys.is_empty());
    }
    let response = client.call(4, &software("probe")).await;
    assert_eq!(response.error_code, ErrorCode::NONE);
    assert!(response.api_keys.iter().any(|row| (row.api_key, row.min_version) == (0, 0)));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_in_the_order_of_requests() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("order", 1, &[]).await;
    let waits = FetchRequest {
        max_wait_ms: 300,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: "order".into(),
            partitions: vec![FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let first = client.send(11, &waits).await;
    let second = client.send(0, &ApiVersionsRequest::default()).await;
    assert_eq!(client.receive::<FetchRequest>(11).await.0, first);
    assert_eq!(client.receive::<ApiVersionsRequest>(0).await.0, second);
    fixture.stop().await;
}
