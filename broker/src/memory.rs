//! The memory of all connections: one budget, an account for each connection, and a charge for
//! each buffer, given back when the buffer is dropped.
//!
//! Every connection owns a few free bytes that nobody else can use, so small requests get through
//! however little is left. When the rest is used up, readers wait; then the connection that holds
//! most, and whose frame or answer has been stuck for a second, is closed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rivven_io::clock::{Clock, Monotonic};
use tokio::sync::Notify;

use crate::limits::{CONNECTION_FREE_BYTES, EVICTION_INTERVAL, MEMORY_WAIT_MAX, STALLED_AFTER};

/// Memory that connections share.
pub(crate) struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
    waiting: AtomicUsize,
    released: Notify,
    accounts: Mutex<BTreeMap<u64, Arc<Account>>>,
    next_id: AtomicU64,
}

/// What one connection holds.
pub(crate) struct Account {
    budget: Arc<Budget>,
    id: u64,
    held: Mutex<usize>,
    /// When the frame that is being read, and the answer that is being written, began; 0: none.
    reading_since: AtomicU64,
    writing_since: AtomicU64,
    is_evicted: AtomicBool,
    evicted: Notify,
}

/// Bytes of an account, given back on drop.
pub(crate) struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

/// How much of the budget a charge may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// All of it.
    Small,
    /// Three quarters, so that large frames never keep small ones out.
    Large,
}

/// No memory came free in time, or the connection itself had to give up its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory for {bytes} more bytes of a connection")]
pub(crate) struct OutOfMemory {
    pub(crate) bytes: usize,
}

impl Budget {
    /// `bytes_max` are shared; the free bytes of each connection come on top.
    pub(crate) fn new(bytes_max: usize) -> Arc<Budget> {
        Arc::new(Budget {
            bytes_max,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            released: Notify::new(),
            accounts: Mutex::new(BTreeMap::new()),
            next_id: AtomicU64::new(0),
        })
    }

    /// Opens an account; [`Account::close`] ends it.
    pub(crate) fn open_account(self: &Arc<Budget>) -> Arc<Account> {
        let account = Arc::new(Account {
            budget: self.clone(),
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            held: Mutex::new(0),
            reading_since: AtomicU64::new(0),
            writing_since: AtomicU64::new(0),
            is_evicted: AtomicBool::new(false),
            evicted: Notify::new(),
        });
        self.accounts().insert(account.id, account.clone());
        account
    }

    /// Shared bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether more is in use than there is: answers are charged whatever is left.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.used() > self.bytes_max
    }

    fn accounts(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self, class: Class) -> usize {
        match class {
            Class::Small => self.bytes_max,
            Class::Large => self.bytes_max / 4 * 3,
        }
    }

    /// In one order with [`Waiting::begin`] and the try that follows it: one of both sides sees the
    /// other.
    fn release(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::SeqCst);
        assert!(before >= bytes, "{bytes} bytes given back of {before}");
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.released.notify_waiters();
        }
    }

    /// Closes the connection that holds most among those that are stuck.
    fn evict_one(&self, now: Monotonic) {
        let accounts = self.accounts();
        let stuck = accounts.values().filter(|account| account.is_stuck(now));
        let Some(victim) = stuck.max_by_key(|account| (account.held(), account.id)) else {
            return;
        };
        rivven_io::probe!("stuck_connection_evicted");
        tracing::warn!(
            connection = victim.id,
            bytes = victim.held(),
            "memory is used up, closing the stuck connection that holds most"
        );
        victim.is_evicted.store(true, Ordering::Release);
        victim.evicted.notify_one();
    }
}

impl Account {
    /// Number of the connection, for logs.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether less than half of the shared memory is in use.
    pub(crate) fn is_roomy(&self) -> bool {
        self.budget.used() < self.budget.bytes_max / 2
    }

