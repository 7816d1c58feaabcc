//! What the command says. Who reads it may go away, as `head` does: that ends the command in order,
//! as a signal does, and never in a panic.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Exit code of a command whose reader went away, as shells give it.
pub(crate) const EXIT_CLOSED: u8 = 141;

static IS_CLOSED: AtomicBool = AtomicBool::new(false);
/// For another reason than that nobody reads it.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);
static CLOSED: Notify = Notify::const_new();

/// Prints a line on standard output.
macro_rules! say {
    () => { $crate::out::print(format_args!("\n")) };
    ($($words:tt)+) => { $crate::out::print(format_args!("{}\n", format_args!($($words)+))) };
}

/// Prints a line on standard error.
macro_rules! note {
    ($($words:tt)+) => { $crate::out::log(format_args!("{}\n", format_args!($($words)+))) };
}

pub(crate) use {note, say};

/// Prints on standard output, if anybody reads it.
pub(crate) fn print(words: Arguments<'_>) {
    if IS_CLOSED.load(Ordering::Relaxed) {
        return;
    }
    let mut out = std::io::stdout().lock();
    let Err(error) = out.write_fmt(words).and_then(|()| out.flush()) else { return };
    IS_CLOSED.store(true, Ordering::Relaxed);
    CLOSED.notify_one();
    if error.kind() != ErrorKind::BrokenPipe {
        HAS_FAILED.store(true, Ordering::Relaxed);
        note!("simulator: standard output cannot be written: {error}");
    }
}

/// Whether something that was to be read is lost.
pub(crate) fn has_failed() -> bool {
    HAS_FAILED.load(Ordering::Relaxed)
}

/// Prints on standard error, if anybody reads it.
pub(crate) fn log(words: Arguments<'_>) {
    // Nobody is left to tell if this does not get out.
    let _ = std::io::stderr().lock().write_fmt(words);
}

/// Waits until standard output takes nothing more.
pub(crate) async fn closed() {
    CLOSED.notified().await;
}
