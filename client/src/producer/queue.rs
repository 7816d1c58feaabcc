//! The batches of one partition: which may be sent, and with which sequence.
//!
//! Sequences (KIP-98) make the broker write each batch once and in order. At most as many batches
//! are under way as it remembers, and all to one leader; until it has confirmed one, a single one,
//! because a broker that knows nothing of a producer takes any sequence. A batch that must be sent
//! again goes alone and keeps its sequence. When the broker says that what came before the lowest
//! batch is missing, neither that one nor any behind it is written: they begin a new epoch at
//! sequence 0.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rivven_core::ids::{ProducerId, TopicId};
use rivven_core::record::header::stamp_producer;
use rivven_io::clock::Monotonic;

use super::batch::{Batch, Contents, Number};
use super::config::ProducerConfig;
use super::split;
use crate::error::Error;

/// Batches of a producer that a broker remembers.
const REMEMBERED: usize = 5;
/// How long a broker is trusted to remember a producer that is silent.
const CONFIRMED_FOR: Duration = Duration::from_secs(600);

pub(super) struct Queue {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// In the order of their numbers; only the last may be open.
    pub(super) waiting: VecDeque<Batch>,
    /// In the order in which they were sent.
    pub(super) in_flight: VecDeque<Batch>,
    /// Not to be sent before.
    pub(super) not_before: Option<Monotonic>,
    pub(super) failures: u32,
    /// Topic and leader that batches went to.
    place: (TopicId, i32),
    /// Producer id and epoch of the sequences.
    identity: Option<(ProducerId, i16)>,
    next_sequence: i32,
    confirmed: Option<Monotonic>,
    /// Bytes of a batch, before they are packed, that the topic may take: larger ones were refused.
    taken_at: usize,
}

impl Queue {
    pub(super) fn new(topic: Arc<str>, partition: i32) -> Queue {
        Queue {
            topic,
            partition,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            not_before: None,
            failures: 0,
            place: (TopicId::NIL, -1),
            identity: None,
            next_sequence: 0,
            confirmed: None,
            taken_at: usize::MAX,
        }
    }

    /// Bytes at which a batch is full.
    pub(super) fn full_at(&self, config: &ProducerConfig) -> usize {
        config.batch_bytes.min(self.taken_at)
    }

    /// Whether the first batch waits for no more records.
    pub(super) fn is_due(&self, now: Monotonic, full_at: usize) -> bool {
        let Some(first) = self.waiting.front() else { return false };
        let is_whole = self.waiting.len() > 1 || first.attempts > 0;
        is_whole || first.due <= now || first.size() >= full_at
    }

    /// Whether the first batch may be sent now, as far as this partition is concerned. `place` is
    /// where it would go, if that is known.
    pub(super) fn may_send(
        &self,
        (now, place): (Monotonic, Option<(TopicId, i32)>),
        idempotent: bool,
    ) -> bool {
        let Some(first) = self.waiting.front() else { return false };
        if self.not_before.is_some_and(|at| now < at) {
            return false;
        }
        if place.is_some_and(|place| place != self.place) && !self.in_flight.is_empty() {
            // What is under way elsewhere may have to be sent again, and comes first.
            return false;
        }
        let trusted = self.confirmed.is_some_and(|at| now.since(at) < CONFIRMED_FOR);
        let allowed = match first.attempts == 0 && idempotent && trusted {
            true => REMEMBERED,
            false => 1,
        };
        self.in_flight.len() < allowed
    }

    /// Takes the first batch to be sent, numbered as it must be.
    pub(super) fn take(
        &mut self,
        place: (TopicId, i32),
        identity: Option<(ProducerId, i16)>,
    ) -> &mut Batch {
        if self.place.0 != place.0 {
            // Another topic of the same name knows nothing of this producer.
            self.confirmed = None;
            self.taken_at = usize::MAX;
        }
        self.place = place;
        if let Some(identity) = identity {
            self.number(identity);
        }
        let mut batch = self.waiting.pop_front().expect("a batch waits");
        batch.attempts += 1;
        assert!(batch.count > 0, "an empty batch is not sent");
        self.in_flight.push_back(batch);
        self.in_flight.back_mut().expect("it was pushed")
    }

