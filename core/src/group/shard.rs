//! The groups that one partition of `__consumer_offsets` keeps: who is in them, and what they have
//! committed.
//!
//! A machine over the group machines: requests and the time go in, answers and records to be
//! appended come out. What waits for the log is released by [`Shard::appended`], which is called
//! in the order of the log.

mod admin;
mod commit;
mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use rivven_io::clock::Monotonic;

use crate::group::machine::{Group, Phase};
use crate::group::messages::{
    Caller, Effect, GroupError, GroupRules, Join, Joined, StoreId, Sync, Synced, Ticket,
};
use crate::group::offsets::{CommittedFor, Offsets};
use crate::group::records::{CommittedOffset, RecordKey, encode_group};
use crate::group::weight::{self, Room};
use crate::ids::{TimestampMs, TopicId};
use crate::limits::{GROUP_MEMBER_BYTES_MAX, SHARD_GROUPS_MAX};

pub use admin::{CommittedRow, DescribedGroup, ListedGroup, OffsetsCursor};
pub use commit::Commit;
pub use load::{ShardLoader, StoredRecord};

/// Finds what was to be appended; unique in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppendId(pub u64);

/// What operators decide about the groups of a broker.
#[derive(Clone, Copy, Debug)]
pub struct ShardRules {
    pub group: GroupRules,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: Duration,
    /// Bytes that a client may store beside an offset (`offset.metadata.max.bytes`).
    pub metadata_bytes_max: usize,
    /// How long offsets outlive the use of their group (`offsets.retention.minutes`).
    pub retention: Duration,
}

/// The time by both clocks: what waits goes by the first, what is stored bears the second.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub monotonic: Monotonic,
    pub wall: TimestampMs,
}

/// A record to be appended; without a value it takes its key's state back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    pub key: RecordKey,
    pub value: Option<Bytes>,
    /// Which topic of its name an offset is for; goes into a header.
    pub topic: Option<TopicId>,
}

/// What the shell has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardEffect {
    /// Append these as one batch, and report with [`Shard::appended`].
    Append(AppendId, Vec<LogRecord>),
    Join(Ticket, Result<Joined, GroupError>),
    Sync(Ticket, Result<Synced, GroupError>),
    /// A commit or a deletion is durable, or was not stored.
    Done(Ticket, Result<(), GroupError>),
}

/// What an append was for.
#[derive(Clone, Debug)]
enum Appending {
    Group {
        group: String,
        store: StoreId,
    },
    Commit {
        group: String,
        ticket: Ticket,
        offsets: Vec<(CommittedFor, CommittedOffset)>,
    },
    /// Offsets go, and perhaps the group with them.
    Forget {
        group: String,
        ticket: Option<Ticket>,
        offsets: Vec<CommittedFor>,
        /// With the group: the number of this append.
        whole: Option<u64>,
    },
}

#[derive(Clone, Debug)]
struct Entry {
    group: Group,
    offsets: Offsets,
    /// As it stands in `deadlines`; the group's own may be later, never earlier.
    deadline: Option<Monotonic>,
    /// When the group was stored last, and so, when it became empty.
    since: TimestampMs,
    /// Whether the log may hold a record of the group itself.
    is_logged: bool,
    /// The last append of this life that stores it; 0 if there is none.
    stored_by: u64,
    /// What it takes in memory, after the last step.
    bytes: usize,
    /// The same without its offsets; 0 before the first step.
    group_bytes: usize,
}

/// The groups of one partition of `__consumer_offsets`.
#[derive(Clone, Debug)]
pub struct Shard {
    rules: ShardRules,
    groups: BTreeMap<String, Entry>,
    deadlines: BTreeSet<(Monotonic, String)>,
    appending: BTreeMap<AppendId, Appending>,
    next_append: u64,
    /// What all groups take in memory.
    bytes: usize,
    room: Room,
}

