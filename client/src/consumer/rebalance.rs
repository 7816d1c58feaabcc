//! How a consumer takes part in rebalances. Each step is taken by a poll, because only then the
//! application has done its work on what it was given.
//!
//! ```text
//!            join begins            join ended, nothing to give up
//!   Out ──────────────────▶ Joining ──────────────────────────────▶ In
//!    ▲                       │  ▲                                   │
//!    │ lost, or refused      │  │ next poll                         │ rebalance, and something
//!    ├───────────────────────┘  │                                   │ to give up: Revoked
//!    │                        GivingUp ◀──(joined: cooperative)─────┤
//!    └──────────────────────────┴────────── lost: Lost ─────────────┘
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_io::task::Task;

use super::commits::Counted;
use super::event::ConsumerEvent;
use super::join::{self, Intent, JoinEnd, Joined};
use super::partitions::{Row, Start};
use super::shared::Shared;
use super::{Consumer, EVENTS_MAX};
use crate::assignor::{TopicPartition, protocol};
use crate::error::Error;
use crate::image::ClusterImage;

/// Where a consumer stands in its group.
pub(super) enum Phase {
    Out,
    Joining(Task<()>),
    In,
    /// Some partitions were announced as revoked; the next poll gives them up.
    GivingUp,
}

/// What a consumer knows of its part in the group.
pub(super) struct Part {
    pub(super) phase: Phase,
    pub(super) topics: BTreeSet<Arc<str>>,
    /// What it got in its last generation, and which that was.
    before: BTreeSet<TopicPartition>,
    generation: i32,
    /// Why it joins next.
    reason: String,
    /// The metadata in which nothing was found to have changed.
    checked: Option<Arc<ClusterImage>>,
}

impl Part {
    pub(super) fn new(topics: BTreeSet<Arc<str>>) -> Part {
        let reason = "a new member".to_owned();
        let (before, phase) = (BTreeSet::new(), Phase::Out);
        Part { phase, topics, before, generation: -1, reason, checked: None }
    }
}

impl Consumer {
    /// Goes on with what the group wants. Whether something happened that the application must
    /// hear of before it gets more records.
    pub(super) fn take_part(&mut self) -> Result<bool, Error> {
        let Some(part) = &mut self.part else { return Ok(false) };
        let (lost, is_fenced) = {
            let membership = &mut self.shared.lock().membership;
            (membership.lost.take(), membership.is_fenced)
        };
        if let Some(reason) = lost {
            return Ok(self.lose(reason));
        }
        if is_fenced && !matches!(part.phase, Phase::Joining(_)) {
            let text = "another consumer has come with its instance id";
            let code = ErrorCode::FENCED_INSTANCE_ID;
            return Err(Error::refused("taking part in the group", code, Some(text)));
        }
        match &part.phase {
            Phase::Out => self.begin_join(),
            Phase::GivingUp => self.give_up(),
            Phase::Joining(_) => {
                let ended = self.shared.lock().joined.take();
                return match ended {
                    None => Ok(false),
                    Some(JoinEnd::Joined(joined)) => Ok(self.enter(joined)),
                    Some(JoinEnd::Lost(reason)) => Ok(self.lose(reason)),
                    Some(JoinEnd::Failed(error)) => {
                        self.lose(error.to_string());
                        Err(error)
                    }
                };
            }
            Phase::In => return Ok(self.rebalance_if_wanted()),
        }
        Ok(false)
    }

    /// Everything that is read belongs to others now. Whether that was anything.
    fn lose(&mut self, reason: String) -> bool {
        drop(self.stop_joining());
        let part = self.part.as_mut().expect("only a member can be lost");
        part.phase = Phase::Out;
        part.before.clear();
        part.generation = -1;
        part.reason.clone_from(&reason);
        let mut state = self.shared.lock();
        let partitions: Vec<TopicPartition> = state.partitions.names().into_iter().collect();
        let keeps = rivven_io::planted!("B73") && self.shared.config.is_cooperative();
        state.partitions.rows.retain(|_, _| keeps);
        state.given_up = Counted::default();
        drop(state);
        tracing::warn!(reason, ?partitions, "out of the group");
        if partitions.is_empty() {
            return false;
        }
        rivven_io::probe!("member_lost_its_partitions");
        self.tell(ConsumerEvent::Lost { partitions, reason });
        true
    }

    pub(super) fn tell(&mut self, event: ConsumerEvent) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Begins a rebalance if the group, the subscription or the topics want one.
    fn rebalance_if_wanted(&mut self) -> bool {
        let part = self.part.as_mut().expect("a member has its part");
        let image = self.shared.client.image();
        let is_checked = part.checked.as_ref().is_some_and(|checked| Arc::ptr_eq(checked, &image));
        let mut state = self.shared.lock();
        let have_changed = !is_checked
            && state.membership.assigned_from.as_ref().is_some_and(|from| {
                // Topics that came or went are seen by their names in `topics`.
                join::counts(state.topics.keys(), &image) != *from
            });
        part.checked = Some(image);
        let reason = match state.membership.rejoin.take() {
            Some(reason) => reason,
            None if have_changed => "the topics' partitions have changed".to_owned(),
            None => return false,
        };
        part.reason = reason;
        let is_cooperative = self.shared.config.is_cooperative();
        let given_up = |of: &TopicPartition| !is_cooperative || !part.topics.contains(&of.topic);
        let mut revoked = Vec::new();
        for (of, row) in &mut state.partitions.rows {
            if given_up(of) {
                row.is_revoked = true;
                revoked.push(of.clone());
            }
        }
        drop(state);
        if revoked.is_empty() {
            self.begin_join();
            return false;
        }
        part.phase = Phase::GivingUp;
        self.tell(ConsumerEvent::Revoked(revoked));
        true
    }

