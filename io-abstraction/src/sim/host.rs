//! What a test that starts simulated worlds needs of the real one.

use std::future::Future;
use std::io;

use tokio::runtime::Builder;

/// Runs a future of the real world on this thread to its end.
///
/// # Errors
/// If the host gives the executor no timer or no poller.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    Ok(Builder::new_current_thread().enable_all().build()?.block_on(future))
}

/// The test that runs on this thread, as its binary names it; `None` where the harness gives tests
/// no thread of their own.
#[must_use]
pub fn test_name() -> Option<String> {
    std::thread::current().name().filter(|name| *name != "main").map(ToOwned::to_owned)
}
