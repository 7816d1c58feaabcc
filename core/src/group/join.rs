//! JoinGroup: who comes, who comes again, and who takes a static member's place.

use rivven_io::clock::Monotonic;

use crate::group::machine::{Group, Phase, Waiting};
use crate::group::member::Member;
use crate::group::messages::{Caller, Effect, GroupError, Join, Joined, JoinedMember, Ticket};
use crate::limits::{GROUP_PENDING_IDS_MAX, GROUP_PROTOCOLS_MAX};

impl Group {
    /// A member joins, or joins again. The answer comes as [`Effect::Join`], at once or later.
    pub fn join(
        &mut self,
        now: Monotonic,
        (ticket, join): (Ticket, Join),
        effects: &mut Vec<Effect>,
    ) {
        let refused = match self.accept(&join) {
            Err(error) => Some(error),
            Ok(()) if join.caller.member_id.is_empty() => {
                self.join_anew(now, (ticket, join), effects)
            }
            Ok(()) => self.join_again(now, (ticket, join), effects),
        };
        if let Some(error) = refused {
            effects.push(Effect::Join(ticket, Err(error)));
        }
        self.check();
    }

    /// Whether the protocols go together with the others', and there is room.
    fn accept(&self, join: &Join) -> Result<(), GroupError> {
        let is_strange = join.protocols.is_empty() || join.protocols.len() > GROUP_PROTOCOLS_MAX;
        if join.protocol_type.is_empty() || is_strange {
            return Err(GroupError::InconsistentProtocol);
        }
        self.check_room(&join.caller)?;
        if self.members.is_empty() {
            return Ok(());
        }
        let in_common = |name: &str| self.members.values().all(|member| member.supports(name));
        let fits = self.protocol_type.as_ref() == Some(&join.protocol_type)
            && join.protocols.iter().any(|(name, _)| in_common(name));
        if fits { Ok(()) } else { Err(GroupError::InconsistentProtocol) }
    }

    /// While a generation is being formed those count that have joined: the others may be gone.
    fn check_room(&self, caller: &Caller) -> Result<(), GroupError> {
        let counted = |member: &Member| match self.phase {
            Phase::Preparing { .. } => member.join.is_some(),
            Phase::Empty | Phase::Completing | Phase::Stable => true,
        };
        let instance = caller.instance_id.as_ref().and_then(|id| self.statics.get(id));
        let itself = self.members.get(instance.unwrap_or(&caller.member_id));
        let others = self.members.values().filter(|member| counted(member)).count();
        match itself.is_some_and(counted) || others < self.rules.members_max {
            true => Ok(()),
            false => Err(GroupError::Full(self.rules.members_max)),
        }
    }

    /// Someone without a member id.
    fn join_anew(
        &mut self,
        now: Monotonic,
        (ticket, join): (Ticket, Join),
        effects: &mut Vec<Effect>,
    ) -> Option<GroupError> {
        let id = join.fresh_member_id.clone();
        assert!(!self.members.contains_key(&id), "a fresh member id is nobody's");
        if let Some(instance) = &join.caller.instance_id {
            match self.statics.get(instance).cloned() {
                Some(old) => self.take_place(now, (ticket, join), &old, effects),
                None => self.add(now, (ticket, join), id, effects),
            }
            return None;
        }
        if join.needs_known_id {
            // It may never come: only a known id makes the group wait.
            self.forget_oldest_pending();
            self.pending.insert(id.clone(), now.after(join.session_timeout));
            return Some(GroupError::MemberIdRequired(id));
        }
        self.add(now, (ticket, join), id, effects);
        None
    }

    /// Keeps the ids that wait for their owners within their bound: who asks without end must not
    /// fill the memory.
    fn forget_oldest_pending(&mut self) {
        if self.pending.len() < GROUP_PENDING_IDS_MAX {
            return;
        }
        let oldest = self.pending.iter().min_by_key(|(_, deadline)| **deadline);
        if let Some(id) = oldest.map(|(id, _)| id.clone()) {
            self.pending.remove(&id);
        }
    }

