//! Native requests of a connection, on the same ways as Kafka's: publishing through the committer,
//! consuming and what waits for a group in tasks of their own, everything else at once.

use bytes::Bytes;
use rivven_core::wire::frame::{Call, Head};
use rivven_core::wire::limits;
use rivven_core::wire::request::Request;
use rivven_io::clock::Monotonic;

use super::group_queue::Place;
use super::outbox::{Answer, Turn};
use super::producing::Asker;
use super::{Connection, Refused};
use crate::memory::Charge;
use crate::native::consume::{Consume, Wish};
use crate::native::publish::Publish;
use crate::native::telling::{Protocol, split_number};
use crate::native::{self, Failure, Work};
use rivven_core::kafka::codec::error_code::ErrorCode;

impl Connection {
    pub(super) async fn handle_native(
        &self,
        (turn, frame, at): (Turn, Bytes, Monotonic),
        (protocol, call): (Protocol, Option<Call>),
        last_publish: &mut Option<Turn>,
    ) -> Result<(), Refused> {
        let (number, frame) = match protocol {
            Protocol::Numbered => {
                let (number, frame) = split_number(&frame).unwrap_or_default();
                (Some(number), frame)
            }
            _ => (None, frame),
        };
        if frame.len() > limits::FRAME_BYTES_MAX {
            self.refuse_native(Some(turn), frame.len());
            let turn = self.outbox.take_turn();
            self.outbox.send(turn, Answer::Close);
            return Ok(());
        }
        let call = match call {
            Some(call) => call,
            None => {
                // Memory may have run out while the request was waited for.
                self.account.settle(&self.node.env.clock).await?;
                match read(frame, number) {
                    Ok(call) => call,
                    Err((head, failure)) => {
                        let frame = self.session.refuse(head, &failure);
                        self.outbox.send(turn, Answer::Frame(frame));
                        return Ok(());
                    }
                }
            }
        };
        let decoded = self.account.charge_anyway(call.memory);
        if native::may_be_large(&call.request) {
            self.account.settle_whole(&self.node.env.clock).await?;
        }
        self.begin((turn, at), (call, decoded), last_publish).await;
        Ok(())
    }

    async fn begin(
        &self,
        (turn, at): (Turn, Monotonic),
        (call, decoded): (Call, Charge),
        last_publish: &mut Option<Turn>,
    ) {
        let asker = self.session.asker(&call, at);
        let work = Work::from(call.request);
        if work.sees_appends() {
            self.after(last_publish).await;
        }
        match work {
            Work::Publish(publish) => {
                *last_publish = Some(turn);
                self.publish((turn, at), asker, (publish, decoded)).await;
            }
            Work::Consume(wish) => self.consume(turn, asker, (wish, decoded)).await,
            Work::Other(request) => {
                let group = native::group_in_order(&request);
                let waits = native::waits_for_group(&request);
                match group.filter(|group| waits || self.groups.is_busy(group)) {
                    Some(group) => {
                        let place = self.groups.enter(group);
                        self.answer_in_group((turn, place), asker, (request, decoded));
                    }
                    None => {
                        let outcome = self.session.answer(request).await;
                        self.outbox.send(turn, Answer::Frame(asker.answer(&self.node, outcome)));
                    }
                }
            }
        }
    }

    /// Answers from a task, when those before it in its group are done: the reader goes on with
    /// heartbeats and other groups, and sees the client go.
    fn answer_in_group(
        &self,
        (turn, mut place): (Turn, Place),
        asker: native::Asker,
        (request, decoded): (Request, Charge),
    ) {
        let (node, session, outbox, ending) =
            (self.node.clone(), self.session.clone(), self.outbox.clone(), self.ending.clone());
        self.waiting.spawn(&self.node.env, "group", async move {
            place.come().await;
            let waits = native::waits_for_group(&request);
            let outcome = tokio::select! {
                biased;
                outcome = session.answer(request) => outcome,
                () = ending.wait(), if waits => Err(Failure::new(
                    ErrorCode::REBALANCE_IN_PROGRESS,
                    "the connection ended before the group was ready",
                )),
            };
            drop(decoded);
            outbox.send(turn, Answer::Frame(asker.answer(&node, outcome)));
            drop(place);
        });
    }

    async fn publish(
        &self,
        (turn, at): (Turn, Monotonic),
        asker: native::Asker,
        (publish, decoded): (Publish, Charge),
    ) {
        let acks = publish.acks;
        match publish.prepare(&self.session, &self.account, asker).await {
            Ok((request, publisher)) => {
                self.producing.produce((turn, at), Asker::Native(publisher), (request, decoded));
            }
            // Who asked for no answer learns of the error by the end of the connection.
            Err(failure) => {
                let frame = asker.answer(&self.node, Err(failure));
                let answer = if acks == 0 { Answer::Close } else { Answer::Frame(frame) };
                self.outbox.send(turn, answer);
            }
        }
    }

    /// Answers at once if there is something to answer, else from a task of its own.
    async fn consume(&self, turn: Turn, asker: native::Asker, (wish, decoded): (Wish, Charge)) {
        let (node, outbox) = (self.node.clone(), self.outbox.clone());
        let finish = move |outcome: Result<Consume, Failure>| {
            let frame = asker.answer(&node, outcome.map(Consume::finish));
            drop(decoded);
            outbox.send(turn, Answer::Frame(frame));
        };
        let begun = Consume::new(self.node.clone(), self.account.clone(), wish);
        let mut consume = match begun {
            Ok(consume) => consume,
            Err(failure) => return finish(Err(failure)),
        };
        match consume.try_complete().await {
            Ok(true) => finish(Ok(consume)),
            Ok(false) => {
                let ending = self.ending.clone();
                self.waiting.spawn(&self.node.env, "consume", async move {
                    let waited = consume.wait(&ending).await;
                    finish(waited.map(|()| consume));
                });
            }
            Err(failure) => finish(Err(failure)),
        }
    }

    /// The last words to a client whose frame is too long to be read.
    pub(super) fn refuse_native(&self, turn: Option<Turn>, bytes: usize) {
        let limit = limits::FRAME_BYTES_MAX.min(self.node.config.max_request_size);
        let text = format!("a frame of {bytes} bytes is over the limit of {limit}");
        let failure = Failure::new(ErrorCode::MESSAGE_TOO_LARGE, text);
        let turn = turn.unwrap_or_else(|| self.outbox.take_turn());
        self.outbox.send(turn, Answer::Frame(self.session.refuse(Head::UNKNOWN, &failure)));
    }
}

/// The request in a frame; else the head of the answer, and what it says.
fn read(frame: Bytes, number: Option<u64>) -> Result<Call, (Head, Failure)> {
    let split = Head::split(frame);
    let head = split.as_ref().map_or(Head::UNKNOWN, |(head, _)| *head);
    let head = Head { number, ..head };
    let call = split.and_then(|(_, message)| head.call(message));
    call.map_err(|error| (head, Failure::from(error)))
}
