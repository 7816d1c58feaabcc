//! One connection: many requests under way, answers in the order of the requests.
//!
//! A task writes, gathering what waits into one system call, and a task reads. Requests are sent in
//! the order in which [`Connection::send`] took them.

mod reading;
#[cfg(test)]
mod tests;
mod writing;

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rivven_core::kafka::codec::api::ApiKey;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::frame::RequestFrame;
use rivven_core::kafka::codec::header::decode_response_header;
use rivven_core::kafka::codec::message::{Message, Request};
use rivven_core::kafka::codec::reader::Reader;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use rivven_io::Env;
use rivven_io::clock::Monotonic;
use rivven_io::task::Task;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::config::ClientConfig;

/// Why a connection is of no use (any more).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("the connection was closed: {0}")]
    Closed(String),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The peer ended the connection instead of answering its first request.
    #[error("{0}")]
    Unanswered(String),
    /// The peer speaks something else.
    #[error("{0}")]
    NotKafka(String),
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// Both sides have no version of this API in common, or the broker does not serve it.
    #[error("the broker serves no version of {0:?} that this client speaks")]
    Unsupported(ApiKey),
}

impl ConnectionError {
    /// Whether a new connection may do better.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        use ConnectionError as E;
        match self {
            E::Connect(_) | E::Closed(_) | E::TimedOut(_) | E::Unanswered(_) => true,
            E::NotKafka(_) | E::Malformed(_) | E::Unsupported(_) => false,
        }
    }
}

/// An open connection. Dropping it closes it; what is under way is then never answered.
pub struct Connection {
    env: Env,
    client_id: WireStr,
    served: BTreeMap<i16, (i16, i16)>,
    outgoing: mpsc::Sender<Outgoing>,
    in_flight: Arc<Semaphore>,
    shared: Arc<Shared>,
    tasks: [Task<()>; 2],
}

/// A request on its way, and who waits for its answer (nobody: it is never answered).
struct Outgoing {
    frame: RequestPieces,
    waiting: Option<Waiting>,
}

/// Frames are encoded by the sender, numbered by the writer: in the order in which they are sent.
struct RequestPieces(Vec<Bytes>);

struct Waiting {
    correlation_id: i32,
    answer: oneshot::Sender<Result<Bytes, ConnectionError>>,
    /// When the connection ends if there is no answer, and how long that was.
    deadline: Monotonic,
    timeout: Duration,
    _permit: OwnedSemaphorePermit,
}

/// What the tasks and the handle share.
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_correlation_id: i32,
    waiting: VecDeque<Waiting>,
    end: Option<ConnectionError>,
}

/// An answer that is to come. Dropping it drops the answer, not the request.
pub struct Pending<M: Request> {
    env: Env,
    answer: oneshot::Receiver<Result<Bytes, ConnectionError>>,
    shared: Arc<Shared>,
    version: i16,
    deadline: Monotonic,
    timeout: Duration,
    response: PhantomData<fn() -> M>,
}

