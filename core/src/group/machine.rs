//! One group: its phase, its members, and what is being stored.

use std::collections::BTreeMap;

use rivven_io::clock::Monotonic;

use crate::group::member::Member;
use crate::group::messages::{
    Caller, Effect, GroupError, GroupRules, Joined, StoreId, StoredGroup, Ticket,
};
use crate::group::subscription::{self, Subscriptions};

/// Where a group stands between two generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody is there.
    Empty,
    /// Members join; the generation is formed at the latest then.
    Preparing {
        deadline: Monotonic,
        is_initial: bool,
    },
    /// The leader assigns.
    Completing,
    Stable,
}

impl Phase {
    /// Kafka's name of the state.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }
}

/// What is released when something is stored.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    /// The leader's assignment of a generation.
    Assignment {
        generation: i32,
        assignments: BTreeMap<String, bytes::Bytes>,
    },
    /// What a member that took a place is told.
    Join(Ticket, Joined),
    Nothing,
}

/// A consumer group of the classic protocol.
///
/// Every method takes the time and pushes what has to be done; nothing happens by itself but at
/// [`Group::deadline`], when [`Group::tick`] is due.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) rules: GroupRules,
    pub(super) phase: Phase,
    /// When it began to form the generation that it forms.
    pub(super) rebalance_began: Monotonic,
    /// Who has not asked for its assignment then is removed, also if the others have theirs.
    pub(super) sync_deadline: Option<Monotonic>,
    /// 0 before the first generation.
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Member ids of the static members.
    pub(super) statics: BTreeMap<String, String>,
    /// Ids that were handed out and wait for their owners to join with them (KIP-394).
    pub(super) pending: BTreeMap<String, Monotonic>,
    /// What waits until something is stored.
    pub(super) storing: BTreeMap<StoreId, Waiting>,
    next_store: u64,
}

impl Group {
    /// A group in which nobody is.
    #[must_use]
    pub fn new(rules: GroupRules) -> Group {
        Group {
            rules,
            phase: Phase::Empty,
            rebalance_began: Monotonic::default(),
            sync_deadline: None,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            storing: BTreeMap::new(),
            next_store: 0,
        }
    }

