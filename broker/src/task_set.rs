//! Tasks that somebody owns together: counted, ended together, awaited together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rivven_io::Env;
use rivven_io::task::Task;
use tokio::sync::Notify;

use crate::node::Node;

/// A set of running tasks; clones are the same set.
#[derive(Clone, Default)]
pub(crate) struct TaskSet {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    tasks: Mutex<Tasks>,
    ended: Notify,
}

#[derive(Default)]
struct Tasks {
    running: BTreeMap<u64, Task<()>>,
    next_id: u64,
}

/// Ends the broker when a task that it cannot do without ends by a mistake of its own, or is never
/// begun: it would seem to live, and would not serve.
struct Vital {
    node: Arc<Node>,
    task: &'static str,
    has_returned: bool,
}

impl Vital {
    fn returned(mut self) {
        self.has_returned = true;
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if !self.has_returned && !self.node.stop.is_set() {
            self.node
                .storage
                .fail(&format!("the task {:?} ended by a mistake of its own", self.task));
        }
    }
}

/// Takes a task off the list, however it ends.
struct Membership {
    shared: Arc<Shared>,
    id: u64,
}

impl TaskSet {
    pub(crate) fn len(&self) -> usize {
        self.shared.lock().running.len()
    }

    pub(crate) fn spawn(
        &self,
        env: &Env,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        // Held over the spawn: a task that is done at once must find itself on the list.
        let mut tasks = self.shared.lock();
        let id = tasks.next_id;
        tasks.next_id += 1;
        let membership = Membership { shared: self.shared.clone(), id };
        let task = env.tasks.spawn(name, async move {
            future.await;
            drop(membership);
        });
        tasks.running.insert(id, task);
    }

    /// [`TaskSet::spawn`] of a task that may return, but whose panic ends the broker.
    pub(crate) fn spawn_vital(
        &self,
        node: &Arc<Node>,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let vital = Vital { node: node.clone(), task: name, has_returned: false };
        self.spawn(&node.env, name, async move {
            future.await;
            vital.returned();
        });
    }

    /// Ends every task at its next suspension point.
    pub(crate) fn abort(&self) {
        // Without the lock: what ends now takes itself off the list.
        let running = std::mem::take(&mut self.shared.lock().running);
        running.values().for_each(Task::abort);
    }

    /// Waits until no task is left.
    pub(crate) async fn ended(&self) {
        loop {
            let ended = self.shared.ended.notified();
            if self.len() == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let task = self.shared.lock().running.remove(&self.id);
        drop(task);
        self.shared.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_leave_the_set_however_they_end() {
        let env = Env::real();
        let set = TaskSet::default();
        set.spawn(&env, "done", async {});
        set.ended().await;
        set.spawn(&env, "pending", std::future::pending());
        assert_eq!(set.len(), 1);
        set.abort();
        set.ended().await;
        assert_eq!(set.len(), 0);
    }
}
