//! A shard against its log: what it shows is what a replay of the durable records gives.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::group::offsets::CommittedFor;
use crate::group::records::CommittedOffset;
use crate::group::shard::{
    AppendId, Commit, LogRecord, Now, OffsetsCursor, Shard, ShardEffect, ShardLoader, ShardRules,
    StoredRecord,
};
use crate::group::weight::Room;
use crate::ids::{Offset, TimestampMs, TopicId};
use crate::limits::GROUP_MEMBER_BYTES_MAX;
use crate::metadata::command::MetadataCommand;
use crate::metadata::image::MetadataImage;

const RETENTION: Duration = Duration::from_secs(3600);
const SHARD_RULES: ShardRules = ShardRules {
    group: RULES,
    session_timeout_min: Duration::from_secs(1),
    session_timeout_max: Duration::from_secs(1800),
    metadata_bytes_max: 4096,
    retention: RETENTION,
};

/// A shard, its log, and what it said.
struct World {
    shard: Shard,
    now: Now,
    /// The topics `t` and `u`.
    image: MetadataImage,
    /// Handed over, and not answered yet.
    queue: Vec<(AppendId, Vec<LogRecord>)>,
    log: Vec<LogRecord>,
    answers: Vec<ShardEffect>,
    next: u64,
    topics_made: u64,
}

impl World {
    fn new() -> World {
        let mut world = World {
            shard: Shard::new(SHARD_RULES),
            now: Now { monotonic: Monotonic(1_000_000_000), wall: TimestampMs(1_000_000) },
            image: MetadataImage::default(),
            queue: Vec::new(),
            log: Vec::new(),
            answers: Vec::new(),
            next: 0,
            topics_made: 0,
        };
        TOPICS.iter().for_each(|topic| world.recreate(topic));
        world
    }

    /// Another topic has the name from now on.
    fn recreate(&mut self, topic: &str) {
        if let Some(id) = self.image.topic(topic).map(|topic| topic.id) {
            self.image.apply(&MetadataCommand::DeleteTopic { id }).unwrap();
        }
        self.topics_made += 1;
        let create = MetadataCommand::CreateTopic {
            name: topic.to_owned(),
            id: TopicId(u128::from(self.topics_made).to_be_bytes()),
            partitions: 1,
            configs: BTreeMap::new(),
            created_ms: self.now.wall,
        };
        self.image.apply(&create).unwrap();
    }

    fn expire(&mut self) {
        let image = self.image.clone();
        self.step(|shard, now, _, out| shard.expire(now.wall, &image, out));
    }

    fn step<T>(
        &mut self,
        step: impl FnOnce(&mut Shard, Now, Ticket, &mut Vec<ShardEffect>) -> T,
    ) -> T {
        self.next += 1;
        let mut out = Vec::new();
        let given = step(&mut self.shard, self.now, Ticket(self.next), &mut out);
        self.shard.check_all();
        for effect in out {
            match effect {
                ShardEffect::Append(id, records) => self.queue.push((id, records)),
                answer => self.answers.push(answer),
            }
        }
        given
    }

    fn wait(&mut self, time: Duration) {
        self.now.monotonic = self.now.monotonic.after(time);
        self.now.wall.0 += i64::try_from(time.as_millis()).unwrap();
        self.step(|shard, now, _, out| shard.tick(now, out));
        assert!(self.shard.deadline().is_none_or(|deadline| deadline > self.now.monotonic));
    }

    /// The log answers the oldest append.
    fn answer(&mut self, is_durable: bool) {
        if self.queue.is_empty() {
            return;
        }
        let (id, records) = self.queue.remove(0);
        if is_durable {
            self.log.extend(records);
        }
        self.step(|shard, now, _, out| shard.appended(now, (id, is_durable), out));
    }

    fn answer_all(&mut self) {
        while !self.queue.is_empty() {
            self.answer(true);
        }
    }