impl Connection {
    /// Connects and asks which versions the broker serves, within the connect timeout.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn open(
        env: &Env,
        address: SocketAddr,
        config: &ClientConfig,
    ) -> Result<Connection, ConnectionError> {
        let limit = config.connect_timeout;
        let opened = env.clock.timeout(limit, Connection::open_patiently(env, address, config));
        opened.await.map_err(|_| ConnectionError::TimedOut(limit))?
    }

    async fn open_patiently(
        env: &Env,
        address: SocketAddr,
        config: &ClientConfig,
    ) -> Result<Connection, ConnectionError> {
        let connected = env.net.connect(address).await;
        let stream = connected.map_err(|error| ConnectionError::Connect(said(&error)))?;
        let shared = Arc::new(Shared { state: Mutex::default() });
        // Each permit stands for one place in the channel: sending never waits for the writer.
        let (outgoing, requests) = mpsc::channel(config.in_flight_max);
        let writing = writing::run(stream.writer, requests, shared.clone());
        let reading = reading::run(stream.reader, config.answer_bytes_max, shared.clone());
        let mut connection = Connection {
            env: env.clone(),
            client_id: WireStr::from(config.client_id.as_str()),
            served: BTreeMap::new(),
            outgoing,
            in_flight: Arc::new(Semaphore::new(config.in_flight_max)),
            shared,
            tasks: [
                env.tasks.spawn("client-writer", writing),
                env.tasks.spawn("client-reader", reading),
            ],
        };
        connection.served = connection.ask_versions(config.connect_timeout).await?;
        Ok(connection)
    }

    async fn ask_versions(
        &self,
        timeout: Duration,
    ) -> Result<BTreeMap<i16, (i16, i16)>, ConnectionError> {
        let request = versions_request();
        let version = ApiVersionsRequest::VERSION_MAX;
        let pending = self.send_version(&request, version, timeout).await?;
        let body = pending.body().await.map_err(|error| match error {
            ConnectionError::Closed(why) => ConnectionError::Unanswered(format!(
                "the peer did not answer a first request ({why}); it may not speak the Kafka \
                 protocol, or want TLS"
            )),
            other => other,
        })?;
        // A broker that does not know the version answers in version 0 (KIP-511).
        let unknown = body.first_chunk() == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
        let version = if unknown { 0 } else { version };
        let answer = ApiVersionsResponse::decode(body, version)
            .map_err(|error| ConnectionError::Malformed(format!("ApiVersions: {error}")))?;
        if answer.error_code.is_error() && !unknown {
            let text = format!("ApiVersions: {}", answer.error_code);
            return Err(ConnectionError::Malformed(text));
        }
        let keys = answer.api_keys.iter();
        Ok(keys.map(|api| (api.api_key, (api.min_version, api.max_version))).collect())
    }

    /// The highest version of `M` that both sides have.
    ///
    /// # Errors
    /// [`ConnectionError::Unsupported`]
    pub fn version<M: Request>(&self) -> Result<i16, ConnectionError> {
        let key = M::API as i16;
        let (min, max) = self.served.get(&key).copied().unwrap_or((0, -1));
        let version = max.min(M::VERSION_MAX);
        match version >= min.max(M::VERSION_MIN) {
            true => Ok(version),
            false => Err(ConnectionError::Unsupported(M::API)),
        }
    }

    /// Why it is of no use any more; `None` as long as it is.
    #[must_use]
    pub fn end(&self) -> Option<ConnectionError> {
        self.shared.end_if_overdue(self.env.clock.now());
        self.shared.lock().end.clone()
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// See [`ConnectionError`]; whether the broker acted on the request is open.
    pub async fn call<M: Request>(
        &self,
        request: &M,
        timeout: Duration,
    ) -> Result<M::Response, ConnectionError> {
        self.send(request, timeout).await?.answer().await
    }

    /// Waits until the peer has taken every request that was sent before.
    ///
    /// # Errors
    /// See [`ConnectionError`]; whether it has taken them is open.
    pub(crate) async fn settle(&self, timeout: Duration) -> Result<(), ConnectionError> {
        self.call(&versions_request(), timeout).await.map(drop)
    }

    /// Sends a request when the number of unanswered ones allows it, for which it waits as long as
    /// for its answer. When this returns, its place in the order of requests is taken.
    ///
    /// # Errors
    /// See [`ConnectionError`]; nothing was sent.
    pub async fn send<M: Request>(
        &self,
        request: &M,
        timeout: Duration,
    ) -> Result<Pending<M>, ConnectionError> {
        self.send_version(request, self.version::<M>()?, timeout).await
    }

    /// Sends a request that is never answered (Produce with acks 0), once it is clear that the
    /// connection takes it. A peer that takes none for so long ends the connection.
    ///
    /// # Errors
    /// See [`ConnectionError`]; nothing was sent.
    pub async fn send_only<M: Request>(
        &self,
        request: &M,
        timeout: Duration,
    ) -> Result<(), ConnectionError> {
        let version = self.version::<M>()?;
        let Ok(place) = self.env.clock.timeout(timeout, self.outgoing.reserve()).await else {
            self.shared.fail(ConnectionError::TimedOut(timeout));
            return Err(ConnectionError::TimedOut(timeout));
        };
        let place = place.map_err(|_| self.shared.why())?;
        let frame = self.encode(request, version, self.shared.number());
        place.send(Outgoing { frame, waiting: None });
        Ok(())
    }

    async fn send_version<M: Request>(
        &self,
        request: &M,
        version: i16,
        timeout: Duration,
    ) -> Result<Pending<M>, ConnectionError> {
        if let Some(why) = self.end() {
            return Err(why);
        }
        let Ok(place) = self.env.clock.timeout(timeout, self.place()).await else {
            self.shared.end_if_stuck(self.env.clock.now(), timeout);
            return Err(ConnectionError::TimedOut(timeout));
        };
        let (place, permit) = place?;
        let (answer, answered) = oneshot::channel();
        let correlation_id = self.shared.number();
        let frame = self.encode(request, version, correlation_id);
        let deadline = self.env.clock.now().after(timeout);
        let waiting = Waiting { correlation_id, answer, deadline, timeout, _permit: permit };
        place.send(Outgoing { frame, waiting: Some(waiting) });
        Ok(Pending {
            env: self.env.clone(),
            answer: answered,
            shared: self.shared.clone(),
            version,
            deadline,
            timeout,
            response: PhantomData,
        })
    }

    /// Room for one more request.
    async fn place(
        &self,
    ) -> Result<(mpsc::Permit<'_, Outgoing>, OwnedSemaphorePermit), ConnectionError> {
        let permits = self.in_flight.clone();
        if permits.available_permits() == 0 {
            rivven_io::probe!("connection_has_no_place");
        }
        let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
        let place = self.outgoing.reserve().await.map_err(|_| self.shared.why())?;
        Ok((place, permit))
    }

    fn encode<M: Request>(&self, request: &M, version: i16, number: i32) -> RequestPieces {
        let client_id = Some(self.client_id.clone());
        let frame = RequestFrame { api_version: version, correlation_id: number, client_id };
        RequestPieces(frame.encode(request))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.fail(ConnectionError::Closed("by this client".to_owned()));
        self.tasks.iter().for_each(Task::abort);
    }
}

