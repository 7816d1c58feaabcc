//! The memory of all groups: charged to an account of their own, within a share of the whole.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rivven_core::group::weight::Room;

use crate::limits::{GROUPS_NEW_SHARE, GROUPS_SHARE};
use crate::memory::{Account, Budget, Charge};

pub(crate) struct GroupMemory {
    account: Arc<Account>,
    charge: Mutex<Charge>,
    /// What is charged.
    used: AtomicUsize,
    new_max: usize,
    max: usize,
    /// Whether nothing new was let in the last time that something changed.
    is_full: AtomicBool,
}

impl GroupMemory {
    pub(crate) fn new(budget: &Arc<Budget>) -> GroupMemory {
        // Groups outlive connections, so none of these pays.
        let account = budget.open_account();
        let charge = Mutex::new(account.charge_anyway(0));
        GroupMemory {
            account,
            charge,
            used: AtomicUsize::new(0),
            new_max: budget.bytes_max() / GROUPS_NEW_SHARE,
            max: budget.bytes_max() / GROUPS_SHARE,
            is_full: AtomicBool::new(false),
        }
    }

    /// What is taken, and how much may be.
    pub(crate) fn room(&self) -> Room {
        Room { used: self.used(), new_max: self.new_max, max: self.max }
    }

    /// Bytes that are taken.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A shard took `before` bytes, and takes `after` now.
    pub(super) fn note(&self, before: usize, after: usize) {
        if before == after {
            return;
        }
        let mut charge = self.charge.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = charge.bytes() - before + after;
        match after.checked_sub(before) {
            Some(more) => charge.absorb(self.account.charge_anyway(more)),
            None => charge.shrink_to(bytes),
        }
        self.used.store(bytes, Ordering::Relaxed);
        drop(charge);
        let is_full = bytes >= self.new_max;
        if self.is_full.swap(is_full, Ordering::Relaxed) != is_full && is_full {
            tracing::warn!(
                bytes,
                limit = self.new_max,
                "groups take their share of the memory: new groups, members and partitions are \
                 refused until some go; a larger --memory-bytes gives them more"
            );
        }
    }
}
