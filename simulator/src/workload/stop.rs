//! The signal that ends a run's clients.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rivven_io::Env;
use tokio::sync::Notify;

/// Given once; whoever looks or waits later sees it too.
#[derive(Default)]
pub struct Stop {
    given: AtomicBool,
    notify: Notify,
}

impl Stop {
    #[must_use]
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Asks all clients to end: they finish the request that they wait for.
    pub fn give(&self) {
        self.given.store(true, Relaxed);
        self.notify.notify_waiters();
    }

    #[must_use]
    pub fn is_given(&self) -> bool {
        self.given.load(Relaxed)
    }

    /// Waits `pause`, less if the signal comes; whether it is given.
    pub(crate) async fn pause(&self, env: &Env, pause: Duration) -> bool {
        let notified = self.notify.notified();
        if !self.is_given() && !pause.is_zero() {
            let _ = env.clock.timeout(pause, notified).await;
        }
        self.is_given()
    }
}
