//! Tasks on tokio, threads of their own, and tokio's blocking pool.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::task::{Task, TaskEnd, TaskInner, TaskOps, panic_text};

/// The tasks of one runtime.
#[derive(Clone)]
pub struct RealTasks {
    handle: Handle,
}

impl RealTasks {
    /// Tasks on the runtime of the caller.
    pub(crate) fn current() -> RealTasks {
        RealTasks { handle: Handle::current() }
    }
}

impl TaskOps for RealTasks {
    fn spawn<F>(&self, _name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Task(TaskInner::Tokio(self.handle.spawn(future)))
    }

    /// The thread has timers of its own and no I/O driver, so that it parks on a futex: waking it
    /// is one system call, not a write to an eventfd and a poll. Sockets stay with the node's
    /// runtime, which wakes the thread. A thread that cannot be started is reported as a panic.
    fn spawn_dedicated<F>(&self, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (result, end) = oneshot::channel();
        let body = move || {
            let caught = catch_unwind(AssertUnwindSafe(|| run_here(future)));
            let outcome = caught
                .unwrap_or_else(|payload| Err(TaskEnd::Panicked(panic_text(payload.as_ref()))));
            // Nobody waits for a detached task: its result is dropped here.
            let _ = result.send(outcome);
        };
        match std::thread::Builder::new().name(name.to_owned()).spawn(body) {
            Ok(_detached) => Task(TaskInner::Dedicated(end)),
            Err(error) => Task(TaskInner::Dedicated(ended(not_started(name, &error)))),
        }
    }

    /// On a thread of tokio's blocking pool, which drives the future itself: one that is ready at
    /// once (file calls are) never parks; one that waits (a channel, a timer, a socket of the
    /// node's runtime) parks that thread meanwhile. Work that never ends would keep it for ever.
    async fn offload<F>(&self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = self.handle.clone();
        match self.handle.spawn_blocking(move || handle.block_on(future)).await {
            Ok(output) => output,
            Err(error) => match error.try_into_panic() {
                Ok(payload) => resume_unwind(payload),
                // The runtime shuts down, and the awaiting task with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

fn run_here<F: Future>(future: F) -> Result<F::Output, TaskEnd> {
    match Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(error) => Err(not_started("its runtime", &error)),
    }
}

fn not_started(what: &str, error: &std::io::Error) -> TaskEnd {
    TaskEnd::Panicked(format!("cannot start {what}: {error}"))
}

fn ended<T>(end: TaskEnd) -> oneshot::Receiver<Result<T, TaskEnd>> {
    let (result, receiver) = oneshot::channel();
    let _ = result.send(Err(end));
    receiver
}
