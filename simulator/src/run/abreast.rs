//! Futures that go on side by side in one task.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Drives all of them until each is done; what they gave, in their order. They are polled in their
/// order, too, so that a run is the same each time.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Option<Pin<Box<F>>>> = Vec::new();
    running.extend(futures.into_iter().map(|future| Some(Box::pin(future))));
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, output) in running.iter_mut().zip(&mut outputs) {
            let Some(pending) = future else { continue };
            if let Poll::Ready(given) = pending.as_mut().poll(context) {
                *output = Some(given);
                *future = None;
            }
        }
        if running.iter().any(Option::is_some) { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    outputs.into_iter().map(|output| output.expect("each is done")).collect()
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    /// Is ready at its `n`-th poll.
    fn after(n: u32) -> impl Future<Output = u32> {
        let mut polls = 0;
        poll_fn(move |_| {
            polls += 1;
            assert!(polls <= n, "polled after its end");
            if polls == n { Poll::Ready(n) } else { Poll::Pending }
        })
    }

    #[test]
    fn each_is_polled_until_its_own_end_and_the_last_ends_all() {
        let mut whole = Box::pin(all([after(2), after(1), after(3)]));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(whole.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(whole.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(whole.as_mut().poll(&mut context), Poll::Ready(vec![2, 1, 3]));
    }
}
