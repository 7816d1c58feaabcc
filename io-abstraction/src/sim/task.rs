//! Tasks of a node: madsim tasks whose polls are counted and whose panics are caught and reported.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use madsim::runtime::NodeHandle;
use madsim::task::AbortHandle;
use tokio::sync::oneshot;

use crate::sim::cpu::Turn;
use crate::sim::incarnation::Incarnation;
use crate::sim::world::NodePanic;
use crate::task::{Task, TaskEnd, TaskInner, TaskOps, panic_text};

const INJECTED_PANIC: &str = "the simulator wants this task to panic";

/// The tasks of one incarnation.
#[derive(Clone)]
pub struct SimTasks {
    pub(crate) incarnation: Arc<Incarnation>,
    pub(crate) spawner: NodeHandle,
}

/// A spawned task.
pub struct SimTask<T> {
    end: oneshot::Receiver<Result<T, TaskEnd>>,
    /// `None` for a dedicated one, which ends only when its future does.
    abort: Option<AbortHandle>,
}

impl<T> SimTask<T> {
    pub(crate) fn abort(&self) {
        if let Some(handle) = &self.abort {
            handle.abort();
        }
    }
}

impl<T> Future for SimTask<T> {
    type Output = Result<T, TaskEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.end).poll(cx).map(|end| end.unwrap_or(Err(TaskEnd::Cancelled)))
    }
}

impl SimTasks {
    fn start<F>(&self, name: &'static str, future: F) -> SimTask<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (result, end) = oneshot::channel();
        if !self.incarnation.is_alive() {
            return SimTask { end, abort: None };
        }
        self.incarnation.held.tasks.fetch_add(1, Relaxed);
        let guarded = Guarded {
            future: Some(Box::pin(future)),
            result: Some(result),
            incarnation: self.incarnation.clone(),
            name,
            turn: None,
        };
        let abort = Some(self.spawner.spawn(guarded).abort_handle());
        SimTask { end, abort }
    }
}

impl TaskOps for SimTasks {
    fn spawn<F>(&self, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Task(TaskInner::Sim(self.start(name, future)))
    }

    fn spawn_dedicated<F>(&self, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = self.start(name, future);
        Task(TaskInner::Sim(SimTask { abort: None, ..task }))
    }

    /// The work is a task of its own, so that dropping the returned future does not cut it short.
    async fn offload<F>(&self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match self.start("offload", future).await {
            Ok(output) => output,
            Err(TaskEnd::Panicked(message)) => std::panic::resume_unwind(Box::new(message)),
            // The incarnation is dead, and its awaiting task with it.
            Err(TaskEnd::Cancelled) => std::future::pending().await,
        }
    }
}

/// A task's future: counts its polls, catches its panics, also those of its destructors.
struct Guarded<F: Future> {
    future: Option<Pin<Box<F>>>,
    result: Option<oneshot::Sender<Result<F::Output, TaskEnd>>>,
    incarnation: Arc<Incarnation>,
    name: &'static str,
    /// Its place in the line for the processor.
    turn: Option<Arc<Turn>>,
}

// The future is boxed: nothing in here is pinned in place.
impl<F: Future> Unpin for Guarded<F> {}

impl<F: Future> Guarded<F> {
    fn report(&self, message: &str) {
        let Incarnation { core, node, number, .. } = &*self.incarnation;
        core.event(*node, "node.panic", *number, message.len() as u64);
        core.panics.lock().push(NodePanic {
            node: *node,
            incarnation: *number,
            task: self.name,
            message: message.to_owned(),
            injected: message == INJECTED_PANIC,
            at: Duration::from_nanos(core.timers.now_ns()),
        });
    }

    fn drop_future(&mut self) {
        let future = self.future.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(future))) {
            self.report(&panic_text(payload.as_ref()));
        }
    }
}

impl<F: Future> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let (incarnation, name) = (&this.incarnation, this.name);
        if !incarnation.cpu.may_run(&incarnation.core, &mut this.turn, cx.waker()) {
            return Poll::Pending;
        }
        incarnation.count_poll();
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        let is_doomed = incarnation.take_doom(name);
        let poll = || match is_doomed {
            true => doomed_poll(incarnation, name),
            false => future.as_mut().poll(cx),
        };
        let end = match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => {
                let message = panic_text(payload.as_ref());
                this.report(&message);
                Err(TaskEnd::Panicked(message))
            }
        };
        this.drop_future();
        if let Some(result) = this.result.take() {
            // Nobody waits for a detached task: its result is dropped here.
            let _ = result.send(end);
        }
        Poll::Ready(())
    }
}

/// P8: as if the task's own code had made a mistake.
fn doomed_poll<T>(incarnation: &Incarnation, task: &str) -> Poll<T> {
    incarnation.core.fault(incarnation.node, "P8", task.len() as u64);
    panic!("{INJECTED_PANIC}");
}

impl<F: Future> Drop for Guarded<F> {
    fn drop(&mut self) {
        self.drop_future();
        self.incarnation.held.tasks.fetch_sub(1, Relaxed);
    }
}
