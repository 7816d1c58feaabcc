//! Many files made durable side by side. A file system commits what several syncs wait for at once:
//! of 2,000 new files on ext4 the syncs took 7.1 s one after the other, 0.3 s four at a time, and
//! 0.1 s with sixteen or more.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use rivven_io::task::{Task, Tasks};

/// Syncs under way at once. More bring little, and each keeps a thread.
const SIDE_BY_SIDE: usize = 8;

/// Does `sync` with every item; the first error, when all that were begun have ended.
pub(crate) async fn each<T, F>(
    tasks: &Tasks,
    items: Vec<T>,
    sync: impl Fn(T) -> F + Clone + Send + 'static,
) -> Result<(), String>
where
    T: Send + 'static,
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let workers = SIDE_BY_SIDE.min(items.len());
    if workers < 2 {
        for item in items {
            sync(item).await?;
        }
        return Ok(());
    }
    let left = Arc::new(Mutex::new(items.into_iter()));
    let workers: Vec<Task<Result<(), String>>> = (0..workers)
        .map(|_| {
            let (left, sync, offload) = (left.clone(), sync.clone(), tasks.clone());
            let work = async move {
                while let Some(item) = next(&left) {
                    sync(item).await?;
                }
                Ok(())
            };
            tasks.spawn("sync", async move { offload.offload(work).await })
        })
        .collect();
    let mut outcome = Ok(());
    for worker in workers {
        let ended = worker.await.unwrap_or_else(|end| Err(format!("a sync did not end: {end:?}")));
        outcome = outcome.and(ended);
    }
    outcome
}

/// The guard is gone when an item is awaited.
fn next<T>(left: &Mutex<std::vec::IntoIter<T>>) -> Option<T> {
    left.lock().unwrap_or_else(PoisonError::into_inner).next()
}
