//! All partitions' batches, and when each is to be sent. No I/O: the sender does what it says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rivven_core::ids::{ProducerId, TimestampMs, TopicId};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::partitioner;
use rivven_core::record::builder::{BatchBuilder, NewHeader, NewRecord};
use rivven_io::clock::Monotonic;
use tokio::sync::OwnedSemaphorePermit;

use super::batch::{Batch, Contents, Delivered, Delivery, Number, Outcome};
use super::config::ProducerConfig;
use super::queue::{Queue, missing};
use super::record::ProducerRecord;
use crate::error::Error;
use crate::image::ClusterImage;

/// Timers are no finer, and late rather than early: a batch that has waited so much less is sent.
const TIMER_GRAIN: Duration = Duration::from_millis(1);
/// Bytes that a record's own fields and its batch's header take at most beside its parts.
const FRAMING_BYTES: usize = 128;

pub(super) struct Accumulator {
    config: ProducerConfig,
    queues: Vec<Queue>,
    topics: BTreeMap<Arc<str>, Partitions>,
    /// Open batches by the time at which they wait no longer; all wait equally long.
    lingering: VecDeque<(Monotonic, usize)>,
    /// Partitions that have something to send.
    ready: BTreeSet<usize>,
    is_closed: bool,
    /// Producer id and epoch to begin with.
    identity: Option<(ProducerId, i16)>,
    next_number: u64,
    turn: usize,
    random: u64,
    /// The smallest and the largest wait before a batch is sent again.
    backoff: (Duration, Duration),
}

/// A topic's queues, and the one that gets records without a key.
struct Partitions {
    queues: Vec<usize>,
    sticky: usize,
    sticky_bytes: usize,
}

/// A batch to send to a leader.
pub(super) struct Sending {
    pub(super) queue: usize,
    pub(super) number: Number,
    pub(super) topic: Arc<str>,
    pub(super) topic_id: TopicId,
    pub(super) partition: i32,
    pub(super) contents: Contents,
    /// Producer id, epoch and sequence.
    pub(super) identity: Option<(ProducerId, i16, i32)>,
}

/// What an answer says of one batch.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) queue: usize,
    pub(super) number: Number,
    pub(super) result: Result<Delivered, Error>,
}

/// Topics that something is to be sent to, and how many partitions they must have for that.
pub(super) type Wanted = BTreeMap<Arc<str>, usize>;

/// What there is to do.
#[derive(Default)]
pub(super) struct Work {
    pub(super) by_leader: BTreeMap<i32, Vec<Sending>>,
    /// Partitions of batches whose leader is not known.
    pub(super) wants_metadata: Wanted,
    /// Leaders that have no connection.
    pub(super) wants_connection: BTreeSet<i32>,
    pub(super) wants_identity: bool,
    /// When to look again.
    pub(super) next: Option<Monotonic>,
}

impl Accumulator {
    pub(super) fn new(
        config: &ProducerConfig,
        backoff: (Duration, Duration),
        random: u64,
    ) -> Accumulator {
        let linger = config.linger - TIMER_GRAIN.min(config.linger / 2);
        Accumulator {
            backoff,
            config: ProducerConfig { linger, ..config.clone() },
            queues: Vec::new(),
            topics: BTreeMap::new(),
            lingering: VecDeque::new(),
            ready: BTreeSet::new(),
            is_closed: false,
            identity: None,
            next_number: 0,
            turn: 0,
            random,
        }
    }

    pub(super) fn set_identity(&mut self, identity: (ProducerId, i16)) {
        self.identity = Some(identity);
    }

    /// Adds a record; whether the sender should look now.
    pub(super) fn append(
        &mut self,
        (now, wall_ms): (Monotonic, i64),
        image: &ClusterImage,
        (record, permit): (ProducerRecord, OwnedSemaphorePermit),
    ) -> Result<(Delivery, bool), Error> {
        if self.is_closed {
            return Err(Error::Closed);
        }
        let at = self.queue_of(image, &record)?;
        let size = record.bytes() + FRAMING_BYTES;
        let linger = self.config.linger;
        let queue = &mut self.queues[at];
        let full_at = queue.full_at(&self.config);
        let fits = queue.waiting.back().is_some_and(|batch| {
            matches!(&batch.contents, Contents::Open(builder) if builder.size() + size <= full_at)
                && batch.attempts == 0
        });
        let is_new = !fits;
        if is_new {
            let behind_another = !queue.waiting.is_empty();
            let number = Number { batch: self.next_number, part: 0 };
            self.next_number += 1;
            queue.waiting.push_back(open_batch(number, (now, wall_ms), &self.config));
            self.lingering.push_back((now.after(linger), at));
            if behind_another {
                self.ready.insert(at);
            }
        }
        let batch = queue.waiting.back_mut().expect("there is an open batch");
        let index = i64::from(batch.count);
        add(batch, &record, wall_ms);
        match &mut batch.room {
            Some(room) => room.merge(permit),
            none => *none = Some(permit),
        }
        let is_full = batch.size() >= full_at;
        let delivery = Delivery { outcome: batch.outcome.clone(), index };
        let is_due = is_full || linger.is_zero();
        let wakes = (is_new || is_full) && (is_due || self.lingering.len() == 1);
        if is_due {
            self.ready.insert(at);
        }
        Ok((delivery, wakes || (is_new && self.ready.contains(&at))))
    }

