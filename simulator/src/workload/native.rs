//! A client of the native protocol, on the topics of the Kafka clients: it publishes in each of
//! the ways that the protocol has, reads partitions one by one, and commits for a group of its own
//! how far it has come. What one protocol wrote, the other must read, and the other way round.

mod batch;

use std::collections::BTreeMap;

use bytes::Bytes;
use rivven_core::ids::PartitionId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::wire::codec::Name;
use rivven_core::wire::message::{OffsetToCommit, ProducerRun};
use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;

use self::batch::{Batch, Way};
use super::known::Known;
use super::operations::{Operation, Operations};
use super::set_up::client_of;
use super::{ClientContext, ClientParams, millis};
use crate::client::connection::CallError;
use crate::client::native::NativeConnection;
use crate::client::reads::Place;
use crate::client::{Client, Trouble};
use crate::history::event::{
    Call, CommittedOffset, Consumed, ConsumerSaw, Event, EventKind, GivenRecord, GroupAsk,
    GroupCall, GroupReply, Reply, SeenRecord,
};
use crate::history::value::{self, Value};

/// Attempts of one batch with a producer id, after which another id goes on.
const ATTEMPTS_MAX: u32 = 1_000;

struct Native {
    context: ClientContext,
    params: ClientParams,
    /// The present one.
    operation: Operation,
    connection: Option<NativeConnection>,
    connections: u64,
    known: Known,
    /// Asks where partitions are, and keeps time between attempts.
    kafka: Client,
    /// Producer id and epoch, and the next sequence number of each partition.
    producer: Option<(u64, u16)>,
    sequences: BTreeMap<PartitionId, i32>,
    counters: BTreeMap<PartitionId, u64>,
    /// Of the consumer that reads now.
    number: u64,
    /// What that consumer reads next, of partitions that it has.
    next: BTreeMap<Place, u64>,
}

pub(crate) async fn run(context: ClientContext, params: ClientParams) {
    let timeout = millis(params.request_timeout_ms);
    let mut native = Native {
        operation: quiet(&params, 0),
        kafka: client_of(&context, params.client, timeout),
        connection: None,
        connections: 0,
        known: Known::new(),
        producer: None,
        sequences: BTreeMap::new(),
        counters: BTreeMap::new(),
        number: context.history.next_op(),
        next: BTreeMap::new(),
        context,
        params,
    };
    let mut operations = Operations::of(&native.context, &native.params, "native");
    while let Some(operation) = operations.next().await {
        native.operation = operation;
        native.turn().await;
    }
    operations.rest().await;
    for number in 0.. {
        if native.context.leave.is_given() {
            break;
        }
        native.operation = quiet(&native.params, number);
        let pause = millis(native.operation.draws.between(1, 20));
        native.context.env.clock.sleep(pause).await;
        native.turn().await;
    }
    native.tell(ConsumerSaw::Ended);
}

/// What it does when nobody works any more.
fn quiet(params: &ClientParams, number: u64) -> Operation {
    Operation::of((params.seed, "native.quiet", params.client), number)
}

/// The connection is gone, or the broker said no.
struct Failed;

impl Native {
    async fn turn(&mut self) {
        if self.operate().await.is_err() {
            self.kafka.back_off().await;
        }
    }

    /// One operation.
    async fn operate(&mut self) -> Result<(), Failed> {
        let is_quiet = self.context.stop.is_given();
        if !self.known.refresh(&mut self.kafka, &self.params).await {
            return Err(Failed);
        }
        let place = self.known.draw(&mut self.operation.draws);
        match self.operation.draws.below(10) {
            0..4 if !is_quiet => self.publish(place).await,
            4 if !is_quiet => self.begin_anew(),
            5 => self.commit(&place).await,
            _ => self.read(&place).await,
        }
    }

    async fn call(&mut self, request: &Request) -> Result<Response, CallError> {
        let timeout = millis(self.params.request_timeout_ms);
        if self.connection.is_none() {
            let (env, broker) = (&self.context.env, self.context.broker);
            self.connection = Some(NativeConnection::open(env, broker, timeout).await?);
            self.connections += 1;
        }
        let connection = self.connection.as_mut().expect("it was just opened");
        let answered = connection.call(request).await;
        match &answered {
            Ok(_) => self.kafka.reset_backoff(),
            Err(_) => self.connection = None,
        }
        answered
    }

    fn record(&self, op: u64, kind: EventKind) {
        let history = &self.context.history;
        history.record(Event { at_ns: history.now_ns(), client: self.params.client, op, kind });
    }

