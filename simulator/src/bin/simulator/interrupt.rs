//! Ctrl-C, SIGTERM and a reader that went away: a command then ends in order, with what it has, and
//! leaves no child.

use tokio::signal::unix::{SignalKind, signal};

use crate::out;

/// Waits for the first of them; the exit code that goes with it, as shells give it.
pub(crate) async fn interrupted() -> u8 {
    tokio::select! {
        biased;
        code = signalled() => code,
        () = out::closed() => out::EXIT_CLOSED,
    }
}

async fn signalled() -> u8 {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        // Without handlers a signal ends the process at once, and the kernel its children.
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    }
}