impl Entry {
    fn new(rules: GroupRules) -> Entry {
        Entry::of(Group::new(rules))
    }

    fn of(group: Group) -> Entry {
        Entry {
            group,
            offsets: Offsets::default(),
            deadline: None,
            since: TimestampMs(0),
            is_logged: false,
            stored_by: 0,
            bytes: 0,
            group_bytes: 0,
        }
    }

    fn weight(&self, name: &str) -> usize {
        weight::of_group(name, &self.group) + self.offsets.bytes()
    }

    fn weigh(&mut self, name: &str) {
        self.group_bytes = weight::of_group(name, &self.group);
        assert!(self.group_bytes > 0, "0 says that it was not weighed");
    }

    /// Whether nobody is in the group, or about to be, and nothing of it waits for the log.
    fn is_idle(&self) -> bool {
        let is_empty = self.group.phase() == Phase::Empty && self.group.is_empty();
        is_empty && !self.group.is_storing()
    }
}

impl Shard {
    /// A shard without groups.
    #[must_use]
    pub fn new(rules: ShardRules) -> Shard {
        Shard {
            rules,
            groups: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            appending: BTreeMap::new(),
            next_append: 0,
            bytes: 0,
            room: Room::ENDLESS,
        }
    }

    /// What its groups take in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// From now on this is the room for its groups and those of the other shards.
    pub fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// Number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// A member joins, or joins again. The answer comes as [`ShardEffect::Join`].
    pub fn join(
        &mut self,
        now: Now,
        group: &str,
        (ticket, join): (Ticket, Join),
        out: &mut Vec<ShardEffect>,
    ) {
        if let Err(error) = self.check_join(group, &join) {
            return out.push(ShardEffect::Join(ticket, Err(error)));
        }
        let rules = self.rules.group;
        let entry = self.groups.entry(group.to_owned()).or_insert_with(|| Entry::new(rules));
        let mut effects = Vec::new();
        entry.group.join(now.monotonic, (ticket, join), &mut effects);
        self.settle(now, group, (effects, out));
    }

    fn check_join(&self, group: &str, join: &Join) -> Result<(), GroupError> {
        let (min, max) = (self.rules.session_timeout_min, self.rules.session_timeout_max);
        if group.is_empty() {
            Err(GroupError::InvalidGroupId)
        } else if !(min..=max).contains(&join.session_timeout) {
            Err(GroupError::InvalidSessionTimeout { asked: join.session_timeout, min, max })
        } else {
            self.check_new(group)?;
            self.check_brought(group, join)
        }
    }

    /// Whether there is room for what a member brings.
    fn check_brought(&self, group: &str, join: &Join) -> Result<(), GroupError> {
        let bytes = weight::of_join(join);
        if bytes > GROUP_MEMBER_BYTES_MAX {
            return Err(GroupError::MemberTooLarge { bytes, max: GROUP_MEMBER_BYTES_MAX });
        }
        let entry = self.groups.get(group);
        let before = entry.map_or(0, |entry| entry.group.brought_bytes(&join.caller));
        self.room.check(bytes, before)
    }

    /// Whether there is room for a group, if it is a new one.
    fn check_new(&self, group: &str) -> Result<(), GroupError> {
        match self.groups.len() < SHARD_GROUPS_MAX || self.groups.contains_key(group) {
            true => Ok(()),
            false => Err(GroupError::TooManyGroups(self.groups.len())),
        }
    }

    /// A member asks for its assignment. The answer comes as [`ShardEffect::Sync`].
    pub fn sync(
        &mut self,
        now: Now,
        group: &str,
        (ticket, sync): (Ticket, Sync),
        out: &mut Vec<ShardEffect>,
    ) {
        let Some(entry) = self.groups.get_mut(group) else {
            return out.push(ShardEffect::Sync(ticket, Err(GroupError::UnknownMember)));
        };
        let bytes = sync.assignments.values().map(Bytes::len).sum();
        if let Err(error) = self.room.check(bytes, entry.bytes) {
            return out.push(ShardEffect::Sync(ticket, Err(error)));
        }
        let mut effects = Vec::new();
        entry.group.sync(now.monotonic, (ticket, sync), &mut effects);
        self.settle(now, group, (effects, out));
    }