    /// The consumer goes away without a word, and another takes its place.
    fn begin_anew(&mut self) -> Result<(), Failed> {
        self.tell(ConsumerSaw::Ended);
        self.number = self.context.history.next_op();
        self.next.clear();
        if self.operation.draws.below(2) == 0 {
            self.connection = None;
        }
        Ok(())
    }

    fn tell(&self, what: ConsumerSaw) {
        let group = self.group();
        self.record(self.number, EventKind::Consumer(Consumed { group, what }));
    }

    fn group(&self) -> String {
        let group = self.params.group.as_ref();
        group.expect("a plan gives each native client its group").name.clone()
    }
}

// Publishing.
impl Native {
    async fn publish(&mut self, place: Place) -> Result<(), Failed> {
        let way = match self.operation.draws.below(3) {
            0 => Way::One,
            1 => Way::Several,
            _ => Way::Records,
        };
        if way == Way::Records && self.operation.draws.below(2) == 0 {
            return self.publish_until_answered(place).await;
        }
        let batch = self.make(place, way, None);
        let answered = self.attempt(&batch, way).await;
        if matches!(answered, Err(Some(code)) if code.is_retriable()) {
            self.known.note_stale();
        }
        answered.map_err(|_| Failed)
    }

    /// The same batch again and again, on whatever connection there is (X1).
    async fn publish_until_answered(&mut self, place: Place) -> Result<(), Failed> {
        let (producer_id, producer_epoch) = self.producer_id().await?;
        let base_sequence = self.sequences.get(&place.partition).copied().unwrap_or(0);
        let run = ProducerRun { producer_id, producer_epoch, base_sequence };
        let batch = self.make(place, Way::Records, Some(run));
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt(&batch, Way::Records).await {
                Ok(()) => {
                    let count = i32::try_from(batch.values.len()).expect("a batch is small");
                    self.sequences.insert(batch.place.partition, base_sequence + count);
                    return Ok(());
                }
                Err(Some(code)) if !code.is_retriable() => break,
                Err(_) if self.context.stop.is_given() => break,
                Err(_) => self.kafka.back_off().await,
            }
        }
        // The sequence has a hole now, perhaps: only another producer id can go on.
        self.producer = None;
        Err(Failed)
    }

    async fn producer_id(&mut self) -> Result<(u64, u16), Failed> {
        if let Some(known) = self.producer {
            return Ok(known);
        }
        match self.call(&Request::InitProducerId { producer_id: None }).await {
            Ok(Response::ProducerIdInitialized { producer_id, producer_epoch }) => {
                self.sequences.clear();
                self.producer = Some((producer_id, producer_epoch));
                Ok((producer_id, producer_epoch))
            }
            _ => Err(Failed),
        }
    }

    fn make(&mut self, place: Place, way: Way, run: Option<ProducerRun>) -> Batch {
        let (low, high) = self.params.batch_records;
        let count =
            if way == Way::One { 1 } else { self.operation.draws.between(low.max(1), high.max(1)) };
        let (low, high) = self.params.filler_bytes;
        let values = (0..count).map(|index| {
            let filler_bytes =
                usize::try_from(self.operation.draws.between(low, high)).expect("a few KiB");
            let counter = self.counters.entry(place.partition).or_default();
            let id = self.operation.value(self.params.client, index);
            let (key, tombstone) = ((self.operation.number + index) % 64, false);
            let value = Value { id, counter: *counter, key, filler_bytes, tombstone };
            *counter += 1;
            value
        });
        let values = values.collect();
        let history = &self.context.history;
        Batch { place, values, run, made_ns: history.now_ns(), op: history.next_op() }
    }

    /// Sends a batch once. An error without a code: nobody knows what became of it.
    async fn attempt(&mut self, batch: &Batch, way: Way) -> Result<(), Option<ErrorCode>> {
        let connection = self.connections + u64::from(self.connection.is_none());
        self.record(batch.op, EventKind::Invoke(Call::Produce(batch.call(connection))));
        let answer = self.call(&batch.request(way)).await;
        let published = |base_offset: u64, log_start: Option<u64>| Reply::Produced {
            base_offset: i64::try_from(base_offset).unwrap_or(i64::MAX),
            // -1: not said, as in Kafka's older answers.
            log_start: log_start.map_or(-1, |start| i64::try_from(start).unwrap_or(i64::MAX)),
        };
        let reply = match answer {
            Ok(Response::Published { offset, .. }) => Ok(published(offset, None)),
            Ok(Response::PublishedBatch { base_offset, .. }) => Ok(published(base_offset, None)),
            Ok(Response::RecordsPublished { base_offset, log_start, .. }) => {
                Ok(published(base_offset, Some(log_start)))
            }
            other => Err(trouble(other)),
        };
        match reply {
            Ok(reply) => {
                self.record(batch.op, EventKind::Ok(reply));
                Ok(())
            }
            Err(trouble) => {
                self.record(batch.op, trouble.event());
                Err(trouble.code())
            }
        }
    }
}

