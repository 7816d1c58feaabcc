//! The sending task: builds requests from what the accumulator gives it, and takes answers back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rivven_core::ids::ProducerId;
use rivven_core::kafka::messages::init_producer_id::InitProducerIdRequest;
use rivven_io::clock::Monotonic;
use tokio::sync::mpsc;

use super::Shared;
use super::accumulator::{Answer, Sending, Wanted, Work};
use super::batch::{Contents, Delivered};
use super::config::Acks;
use super::request::{Sent, produce_request, read_answer};
use crate::backoff::Backoff;
use crate::client::{Lane, Target};
use crate::connection::Connection;
use crate::error::{Error, accepted};

/// How long the sender sleeps when it waits for nothing.
const IDLE: Duration = Duration::from_secs(60);

/// What other tasks tell the sender.
enum Event {
    Connected(i32, Result<Arc<Connection>, Error>),
    Answered(i32, Vec<Answer>),
    /// Metadata of these topics was asked for.
    Refreshed(Wanted, Result<(), Error>),
    Identified(Result<(ProducerId, i16), Error>),
}

/// A leader as the sender sees it.
#[derive(Default)]
struct Leader {
    connection: Option<Arc<Connection>>,
    in_flight: usize,
    is_connecting: bool,
}

struct Sender {
    shared: Arc<Shared>,
    leaders: BTreeMap<i32, Leader>,
    events: mpsc::UnboundedSender<Event>,
    is_refreshing: bool,
    is_identifying: bool,
    /// Between tries to connect.
    connecting: Backoff,
    /// Between tries to refresh and to get a producer id.
    backoff: Backoff,
}

/// Whoever waits for a sender that has ended, by a mistake of ours, is told.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

pub(super) async fn run(shared: Arc<Shared>) {
    let _ending = Ending(shared.clone());
    let (events, mut inbox) = mpsc::unbounded_channel();
    let (connecting, backoff) = (shared.client.backoff(), shared.client.backoff());
    let (is_refreshing, is_identifying) = (false, false);
    let leaders = BTreeMap::new();
    let mut sender =
        Sender { shared, leaders, events, is_refreshing, is_identifying, connecting, backoff };
    loop {
        let next = sender.send_what_is_ready().await;
        let clock = sender.shared.client.env().clock.clone();
        let wait = next.map_or(IDLE, |at| at.since(clock.now()));
        let shared = sender.shared.clone();
        tokio::select! {
            biased;
            event = inbox.recv() => {
                sender.take(event.expect("the sender holds an end itself"));
                while let Ok(event) = inbox.try_recv() {
                    sender.take(event);
                }
            }
            () = shared.wake.notified() => {}
            () = clock.sleep(wait) => {}
        }
    }
}

impl Sender {
    /// Sends until nothing more can be; when to look again.
    async fn send_what_is_ready(&mut self) -> Option<Monotonic> {
        loop {
            let image = self.shared.client.image();
            let limit = self.shared.config.in_flight_max;
            let leaders = &self.leaders;
            let free = |id: i32| leaders.get(&id).and_then(|leader| leader.free(limit));
            let now = self.shared.client.env().clock.now();
            let work = self.shared.lock().take(now, &image, free);
            let Work { by_leader, wants_metadata, wants_connection, wants_identity, next } = work;
            if wants_identity {
                self.identify();
            }
            if !wants_metadata.is_empty() {
                self.refresh(wants_metadata);
            }
            wants_connection.into_iter().for_each(|leader| self.connect(leader));
            if by_leader.is_empty() {
                return next;
            }
            for (leader, batches) in by_leader {
                self.send(leader, batches).await;
            }
        }
    }

    async fn send(&mut self, leader: i32, batches: Vec<Sending>) {
        let at = self.leaders.get_mut(&leader).expect("only connected leaders get batches");
        let connection = at.connection.clone().expect("only connected leaders get batches");
        at.in_flight += 1;
        let acks = self.shared.config.acks;
        let mut sent = Vec::with_capacity(batches.len());
        let mut data = Vec::with_capacity(batches.len());
        for batch in batches {
            sent.push(Sent::new(&batch));
            data.push(self.build(batch));
        }
        let timeout = self.shared.client.config().request_timeout;
        let request = produce_request(acks, timeout, sent.iter().zip(data));
        let peer = format!("broker {leader}");
        let failed = |error| Error::Connection { peer: peer.clone(), error };
        if acks == Acks::None {
            self.shared.sent_unanswered(&connection);
            let done = connection.send_only(&request, timeout).await.map_err(failed);
            let answers = sent.iter().map(|sent| Answer {
                queue: sent.queue,
                number: sent.number,
                result: done.clone().map(|()| Delivered::somewhere(sent.partition)),
            });
            return self.take(Event::Answered(leader, answers.collect()));
        }
        let pending = match connection.send(&request, timeout).await {
            Ok(pending) => pending,
            Err(error) => {
                let answers = read_answer(&sent, Err(failed(error)));
                return self.take(Event::Answered(leader, answers));
            }
        };
        let events = self.events.clone();
        // The sender may be gone.
        self.shared.client.env().tasks.spawn("producer-answer", async move {
            let answer = pending.answer().await;
            let answer = answer.map_err(|error| Error::Connection { peer, error });
            let _ = events.send(Event::Answered(leader, read_answer(&sent, answer)));
        });
    }