    fn join(&mut self, group: &str, id: &str) {
        let join = join_of(Caller::default(), id);
        self.step(|shard, now, ticket, out| shard.join(now, group, (ticket, join), out));
    }

    /// Commits the offset of partition 0, as nobody's unless a member is named.
    fn commit(
        &mut self,
        group: &str,
        (topic, offset): (&str, i64),
        of: Option<(&str, i32)>,
    ) -> Result<(), GroupError> {
        let committed = CommittedOffset {
            offset: Offset(offset),
            leader_epoch: 0,
            metadata: String::new(),
            committed: self.now.wall,
            expires: None,
            topic: self.image.topic(topic).unwrap().id,
        };
        let caller = of.map(|(id, _)| member(id)).unwrap_or_default();
        let generation = of.map_or(-1, |(_, generation)| generation);
        let offsets = vec![(CommittedFor { topic: topic.to_owned(), partition: 0 }, committed)];
        let commit = Commit { caller, generation, offsets };
        self.step(|shard, now, ticket, out| shard.commit(now, group, (ticket, commit), out))
    }

    fn offset(&self, group: &str, topic: &str) -> Option<i64> {
        let topic = self.image.topic(topic)?;
        self.shard.offsets(group)?.get(topic, 0).map(|committed| committed.offset.0)
    }

    fn replayed(&self) -> Shard {
        let mut loader = ShardLoader::new(self.image.clone().into());
        for LogRecord { key, value, topic } in &self.log {
            let (key, value) = (&key.encode()[..], value.as_deref());
            loader.take(StoredRecord { key, value, topic: *topic }).unwrap();
        }
        let (shard, refused) = loader.finish(SHARD_RULES, self.now);
        assert_eq!(refused, []);
        shard
    }

    /// Nothing is on its way: a restart must go on with what was shown.
    fn check_replay(&self) {
        assert!(self.queue.is_empty());
        let replayed = self.replayed();
        for listed in self.shard.list() {
            let name = listed.name;
            let ours: Vec<_> = self.shard.offsets(name).unwrap().visible(&self.image).collect();
            let theirs = replayed.offsets(name).map(|all| all.visible(&self.image).collect());
            let theirs: Vec<_> = theirs.unwrap_or_default();
            assert_eq!(ours, theirs, "offsets of {name}");
            let ours = self.shard.describe(name).unwrap();
            if ours.phase == Phase::Stable {
                let theirs = replayed.describe(name).expect("a stable group is in the log");
                assert_eq!((theirs.phase, theirs.state), (ours.phase, ours.state), "{name}");
            }
        }
        for listed in replayed.list() {
            assert!(self.shard.describe(listed.name).is_some(), "{} came back", listed.name);
        }
    }
}

#[test]
fn a_commit_shows_once_it_is_durable() {
    let mut world = World::new();
    assert_eq!(world.commit("g", ("t", 5), None), Ok(()));
    assert_eq!(world.offset("g", "t"), None);
    assert_eq!(world.commit("g", ("t", 6), None), Ok(()));
    world.answer(true);
    assert_eq!((world.offset("g", "t"), world.answers.len()), (Some(5), 1));
    world.answer(false);
    assert_eq!(world.offset("g", "t"), Some(5));
    assert_eq!(world.answers[1], ShardEffect::Done(Ticket(2), Err(GroupError::NotStored)));
    world.check_replay();
}

#[test]
fn a_look_at_all_offsets_in_small_steps_sees_each_once() {
    let mut world = World::new();
    world.recreate("v");
    let mut expected = Vec::new();
    for group in ["a", "b", "bb", "c"] {
        for topic in ["t", "u", "v"].into_iter().filter(|_| group != "b") {
            assert_eq!(world.commit(group, (topic, 7), None), Ok(()));
            expected.push((group.to_owned(), topic.to_owned()));
        }
    }
    world.join("b", "a member, and no offset");
    world.answer_all();
    for steps_max in 2..20 {
        let (mut seen, mut cursor) = (Vec::new(), Some(OffsetsCursor::default()));
        while let Some(from) = cursor {
            let (rows, next) = world.shard.committed_from(&from, steps_max);
            assert!(rows.len() < steps_max, "{steps_max}: {rows:?}");
            assert!(rows.iter().all(|row| row.offset == Offset(7) && row.of.partition == 0));
            seen.extend(rows.into_iter().map(|row| (row.group, row.of.topic)));
            cursor = next;
        }
        assert_eq!(seen, expected, "{steps_max}");
    }
}

