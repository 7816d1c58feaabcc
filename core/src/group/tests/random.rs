//! Members that come, go, hang and repeat themselves, and what must hold whatever they do.

use proptest::prelude::*;

use super::*;

/// What a client knows of itself.
#[derive(Clone, Debug, Default)]
struct Client {
    caller: Caller,
    /// Generation and leader of its last join.
    joined: Option<(i32, String)>,
    waits: Option<Ticket>,
}

struct World {
    place: Place,
    clients: Vec<Client>,
    fresh: u32,
    /// Every ticket that was given, and whether it was answered.
    tickets: BTreeMap<Ticket, bool>,
}

impl World {
    fn new(delay_ms: u64) -> World {
        let initial_delay = Duration::from_millis(delay_ms);
        let rules = GroupRules { members_max: 4, initial_delay };
        let instance = |k: usize| (k.is_multiple_of(3)).then(|| format!("instance-{k}"));
        let client = |k| Client {
            caller: Caller { member_id: String::new(), instance_id: instance(k) },
            ..Client::default()
        };
        World {
            place: place(rules),
            clients: (0..5).map(client).collect(),
            fresh: 0,
            tickets: BTreeMap::new(),
        }
    }

    fn join(&mut self, k: usize, choice: u8) {
        self.fresh += 1;
        let mut join = join_of(self.clients[k].caller.clone(), &format!("m{}", self.fresh));
        join.needs_known_id = choice & 1 == 0;
        join.rebalance_timeout =
            [Duration::ZERO, Duration::from_secs(60)][usize::from(choice >> 5 & 1)];
        join.can_skip_assignment = choice & 2 == 0;
        join.protocols[0].1 = Bytes::from(vec![choice & 4]);
        if choice & 24 == 24 {
            join.protocols.insert(0, ("sticky".to_owned(), Bytes::new()));
        }
        let ticket = self.place.join(join);
        self.clients[k].waits = Some(ticket);
        self.tickets.insert(ticket, false);
        self.settle();
    }

    fn sync(&mut self, k: usize) {
        let client = &self.clients[k];
        let Some((generation, leader)) = client.joined.clone() else { return };
        let leads = leader == client.caller.member_id;
        let members: Vec<_> = self.place.group.stored_state().members;
        let parts: Vec<(String, String)> = members
            .iter()
            .filter(|_| leads)
            .map(|member| (member.member_id.clone(), format!("{generation}")))
            .collect();
        let parts: Vec<(&str, &str)> = parts.iter().map(|(id, part)| (&**id, &**part)).collect();
        let caller = client.caller.clone();
        let ticket = self.place.ticket();
        let sync = Sync {
            caller,
            generation,
            protocol_type: None,
            protocol: None,
            assignments: parts
                .iter()
                .map(|(id, part)| ((*id).to_owned(), Bytes::copy_from_slice(part.as_bytes())))
                .collect(),
        };
        self.place.group.sync(self.place.now, (ticket, sync), &mut self.place.effects);
        self.place.group.check_all();
        self.clients[k].waits = Some(ticket);
        self.tickets.insert(ticket, false);
        self.settle();
    }

    fn step(&mut self, (action, choice): (u8, u8)) {
        let k = usize::from(choice) % self.clients.len();
        match action % 9 {
            0 | 1 => self.join(k, choice / 5),
            2 | 3 => self.sync(k),
            4 => {
                let generation = self.clients[k].joined.as_ref().map_or(0, |joined| joined.0);
                let caller = self.clients[k].caller.clone();
                let _ = self.place.group.heartbeat(self.place.now, &caller, generation);
            }
            5 => {
                let caller = self.clients[k].caller.clone();
                if self.place.leave(caller).is_ok() {
                    self.clients[k].caller.member_id.clear();
                }
            }
            6 => self.place.wait(Duration::from_millis(u64::from(choice) * 50)),
            7 => {
                // The process is another one, which knows nothing of the first.
                let client = &mut self.clients[k];
                client.caller.member_id.clear();
                (client.joined, client.waits) = (None, None);
            }
            _ => {
                let _ = self.place.store_all(choice < 200);
            }
        }
        self.place.group.check_all();
        self.settle();
        self.place.group.tick(self.place.now, &mut self.place.effects);
        let deadline = self.place.group.deadline();
        assert!(deadline.is_none_or(|deadline| deadline > self.place.now), "a tick is never over");
        self.settle();
    }

