//! Members of a group that are consumers of the client library: they poll, work, commit, lose
//! patience, fall asleep, go away with or without a word, and others take their places. The history
//! holds what they were given, and each of their requests about the group.

use std::collections::BTreeMap;
use std::time::Duration;

use rivven_client::assignor::{Assignor, TopicPartition};
use rivven_client::consumer::commits::Offsets;
use rivven_client::consumer::config::OffsetReset;
use rivven_client::consumer::event::ConsumerEvent;
use rivven_client::consumer::record::ConsumerRecord;
use rivven_client::{Client, ClientConfig, Consumer, ConsumerConfig, Error};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_io::sim::rng::{Stream, stream};

use super::operations::Operations;
use super::watched::watch;
use super::{ClientContext, ClientParams, CommitStyle, GroupParams, library_connections, millis};
use crate::history::event::{Consumed, ConsumerSaw, Event, EventKind, GivenRecord, SeenRecord};
use crate::history::value;
use crate::plan::fault::one_of;

/// The groups that library members of a run may be in.
pub(crate) const LIBRARY_GROUPS: [&str; 2] = ["library-0", "library-1"];
/// One poll in so many begins with another consumer.
const POLLS_OF_A_LIFE: u64 = 200;
/// For a close that nobody cuts off; it bounds itself.
const CLOSE_LIMIT: Duration = Duration::from_secs(100);

struct Member {
    context: ClientContext,
    params: ClientParams,
    group: GroupParams,
    /// Of the present operation.
    rng: Stream,
    /// Of a static member, which has it in all its lives.
    instance: Option<String>,
    /// The session and the longest time between two polls, which members of a group must share
    /// only roughly.
    times: (Duration, Duration),
    /// Of its present life.
    number: u64,
    /// The next offset of each partition, by what was given out.
    next: BTreeMap<TopicPartition, i64>,
}

pub(crate) async fn run(context: ClientContext, params: ClientParams) {
    let mut rng = stream(params.seed, "library-member.shape", u64::from(params.client), 0);
    let group = params.group.clone().expect("a plan gives each library member its group");
    let is_static = rng.below(3) == 0;
    let instance = is_static.then(|| format!("instance-{}", params.client));
    let times = (millis(rng.between(1_500, 6_000)), millis(rng.between(2_000, 6_000)));
    let next = BTreeMap::new();
    let mut operations = Operations::of(&context, &params, "library-member");
    let mut member = Member { context, params, group, rng, instance, times, number: 0, next };
    let mut consumer = None;
    while let Some(operation) = operations.next().await {
        member.rng = operation.draws;
        consumer = member.turn(consumer).await;
    }
    operations.rest().await;
    let (seed, client) = (member.params.seed, u64::from(member.params.client));
    for k in 0.. {
        if member.context.leave.is_given() {
            break;
        }
        member.rng = stream(seed, "library-member.quiet", client, k);
        consumer = member.turn(consumer).await;
    }
    if let Some(consumer) = consumer {
        member.end(consumer).await;
    }
}

impl Member {
    /// One poll, of a new consumer if there is none; the consumer, if it goes on.
    async fn turn(&mut self, consumer: Option<Consumer>) -> Option<Consumer> {
        let is_over = self.rng.below(POLLS_OF_A_LIFE) == 0 && !self.is_quiet();
        let mut shape = stream(self.rng.u64(), "library-member.consumer", 0, 0);
        let mut consumer = match consumer {
            Some(consumer) if !is_over => consumer,
            Some(consumer) => {
                self.end(consumer).await;
                self.begin(&mut shape)
            }
            None => self.begin(&mut shape),
        };
        if self.poll(&mut consumer).await {
            return Some(consumer);
        }
        self.end(consumer).await;
        None
    }