#[test]
fn who_may_commit() {
    let mut world = World::new();
    let unknown = Err(GroupError::UnknownGroup);
    assert_eq!(world.commit("g", ("t", 1), Some(("a", 1))), unknown);
    assert_eq!(world.shard.len(), 0, "an unknown group is not made by a refusal");
    world.join("g", "a");
    world.wait(Duration::ZERO);
    let completing = world.commit("g", ("t", 1), Some(("a", 1)));
    assert_eq!(completing, Err(GroupError::RebalanceInProgress));
    let sync = Sync {
        caller: member("a"),
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments: BTreeMap::new(),
    };
    world.step(|shard, now, ticket, out| shard.sync(now, "g", (ticket, sync), out));
    world.answer_all();
    assert_eq!(world.commit("g", ("t", 1), None), Err(GroupError::UnknownMember));
    assert_eq!(world.commit("g", ("t", 1), Some(("b", 1))), Err(GroupError::UnknownMember));
    let stale = world.commit("g", ("t", 1), Some(("a", 0)));
    assert_eq!(stale, Err(GroupError::IllegalGeneration(1)));
    assert_eq!(world.commit("g", ("t", 1), Some(("a", 1))), Ok(()));
    world.answer_all();
    world.check_replay();
}

/// Room that is taken up to a bound.
fn room(world: &World, new_max: usize, max: usize) -> Room {
    Room { used: world.shard.bytes(), new_max, max }
}

#[test]
fn without_room_nothing_new_comes_and_what_is_there_goes_on() {
    let mut world = World::new();
    world.join("g", "a");
    world.commit("h", ("t", 1), None).unwrap();
    world.answer_all();
    let (used, max) = (world.shard.bytes(), usize::MAX);
    world.shard.set_room(room(&world, used, max));
    let full = GroupError::NoRoom { used, max: used };
    for (group, id) in [("g", "b"), ("new", "c")] {
        world.join(group, id);
        let refused = ShardEffect::Join(Ticket(world.next), Err(full.clone()));
        assert_eq!(world.answers.pop(), Some(refused), "{group}");
    }
    let no_offset = Err(GroupError::NoRoomForOffsets { used, max: used });
    assert_eq!(world.commit("h", ("u", 1), None), no_offset);
    assert_eq!(world.commit("new", ("t", 1), None), no_offset);
    assert_eq!(world.shard.len(), 2, "a refusal makes no group");
    assert_eq!(world.commit("h", ("t", 2), None), Ok(()));
    world.answer_all();
    assert_eq!(world.offset("h", "t"), Some(2));
    world.wait(Duration::ZERO);
    let sync = Sync {
        caller: member("a"),
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments: BTreeMap::from([("a".to_owned(), vec![b'x'; 100_000].into())]),
    };
    let begin = |shard: &mut Shard, now: Now, ticket: Ticket, out: &mut Vec<ShardEffect>| {
        shard.sync(now, "g", (ticket, sync.clone()), out);
    };
    world.shard.set_room(room(&world, used, used));
    world.step(begin);
    let full = GroupError::NoRoom { used: world.shard.bytes(), max: used };
    let refused = ShardEffect::Sync(Ticket(world.next), Err(full));
    assert_eq!(world.answers.pop(), Some(refused));
    world.shard.set_room(room(&world, used, max));
    world.step(begin);
    world.answer_all();
    assert_eq!(world.shard.bytes(), used + 100_000, "the assignment counts");
    world.check_replay();
}