    /// A sign of life.
    ///
    /// # Errors
    /// As [`Group::heartbeat`]; an unknown group has no members.
    pub fn heartbeat(
        &mut self,
        now: Now,
        group: &str,
        (caller, generation): (&Caller, i32),
    ) -> Result<(), GroupError> {
        let entry = self.groups.get_mut(group).ok_or(GroupError::UnknownMember)?;
        // Deadlines only move back, which the next one that is due finds out.
        entry.group.heartbeat(now.monotonic, caller, generation)
    }

    /// Members go. The answers come in the order of `callers`.
    ///
    /// # Errors
    /// No group has this name.
    pub fn leave(
        &mut self,
        now: Now,
        (group, callers): (&str, &[Caller]),
        out: &mut Vec<ShardEffect>,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let entry = self.groups.get_mut(group).ok_or(GroupError::UnknownMember)?;
        let mut effects = Vec::new();
        let left = entry.group.leave(now.monotonic, callers, &mut effects);
        self.settle(now, group, (effects, out));
        Ok(left)
    }

    /// The log has answered an append: it is durable, or it was refused.
    pub fn appended(
        &mut self,
        now: Now,
        (id, is_durable): (AppendId, bool),
        out: &mut Vec<ShardEffect>,
    ) {
        match self.appending.remove(&id).expect("what is appended was asked for, once") {
            Appending::Group { group, store } => {
                // A group that is being stored is never dropped.
                let entry = self.groups.get_mut(&group).expect("it waits for its record");
                let mut effects = Vec::new();
                entry.group.stored(now.monotonic, (store, is_durable), &mut effects);
                self.settle(now, &group, (effects, out));
            }
            Appending::Commit { group, ticket, offsets } => {
                self.committed((&group, offsets), is_durable);
                let answer = if is_durable { Ok(()) } else { Err(GroupError::NotStored) };
                out.push(ShardEffect::Done(ticket, answer));
                self.weigh_offsets(&group);
                self.drop_if_nothing(&group);
            }
            Appending::Forget { group, ticket, offsets, whole } => {
                if is_durable {
                    self.forgotten(&group, &offsets, whole);
                }
                let answer = if is_durable { Ok(()) } else { Err(GroupError::NotStored) };
                out.extend(ticket.map(|ticket| ShardEffect::Done(ticket, answer)));
                self.settle(now, &group, (Vec::new(), out));
            }
        }
    }

    /// When [`Shard::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Monotonic> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Ends what is overdue in any group.
    pub fn tick(&mut self, now: Now, out: &mut Vec<ShardEffect>) {
        while let Some((deadline, group)) = self.deadlines.first()
            && *deadline <= now.monotonic
        {
            let group = group.clone();
            let entry = self.groups.get_mut(&group).expect("who has a deadline is there");
            let mut effects = Vec::new();
            entry.group.tick(now.monotonic, &mut effects);
            let is_done = entry.group.deadline().is_none_or(|next| next > now.monotonic);
            assert!(is_done, "a tick ends all that is due");
            self.settle(now, &group, (effects, out));
        }
    }

