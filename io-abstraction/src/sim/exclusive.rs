//! A lock around state that one thread uses: handles must be `Send`, the executor is not parallel.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// State behind a lock that is never contended. Never held across `.await`.
pub(crate) struct Exclusive<T>(Mutex<T>);

impl<T> Exclusive<T> {
    pub(crate) fn new(value: T) -> Exclusive<T> {
        Exclusive(Mutex::new(value))
    }

    /// A poisoned lock is taken too: a node's panic is an event of the run, not its end.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