#[test]
fn a_shard_weighs_nothing_when_all_of_it_is_gone() {
    let mut world = World::new();
    world.join("g", "a");
    for (topic, offset) in [("t", 1), ("u", 5), ("t", 2)] {
        world.commit("h", (topic, offset), None).unwrap();
    }
    world.answer_all();
    let used = world.shard.bytes();
    assert!(used > 1000);
    let restarted = world.replayed();
    assert!(restarted.bytes() > 0 && restarted.bytes() < used, "nobody has formed a generation");
    world.wait(RETENTION * 2);
    world.expire();
    world.answer_all();
    world.expire();
    world.answer_all();
    assert_eq!((world.shard.len(), world.shard.bytes()), (0, 0));
}

#[test]
fn the_name_of_a_topic_that_offsets_are_committed_for_has_a_weight() {
    let mut world = World::new();
    world.commit("g", ("t", 1), None).unwrap();
    world.answer_all();
    let long = "l".repeat(249);
    let [short, long] = ["s", &long].map(|topic| {
        world.recreate(topic);
        let before = world.shard.bytes();
        world.commit("g", (topic, 1), None).unwrap();
        world.answer_all();
        world.shard.bytes() - before
    });
    assert_eq!(long, short + 248);
}

#[test]
fn the_name_of_an_instance_has_a_weight() {
    let [short, long] = [1, 101].map(|length| {
        let mut world = World::new();
        let join = join_of(fixed("", &"i".repeat(length)), "a");
        world.step(|shard, now, ticket, out| shard.join(now, "g", (ticket, join), out));
        world.answer_all();
        world.shard.bytes()
    });
    assert_eq!(long, short + 2 * 100, "it is kept by the member and by the group");
}

#[test]
fn a_member_brings_a_bounded_number_of_bytes() {
    let mut world = World::new();
    let mut join = join_of(Caller::default(), "a");
    join.protocols[0].1 = vec![0; GROUP_MEMBER_BYTES_MAX].into();
    world.step(|shard, now, ticket, out| shard.join(now, "g", (ticket, join), out));
    let answer = world.answers.pop().unwrap();
    let ShardEffect::Join(_, Err(GroupError::MemberTooLarge { bytes, max })) = answer else {
        panic!("{answer:?}")
    };
    assert!(bytes > max && max == GROUP_MEMBER_BYTES_MAX && world.shard.is_empty());
}

#[test]
fn bounds_and_names_are_checked_at_the_door() {
    let mut world = World::new();
    for (group, session, refused) in [
        ("", SESSION, GroupError::InvalidGroupId),
        (
            "g",
            Duration::from_millis(999),
            GroupError::InvalidSessionTimeout {
                asked: Duration::from_millis(999),
                min: SHARD_RULES.session_timeout_min,
                max: SHARD_RULES.session_timeout_max,
            },
        ),
    ] {
        let join = Join { session_timeout: session, ..join_of(Caller::default(), "a") };
        world.step(|shard, now, ticket, out| shard.join(now, group, (ticket, join), out));
        let answer = world.answers.pop();
        assert!(matches!(answer, Some(ShardEffect::Join(_, Err(error))) if error == refused));
        assert!(world.shard.is_empty());
    }
    let nobody = world.shard.heartbeat(world.now, "g", (&member("a"), 0));
    assert_eq!(nobody, Err(GroupError::UnknownMember));
    let gone = world.step(|shard, now, _, out| shard.leave(now, ("g", &[]), out));
    assert_eq!(gone, Err(GroupError::UnknownMember));
}

