//! How long to wait before the next try: longer each time, never twice the same (KIP-580).

use std::time::Duration;

use rivven_io::Env;

/// Doubles from one wait to the next, each with a jitter of a fifth.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// # Panics
    /// If `min` is zero or above `max`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Backoff {
        assert!(!min.is_zero() && min <= max, "waits grow from {min:?} to {max:?}");
        Backoff { min, max, next: min }
    }

    /// The next wait: 80 to 120 % of the smallest, doubled with each call, up to the largest.
    pub fn take(&mut self, env: &Env) -> Duration {
        let percent = 80 + u32::try_from(env.rng.u64() % 41).expect("at most 40");
        let wait = self.next * percent / 100;
        self.next = (self.next * 2).min(self.max);
        assert!(self.next >= self.min, "a wait is never below the smallest");
        wait
    }

    /// Sleeps for [`Backoff::take`].
    pub async fn wait(&mut self, env: &Env) {
        let wait = self.take(env);
        env.clock.sleep(wait).await;
    }

    /// Begins with the smallest again.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}
