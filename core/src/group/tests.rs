//! Every rule of the membership, and random members against all of them together.

mod random;
mod records;
mod shard;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rivven_io::clock::Monotonic;

use super::machine::{Group, Phase};
use super::messages::*;
use crate::limits::GROUP_PENDING_IDS_MAX;

const RULES: GroupRules = GroupRules { members_max: 3, initial_delay: Duration::ZERO };
const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A group, its time, and what came out of it and was not looked at yet.
struct Place {
    group: Group,
    now: Monotonic,
    effects: Vec<Effect>,
    next: u64,
}

fn place(rules: GroupRules) -> Place {
    let now = Monotonic(1_000_000_000);
    Place { group: Group::new(rules), now, effects: Vec::new(), next: 0 }
}

fn member(id: &str) -> Caller {
    Caller { member_id: id.to_owned(), instance_id: None }
}

fn fixed(id: &str, instance: &str) -> Caller {
    Caller { member_id: id.to_owned(), instance_id: Some(instance.to_owned()) }
}

fn join_of(caller: Caller, fresh: &str) -> Join {
    Join {
        caller,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
        needs_known_id: false,
        can_skip_assignment: true,
        fresh_member_id: fresh.to_owned(),
    }
}

impl Place {
    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    fn join(&mut self, join: Join) -> Ticket {
        let ticket = self.ticket();
        self.group.join(self.now, (ticket, join), &mut self.effects);
        self.group.check_all();
        ticket
    }

    /// Someone without an id joins and gets this one.
    fn join_new(&mut self, id: &str) -> Ticket {
        self.join(join_of(member(""), id))
    }

    fn rejoin(&mut self, id: &str) -> Ticket {
        self.join(join_of(member(id), "unused"))
    }

    fn sync(&mut self, caller: Caller, assignments: &[(&str, &str)]) -> Ticket {
        let ticket = self.ticket();
        let given = assignments.iter();
        let sync = Sync {
            caller,
            generation: self.group.generation(),
            protocol_type: Some("consumer".to_owned()),
            protocol: Some("range".to_owned()),
            assignments: given
                .map(|(id, parts)| ((*id).to_owned(), Bytes::copy_from_slice(parts.as_bytes())))
                .collect(),
        };
        self.group.sync(self.now, (ticket, sync), &mut self.effects);
        self.group.check_all();
        ticket
    }

    /// The answer to a join; `None` if there is none yet.
    fn joined(&mut self, wanted: Ticket) -> Option<Result<Joined, GroupError>> {
        let is_it =
            |effect: &Effect| matches!(effect, Effect::Join(ticket, _) if *ticket == wanted);
        let index = self.effects.iter().position(is_it)?;
        match self.effects.remove(index) {
            Effect::Join(_, answer) => Some(answer),
            other => panic!("{other:?}"),
        }
    }

    fn synced(&mut self, wanted: Ticket) -> Option<Result<Bytes, GroupError>> {
        let is_it =
            |effect: &Effect| matches!(effect, Effect::Sync(ticket, _) if *ticket == wanted);
        let index = self.effects.iter().position(is_it)?;
        match self.effects.remove(index) {
            Effect::Sync(_, answer) => Some(answer.map(|synced| synced.assignment)),
            other => panic!("{other:?}"),
        }
    }

    /// Reports everything that was to be stored; what it was.
    fn store_all(&mut self, is_durable: bool) -> Vec<StoredGroup> {
        let mut stored = Vec::new();
        let is_store = |effect: &Effect| matches!(effect, Effect::Store(..));
        while let Some(index) = self.effects.iter().position(is_store) {
            let Effect::Store(id, state) = self.effects.remove(index) else { continue };
            stored.push(state);
            self.group.stored(self.now, (id, is_durable), &mut self.effects);
            self.group.check_all();
        }
        stored
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.group.tick(self.now, &mut self.effects);
        self.group.check_all();
    }

    fn leave(&mut self, caller: Caller) -> Result<(), GroupError> {
        let left = self.group.leave(self.now, &[caller], &mut self.effects).remove(0);
        self.group.check_all();
        left
    }

    /// One static member in a stable generation: `a1` has the place `one`.
    fn one_static() -> Place {
        let mut place = place(RULES);
        place.join(join_of(fixed("", "one"), "a1"));
        place.sync(fixed("a1", "one"), &[("a1", "0")]);
        place.store_all(true);
        place
    }

