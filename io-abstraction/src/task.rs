//! Tasks: on the node's executor, on a thread of their own, or beside the executor.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::disk::both;

/// The contract of a node's tasks.
pub trait TaskOps {
    fn spawn<F>(&self, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;
    fn spawn_dedicated<F>(&self, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;
    fn offload<F>(&self, future: F) -> impl Future<Output = F::Output> + Send
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;
}

/// How a task ended without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// Aborted, or its node went away.
    Cancelled,
    /// It panicked; the message if there was one.
    Panicked(String),
}

/// A spawned task; its owner awaits or aborts it. Dropping the handle lets the task run on.
pub struct Task<T>(pub(crate) TaskInner<T>);

pub(crate) enum TaskInner<T> {
    Tokio(tokio::task::JoinHandle<T>),
    Dedicated(tokio::sync::oneshot::Receiver<Result<T, TaskEnd>>),
    #[cfg(feature = "sim")]
    Sim(crate::sim::task::SimTask<T>),
}

impl<T> Task<T> {
    /// Ends the task at its next suspension point. A dedicated task is not aborted: it ends when
    /// its future does.
    pub fn abort(&self) {
        match &self.0 {
            TaskInner::Tokio(handle) => handle.abort(),
            TaskInner::Dedicated(_) => {}
            #[cfg(feature = "sim")]
            TaskInner::Sim(task) => task.abort(),
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            TaskInner::Tokio(handle) => Pin::new(handle).poll(cx).map(|end| {
                end.map_err(|error| match error.try_into_panic() {
                    Ok(payload) => TaskEnd::Panicked(panic_text(payload.as_ref())),
                    Err(_) => TaskEnd::Cancelled,
                })
            }),
            TaskInner::Dedicated(end) => {
                Pin::new(end).poll(cx).map(|end| end.unwrap_or(Err(TaskEnd::Cancelled)))
            }
            #[cfg(feature = "sim")]
            TaskInner::Sim(task) => Pin::new(task).poll(cx),
        }
    }
}

pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// Tasks of either world.
#[derive(Clone)]
pub enum Tasks {
    #[doc(hidden)]
    Real(crate::real::task::RealTasks),
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    Sim(crate::sim::task::SimTasks),
}

impl Tasks {
    /// Runs `future` on the node's executor. It must not block.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        both!(self, Tasks, tasks => tasks.spawn(name, future))
    }

    /// Runs `future` on a thread of its own, which it may block with file calls.
    pub fn spawn_dedicated<F>(&self, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        both!(self, Tasks, tasks => tasks.spawn_dedicated(name, future))
    }

    /// Runs `future`, whose file calls may block, beside the executor, and awaits it. When the
    /// returned future is dropped, the work is done whole or not begun.
    pub async fn offload<F>(&self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        both!(self, Tasks, tasks => tasks.offload(future).await)
    }
}
