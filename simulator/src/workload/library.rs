//! A producer of the client library: records go in one by one, and each is told what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rivven_client::producer::{Compression, Delivered, Delivery, ProducerConfig};
use rivven_client::{Client, ClientConfig, Error, Producer, ProducerRecord};
use rivven_core::ids::PartitionId;
use rivven_io::sim::rng::{Stream, stream};

use super::known::Known;
use super::operations::{Operation, Operations};
use super::set_up::client_of;
use super::{ClientContext, ClientParams, library_connections, millis};
use crate::client::reads::Place;
use crate::history::event::{Call, Event, EventKind, Failure, Mark, Produce, Reply, Stamp};
use crate::history::value::Value;
use crate::plan::fault::one_of;

/// A producer id that no broker gives: what the library uses is its own affair.
const LIBRARY_ID: i64 = 1 << 50;
/// Bytes at most that a record takes beside its key and value: it may be alone in its batch, and
/// may take more packed than not.
const BATCH_BYTES_MAX: u64 = 256;
/// How long it asks for its partitions at last, and how long it tries to write its last record to
/// each.
const LAST_RECORD: Duration = Duration::from_secs(5);

struct Library {
    context: ClientContext,
    params: ClientParams,
    producer: Producer,
    sent: BTreeMap<PartitionId, u64>,
}

pub(crate) async fn run(context: ClientContext, params: ClientParams) {
    let mut rng = stream(params.seed, "library.shape", u64::from(params.client), 0);
    let producer = producer_of(&context, &params, &mut rng);
    // Where partitions are is asked over another connection, which is not what is tried here.
    let mut client = client_of(&context, params.client, millis(params.request_timeout_ms));
    let mut known = Known::new();
    let mut operations = Operations::of(&context, &params, "library");
    let mut library = Library { context, params, producer, sent: BTreeMap::new() };
    while operations.wait().await {
        match known.refresh(&mut client, &library.params).await {
            true => {
                let mut operation = operations.begin();
                let place = known.draw(&mut operation.draws);
                library.produce(place, operation).await;
            }
            false => client.back_off().await,
        }
    }
    // What it has sent is on its way until the producer has an answer.
    operations.rest().await;
    known.note_stale();
    let asked = async {
        while !known.refresh(&mut client, &library.params).await {
            client.back_off().await;
        }
    };
    if library.context.env.clone().clock.timeout(LAST_RECORD, asked).await.is_ok() {
        let who = (library.params.seed, "library-end", library.params.client);
        let mut operation = Operation::of(who, library.params.operations_max);
        let mut made = 0;
        for place in known.places() {
            library.end_with(place, &mut operation, &mut made).await;
        }
    }
}

fn producer_of(context: &ClientContext, params: &ClientParams, rng: &mut Stream) -> Producer {
    let timeout = millis(params.request_timeout_ms);
    let client = ClientConfig {
        bootstrap: vec![context.broker.to_string()],
        client_id: format!("library-{}", params.client),
        connect_timeout: timeout.min(Duration::from_secs(5)),
        request_timeout: timeout,
        ..library_connections(params)
    };
    let client = Client::new(context.env.clone(), client).expect("the configuration is sound");
    let codecs = [
        Compression::None,
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
    ];
    let config = ProducerConfig {
        request_bytes_max: 50_000,
        buffer_bytes: usize::try_from(one_of(&[100_000, 1_000_000], rng)).expect("small"),
        linger: millis(one_of(&[0, 1, 5, 50], rng)),
        batch_bytes: usize::try_from(one_of(&[1, 500, 20_000], rng)).expect("small"),
        delivery_timeout: millis(one_of(&[500, 3_000, 20_000, 600_000], rng)),
        in_flight_max: usize::try_from(params.in_flight.clamp(1, 5)).expect("at most five"),
        compression: codecs[usize::try_from(rng.below(5)).expect("there are five")],
        create_topics: false,
        ..ProducerConfig::default()
    };
    Producer::new(client, config).expect("the configuration is sound")
}

impl Library {
    async fn produce(&mut self, place: Place, mut operation: Operation) {
        let (low, high) = self.params.batch_records;
        let count = operation.draws.between(low.max(1), high);
        for index in 0..count.max(1) {
            let (op, record) = self.make(&place, &mut operation, index);
            let env = self.context.env.clone();
            // A caller may lose patience: then nothing is sent.
            let is_hasty = operation.draws.below(50) == 0;
            let patience = millis(if is_hasty { 1 } else { 60_000 });
            match env.clock.timeout(patience, self.producer.send(record)).await {
                Ok(Ok(delivery)) => self.follow(op, delivery),
                Ok(Err(error)) => self.end(op, EventKind::Fail(failure(&error))),
                Err(_) => {
                    let why = "its caller did not wait for room".to_owned();
                    self.end(op, EventKind::Fail(Failure { code: None, why }));
                }
            }
            if self.context.stop.is_given() {
                return;
            }
        }
    }