    /// Two members in a stable generation: `a` leads.
    fn two(rules: GroupRules) -> Place {
        let mut place = place(rules);
        place.join_new("a");
        place.join_new("b");
        place.rejoin("a");
        place.sync(member("b"), &[]);
        place.sync(member("a"), &[("a", "0"), ("b", "1")]);
        place.store_all(true);
        assert_eq!(place.group.phase(), Phase::Stable);
        place.effects.clear();
        place
    }
}

#[test]
fn an_assignment_is_given_once_it_is_stored() {
    let mut place = place(RULES);
    let first = place.join_new("a");
    let joined = place.joined(first).unwrap().unwrap();
    assert_eq!((joined.generation, &*joined.leader, joined.members.len()), (1, "a", 1));
    let second = place.join_new("b");
    assert_eq!(place.joined(second), None, "the first has to join again");
    assert_eq!(
        place.group.heartbeat(place.now, &member("a"), 1),
        Err(GroupError::RebalanceInProgress)
    );
    let first = place.rejoin("a");
    let (leader, follower) = (place.joined(first).unwrap(), place.joined(second).unwrap());
    let (leader, follower) = (leader.unwrap(), follower.unwrap());
    assert_eq!((leader.generation, follower.generation), (2, 2));
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    assert_eq!((&*leader.leader, &*follower.leader), ("a", "a"));

    let follower = place.sync(member("b"), &[]);
    let leader = place.sync(member("a"), &[("a", "0"), ("b", "1")]);
    assert_eq!(place.group.heartbeat(place.now, &member("b"), 2), Ok(()));
    assert_eq!((place.synced(leader), place.synced(follower)), (None, None), "not stored yet");
    let stored = place.store_all(true).pop().unwrap();
    assert_eq!(stored.members[1].assignment, "1");
    assert_eq!(place.synced(leader), Some(Ok(Bytes::from_static(b"0"))));
    assert_eq!(place.synced(follower), Some(Ok(Bytes::from_static(b"1"))));
    let again = place.sync(member("b"), &[]);
    assert_eq!(place.synced(again), Some(Ok(Bytes::from_static(b"1"))));

    let restored = Group::restored(RULES, stored.clone(), place.now).unwrap();
    assert_eq!((restored.phase(), restored.generation()), (Phase::Stable, 2));
    assert_eq!(restored.stored_state(), stored);
}

#[test]
fn what_cannot_be_stored_is_not_assigned() {
    let mut place = place(RULES);
    place.join_new("a");
    let sync = place.sync(member("a"), &[("a", "0")]);
    place.store_all(false);
    assert_eq!(place.synced(sync), Some(Err(GroupError::NotStored)));
    assert!(matches!(place.group.phase(), Phase::Preparing { .. }));
    let join = place.rejoin("a");
    assert_eq!(place.joined(join).unwrap().unwrap().generation, 2);
}

#[test]
fn an_assignment_of_an_older_generation_is_nobodys() {
    let mut place = Place::two(RULES);
    place.rejoin("a");
    place.rejoin("b");
    let sync = place.sync(member("a"), &[("a", "old")]);
    let third = place.join_new("c");
    assert_eq!(place.synced(sync), Some(Err(GroupError::RebalanceInProgress)));
    place.rejoin("a");
    place.rejoin("b");
    assert!(place.joined(third).unwrap().is_ok());
    place.store_all(true);
    assert!(matches!(place.group.phase(), Phase::Completing));
    assert!(place.group.stored_state().members.iter().all(|member| member.assignment.is_empty()));
}

#[test]
fn a_new_member_comes_back_with_the_id_it_is_given() {
    let mut place = place(RULES);
    let asks = Join { needs_known_id: true, ..join_of(member(""), "x") };
    let ticket = place.join(asks.clone());
    let required = Some(Err(GroupError::MemberIdRequired("x".to_owned())));
    assert_eq!(place.joined(ticket), required);
    assert_eq!((place.group.len(), place.group.is_empty()), (0, false));
    let ticket = place.rejoin("x");
    assert_eq!(place.joined(ticket).unwrap().unwrap().member_id, "x");

    place.join(Join { fresh_member_id: "late".to_owned(), ..asks });
    place.wait(SESSION);
    let ticket = place.rejoin("late");
    assert_eq!(place.joined(ticket), Some(Err(GroupError::UnknownMember)));
}

