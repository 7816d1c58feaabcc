//! Consumers' reads that wait for the disk give way to commits, as far as commits keep it busy.
//!
//! ```text
//! reads    ──read──┤      rest       ├──read──┤      rest       ├──
//! commits            rest = 3 × read × share of the time since the last look that commits took
//! ```
//!
//! One who reads what no memory holds can take a disk for himself: he asks for the next piece as
//! soon as he has one, and producers wait for their syncs behind him. While commits never stop,
//! reads that are no longer than a third of [`REST_MAX`] get about a quarter of the time, longer
//! ones and many at once more; while there are none, they get all of it. What a commit takes
//! counts from its first byte of memory to its answers: also the writer and checkpoints, which it
//! may wait for, use the disk. What the broker reads for itself counts and does not rest.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rivven_io::clock::{Clock, Monotonic};

/// The rest after a read, in times of its length, when commits never stop.
const REST_FACTOR: u32 = 3;
/// No read waits longer for others: a disk that stands still must not hold readers up after it.
const REST_MAX: Duration = Duration::from_millis(100);
/// Share of the time, of 1000, from which on commits count as busy.
const BUSY_PERMILLE: u32 = 500;
/// A share of less time than this says nothing.
const LOOK_NS_MIN: u64 = 1_000_000;

/// Nobody commits.
const NOBODY: u64 = u64::MAX;

pub(crate) struct Pace {
    /// When the commit that is under way began, or [`NOBODY`].
    commit_began_ns: AtomicU64,
    /// Time that earlier commits took.
    commits_ns: AtomicU64,
    /// Whether commits took most of the time between the last two looks.
    is_busy: AtomicBool,
    reads: Mutex<Reads>,
}

#[derive(Default)]
struct Reads {
    /// When the time of commits was looked at last, and what it was.
    looked_ns: u64,
    commits_ns: u64,
    /// The share of the time, of 1000, that commits took then.
    permille: u32,
    /// No read begins before.
    next_ns: u64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            commit_began_ns: AtomicU64::new(NOBODY),
            commits_ns: AtomicU64::new(0),
            is_busy: AtomicBool::new(false),
            reads: Mutex::default(),
        }
    }
}

impl Pace {
    /// The committer has something to do from now on.
    pub(crate) fn commit_begins(&self, now: Monotonic) {
        self.commit_began_ns.store(now.0, Ordering::Relaxed);
    }

    pub(crate) fn commit_ends(&self, now: Monotonic) {
        let began_ns = self.commit_began_ns.swap(NOBODY, Ordering::Relaxed);
        assert!(began_ns <= now.0, "a commit ends after it began");
        self.commits_ns.fetch_add(now.0 - began_ns, Ordering::Relaxed);
    }

    /// Whether commits took most of the time lately.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }

    /// Waits until a read may begin; how long that took.
    pub(crate) async fn turn(&self, clock: &Clock) -> Duration {
        let wait = self.rest(clock.now());
        if !wait.is_zero() {
            rivven_io::probe!("read_gave_way");
            clock.sleep(wait).await;
        }
        wait
    }

    /// How long a read would have to wait for its turn.
    pub(crate) fn rest(&self, now: Monotonic) -> Duration {
        let mut reads = self.lock();
        self.look(&mut reads, now);
        Monotonic(reads.next_ns).since(now).min(REST_MAX)
    }

    /// A read has ended that took so long.
    pub(crate) fn note_read(&self, now: Monotonic, took: Duration) {
        let mut reads = self.lock();
        self.look(&mut reads, now);
        let rest = took.min(REST_MAX) * REST_FACTOR * reads.permille / 1000;
        let begins = Monotonic(reads.next_ns.max(now.0)).after(rest);
        reads.next_ns = begins.0.min(now.after(REST_MAX).0);
    }

    fn look(&self, reads: &mut Reads, now: Monotonic) {
        let passed_ns = now.0.saturating_sub(reads.looked_ns);
        if passed_ns < LOOK_NS_MIN {
            return;
        }
        let commits_ns = self.commits_until(now).max(reads.commits_ns);
        let in_commits_ns = (commits_ns - reads.commits_ns).min(passed_ns);
        let permille = u128::from(in_commits_ns) * 1000 / u128::from(passed_ns);
        let permille = u32::try_from(permille).expect("a part is at most the whole");
        *reads = Reads { looked_ns: now.0, commits_ns, permille, next_ns: reads.next_ns };
        self.is_busy.store(permille >= BUSY_PERMILLE, Ordering::Relaxed);
    }

    fn commits_until(&self, now: Monotonic) -> u64 {
        let began_ns = self.commit_began_ns.load(Ordering::Relaxed);
        let under_way = if began_ns == NOBODY { 0 } else { now.0.saturating_sub(began_ns) };
        self.commits_ns.load(Ordering::Relaxed) + under_way
    }

    fn lock(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Monotonic {
        Monotonic(ms * MS)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Reads of 10 ms one behind the other for a second, while commits take this part of each 10
    /// ms; how many there were.
    fn reads_beside(commit_ms: u64) -> u64 {
        let pace = Pace::default();
        let (mut reads, mut read_ends) = (0, None);
        for now in 0..1000 {
            if now % 10 == 0 && commit_ms > 0 {
                pace.commit_begins(at(now));
            }
            if now % 10 == commit_ms && commit_ms > 0 || commit_ms == 10 && now % 10 == 9 {
                pace.commit_ends(at(now));
            }
            if read_ends == Some(now) {
                pace.note_read(at(now), ms(10));
                (reads, read_ends) = (reads + 1, None);
            }
            if read_ends.is_none() && pace.rest(at(now)).is_zero() {
                read_ends = Some(now + 10);
            }
        }
        reads
    }

    #[test]
    fn reads_rest_as_long_as_commits_are_busy() {
        for (commit_ms, wanted) in [(0, 99..=99), (2, 60..=64), (5, 38..=42), (10, 25..=28)] {
            let reads = reads_beside(commit_ms);
            assert!(wanted.contains(&reads), "{reads} reads beside commits of {commit_ms} ms");
        }
    }

    #[test]
    fn reads_side_by_side_rest_for_each_but_no_longer_than_the_longest_rest() {
        let pace = Pace::default();
        pace.commit_begins(at(0));
        for wanted_ms in [30, 60, 90, 100, 100] {
            pace.note_read(at(10), ms(10));
            assert_eq!(pace.rest(at(10)), ms(wanted_ms));
        }
    }

    #[test]
    fn a_disk_that_stood_still_holds_nobody_up_afterwards() {
        let pace = Pace::default();
        pace.commit_begins(at(0));
        pace.note_read(at(60_000), ms(60_000));
        assert_eq!(pace.rest(at(60_000)), REST_MAX);
        assert_eq!(pace.rest(at(60_100)), Duration::ZERO);
    }
}