    fn begin(&mut self, shape: &mut Stream) -> Consumer {
        self.number = self.context.history.next_op();
        self.next.clear();
        let mut consumer = self.consumer(shape);
        let topics: Vec<&str> = self.params.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).expect("it has a group and reads nothing yet");
        consumer
    }

    async fn end(&mut self, consumer: Consumer) {
        let end = if self.is_quiet() { 2 } else { self.rng.below(4) };
        // Who closes has no part any more; what a close that is cut off leaves undone, the end of
        // its session does.
        if end > 0 {
            let limit = if end == 1 { millis(self.rng.below(1_000)) } else { CLOSE_LIMIT };
            let _ = self.context.env.clock.timeout(limit, consumer.close()).await;
        } else {
            drop(consumer);
        }
        self.tell(ConsumerSaw::Ended);
        let pause = millis(self.rng.below(2_000));
        self.context.stop.pause(&self.context.env, pause).await;
    }

    /// Nothing but polls is wanted any more.
    fn is_quiet(&self) -> bool {
        self.context.stop.is_given()
    }

    fn consumer(&self, shape: &mut Stream) -> Consumer {
        let timeout = millis(self.params.request_timeout_ms);
        let client = ClientConfig {
            bootstrap: vec![self.context.broker.to_string()],
            client_id: format!("member-{}", self.params.client),
            connect_timeout: timeout.min(Duration::from_secs(2)),
            request_timeout: timeout,
            api_timeout: Duration::from_secs(10),
            metadata_max_age: millis(one_of(&[500, 3_000, 300_000], shape)),
            ..library_connections(&self.params)
        };
        let watch = watch(self.context.history.clone(), self.params.client);
        let client = Client::watched(self.context.env.clone(), client, watch);
        let client = client.expect("the configuration is sound");
        let config = self.config(shape);
        Consumer::new(client, config).expect("the configuration is sound")
    }

    fn config(&self, shape: &mut Stream) -> ConsumerConfig {
        let (session_timeout, max_poll_interval) = self.times;
        let assignor = |name: &String| Assignor::from_name(name).expect("a plan names known ones");
        let enable_auto_commit = match self.group.commits {
            CommitStyle::Automatic => true,
            CommitStyle::Explicit => false,
            CommitStyle::Mixed => shape.below(2) == 0,
        };
        let bytes = |bytes: u64| i32::try_from(bytes).expect("a plan's sizes are small");
        ConsumerConfig {
            group: Some(self.group.name.clone()),
            instance_id: self.instance.clone(),
            assignors: self.group.assignors.iter().map(assignor).collect(),
            session_timeout,
            max_poll_interval,
            heartbeat_interval: session_timeout / 5,
            max_poll_records: usize::try_from(one_of(&[1, 10, 500], shape)).expect("it is small"),
            enable_auto_commit,
            auto_commit_interval: millis(one_of(&[50, 700, 3_000], shape)),
            auto_offset_reset: OffsetReset::Earliest,
            fetch_max_wait: millis(self.params.fetch_wait_ms),
            fetch_max_bytes: bytes(one_of(&[1, 5_000, 1 << 20], shape)),
            max_partition_fetch_bytes: bytes(one_of(&[1, 2_000, 1 << 20], shape)),
            buffer_bytes: usize::try_from(one_of(&[3_000, 1 << 20], shape)).expect("it is small"),
            allow_auto_create_topics: false,
            ..ConsumerConfig::default()
        }
    }

    /// One poll and the work on what it gave; whether this consumer goes on.
    async fn poll(&mut self, consumer: &mut Consumer) -> bool {
        let env = self.context.env.clone();
        let wait = millis(self.rng.below(400));
        // One in four is given up before it ends.
        let patience = if self.rng.below(4) == 0 { self.rng.below(5) } else { 10_000 };
        let polled = env.clock.timeout(millis(patience), consumer.poll(wait)).await;
        let events = consumer.events();
        let is_told = !events.is_empty();
        if self.note(events) && self.rng.below(2) == 0 {
            self.commit(consumer).await;
        }
        self.next.retain(|of, _| consumer.assignment().contains(of));
        let records = match polled {
            Err(_) => return true,
            Ok(Ok(records)) => records,
            Ok(Err(error)) => {
                assert!(is_expected(&error), "a consumer says: {error}");
                env.clock.sleep(millis(self.rng.between(1, 300))).await;
                return error.code() != Some(ErrorCode::FENCED_INSTANCE_ID);
            }
        };
        assert!(!is_told || records.is_empty(), "a poll that brings events brings no records");
        if !records.is_empty() {
            self.take(records);
            self.work().await;
        }
        if self.rng.below(if self.group.commits == CommitStyle::Automatic { 60 } else { 8 }) == 0 {
            self.commit(consumer).await;
        }
        true
    }

    /// Puts events into the history before anything else happens; whether something is revoked,
    /// and can still be committed.
    fn note(&self, events: Vec<ConsumerEvent>) -> bool {
        let names = |all: &[TopicPartition]| -> Vec<(String, i32)> {
            all.iter().map(|of| (of.topic.to_string(), of.partition)).collect()
        };
        let mut is_revoked = false;
        for event in events {
            is_revoked |= matches!(event, ConsumerEvent::Revoked(_));
            self.tell(match event {
                ConsumerEvent::Assigned(all) => ConsumerSaw::Assigned(names(&all)),
                ConsumerEvent::Revoked(all) => ConsumerSaw::Revoked(names(&all)),
                ConsumerEvent::Lost { partitions, .. } => ConsumerSaw::Lost(names(&partitions)),
            });
        }
        is_revoked
    }

    fn take(&mut self, records: Vec<ConsumerRecord>) {
        for record in &records {
            let of = TopicPartition::new(record.topic.clone(), record.partition);
            self.next.insert(of, record.offset + 1);
        }
        self.tell(ConsumerSaw::Given(records.iter().map(given).collect()));
    }

    /// Works on records in no time, but now and then for longer than the group waits.
    async fn work(&mut self) {
        if self.is_quiet() {
            return;
        }
        let long = self.times.1 + millis(self.rng.below(3_000));
        if self.rng.below(300) == 0 {
            self.context.stop.pause(&self.context.env, long).await;
        }
    }

    /// Commits in one of the ways that there are, and may not wait for the end.
    async fn commit(&mut self, consumer: &mut Consumer) {
        let patience = millis(if self.rng.below(3) == 0 { self.rng.below(20) } else { 20_000 });
        let clock = self.context.env.clock.clone();
        // An offset by name may meet a topic that was made anew, which only the library knows.
        let churns = self.context.topics.iter().any(|topic| topic.churn);
        let committed = if !churns && self.rng.below(2) == 0 {
            let offsets = self.next.iter().map(|(of, next)| (of.clone(), (*next).into()));
            let offsets: Offsets = offsets.collect();
            clock.timeout(patience, consumer.commit_offsets(&offsets)).await
        } else {
            clock.timeout(patience, consumer.commit()).await
        };
        if let Ok(Err(error)) = committed {
            assert!(is_expected(&error), "a commit says: {error}");
        }
    }

    fn tell(&self, what: ConsumerSaw) {
        let history = &self.context.history;
        let kind = EventKind::Consumer(Consumed { group: self.group.name.clone(), what });
        let (at_ns, client, op) = (history.now_ns(), self.params.client, self.number);
        history.record(Event { at_ns, client, op, kind });
    }
}

