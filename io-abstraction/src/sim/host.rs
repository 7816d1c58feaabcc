//! What a test that starts simulated worlds needs of the real one.

use std::future::Future;
use std::io;
use std::time::Duration;

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

/// Ticks of a second in which Linux counts the processor time of processes.
const TICKS: u64 = 100;

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessState {
    /// One of its threads waits for nothing but a processor, or has one.
    pub is_runnable: bool,
    /// Processor time that it has used.
    pub used: Duration,
}

/// The state of a process; `None` if it is gone, or this kernel does not say.
#[must_use]
pub fn process_state(id: u32) -> Option<ProcessState> {
    let whole = read_stat(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?;
    // The line of a process has the state of its first thread.
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).ok()?.flatten();
    let mut lines = threads.filter_map(|thread| {
        // It may have ended meanwhile.
        read_stat(&std::fs::read_to_string(thread.path().join("stat")).ok()?)
    });
    Some(ProcessState { is_runnable: lines.any(|thread| thread.is_runnable), ..whole })
}

/// Reads a line of `/proc/ID/stat` (proc(5)): the id, the name in parentheses, the state, and
/// behind ten other fields the ticks in user and in kernel mode.
fn read_stat(line: &str) -> Option<ProcessState> {
    let (_, fields) = line.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let is_runnable = fields.next()? == "R";
    let mut ticks = fields.skip(10).map_while(|field| field.parse::<u64>().ok());
    let used = ticks.next()?.checked_add(ticks.next()?)?;
    Some(ProcessState { is_runnable, used: Duration::from_millis(used.checked_mul(1000 / TICKS)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_process_is_read_whatever_its_name_is() {
        let state =
            |is_runnable, ms| Some(ProcessState { is_runnable, used: Duration::from_millis(ms) });
        for (line, wanted) in [
            ("7 (sh) R 1 7 7 0 -1 4194304 1 2 3 4 250 50 6 7 20", state(true, 3_000)),
            ("7 (a) b (c)) S 1 7 7 0 -1 4194304 1 2 3 4 0 1 6 7 20", state(false, 10)),
            ("7 (sh) R 1 7 7 0 -1 4194304 1 2 3 4 250", None),
            ("7 (sh) R 1 7 7 0 -1 4194304 1 2 3 4 18446744073709551615 1", None),
            ("", None),
        ] {
            assert_eq!(read_stat(line), wanted, "{line}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_there_and_an_impossible_one_is_not() {
        // The thread that asks has a processor, whatever the first one of this process does.
        assert!(process_state(std::process::id()).is_some_and(|state| state.is_runnable));
        assert_eq!(process_state(u32::MAX), None);
    }
}
