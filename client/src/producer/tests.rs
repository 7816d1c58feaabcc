//! The accumulator against a model of a broker, whatever is lost on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use rivven_core::ids::{ProducerId, TopicId};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::record::header::BatchHeader;
use rivven_core::record::unpacked::unpack;
use rivven_io::clock::Monotonic;
use tokio::sync::Semaphore;

use super::accumulator::{Accumulator, Answer, Sending};
use super::batch::{Contents, Delivered, Delivery, Number};
use super::config::ProducerConfig;
use super::record::ProducerRecord;
use crate::connection::ConnectionError;
use crate::error::Error;
use crate::image::{ClusterImage, Partition, Topic};

const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(80));

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append,
    Pass(u64),
    Send,
    /// The sender read its clock so many milliseconds ago, on another thread.
    SendBehind(u64),
    Flush,
    /// The oldest request reaches the broker, and its answer the producer.
    Answer,
    /// It reaches the broker, its answer is lost with the connection.
    LoseAnswer,
    /// It is lost with the connection.
    LoseRequest,
    /// The connection is lost while the request is still on its way; it arrives later.
    Delay,
    /// Something that was delayed arrives.
    Arrive,
    /// The broker answers with an error that is worth another try.
    RefuseForNow,
    /// The broker refuses this batch for good.
    Refuse,
    /// From now on the topic takes batches of so many bytes.
    Limit(usize),
}

/// One partition of a broker, as far as producers are concerned (KIP-98).
#[derive(Default)]
struct Broker {
    log: Vec<u32>,
    epoch: i16,
    /// First and last sequence and base offset of the newest batches.
    known: Vec<(i32, i32, i64)>,
    bytes_max: Option<usize>,
}

impl Broker {
    fn append(&mut self, batch: &[u8]) -> Result<i64, ErrorCode> {
        if self.bytes_max.is_some_and(|max| batch.len() > max) {
            return Err(ErrorCode::MESSAGE_TOO_LARGE);
        }
        let header = BatchHeader::parse(batch).unwrap();
        let (first, count) = (header.base_sequence, header.count);
        let last = first + count - 1;
        if header.producer_epoch < self.epoch {
            return Err(ErrorCode::INVALID_PRODUCER_EPOCH);
        }
        if header.producer_epoch == self.epoch {
            if let Some((.., at)) =
                self.known.iter().find(|known| (known.0, known.1) == (first, last))
            {
                return Ok(*at);
            }
            if let Some((_, end, _)) = self.known.last()
                && first != end + 1
            {
                return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
            }
        } else if first != 0 {
            return Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
        } else {
            self.known.clear();
            self.epoch = header.producer_epoch;
        }
        let base = i64::try_from(self.log.len()).unwrap();
        self.known.push((first, last, base));
        if self.known.len() > 5 {
            self.known.remove(0);
        }
        unpack(batch)
            .unwrap()
            .each_record(|_, record, _| {
                let value = record.value.unwrap();
                self.log.push(u32::from_be_bytes(value.try_into().unwrap()));
                true
            })
            .unwrap();
        Ok(base)
    }
}

struct World {
    accumulator: Accumulator,
    image: ClusterImage,
    room: Arc<Semaphore>,
    now: Monotonic,
    /// What the sender last took for now.
    sent_at: Monotonic,
    broker: Broker,
    on_the_way: Vec<(usize, Number, Bytes)>,
    delayed: Vec<Bytes>,
    deliveries: Vec<Delivery>,
}