#[test]
fn a_group_waits_for_an_id_that_was_handed_out() {
    let mut place = Place::two(RULES);
    place.join(Join { needs_known_id: true, ..join_of(member(""), "x") });
    let (a, b) = (place.rejoin("a"), place.rejoin("b"));
    assert_eq!((place.joined(a), place.joined(b)), (None, None));
    assert_eq!(place.leave(member("x")), Ok(()));
    assert!(place.joined(a).unwrap().is_ok() && place.joined(b).unwrap().is_ok());
}

#[test]
fn an_id_that_was_handed_out_outlives_a_generation_that_does_not_wait_for_it() {
    let mut place = place(GroupRules { initial_delay: SESSION / 2, ..RULES });
    place.join(Join { needs_known_id: true, ..join_of(member(""), "x") });
    let first = place.join_new("a");
    place.wait(SESSION / 2);
    assert!(place.joined(first).unwrap().is_ok(), "the first generation begins at its time");
    let ticket = place.rejoin("x");
    assert_eq!(place.joined(ticket), None, "the next one waits for a");
    place.rejoin("a");
    assert!(place.joined(ticket).unwrap().is_ok());
}

#[test]
fn members_that_stay_away_are_removed() {
    let mut place = Place::two(RULES);
    // b says nothing; a is heard of.
    place.wait(SESSION / 2);
    place.group.heartbeat(place.now, &member("a"), 2).unwrap();
    place.wait(SESSION / 2);
    assert_eq!(place.group.len(), 1);
    let a = place.rejoin("a");
    assert_eq!(place.joined(a).unwrap().unwrap().generation, 3);

    // a does not ask for its assignment.
    for _ in 0..6 {
        place.wait(SESSION - Duration::from_secs(1));
        let _ = place.group.heartbeat(place.now, &member("a"), 3);
    }
    place.wait(SESSION);
    assert_eq!((place.group.len(), place.group.phase()), (0, Phase::Empty));
    let gone = place.sync(member("a"), &[]);
    assert_eq!(place.synced(gone), Some(Err(GroupError::UnknownMember)));
    assert_eq!(place.store_all(true).last().unwrap().members, []);
}

#[test]
fn who_never_asks_for_its_assignment_is_removed() {
    let mut place = place(RULES);
    place.join_new("a");
    let second = place.join_new("b");
    place.rejoin("a");
    assert!(place.joined(second).unwrap().is_ok());
    place.sync(member("a"), &[("a", "0"), ("b", "1")]);
    place.store_all(true);
    assert_eq!(place.group.phase(), Phase::Stable);
    for _ in 0..REBALANCE.as_secs() / 5 {
        for id in ["a", "b"] {
            let _ = place.group.heartbeat(place.now, &member(id), 2);
        }
        place.wait(Duration::from_secs(5));
    }
    let heard = place.group.heartbeat(place.now, &member("b"), 2);
    assert_eq!(heard, Err(GroupError::UnknownMember));
}

#[test]
fn handed_out_ids_are_bounded() {
    let mut place = place(RULES);
    for k in 0..=GROUP_PENDING_IDS_MAX {
        place.now = place.now.after(Duration::from_nanos(1));
        place.join(Join { needs_known_id: true, ..join_of(member(""), &format!("x{k}")) });
    }
    let (oldest, newest) = (place.rejoin("x0"), place.rejoin("x1"));
    assert_eq!(place.joined(oldest), Some(Err(GroupError::UnknownMember)));
    assert!(place.joined(newest).unwrap().is_ok());
}

#[test]
fn those_that_are_gone_do_not_fill_a_group() {
    let mut place = Place::two(GroupRules { members_max: 2, ..RULES });
    let third = place.join_new("c");
    assert_eq!(place.joined(third), Some(Err(GroupError::Full(2))));
    place.rejoin("a");
    // b is gone without a word, and comes back as somebody new.
    let back = place.join_new("c");
    assert_eq!(place.joined(back), None);
    let third = place.join_new("d");
    assert_eq!(place.joined(third), Some(Err(GroupError::Full(2))));
    place.wait(SESSION);
    assert_eq!(place.joined(back).unwrap().unwrap().generation, 3);
}

