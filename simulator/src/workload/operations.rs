//! The operations of one client, one after the other. Each has a number and draws from a stream of
//! its own, so that one can be left out of a plan while all others draw what they drew.

use std::collections::VecDeque;

use rivven_io::sim::rng::{Stream, stream};
use serde::{Deserialize, Serialize};

use super::{ClientContext, ClientParams, millis};
use crate::history::value::ValueId;

/// Values of one operation have this many numbers.
const VALUES_BITS: u32 = 16;

/// An operation that a plan names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedOperation {
    /// Says what it draws.
    pub number: u64,
    /// It does not begin before: virtual time since the clients began.
    pub at_us: u64,
}

/// An operation that a client began in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BegunOperation {
    pub client: u32,
    pub number: u64,
    /// Virtual time since the clients began.
    pub at_us: u64,
}

/// One operation while it is done.
pub(crate) struct Operation {
    pub(crate) number: u64,
    pub(crate) draws: Stream,
}

impl Operation {
    /// Operation `number` of a client of this seed that does `concern`.
    pub(crate) fn of((seed, concern, client): (u64, &str, u32), number: u64) -> Operation {
        Operation { number, draws: stream(seed, concern, u64::from(client), number) }
    }

    /// Identity of the `index`-th value that it makes.
    pub(crate) fn value(&self, client: u32, index: u64) -> ValueId {
        assert!(index < 1 << VALUES_BITS, "an operation makes fewer than 2^16 values");
        ValueId::of(client, self.number << VALUES_BITS | index)
    }
}

/// What a client has still to do: the operations that its plan names at their times, or, if it
/// names none, all from 0 on with a drawn pause before each.
pub(crate) struct Operations {
    context: ClientContext,
    concern: &'static str,
    client: u32,
    seed: u64,
    pause_ms: (u64, u64),
    planned: Option<VecDeque<PlannedOperation>>,
    next: u64,
    end: u64,
}

impl Operations {
    pub(crate) fn of(
        context: &ClientContext,
        params: &ClientParams,
        concern: &'static str,
    ) -> Operations {
        Operations {
            context: context.clone(),
            concern,
            client: params.client,
            seed: params.seed,
            pause_ms: params.pause_ms,
            planned: params.operations.clone().map(Into::into),
            next: 0,
            end: params.operations_max,
        }
    }

    /// Waits until the next operation is due and begins it; `None` if there is none any more.
    pub(crate) async fn next(&mut self) -> Option<Operation> {
        if !self.wait().await {
            return None;
        }
        Some(self.begin())
    }

    /// Waits until the next operation is due; whether there is one, and nobody asked for the end.
    pub(crate) async fn wait(&mut self) -> bool {
        let Some(mut operation) = self.peek() else { return false };
        let drawn = millis(operation.draws.between(self.pause_ms.0, self.pause_ms.1));
        let pause = match self.planned.as_ref().and_then(VecDeque::front) {
            None => drawn,
            Some(planned) => {
                let wait_us = planned.at_us.saturating_sub(self.context.now_us());
                std::time::Duration::from_micros(wait_us)
            }
        };
        !self.context.stop.pause(&self.context.env, pause).await
    }

    /// Begins the one that was waited for.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn begin(&mut self) -> Operation {
        let mut operation = self.peek().expect("it was waited for");
        // The pause has the first number.
        operation.draws.u64();
        if let Some(planned) = &mut self.planned {
            planned.pop_front();
        }
        self.next = operation.number + 1;
        let (client, number) = (self.client, operation.number);
        let begun = BegunOperation { client, number, at_us: self.context.now_us() };
        self.context.history.begins(begun);
        operation
    }

    /// Whether all are done.
    pub(crate) fn is_over(&self) -> bool {
        self.peek().is_none()
    }

    /// Whether the next one is not later than a drawn pause would let it be.
    pub(crate) fn is_near(&self) -> bool {
        let Some(planned) = &self.planned else { return true };
        let near_us = self.context.now_us() + self.pause_ms.1 * 1_000;
        planned.front().is_some_and(|next| next.at_us <= near_us)
    }

    /// Waits until clients are asked to end, or to be quiet.
    pub(crate) async fn rest(&self) {
        let long = millis(1_000_000);
        while !self.context.stop.pause(&self.context.env, long).await {}
    }

    fn peek(&self) -> Option<Operation> {
        let number = match &self.planned {
            Some(planned) => planned.front()?.number,
            None => Some(self.next).filter(|next| *next < self.end)?,
        };
        Some(Operation::of((self.seed, self.concern, self.client), number))
    }
}