    /// The group as it was stored last; each member has its whole session before it.
    ///
    /// # Errors
    /// What is wrong with it, if no group could have been stored so.
    pub fn restored(
        rules: GroupRules,
        stored: StoredGroup,
        now: Monotonic,
    ) -> Result<Group, &'static str> {
        let mut group = Group::new(rules);
        if stored.generation < 0 {
            return Err("its generation is negative");
        }
        group.generation = stored.generation;
        group.protocol_type = stored.protocol_type;
        if stored.members.is_empty() {
            return Ok(group);
        }
        let Some(protocol) = stored.protocol.filter(|_| group.protocol_type.is_some()) else {
            return Err("it has members, but no protocol");
        };
        for member in stored.members {
            let id = member.member_id.clone();
            if let Some(instance) = &member.instance_id
                && group.statics.insert(instance.clone(), id.clone()).is_some()
            {
                return Err("two members have the same place");
            }
            let member = Member::restored(member, &protocol, now);
            if group.members.insert(id, member).is_some() {
                return Err("two members have the same id");
            }
        }
        group.phase = Phase::Stable;
        group.protocol = Some(protocol);
        let led = stored.leader.filter(|leader| group.members.contains_key(leader));
        group.leader = led.or_else(|| group.members.keys().next().cloned());
        group.check_all();
        Ok(group)
    }

    /// Where the group stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What its members do together; `None` if it never had any.
    #[must_use]
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// Whether its members are consumers, whose subscriptions can be read.
    #[must_use]
    pub fn is_consumers(&self) -> bool {
        self.protocol_type() == Some(subscription::CONSUMER)
    }

    /// What its members subscribe to; those that are no consumers, to nothing.
    pub(super) fn subscriptions(&self) -> Subscriptions {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let consumers = self.members.values().filter(|_| self.is_consumers());
        Subscriptions::of(consumers.map(|member| member.metadata(protocol)))
    }

    /// What somebody who joins brought the last time; 0 for who is new here.
    pub(super) fn brought_bytes(&self, caller: &Caller) -> usize {
        let place = caller.instance_id.as_ref().and_then(|instance| self.statics.get(instance));
        let member = self.members.get(place.unwrap_or(&caller.member_id));
        // Of a restored member only one protocol is known; it brings all of them again.
        let brought = |member: &Member| match member.is_restored {
            true => usize::MAX,
            false => member.brought_bytes(),
        };
        member.map_or(0, brought)
    }

    /// Whether something of it waits for the log.
    #[must_use]
    pub fn is_storing(&self) -> bool {
        !self.storing.is_empty()
    }

    /// The last generation that was formed; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Number of members, those that were never in a generation included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is in it, or about to be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// What a restart would go on with.
    #[must_use]
    pub fn stored_state(&self) -> StoredGroup {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| member.stored(id, protocol));
        StoredGroup {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: members.collect(),
        }
    }

    /// A sign of life. [`GroupError::RebalanceInProgress`] tells the member to join again.
    ///
    /// # Errors
    /// [`GroupError`], as Kafka's Heartbeat.
    pub fn heartbeat(
        &mut self,
        now: Monotonic,
        caller: &Caller,
        generation: i32,
    ) -> Result<(), GroupError> {
        let id = self.known(caller)?;
        self.check_generation(generation)?;
        self.touch(&id, now);
        match self.phase {
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            // A member may be heard of before its sync.
            Phase::Completing | Phase::Stable => Ok(()),
            Phase::Empty => Err(GroupError::UnknownMember),
        }
    }

    /// Whether a commit of offsets is to be taken: of a member of this generation, or without one
    /// (a negative generation) while nobody is in the group.
    ///
    /// # Errors
    /// [`GroupError`], as Kafka's OffsetCommit.
    pub fn check_commit(
        &mut self,
        now: Monotonic,
        caller: &Caller,
        generation: i32,
    ) -> Result<(), GroupError> {
        if generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        let id = self.known(caller)?;
        if !rivven_io::planted!("B63") {
            self.check_generation(generation)?;
        }
        self.touch(&id, now);
        match self.phase {
            // Its assignment may go to another: what it read of it must not be written over.
            Phase::Completing => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// The member that `caller` is.
    pub(super) fn known(&self, caller: &Caller) -> Result<String, GroupError> {
        if let Some(instance) = &caller.instance_id {
            let owner = self.statics.get(instance).ok_or(GroupError::UnknownMember)?;
            if *owner != caller.member_id {
                return Err(GroupError::FencedInstance);
            }
        }
        match self.members.contains_key(&caller.member_id) {
            true => Ok(caller.member_id.clone()),
            false => Err(GroupError::UnknownMember),
        }
    }

    pub(super) fn check_generation(&self, generation: i32) -> Result<(), GroupError> {
        match generation == self.generation {
            true => Ok(()),
            false => {
                rivven_io::probe!("old_generation_refused");
                Err(GroupError::IllegalGeneration(self.generation))
            }
        }
    }

    fn touch(&mut self, id: &str, now: Monotonic) {
        self.members.get_mut(id).expect("the caller is known").touch(now);
    }

    /// Asks for the present state to be stored, and keeps `waiting` until it is.
    pub(super) fn store(&mut self, waiting: Waiting, effects: &mut Vec<Effect>) {
        self.store_state(waiting, self.stored_state(), effects);
    }

    /// Asks for `state` to be stored, and keeps `waiting` until it is.
    pub(super) fn store_state(
        &mut self,
        waiting: Waiting,
        state: StoredGroup,
        effects: &mut Vec<Effect>,
    ) {
        let id = StoreId(self.next_store);
        self.next_store += 1;
        self.storing.insert(id, waiting);
        effects.push(Effect::Store(id, state));
    }

    /// When [`Group::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Monotonic> {
        let phase = match self.phase {
            Phase::Preparing { deadline, .. } => Some(deadline),
            Phase::Completing | Phase::Stable => self.sync_deadline,
            Phase::Empty => None,
        };
        let members = self.members.values().filter_map(Member::deadline);
        members.chain(self.pending.values().copied()).chain(phase).min()
    }

    /// Ends what is overdue: sessions, handed out ids, and the phase.
    pub fn tick(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        self.pending.retain(|_, deadline| *deadline > now);
        let is_over = |member: &Member| member.deadline().is_some_and(|deadline| deadline <= now);
        let over = self.members.iter().filter(|(_, member)| is_over(member));
        let over: Vec<String> = over.map(|(id, _)| id.clone()).collect();
        if !over.is_empty() {
            rivven_io::probe!("session_over");
            for id in over {
                self.remove(&id, GroupError::UnknownMember, effects);
            }
            self.after_removal(now, effects);
        }
        let is_late = self.sync_deadline.is_some_and(|deadline| deadline <= now);
        match self.phase {
            Phase::Preparing { .. } => self.form_if_complete(now, effects),
            Phase::Completing | Phase::Stable if is_late => self.drop_silent(now, effects),
            _ => {}
        }
        self.check();
    }

    /// What must hold after every step, at little cost.
    pub fn check(&self) {
        assert!(self.generation >= 0, "generations are counted up from 0");
        assert!(self.statics.len() <= self.members.len(), "a static member is a member");
        match self.phase {
            Phase::Empty => assert!(self.members.is_empty(), "an empty group has no member"),
            Phase::Preparing { .. } => {}
            Phase::Completing | Phase::Stable => {
                let leader = self.leader.as_ref().expect("a generation has a leader");
                assert!(self.members.contains_key(leader), "the leader is a member");
                assert!(self.protocol.is_some(), "a generation has a protocol");
            }
        }
    }

    /// What must hold after every step.
    pub fn check_all(&self) {
        self.check();
        let is_preparing = matches!(self.phase, Phase::Preparing { .. });
        let mut tickets: Vec<Ticket> = Vec::new();
        for (id, member) in &self.members {
            if let Some(instance) = &member.instance_id {
                assert_eq!(self.statics.get(instance), Some(id), "its place is its own");
            }
            assert!(member.join.is_none() || is_preparing, "joins wait for a generation to form");
            let may_sync = self.phase == Phase::Completing;
            assert!(member.sync.is_none() || may_sync, "syncs wait for the assignment");
            assert!(!self.pending.contains_key(id), "who joined does not wait to join");
            tickets.extend(member.join.into_iter().chain(member.sync));
        }
        let count = tickets.len();
        tickets.sort_unstable();
        tickets.dedup();
        assert_eq!(tickets.len(), count, "a ticket belongs to one request");
        for (instance, id) in &self.statics {
            let member = self.members.get(id).expect("a static member is a member");
            assert_eq!(member.instance_id.as_ref(), Some(instance), "it knows its place");
        }
    }
}
