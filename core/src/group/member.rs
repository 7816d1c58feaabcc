//! One member of a group.

use std::time::Duration;

use bytes::Bytes;
use rivven_io::clock::Monotonic;

use crate::group::messages::{Join, StoredMember, Ticket};

/// How long a new member may wait for its first generation: a client that gave up cannot tell.
pub(super) const NEW_MEMBER_JOIN_MAX: Duration = Duration::from_secs(5 * 60);

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// Name and metadata, the preferred one first.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// Its join that waits for the next generation.
    pub(super) join: Option<Ticket>,
    /// Its sync that waits for the leader's assignment.
    pub(super) sync: Option<Ticket>,
    /// Whether it has asked for its assignment in this generation.
    pub(super) has_synced: bool,
    /// Whether it was never in a generation.
    pub(super) is_new: bool,
    /// When its session ends unless it is heard of.
    pub(super) expires: Monotonic,
    /// It comes from the log, and has not joined since.
    pub(super) is_restored: bool,
}

impl Member {
    pub(super) fn new(join: &Join, now: Monotonic) -> Member {
        Member {
            instance_id: join.caller.instance_id.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols.clone(),
            assignment: Bytes::new(),
            join: None,
            sync: None,
            has_synced: false,
            is_new: true,
            expires: now.after(NEW_MEMBER_JOIN_MAX),
            is_restored: false,
        }
    }

    pub(super) fn restored(stored: StoredMember, protocol: &str, now: Monotonic) -> Member {
        Member {
            instance_id: stored.instance_id,
            client_id: stored.client_id,
            client_host: stored.client_host,
            session_timeout: stored.session_timeout,
            rebalance_timeout: stored.rebalance_timeout,
            protocols: vec![(protocol.to_owned(), stored.metadata)],
            assignment: stored.assignment,
            join: None,
            sync: None,
            has_synced: true,
            is_new: false,
            expires: now.after(stored.session_timeout),
            is_restored: true,
        }
    }

    /// Takes over what a later join says.
    pub(super) fn update(&mut self, join: &Join) {
        self.client_id.clone_from(&join.client_id);
        self.client_host.clone_from(&join.client_host);
        self.session_timeout = join.session_timeout;
        self.rebalance_timeout = join.rebalance_timeout;
        self.protocols.clone_from(&join.protocols);
        self.is_restored = false;
    }

    /// It was heard of.
    pub(super) fn touch(&mut self, now: Monotonic) {
        let session = if self.is_new { NEW_MEMBER_JOIN_MAX } else { self.session_timeout };
        self.expires = now.after(session);
    }

    /// When its session ends; one that waits for the group is not expected to say anything, but a
    /// new one does not wait for ever.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let waits = self.join.is_some() || self.sync.is_some();
        (self.is_new || !waits).then_some(self.expires)
    }

    /// Metadata for a protocol; empty if it has none.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub(super) fn stored(&self, member_id: &str, protocol: &str) -> StoredMember {
        StoredMember {
            member_id: member_id.to_owned(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            session_timeout: self.session_timeout,
            rebalance_timeout: self.rebalance_timeout,
            metadata: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }
}