    /// Gives up what was announced, and joins again, which commits it first.
    fn give_up(&mut self) {
        let mut offsets = Counted::default();
        if self.shared.config.enable_auto_commit {
            offsets = self.shared.uncommitted(|is_revoked| is_revoked);
        }
        let mut state = self.shared.lock();
        state.partitions.rows.retain(|_, row| !row.is_revoked);
        state.given_up.extend(offsets);
        drop(state);
        self.begin_join();
    }

    pub(super) fn begin_join(&mut self) {
        let part = self.part.as_mut().expect("only a member joins");
        let now = self.shared.now();
        let mut state = self.shared.lock();
        if state.membership.lost.is_some() {
            // The heartbeat was faster; the next step acts on that.
            return;
        }
        let before = self.committing.take();
        if let Some(task) = &before {
            // What it has not committed is read again, or committed later.
            task.abort();
        }
        if !state.membership.is_member() {
            state.membership.silent_since = now;
        }
        state.membership.is_joining = true;
        state.membership.rejoin = None;
        state.joined = None;
        state.join_number += 1;
        let number = state.join_number;
        let owned = state.partitions.names();
        drop(state);
        assert!(
            owned.is_empty() || self.shared.config.is_cooperative(),
            "an eager member owns nothing while it joins"
        );
        let intent = Intent {
            number,
            topics: part.topics.clone(),
            owned,
            before: part.before.clone(),
            generation: part.generation,
            reason: std::mem::take(&mut part.reason),
        };
        let work = join::run(self.shared.clone(), intent, before);
        part.phase = Phase::Joining(self.shared.client.env().tasks.spawn("consumer-join", work));
    }

    /// Takes over what a generation gives.
    fn enter(&mut self, joined: Joined) -> bool {
        let part = self.part.as_mut().expect("a member has its part");
        let mut state = self.shared.lock();
        let owned = state.partitions.names();
        let revoked: Vec<TopicPartition> = owned.difference(&joined.partitions).cloned().collect();
        for of in &revoked {
            let row = state.partitions.rows.get_mut(of).expect("what is owned has a row");
            row.is_revoked = true;
        }
        // A static member may have taken its place back after the first of the two rebalances that
        // move a partition, and nobody else would begin the second.
        let is_back = part.generation < 0 && self.shared.config.instance_id.is_some();
        if is_back && self.shared.config.is_cooperative() {
            let reason = "partitions may have been about to move to others".to_owned();
            state.membership.rejoin.get_or_insert(reason);
        }
        drop(state);
        let added: Vec<TopicPartition> = joined.partitions.difference(&owned).cloned().collect();
        self.shared.add(added.iter().cloned(), Start::Committed);
        part.checked = None;
        part.generation = joined.generation;
        part.before = joined.partitions;
        if revoked.is_empty() {
            part.phase = Phase::In;
        } else {
            part.phase = Phase::GivingUp;
            part.reason = "partitions were given up".to_owned();
            self.tell(ConsumerEvent::Revoked(revoked));
        }
        self.tell(ConsumerEvent::Assigned(added));
        true
    }
}

impl Shared {
    /// Whether the coordinator may have put this member out, and others may have its partitions,
    /// before anybody could tell it: its session may be over, or it may have joined too late. Or
    /// it has been told, but poll has not noticed yet.
    pub(super) fn may_be_out(&self) -> bool {
        let now = self.now();
        let me = &self.lock().membership;
        if rivven_io::planted!("B93") {
            return me.lost.is_some();
        }
        me.lost.is_some()
            || now.since(me.heard_of) >= self.config.session_timeout
            || now.since(me.calm_at) >= self.config.max_poll_interval
    }

    /// A leader that came back and kept the assignment (KIP-814) learns here whether the topics
    /// changed while it was away, which nobody else would have noticed.
    pub(super) fn check_made_from(&self, user_data: Option<&Bytes>) {
        let me = &mut self.lock().membership;
        let now = me.assigned_from.as_ref();
        if now.is_some_and(|now| protocol::was_made_from_others(user_data, now)) {
            let reason = "the topics' partitions changed while the leader was away";
            me.rejoin.get_or_insert_with(|| reason.to_owned());
        }
    }

    /// Positions that are not known to be committed, of partitions that are revoked or not.
    pub(super) fn uncommitted(&self, wants: impl Fn(bool) -> bool) -> Counted {
        let now = self.now();
        let wanted = |row: &Row| wants(row.is_revoked) && !row.is_committed(now);
        self.lock().partitions.positions(wanted)
    }
}