#[test]
fn a_group_that_nobody_stored_is_not_restored() {
    let good = Place::two(RULES).group.stored_state();
    let now = Monotonic(5);
    assert!(Group::restored(RULES, good.clone(), now).is_ok());
    let mut twice = good.clone();
    twice.members[1].member_id = "a".to_owned();
    let mut one_place = good.clone();
    one_place.members.iter_mut().for_each(|member| member.instance_id = Some("i".to_owned()));
    for bad in [
        StoredGroup { generation: -1, ..good.clone() },
        StoredGroup { protocol: None, ..good.clone() },
        StoredGroup { protocol_type: None, ..good.clone() },
        twice,
        one_place,
    ] {
        assert!(Group::restored(RULES, bad.clone(), now).is_err(), "{bad:?}");
    }
    let led_by_none = StoredGroup { leader: Some("none".to_owned()), ..good };
    assert!(Group::restored(RULES, led_by_none, now).is_ok());
}

#[test]
fn who_does_not_join_again_is_left_behind() {
    let mut place = Place::two(RULES);
    let third = place.join_new("c");
    place.rejoin("a");
    let waits = REBALANCE.as_secs() / 5;
    for _ in 0..waits {
        let _ = place.group.heartbeat(place.now, &member("b"), 2);
        place.wait(Duration::from_secs(5));
    }
    assert_eq!(place.joined(third).unwrap().unwrap().generation, 3);
    assert_eq!(place.group.len(), 2);
    let heard = place.group.heartbeat(place.now, &member("b"), 2);
    assert_eq!(heard, Err(GroupError::UnknownMember));
}

#[test]
fn a_static_member_comes_back_to_its_assignment() {
    let mut place = Place::one_static();
    for (can_skip, fresh, leader) in [(true, "a2", "a2"), (false, "a3", "a2")] {
        let back = Join { can_skip_assignment: can_skip, ..join_of(fixed("", "one"), fresh) };
        let ticket = place.join(back);
        assert_eq!(place.joined(ticket), None, "its new id is stored first");
        place.store_all(true);
        let joined = place.joined(ticket).unwrap().unwrap();
        assert_eq!((joined.generation, &*joined.member_id), (1, fresh));
        assert_eq!((&*joined.leader, joined.skip_assignment), (leader, can_skip));
        assert_eq!(joined.members.len(), usize::from(can_skip));
        let sync = place.sync(fixed(fresh, "one"), &[]);
        assert_eq!(place.synced(sync), Some(Ok(Bytes::from_static(b"0"))));
    }
    let old = place.group.heartbeat(place.now, &fixed("a1", "one"), 1);
    assert_eq!(old, Err(GroupError::FencedInstance));
    let late = place.group.check_commit(place.now, &fixed("a2", "one"), 1);
    assert_eq!(late, Err(GroupError::FencedInstance));
}

#[test]
fn a_static_member_with_another_protocol_rebalances() {
    let mut place = Place::one_static();
    let mut back = join_of(fixed("", "one"), "a2");
    back.protocols[0].1 = Bytes::from_static(b"topics, and nothing owned");
    let ticket = place.join(back.clone());
    place.store_all(true);
    assert_eq!(place.joined(ticket).unwrap().unwrap().generation, 1);
    back.protocols.insert(0, ("a better one".to_owned(), Bytes::new()));
    let ticket = place.join(Join { fresh_member_id: "a3".to_owned(), ..back });
    let joined = place.joined(ticket).unwrap().unwrap();
    assert_eq!((joined.generation, joined.skip_assignment), (2, false));
}

#[test]
fn a_static_member_keeps_its_place_through_a_rebalance() {
    let mut place = Place::one_static();
    let second = place.join_new("b");
    for _ in 0..REBALANCE.as_secs() / 5 {
        let _ = place.group.heartbeat(place.now, &fixed("a1", "one"), 1);
        place.wait(Duration::from_secs(5));
    }
    let joined = place.joined(second).unwrap().unwrap();
    let seen: Vec<&str> = joined.members.iter().map(|member| &*member.member_id).collect();
    assert_eq!((&*joined.leader, seen), ("b", vec!["a1", "b"]));
}

#[test]
fn members_go_by_id_and_by_instance() {
    let mut place = Place::two(RULES);
    let unknown = Err(GroupError::UnknownMember);
    assert_eq!(place.leave(member("none")), unknown);
    assert_eq!(place.leave(member("b")), Ok(()));
    assert!(matches!(place.group.phase(), Phase::Preparing { .. }));
    assert_eq!(place.leave(member("a")), Ok(()));
    assert_eq!(place.group.phase(), Phase::Empty);
    assert!(place.store_all(true).last().unwrap().members.is_empty());

    place.join(join_of(fixed("", "one"), "s"));
    let wrong = place.leave(fixed("other", "one"));
    assert_eq!(wrong, Err(GroupError::FencedInstance));
    assert_eq!(place.leave(fixed("", "one")), Ok(()));
    assert_eq!(place.leave(fixed("", "one")), unknown);
}