    /// Someone with a member id.
    fn join_again(
        &mut self,
        now: Monotonic,
        (ticket, join): (Ticket, Join),
        effects: &mut Vec<Effect>,
    ) -> Option<GroupError> {
        let id = join.caller.member_id.clone();
        if join.caller.instance_id.is_none() && self.pending.remove(&id).is_some() {
            self.add(now, (ticket, join), id, effects);
            return None;
        }
        if let Err(error) = self.known(&join.caller) {
            return Some(error);
        }
        let is_leader = self.leader.as_ref() == Some(&id);
        let is_same = self.members[&id].protocols == join.protocols;
        match self.phase {
            Phase::Empty => return Some(GroupError::UnknownMember),
            // The answer to its first join was lost.
            Phase::Completing if is_same => {
                self.members.get_mut(&id).expect("it is known").touch(now);
                let joined = self.joined(&id, is_leader);
                effects.push(Effect::Join(ticket, Ok(joined)));
                return None;
            }
            // A follower that has nothing new to say; the leader asks for another generation.
            Phase::Stable if is_same && !is_leader => {
                self.members.get_mut(&id).expect("it is known").touch(now);
                let joined = self.joined(&id, false);
                effects.push(Effect::Join(ticket, Ok(joined)));
                return None;
            }
            Phase::Preparing { .. } | Phase::Completing | Phase::Stable => {}
        }
        let member = self.members.get_mut(&id).expect("it is known");
        member.update(&join);
        if let Some(earlier) = member.join.replace(ticket) {
            effects.push(Effect::Join(earlier, Err(GroupError::RebalanceInProgress)));
        }
        self.rebalance(now, effects);
        None
    }

    fn add(
        &mut self,
        now: Monotonic,
        (ticket, join): (Ticket, Join),
        id: String,
        effects: &mut Vec<Effect>,
    ) {
        let mut member = Member::new(&join, now);
        member.join = Some(ticket);
        if let Some(instance) = &join.caller.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        self.members.insert(id, member);
        if let Phase::Preparing { deadline, is_initial: true } = self.phase {
            // Who comes in the initial delay makes it longer, but not longer than a rebalance.
            let wanted = now.after(self.rules.initial_delay).max(deadline);
            let longest = self.rebalance_began.after(self.rebalance_timeout());
            self.phase = Phase::Preparing { deadline: wanted.min(longest), is_initial: true };
        }
        self.rebalance(now, effects);
    }

    /// A static member came back without its member id: it gets a new one, and the old is fenced.
    fn take_place(
        &mut self,
        now: Monotonic,
        (ticket, join): (Ticket, Join),
        old: &str,
        effects: &mut Vec<Effect>,
    ) {
        let id = join.fresh_member_id.clone();
        let mut member = self.members.remove(old).expect("a static member is a member");
        let fenced = || GroupError::FencedInstance;
        if let Some(waiting) = member.join.take() {
            effects.push(Effect::Join(waiting, Err(fenced())));
        }
        if let Some(waiting) = member.sync.take() {
            effects.push(Effect::Sync(waiting, Err(fenced())));
        }
        member.update(&join);
        member.touch(now);
        let instance = member.instance_id.clone().expect("it is static");
        self.statics.insert(instance, id.clone());
        self.members.insert(id.clone(), member);
        let was_leader = self.leader.as_deref() == Some(old);
        if was_leader {
            self.leader = Some(id.clone());
        }
        // Its metadata may differ: it no longer says which partitions it owns.
        let stays = self.choose_protocol() == self.protocol;
        if self.phase == Phase::Stable && stays {
            let mut joined = self.joined(&id, was_leader && join.can_skip_assignment);
            if was_leader && join.can_skip_assignment {
                joined.skip_assignment = true;
            } else if was_leader {
                // It would assign anew: as a follower it takes the assignment that there is.
                joined.leader = old.to_owned();
            }
            return self.store(Waiting::Join(ticket, joined), effects);
        }
        self.members.get_mut(&id).expect("it was put in").join = Some(ticket);
        self.rebalance(now, effects);
    }

    /// What a member is told of this generation.
    pub(super) fn joined(&self, id: &str, with_members: bool) -> Joined {
        let protocol = self.protocol.clone().expect("a generation has a protocol");
        let members = if with_members { self.seen_by_leader(&protocol) } else { Vec::new() };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone().expect("a group with members has a type"),
            protocol,
            leader: self.leader.clone().expect("a generation has a leader"),
            member_id: id.to_owned(),
            skip_assignment: false,
            members,
        }
    }

    fn seen_by_leader(&self, protocol: &str) -> Vec<JoinedMember> {
        let seen = self.members.iter().map(|(id, member)| JoinedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        seen.collect()
    }
}
