//! Produce requests of one connection on their way through the log: the committer reports each
//! batch here, and the last one of a request makes its answer ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rivven_core::storage::error::AppendError;
use rivven_core::storage::shared::{AppendRequest, AppendSink, Appended};
use rivven_io::clock::Monotonic;

use super::outbox::{Answer, Outbox, Turn};
use crate::api::errors::append_error;
use crate::api::produce::{PlannedAppend, Produced, plan};
use crate::memory::{Account, Charge};
use crate::metrics::TopicCounters;
use crate::native::publish::{PRODUCE_VERSION, Publisher};
use crate::node::Node;
use rivven_core::kafka::codec::api::ApiKey;
use rivven_core::kafka::codec::frame::encode_response;
use rivven_core::kafka::messages::produce::{ProduceRequest, ProduceResponse};

/// Bits of a token that tell the batches of one request apart; a frame has no room for more.
const ROW_BITS: u32 = 24;

pub(crate) struct Producing {
    node: Arc<Node>,
    account: Arc<Account>,
    outbox: Arc<Outbox>,
    pending: Mutex<BTreeMap<Turn, Pending>>,
}

/// Who asked, and so how the answer is written.
pub(crate) enum Asker {
    Kafka { correlation_id: i32, api_version: i16 },
    Native(Publisher),
}

/// A request with batches that are not in the log yet.
struct Pending {
    asker: Asker,
    acks: i16,
    at: Monotonic,
    response: ProduceResponse,
    rows: Vec<Row>,
    remaining: usize,
    /// Whether the log had the batches already.
    duplicate: bool,
    /// What the request's arrays took, and its answer takes.
    _decoded: Charge,
}

/// One batch: its place in the response, and what it counts for.
struct Row {
    topic: usize,
    partition: usize,
    append_time_ms: i64,
    records: u64,
    bytes: u64,
    counters: Arc<TopicCounters>,
}

impl Producing {
    pub(crate) fn new(node: Arc<Node>, account: Arc<Account>, outbox: Arc<Outbox>) -> Producing {
        Producing { node, account, outbox, pending: Mutex::new(BTreeMap::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Turn, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a request's batches to the log, in its order; never waits.
    pub(crate) fn produce(
        self: &Arc<Producing>,
        (turn, at): (Turn, Monotonic),
        asker: Asker,
        (request, decoded): (ProduceRequest, Charge),
    ) {
        let acks = request.acks;
        let api_version = match &asker {
            Asker::Kafka { api_version, .. } => *api_version,
            Asker::Native(_) => PRODUCE_VERSION,
        };
        let Produced { response, appends } = plan(&self.node, &self.account, api_version, request);
        let mut pending = Pending {
            asker,
            acks,
            at,
            response,
            rows: appends.iter().map(Row::new).collect(),
            remaining: appends.len(),
            duplicate: false,
            _decoded: decoded,
        };
        if appends.is_empty() {
            let answer = self.answer(&mut pending);
            return self.outbox.send(turn, answer);
        }
        // Outcomes may come before the last batch is handed over.
        self.lock().insert(turn, pending);
        for (row, append) in (0u64..).zip(appends) {
            self.node.storage.append(AppendRequest {
                partition: append.partition,
                batch: append.batch,
                header: append.header,
                sink: self.clone(),
                token: turn.0 << ROW_BITS | row,
            });
        }
    }

    fn answer(&self, pending: &mut Pending) -> Answer {
        let rows = pending.response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let errors = rows.map(|row| row.error_code).filter(|code| code.is_error());
        let has_error = errors.clone().next().is_some();
        let took = self.node.env.clock.now().since(pending.at);
        match &pending.asker {
            Asker::Kafka { .. } => {
                errors.for_each(|code| self.node.metrics.note_error(ApiKey::Produce, code));
                self.node.metrics.note_request(ApiKey::Produce as i16, took);
            }
            Asker::Native(_) if pending.acks != 0 => {}
            Asker::Native(publisher) => {
                publisher.note_silent(&self.node, errors.last().unwrap_or_default());
            }
        }
        match pending.acks {
            0 if has_error => {
                tracing::info!(
                    connection = self.account.id(),
                    "closing connection: a batch sent with acks=0 was refused"
                );
                Answer::Close
            }
            0 => Answer::Silent,
            _ => Answer::Frame(match &pending.asker {
                Asker::Kafka { correlation_id, api_version } => {
                    encode_response(*correlation_id, *api_version, &pending.response)
                }
                Asker::Native(publisher) => {
                    publisher.answer(&self.node, &pending.response, pending.duplicate)
                }
            }),
        }
    }
}

impl AppendSink for Producing {
    fn appended(&self, token: u64, outcome: Result<Appended, AppendError>) {
        let turn = Turn(token >> ROW_BITS);
        let row = usize::try_from(token & ((1 << ROW_BITS) - 1)).expect("24 bits fit usize");
        let mut all = self.lock();
        let pending = all.get_mut(&turn).expect("a request is pending until its last outcome");
        pending.settle(row, outcome);
        pending.remaining -= 1;
        if pending.remaining > 0 {
            return;
        }
        let mut pending = all.remove(&turn).expect("it was found above");
        drop(all);
        let answer = self.answer(&mut pending);
        self.outbox.complete(turn, answer);
    }

    fn flush(&self) {
        self.outbox.flush();
    }
}

impl Row {
    fn new(append: &PlannedAppend) -> Row {
        Row {
            topic: append.topic_row,
            partition: append.partition_row,
            append_time_ms: append.append_time_ms,
            records: u64::try_from(append.header.count).expect("a valid batch has records"),
            bytes: append.batch.len() as u64,
            counters: append.counters.clone(),
        }
    }
}

impl Pending {
    fn settle(&mut self, row: usize, outcome: Result<Appended, AppendError>) {
        let row = &self.rows[row];
        let topic = &mut self.response.responses[row.topic];
        let response = &mut topic.partition_responses[row.partition];
        match outcome {
            Ok(appended) => {
                response.base_offset = appended.base_offset.0;
                response.log_start_offset = appended.log_start.0;
                response.log_append_time_ms = row.append_time_ms;
                self.duplicate |= appended.duplicate;
                if !appended.duplicate {
                    row.counters.add(row.records, row.bytes);
                }
            }
            Err(error) => {
                response.error_code = append_error(&error);
                response.base_offset = -1;
                response.error_message = Some(error.to_string().into());
            }
        }
    }
}

const _: () = assert!(crate::limits::FRAME_BYTES_MAX / 8 < 1 << ROW_BITS);