fn given(record: &ConsumerRecord) -> GivenRecord {
    let seen = SeenRecord {
        offset: record.offset,
        value: record.value.as_deref().and_then(value::id_in),
        hash: value::hash(record.key.as_deref(), record.value.as_deref()),
    };
    GivenRecord { topic: record.topic.to_string(), partition: record.partition, record: seen }
}

/// Trouble with the broker, and what a group tells those who are late, is no surprise; anything
/// else is.
fn is_expected(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Connection { .. } | Error::TimedOut { .. } => true,
        Error::Refused { code, .. } => {
            let is_late = matches!(
                *code,
                ErrorCode::FENCED_INSTANCE_ID
                    | ErrorCode::UNKNOWN_MEMBER_ID
                    | ErrorCode::ILLEGAL_GENERATION
                    | ErrorCode::REBALANCE_IN_PROGRESS
            );
            is_late || (code.is_retriable() && *code != ErrorCode::CORRUPT_MESSAGE)
        }
        Error::Uncertain { .. } | Error::Malformed(_) | Error::Invalid(_) | Error::Closed => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration as Time;

    use super::*;

    #[test]
    fn only_trouble_of_brokers_and_groups_is_expected() {
        let refused = |code| Error::refused("polling", code, None);
        let timed_out =
            Error::TimedOut { what: "x".into(), after: Time::from_secs(1), last: "y".into() };
        for (error, expected) in [
            (timed_out, true),
            (refused(ErrorCode::REBALANCE_IN_PROGRESS), true),
            (refused(ErrorCode::NOT_COORDINATOR), true),
            (refused(ErrorCode::CORRUPT_MESSAGE), false),
            (refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL), false),
            (Error::Malformed("z".into()), false),
        ] {
            assert_eq!(is_expected(&error), expected, "{error}");
        }
    }

    #[test]
    fn a_record_is_known_by_its_value() {
        let id = value::ValueId::of(3, 4);
        let sent = value::Value { id, counter: 1, key: 2, filler_bytes: 5, tombstone: false };
        let record = ConsumerRecord {
            topic: Arc::from("t"),
            partition: 1,
            offset: 9,
            timestamp: 0,
            key: Some(sent.key_bytes().into()),
            value: Some(sent.value_bytes().into()),
            headers: Vec::new(),
            leader_epoch: -1,
        };
        let seen = SeenRecord { offset: 9, value: Some(id), hash: sent.sent().hash };
        assert_eq!(given(&record).record, seen);
    }
}
