//! A wish to end, for commands that have something to finish first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::Outcome;

/// Cloning gives the same wish.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    /// The exit code that goes with it, 0 as long as nobody has said so.
    shared: Arc<(AtomicU8, Notify)>,
}

impl Interrupt {
    /// Whether nobody had said so before.
    pub(crate) fn raise(&self, code: u8) -> bool {
        let is_first = self.shared.0.swap(code, Ordering::SeqCst) == 0;
        self.shared.1.notify_waiters();
        is_first
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.shared.0.load(Ordering::SeqCst) != 0
    }

    /// What a command ended with that has done all it was let.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.shared.0.load(Ordering::SeqCst) {
            0 => Outcome::Clean,
            code => Outcome::Interrupted(code),
        }
    }

    /// Returns when it is raised, at once if it is.
    pub(crate) async fn raised(&self) {
        let mut noticed = std::pin::pin!(self.shared.1.notified());
        noticed.as_mut().enable();
        if !self.is_raised() {
            noticed.await;
        }
    }
}
