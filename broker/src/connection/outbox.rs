//! The answers of one connection, in the order of its requests.
//!
//! Any thread may complete an answer; whoever makes the next one ready writes what is ready, and
//! never waits: what does not fit the socket is left to the connection's own task.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use rivven_io::Env;
use rivven_io::net::StreamWriter;
use tokio::sync::Notify;

use crate::limits::{ANSWER_BYTES_WAITING_MAX, WRITE_PIECES_MAX, WRITE_STALL_MAX};
use crate::memory::{Account, Charge};

/// A request's place in the order of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(pub(crate) u64);

/// What a request leads to.
pub(crate) enum Answer {
    /// A frame in pieces.
    Frame(Vec<Bytes>),
    /// None: Produce with acks=0.
    Silent,
    /// The end of the connection, after the answers before it.
    Close,
}

pub(crate) struct Outbox {
    writer: StreamWriter,
    env: Env,
    account: Arc<Account>,
    /// Requests that are read and not answered.
    in_flight_max: usize,
    state: Mutex<State>,
    /// Wakes the connection's task: the socket is full, or the connection has ended.
    blocked: Notify,
    /// Wakes the reader: there may be room for another request, or an answer that it waits for.
    progress: Notify,
}

struct State {
    /// Turn of the first slot.
    head: u64,
    slots: VecDeque<Option<Answer>>,
    /// Ready bytes in order, each with its charge.
    ready: VecDeque<Bytes>,
    ready_bytes: usize,
    /// Somebody writes, without the lock.
    is_writing: bool,
    /// The socket is full.
    is_blocked: bool,
    /// Nothing follows what is ready.
    is_ending: bool,
    has_ended: bool,
}

