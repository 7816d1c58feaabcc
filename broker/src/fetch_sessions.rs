//! The fetch sessions of all connections, with their memory charged.

pub(crate) mod cache;
pub(crate) mod session;

use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::{FETCH_SESSION_EVICTABLE_AFTER, FETCH_SESSION_SHARE};
use crate::memory::{Account, Budget, Charge};
use cache::{CacheLimits, SessionCache};

pub(crate) struct FetchSessions {
    account: Arc<Account>,
    held: Mutex<Held>,
}

struct Held {
    cache: SessionCache,
    charge: Charge,
}

impl FetchSessions {
    pub(crate) fn new(budget: &Arc<Budget>, sessions_max: usize) -> FetchSessions {
        let limits = CacheLimits {
            sessions_max,
            bytes_max: budget.bytes_max() / FETCH_SESSION_SHARE,
            evictable_after: FETCH_SESSION_EVICTABLE_AFTER,
        };
        // Sessions outlive connections, so none of these pays.
        let account = budget.open_account();
        let charge = account.charge_anyway(0);
        let cache = SessionCache::new(limits);
        FetchSessions { account, held: Mutex::new(Held { cache, charge }) }
    }

    /// Lets a request use the cache, and charges for what that makes it hold. It takes a bounded
    /// share of the memory, so it need not wait for its turn.
    pub(crate) fn with<T>(&self, use_cache: impl FnOnce(&mut SessionCache) -> T) -> T {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let used = use_cache(&mut held.cache);
        let bytes = held.cache.bytes();
        if let Some(more) = bytes.checked_sub(held.charge.bytes()).filter(|more| *more > 0) {
            held.charge.absorb(self.account.charge_anyway(more));
        }
        held.charge.shrink_to(bytes);
        used
    }
}