    /// The bytes of a batch, kept for the case that it must be sent again.
    fn build(&self, batch: Sending) -> Bytes {
        let builder = match batch.contents {
            Contents::Built(bytes) => return bytes,
            Contents::Open(builder) => builder,
            Contents::Building => unreachable!("a batch is built once"),
        };
        let builder = match batch.identity {
            Some((id, epoch, sequence)) => builder.producer(id, epoch, sequence),
            None => builder,
        };
        let bytes = Bytes::from(builder.build());
        self.shared.lock().built(batch.queue, batch.number, bytes.clone());
        bytes
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected(id, connected) => {
                let leader = self.leaders.entry(id).or_default();
                leader.is_connecting = false;
                match connected {
                    Ok(connection) => {
                        leader.connection = Some(connection);
                        self.connecting.reset();
                    }
                    Err(error) => {
                        tracing::debug!(broker = id, %error, "cannot connect");
                        let topics = self.note_waiting(&error);
                        // Others may lead them by now.
                        self.refresh(topics);
                    }
                }
            }
            Event::Answered(id, answers) => {
                let leader = self.leaders.get_mut(&id).expect("it was sent to");
                leader.in_flight -= 1;
                self.answered(answers);
            }
            Event::Refreshed(topics, done) => {
                self.is_refreshing = false;
                match done {
                    Ok(()) => self.backoff.reset(),
                    Err(error) => self.shared.lock().note(&topics, &error),
                }
            }
            Event::Identified(identity) => {
                self.is_identifying = false;
                match identity {
                    Ok(identity) => self.shared.lock().set_identity(identity),
                    Err(error) => {
                        tracing::debug!(%error, "no producer id");
                        self.note_waiting(&error);
                    }
                }
            }
        }
    }

    fn answered(&mut self, answers: Vec<Answer>) {
        let env = self.shared.client.env();
        let now = env.clock.now();
        let mut is_stale = false;
        let mut accumulator = self.shared.lock();
        for answer in answers {
            let percent = 80 + u32::try_from(env.rng.u64() % 41).expect("at most 40");
            is_stale |= accumulator.answered(now, answer, percent);
        }
        let topics = accumulator.topics_waiting();
        drop(accumulator);
        if is_stale {
            self.shared.client.forget_topics();
            self.refresh(topics);
        }
    }

    /// Topics of all batches that wait, of which it is noted why.
    fn note_waiting(&self, error: &Error) -> Wanted {
        let mut accumulator = self.shared.lock();
        let topics = accumulator.topics_waiting();
        accumulator.note(&topics, error);
        topics
    }

    /// Connects in a task, which takes longer to say that it failed.
    fn connect(&mut self, id: i32) {
        let leader = self.leaders.entry(id).or_default();
        if leader.is_connecting {
            return;
        }
        leader.is_connecting = true;
        leader.connection = None;
        let wait = self.connecting.take(self.shared.client.env());
        let (shared, events) = (self.shared.clone(), self.events.clone());
        self.shared.client.env().tasks.spawn("producer-connect", async move {
            let connected = shared.client.connect(Target::Broker(id), Lane::Produce).await;
            if connected.is_err() {
                shared.client.env().clock.sleep(wait).await;
            }
            // The sender may be gone.
            let _ = events.send(Event::Connected(id, connected.map(|(connection, _)| connection)));
        });
    }

    /// Asks for the leaders of topics in a task.
    fn refresh(&mut self, topics: Wanted) {
        if self.is_refreshing || topics.is_empty() {
            return;
        }
        self.is_refreshing = true;
        let wait = self.backoff.take(self.shared.client.env());
        let (shared, events) = (self.shared.clone(), self.events.clone());
        self.shared.client.env().tasks.spawn("producer-refresh", async move {
            let names: Vec<&str> = topics.keys().map(|topic| &**topic).collect();
            let create = shared.config.create_topics;
            let mut done = shared.client.refresh_topics(&names, create).await;
            if let Ok(image) = &done
                && let Some((name, _)) = topics.iter().find(|(name, count)| {
                    !image.has_leaders(name) || image.partition_count(name) < **count
                })
            {
                done = Err(Error::Invalid(format!("topic {name:?}: no leader is known")));
            }
            if done.is_err() {
                shared.client.env().clock.sleep(wait).await;
            }
            let _ = events.send(Event::Refreshed(topics, done.map(drop)));
        });
    }

    fn identify(&mut self) {
        if self.is_identifying {
            return;
        }
        self.is_identifying = true;
        let wait = self.backoff.take(self.shared.client.env());
        let (shared, events) = (self.shared.clone(), self.events.clone());
        self.shared.client.env().tasks.spawn("producer-identify", async move {
            let request = InitProducerIdRequest {
                transaction_timeout_ms: i32::MAX,
                ..InitProducerIdRequest::default()
            };
            let answer = shared.client.call(Target::Any, Lane::Admin, &request).await;
            let identity = answer.and_then(|answer| {
                accepted(answer.error_code, None, || "InitProducerId".to_owned())?;
                Ok((ProducerId(answer.producer_id), answer.producer_epoch))
            });
            if identity.is_err() {
                shared.client.env().clock.sleep(wait).await;
            }
            let _ = events.send(Event::Identified(identity));
        });
    }
}

impl Leader {
    /// How many requests it may get now; `None` without a connection.
    fn free(&self, limit: usize) -> Option<usize> {
        let connection = self.connection.as_ref()?;
        match connection.end() {
            None => Some(limit.saturating_sub(self.in_flight)),
            Some(_) => None,
        }
    }
}