impl Outbox {
    pub(crate) fn new(
        env: Env,
        writer: StreamWriter,
        account: Arc<Account>,
        in_flight_max: usize,
    ) -> Outbox {
        let state = State {
            head: 0,
            slots: VecDeque::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            is_writing: false,
            is_blocked: false,
            is_ending: false,
            has_ended: false,
        };
        Outbox {
            writer,
            env,
            account,
            in_flight_max,
            state: Mutex::new(state),
            blocked: Notify::new(),
            progress: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request's place. The caller asked for [`Outbox::room`] before.
    pub(crate) fn take_turn(&self) -> Turn {
        let mut state = self.lock();
        state.slots.push_back(None);
        Turn(state.head + state.slots.len() as u64 - 1)
    }

    /// Gives a request its answer. Nothing is written before [`Outbox::flush`].
    pub(crate) fn complete(&self, turn: Turn, answer: Answer) {
        let answer = self.charge(answer);
        let mut state = self.lock();
        let index = turn.0.checked_sub(state.head).and_then(|index| usize::try_from(index).ok());
        let index = index.expect("an answer is given once, so its turn has not passed");
        let slot = state.slots.get_mut(index).expect("the turn was taken");
        assert!(slot.is_none(), "turn {} is answered twice", turn.0);
        *slot = Some(answer);
        state.promote();
        self.progress.notify_one();
    }

    /// [`Outbox::complete`] and [`Outbox::flush`].
    pub(crate) fn send(&self, turn: Turn, answer: Answer) {
        self.complete(turn, answer);
        self.flush();
    }

    /// Charges the pieces of a frame but those that carry a charge already: record data.
    fn charge(&self, answer: Answer) -> Answer {
        let Answer::Frame(mut pieces) = answer else { return answer };
        if let Some(first) = pieces.first_mut() {
            let charge: Charge = self.account.charge_anyway(first.len());
            *first = Arc::new(charge).hold(std::mem::take(first));
        }
        Answer::Frame(pieces)
    }

    /// Writes what is ready and fits the socket, without waiting. If somebody writes already, that
    /// one goes on until nothing is ready.
    pub(crate) fn flush(&self) {
        loop {
            let mut pieces = {
                let mut state = self.lock();
                if state.is_writing || state.is_blocked || state.has_ended {
                    return;
                }
                if state.ready.is_empty() {
                    if state.is_ending {
                        self.end(&mut state);
                    }
                    return;
                }
                state.is_writing = true;
                std::mem::take(&mut state.ready)
            };
            let outcome = self.write(&mut pieces);
            let mut state = self.lock();
            state.is_writing = false;
            if state.has_ended {
                // Meanwhile, by another task.
                return;
            }
            // What became ready meanwhile says nothing of the socket.
            let is_full = !pieces.is_empty();
            state.give_back(pieces);
            match outcome {
                Ok(written) => {
                    state.ready_bytes -= written;
                    if !is_full {
                        self.account.set_writing_since(None);
                    } else {
                        rivven_io::probe!("answer_waits_for_its_reader");
                        state.is_blocked = true;
                        self.account.set_writing_since(Some(self.env.clock.now()));
                        self.blocked.notify_one();
                    }
                    self.progress.notify_one();
                }
                Err(error) => {
                    tracing::debug!(connection = self.account.id(), %error, "write failed");
                    self.end(&mut state);
                }
            }
        }
    }

    /// Writes until nothing is left or the socket is full; the bytes written.
    fn write(&self, pieces: &mut VecDeque<Bytes>) -> io::Result<usize> {
        let mut total = 0;
        while !pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_PIECES_MAX];
            let count = pieces.len().min(WRITE_PIECES_MAX);
            for (slice, piece) in slices.iter_mut().zip(pieces.iter()) {
                *slice = IoSlice::new(piece);
            }
            match self.writer.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(written) => {
                    total += written;
                    skip(pieces, written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn end(&self, state: &mut State) {
        state.has_ended = true;
        state.ready.clear();
        state.ready_bytes = 0;
        self.blocked.notify_one();
        self.progress.notify_one();
    }

    /// Ends the connection now, whatever is unanswered.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        self.end(&mut state);
    }

    /// Writes whenever the socket was full and takes bytes again; returns when the connection has
    /// ended, or its client does not read.
    pub(crate) async fn drive(&self) {
        loop {
            self.blocked.notified().await;
            loop {
                let (has_ended, is_blocked) = {
                    let state = self.lock();
                    (state.has_ended, state.is_blocked)
                };
                if has_ended {
                    return;
                }
                if !is_blocked {
                    break;
                }
                let writable = self.env.clock.timeout(WRITE_STALL_MAX, self.writer.writable());
                if !matches!(writable.await, Ok(Ok(()))) {
                    return self.abandon();
                }
                self.lock().is_blocked = false;
                self.flush();
            }
        }
    }

    /// Waits until another request may be read.
    pub(crate) async fn room(&self) {
        self.until(|state| {
            let is_full = state.slots.len() >= self.in_flight_max;
            if is_full {
                rivven_io::probe!("connection_takes_no_more");
            }
            state.has_ended || !is_full && state.ready_bytes < ANSWER_BYTES_WAITING_MAX
        })
        .await;
    }

    /// Waits until every request is answered and the answers are with the socket.
    pub(crate) async fn empty(&self) {
        self.until(|state| state.has_ended || state.slots.is_empty() && state.ready_bytes == 0)
            .await;
    }

    /// Waits until this turn's answer has been given, whether or not its turn has come.
    pub(crate) async fn answered(&self, turn: Turn) {
        self.until(|state| state.has_ended || state.is_answered(turn)).await;
    }

    /// Only the connection's reader waits, so one stored wake-up is enough.
    async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            if condition(&self.lock()) {
                return;
            }
            self.progress.notified().await;
        }
    }
}

impl State {
    fn is_answered(&self, turn: Turn) -> bool {
        let index = turn.0.checked_sub(self.head);
        index.is_none_or(|index| {
            let index = usize::try_from(index).expect("there are few slots");
            self.slots.get(index).is_some_and(Option::is_some)
        })
    }

    /// Moves answers whose turn has come to the ready bytes.
    fn promote(&mut self) {
        while let Some(answer) = self.slots.front_mut().and_then(Option::take) {
            self.slots.pop_front();
            self.head += 1;
            if self.is_ending || self.has_ended {
                continue;
            }
            match answer {
                Answer::Frame(pieces) => {
                    self.ready_bytes += pieces.iter().map(Bytes::len).sum::<usize>();
                    self.ready.extend(pieces);
                }
                Answer::Silent => {}
                Answer::Close => self.is_ending = true,
            }
        }
    }

    /// Puts pieces that were not written before those that became ready meanwhile.
    fn give_back(&mut self, mut pieces: VecDeque<Bytes>) {
        if self.has_ended || pieces.is_empty() {
            return;
        }
        pieces.append(&mut self.ready);
        self.ready = pieces;
    }
}

/// Drops the first `count` bytes.
fn skip(pieces: &mut VecDeque<Bytes>, mut count: usize) {
    while let Some(first) = pieces.front_mut() {
        if first.len() > count {
            first.advance(count);
            return;
        }
        count -= first.len();
        pieces.pop_front();
    }
    assert_eq!(count, 0, "no more is written than there was");
}

#[cfg(test)]
mod tests;