impl<M: Request> Pending<M> {
    /// Waits for the answer.
    ///
    /// # Errors
    /// See [`ConnectionError`]; whether the broker acted on the request is open.
    pub async fn answer(self) -> Result<M::Response, ConnectionError> {
        let version = self.version;
        let body = self.body().await?;
        M::Response::decode_from(&mut Reader::of_answer(body), version).map_err(|error| {
            ConnectionError::Malformed(format!("{:?} v{version}: {error}", M::API))
        })
    }

    /// The answer without its header.
    async fn body(self) -> Result<Bytes, ConnectionError> {
        let left = self.deadline.since(self.env.clock.now());
        let Ok(answered) = self.env.clock.timeout(left, self.answer).await else {
            // The answers behind it cannot come sooner.
            self.shared.fail(ConnectionError::TimedOut(self.timeout));
            return Err(ConnectionError::TimedOut(self.timeout));
        };
        let frame = answered.map_err(|_| self.shared.why())??;
        let (_, body) = decode_response_header(M::API, self.version, frame).map_err(|error| {
            ConnectionError::Malformed(format!("{:?} v{}: {error}", M::API, self.version))
        })?;
        Ok(body)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> i32 {
        let mut state = self.lock();
        state.next_correlation_id = state.next_correlation_id.wrapping_add(1) & i32::MAX;
        state.next_correlation_id
    }

    /// Ends the connection for everybody who waits. The first reason stands.
    fn fail(&self, why: ConnectionError) {
        let mut state = self.lock();
        let why = state.end.get_or_insert(why).clone();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waiting in waiting {
            // Who asked may be gone.
            let _ = waiting.answer.send(Err(why.clone()));
        }
    }

    /// Who waits for an answer ends the connection that misses it, but may be gone.
    fn end_if_overdue(&self, now: Monotonic) {
        let state = self.lock();
        let overdue = state.waiting.iter().find(|waiting| waiting.deadline <= now);
        let overdue = overdue.map(|waiting| waiting.timeout);
        drop(state);
        if let Some(timeout) = overdue {
            self.fail(ConnectionError::TimedOut(timeout));
        }
    }

    /// No place came free within `timeout`: the writer may hang before anybody waits.
    fn end_if_stuck(&self, now: Monotonic, timeout: Duration) {
        self.end_if_overdue(now);
        if self.lock().waiting.is_empty() {
            self.fail(ConnectionError::TimedOut(timeout));
        }
    }

    fn why(&self) -> ConnectionError {
        let ended = self.lock().end.clone();
        ended.unwrap_or_else(|| ConnectionError::Closed("its task has ended".to_owned()))
    }
}

fn versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: WireStr::from_static("rivven-client"),
        client_software_version: WireStr::from_static(env!("CARGO_PKG_VERSION")),
    }
}

/// An error of the network in the words of the system, without a number.
fn said(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::Other => error.to_string(),
        kind => kind.to_string(),
    }
}
