//! One Kafka connection: requests are read while earlier ones are worked on, and answered in order.

pub(crate) mod frames;
mod group_queue;
mod native;
pub(crate) mod outbox;
mod producing;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rivven_core::wire::limits;
use rivven_io::clock::Monotonic;
use rivven_io::net::Stream;

use crate::api::{self, Caller};
use crate::limits::{CONNECTION_BYTES_MAX, DRAIN_MAX};
use crate::memory::{Account, Charge, OutOfMemory};
use crate::native::Session;
use crate::native::telling::Protocol;
use crate::node::{Node, Stop};
use crate::task_set::TaskSet;
use frames::{FrameError, Frames};
use group_queue::GroupQueue;
use outbox::{Answer, Outbox, Turn};
use producing::{Asker, Producing};
use rivven_core::kafka::codec::api::{ApiKey, served};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::frame::encode_response;
use rivven_core::kafka::codec::header::RequestHeader;
use rivven_core::kafka::codec::reader::{DecodeError, Reader};
use rivven_core::kafka::messages::Request;
use rivven_core::kafka::messages::fetch::FetchRequest;

/// One connection; the requests that wait share its parts.
struct Connection {
    node: Arc<Node>,
    account: Arc<Account>,
    outbox: Arc<Outbox>,
    producing: Arc<Producing>,
    caller: Caller,
    session: Arc<Session>,
    groups: GroupQueue,
    /// Nothing more is read: nobody waits for data or for a group any more.
    ending: Arc<Stop>,
    /// Those that wait for data, for the disk or for a group.
    waiting: TaskSet,
}

/// A request that was read.
struct Received {
    header: RequestHeader,
    body: Bytes,
    at: Monotonic,
}

/// Why a request leads to the end of its connection.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("api {api_key} version {api_version}: {error}")]
    Request { api_key: i16, api_version: i16, error: DecodeError },
    #[error("header: {0}")]
    Header(DecodeError),
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
}

/// Serves a connection until its client or the broker ends it.
pub(crate) async fn serve(node: Arc<Node>, stream: Stream) {
    let Stream { reader, writer, peer, local } = stream;
    let account = node.budget.open_account();
    let in_flight_max = node.config.in_flight_requests_max;
    let outbox = Outbox::new(node.env.clone(), writer, account.clone(), in_flight_max);
    let outbox = Arc::new(outbox);
    let connection = Connection {
        producing: Arc::new(Producing::new(node.clone(), account.clone(), outbox.clone())),
        caller: Caller { local, peer },
        session: Arc::new(Session::new(node.clone(), Caller { local, peer })),
        groups: GroupQueue::default(),
        ending: Arc::default(),
        waiting: TaskSet::default(),
        node,
        account,
        outbox,
    };
    let Connection { node, account, .. } = &connection;
    let bounds = (node.config.max_request_size, node.config.idle_timeout);
    let frames = Frames::new(node.env.clone(), reader, account.clone(), bounds);
    tokio::select! {
        biased;
        () = connection.outbox.drive() => {}
        () = connection.account.evicted() => {}
        () = connection.work(frames, peer) => {}
    }
    connection.outbox.abandon();
    connection.waiting.abort();
    connection.account.close();
}

impl Connection {
    /// Reads requests until there are no more, and waits for their answers.
    async fn work(&self, mut frames: Frames, peer: SocketAddr) {
        let read = tokio::select! {
            biased;
            read = self.read(&mut frames) => read,
            () = self.node.stop.wait() => Ok(()),
        };
        match read {
            Ok(()) => {}
            Err(FrameError::Io(error)) => {
                tracing::debug!(%peer, %error, "connection lost");
                return;
            }
            Err(error @ (FrameError::Length { .. } | FrameError::Stranger(_))) => {
                tracing::info!(%peer, %error, "closing connection");
            }
            Err(error) => {
                tracing::info!(%peer, %error, "closing connection");
                return;
            }
        }
        self.ending.set();
        if self.node.stop.is_set() {
            let _ = self.node.env.clock.timeout(DRAIN_MAX, self.outbox.empty()).await;
        } else {
            self.outbox.empty().await;
        }
    }