    fn number(&mut self, base: (ProducerId, i16)) {
        let is_refused = self.waiting.front().is_some_and(|first| first.is_refused);
        // All that was sent has ended without success: whoever knows nothing of this producer would
        // take any sequence.
        let is_unknown = self.confirmed.is_none()
            && self.next_sequence > 0
            && self.in_flight.is_empty()
            && self.waiting.iter().all(|batch| batch.sequence.is_none());
        if is_refused || is_unknown {
            assert!(self.in_flight.is_empty(), "a batch that is sent again goes alone");
            self.begin_epoch(base);
        }
        let identity = *self.identity.get_or_insert(base);
        let first = self.waiting.front_mut().expect("a batch waits");
        if first.sequence.is_none() {
            first.sequence = Some(self.next_sequence);
            self.next_sequence = sequence_after(self.next_sequence, first.count);
        }
        let sequence = first.sequence.expect("it was given above");
        if let Contents::Built(bytes) = &mut first.contents
            && first.is_outdated
        {
            let mut batch = bytes.to_vec();
            stamp_producer(&mut batch, identity, sequence);
            *bytes = batch.into();
            first.is_outdated = false;
        }
    }

    /// None of the batches that wait is written, so that they may be numbered anew; but for those
    /// of which a copy may be on its way, which could then be written twice.
    fn begin_epoch(&mut self, base: (ProducerId, i16)) {
        self.identity = match self.identity {
            Some((id, epoch)) if epoch < i16::MAX => Some((id, epoch + 1)),
            _ => Some(base),
        };
        self.next_sequence = 0;
        self.confirmed = None;
        let name = self.name();
        let (uncertain, waiting): (VecDeque<Batch>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(|batch| batch.is_uncertain);
        self.waiting = waiting;
        uncertain.into_iter().for_each(|batch| batch.fail(&name, missing()));
        for batch in self.waiting.iter_mut().filter(|batch| batch.sequence.is_some()) {
            batch.sequence = None;
            batch.is_refused = false;
            batch.is_outdated = true;
        }
    }

    /// Whether no epoch of this producer id is left to begin.
    pub(super) fn has_used_up(&self, id: ProducerId) -> bool {
        self.identity == Some((id, i16::MAX))
    }

    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }

    pub(super) fn identity(&self) -> Option<(ProducerId, i16)> {
        self.identity
    }

    /// Takes back the batch that an answer is for. `None`: it has ended meanwhile.
    pub(super) fn answered(&mut self, number: Number) -> Option<Batch> {
        let at = self.in_flight.iter().position(|batch| batch.number == number)?;
        self.in_flight.remove(at)
    }

    /// Whether nothing that was sent before this batch is still open.
    pub(super) fn is_lowest(&self, number: Number) -> bool {
        self.in_flight.front().is_none_or(|first| first.number > number)
            && self.waiting.front().is_none_or(|first| first.number > number)
    }

    pub(super) fn confirm(&mut self, now: Monotonic) {
        self.confirmed = Some(now);
        self.failures = 0;
        self.not_before = None;
    }

    /// Puts the halves of a batch back that the topic does not take whole. Gives one back that
    /// cannot be halved.
    pub(super) fn halve(&mut self, batch: Batch, why: Error) -> Result<(), (Box<Batch>, Error)> {
        match split::halve(batch, self.identity) {
            Err(batch) => Err((batch, why)),
            Ok((halves, full_at)) => {
                self.taken_at = self.taken_at.min(full_at);
                halves.into_iter().for_each(|half| self.put_back(half, why.clone()));
                Ok(())
            }
        }
    }

    /// Puts a batch back where it belongs.
    pub(super) fn put_back(&mut self, mut batch: Batch, why: Error) {
        batch.last_error = Some(why);
        if batch.is_uncertain {
            rivven_io::probe!("uncertain_batch_sent_again");
        }
        if rivven_io::planted!("B70") && batch.is_uncertain {
            batch.sequence = None;
            batch.is_outdated = true;
        }
        let is_newer = |other: &Batch| {
            other.number > batch.number && !(rivven_io::planted!("B71") && other.attempts == 0)
        };
        let at = self.waiting.iter().position(is_newer);
        self.waiting.insert(at.unwrap_or(self.waiting.len()), batch);
    }
}

/// What is said of a batch that cannot be sent again because one before it was given up.
pub(super) fn missing() -> Error {
    Error::Malformed("the broker lacks the records before it".to_owned())
}

/// Sequences run from 0 to the largest i32 and then on from 0.
pub(super) fn sequence_after(sequence: i32, count: i32) -> i32 {
    assert!(sequence >= 0 && count > 0, "{count} records from {sequence}");
    sequence.wrapping_add(count) & i32::MAX
}