#[test]
fn groups_are_deleted_when_nobody_is_in_them() {
    let mut world = World::new();
    let delete = |world: &mut World, group: &str| {
        world.step(|shard, _, ticket, out| shard.delete((group, ticket), out))
    };
    assert_eq!(delete(&mut world, ""), Err(GroupError::InvalidGroupId));
    assert_eq!(delete(&mut world, "g"), Err(GroupError::UnknownGroup));
    world.join("g", "a");
    assert_eq!(delete(&mut world, "g"), Err(GroupError::NonEmptyGroup));
    let left = world.step(|shard, now, _, out| shard.leave(now, ("g", &[member("a")]), out));
    assert_eq!(left, Ok(vec![Ok(())]));
    world.answer_all();
    assert_eq!(world.commit("g", ("t", 5), None), Ok(()));
    world.answer_all();
    assert_eq!(delete(&mut world, "g"), Ok(()));
    // What comes into the log behind the deletion stays.
    assert_eq!(world.commit("g", ("u", 6), None), Ok(()));
    world.answer_all();
    assert_eq!((world.offset("g", "t"), world.offset("g", "u")), (None, Some(6)));
    world.check_replay();
    assert_eq!(delete(&mut world, "g"), Ok(()));
    world.answer_all();
    assert!(world.shard.is_empty() && world.replayed().is_empty());
}

#[test]
fn offsets_outlive_the_use_of_their_group_by_the_retention() {
    let mut world = World::new();
    world.commit("simple", ("t", 1), None).unwrap();
    world.join("used", "a");
    world.wait(Duration::ZERO);
    world.commit("other", ("t", 1), None).unwrap();
    world.answer_all();
    let expire = |world: &mut World| {
        world.expire();
        world.answer_all();
        world.check_replay();
    };
    world.wait(RETENTION - Duration::from_millis(1));
    expire(&mut world);
    assert!(world.offset("simple", "t").is_some());
    world.commit("other", ("t", 2), None).unwrap();
    world.answer_all();
    world.wait(Duration::from_millis(1));
    // A commit on its way keeps its group.
    world.commit("simple", ("t", 3), None).unwrap();
    world.expire();
    world.answer_all();
    assert_eq!((world.offset("simple", "t"), world.offset("other", "t")), (Some(3), Some(2)));
    world.wait(RETENTION);
    expire(&mut world);
    assert!(world.offset("simple", "t").is_none() && world.offset("other", "t").is_none());
    assert!(world.shard.is_empty(), "nothing is left of them");
}

#[test]
fn a_topic_takes_its_offsets_with_it() {
    let mut world = World::new();
    world.commit("g", ("t", 1), None).unwrap();
    world.commit("g", ("u", 2), None).unwrap();
    world.answer(true);
    world.answer(true);
    // On its way when the topic goes.
    world.commit("h", ("t", 3), None).unwrap();
    world.recreate("t");
    assert_eq!((world.offset("g", "t"), world.offset("h", "t")), (None, None));
    world.answer_all();
    assert_eq!((world.offset("g", "t"), world.offset("h", "t")), (None, None));
    assert_eq!(world.offset("g", "u"), Some(2));
    world.check_replay();
    // What takes them back is not stored, and nothing comes back: a later look finds them.
    let image = world.image.clone();
    world.step(|shard, _, _, out| shard.forget_gone(&image, out));
    assert_eq!(world.queue.len(), 2);
    world.answer(false);
    world.answer(false);
    assert_eq!((world.offset("g", "t"), world.offset("h", "t")), (None, None));
    world.check_replay();
    // What is committed for the new topic takes the place of what is left of the old one.
    world.commit("g", ("t", 4), None).unwrap();
    world.expire();
    assert_eq!(world.offset("g", "t"), None);
    world.answer_all();
    assert_eq!((world.offset("g", "t"), world.offset("h", "t")), (Some(4), None));
    world.check_replay();
    assert!(world.shard.describe("h").is_none(), "nothing is left of it");
}

