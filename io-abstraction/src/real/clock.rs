//! The machine's clocks and tokio's timers.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::{ClockOps, Monotonic};

/// The first reading in this process; all others are relative to it.
static START: OnceLock<Instant> = OnceLock::new();

/// The clocks of this process.
#[derive(Clone)]
pub struct RealClock;

impl ClockOps for RealClock {
    fn now(&self) -> Monotonic {
        let passed = START.get_or_init(Instant::now).elapsed();
        Monotonic(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall_ms(&self) -> i64 {
        let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => ms(since),
            Err(before) => -ms(before.duration()),
        }
    }

    /// On the timers of the runtime that polls it: the node's, or a dedicated thread's own.
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