    /// After each step of a group: hands on what it wants done, and looks when it is due next.
    fn settle(
        &mut self,
        now: Now,
        group: &str,
        (effects, out): (Vec<Effect>, &mut Vec<ShardEffect>),
    ) {
        for effect in effects {
            let handed_on = match effect {
                Effect::Join(ticket, answer) => ShardEffect::Join(ticket, answer),
                Effect::Sync(ticket, answer) => ShardEffect::Sync(ticket, answer),
                Effect::Store(store, state) => {
                    let entry = self.groups.get_mut(group).expect("it wants something stored");
                    entry.since = now.wall;
                    entry.is_logged = true;
                    entry.stored_by = self.next_append;
                    let group = group.to_owned();
                    let record = LogRecord {
                        key: RecordKey::Group { group: group.clone() },
                        value: Some(encode_group(&state, now.wall)),
                        topic: None,
                    };
                    self.append(Appending::Group { group, store }, vec![record])
                }
            };
            out.push(handed_on);
        }
        self.note_deadline(group);
        self.weigh(group);
        self.drop_if_nothing(group);
    }

    fn weigh(&mut self, group: &str) {
        let Some(entry) = self.groups.get_mut(group) else { return };
        entry.weigh(group);
        self.weigh_offsets(group);
    }

    /// [`Shard::weigh`] after a change of nothing but offsets: a large group has many members.
    fn weigh_offsets(&mut self, group: &str) {
        let Some(entry) = self.groups.get_mut(group) else { return };
        if entry.group_bytes == 0 {
            entry.weigh(group);
        }
        let bytes = entry.group_bytes + entry.offsets.bytes();
        let before = std::mem::replace(&mut entry.bytes, bytes);
        self.bytes = self.bytes - before + bytes;
    }

    fn append(&mut self, what: Appending, records: Vec<LogRecord>) -> ShardEffect {
        assert!(!records.is_empty(), "an append has records");
        let id = AppendId(self.next_append);
        self.next_append += 1;
        self.appending.insert(id, what);
        ShardEffect::Append(id, records)
    }

    fn note_deadline(&mut self, group: &str) {
        let Some(entry) = self.groups.get_mut(group) else { return };
        let deadline = entry.group.deadline();
        if entry.deadline == deadline {
            return;
        }
        if let Some(old) = std::mem::replace(&mut entry.deadline, deadline) {
            let was_there = self.deadlines.remove(&(old, group.to_owned()));
            assert!(was_there, "a deadline that is known stands in the list");
        }
        self.deadlines.extend(deadline.map(|deadline| (deadline, group.to_owned())));
    }

    /// Forgets a group of which neither the log nor anybody else knows.
    fn drop_if_nothing(&mut self, group: &str) {
        let is_nothing =
            |entry: &Entry| entry.is_idle() && !entry.is_logged && entry.offsets.is_empty();
        if self.groups.get(group).is_some_and(is_nothing) {
            self.remove(group);
        }
    }

    fn remove(&mut self, group: &str) {
        let entry = self.groups.remove(group).expect("it was found");
        assert!(entry.is_idle() && entry.offsets.is_empty(), "only what is over is removed");
        self.bytes -= entry.bytes;
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, group.to_owned()));
        }
    }

    /// What must hold after every step.
    pub fn check_all(&self) {
        for (name, entry) in &self.groups {
            entry.group.check_all();
            entry.offsets.check_all();
            assert_eq!(entry.bytes, entry.weight(name), "{name} was weighed");
            let due = entry.group.deadline();
            let is_early = entry.deadline.is_some_and(|noted| due.is_none_or(|due| noted <= due));
            assert!(
                is_early || due.is_none() && entry.deadline.is_none(),
                "{name} is not forgotten"
            );
        }
        let noted = self
            .groups
            .iter()
            .filter_map(|(name, entry)| entry.deadline.map(|deadline| (deadline, name.clone())));
        assert_eq!(noted.collect::<BTreeSet<_>>(), self.deadlines, "each deadline is noted once");
        let bytes: usize = self.groups.values().map(|entry| entry.bytes).sum();
        assert_eq!(self.bytes, bytes, "every group is counted once");
        for what in self.appending.values() {
            let (Appending::Group { group, .. } | Appending::Commit { group, .. }) = what else {
                continue;
            };
            assert!(self.groups.contains_key(group), "{group} waits for the log");
        }
    }
}