    /// Writes a last record to a partition that it wrote to, which is bound to work by then.
    async fn end_with(&mut self, place: &Place, operation: &mut Operation, made: &mut u64) {
        if !self.sent.contains_key(&place.partition) {
            return;
        }
        let clock = self.context.env.clock.clone();
        let deadline = clock.now().after(LAST_RECORD);
        let mut refused = None;
        while clock.now() < deadline {
            let (op, record) = self.make(place, operation, *made);
            *made += 1;
            let left = deadline.since(clock.now());
            let result = match clock.timeout(left, self.producer.send(record)).await {
                Ok(Ok(delivery)) => clock.timeout(left, delivery.wait()).await,
                Ok(Err(error)) => Ok(Err(error)),
                Err(elapsed) => Err(elapsed),
            };
            let Ok(result) = result else {
                let why = "its end is not known yet".to_owned();
                self.end(op, EventKind::Info(Failure { code: None, why: why.clone() }));
                refused = Some(why);
                break;
            };
            refused = result.as_ref().err().map(ToString::to_string);
            self.end(op, end_of(result));
            if refused.is_none() {
                break;
            }
            clock.sleep(millis(100)).await;
        }
        let mark = Mark::ProducerEnd { partition: place.partition, refused };
        self.end(self.context.history.next_op(), EventKind::Mark(mark));
    }

    fn make(
        &mut self,
        place: &Place,
        operation: &mut Operation,
        index: u64,
    ) -> (u64, ProducerRecord) {
        let (low, high) = self.params.filler_bytes;
        let filler_bytes = operation.draws.between(low, high);
        let counter = self.sent.entry(place.partition).or_default();
        let value = Value {
            id: operation.value(self.params.client, index),
            counter: *counter,
            key: (operation.number + index) % 64,
            tombstone: false,
            filler_bytes: usize::try_from(filler_bytes).expect("a few KiB"),
        };
        let history = &self.context.history;
        let op = history.next_op();
        let stamped_ms = self.context.env.clock.wall_ms();
        let sequence = i32::try_from(*counter).expect("a run sends fewer");
        let call = Produce {
            topic: place.topic.clone(),
            partition: place.partition,
            acks: -1,
            producer: Some(Stamp {
                producer_id: LIBRARY_ID + i64::from(self.params.client),
                epoch: 0,
                base_sequence: sequence,
            }),
            connection: 1,
            values: vec![value.sent()],
            bytes: (value.key_bytes().len() + value.value_bytes().len()) as u64 + BATCH_BYTES_MAX,
            made_ns: history.now_ns(),
            stamped_ms: Some(stamped_ms),
        };
        *counter += 1;
        self.end(op, EventKind::Invoke(Call::Produce(call)));
        let record = ProducerRecord {
            topic: Arc::from(place.topic.as_str()),
            partition: Some(place.index()),
            timestamp: Some(stamped_ms),
            key: Some(value.key_bytes().into()),
            value: Some(value.value_bytes().into()),
            headers: vec![("client".to_owned(), Some("library".into()))],
        };
        (op, record)
    }

    /// Records what becomes of it when that is known.
    fn follow(&self, op: u64, delivery: Delivery) {
        let (context, client) = (self.context.clone(), self.params.client);
        self.context.env.tasks.spawn("library-delivery", async move {
            record(&context, client, (op, end_of(delivery.wait().await)));
        });
    }

    fn end(&self, op: u64, kind: EventKind) {
        record(&self.context, self.params.client, (op, kind));
    }
}

fn end_of(result: Result<Delivered, Error>) -> EventKind {
    match result {
        Ok(delivered) if delivered.offset >= 0 => EventKind::Ok(Reply::Produced {
            base_offset: delivered.offset,
            log_start: delivered.log_start,
        }),
        Ok(_) => {
            let why = "it was there already".to_owned();
            EventKind::Info(Failure { code: None, why })
        }
        Err(error @ (Error::Refused { .. } | Error::TimedOut { .. })) => {
            EventKind::Fail(failure(&error))
        }
        Err(error) => EventKind::Info(failure(&error)),
    }
}

fn record(context: &ClientContext, client: u32, (op, kind): (u64, EventKind)) {
    let at_ns = context.history.now_ns();
    context.history.record(Event { at_ns, client, op, kind });
}

fn failure(error: &Error) -> Failure {
    Failure { code: error.code().map(|code| code.0), why: error.to_string() }
}