impl World {
    fn new() -> World {
        let partition = Partition {
            leader: Some(1),
            leader_epoch: 0,
            replicas: vec![1],
            in_sync: vec![1],
            error: ErrorCode::NONE,
        };
        let id = TopicId([1; 16]);
        let topic = Topic { id, is_internal: false, partitions: vec![partition] };
        let topics = BTreeMap::from([("t".to_owned(), topic)]);
        let config = ProducerConfig {
            delivery_timeout: Duration::from_millis(300),
            batch_bytes: 400,
            ..ProducerConfig::default()
        };
        let mut accumulator = Accumulator::new(&config, BACKOFF, 0);
        accumulator.set_identity((ProducerId(7), 0));
        World {
            accumulator,
            image: ClusterImage { topics, ..ClusterImage::default() },
            room: Arc::new(Semaphore::new(1 << 30)),
            now: Monotonic(0),
            sent_at: Monotonic(0),
            broker: Broker::default(),
            on_the_way: Vec::new(),
            delayed: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    fn append(&mut self) {
        let value = u32::try_from(self.deliveries.len()).unwrap().to_be_bytes().to_vec();
        let record = ProducerRecord::to("t").value(value);
        let permit = self.room.clone().try_acquire_many_owned(100).unwrap();
        let given = self.accumulator.append((self.now, 1000), &self.image, (record, permit));
        self.deliveries.push(given.unwrap().0);
    }

    fn send(&mut self) {
        self.send_at(self.now);
    }

    fn send_at(&mut self, now: Monotonic) {
        let now = now.max(self.sent_at);
        self.sent_at = now;
        let free = 5usize.saturating_sub(self.on_the_way.len());
        let work = self.accumulator.take(now, &self.image, |_| Some(free));
        for sending in work.by_leader.into_values().flatten() {
            let (queue, number) = (sending.queue, sending.number);
            let bytes = build(sending);
            self.accumulator.built(queue, number, bytes.clone());
            self.on_the_way.push((queue, number, bytes));
        }
        assert!(self.on_the_way.len() <= 5, "a broker remembers five batches");
    }

    fn answer(&mut self, (queue, number): (usize, Number), result: Result<i64, Error>) {
        let place = |offset| Delivered { offset, ..Delivered::somewhere(0) };
        let answer = Answer { queue, number, result: result.map(place) };
        self.accumulator.answered(self.now, answer, 100);
    }

    /// A connection is lost with everything on it.
    fn disconnect(&mut self) {
        let closed = ConnectionError::Closed("lost".to_owned());
        let error = Error::Connection { peer: "b".to_owned(), error: closed };
        for (queue, number, _) in std::mem::take(&mut self.on_the_way) {
            self.answer((queue, number), Err(error.clone()));
        }
    }

    fn refuse(&mut self, code: ErrorCode) {
        let (queue, number, _) = self.on_the_way.remove(0);
        self.answer((queue, number), Err(Error::refused("t-0", code, None)));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append => self.append(),
            Step::Pass(ms) => self.now = self.now.after(Duration::from_millis(ms)),
            Step::Send => self.send(),
            Step::SendBehind(ms) => {
                self.send_at(Monotonic(self.now.0.saturating_sub(ms * 1_000_000)));
            }
            Step::Flush => self.accumulator.hasten(),
            Step::Arrive if !self.delayed.is_empty() => {
                let _ = self.broker.append(&self.delayed.remove(0));
            }
            _ if self.on_the_way.is_empty() => {}
            Step::Answer => {
                let (queue, number, bytes) = self.on_the_way.remove(0);
                let appended = self.broker.append(&bytes);
                self.answer((queue, number), appended.map_err(|c| Error::refused("t-0", c, None)));
            }
            Step::LoseAnswer => {
                let _ = self.broker.append(&self.on_the_way[0].2);
                self.disconnect();
            }
            Step::LoseRequest => self.disconnect(),
            Step::Delay => {
                self.delayed.extend(self.on_the_way.iter().map(|(.., bytes)| bytes.clone()));
                self.disconnect();
            }
            Step::RefuseForNow => self.refuse(ErrorCode::NOT_ENOUGH_REPLICAS),
            Step::Refuse => self.refuse(ErrorCode::INVALID_RECORD),
            Step::Limit(bytes) => self.broker.bytes_max = Some(bytes),
            Step::Arrive => {}
        }
    }

    /// Lets everything come to its end with a broker that works.
    fn settle(&mut self) {
        self.accumulator.hasten();
        for _ in 0..10_000 {
            self.step(Step::Pass(50));
            self.send();
            self.step(Step::Answer);
            if self.accumulator.open().is_empty() {
                return;
            }
        }
        panic!("something never ends");
    }
}

fn build(sending: Sending) -> Bytes {
    let builder = match sending.contents {
        Contents::Built(bytes) => return bytes,
        Contents::Open(builder) => builder,
        Contents::Building => unreachable!("a batch is built once"),
    };
    let (id, epoch, sequence) = sending.identity.unwrap();
    builder.producer(id, epoch, sequence).build().into()
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Append),
        3 => (1u64..60).prop_map(Step::Pass),
        6 => Just(Step::Send),
        2 => (1u64..60).prop_map(Step::SendBehind),
        2 => Just(Step::Flush),
        6 => Just(Step::Answer),
        1 => Just(Step::LoseAnswer),
        1 => Just(Step::LoseRequest),
        1 => Just(Step::Delay),
        2 => Just(Step::Arrive),
        1 => Just(Step::RefuseForNow),
        1 => Just(Step::Refuse),
        1 => prop_oneof![70usize..400, Just(usize::MAX)].prop_map(Step::Limit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_written_twice_or_out_of_order_or_lost_unsaid(
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(*step));
        world.settle();
        // Whatever happened before, with a broker that works everything new is written.
        world.broker.bytes_max = None;
        let later = world.deliveries.len();
        (0..3).for_each(|_| world.append());
        world.settle();
        for delivery in &world.deliveries[later..] {
            let result = delivery.result();
            prop_assert!(matches!(result, Some(Ok(_))), "{:?}", result);
        }
        let log = &world.broker.log;
        prop_assert!(log.is_sorted_by(|a, b| a < b), "{log:?}");
        for (record, delivery) in (0u32..).zip(&world.deliveries) {
            let place = log.iter().position(|other| *other == record);
            match delivery.result() {
                Some(Ok(delivered)) => {
                    let offset = usize::try_from(delivered.offset).ok();
                    prop_assert_eq!(offset, place, "record {} of {:?}", record, log);
                }
                Some(Err(Error::Refused { .. } | Error::TimedOut { .. })) => {
                    prop_assert_eq!(place, None);
                }
                Some(Err(Error::Uncertain { .. })) => {}
                other => prop_assert!(false, "{other:?}"),
            }
        }
        prop_assert_eq!(world.room.available_permits(), 1 << 30);
    }
}