    /// Bytes charged, free ones included.
    pub(crate) fn held(&self) -> usize {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the account off the budget's list; charges that live on are still given back.
    pub(crate) fn close(&self) {
        self.budget.accounts().remove(&self.id);
    }

    /// Notes that a frame has begun, or with `None` that none is incomplete.
    pub(crate) fn set_reading_since(&self, since: Option<Monotonic>) {
        self.reading_since.store(since.map_or(0, |since| since.0.max(1)), Ordering::Relaxed);
    }

    /// Notes that an answer waits for its reader since then, or that none does.
    pub(crate) fn set_writing_since(&self, since: Option<Monotonic>) {
        self.writing_since.store(since.map_or(0, |since| since.0.max(1)), Ordering::Relaxed);
    }

    fn is_stuck(&self, now: Monotonic) -> bool {
        let is_old = |since: u64| since != 0 && now.since(Monotonic(since)) >= STALLED_AFTER;
        !self.is_evicted.load(Ordering::Acquire)
            && self.held() > CONNECTION_FREE_BYTES
            && (is_old(self.reading_since.load(Ordering::Relaxed))
                || is_old(self.writing_since.load(Ordering::Relaxed)))
    }

    /// Resolves when the connection must close for others.
    pub(crate) async fn evicted(&self) {
        while !self.is_evicted.load(Ordering::Acquire) {
            self.evicted.notified().await;
        }
    }

    /// Charges bytes if the budget has them.
    pub(crate) fn try_charge(self: &Arc<Account>, bytes: usize, class: Class) -> Option<Charge> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = shared_part(*held + bytes) - shared_part(*held);
        let limit = self.budget.limit(class);
        let fits = |used: usize| used.checked_add(shared).filter(|used| *used <= limit);
        if shared > 0 {
            self.budget.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).ok()?;
        }
        *held += bytes;
        Some(Charge { account: self.clone(), bytes })
    }

    /// Charges bytes that are there already, beyond the budget if need be.
    pub(crate) fn charge_anyway(self: &Arc<Account>, bytes: usize) -> Charge {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = shared_part(*held + bytes) - shared_part(*held);
        self.budget.used.fetch_add(shared, Ordering::AcqRel);
        *held += bytes;
        Charge { account: self.clone(), bytes }
    }

    /// Charges bytes, waiting for others to give theirs back.
    ///
    /// # Errors
    /// [`OutOfMemory`] when none came free in [`MEMORY_WAIT_MAX`].
    pub(crate) async fn charge(
        self: &Arc<Account>,
        bytes: usize,
        class: Class,
        clock: &Clock,
    ) -> Result<Charge, OutOfMemory> {
        self.wait(clock, || self.try_charge(bytes, class)).await.ok_or(OutOfMemory { bytes })
    }

    /// Waits while more memory is in use than there is, if this connection has a share in it.
    ///
    /// # Errors
    /// [`OutOfMemory`] when that lasted [`MEMORY_WAIT_MAX`].
    pub(crate) async fn settle(self: &Arc<Account>, clock: &Clock) -> Result<(), OutOfMemory> {
        let settled =
            || (!self.budget.is_overdrawn() || self.held() <= CONNECTION_FREE_BYTES).then_some(());
        self.wait(clock, settled).await.ok_or(OutOfMemory { bytes: 0 })
    }

    /// Waits while others use more memory than there is, however little this connection holds.
    ///
    /// # Errors
    /// [`OutOfMemory`] when that lasted [`MEMORY_WAIT_MAX`].
    pub(crate) async fn settle_whole(&self, clock: &Clock) -> Result<(), OutOfMemory> {
        // Its own share is not what it waits for: two that held much would wait for each other.
        let settled = || {
            let others = self.budget.used().saturating_sub(shared_part(self.held()));
            (others <= self.budget.bytes_max).then_some(())
        };
        self.wait(clock, settled).await.ok_or(OutOfMemory { bytes: 0 })
    }

    /// Attempts it at once, and then whenever memory came free.
    async fn wait<T>(&self, clock: &Clock, attempt: impl Fn() -> Option<T>) -> Option<T> {
        if let Some(done) = attempt() {
            return Some(done);
        }
        rivven_io::probe!("memory_waited_for");
        let _waiting = Waiting::begin(&self.budget);
        let deadline = clock.now().after(MEMORY_WAIT_MAX);
        loop {
            let released = self.budget.released.notified();
            if let Some(done) = attempt() {
                return Some(done);
            }
            if clock.timeout(EVICTION_INTERVAL, released).await.is_err() {
                let now = clock.now();
                self.budget.evict_one(now);
                if now >= deadline {
                    return None;
                }
            }
        }
    }
}

/// Bytes beyond the free ones.
fn shared_part(held: usize) -> usize {
    held.saturating_sub(CONNECTION_FREE_BYTES)
}

/// One more that waits, until it is dropped.
struct Waiting<'a>(&'a Budget);

