//! A Kafka client that records what it asks and what it is told.
//!
//! It keeps one connection, opens a new one when that fails, and never tries a request again by
//! itself: whoever calls decides, because only they know whether a second time is harmless.

pub mod connection;
pub mod groups;
pub(crate) mod native;
pub mod reads;
mod refusal;
mod seen;
mod writes;

use core::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::message::{Message, Request};
use rivven_core::kafka::messages::fetch::FetchRequest;
use rivven_io::Env;

use crate::client::connection::{CallError, Connection, ConnectionConfig};
use crate::client::refusal::is_definite;
pub(crate) use crate::client::refusal::is_retriable;
use crate::history::History;
use crate::history::event::{Call, Event, EventKind, Failure, Reply};

/// The text of a failure when the time was up; I42 looks for it.
pub const TIMED_OUT: &str = "timed out";

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(1000);

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The broker answered an error. `definite`: the request had no effect and will have none.
    #[error("{code}: {text}")]
    Refused { code: ErrorCode, text: String, definite: bool },
    /// It never left this client.
    #[error("not sent: {0}")]
    NotSent(CallError),
    /// It was sent, at least in part, and no answer came.
    #[error("not answered: {0}")]
    NotAnswered(CallError),
}

impl Trouble {
    /// A refusal of a request that only reads: there is no effect to wonder about.
    pub(crate) fn of_read(code: ErrorCode) -> Trouble {
        Trouble::Refused { code, text: String::new(), definite: true }
    }

    pub(crate) fn of_write(code: ErrorCode, text: Option<&str>) -> Trouble {
        let text = text.unwrap_or_default().to_owned();
        Trouble::Refused { code, text, definite: is_definite(code) }
    }

    /// The broker's error code, if there is one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Trouble::Refused { code, .. } => Some(*code),
            Trouble::NotSent(_) | Trouble::NotAnswered(_) => None,
        }
    }

    /// What a history says of it.
    #[must_use]
    pub fn event(&self) -> EventKind {
        let failure = Failure { code: self.code().map(|code| code.0), why: self.why() };
        match self {
            Trouble::Refused { definite: true, .. } | Trouble::NotSent(_) => {
                EventKind::Fail(failure)
            }
            Trouble::Refused { .. } | Trouble::NotAnswered(_) => EventKind::Info(failure),
        }
    }

    fn why(&self) -> String {
        match self {
            Trouble::Refused { code, text, .. } => format!("{code} {text}").trim_end().to_owned(),
            Trouble::NotSent(error) | Trouble::NotAnswered(error) => error.to_string(),
        }
    }
}

/// Who a client is and whom it talks to.
#[derive(Clone)]
pub struct ClientConfig {
    pub number: u32,
    pub broker: SocketAddr,
    pub connection: ConnectionConfig,
}

/// A client that goes away while its request is worked on.
pub(crate) struct Desertion {
    /// Sent before the request: whoever answers them finds that nobody is there.
    pub(crate) fetches: Vec<FetchRequest>,
    /// From the send of the request to the end of the connection.
    pub(crate) after: Duration,
}

/// A client with at most one connection. Dropping it closes that.
pub struct Client {
    pub(crate) env: Env,
    pub(crate) history: Arc<History>,
    config: ClientConfig,
    connection: Option<Connection>,
    connections_made: u64,
    backoff: Duration,
    desertion: Option<Desertion>,
}

impl Client {
    #[must_use]
    pub fn new(env: Env, history: Arc<History>, config: ClientConfig) -> Client {
        let backoff = BACKOFF_MIN;
        Client {
            env,
            history,
            config,
            connection: None,
            connections_made: 0,
            backoff,
            desertion: None,
        }
    }

    /// How many connections it has opened; the current one's number.
    #[must_use]
    pub fn connections_made(&self) -> u64 {
        self.connections_made
    }

    /// The connection, opened first if there is none. An error closes it: call [`Client::drop_it`].
    ///
    /// # Errors
    /// The broker did not answer; nothing was sent.
    pub async fn connection(&mut self) -> Result<&mut Connection, CallError> {
        if self.connection.is_none() {
            let config = self.config.connection.clone();
            let opened = Connection::open(&self.env, self.config.broker, config).await?;
            self.connections_made += 1;
            self.connection = Some(opened);
        }
        Ok(self.connection.as_mut().expect("it was opened above"))
    }

    /// Closes the connection: what is on the way on it will not be answered.
    pub fn drop_it(&mut self) {
        self.connection = None;
    }

    /// Whether the broker waits for this client to read its answers.
    pub(crate) fn keeps_broker_waiting(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::keeps_broker_waiting)
    }

    /// The next request is not waited for.
    pub(crate) fn desert_next(&mut self, desertion: Desertion) {
        self.desertion = Some(desertion);
    }

    /// Waits longer after each failure, with jitter, up to a second.
    pub async fn back_off(&mut self) {
        let limit_ms = u64::try_from(self.backoff.as_millis()).expect("at most a second").max(1);
        let wait_ms = limit_ms / 2 + self.env.rng.u64() % (limit_ms / 2 + 1);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        self.env.clock.sleep(Duration::from_millis(wait_ms.max(1))).await;
    }

    /// Begins with the shortest wait again.
    pub fn reset_backoff(&mut self) {
        self.backoff = BACKOFF_MIN;
    }

    /// Appends an event of this client to the history.
    pub fn record(&self, op: u64, kind: EventKind) {
        let at_ns = self.history.now_ns();
        self.history.record(Event { at_ns, client: self.config.number, op, kind });
    }

    /// One request and its answer, both recorded under a fresh operation id. `read` turns the
    /// answer into what the history keeps, or into the error that it carries.
    pub(crate) async fn ask<M: Request>(
        &mut self,
        call: Call,
        request: &M,
        read: impl FnOnce(M::Response) -> Result<Reply, Trouble>,
    ) -> Result<Reply, Trouble> {
        let op = self.history.next_op();
        self.record(op, EventKind::Invoke(call));
        let answer = self.exchange(request).await.and_then(read);
        match &answer {
            Ok(reply) => {
                self.reset_backoff();
                self.record(op, EventKind::Ok(reply.clone()));
            }
            Err(trouble) => self.record(op, trouble.event()),
        }
        answer
    }

    async fn exchange<M: Request>(&mut self, request: &M) -> Result<M::Response, Trouble>
    where
        M::Response: Message,
    {
        let desertion = self.desertion.take();
        let connection = self.connection().await.map_err(Trouble::NotSent)?;
        let answer = match desertion {
            None => connection.call(request).await,
            Some(desertion) => desert(connection, request, desertion).await,
        };
        if answer.is_err() {
            self.drop_it();
        }
        answer.map_err(Trouble::NotAnswered)
    }
}

async fn desert<M: Request>(
    connection: &mut Connection,
    request: &M,
    desertion: Desertion,
) -> Result<M::Response, CallError> {
    for fetch in &desertion.fetches {
        connection.send(fetch).await?;
    }
    connection.send(request).await?;
    connection.env().clock.sleep(desertion.after).await;
    Err(CallError::Closed("by this client itself".to_owned()))
}