    fn queue_of(&mut self, image: &ClusterImage, record: &ProducerRecord) -> Result<usize, Error> {
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let name = || format!("topic {:?}", record.topic);
        let topic = image.topics.get(&*record.topic);
        let count = topic.ok_or_else(|| Error::refused(name(), unknown, None))?.partitions.len();
        if !self.topics.contains_key(&record.topic) {
            let sticky = usize::try_from(self.random >> 33).expect("31 bits");
            let partitions = Partitions { queues: Vec::new(), sticky, sticky_bytes: 0 };
            self.topics.insert(record.topic.clone(), partitions);
        }
        let partitions = self.topics.get_mut(&record.topic).expect("it was put there above");
        for partition in partitions.queues.len()..count {
            let partition = i32::try_from(partition).expect("a topic has fewer");
            partitions.queues.push(self.queues.len());
            self.queues.push(Queue::new(record.topic.clone(), partition));
        }
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) => usize::try_from(partition).unwrap_or(usize::MAX),
            (None, Some(key)) => {
                let count = u32::try_from(count).expect("a topic has fewer");
                partitioner::by_key(key, count) as usize
            }
            (None, None) => partitions.stick(record.bytes(), (count, self.config.batch_bytes)),
        };
        if partition >= count {
            let text = format!("it has {count} partitions, there is no {partition}");
            return Err(Error::refused(name(), unknown, Some(&text)));
        }
        Ok(partitions.queues[partition])
    }

    /// Batches that were begun wait for no more records, whatever the sender takes for now: it may
    /// have read its clock before they were begun.
    pub(super) fn hasten(&mut self) {
        for (_, at) in self.lingering.drain(..) {
            let queue = &mut self.queues[at];
            queue.waiting.iter_mut().for_each(|batch| batch.due = Monotonic::default());
            self.ready.insert(at);
        }
    }

    /// [`Accumulator::hasten`], and all batches that are not at their end.
    pub(super) fn flush(&mut self) -> Vec<Arc<Outcome>> {
        self.hasten();
        self.open()
    }

    /// All batches that are not at their end.
    pub(super) fn open(&self) -> Vec<Arc<Outcome>> {
        let batches = |queue: &Queue| {
            let batches = queue.waiting.iter().chain(&queue.in_flight);
            batches.map(|batch| batch.outcome.clone()).collect::<Vec<_>>()
        };
        self.queues.iter().flat_map(batches).collect()
    }

    /// Takes what is to be sent now, for each leader one request's worth. `free` says how many
    /// requests a leader may still get; `None` without a connection.
    pub(super) fn take(
        &mut self,
        now: Monotonic,
        image: &ClusterImage,
        free: impl Fn(i32) -> Option<usize>,
    ) -> Work {
        while let Some((_, at)) = self.lingering.pop_front_if(|(due, _)| *due <= now) {
            self.ready.insert(at);
        }
        let mut work = Work::default();
        let mut bytes: BTreeMap<i32, usize> = BTreeMap::new();
        // A connection may end at any moment, but each leader has one here or has none.
        let mut places: BTreeMap<i32, Option<usize>> = BTreeMap::new();
        for at in self.in_turn() {
            self.give_up(now, at);
            let queue = &self.queues[at];
            let Some(first) = queue.waiting.front() else { continue };
            if !queue.is_due(now, queue.full_at(&self.config)) {
                // It stands among those that linger.
                continue;
            }
            self.ready.insert(at);
            let expires = first.begun.after(self.config.delivery_timeout);
            // As long as a batch is under way, its answer is the next event.
            let wake = Some(expires).filter(|_| queue.in_flight.is_empty());
            let again = queue.not_before.filter(|at| now < *at);
            work.next = [work.next, wake, again].into_iter().flatten().min();
            let topic = image.topics.get(&*queue.topic);
            let place =
                topic.and_then(|topic| Some((topic.id, topic.partitions.get(index(queue))?)));
            let place = place.and_then(|(id, place)| Some((id, place.leader?)));
            if !queue.may_send((now, place), self.config.enable_idempotence) {
                continue;
            }
            if self.config.enable_idempotence
                && self.identity.is_none_or(|(id, _)| queue.has_used_up(id))
            {
                self.identity = None;
                work.wants_identity = true;
                continue;
            }
            let Some((topic_id, leader)) = place else {
                want(&mut work.wants_metadata, queue);
                continue;
            };
            let Some(free) = *places.entry(leader).or_insert_with(|| free(leader)) else {
                work.wants_connection.insert(leader);
                continue;
            };
            let size = first.size();
            let taken = bytes.entry(leader).or_default();
            if free == 0 || (*taken > 0 && *taken + size > self.config.request_bytes_max) {
                continue;
            }
            *taken += size;
            let sending = self.send(at, (topic_id, leader));
            work.by_leader.entry(leader).or_default().push(sending);
        }
        if let Some((due, _)) = self.lingering.front() {
            work.next = Some(work.next.map_or(*due, |next| next.min(*due)));
        }
        work
    }

    /// Takes the partitions that have something to send, each time from another one on.
    fn in_turn(&mut self) -> Vec<usize> {
        let ready = std::mem::take(&mut self.ready);
        let turn = ready.range(self.turn..).chain(ready.range(..self.turn));
        let turn: Vec<usize> = turn.copied().collect();
        self.turn = turn.first().map_or(0, |first| first + 1);
        turn
    }

    fn send(&mut self, at: usize, place: (TopicId, i32)) -> Sending {
        let identity = self.identity.filter(|_| self.config.enable_idempotence);
        let queue = &mut self.queues[at];
        let batch = queue.take(place, identity);
        let (number, sequence) = (batch.number, batch.sequence);
        let contents = std::mem::replace(&mut batch.contents, Contents::Building);
        let contents = match contents {
            Contents::Built(bytes) => {
                batch.contents = Contents::Built(bytes.clone());
                Contents::Built(bytes)
            }
            open => open,
        };
        let queue = &self.queues[at];
        let identity = queue.identity().zip(sequence);
        Sending {
            queue: at,
            number,
            topic: queue.topic.clone(),
            topic_id: place.0,
            partition: queue.partition,
            contents,
            identity: identity.map(|((id, epoch), sequence)| (id, epoch, sequence)),
        }
    }

    /// Keeps the bytes of a batch for the case that it must be sent again.
    pub(super) fn built(&mut self, queue: usize, number: Number, bytes: Bytes) {
        let batch = self.queues[queue].in_flight.iter_mut().find(|batch| batch.number == number);
        if let Some(batch) = batch {
            batch.contents = Contents::Built(bytes);
        }
    }

    /// Takes an answer in; a batch that is sent again waits for `percent` of its backoff. Whether
    /// leaders should be asked for anew.
    pub(super) fn answered(&mut self, now: Monotonic, answer: Answer, percent: u32) -> bool {
        let Answer { queue: at, number, result } = answer;
        let queue = &mut self.queues[at];
        let Some(mut batch) = queue.answered(number) else { return false };
        let is_lowest = queue.is_lowest(number) && !rivven_io::planted!("B77");
        let error = match result {
            Ok(delivered) => {
                queue.confirm(now);
                batch.end(Ok(delivered));
                return false;
            }
            Err(error) => error,
        };
        let code = error.code();
        let may_be_outdated = error.is_retriable();
        let is_gap = self.config.enable_idempotence
            && (code == Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)
                || code == Some(ErrorCode::UNKNOWN_PRODUCER_ID));
        if is_gap && !(is_lowest && batch.is_uncertain) {
            batch.is_refused = is_lowest;
            queue.put_back(batch, error);
        } else if is_gap {
            batch.fail(queue.name(), missing());
        } else if code == Some(ErrorCode::DUPLICATE_SEQUENCE_NUMBER) {
            queue.confirm(now);
            let partition = queue.partition;
            batch.end(Ok(Delivered::somewhere(partition)));
        } else if code == Some(ErrorCode::MESSAGE_TOO_LARGE) {
            if let Err((batch, error)) = queue.halve(batch, error) {
                batch.fail(queue.name(), error);
            }
        } else if error.is_retriable() {
            let (min, max) = self.backoff;
            let wait = min.saturating_mul(1 << queue.failures.min(16)).min(max) * percent / 100;
            queue.failures += 1;
            queue.not_before = Some(now.after(wait));
            batch.is_uncertain |= leaves_open(code);
            queue.put_back(batch, error);
        } else {
            batch.is_uncertain |= leaves_open(code);
            batch.fail(queue.name(), error);
        }
        self.ready.insert(at);
        self.give_up(now, at);
        may_be_outdated && !is_gap
    }

    /// Why batches of these topics are not sent.
    pub(super) fn note(&mut self, topics: &Wanted, error: &Error) {
        for at in &self.ready {
            let queue = &mut self.queues[*at];
            if topics.contains_key(&queue.topic)
                && let Some(first) = queue.waiting.front_mut()
            {
                first.last_error = Some(error.clone());
            }
        }
    }

    /// Topics that have something to send.
    pub(super) fn topics_waiting(&self) -> Wanted {
        let mut wanted = Wanted::default();
        self.ready.iter().for_each(|at| want(&mut wanted, &self.queues[*at]));
        wanted
    }

    /// Ends batches whose time is over, as long as none before them is under way.
    fn give_up(&mut self, now: Monotonic, at: usize) {
        let limit = self.config.delivery_timeout;
        let queue = &mut self.queues[at];
        while queue.in_flight.is_empty()
            && let Some(batch) = queue.waiting.pop_front_if(|first| now.since(first.begun) >= limit)
        {
            let last = match &batch.last_error {
                Some(error) => error.to_string(),
                None => "no leader could be reached".to_owned(),
            };
            let what = format!("the delivery of {} records for {}", batch.count, queue.name());
            batch.fail(queue.name(), Error::TimedOut { what, after: limit, last });
        }
    }

    /// Ends everything, and takes nothing any more.
    pub(super) fn fail_all(&mut self, error: &Error) {
        self.is_closed = true;
        for queue in &mut self.queues {
            let waiting = std::mem::take(&mut queue.waiting).into_iter();
            let in_flight = std::mem::take(&mut queue.in_flight);
            waiting.chain(in_flight).for_each(|batch| batch.end(Err(error.clone())));
        }
    }
}