// Reading.
impl Native {
    /// Reads on, or begins to.
    async fn read(&mut self, place: &Place) -> Result<(), Failed> {
        let offset = match self.next.get(place) {
            Some(next) => *next,
            None => self.begin(place).await?,
        };
        let topic = Name::from(place.topic.as_str());
        let partition = place.partition.index;
        let max = self.operation.draws.between(1, 200);
        let wait_ms =
            if self.operation.draws.below(4) == 0 { self.params.fetch_wait_ms } else { 0 };
        // A broker that holds an answer back is not silent yet. When nobody writes any more, a wait
        // at one partition's end only keeps it from what it has not read of others.
        let wait_ms = match self.context.stop.is_given() {
            true => 0,
            false => wait_ms.min(self.params.request_timeout_ms / 2),
        };
        let request = match self.operation.draws.below(2) {
            0 => Request::Consume {
                topic,
                partition,
                offset,
                max_messages: max,
                isolation_level: None,
                max_wait_ms: Some(wait_ms),
            },
            _ => Request::ConsumeRecords {
                topic,
                partition,
                offset,
                max_records: u32::try_from(max).expect("it is small"),
                max_bytes: u32::try_from(self.params.fetch_bytes).unwrap_or(u32::MAX),
                isolation_level: 0,
                max_wait_ms: u32::try_from(wait_ms).unwrap_or(u32::MAX),
            },
        };
        let given = match self.call(&request).await {
            Ok(Response::Messages { messages }) => messages
                .into_iter()
                .map(|message| seen(message.offset, message.key.as_ref(), Some(&message.value)))
                .collect(),
            Ok(Response::Records { records, .. }) => records
                .into_iter()
                .map(|record| seen(record.offset, record.key.as_ref(), record.value.as_ref()))
                .collect(),
            Ok(_) => return self.go_on_at_the_start(place).await,
            Err(_) => return Err(Failed),
        };
        self.take(place, given);
        Ok(())
    }

    fn take(&mut self, place: &Place, given: Vec<SeenRecord>) {
        let Some(last) = given.last() else { return };
        let next = u64::try_from(last.offset + 1).expect("offsets are not negative");
        self.next.insert(place.clone(), next);
        let (topic, partition) = (&place.topic, place.index());
        let given = given.into_iter();
        let given = given.map(|record| GivenRecord { topic: topic.clone(), partition, record });
        self.tell(ConsumerSaw::Given(given.collect()));
    }

    /// Records may be gone that it has not read.
    async fn go_on_at_the_start(&mut self, place: &Place) -> Result<(), Failed> {
        let topic = Name::from(place.topic.as_str());
        let request = Request::GetOffsetBounds { topic, partition: place.partition.index };
        match self.call(&request).await {
            Ok(Response::OffsetBounds { earliest, .. }) => {
                if let Some(next) = self.next.get_mut(place) {
                    *next = earliest.max(*next);
                }
                Ok(())
            }
            _ => Err(Failed),
        }
    }

    /// Where its group has come to; at the log's start if it has committed nothing.
    async fn begin(&mut self, place: &Place) -> Result<u64, Failed> {
        let group = self.group();
        let of = |offset: i64| CommittedOffset {
            topic: place.topic.clone(),
            id: place.partition.topic,
            partition: place.index(),
            offset,
        };
        self.tell(ConsumerSaw::Assigned(vec![(place.topic.clone(), place.index())]));
        let request = Request::GetOffset {
            consumer_group: Name::from(group.as_str()),
            topic: Name::from(place.topic.as_str()),
            partition: place.partition.index,
        };
        let op = self.context.history.next_op();
        let what = GroupAsk::FetchOffsetsOf(vec![of(-1)]);
        self.record(op, EventKind::Invoke(Call::Group(self.asks(what))));
        match self.call(&request).await {
            Ok(Response::Offset { offset }) => {
                let shown = offset.map_or(-1, |offset| i64::try_from(offset).unwrap_or(i64::MAX));
                let reply = Reply::Group(GroupReply::Offsets(vec![of(shown)]));
                self.record(op, EventKind::Ok(reply));
                let begin = offset.unwrap_or(0);
                self.next.insert(place.clone(), begin);
                Ok(begin)
            }
            other => {
                self.record(op, trouble(other).event());
                // It has it no more, and begins again.
                self.tell(ConsumerSaw::Lost(vec![(place.topic.clone(), place.index())]));
                Err(Failed)
            }
        }
    }

