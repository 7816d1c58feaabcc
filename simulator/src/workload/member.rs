//! Members of consumer groups: they join, share the partitions, read, commit, leave, fall silent
//! and come back with what they knew before.

use std::collections::BTreeMap;

use rivven_core::ids::PartitionId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_io::sim::rng::{Stream, stream};

use super::known::Known;
use super::operations::Operations;
use super::set_up::client_of;
use super::{ClientContext, ClientParams, millis};
use crate::client::groups::{MemberTimes, Membership};
use crate::client::reads::{EARLIEST, FetchSize, Place};
use crate::client::{Client, Trouble};
use crate::history::event::CommittedOffset;
use crate::plan::fault::one_of;

/// The groups that members of a run are in.
pub(crate) const GROUPS: [&str; 2] = ["group-0", "group-1"];
/// Beyond what a join may wait for others.
const ANSWER_MS: u64 = 10_000;

struct Member {
    context: ClientContext,
    client: Client,
    params: ClientParams,
    /// Of the present operation.
    rng: Stream,
    known: Known,
    me: Membership,
    times: MemberTimes,
    /// What it owns in this generation, with the next offset to read; `None`: it has to join.
    owned: Option<BTreeMap<(String, i32), i64>>,
}

pub(crate) async fn run(context: ClientContext, params: ClientParams) {
    let mut rng = stream(params.seed, "member.shape", u64::from(params.client), 0);
    let group = one_of(&GROUPS, &mut rng);
    let is_static = rng.below(3) == 0;
    let me = Membership {
        group: group.to_owned(),
        member: String::new(),
        instance: is_static.then(|| format!("instance-{}", params.client)),
        generation: -1,
    };
    // A session may outlast a rebalance, or end in the middle of one.
    let times = MemberTimes {
        session_ms: i32::try_from(rng.between(1_000, 6_000)).expect("it is small"),
        rebalance_ms: i32::try_from(rng.between(1_000, 4_000)).expect("it is small"),
    };
    let mut member = Member {
        times,
        client: client_of(&context, params.client, millis(ANSWER_MS)),
        rng,
        known: Known::new(),
        me,
        owned: None,
        params,
        context,
    };
    let mut operations = Operations::of(&member.context, &member.params, "member");
    while let Some(operation) = operations.next().await {
        member.rng = operation.draws;
        if let Err(trouble) = member.step().await {
            member.note(&trouble);
            member.client.back_off().await;
        }
    }
}

impl Member {
    async fn step(&mut self) -> Result<(), Trouble> {
        if !self.known.refresh(&mut self.client, &self.params).await {
            self.client.back_off().await;
            return Ok(());
        }
        if self.owned.is_none() {
            return self.enter().await;
        }
        match self.rng.below(100) {
            0..3 => self.leave().await,
            // A process that was restarted knows its place, not its id.
            3..5 if self.me.instance.is_some() => {
                self.me.member.clear();
                self.owned = None;
                Ok(())
            }
            5 => self.hang().await,
            6..9 => {
                self.owned = None;
                Ok(())
            }
            9..20 => self.client.heartbeat(&self.me).await,
            20..60 => self.commit(0).await,
            // One that was on its way for long.
            60..65 => self.commit(1).await,
            _ => self.read().await,
        }
    }

    /// Joins, takes an assignment, and asks where to go on.
    async fn enter(&mut self) -> Result<(), Trouble> {
        let topics = self.params.topics.clone();
        let joined = self.client.join_group(&mut self.me, (self.times, &topics)).await?;
        self.me.member = joined.member;
        self.me.generation = joined.generation;
        let assignments = match joined.leads {
            true => self.assign(&joined.members),
            false => BTreeMap::new(),
        };
        let owned = self.client.sync_group(&self.me, &assignments).await?;
        let names = self.known.names();
        let committed = self.client.committed(&self.me, &names).await?;
        let begin = |(topic, partition): (String, i32)| {
            let found = committed.iter().find(|of| of.topic == topic && of.partition == partition);
            ((topic, partition), found.map_or(-1, |of| of.offset))
        };
        self.owned = Some(owned.into_iter().map(begin).collect());
        Ok(())
    }

