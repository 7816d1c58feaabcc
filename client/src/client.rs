//! A client: one connection per broker and lane, opened when it is needed, and what is known of
//! the cluster.

mod metadata;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rivven_core::kafka::codec::message::Request;
use rivven_io::Env;
use rivven_io::clock::Monotonic;

use crate::backoff::Backoff;
use crate::config::{Address, ClientConfig};
use crate::connection::{Connection, ConnectionError};
use crate::error::Error;
use crate::image::ClusterImage;
use crate::watch::{Watch, Watched};

/// How often something is tried again, and after which waits.
pub struct Tries {
    env: Env,
    what: String,
    limit: Duration,
    deadline: Monotonic,
    backoff: Backoff,
}

/// First requests without an answer after which a peer is taken for something else.
const UNANSWERED_MAX: u32 = 4;

/// Which broker a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whichever answers.
    Any,
    /// The controller if it is known, else any.
    Controller,
    Broker(i32),
}

/// What shares a connection to a broker. Answers come in the order of requests, so that a lane
/// waits for its slowest: a fetch that waits for data, a join that waits for other members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    Admin,
    Produce,
    Fetch,
    /// JoinGroup and SyncGroup.
    Rebalance,
    /// Heartbeats and commits.
    Group,
}

/// A client of one cluster. Cloning is cheap; the last clone that is dropped closes the
/// connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    config: ClientConfig,
    bootstrap: Vec<Address>,
    state: Mutex<State>,
    /// One Metadata request at a time.
    refreshing: tokio::sync::Mutex<()>,
    watch: Option<Watch>,
    /// Requests so far.
    asked: AtomicU64,
}

#[derive(Default)]
struct State {
    image: Arc<ClusterImage>,
    /// When each topic was last described; what is missing or too old is asked for.
    described: BTreeMap<String, Monotonic>,
    slots: BTreeMap<(Peer, Lane), Arc<Slot>>,
    /// First requests that each address did not answer; `None` if it ever did.
    unanswered: BTreeMap<SocketAddr, Option<u32>>,
}

/// A broker by its number, or one of the addresses that the client began with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Broker(i32, Address),
    Bootstrap(Address),
}

