//! Producers: plain ones, and idempotent ones that try a batch again until it is answered.
//!
//! A producer has one connection with some batches on the way. When that connection is lost:
//! ```text
//! plain       every batch on the way has an unknown outcome and is forgotten
//! idempotent  every batch on the way is sent again, in order, on the next connection (X1)
//! ```
//! A refused batch is sent again by a plain producer only if the refusal is definite, by an
//! idempotent one always; what was sent behind it to the same partition is refused too (its
//! sequence does not fit), and follows in order.

pub(crate) mod lane;

use std::collections::{BTreeMap, VecDeque};

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::produce::{ProduceRequest, ProduceResponse};

use self::lane::{Batch, Lanes, Stamps};
use super::known::Known;
use super::operations::Operations;
use super::set_up::client_of;
use super::{ClientContext, ClientParams, millis};
use crate::client::connection::CallError;
use crate::client::reads::{is_gone, no_row};
use crate::client::{Client, Trouble, is_retriable};
use crate::history::event::{Call, EventKind, Failure, Reply};

/// Attempts after which a plain producer gives a refused batch up.
const PLAIN_ATTEMPTS_MAX: u32 = 4;
/// Attempts after which an idempotent one gives up and begins anew with another producer id.
const IDEMPOTENT_ATTEMPTS_MAX: u32 = 1_000;
/// The text of an outcome that the run's end left open.
const STOPPED: &str = "the run stopped its clients";

struct Producer {
    context: ClientContext,
    client: Client,
    params: ClientParams,
    operations: Operations,
    known: Known,
    lanes: Lanes,
    idempotent: bool,
    /// Sent on the current connection, oldest first.
    on_the_way: VecDeque<Batch>,
    /// To be sent again before anything new, by operation id, which is the order of making.
    again: BTreeMap<u64, Batch>,
    /// Whether a batch was refused since the last time that nothing was on the way. Until then
    /// nothing is sent, so that the refused one goes out before what follows it.
    drains: bool,
}

pub(crate) async fn run(context: ClientContext, params: ClientParams, idempotent: bool) {
    let mut producer = Producer {
        client: client_of(&context, params.client, millis(params.request_timeout_ms)),
        operations: Operations::of(&context, &params, "producer"),
        known: Known::new(),
        lanes: Lanes::default(),
        idempotent,
        on_the_way: VecDeque::new(),
        again: BTreeMap::new(),
        drains: false,
        context,
        params,
    };
    while !producer.is_done() {
        producer.turn().await;
    }
    producer.end();
}

impl Producer {
    fn is_done(&self) -> bool {
        let idle = self.on_the_way.is_empty() && self.again.is_empty();
        self.context.stop.is_given() || (self.operations.is_over() && idle)
    }

    /// Sends what may be sent, then waits for one answer.
    async fn turn(&mut self) {
        if self.idempotent && !self.lanes.has_producer_id() {
            match self.client.producer_id().await {
                Ok((id, epoch)) => self.lanes.begin(id, epoch),
                Err(_) => return self.client.back_off().await,
            }
        }
        let limit = usize::try_from(self.params.in_flight.clamp(1, 5)).expect("at most five");
        self.drains &= !self.on_the_way.is_empty();
        while self.on_the_way.len() < limit && !self.drains {
            let Some(batch) = self.next_batch().await else { break };
            if self.waits_for_the_first(&batch) {
                self.drains = true;
                self.again.insert(batch.op, batch);
                break;
            }
            if !self.send(batch).await {
                return;
            }
        }
        if !self.on_the_way.is_empty() {
            self.receive().await;
        }
    }

    /// A broker that knows nothing of a producer takes any sequence: were the first batch refused
    /// and a second one behind it taken, the first could never be written.
    fn waits_for_the_first(&self, batch: &Batch) -> bool {
        let partition = batch.place.partition;
        self.idempotent
            && !self.lanes.is_confirmed(&partition)
            && self.on_the_way.iter().any(|other| other.place.partition == partition)
    }

    /// The next one to send: one to try again, or a new one.
    async fn next_batch(&mut self) -> Option<Batch> {
        if let Some((_, batch)) = self.again.pop_first() {
            return Some(batch);
        }
        if self.idempotent && self.on_the_way.iter().any(|batch| batch.attempts > 1) {
            // Those behind it may be written already, and the broker remembers five batches: one
            // more, and it would not know this one again.
            return None;
        }
        // Answers come in the order of requests: Metadata is asked when nothing else is on the way.
        // Nor does an answer wait for an operation that is far.
        let is_busy = !self.on_the_way.is_empty();
        if is_busy && (self.known.is_stale() || !self.operations.is_near()) {
            return None;
        }
        if !self.operations.wait().await {
            return None;
        }
        if !self.known.refresh(&mut self.client, &self.params).await {
            self.client.back_off().await;
            return None;
        }
        let mut operation = self.operations.begin();
        let place = self.known.draw(&mut operation.draws);
        let stamps = Stamps::now(&self.context);
        Some(self.lanes.make(place, stamps, (&self.params, &mut operation)))
    }

