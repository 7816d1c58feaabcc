//! One connection: requests go out one after the other, answers come back in the same order.

use core::net::SocketAddr;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rivven_core::kafka::codec::api::ApiKey;
use rivven_core::kafka::codec::frame::RequestFrame;
use rivven_core::kafka::codec::header::decode_response_header;
use rivven_core::kafka::codec::message::{Message, Request};
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::api_versions::ApiVersionsRequest;
use rivven_io::Env;
use rivven_io::clock::Monotonic;
use rivven_io::net::Stream;
use rivven_io::sim::net::keeps_peer_waiting;

use super::TIMED_OUT;

/// Far above what any fetch asks for.
const FRAME_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 64 << 10;
/// First Produce and Fetch version that names topics by id, not by name.
pub(crate) const BY_ID_FROM: i16 = 13;

/// Why a connection failed; it is of no use after that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("connecting: {0}")]
    Connect(String),
    #[error("closed: {0}")]
    Closed(String),
    #[error("{TIMED_OUT}")]
    TimedOut,
    #[error("malformed answer: {0}")]
    Malformed(String),
}

/// How a connection is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionConfig {
    pub client_id: String,
    pub connect_timeout: Duration,
    /// From the send of a request to its answer.
    pub request_timeout: Duration,
    /// Whether Produce, Fetch and DeleteTopics name topics by id only.
    pub by_id: bool,
}

/// An open connection whose broker has said which versions it serves. For each API one of the
/// versions that both sides have is drawn and kept, so that runs cover them all.
pub struct Connection {
    env: Env,
    stream: Stream,
    config: ConnectionConfig,
    served: BTreeMap<i16, (i16, i16)>,
    drawn: BTreeMap<i16, i16>,
    correlation_id: i32,
    waiting: VecDeque<Waiting>,
    received: BytesMut,
}

/// A request whose answer has not come.
struct Waiting {
    correlation_id: i32,
    api: ApiKey,
    version: i16,
    deadline: Monotonic,
}

impl Connection {
    /// Connects and asks for the broker's versions.
    ///
    /// # Errors
    /// The broker is not there, does not answer in time, or answers nonsense.
    pub async fn open(
        env: &Env,
        broker: SocketAddr,
        config: ConnectionConfig,
    ) -> Result<Connection, CallError> {
        let connected = env.clock.timeout(config.connect_timeout, env.net.connect(broker)).await;
        let stream = connected
            .map_err(|_| CallError::Connect(TIMED_OUT.to_owned()))?
            .map_err(|error| CallError::Connect(error.kind().to_string()))?;
        let mut connection = Connection {
            env: env.clone(),
            stream,
            config,
            served: BTreeMap::new(),
            drawn: BTreeMap::new(),
            correlation_id: 0,
            waiting: VecDeque::new(),
            received: BytesMut::new(),
        };
        connection.ask_versions().await?;
        Ok(connection)
    }

