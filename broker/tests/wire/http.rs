//! The HTTP port.

use bytes::BytesMut;
use rivven_core::wire::request::Request;

use crate::client::batch;
use crate::fixture::Fixture;
use crate::native_client::Native;

async fn exchange(fixture: &Fixture, request: &[u8]) -> String {
    let mut stream = fixture.env.net.connect(fixture.broker.http_addr()).await.unwrap();
    stream.writer.write_all(request).await.unwrap();
    let mut answer = BytesMut::new();
    loop {
        answer.reserve(4096);
        match stream.reader.read(&mut answer).await {
            Ok(0) | Err(_) => return String::from_utf8(answer.to_vec()).unwrap(),
            Ok(_) => {}
        }
    }
}

/// The text of `/metrics`.
pub(crate) async fn metrics(fixture: &Fixture) -> String {
    let answer = exchange(fixture, b"GET /metrics HTTP/1.1\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_are_served_and_nothing_else() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.create("m", 1, &[]).await;
    client.produce("m", 0, batch(&fixture.env, &[b"a", b"b"])).await;
    let long = [&b"GET /"[..], &[b'a'; 9000], b" HTTP/1.1\r\n\r\n"].concat();
    let cases: [(&[u8], &str, &str); 7] = [
        (b"GET /health HTTP/1.1\r\n\r\n", "HTTP/1.1 200", "\"status\":\"ok\""),
        (
            b"GET /metrics HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200",
            "rivven_messages_total{topic=\"m\"} 2\n",
        ),
        (b"GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200", "rivven_connections_active 1\n"),
        (b"POST /health HTTP/1.1\r\n\r\n", "HTTP/1.1 405", "GET"),
        (b"GET /other HTTP/1.1\r\n\r\n", "HTTP/1.1 404", "/health"),
        (b"\x16\x03\x01\x00\r\n\r\n", "HTTP/1.1 400", "\n"),
        (&long, "HTTP/1.1 431", "too large"),
    ];
    for (request, status, part) in cases {
        let answer = exchange(&fixture, request).await;
        assert!(answer.starts_with(status), "{answer}");
        assert!(answer.contains(part), "{answer}");
    }
    let mut native = Native::connect(&fixture).await;
    native.call(&Request::Ping).await;
    native.error(&Request::GetMetadata { topic: "none".into() }).await;
    native.client.send_frame(&[0, 0, 0, 0, 9, 0xff]).await;
    native.receive().await;
    let answer = exchange(&fixture, b"GET /metrics HTTP/1.1\r\n\r\n").await;
    for part in [
        "rivven_requests_total{api=\"NativePing\"} 1\n",
        "{api=\"NativeGetMetadata\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"} 1\n",
        "{api=\"NativeUnreadable\",error=\"INVALID_REQUEST\"} 1\n",
    ] {
        assert!(answer.contains(part), "{answer}");
    }
    fixture.stop().await;
}
