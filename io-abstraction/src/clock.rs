//! Time: a monotonic clock for durations and a wall clock for timestamps.

use std::future::Future;
use std::time::Duration;

use crate::disk::both;

/// A reading of a node's monotonic clock, in nanoseconds since some moment of that node's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The reading `duration` later (saturating).
    #[must_use]
    pub fn after(self, duration: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to this reading, zero if that is in the future.
    #[must_use]
    pub fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The contract of a node's clocks.
pub trait ClockOps {
    /// Never goes back and never jumps.
    fn now(&self) -> Monotonic;
    /// Milliseconds since the Unix epoch; may jump in both directions.
    fn wall_ms(&self) -> i64;
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// What [`Clock::timeout`] answers when the time was up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// A clock of either world.
#[derive(Clone)]
pub enum Clock {
    #[doc(hidden)]
    Real(crate::real::clock::RealClock),
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    Sim(crate::sim::clock::SimClock),
}

impl Clock {
    /// See [`ClockOps::now`].
    #[must_use]
    pub fn now(&self) -> Monotonic {
        both!(self, Clock, clock => clock.now())
    }

    /// See [`ClockOps::wall_ms`].
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        both!(self, Clock, clock => clock.wall_ms())
    }

    /// Returns `duration` later. Works on every task and dedicated thread of this node.
    pub async fn sleep(&self, duration: Duration) {
        both!(self, Clock, clock => clock.sleep(duration).await)
    }

    /// Awaits `future` for at most `duration`, then drops it.
    ///
    /// # Errors
    /// [`Elapsed`] if the time was up first.
    pub async fn timeout<F: Future>(
        &self,
        duration: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = self.sleep(duration) => Err(Elapsed),
        }
    }
}
