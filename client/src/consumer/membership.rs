//! Who a consumer is in its group.

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_io::clock::Monotonic;

use crate::assignor::PartitionCounts;

/// A consumer's place in its group, as far as it knows.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    /// It shares partitions with others, so what it commits outside a generation may be older than
    /// what they have committed.
    pub(super) has_subscribed: bool,
    /// Empty before the coordinator has given it one.
    pub(super) member_id: String,
    /// -1 while it belongs to none.
    pub(super) generation: i32,
    pub(super) coordinator: Option<i32>,
    /// A join is under way: the coordinator waits for it, and no heartbeats are due.
    pub(super) is_joining: bool,
    /// Why it must join again.
    pub(super) rejoin: Option<String>,
    /// Why the group went on without it, until poll has noticed.
    pub(super) lost: Option<String>,
    /// Another consumer came with its instance id: it must not fence that one in turn.
    pub(super) is_fenced: bool,
    /// What a leader made its assignment from.
    pub(super) assigned_from: Option<PartitionCounts>,
    /// When the last request was sent that the coordinator answered as this member's: its session
    /// lasts from then on at least.
    pub(super) heard_of: Monotonic,
    /// The same for an answer that knew of no rebalance: one that began since then waits for this
    /// member from then on at least.
    pub(super) calm_at: Monotonic,
    /// Since when nothing was heard from the coordinator.
    pub(super) silent_since: Monotonic,
    pub(super) beat_due: Monotonic,
}

impl Membership {
    pub(super) fn new(now: Monotonic) -> Membership {
        Membership {
            has_subscribed: false,
            member_id: String::new(),
            generation: -1,
            coordinator: None,
            is_joining: false,
            rejoin: None,
            lost: None,
            is_fenced: false,
            assigned_from: None,
            heard_of: now,
            calm_at: now,
            silent_since: now,
            beat_due: now,
        }
    }

    /// Whether it must send heartbeats.
    pub(super) fn is_member(&self) -> bool {
        self.generation >= 0 && !self.is_joining
    }

    /// The group went on without this member.
    pub(super) fn lose(&mut self, reason: String) {
        if !self.is_member() {
            return;
        }
        self.generation = -1;
        self.assigned_from = None;
        self.rejoin = None;
        self.lost = Some(reason);
    }

    /// An answer came to a request that was sent at `sent`.
    pub(super) fn hear(&mut self, sent: Monotonic, is_calm: bool, now: Monotonic) {
        self.heard_of = self.heard_of.max(sent);
        self.silent_since = now;
        if is_calm {
            self.calm_at = self.calm_at.max(sent);
        }
    }

    /// Another consumer has its place.
    pub(super) fn fence(&mut self) {
        self.lose("another consumer has come with its instance id".to_owned());
        self.is_fenced = true;
    }

    /// Whether it is the same member in the same generation.
    pub(super) fn is_still(&self, sent: &Membership) -> bool {
        sent.generation >= 0
            && self.generation == sent.generation
            && self.member_id == sent.member_id
    }

    /// What an answer to `sent`, which was this member then, says about it. Whether it did.
    pub(super) fn notice(&mut self, code: ErrorCode, sent: &Membership) -> bool {
        if matches!(code, ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE) {
            if self.coordinator == sent.coordinator {
                self.coordinator = None;
            }
            return false;
        }
        if !self.is_still(sent) {
            return false;
        }
        match code {
            ErrorCode::FENCED_INSTANCE_ID => self.fence(),
            // A join finds out itself.
            _ if self.is_joining => {}
            ErrorCode::REBALANCE_IN_PROGRESS => {
                self.rejoin.get_or_insert_with(|| "the group is rebalancing".to_owned());
            }
            ErrorCode::UNKNOWN_MEMBER_ID => {
                self.lose("the group does not know this member (any more)".to_owned());
                self.member_id.clear();
            }
            ErrorCode::ILLEGAL_GENERATION => {
                self.lose("the group has another generation".to_owned());
            }
            _ => return false,
        }
        true
    }
}