/// Where a connection is kept; held while it is opened.
type Slot = tokio::sync::Mutex<Option<Arc<Connection>>>;

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// [`Error::Invalid`]
    pub fn new(env: Env, config: ClientConfig) -> Result<Client, Error> {
        Client::with(env, config, None)
    }

    /// A client that tells `watch` of its requests.
    ///
    /// # Errors
    /// [`Error::Invalid`]
    pub fn watched(env: Env, config: ClientConfig, watch: Watch) -> Result<Client, Error> {
        Client::with(env, config, Some(watch))
    }

    fn with(env: Env, config: ClientConfig, watch: Option<Watch>) -> Result<Client, Error> {
        let bootstrap = config.check()?;
        let (state, refreshing) = (Mutex::default(), tokio::sync::Mutex::new(()));
        let asked = AtomicU64::new(0);
        let inner = Inner { env, config, bootstrap, state, refreshing, watch, asked };
        Ok(Client { inner: Arc::new(inner) })
    }

    #[must_use]
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    #[must_use]
    pub fn backoff(&self) -> Backoff {
        Backoff::new(self.inner.config.retry_backoff, self.inner.config.retry_backoff_max)
    }

    /// One request and its answer, without retries (but [`Target::Any`] tries every broker that it
    /// knows until one can be connected to). Error codes in the answer are the caller's to read.
    ///
    /// # Errors
    /// [`Error::Unreachable`]: nothing was sent. [`Error::Connection`]: something may have been.
    pub async fn call<M: Request>(
        &self,
        target: Target,
        lane: Lane,
        request: &M,
    ) -> Result<M::Response, Error> {
        self.call_within(target, lane, (request, self.inner.config.request_timeout)).await
    }

    /// [`Client::call`] with a timeout of its own, for requests that the broker holds.
    ///
    /// # Errors
    /// Those of [`Client::call`]
    pub async fn call_within<M: Request>(
        &self,
        target: Target,
        lane: Lane,
        (request, timeout): (&M, Duration),
    ) -> Result<M::Response, Error> {
        let (connection, peer) = self.connect(target, lane).await?;
        let number = self.inner.asked.fetch_add(1, Relaxed);
        let tell = |what: Watched<'_>| {
            if let Some(watch) = &self.inner.watch {
                watch(number, what);
            }
        };
        tell(Watched::Asked(request));
        let answer = connection.call(request, timeout).await;
        let answer = answer.map_err(|error| Error::Connection { peer, error });
        match &answer {
            Ok(answer) => tell(Watched::Answered(answer)),
            Err(error) => tell(Watched::Failed(error)),
        }
        answer
    }

    /// [`Client::call`] until an answer comes that is not retriable, with waits between, for as
    /// long as the API timeout. `read` turns an answer into its result or its error. Only for
    /// requests that may take effect twice.
    ///
    /// # Errors
    /// The first error that is not retriable; [`Error::TimedOut`] with the last one that is.
    pub async fn ask<M: Request, T>(
        &self,
        (target, lane): (Target, Lane),
        request: &M,
        mut read: impl FnMut(M::Response) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut tries = self.tries(format!("{:?}", M::API));
        loop {
            let answer = self.call(target, lane, request).await;
            match answer.and_then(&mut read) {
                Err(error) if error.is_retriable() => tries.again(error).await?,
                done => return done,
            }
        }
    }

    /// Tries until something works or fails for good, for as long as the API timeout.
    ///
    /// # Errors
    /// Those of [`Client::ask`]
    pub async fn retry<T, Tried: Future<Output = Result<T, Error>>>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> Tried,
    ) -> Result<T, Error> {
        let mut tries = self.tries(what.to_owned());
        loop {
            match attempt().await {
                Err(error) if error.is_retriable() => tries.again(error).await?,
                done => return done,
            }
        }
    }

    /// The tries of one operation, for as long as the API timeout from now on.
    #[must_use]
    pub fn tries(&self, what: String) -> Tries {
        let limit = self.inner.config.api_timeout;
        let deadline = self.inner.env.clock.now().after(limit);
        Tries { env: self.inner.env.clone(), what, limit, deadline, backoff: self.backoff() }
    }

    /// A connection to a broker, and its name for messages. However many brokers are tried, it
    /// takes no longer than the API timeout.
    ///
    /// # Errors
    /// [`Error::Unreachable`]
    pub async fn connect(
        &self,
        target: Target,
        lane: Lane,
    ) -> Result<(Arc<Connection>, String), Error> {
        let peers = self.peers(target);
        let (clock, limit) = (&self.inner.env.clock, self.inner.config.api_timeout);
        let deadline = clock.now().after(limit);
        let mut failed = Vec::new();
        for peer in peers {
            let name = peer.address().to_string();
            let left = deadline.since(clock.now());
            let opened = clock.timeout(left, self.connection_to(peer, lane)).await;
            match opened.unwrap_or(Err(ConnectionError::TimedOut(limit))) {
                Ok(connection) => return Ok((connection, name)),
                Err(error) => failed.push((name, error)),
            }
        }
        let tried = failed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        // One that may be there later counts for more than one that never will.
        let at = failed.iter().rposition(|(_, error)| error.is_retriable());
        let at = at.or(failed.len().checked_sub(1));
        let (tried, reason) = match at.map(|at| failed.swap_remove(at)) {
            Some((_, reason)) => (tried, reason),
            // Metadata may know more later.
            None => {
                let reason = "it is not among the cluster's brokers".to_owned();
                (format!("{target:?}"), ConnectionError::Connect(reason))
            }
        };
        if matches!(target, Target::Broker(_)) {
            self.forget_topics();
        }
        Err(Error::Unreachable { tried, reason })
    }

    async fn connection_to(
        &self,
        peer: Peer,
        lane: Lane,
    ) -> Result<Arc<Connection>, ConnectionError> {
        let address = peer.address().clone();
        let slot = self.lock().slots.entry((peer, lane)).or_default().clone();
        let mut held = slot.lock().await;
        if let Some(connection) = &*held
            && connection.end().is_none()
        {
            return Ok(connection.clone());
        }
        *held = None;
        let env = &self.inner.env;
        let limit = self.inner.config.connect_timeout;
        let unknown = |why: &dyn std::fmt::Display| {
            ConnectionError::Connect(format!("the name {:?}: {why}", address.host))
        };
        let resolved = env.clock.timeout(limit, env.net.resolve(&address.host, address.port)).await;
        let addresses = resolved
            .map_err(|_| unknown(&format!("no answer within {limit:?}")))?
            .map_err(|error| unknown(&error))?;
        let mut last = ConnectionError::Connect(format!("{:?} has no address", address.host));
        for address in addresses {
            let opened = Connection::open(env, address, &self.inner.config).await;
            match self.judge(address, opened) {
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    *held = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Whether a peer that does not answer first requests may be a broker that goes down or comes
    /// up: if it ever answered one, or if it has not been tried often.
    fn judge(
        &self,
        address: SocketAddr,
        opened: Result<Connection, ConnectionError>,
    ) -> Result<Connection, ConnectionError> {
        let mut state = self.lock();
        match opened {
            Ok(connection) => {
                state.unanswered.insert(address, None);
                Ok(connection)
            }
            Err(ConnectionError::Unanswered(why)) => {
                let tries = state.unanswered.entry(address).or_insert(Some(0));
                *tries = tries.map(|tries| tries + 1);
                match tries.is_some_and(|tries| tries >= UNANSWERED_MAX) {
                    true => Err(ConnectionError::NotKafka(why)),
                    false => Err(ConnectionError::Unanswered(why)),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whom to try, in this order.
    fn peers(&self, target: Target) -> Vec<Peer> {
        let state = self.lock();
        let image = &state.image;
        let broker = |id: i32| {
            let broker = image.brokers.get(&id)?;
            Some(Peer::Broker(id, broker.address.clone()))
        };
        match target {
            Target::Broker(id) => return broker(id).into_iter().collect(),
            Target::Controller if let Some(peer) = image.controller.and_then(broker) => {
                return vec![peer];
            }
            Target::Controller | Target::Any => {}
        }
        let mut known: Vec<Peer> = image.brokers.keys().copied().filter_map(broker).collect();
        let mut first: Vec<Peer> =
            self.inner.bootstrap.iter().cloned().map(Peer::Bootstrap).collect();
        // Clients spread over the brokers, and stay with one that answers.
        let random = self.inner.env.rng.u64();
        for peers in [&mut known, &mut first] {
            let count = u64::try_from(peers.len()).expect("a list is short").max(1);
            peers.rotate_left(usize::try_from(random % count).expect("below a length"));
            peers.sort_by_key(|peer| {
                !state.slots.iter().any(|((of, _), slot)| of == peer && is_live(slot))
            });
        }
        known.extend(first);
        known
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it holds a connection that works, and nobody is opening another one.
fn is_live(slot: &Slot) -> bool {
    let held = slot.try_lock();
    held.is_ok_and(|held| held.as_ref().is_some_and(|connection| connection.end().is_none()))
}

impl Tries {
    /// Time that is left for the next try.
    fn left(&self) -> Duration {
        self.deadline.since(self.env.clock.now())
    }

    /// The error of who has no time left.
    fn over(&mut self, last: &str) -> Error {
        let what = std::mem::take(&mut self.what);
        Error::TimedOut { what, after: self.limit, last: last.to_owned() }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// [`Error::TimedOut`] with this error when the time is up, or the error itself if it says
    /// that nobody was there.
    pub async fn again(&mut self, error: Error) -> Result<(), Error> {
        tracing::debug!(what = self.what, %error, "trying again");
        let wait = self.backoff.take(&self.env);
        if self.env.clock.now().after(wait) < self.deadline {
            self.env.clock.sleep(wait).await;
            return Ok(());
        }
        Err(match error {
            Error::Unreachable { .. } => error,
            _ => self.over(&error.to_string()),
        })
    }
}

impl Peer {
    fn address(&self) -> &Address {
        match self {
            Peer::Broker(_, address) | Peer::Bootstrap(address) => address,
        }
    }
}
