//! A wish to end, for commands that have something to finish first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::Outcome;

/// Cloning gives the same wish.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The exit code that goes with it, 0 as long as nobody has said so.
    code: AtomicU8,
    /// The command has something to finish.
    is_held: AtomicBool,
    /// Nothing is to be finished any more.
    is_insisted: AtomicBool,
    changed: Notify,
}

impl Interrupt {
    /// Whether nobody had said so before.
    pub(crate) fn raise(&self, code: u8) -> bool {
        let is_first = self.shared.code.swap(code, Ordering::SeqCst) == 0;
        self.shared.changed.notify_waiters();
        is_first
    }

    /// From now on there is something to finish: one signal asks for it.
    pub(crate) fn hold(&self) {
        self.shared.is_held.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.shared.is_held.load(Ordering::SeqCst)
    }

    /// Ends also who has something to finish.
    pub(crate) fn insist(&self) {
        self.shared.is_insisted.store(true, Ordering::SeqCst);
        self.shared.changed.notify_waiters();
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.shared.code.load(Ordering::SeqCst) != 0
    }

    /// What a command ended with that has done all it was let.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.shared.code.load(Ordering::SeqCst) {
            0 => Outcome::Clean,
            code => Outcome::Interrupted(code),
        }
    }

    /// Returns when it is raised, at once if it is.
    pub(crate) async fn raised(&self) {
        self.until(Interrupt::is_raised).await;
    }

    /// Returns when it is insisted on, at once if it is.
    pub(crate) async fn insisted(&self) {
        self.until(|interrupt| interrupt.shared.is_insisted.load(Ordering::SeqCst)).await;
    }

    async fn until(&self, is_so: impl Fn(&Interrupt) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }
}