#[test]
fn an_offset_without_topic_is_of_the_one_that_was_there() {
    let mut world = World::new();
    world.commit("g", ("t", 1), None).unwrap();
    world.answer_all();
    world.wait(Duration::from_secs(1));
    world.recreate("u");
    world.commit("g", ("u", 2), None).unwrap();
    world.answer_all();
    world.log.iter_mut().for_each(|record| record.topic = None);
    world.shard = world.replayed();
    assert_eq!((world.offset("g", "t"), world.offset("g", "u")), (Some(1), Some(2)));
    world.wait(Duration::from_secs(1));
    world.recreate("u");
    world.shard = world.replayed();
    assert_eq!((world.offset("g", "t"), world.offset("g", "u")), (Some(1), None));
}

#[test]
fn each_offset_is_deleted_once() {
    let mut world = World::new();
    let of = |topic: &str, partition| CommittedFor { topic: topic.to_owned(), partition };
    let delete = |world: &mut World, offsets: Vec<CommittedFor>| {
        world.step(|shard, _, ticket, out| shard.delete_offsets("g", (ticket, offsets), out))
    };
    assert_eq!(delete(&mut world, Vec::new()), Err(GroupError::UnknownGroup));
    world.commit("g", ("t", 1), None).unwrap();
    world.answer_all();
    world.commit("g", ("u", 1), None).unwrap();
    let asked = vec![of("t", 0), of("t", 1), of("u", 0), of("v", 0), of("t", 0), of("u", 0)];
    assert_eq!(delete(&mut world, asked), Ok(BTreeSet::new()));
    let (_, records) = &world.queue[1];
    assert_eq!(records.len(), 2, "{records:?}");
    world.answer_all();
    assert_eq!((world.offset("g", "t"), world.offset("g", "u")), (None, None));
    world.check_replay();
}

/// Whose subscription is to `t`.
fn subscriber(world: &mut World, id: &str) {
    let topics = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t");
    let join = Join {
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), topics)],
        ..join_of(Caller::default(), id)
    };
    world.step(|shard, now, ticket, out| shard.join(now, "g", (ticket, join), out));
    world.wait(Duration::ZERO);
}

#[test]
fn what_members_use_stays_and_nothing_expires_while_they_rebalance() {
    let mut world = World::new();
    world.commit("g", ("t", 1), None).unwrap();
    world.commit("g", ("u", 2), None).unwrap();
    world.answer_all();
    world.now.wall.0 += i64::try_from(RETENTION.as_millis()).unwrap();
    subscriber(&mut world, "a");
    let shown = |world: &World| (world.offset("g", "t"), world.offset("g", "u"));
    assert_eq!(world.shard.describe("g").unwrap().phase, Phase::Completing);
    world.expire();
    world.answer_all();
    assert_eq!(shown(&world), (Some(1), Some(2)));
    let sync = Sync {
        caller: member("a"),
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments: BTreeMap::new(),
    };
    world.step(|shard, now, ticket, out| shard.sync(now, "g", (ticket, sync), out));
    world.answer_all();
    assert_eq!(world.shard.describe("g").unwrap().phase, Phase::Stable);
    let of = |topic: &str| CommittedFor { topic: topic.to_owned(), partition: 0 };
    let used = world.step(|shard, _, ticket, out| {
        shard.delete_offsets("g", (ticket, vec![of("t"), of("t")]), out)
    });
    assert_eq!(used, Ok(BTreeSet::from(["t".to_owned()])));
    world.expire();
    world.answer_all();
    assert_eq!(shown(&world), (Some(1), None));
}

