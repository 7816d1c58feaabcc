//! The HTTP port: `/health` and `/metrics`, one request a connection, everything bounded.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rivven_io::net::{Listener, Stream};

use crate::limits::{HTTP_CONNECTIONS_MAX, HTTP_REQUEST_BYTES_MAX, HTTP_TIME_MAX};
use crate::metrics::exposition;
use crate::node::Node;
use crate::task_set::TaskSet;

/// Headers of a request; more are refused.
const HEADERS_MAX: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until the broker stops; what is open then is cut off.
pub(crate) fn serve(node: Arc<Node>, listener: Listener) -> TaskSet {
    let tasks = TaskSet::default();
    let connections = tasks.clone();
    tasks.spawn_vital(&node.clone(), "http", async move {
        loop {
            let accepted = tokio::select! {
                biased;
                () = node.stop.wait() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                // The task that accepts is one of the set.
                Ok(_) if connections.len() > HTTP_CONNECTIONS_MAX => {}
                Ok(stream) => {
                    let node = node.clone();
                    let env = node.env.clone();
                    connections.spawn(&env, "http-connection", async move {
                        let exchange = exchange(&node, stream);
                        let _ = node.env.clock.timeout(HTTP_TIME_MAX, exchange).await;
                    });
                }
                Err(_) => node.env.clock.sleep(ACCEPT_PAUSE).await,
            }
        }
    });
    tasks
}

async fn exchange(node: &Node, mut stream: Stream) -> std::io::Result<()> {
    let mut head = BytesMut::with_capacity(1024);
    let answer = loop {
        match parse(&head) {
            Parsed::Request { method, path } => break route(node, &method, &path).await,
            Parsed::Refused(answer) => break answer,
            Parsed::Partial if head.len() >= HTTP_REQUEST_BYTES_MAX => {
                break Answer::text(431, "the request head is too large");
            }
            Parsed::Partial => {}
        }
        head.reserve(1024);
        if stream.reader.read(&mut head).await? == 0 {
            return Ok(());
        }
    };
    stream.writer.write_all(&answer.encode()).await?;
    stream.writer.shutdown()?;
    // Read on: to close with bytes unread would reset the connection and lose the answer.
    let mut rest = BytesMut::with_capacity(1024);
    while rest.len() < HTTP_REQUEST_BYTES_MAX && stream.reader.read(&mut rest).await? > 0 {
        rest.clear();
    }
    Ok(())
}

enum Parsed {
    Request { method: String, path: String },
    Partial,
    Refused(Answer),
}

struct Answer {
    status: u16,
    content_type: &'static str,
    body: String,
    /// HEAD: the head alone.
    is_headless: bool,
}

fn parse(head: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => Parsed::Request {
            method: request.method.unwrap_or_default().to_owned(),
            path: request.path.unwrap_or_default().to_owned(),
        },
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(error) => Parsed::Refused(Answer::text(400, &error.to_string())),
    }
}

async fn route(node: &Node, method: &str, path: &str) -> Answer {
    let path = path.split('?').next().unwrap_or_default();
    let mut answer = match (method, path) {
        ("GET" | "HEAD", "/health") => health(node).await,
        ("GET" | "HEAD", "/metrics") => Answer {
            status: 200,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: exposition(node).await,
            is_headless: false,
        },
        (_, "/health" | "/metrics") => Answer::text(405, "only GET and HEAD"),
        _ => Answer::text(404, "there are /health and /metrics"),
    };
    answer.is_headless = method == "HEAD";
    answer
}

/// 503 once storage has failed, or the broker stops.
async fn health(node: &Node) -> Answer {
    // Polled once: a failure is known at once or not there.
    let failure = node.env.clock.timeout(Duration::ZERO, node.storage.failed()).await;
    let (status, word) = match failure {
        Ok(_) => (503, "failed"),
        Err(_) if node.stop.is_set() => (503, "stopping"),
        Err(_) => (200, "ok"),
    };
    let body = format!(
        "{{\"status\":\"{word}\",\"version\":\"{}\",\"node_id\":{},\"cluster_id\":\"{}\"}}\n",
        env!("CARGO_PKG_VERSION"),
        node.config.node_id,
        node.storage.cluster_id()
    );
    Answer { status, content_type: "application/json", body, is_headless: false }
}

impl Answer {
    fn text(status: u16, text: &str) -> Answer {
        let body = format!("{text}\n");
        Answer { status, content_type: "text/plain; charset=utf-8", body, is_headless: false }
    }

    fn encode(&self) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let mut text = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len()
        );
        if !self.is_headless {
            text.push_str(&self.body);
        }
        text.into_bytes()
    }
}
