//! Fetch: whole batches from any number of partitions, at once or when there are enough of them.
//!
//! A request that continues a session (KIP-227) is worked on as if it named all that the session's
//! client wants; the answer leaves out the partitions of which there is nothing new to say.

mod rows;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rivven_core::ids::Offset;
use rivven_core::record::batches::Batches;
use rivven_core::storage::error::ReadError;
use rivven_core::storage::partition::Watch;
use rivven_core::storage::read::{ReadAnswer, ReadRequest};
use rivven_io::clock::Monotonic;
use tokio::sync::Notify;

use super::errors::read_error;
use crate::fetch_sessions::cache::{Begun, Opening, SessionAt};
use crate::limits::{FETCH_WAIT_MAX, LARGE_FRAME_BYTES};
use crate::memory::{Account, Charge, Class};
use crate::node::Node;
use rivven_core::kafka::codec::api::ApiKey;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::frame::encode_response;
use rivven_core::kafka::messages::fetch::{FetchRequest, FetchResponse};
use rows::{AnsweredRow, Known, Row, response, rows};

/// A Fetch that is being answered.
pub(crate) struct Fetch {
    node: Arc<Node>,
    account: Arc<Account>,
    api_version: i16,
    isolation_level: i8,
    session: SessionUse,
    /// Of the whole request; the rows are empty then.
    error_code: ErrorCode,
    rows: Vec<Row>,
    bytes: usize,
    bytes_min: usize,
    bytes_max: usize,
    deadline: Monotonic,
    /// Whether a read of this request has given way to commits.
    has_given_way: bool,
}

/// What the answer means for a session.
#[derive(Clone, Copy, Debug)]
enum SessionUse {
    None,
    Opens,
    Continues(SessionAt),
}

/// Whether a pass over the partitions read all that it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Complete,
    /// Memory or the disk would have had to be waited for.
    WouldWait,
}