/// What may happen to a shard with three groups.
#[derive(Clone, Debug)]
enum Happening {
    Join(usize),
    Sync(usize, usize),
    Leave(usize, usize),
    Commit(usize, usize, bool),
    Delete(usize),
    DeleteOffsets(usize, usize),
    Recreate(usize),
    ForgetGone,
    Expire,
    Wait(u16),
    Answer(bool),
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let group = 0usize..3;
    prop_oneof![
        3 => group.clone().prop_map(Happening::Join),
        6 => (group.clone(), 0usize..8).prop_map(|(group, who)| Happening::Sync(group, who)),
        1 => (group.clone(), 0usize..8).prop_map(|(group, who)| Happening::Leave(group, who)),
        6 => (group.clone(), 0usize..8, any::<bool>())
            .prop_map(|(group, what, own)| Happening::Commit(group, what, own)),
        1 => group.clone().prop_map(Happening::Delete),
        1 => (group, 0usize..2).prop_map(|(group, topic)| Happening::DeleteOffsets(group, topic)),
        1 => (0usize..2).prop_map(Happening::Recreate),
        1 => Just(Happening::ForgetGone),
        1 => Just(Happening::Expire),
        4 => (0u16..4000).prop_map(Happening::Wait),
        12 => prop::bool::weighted(0.9).prop_map(Happening::Answer),
        1 => Just(Happening::Restart),
    ]
}

const GROUPS: [&str; 3] = ["g", "h", "i"];
const TOPICS: [&str; 2] = ["t", "u"];

impl World {
    fn happen(&mut self, happening: &Happening, nth: usize) {
        match *happening {
            Happening::Join(group) => self.join(GROUPS[group], &format!("m{nth}")),
            Happening::Sync(group, who) => {
                let Some((id, generation)) = self.nth_member(GROUPS[group], who) else { return };
                let sync = Sync {
                    caller: member(&id),
                    generation,
                    protocol_type: None,
                    protocol: None,
                    assignments: BTreeMap::from([(id, Bytes::from_static(b"all"))]),
                };
                self.step(|shard, now, ticket, out| {
                    shard.sync(now, GROUPS[group], (ticket, sync), out);
                });
            }
            Happening::Leave(group, who) => {
                let Some((id, _)) = self.nth_member(GROUPS[group], who) else { return };
                self.step(|shard, now, _, out| {
                    let _ = shard.leave(now, (GROUPS[group], &[member(&id)]), out);
                });
            }
            Happening::Commit(group, what, own) => {
                let of = self.nth_member(GROUPS[group], what).filter(|_| own);
                let of = of.as_ref().map(|(id, generation)| (id.as_str(), *generation));
                let _ = self.commit(GROUPS[group], (TOPICS[what % 2], nth as i64), of);
            }
            Happening::Delete(group) => self.step(|shard, _, ticket, out| {
                let _ = shard.delete((GROUPS[group], ticket), out);
            }),
            Happening::DeleteOffsets(group, topic) => self.step(|shard, _, ticket, out| {
                let of = CommittedFor { topic: TOPICS[topic].to_owned(), partition: 0 };
                let _ = shard.delete_offsets(GROUPS[group], (ticket, vec![of]), out);
            }),
            Happening::Recreate(topic) => self.recreate(TOPICS[topic]),
            Happening::ForgetGone => {
                let image = self.image.clone();
                self.step(|shard, _, _, out| shard.forget_gone(&image, out));
            }
            Happening::Expire => self.expire(),
            Happening::Wait(seconds) => self.wait(Duration::from_secs(seconds.into())),
            Happening::Answer(is_durable) => self.answer(is_durable),
            Happening::Restart => {
                // What was on its way may be in the log or not.
                let durable = nth % (self.queue.len() + 1);
                let queue = std::mem::take(&mut self.queue);
                self.log.extend(queue.into_iter().take(durable).flat_map(|(_, records)| records));
                self.shard = self.replayed();
            }
        }
    }

    fn nth_member(&self, group: &str, who: usize) -> Option<(String, i32)> {
        let state = self.shard.describe(group)?.state;
        let member = state.members.get(who % state.members.len().max(1))?;
        Some((member.member_id.clone(), state.generation))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_shown_is_what_the_log_says(all in prop::collection::vec(happening(), 1..120)) {
        let mut world = World::new();
        for (nth, happening) in all.iter().enumerate() {
            world.happen(happening, nth);
        }
        world.answer_all();
        world.check_replay();
    }
}