impl Partitions {
    /// Stays with one partition for a batch's bytes, then goes on to the next.
    fn stick(&mut self, bytes: usize, (count, batch_bytes): (usize, usize)) -> usize {
        if self.sticky_bytes >= batch_bytes {
            self.sticky = self.sticky.wrapping_add(1);
            self.sticky_bytes = 0;
        }
        self.sticky_bytes = self.sticky_bytes.saturating_add(bytes + FRAMING_BYTES);
        self.sticky % count
    }
}

/// Whether a batch that was answered so, or not at all, may be written.
fn leaves_open(code: Option<ErrorCode>) -> bool {
    match code {
        None => true,
        Some(code) => {
            code.name().is_none()
                || matches!(
                    code,
                    ErrorCode::UNKNOWN_SERVER_ERROR
                        | ErrorCode::REQUEST_TIMED_OUT
                        // Of a leader that waited for its followers when it stopped being one.
                        | ErrorCode::NOT_LEADER_OR_FOLLOWER
                        | ErrorCode::NETWORK_EXCEPTION
                        | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
                        | ErrorCode::KAFKA_STORAGE_ERROR
                )
        }
    }
}

fn want(wanted: &mut Wanted, queue: &Queue) {
    let needed = wanted.entry(queue.topic.clone()).or_default();
    *needed = (*needed).max(index(queue) + 1);
}

fn index(queue: &Queue) -> usize {
    usize::try_from(queue.partition).expect("a partition is counted from 0")
}

fn open_batch(number: Number, (now, wall_ms): (Monotonic, i64), config: &ProducerConfig) -> Batch {
    let builder = BatchBuilder::new(TimestampMs(wall_ms.max(0))).codec(config.compression);
    Batch {
        number,
        contents: Contents::Open(builder),
        count: 0,
        begun: now,
        due: now.after(config.linger),
        attempts: 0,
        sequence: None,
        is_refused: false,
        is_uncertain: false,
        is_outdated: false,
        last_error: None,
        outcome: Arc::new(Outcome::default()),
        room: None,
    }
}

fn add(batch: &mut Batch, record: &ProducerRecord, wall_ms: i64) {
    let headers: Vec<NewHeader<'_>> =
        record.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect();
    let Contents::Open(builder) = &mut batch.contents else {
        unreachable!("only an open batch takes records")
    };
    builder.append(NewRecord {
        timestamp: Some(TimestampMs(record.timestamp.unwrap_or(wall_ms.max(0)))),
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    });
    batch.count = builder.count();
}