    async fn ask_versions(&mut self) -> Result<(), CallError> {
        let key = ApiKey::ApiVersions as i16;
        self.served.insert(key, (0, ApiVersionsRequest::VERSION_MAX));
        let request = ApiVersionsRequest {
            client_software_name: WireStr::from_static("rivven-simulator"),
            client_software_version: WireStr::from_static("1"),
        };
        let answer = self.call(&request).await?;
        if answer.error_code.is_error() {
            return Err(CallError::Malformed(format!("ApiVersions: {}", answer.error_code)));
        }
        for api in answer.api_keys {
            self.served.insert(api.api_key, (api.min_version, api.max_version));
        }
        Ok(())
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    /// Requests on the way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the broker waits for this end to read: no buffer on the way has room.
    pub(crate) fn keeps_broker_waiting(&self) -> bool {
        keeps_peer_waiting(&self.stream.reader)
    }

    /// The version in which this connection speaks `M`, drawn at the first call.
    ///
    /// # Errors
    /// The broker serves none that this client can use.
    pub fn version<M: Request>(&mut self) -> Result<i16, CallError> {
        let key = M::API as i16;
        if let Some(version) = self.drawn.get(&key) {
            return Ok(*version);
        }
        let (served_min, served_max) = self.served.get(&key).copied().unwrap_or((0, -1));
        let low = served_min.max(M::VERSION_MIN).max(self.usable_from(M::API));
        let high = served_max.min(M::VERSION_MAX);
        let count = u64::try_from(i32::from(high) - i32::from(low) + 1).unwrap_or(0);
        if count == 0 {
            return Err(CallError::Malformed(format!("no usable version of {:?}", M::API)));
        }
        let draw = i16::try_from(self.env.rng.u64() % count).expect("below an i16 range");
        self.drawn.insert(key, low + draw);
        Ok(low + draw)
    }

    /// The first version that says what the history needs, or names topics as it must.
    fn usable_from(&self, api: ApiKey) -> i16 {
        match api {
            ApiKey::Metadata => 10,
            ApiKey::CreateTopics => 7,
            ApiKey::ListOffsets => 4,
            ApiKey::DeleteTopics => 6,
            ApiKey::JoinGroup => 5,
            ApiKey::OffsetCommit | ApiKey::OffsetFetch if self.config.by_id => 10,
            ApiKey::OffsetCommit => 7,
            ApiKey::SyncGroup | ApiKey::Heartbeat | ApiKey::LeaveGroup => 3,
            ApiKey::OffsetFetch => 2,
            ApiKey::Fetch if !self.config.by_id => 5,
            ApiKey::Produce if !self.config.by_id => 5,
            ApiKey::Fetch | ApiKey::Produce => BY_ID_FROM,
            _ => 0,
        }
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// See [`CallError`]; whether the broker acted on the request is open.
    pub async fn call<M: Request>(&mut self, request: &M) -> Result<M::Response, CallError> {
        self.send(request).await?;
        self.receive::<M>().await
    }

    /// Sends a request; its answer is awaited by [`Connection::receive`], in the order of sends.
    ///
    /// # Errors
    /// See [`CallError`]; a part may have been sent.
    pub async fn send<M: Request>(&mut self, request: &M) -> Result<(), CallError> {
        let waiting = self.write(request).await?;
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// Sends a request that is never answered (Produce with acks 0).
    ///
    /// # Errors
    /// See [`CallError`]; a part may have been sent.
    pub async fn send_only<M: Request>(&mut self, request: &M) -> Result<(), CallError> {
        self.write(request).await.map(drop)
    }

    async fn write<M: Request>(&mut self, request: &M) -> Result<Waiting, CallError> {
        let version = self.version::<M>()?;
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let correlation_id = self.correlation_id;
        let client_id = Some(WireStr::from(self.config.client_id.as_str()));
        let frame = RequestFrame { api_version: version, correlation_id, client_id };
        let deadline = self.env.clock.now().after(self.config.request_timeout);
        for piece in frame.encode(request) {
            let left = deadline.since(self.env.clock.now());
            let written = self.env.clock.timeout(left, self.stream.writer.write_all(&piece)).await;
            written.map_err(|_| CallError::TimedOut)?.map_err(closed)?;
        }
        Ok(Waiting { correlation_id, api: M::API, version, deadline })
    }

    /// The answer to the oldest request on the way, which must be an `M`.
    ///
    /// # Errors
    /// See [`CallError`].
    ///
    /// # Panics
    /// If that request is not an `M`: the caller keeps the order.
    pub async fn receive<M: Request>(&mut self) -> Result<M::Response, CallError> {
        let waiting = self.waiting.pop_front().expect("a request is on the way");
        assert_eq!(waiting.api, M::API, "answers are awaited in the order of requests");
        let left = waiting.deadline.since(self.env.clock.now());
        let clock = self.env.clock.clone();
        let frame = clock.timeout(left, self.frame()).await.map_err(|_| CallError::TimedOut)??;
        let malformed = |error: &dyn std::fmt::Display| {
            CallError::Malformed(format!("{:?} v{}: {error}", waiting.api, waiting.version))
        };
        let (correlation_id, body) = decode_response_header(waiting.api, waiting.version, frame)
            .map_err(|error| malformed(&error))?;
        if correlation_id != waiting.correlation_id {
            let text = format!("answers {correlation_id}, not {}", waiting.correlation_id);
            return Err(malformed(&text));
        }
        M::Response::decode(body, waiting.version).map_err(|error| malformed(&error))
    }

    /// The next frame without its length.
    async fn frame(&mut self) -> Result<Bytes, CallError> {
        loop {
            if let Some(head) = self.received.first_chunk::<4>() {
                let length = usize::try_from(i32::from_be_bytes(*head)).unwrap_or(usize::MAX);
                if length > FRAME_BYTES_MAX {
                    return Err(CallError::Malformed(format!("a frame of {length} bytes")));
                }
                if self.received.len() >= 4 + length {
                    self.received.advance(4);
                    return Ok(self.received.split_to(length).freeze());
                }
            }
            self.received.reserve(READ_BYTES);
            let read = self.stream.reader.read(&mut self.received).await.map_err(closed)?;
            if read == 0 {
                return Err(CallError::Closed("the broker ended the stream".to_owned()));
            }
        }
    }
}

fn closed(error: std::io::Error) -> CallError {
    CallError::Closed(error.kind().to_string())
}