    async fn commit(&mut self, place: &Place) -> Result<(), Failed> {
        let Some(next) = self.next.get(place).copied() else { return Ok(()) };
        let group = self.group();
        let (group, topic) = (Name::from(group.as_str()), Name::from(place.topic.as_str()));
        let partition = place.partition.index;
        let request = match self.operation.draws.below(2) {
            0 => Request::CommitOffset { consumer_group: group, topic, partition, offset: next },
            _ => Request::CommitOffsets {
                group_id: group,
                generation_id: -1,
                member_id: Name::from(""),
                group_instance_id: None,
                offsets: vec![OffsetToCommit {
                    topic,
                    partition,
                    offset: next,
                    leader_epoch: None,
                    metadata: None,
                }],
            },
        };
        let row = CommittedOffset {
            topic: place.topic.clone(),
            id: place.partition.topic,
            partition: place.index(),
            offset: i64::try_from(next).expect("an offset fits"),
        };
        let op = self.context.history.next_op();
        self.record(op, EventKind::Invoke(Call::Group(self.asks(GroupAsk::Commit(vec![row])))));
        let refused = match self.call(&request).await {
            Ok(Response::OffsetCommitted) => None,
            Ok(Response::OffsetsCommitted { results }) => {
                let code = results.first().map_or(0, |row| row.error_code);
                (code != 0).then(|| Trouble::of_write(ErrorCode(code), None))
            }
            other => Some(trouble(other)),
        };
        match refused {
            None => {
                self.record(op, EventKind::Ok(Reply::Group(GroupReply::Committed)));
                Ok(())
            }
            Some(trouble) => {
                self.record(op, trouble.event());
                Err(Failed)
            }
        }
    }

    fn asks(&self, what: GroupAsk) -> GroupCall {
        GroupCall { group: self.group(), member: String::new(), generation: -1, what }
    }
}

fn seen(offset: u64, key: Option<&Bytes>, value: Option<&Bytes>) -> SeenRecord {
    SeenRecord {
        offset: i64::try_from(offset).unwrap_or(i64::MAX),
        value: value.and_then(|value| value::id_in(value)),
        hash: value::hash(key.map(|key| &key[..]), value.map(|value| &value[..])),
    }
}

/// What is wrong with an answer that is not the one that was hoped for.
fn trouble(answer: Result<Response, CallError>) -> Trouble {
    match answer {
        Ok(Response::ErrorWithCode { code, message, .. }) => {
            Trouble::of_write(ErrorCode(code), Some(&message))
        }
        // Errors of release 0.0.22 have no code: what they say may be about what is already done.
        Ok(Response::Error { message }) => Trouble::Refused {
            code: ErrorCode::UNKNOWN_SERVER_ERROR,
            text: message,
            definite: false,
        },
        Ok(other) => Trouble::NotAnswered(CallError::Malformed(format!("{other:?}"))),
        Err(error @ CallError::Connect(_)) => Trouble::NotSent(error),
        Err(error) => Trouble::NotAnswered(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::event::Failure;

    #[test]
    fn what_was_never_sent_failed_and_what_was_not_answered_is_unknown() {
        let connect = CallError::Connect("refused".to_owned());
        let error = Response::ErrorWithCode {
            code: ErrorCode::RECORD_LIST_TOO_LARGE.0,
            is_retriable: false,
            message: "too large".to_owned(),
        };
        let plain = Response::Error { message: "STORAGE: full".to_owned() };
        for (answer, has_failed) in [
            (Err(connect), true),
            (Err(CallError::TimedOut), false),
            (Ok(error), true),
            (Ok(plain), false),
            (Ok(Response::Pong), false),
        ] {
            let event = trouble(answer).event();
            assert_eq!(matches!(event, EventKind::Fail(Failure { .. })), has_failed, "{event:?}");
        }
    }
}