#[test]
fn a_batch_that_is_too_large_goes_on_in_halves() {
    let mut world = World::new();
    // A header has 61 bytes, such a record 11: two fit.
    let fits = 61 + 2 * 11;
    world.broker.bytes_max = Some(fits);
    (0..4).for_each(|_| world.append());
    world.settle();
    let offset = |delivery: &Delivery| delivery.result().unwrap().unwrap().offset;
    assert!(world.deliveries.iter().map(offset).eq(0..4));
    assert_eq!(world.room.available_permits(), 1 << 30);
    // What follows has the size that went in.
    (0..5).for_each(|_| world.append());
    world.accumulator.hasten();
    (0..3).for_each(|_| world.send());
    assert_eq!(world.on_the_way.len(), 3);
    assert!(world.on_the_way.iter().all(|(.., bytes)| bytes.len() <= fits));
    // A single record that is too large stays refused.
    world.broker.bytes_max = Some(61);
    world.settle();
    let last = world.deliveries.last().unwrap().result().unwrap();
    assert!(matches!(last, Err(Error::Refused { .. })), "{last:?}");
}

#[test]
fn a_flush_is_carried_out_though_the_sender_has_read_its_clock_before() {
    let mut world = World::new();
    world.step(Step::Pass(50));
    world.append();
    world.accumulator.hasten();
    world.step(Step::SendBehind(1));
    assert_eq!(world.on_the_way.len(), 1);
}

#[test]
fn records_of_one_batch_get_their_own_offsets() {
    let mut world = World::new();
    (0..3).for_each(|_| world.append());
    world.settle();
    let offsets =
        world.deliveries.iter().map(|delivery| delivery.result().unwrap().unwrap().offset);
    assert_eq!(offsets.collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(world.broker.known.len(), 1, "they wait for each other");
}
