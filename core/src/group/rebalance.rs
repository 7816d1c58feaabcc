//! From one generation to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use rivven_io::clock::Monotonic;

use crate::group::machine::{Group, Phase, Waiting};
use crate::group::messages::{Effect, GroupError};

const REBALANCE_MIN: Duration = Duration::from_secs(1);

impl Group {
    /// The longest time that a member takes to join again. Clients may say anything, but a phase
    /// that is over at once would begin again at once.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        let timeouts = self.members.values().map(|member| member.rebalance_timeout);
        timeouts.max().unwrap_or_default().max(REBALANCE_MIN)
    }

    /// Begins to form a generation, unless that is under way; forms it if nobody is missing.
    pub(super) fn rebalance(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Preparing { .. } => {}
            Phase::Empty => {
                self.rebalance_began = now;
                let delay = self.rules.initial_delay.min(self.rebalance_timeout());
                self.phase = Phase::Preparing { deadline: now.after(delay), is_initial: true };
            }
            Phase::Completing | Phase::Stable => {
                for member in self.members.values_mut() {
                    if let Some(waiting) = member.sync.take() {
                        let again = Err(GroupError::RebalanceInProgress);
                        effects.push(Effect::Sync(waiting, again));
                    }
                    // Who does not hear of the rebalance in its session is gone.
                    if member.join.is_none() {
                        member.touch(now);
                    }
                }
                self.rebalance_began = now;
                self.sync_deadline = None;
                let deadline = now.after(self.rebalance_timeout());
                self.phase = Phase::Preparing { deadline, is_initial: false };
            }
        }
        self.form_if_complete(now, effects);
    }

    /// Forms the generation if every member has joined. An empty group's first one waits for its
    /// time, so that members that start together come into it together.
    pub(super) fn form_if_complete(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        let Phase::Preparing { deadline, is_initial } = self.phase else { return };
        let all_joined = self.members.values().all(|member| member.join.is_some());
        let is_time = deadline <= now;
        if is_time || all_joined && self.pending.is_empty() && !is_initial {
            self.form(now, effects);
        }
    }

    /// Forms the generation of those that have joined.
    pub(super) fn form(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        assert!(matches!(self.phase, Phase::Preparing { .. }), "a generation is being formed");
        let missing = self.members.iter().filter(|(_, member)| member.join.is_none());
        let dynamic = missing.filter(|(_, member)| member.instance_id.is_none());
        for id in dynamic.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove(&id, GroupError::UnknownMember, effects);
        }
        self.pending.retain(|_, deadline| *deadline > now);
        if self.members.is_empty() {
            return self.become_empty(effects);
        }
        if self.members.values().all(|member| member.join.is_none()) {
            // Static members alone, and none has heard of it: their sessions decide.
            let deadline = now.after(self.rebalance_timeout());
            self.phase = Phase::Preparing { deadline, is_initial: false };
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.choose_protocol();
        assert!(self.protocol.is_some(), "whoever was let in has a protocol in common");
        self.elect();
        self.phase = Phase::Completing;
        self.sync_deadline = Some(now.after(self.rebalance_timeout()));
        let leader = self.leader.clone().expect("elected above");
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("it is a member");
            member.assignment = Bytes::new();
            member.has_synced = false;
            let Some(ticket) = member.join.take() else { continue };
            member.is_new = false;
            member.touch(now);
            let joined = self.joined(&id, id == leader);
            effects.push(Effect::Join(ticket, Ok(joined)));
        }
    }

    fn become_empty(&mut self, effects: &mut Vec<Effect>) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.phase = Phase::Empty;
        self.protocol = None;
        self.leader = None;
        self.store(Waiting::Nothing, effects);
    }

    /// The leader stays if it has joined; else whoever has joined leads.
    fn elect(&mut self) {
        let has_joined = |id: &String| self.members.get(id).is_some_and(|m| m.join.is_some());
        if !self.leader.as_ref().is_some_and(has_joined) {
            let joined = self.members.iter().filter(|(_, member)| member.join.is_some());
            // The first that came, as in Kafka: tickets are given in that order.
            let first = joined.min_by_key(|(_, member)| member.join);
            self.leader = first.map(|(id, _)| id.clone());
        }
    }

    /// Among the protocols that all members support, the one that most of them like best; among
    /// equals the first by name.
    pub(super) fn choose_protocol(&self) -> Option<String> {
        let mut common: Option<BTreeSet<&str>> = None;
        for member in self.members.values() {
            let names = member.protocols.iter().map(|(name, _)| name.as_str()).collect();
            common = Some(match common {
                None => names,
                Some(common) => common.intersection(&names).copied().collect(),
            });
        }
        let common = common?;
        let mut votes: BTreeMap<&str, usize> = common.iter().map(|name| (*name, 0)).collect();
        for member in self.members.values() {
            let liked = member.protocols.iter().find(|(name, _)| common.contains(name.as_str()));
            if let Some((name, _)) = liked {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    /// Removes those that have not asked for their assignment in time.
    pub(super) fn drop_silent(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        let silent = self.members.iter().filter(|(_, member)| !member.has_synced);
        let silent: Vec<String> = silent.map(|(id, _)| id.clone()).collect();
        self.sync_deadline = None;
        if silent.is_empty() {
            return;
        }
        for id in silent {
            self.remove(&id, GroupError::UnknownMember, effects);
        }
        self.after_removal(now, effects);
    }

    /// Takes a member out; its waiting requests are answered with `error`.
    pub(super) fn remove(&mut self, id: &str, error: GroupError, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance_id {
            let place = self.statics.remove(instance);
            assert_eq!(place.as_deref(), Some(id), "a member's place is its own");
        }
        if let Some(ticket) = member.join {
            effects.push(Effect::Join(ticket, Err(error.clone())));
        }
        if let Some(ticket) = member.sync {
            effects.push(Effect::Sync(ticket, Err(error)));
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Goes on after somebody was taken out.
    pub(super) fn after_removal(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Completing | Phase::Stable => self.rebalance(now, effects),
            Phase::Preparing { .. } => self.form_if_complete(now, effects),
            Phase::Empty => {}
        }
    }
}
