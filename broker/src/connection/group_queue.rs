//! The order of requests about one group on one connection: those that wait for other members run
//! in tasks, and what follows them in their group comes after them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot::{self, error::TryRecvError};

/// For each group that is worked on, the end of the last request that was read for it.
#[derive(Default)]
pub(super) struct GroupQueue {
    lasts: Mutex<BTreeMap<String, oneshot::Receiver<()>>>,
}

/// A request's place; dropping it lets the next one begin.
pub(super) struct Place {
    before: Option<oneshot::Receiver<()>>,
    _done: oneshot::Sender<()>,
}

impl GroupQueue {
    /// Groups that nobody works on are forgotten here.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, oneshot::Receiver<()>>> {
        let mut lasts = self.lasts.lock().unwrap_or_else(PoisonError::into_inner);
        lasts.retain(|_, last| last.try_recv() == Err(TryRecvError::Empty));
        lasts
    }

    pub(super) fn is_busy(&self, group: &str) -> bool {
        self.lock().contains_key(group)
    }

    /// The place behind all requests of the group so far.
    pub(super) fn enter(&self, group: &str) -> Place {
        let (done, last) = oneshot::channel();
        let before = self.lock().insert(group.to_owned(), last);
        Place { before, _done: done }
    }
}

impl Place {
    /// Waits for the requests before this one.
    pub(super) async fn come(&mut self) {
        if let Some(before) = self.before.take() {
            // Nothing is ever sent: the end of the sender is the sign.
            let _ended = before.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_of_a_group_come_one_after_the_other() {
        let queue = GroupQueue::default();
        assert!(!queue.is_busy("g"));
        let mut first = queue.enter("g");
        first.come().await;
        let mut second = queue.enter("g");
        queue.enter("other").come().await;
        assert!(queue.is_busy("g") && !queue.is_busy("other"));
        let ending = async { drop(first) };
        tokio::join!(biased; second.come(), ending);
        let mut third = queue.enter("g");
        drop(second);
        third.come().await;
        drop(third);
        assert!(!queue.is_busy("g"));
        assert!(queue.lock().is_empty());
    }
}