    /// Hands every answer to its client.
    fn settle(&mut self) {
        for (ticket, count) in answers(&self.place.effects) {
            let answered = self.tickets.get_mut(&ticket).expect("only what was asked is answered");
            assert!(!*answered && count == 1, "{ticket:?} is answered twice");
            *answered = true;
        }
        let is_answer = |effect: &Effect| !matches!(effect, Effect::Store(..));
        let (answers, stores) =
            std::mem::take(&mut self.place.effects).into_iter().partition(is_answer);
        self.place.effects = stores;
        for answer in answers {
            self.take(answer);
        }
    }

    fn take(&mut self, answer: Effect) {
        let (Effect::Join(ticket, _) | Effect::Sync(ticket, _)) = &answer else { return };
        let ticket = *ticket;
        let Some(client) = self.clients.iter_mut().find(|client| client.waits == Some(ticket))
        else {
            return;
        };
        client.waits = None;
        match answer {
            Effect::Join(_, Ok(joined)) => {
                assert!(joined.generation > 0);
                client.caller.member_id.clone_from(&joined.member_id);
                client.joined = Some((joined.generation, joined.leader));
            }
            Effect::Sync(_, Ok(synced)) => {
                let (generation, _) = client.joined.clone().expect("it joined before");
                let given = String::from_utf8(synced.assignment.to_vec()).unwrap();
                assert!(
                    given.is_empty() || given == generation.to_string(),
                    "an assignment of generation {given} was given in {generation}"
                );
            }
            Effect::Join(_, Err(GroupError::MemberIdRequired(id))) => client.caller.member_id = id,
            Effect::Join(_, Err(_)) | Effect::Sync(_, Err(_)) => {
                client.joined = None;
                client.caller.member_id.clear();
            }
            Effect::Store(..) => {}
        }
    }

    /// From now on everybody behaves and everything is stored: the group must come to rest.
    fn come_to_rest(&mut self) {
        for _ in 0..400 {
            let _ = self.place.store_all(true);
            self.settle();
            let generation = self.place.group.generation();
            for k in 0..3 {
                let client = self.clients[k].clone();
                let is_member = client.joined.as_ref().is_some_and(|joined| joined.0 == generation);
                if client.waits.is_some() {
                    continue;
                }
                match self.place.group.heartbeat(self.place.now, &client.caller, generation) {
                    Ok(()) if is_member => self.sync(k),
                    Ok(()) | Err(GroupError::RebalanceInProgress) => self.join(k, 1),
                    Err(_) => {
                        self.clients[k].caller.member_id.clear();
                        self.join(k, 1);
                    }
                }
            }
            let _ = self.place.store_all(true);
            self.settle();
            let at_rest = self.place.group.phase() == Phase::Stable
                && self.place.group.len() == 3
                && self.clients[..3].iter().all(|client| client.waits.is_none());
            if at_rest {
                return;
            }
            self.place.wait(Duration::from_secs(1));
            self.settle();
        }
        panic!("no rest: {:#?}", self.place.group);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_members_do_the_group_comes_to_rest(
        delay_ms in prop::sample::select(vec![0_u64, 3000]),
        steps in prop::collection::vec(any::<(u8, u8)>(), 0..120),
    ) {
        let mut world = World::new(delay_ms);
        for step in steps {
            world.step(step);
        }
        world.come_to_rest();
        // What was asked long ago is answered, too.
        world.place.wait(Duration::from_secs(600));
        world.settle();
        let unanswered = world.tickets.iter().filter(|(_, answered)| !**answered).count();
        prop_assert_eq!(unanswered, 0);
    }
}
