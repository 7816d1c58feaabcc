//! What every connection and handler of one broker shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rivven_core::storage::Storage;
use rivven_io::Env;
use tokio::sync::Notify;

use crate::config::Config;
use crate::fetch_sessions::FetchSessions;
use crate::groups::Groups;
use crate::memory::Budget;
use crate::metrics::Metrics;

pub(crate) struct Node {
    pub(crate) env: Env,
    pub(crate) config: Config,
    pub(crate) storage: Storage,
    pub(crate) budget: Arc<Budget>,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) groups: Groups,
    pub(crate) metrics: Metrics,
    pub(crate) stop: Stop,
}

/// The wish that everything ends, of the broker or of one connection.
#[derive(Default)]
pub(crate) struct Stop {
    is_set: AtomicBool,
    set: Notify,
}

impl Stop {
    pub(crate) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        self.set.notify_waiters();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Resolves once it is set.
    pub(crate) async fn wait(&self) {
        loop {
            let set = self.set.notified();
            if self.is_set() {
                return;
            }
            set.await;
        }
    }
}