impl Fetch {
    pub(crate) fn new(
        node: Arc<Node>,
        account: Arc<Account>,
        api_version: i16,
        mut request: FetchRequest,
    ) -> Fetch {
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let now = node.env.clock.now();
        let begun = node.fetch_sessions.with(|cache| cache.begin(now, api_version, &request));
        let (session, error_code) = match begun {
            Begun::Without => (SessionUse::None, ErrorCode::NONE),
            Begun::Opens => (SessionUse::Opens, ErrorCode::NONE),
            Begun::Continues { at, topics } => {
                request.topics = topics;
                (SessionUse::Continues(at), ErrorCode::NONE)
            }
            Begun::Refused(error_code) => (SessionUse::None, error_code),
        };
        let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0);
        let bytes_max = bytes_max.min(node.config.fetch_max_bytes);
        let rows =
            if error_code.is_error() { Vec::new() } else { rows(&node, api_version, &request) };
        Fetch {
            deadline: now.after(wait.min(FETCH_WAIT_MAX)),
            node,
            account,
            api_version,
            isolation_level: request.isolation_level,
            session,
            error_code,
            rows,
            bytes: 0,
            bytes_min: usize::try_from(request.min_bytes).unwrap_or(0).min(bytes_max.max(1)),
            bytes_max,
            has_given_way: false,
        }
    }

    /// Reads what needs no waiting; whether that makes the answer.
    pub(crate) async fn try_complete(&mut self) -> bool {
        self.collect(false).await == Pass::Complete && self.is_done()
    }

    /// Waits until the answer is complete, its time is up, or the broker stops.
    pub(crate) async fn wait(&mut self) {
        let wake = Arc::new(Notify::new());
        let _watches: Vec<Watch> =
            self.rows.iter().filter_map(Row::known).map(|row| row.partition.watch(&wake)).collect();
        let node = self.node.clone();
        loop {
            self.collect(true).await;
            if self.is_done() || node.stop.is_set() {
                return;
            }
            let left = self.deadline.since(node.env.clock.now());
            tokio::select! {
                biased;
                () = node.stop.wait() => return,
                woken = node.env.clock.timeout(left, wake.notified()) => {
                    if woken.is_err() {
                        self.rows.iter_mut().for_each(Row::refresh);
                        return;
                    }
                }
            }
        }
    }

    /// The frame to send.
    pub(crate) fn finish(self, correlation_id: i32, at: Monotonic) -> Vec<Bytes> {
        let (node, api_version) = (self.node.clone(), self.api_version);
        let response = self.into_response();
        let rows = response.responses.iter().flat_map(|topic| &topic.partitions);
        let errors = rows.map(|row| row.error_code).chain([response.error_code]);
        for code in errors.filter(|code| code.is_error()) {
            node.metrics.note_error(ApiKey::Fetch, code);
        }
        node.metrics.note_request(ApiKey::Fetch as i16, node.env.clock.now().since(at));
        encode_response(correlation_id, api_version, &response)
    }

    /// The answer, which counts what it gives.
    pub(crate) fn into_response(mut self) -> FetchResponse {
        let rows = std::mem::take(&mut self.rows);
        let rows = rows.into_iter().map(|row| row.answered(self.isolation_level)).collect();
        let (head, rows) = match self.note_session(rows) {
            Ok((session_id, rows)) => ((self.error_code, session_id), rows),
            Err(error_code) => ((error_code, 0), Vec::new()),
        };
        self.node.metrics.note_fetched(self.bytes);
        response(head, rows)
    }

    /// Tells the session what its client is about to learn; its id, 0 for none, and the rows that
    /// the answer names.
    fn note_session(
        &self,
        mut rows: Vec<AnsweredRow>,
    ) -> Result<(i32, Vec<AnsweredRow>), ErrorCode> {
        let sessions = &self.node.fetch_sessions;
        match self.session {
            SessionUse::None => Ok((0, rows)),
            SessionUse::Opens => {
                let opening = Opening {
                    now: self.node.env.clock.now(),
                    api_version: self.api_version,
                    random: self.node.env.rng.u64(),
                };
                let told = rows.iter().map(AnsweredRow::told);
                Ok((sessions.with(|cache| cache.open(opening, told)), rows))
            }
            SessionUse::Continues(at) => {
                let told = rows.iter().map(AnsweredRow::told);
                let mut named = sessions.with(|cache| cache.answer(at, told))?.into_iter();
                rows.retain(|_| named.next().expect("one for each row"));
                Ok((at.id, rows))
            }
        }
    }

    /// Nothing more has to be waited for: KIP-74's limits, an error of a partition that exists, no
    /// partition that could get data, or no time left.
    fn is_done(&self) -> bool {
        let mut known = self.rows.iter().filter(|row| row.known().is_some()).peekable();
        self.error_code.is_error()
            || self.bytes >= self.bytes_min
            || known.peek().is_none()
            || known.any(|row| row.error_code.is_error())
            || self.node.env.clock.now() >= self.deadline
    }

    async fn collect(&mut self, may_wait: bool) -> Pass {
        // Rows that the limit leaves nothing for tell where their logs stand, too.
        self.rows.iter_mut().for_each(Row::refresh);
        for index in 0..self.rows.len() {
            if self.bytes > 0 && self.bytes >= self.bytes_max {
                break;
            }
            if !self.rows[index].has_more() {
                continue;
            }
            if self.read_row(index, may_wait).await == Pass::WouldWait {
                return Pass::WouldWait;
            }
        }
        Pass::Complete
    }

    async fn read_row(&mut self, index: usize, may_wait: bool) -> Pass {
        let left = self.bytes_max.saturating_sub(self.bytes);
        let at_least_one = self.bytes == 0;
        let Some(known) = self.rows[index].known() else { return Pass::Complete };
        let wanted = known.bytes_left().min(left);
        let largest = known.partition.config().max_message_bytes;
        let stored = usize::try_from(known.partition.bytes()).unwrap_or(usize::MAX);
        let needed = if at_least_one { wanted.max(largest).min(stored.max(1)) } else { wanted };
        if needed == 0 {
            return Pass::Complete;
        }
        if may_wait && known.partition.is_behind_tail(known.next) && !self.give_way().await {
            return Pass::Complete;
        }
        let Some(charge) = self.charge(needed.min(stored.max(1)), may_wait).await else {
            return Pass::WouldWait;
        };
        let known = self.rows[index].known().expect("it was above");
        let request = ReadRequest {
            from: known.next,
            bytes_max: wanted.min(charge.bytes()),
            at_least_one,
            cold: may_wait,
        };
        let read = self.node.storage.read(&known.partition, request).await;
        self.take(index, charge, read)
    }

    /// Waits until commits leave time for a read from the disk. One read of a request always gets
    /// its turn. `false`: there is enough to answer with, and the next request may wait for this.
    async fn give_way(&mut self) -> bool {
        let storage = self.node.storage.clone();
        if self.has_given_way && self.has_enough() && !storage.reads_rest().is_zero() {
            return false;
        }
        self.has_given_way = true;
        storage.give_way().await;
        true
    }

    fn has_enough(&self) -> bool {
        self.bytes > 0 && (self.is_done() || self.node.stop.is_set())
    }

    /// Memory for `wanted` bytes of records, or for less if there is little. When none comes free
    /// in time, the answer goes out with what it has.
    async fn charge(&self, wanted: usize, may_wait: bool) -> Option<Charge> {
        let class = |bytes| if bytes > LARGE_FRAME_BYTES { Class::Large } else { Class::Small };
        let mut bytes = wanted;
        loop {
            if let Some(charge) = self.account.try_charge(bytes, class(bytes)) {
                return Some(charge);
            }
            if bytes <= READ_BYTES_LEAST {
                break;
            }
            bytes = (bytes / 2).max(READ_BYTES_LEAST);
        }
        if !may_wait {
            return None;
        }
        self.account.charge(bytes, class(bytes), &self.node.env.clock).await.ok()
    }

    fn take(
        &mut self,
        index: usize,
        mut charge: Charge,
        read: Result<ReadAnswer, ReadError>,
    ) -> Pass {
        let row = &mut self.rows[index];
        let answer = match read {
            Ok(answer) if answer.would_wait => return Pass::WouldWait,
            Ok(answer) => answer,
            Err(error) => {
                row.fail(read_error(&error));
                return Pass::Complete;
            }
        };
        let bytes: usize = answer.data.iter().map(Bytes::len).sum();
        // A batch beyond the limits of today was allowed when it was stored.
        let beyond = bytes.saturating_sub(charge.bytes());
        charge.shrink_to(bytes);
        let charge = Arc::new(charge);
        let beyond = (beyond > 0).then(|| Arc::new(self.account.charge_anyway(beyond)));
        row.take(&answer, |piece| {
            let piece = charge.clone().hold(piece);
            beyond.clone().map_or(piece.clone(), |beyond| beyond.hold(piece))
        });
        self.bytes += bytes;
        Pass::Complete
    }
}

/// Least memory that a read tries to get: a usual batch.
const READ_BYTES_LEAST: usize = 64 << 10;

/// Offset after the last batch of `data`, which holds whole ones.
fn end_of(data: &[Bytes]) -> Option<Offset> {
    let last = Batches::new(data.last()?).filter_map(Result::ok).last()?;
    Some(last.header.last_offset().plus(1))
}

impl Known {
    fn bytes_left(&self) -> usize {
        self.bytes_max.saturating_sub(self.records.len())
    }
}