impl Waiting<'_> {
    fn begin(budget: &Budget) -> Waiting<'_> {
        budget.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(budget)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Charge {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes over another charge of the same account.
    pub(crate) fn absorb(&mut self, mut other: Charge) {
        assert!(Arc::ptr_eq(&self.account, &other.account), "charges of two accounts");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives back all but `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            drop(Charge { account: self.account.clone(), bytes: self.bytes - bytes });
            self.bytes = bytes;
        }
    }

    /// `data`, with the charge held as long as any part of it lives.
    pub(crate) fn hold(self: Arc<Charge>, data: Bytes) -> Bytes {
        Bytes::from_owner(Held { data, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut held = self.account.held.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(*held >= self.bytes, "{} bytes given back of {}", self.bytes, *held);
        let shared = shared_part(*held) - shared_part(*held - self.bytes);
        *held -= self.bytes;
        drop(held);
        // Also without shared bytes: the owner may wait for its own.
        if shared > 0 || self.account.budget.waiting.load(Ordering::Acquire) > 0 {
            self.account.budget.release(shared);
        }
    }
}

struct Held {
    data: Bytes,
    _charge: Arc<Charge>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: usize = CONNECTION_FREE_BYTES;

    #[test]
    fn free_bytes_of_a_connection_are_not_taken_from_the_budget() {
        let budget = Budget::new(1000);
        let (first, second) = (budget.open_account(), budget.open_account());
        let free = first.try_charge(FREE, Class::Small);
        assert!(free.is_some());
        assert_eq!(budget.used(), 0);
        let shared = first.try_charge(1000, Class::Small);
        assert!(shared.is_some());
        assert_eq!(budget.used(), 1000);
        assert!(second.try_charge(FREE + 1, Class::Small).is_none());
        assert!(second.try_charge(FREE, Class::Small).is_some());
        drop(free);
        assert_eq!((first.held(), budget.used()), (1000, 0));
    }

    #[test]
    fn large_charges_leave_a_quarter_to_small_ones() {
        let budget = Budget::new(1000);
        let account = budget.open_account();
        assert!(account.try_charge(FREE + 751, Class::Large).is_none());
        let large = account.try_charge(FREE + 750, Class::Large);
        assert!(large.is_some());
        assert!(account.try_charge(1, Class::Large).is_none());
        assert!(account.try_charge(250, Class::Small).is_some());
    }

    #[test]
    fn memory_comes_back_with_the_last_slice_of_a_buffer() {
        let budget = Budget::new(1000);
        let account = budget.open_account();
        let mut charge = account.try_charge(FREE + 1000, Class::Small).unwrap();
        charge.shrink_to(FREE + 10);
        assert_eq!(budget.used(), 10);
        let held = Arc::new(charge).hold(Bytes::from_static(b"frame"));
        let slice = held.slice(1..2);
        drop(held);
        assert_eq!(budget.used(), 10);
        drop(slice);
        assert_eq!((budget.used(), account.held()), (0, 0));
    }

    #[test]
    fn answers_are_charged_beyond_the_budget() {
        let budget = Budget::new(10);
        let account = budget.open_account();
        let charge = account.charge_anyway(FREE + 100);
        assert!(budget.is_overdrawn());
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn one_that_may_need_much_waits_however_little_it_holds() {
        let env = rivven_io::Env::real();
        let budget = Budget::new(3000);
        let (holder, asking) = (budget.open_account(), budget.open_account());
        let beyond = holder.charge_anyway(FREE + 4000);
        assert_eq!(asking.settle(&env.clock).await, Ok(()), "its free bytes are its own");
        let released = AtomicBool::new(false);
        let owner = async {
            released.store(true, Ordering::Release);
            drop(beyond);
        };
        let waiting = async {
            let settled = asking.settle_whole(&env.clock).await;
            assert!(released.load(Ordering::Acquire), "it went on while too much was in use");
            settled
        };
        let (settled, ()) = tokio::join!(biased; waiting, owner);
        assert_eq!(settled, Ok(()));
    }

    #[tokio::test]
    async fn the_stuck_connection_that_holds_most_gives_way() {
        let env = rivven_io::Env::real();
        let budget = Budget::new(3000);
        let (large, small, asking) =
            (budget.open_account(), budget.open_account(), budget.open_account());
        let of_large = large.try_charge(FREE + 2000, Class::Small);
        let _of_small = small.try_charge(FREE + 1000, Class::Small);
        large.set_reading_since(Some(Monotonic(1)));
        small.set_reading_since(Some(Monotonic(1)));
        let owner = async {
            large.evicted().await;
            drop(of_large);
        };
        let asked = asking.charge(FREE + 1500, Class::Small, &env.clock);
        let (charge, ()) = tokio::join!(asked, owner);
        assert!(charge.is_ok());
        assert!(!small.is_evicted.load(Ordering::Acquire));
    }
}