    async fn read(&self, frames: &mut Frames) -> Result<(), FrameError> {
        let mut last_produce = None;
        let mut protocol = None;
        loop {
            self.outbox.room().await;
            if self.account.held() > CONNECTION_BYTES_MAX {
                self.outbox.empty().await;
            }
            self.account.settle(&self.node.env.clock).await?;
            let frame = match frames.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(error) => {
                    if let (FrameError::Length { length, .. }, Some(Protocol::Native)) =
                        (&error, protocol)
                    {
                        self.refuse_native(None, *length as usize);
                    }
                    return Err(error);
                }
            };
            let at = self.node.env.clock.now();
            let turn = self.outbox.take_turn();
            let (spoken, call) = match protocol {
                Some(spoken) => (spoken, None),
                None => {
                    // To tell, it is read.
                    self.account.settle(&self.node.env.clock).await?;
                    Protocol::of(&frame)
                }
            };
            protocol = Some(spoken);
            let handled = match spoken {
                Protocol::Kafka => self.handle((turn, frame, at), &mut last_produce).await,
                Protocol::Native | Protocol::Numbered => {
                    frames.limit(limits::FRAME_BYTES_MAX);
                    let told = (spoken, call);
                    self.handle_native((turn, frame, at), told, &mut last_produce).await
                }
            };
            if let Err(error) = handled {
                tracing::info!(connection = self.account.id(), %error, "closing connection");
                self.outbox.send(turn, Answer::Close);
                return Ok(());
            }
        }
    }

    async fn handle(
        &self,
        (turn, frame, at): (Turn, Bytes, Monotonic),
        last_produce: &mut Option<Turn>,
    ) -> Result<(), Refused> {
        let (header, body) = RequestHeader::decode(frame).map_err(Refused::Header)?;
        let received = Received { header, body, at };
        if received.is_unknown_api_versions() {
            self.node.metrics.note_error(ApiKey::ApiVersions, ErrorCode::UNSUPPORTED_VERSION);
            self.outbox.send(turn, Answer::Frame(received.unsupported_version()));
            return Ok(());
        }
        let Received { header, body, at } = received;
        // Memory may have run out while the request was waited for.
        self.account.settle(&self.node.env.clock).await?;
        let mut reader = Reader::new(body);
        let request = Request::decode_from(&header, &mut reader).map_err(|error| {
            Refused::Request { api_key: header.api_key, api_version: header.api_version, error }
        })?;
        // What the request's arrays take, which the decoder has bounded.
        let decoded = self.account.charge_anyway(reader.memory());
        if api::may_be_large(&request) {
            self.account.settle_whole(&self.node.env.clock).await?;
        }
        match request {
            Request::Produce(request) => {
                *last_produce = Some(turn);
                let RequestHeader { correlation_id, api_version, .. } = header;
                let asker = Asker::Kafka { correlation_id, api_version };
                self.producing.produce((turn, at), asker, (request, decoded));
            }
            Request::Fetch(request) => {
                self.after(last_produce).await;
                self.fetch((turn, at), header, (request, decoded)).await;
            }
            request => {
                if api::sees_appends(&request) {
                    self.after(last_produce).await;
                }
                let pieces = api::answer(&self.node, self.caller, &header, request).await;
                self.node.metrics.note_request(header.api_key, self.node.env.clock.now().since(at));
                self.outbox.send(turn, Answer::Frame(pieces));
            }
        }
        Ok(())
    }

    /// A client may ask for the effect of what it produced just before, without having waited for
    /// the answer: Kafka works on one request of a connection at a time.
    async fn after(&self, last_produce: &mut Option<Turn>) {
        if let Some(turn) = last_produce.take() {
            self.outbox.answered(turn).await;
        }
    }

    /// Answers at once if there is something to answer, else from a task of its own.
    async fn fetch(
        &self,
        (turn, at): (Turn, Monotonic),
        header: RequestHeader,
        (request, decoded): (FetchRequest, Charge),
    ) {
        let (node, account) = (self.node.clone(), self.account.clone());
        let mut fetch = api::fetch::Fetch::new(node, account, header.api_version, request);
        let is_complete = fetch.try_complete().await;
        let outbox = self.outbox.clone();
        let finish = move |fetch: api::fetch::Fetch| {
            let answer = fetch.finish(header.correlation_id, at);
            drop(decoded);
            outbox.send(turn, Answer::Frame(answer));
        };
        if is_complete {
            return finish(fetch);
        }
        self.waiting.spawn(&self.node.env, "fetch", async move {
            fetch.wait().await;
            finish(fetch);
        });
    }
}

impl Received {
    fn is_unknown_api_versions(&self) -> bool {
        let version = self.header.api_version;
        self.header.api_key == ApiKey::ApiVersions as i16
            && !served(self.header.api_key).is_some_and(|api| api.has(version))
    }

    /// What any client can read, whatever version it asked in (KIP-511).
    fn unsupported_version(&self) -> Vec<Bytes> {
        encode_response(self.header.correlation_id, 0, &api::api_versions::unsupported())
    }
}
