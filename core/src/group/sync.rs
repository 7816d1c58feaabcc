//! SyncGroup: the leader's assignment, stored before anybody gets its part.

use std::collections::BTreeMap;

use bytes::Bytes;
use rivven_io::clock::Monotonic;

use crate::group::machine::{Group, Phase, Waiting};
use crate::group::messages::{Effect, GroupError, StoreId, Sync, Synced, Ticket};

impl Group {
    /// A member asks for its assignment; the leader brings all. The answer comes as
    /// [`Effect::Sync`], at once or later.
    pub fn sync(
        &mut self,
        now: Monotonic,
        (ticket, sync): (Ticket, Sync),
        effects: &mut Vec<Effect>,
    ) {
        match self.admit(&sync) {
            Err(error) => effects.push(Effect::Sync(ticket, Err(error))),
            Ok(id) => self.take_sync(now, (ticket, sync, id), effects),
        }
        self.check();
    }

    fn admit(&self, sync: &Sync) -> Result<String, GroupError> {
        let id = self.known(&sync.caller)?;
        self.check_generation(sync.generation)?;
        let differs =
            |theirs: &Option<String>, ours: &Option<String>| theirs.is_some() && theirs != ours;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMember),
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            Phase::Completing | Phase::Stable => Ok(id),
        }
    }

    fn take_sync(
        &mut self,
        now: Monotonic,
        (ticket, sync, id): (Ticket, Sync, String),
        effects: &mut Vec<Effect>,
    ) {
        let is_leader = self.leader.as_ref() == Some(&id);
        let member = self.members.get_mut(&id).expect("it was admitted");
        member.touch(now);
        member.has_synced = true;
        if self.phase == Phase::Stable {
            let synced = self.synced(&id);
            return effects.push(Effect::Sync(ticket, Ok(synced)));
        }
        if let Some(earlier) = member.sync.replace(ticket) {
            effects.push(Effect::Sync(earlier, Err(GroupError::RebalanceInProgress)));
        }
        let is_stored = self.storing.values().any(|waiting| {
            matches!(waiting, Waiting::Assignment { generation, .. }
                if *generation == self.generation)
        });
        if is_leader && !is_stored {
            let assignments = sync.assignments;
            let mut next = self.stored_state();
            for member in &mut next.members {
                let given = assignments.get(&member.member_id);
                member.assignment = given.cloned().unwrap_or_default();
            }
            if rivven_io::planted!("B62") {
                self.store_state(Waiting::Nothing, next, effects);
                return self.assign(now, &assignments, effects);
            }
            let waiting = Waiting::Assignment { generation: self.generation, assignments };
            self.store_state(waiting, next, effects);
        }
    }

    fn synced(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone().expect("a group with members has a type"),
            protocol: self.protocol.clone().expect("a generation has a protocol"),
            assignment: self.members[id].assignment.clone(),
        }
    }

    /// What was to be stored is durable, or could not be stored.
    pub fn stored(
        &mut self,
        now: Monotonic,
        (id, is_durable): (StoreId, bool),
        effects: &mut Vec<Effect>,
    ) {
        let waiting = self.storing.remove(&id).expect("what is stored was asked for, once");
        match waiting {
            Waiting::Nothing => {}
            Waiting::Join(ticket, joined) => {
                let answer = if is_durable { Ok(joined) } else { Err(GroupError::NotStored) };
                effects.push(Effect::Join(ticket, answer));
            }
            Waiting::Assignment { generation, assignments } => {
                let is_current = generation == self.generation && self.phase == Phase::Completing;
                match (is_current, is_durable) {
                    // The group went on: the members were told to join again.
                    (false, _) => {}
                    (true, true) => self.assign(now, &assignments, effects),
                    (true, false) => self.assignment_failed(now, effects),
                }
            }
        }
        self.check();
    }

    fn assign(
        &mut self,
        now: Monotonic,
        assignments: &BTreeMap<String, Bytes>,
        effects: &mut Vec<Effect>,
    ) {
        self.phase = Phase::Stable;
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("it is a member");
            member.assignment = assignments.get(&id).cloned().unwrap_or_default();
            let Some(ticket) = member.sync.take() else { continue };
            member.touch(now);
            let synced = self.synced(&id);
            effects.push(Effect::Sync(ticket, Ok(synced)));
        }
    }

    /// Everybody asks again, and the group forms another generation.
    fn assignment_failed(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.sync.take() {
                effects.push(Effect::Sync(ticket, Err(GroupError::NotStored)));
            }
        }
        self.rebalance(now, effects);
    }
}
