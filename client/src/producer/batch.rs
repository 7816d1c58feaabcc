//! A batch from its first record to its delivery.

use std::fmt::Display;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rivven_core::record::builder::BatchBuilder;
use rivven_io::clock::Monotonic;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::error::Error;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub partition: i32,
    /// -1 with acks 0, or if the broker knew only that it has the record already.
    pub offset: i64,
    /// If the topic stamps records itself.
    pub append_time_ms: Option<i64>,
    /// First offset of the partition then; -1 if the broker did not say.
    pub log_start: i64,
}

impl Delivered {
    /// In a partition, at an offset that is not known.
    pub(super) fn somewhere(partition: i32) -> Delivered {
        Delivered { partition, offset: -1, append_time_ms: None, log_start: -1 }
    }
}

/// What becomes of one record. Dropping it changes nothing.
#[must_use = "a record that failed is known by its delivery alone"]
pub struct Delivery {
    pub(super) outcome: Arc<Outcome>,
    pub(super) index: i64,
}

impl Delivery {
    /// Waits for the end.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::TimedOut`]: the record is not in the log. [`Error::Uncertain`]:
    /// it may be. [`Error::Closed`]: the producer was dropped; it may be, if it was sent.
    pub async fn wait(&self) -> Result<Delivered, Error> {
        let (mut outcome, mut index) = (&self.outcome, self.index);
        loop {
            match outcome.ended().await {
                End::Whole(first) => return of_record(first, index),
                End::Halved(halves) => (outcome, index) = halves.of(index),
            }
        }
    }

    /// The end, if it has come.
    #[must_use]
    pub fn result(&self) -> Option<Result<Delivered, Error>> {
        let (mut outcome, mut index) = (&self.outcome, self.index);
        loop {
            match outcome.end.get()? {
                End::Whole(first) => return Some(of_record(first, index)),
                End::Halved(halves) => (outcome, index) = halves.of(index),
            }
        }
    }
}

/// The end of the record that stands `index` behind the first of its batch.
fn of_record(first: &Result<Delivered, Error>, index: i64) -> Result<Delivered, Error> {
    let first = first.clone()?;
    let offset = if first.offset < 0 { first.offset } else { first.offset + index };
    Ok(Delivered { offset, ..first })
}

impl IntoFuture for Delivery {
    type Output = Result<Delivered, Error>;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.wait().await })
    }
}

/// The end of a batch, for all of its records.
#[derive(Default)]
pub(super) struct Outcome {
    end: OnceLock<End>,
    changed: Notify,
}

enum End {
    /// Where the first record stands.
    Whole(Result<Delivered, Error>),
    Halved(Halves),
}

/// The batches that a batch became.
struct Halves {
    /// Records of the first.
    middle: i64,
    outcomes: [Arc<Outcome>; 2],
}

impl Halves {
    /// In which half a record is, and where in it.
    fn of(&self, index: i64) -> (&Arc<Outcome>, i64) {
        let [first, second] = &self.outcomes;
        match index < self.middle {
            true => (first, index),
            false => (second, index - self.middle),
        }
    }
}

impl Outcome {
    /// Waits for the end of all records.
    pub(super) async fn done(&self) {
        let mut open = Vec::new();
        let mut next = Some(self);
        while let Some(outcome) = next {
            if let End::Halved(halves) = outcome.ended().await {
                open.extend(halves.outcomes.iter().map(|outcome| &**outcome));
            }
            next = open.pop();
        }
    }

    async fn ended(&self) -> &End {
        let mut changed = pin!(self.changed.notified());
        loop {
            changed.as_mut().enable();
            if let Some(end) = self.end.get() {
                return end;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }

    pub(super) fn set(&self, result: Result<Delivered, Error>) {
        self.end_as(End::Whole(result));
    }

    /// The first `middle` records go on as one batch, the others as the next.
    pub(super) fn halve(&self, middle: i64, outcomes: [Arc<Outcome>; 2]) {
        assert!(middle > 0, "a half is not empty");
        self.end_as(End::Halved(Halves { middle, outcomes }));
    }

    fn end_as(&self, end: End) {
        assert!(self.end.set(end).is_ok(), "a batch ends once");
        self.changed.notify_waiters();
    }
}

/// By which answers find a batch; rises within a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number {
    pub(super) batch: u64,
    /// The first record's place in the batch as it was before it was halved.
    pub(super) part: i32,
}

/// A batch of one partition.
pub(super) struct Batch {
    pub(super) number: Number,
    pub(super) contents: Contents,
    pub(super) count: i32,
    pub(super) begun: Monotonic,
    /// Until when it waits for more records.
    pub(super) due: Monotonic,
    /// Times it was sent.
    pub(super) attempts: u32,
    /// The first record's; given when it is sent for the first time.
    pub(super) sequence: Option<i32>,
    /// The broker said that records before it are missing: it is not written.
    pub(super) is_refused: bool,
    /// A time when it was sent no answer came, or one that leaves it open: it may be written now,
    /// or later.
    pub(super) is_uncertain: bool,
    /// Its bytes have a sequence of an epoch that is over.
    pub(super) is_outdated: bool,
    pub(super) last_error: Option<Error>,
    pub(super) outcome: Arc<Outcome>,
    /// Its bytes of the buffer.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

pub(super) enum Contents {
    Open(BatchBuilder),
    /// Taken out to be built.
    Building,
    Built(Bytes),
}

impl Batch {
    pub(super) fn size(&self) -> usize {
        match &self.contents {
            Contents::Open(builder) => builder.size(),
            Contents::Building => 0,
            Contents::Built(bytes) => bytes.len(),
        }
    }

    /// Ends it without success; what is uncertain stays so, whatever the last answer was.
    pub(super) fn fail(self, name: impl Display, error: Error) {
        let error = match self.is_uncertain {
            true => Error::Uncertain {
                what: format!("a batch of {} records for {name}", self.count),
                reason: error.to_string(),
            },
            false => error,
        };
        self.end(Err(error));
    }

    pub(super) fn end(mut self, result: Result<Delivered, Error>) {
        // Room first: who waits for the outcome may send the next record.
        drop(self.room.take());
        self.outcome.set(result);
    }
}