    /// Sends one batch; whether the connection still stands.
    async fn send(&mut self, mut batch: Batch) -> bool {
        let acks = if self.idempotent { -1 } else { self.params.acks };
        let opened = self.client.connection().await.map(drop);
        batch.attempts += 1;
        batch.sent_on = self.client.connections_made();
        let call = Call::Produce(batch.call(acks));
        self.client.record(batch.op, EventKind::Invoke(call));
        let sent = match opened {
            Err(error) => Err(Trouble::NotSent(error)),
            Ok(()) => self.write(&batch, acks).await.map_err(Trouble::NotAnswered),
        };
        match sent {
            Ok(()) if acks == 0 => {
                let failure = Failure { code: None, why: "acks 0 has no answer".to_owned() };
                self.client.record(batch.op, EventKind::Info(failure));
                true
            }
            Ok(()) => {
                self.on_the_way.push_back(batch);
                true
            }
            Err(trouble) => {
                self.on_the_way.push_back(batch);
                self.lost(&trouble).await;
                false
            }
        }
    }

    async fn write(&mut self, batch: &Batch, acks: i16) -> Result<(), CallError> {
        let request = batch.request(acks, self.params.request_timeout_ms);
        let connection = self.client.connection().await?;
        match acks {
            0 => connection.send_only(&request).await,
            _ => connection.send(&request).await,
        }
    }

    /// Waits for the answer to the oldest batch on the way.
    async fn receive(&mut self) {
        let received = match self.client.connection().await {
            Ok(connection) => connection.receive::<ProduceRequest>().await,
            Err(error) => Err(error),
        };
        let answer = match received {
            Ok(answer) => read_answer(&answer),
            Err(error) => return self.lost(&Trouble::NotAnswered(error)).await,
        };
        let batch = self.on_the_way.pop_front().expect("its answer was awaited");
        match answer {
            Ok(reply) => {
                self.client.reset_backoff();
                self.lanes.confirm(batch.place.partition);
                self.client.record(batch.op, EventKind::Ok(reply));
            }
            Err(trouble) => self.refused(batch, &trouble).await,
        }
    }

    /// The connection is gone, and with it every answer.
    async fn lost(&mut self, trouble: &Trouble) {
        self.client.drop_it();
        while let Some(batch) = self.on_the_way.pop_front() {
            self.client.record(batch.op, trouble.event());
            if self.idempotent {
                self.again.insert(batch.op, batch);
            }
        }
        self.client.back_off().await;
    }

    async fn refused(&mut self, batch: Batch, trouble: &Trouble) {
        self.client.record(batch.op, trouble.event());
        let code = trouble.code().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
        let partition = batch.place.partition;
        if is_gone(code) {
            self.known.note_stale();
            self.lanes.forget(&partition);
            self.again.retain(|_, other| other.place.partition != partition);
            return;
        }
        let waits_here = |other: &Batch| other.place.partition == partition;
        let behind_another =
            code == ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER && self.again.values().any(waits_here);
        let definite = matches!(trouble, Trouble::Refused { definite: true, .. });
        let retry = match self.idempotent {
            true => {
                (is_retriable(code) || behind_another) && batch.attempts < IDEMPOTENT_ATTEMPTS_MAX
            }
            false => definite && is_retriable(code) && batch.attempts < PLAIN_ATTEMPTS_MAX,
        };
        if retry {
            self.drains = true;
            self.again.insert(batch.op, batch);
            if !behind_another {
                self.client.back_off().await;
            }
        } else if self.idempotent {
            // The sequence has a hole now: only another producer id can go on.
            self.start_over();
        }
    }

    fn start_over(&mut self) {
        self.client.drop_it();
        for batch in self.on_the_way.drain(..) {
            let failure = Failure { code: None, why: "given up with its producer id".to_owned() };
            self.client.record(batch.op, EventKind::Info(failure));
        }
        self.again.clear();
        self.lanes.end();
    }

    /// Nothing that is on the way will be answered; what waits to be sent again has said so.
    fn end(mut self) {
        for batch in self.on_the_way.drain(..) {
            let failure = Failure { code: None, why: STOPPED.to_owned() };
            self.client.record(batch.op, EventKind::Info(failure));
        }
    }
}

pub(crate) fn read_answer(answer: &ProduceResponse) -> Result<Reply, Trouble> {
    let row = answer.responses.first().and_then(|topic| topic.partition_responses.first());
    let row = row.ok_or_else(|| no_row("Produce"))?;
    match row.error_code.is_error() {
        true => Err(Trouble::of_write(row.error_code, row.error_message.as_deref())),
        false => {
            let (base_offset, log_start) = (row.base_offset, row.log_start_offset);
            Ok(Reply::Produced { base_offset, log_start })
        }
    }
}
