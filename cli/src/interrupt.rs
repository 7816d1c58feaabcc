//! A wish to end, for commands that have something to finish first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Cloning gives the same wish.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    shared: Arc<(AtomicBool, Notify)>,
}

impl Interrupt {
    /// Whether nobody had said so before.
    pub(crate) fn raise(&self) -> bool {
        let is_first = !self.shared.0.swap(true, Ordering::SeqCst);
        self.shared.1.notify_waiters();
        is_first
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.shared.0.load(Ordering::SeqCst)
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