#[test]
fn protocols_must_go_together() {
    let mut place = Place::two(RULES);
    let protocols = |names: &[&str]| -> Vec<(String, Bytes)> {
        names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect()
    };
    let cases = [
        ("consumer", protocols(&[])),
        ("", protocols(&["range"])),
        ("connect", protocols(&["range"])),
        ("consumer", protocols(&["sticky"])),
        ("consumer", protocols(&["range"; 65])),
    ];
    for (protocol_type, protocols) in cases {
        let join = join_of(member(""), "c");
        let protocol_type = protocol_type.to_owned();
        let ticket = place.join(Join { protocol_type, protocols, ..join });
        assert_eq!(place.joined(ticket), Some(Err(GroupError::InconsistentProtocol)));
    }
    place.join(Join { protocols: protocols(&["sticky", "range"]), ..join_of(member(""), "c") });
    assert_eq!(place.group.stored_state().protocol.as_deref(), Some("range"));
}

#[test]
fn the_protocol_that_most_prefer_is_chosen() {
    let mut place = place(GroupRules { initial_delay: Duration::from_secs(3), ..RULES });
    let names = |names: [&str; 2]| names.map(|name| (name.to_owned(), Bytes::new())).to_vec();
    for (id, protocols) in
        [("a", ["range", "sticky"]), ("b", ["sticky", "range"]), ("c", ["sticky", "range"])]
    {
        place.join(Join { protocols: names(protocols), ..join_of(member(""), id) });
        assert_eq!(place.effects, [], "the first generation waits for others");
        place.wait(Duration::from_secs(2));
    }
    place.wait(Duration::from_secs(1));
    assert_eq!(place.group.stored_state().protocol.as_deref(), Some("sticky"));
    assert_eq!((place.group.generation(), place.group.len()), (1, 3));
}

#[test]
fn commits_are_taken_from_members_of_this_generation() {
    let mut place = Place::two(RULES);
    let illegal = Err(GroupError::IllegalGeneration(2));
    let unknown = Err(GroupError::UnknownMember);
    for (caller, generation, expected) in [
        (member("a"), 2, Ok(())),
        (member("a"), 1, illegal.clone()),
        (member("a"), 3, illegal),
        (member("none"), 2, unknown.clone()),
        (member(""), -1, unknown.clone()),
    ] {
        assert_eq!(place.group.check_commit(place.now, &caller, generation), expected);
    }
    place.rejoin("a");
    assert_eq!(place.group.check_commit(place.now, &member("b"), 2), Ok(()), "it may finish");
    place.rejoin("b");
    let completing = place.group.check_commit(place.now, &member("b"), 3);
    assert_eq!(completing, Err(GroupError::RebalanceInProgress));
    let mut empty = Group::new(RULES);
    assert_eq!(empty.check_commit(place.now, &member(""), -1), Ok(()));
    assert_eq!(empty.check_commit(place.now, &member("a"), 1), unknown);
}

#[test]
fn a_repeated_request_replaces_the_one_that_waits() {
    let mut place = Place::two(RULES);
    let first = place.rejoin("a");
    let second = place.rejoin("a");
    assert_eq!(place.joined(first), Some(Err(GroupError::RebalanceInProgress)));
    place.rejoin("b");
    assert!(place.joined(second).unwrap().is_ok());
    let first = place.sync(member("b"), &[]);
    let second = place.sync(member("b"), &[]);
    assert_eq!(place.synced(first), Some(Err(GroupError::RebalanceInProgress)));
    // The answer to its join was lost: it is told again what it missed.
    let again = place.rejoin("a");
    assert_eq!(place.joined(again).unwrap().unwrap().members.len(), 2);
    place.sync(member("a"), &[("b", "1")]);
    place.store_all(true);
    assert_eq!(place.synced(second), Some(Ok(Bytes::from_static(b"1"))));
}

/// Every answer that is still to come, by ticket.
fn answers(effects: &[Effect]) -> BTreeMap<Ticket, usize> {
    let mut counts = BTreeMap::new();
    for effect in effects {
        if let Effect::Join(ticket, _) | Effect::Sync(ticket, _) = effect {
            *counts.entry(*ticket).or_default() += 1;
        }
    }
    counts
}