    /// One partition after the other to one member after the other, beginning with any.
    fn assign(&mut self, members: &[String]) -> BTreeMap<String, Vec<(String, i32)>> {
        let mut given: BTreeMap<String, Vec<(String, i32)>> = BTreeMap::new();
        // No two generations share in the same way.
        let first = usize::try_from(self.rng.below(members.len().max(1) as u64)).expect("a len");
        let members = members.iter().cycle().skip(first);
        for (place, member) in self.known.places().iter().zip(members) {
            given.entry(member.clone()).or_default().push((place.topic.clone(), place.index()));
        }
        given
    }

    async fn leave(&mut self) -> Result<(), Trouble> {
        self.owned = None;
        let left = self.client.leave_group(&self.me).await;
        self.me.member.clear();
        self.me.generation = -1;
        left
    }

    /// Says nothing for longer than its session, and commits as if nothing had been.
    async fn hang(&mut self) -> Result<(), Trouble> {
        let session = u64::try_from(self.times.session_ms).expect("it is positive");
        let long = millis(self.rng.between(session / 2, 4 * session));
        if self.context.stop.pause(&self.context.env, long).await {
            return Ok(());
        }
        self.commit(0).await
    }

    fn draw(&mut self) -> Option<((String, i32), i64)> {
        let owned = self.owned.as_ref().filter(|owned| !owned.is_empty())?;
        let nth = usize::try_from(self.rng.below(owned.len() as u64)).expect("it is below a len");
        owned.iter().nth(nth).map(|(of, offset)| (of.clone(), *offset))
    }

    /// Commits what was read, as a member of a generation so many before its own.
    async fn commit(&mut self, behind: i32) -> Result<(), Trouble> {
        let Some(owned) = &self.owned else { return Ok(()) };
        let ids = self.known.ids();
        let read = owned.iter().filter(|(_, offset)| **offset >= 0);
        let offsets: Vec<CommittedOffset> = read
            .filter_map(|((topic, partition), offset)| {
                let (id, partition, offset) = (*ids.get(topic)?, *partition, *offset);
                Some(CommittedOffset { topic: topic.clone(), id, partition, offset })
            })
            .collect();
        match offsets.is_empty() {
            true => Ok(()),
            false => {
                let generation = (self.me.generation - behind).max(0);
                let me = Membership { generation, ..self.me.clone() };
                self.client.commit(&me, offsets).await
            }
        }
    }

    async fn read(&mut self) -> Result<(), Trouble> {
        let Some(((topic, partition), offset)) = self.draw() else { return Ok(()) };
        let Some(id) = self.known.ids().get(&topic).copied() else { return Ok(()) };
        let index = u32::try_from(partition).expect("partitions are counted from 0");
        let place = Place { topic: topic.clone(), partition: PartitionId { topic: id, index } };
        let from = match offset {
            0.. => offset,
            _ => self.client.end_of(&place, EARLIEST).await?,
        };
        let bytes = i32::try_from(self.params.fetch_bytes).unwrap_or(i32::MAX);
        let fetched = match self.client.fetch(&place, from, FetchSize { wait_ms: 0, bytes }).await {
            Ok(fetched) => fetched,
            Err(trouble) if trouble.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                self.set((topic, partition), -1);
                return Err(trouble);
            }
            Err(trouble) => return Err(trouble),
        };
        let next = fetched.batches.last().map_or(from, |batch| batch.last_offset + 1);
        self.set((topic, partition), next.max(from));
        Ok(())
    }

    fn set(&mut self, of: (String, i32), offset: i64) {
        if let Some(owned) = &mut self.owned {
            owned.insert(of, offset);
        }
    }

    /// What an error tells a member to do.
    fn note(&mut self, trouble: &Trouble) {
        match trouble.code() {
            Some(ErrorCode::UNKNOWN_MEMBER_ID) => {
                self.me.member.clear();
                self.owned = None;
            }
            // Another process has its place; here it is itself that came back.
            Some(ErrorCode::FENCED_INSTANCE_ID) => {
                self.me.member.clear();
                self.owned = None;
            }
            Some(ErrorCode::ILLEGAL_GENERATION | ErrorCode::REBALANCE_IN_PROGRESS) => {
                self.owned = None;
            }
            Some(code) if crate::client::reads::is_gone(code) => self.known.note_stale(),
            _ => {}
        }
    }
}
