//! The group coordinator: connects the group machines of the core with the log, the clock and the
//! clients that wait.
//!
//! A group lives in the partition of `__consumer_offsets` that its name hashes to. At the start the
//! partitions are read in the background; until then their groups answer
//! COORDINATOR_LOAD_IN_PROGRESS. The topic is made when the first client looks for a coordinator.

mod keeper;
mod loading;
mod memory;
pub(crate) mod topic;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rivven_core::group::messages::{Caller, GroupError, Join, Joined, Sync, Synced, Ticket};
use rivven_core::group::offsets::CommittedFor;
use rivven_core::group::records::partition_of;
use rivven_core::group::shard::{
    Commit, CommittedRow, Now, OffsetsCursor, Shard, ShardEffect, ShardRules,
};
use rivven_core::ids::TimestampMs;
use rivven_core::storage::Storage;
use rivven_io::Env;
use rivven_io::clock::Monotonic;
use tokio::sync::{Notify, oneshot};

use crate::memory::Budget;
use crate::node::Node;
use crate::task_set::TaskSet;
use keeper::{Keeper, Parts, Waits};
use memory::GroupMemory;

/// Why a request about a group is not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GroupRefusal {
    #[error("the groups of this partition are being read")]
    Loading,
    #[error("the groups of this partition cannot be read, or are not there")]
    Unavailable,
    #[error(transparent)]
    Group(#[from] GroupError),
}

pub(crate) type Refusable<T> = Result<T, GroupRefusal>;

pub(crate) struct Groups {
    env: Env,
    storage: Storage,
    rules: ShardRules,
    memory: Arc<GroupMemory>,
    /// One for each partition of the topic; none before it is made.
    keepers: RwLock<Arc<[Arc<Keeper>]>>,
    next_ticket: AtomicU64,
    alarm: Arc<Alarm>,
}

/// When the driver looks at deadlines next.
pub(crate) struct Alarm {
    /// Nanoseconds of the monotonic clock.
    planned: AtomicU64,
    earlier: Notify,
}

impl Alarm {
    /// Something is due then.
    fn set(&self, deadline: Option<Monotonic>) {
        if deadline.is_some_and(|deadline| deadline.0 < self.planned.load(Ordering::Acquire)) {
            self.earlier.notify_one();
        }
    }
}

impl Groups {
    pub(crate) fn new(
        env: Env,
        storage: Storage,
        (rules, budget): (ShardRules, &Arc<Budget>),
    ) -> Groups {
        Groups {
            env,
            storage,
            rules,
            memory: Arc::new(GroupMemory::new(budget)),
            keepers: RwLock::new(Arc::new([])),
            next_ticket: AtomicU64::new(0),
            alarm: Arc::new(Alarm { planned: AtomicU64::new(0), earlier: Notify::new() }),
        }
    }

    /// Reads the groups of an earlier life in the background, and watches deadlines until the
    /// broker stops. To be called before clients may come.
    pub(crate) fn begin(node: &Arc<Node>, tasks: &TaskSet) {
        let groups = &node.groups;
        let image = node.storage.image();
        if let Some(partitions) = topic::partitions(&node.storage, &image) {
            let keepers = groups.keep(partitions, None);
            tasks.spawn_vital(node, "groups-load", loading::load(node.clone(), image, keepers));
        }
        tasks.spawn_vital(node, "groups", drive(node.clone()));
    }

    /// Makes keepers for the partitions; without a shard to begin with they have yet to be read.
    fn keep(
        &self,
        partitions: Vec<Arc<rivven_core::storage::partition::Partition>>,
        begin: Option<&Shard>,
    ) -> Arc<[Arc<Keeper>]> {
        let keeper = |partition| {
            let parts = Parts {
                env: self.env.clone(),
                storage: self.storage.clone(),
                alarm: self.alarm.clone(),
                memory: self.memory.clone(),
            };
            Keeper::new(parts, partition, begin.cloned())
        };
        let keepers: Arc<[Arc<Keeper>]> = partitions.into_iter().map(keeper).collect();
        *self.keepers.write().unwrap_or_else(PoisonError::into_inner) = keepers.clone();
        keepers
    }

    fn keepers(&self) -> Arc<[Arc<Keeper>]> {
        self.keepers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where a group is kept; nowhere before the topic is made.
    fn find(&self, group: &str) -> Option<Arc<Keeper>> {
        let keepers = self.keepers();
        let count = u32::try_from(keepers.len()).expect("a topic has fewer partitions");
        (count > 0).then(|| keepers[partition_of(group, count) as usize].clone())
    }

    fn now(&self) -> Now {
        now(&self.env)
    }

    /// Takes a step whose answer may come later. `absent` is the answer while no group is kept.
    async fn ask<T: Send + 'static>(
        &self,
        (group, absent): (&str, GroupRefusal),
        waits: impl FnOnce(oneshot::Sender<Result<T, GroupError>>) -> Waits,
        step: impl FnOnce(Ticket, &mut Shard, &mut Effects) -> Result<(), GroupError>,
    ) -> Refusable<T> {
        let keeper = self.find(group).ok_or(absent)?;
        let ticket = Ticket(self.next_ticket.fetch_add(1, Ordering::Relaxed));
        let answer = keeper.ask(ticket, waits, |shard, out| step(ticket, shard, out))?;
        // The machine answers every ticket; only a broker that ends does not.
        Ok(answer.await.map_err(|_| GroupRefusal::Unavailable)??)
    }

    /// Takes a step that is answered at once. While no group is kept, there is none.
    fn step<T>(
        &self,
        group: &str,
        step: impl FnOnce(&mut Shard, &mut Effects) -> T,
    ) -> Refusable<T> {
        match self.find(group) {
            Some(keeper) => keeper.step(step),
            None => Ok(step(&mut Shard::new(self.rules), &mut Effects::new())),
        }
    }

    pub(crate) async fn join(&self, node: &Node, group: &str, join: Join) -> Refusable<Joined> {
        topic::ensure(node).await?;
        let now = self.now();
        self.ask((group, GroupRefusal::Unavailable), Waits::Join, |ticket, shard, out| {
            shard.join(now, group, (ticket, join), out);
            Ok(())
        })
        .await
    }

    pub(crate) async fn sync(&self, group: &str, sync: Sync) -> Refusable<Synced> {
        let now = self.now();
        let absent = GroupError::UnknownMember.into();
        self.ask((group, absent), Waits::Sync, |ticket, shard, out| {
            shard.sync(now, group, (ticket, sync), out);
            Ok(())
        })
        .await
    }

    pub(crate) fn heartbeat(
        &self,
        group: &str,
        (caller, generation): (&Caller, i32),
    ) -> Refusable<()> {
        let now = self.now();
        Ok(self.step(group, |shard, _| shard.heartbeat(now, group, (caller, generation)))??)
    }

    pub(crate) fn leave(
        &self,
        group: &str,
        callers: &[Caller],
    ) -> Refusable<Vec<Result<(), GroupError>>> {
        let now = self.now();
        Ok(self.step(group, |shard, out| shard.leave(now, (group, callers), out))??)
    }

    /// Commits what `commit` gives. It is called where commits are put in order, so that none is
    /// overtaken by one for an earlier topic of the name.
    pub(crate) async fn commit(
        &self,
        node: &Node,
        group: &str,
        commit: impl FnOnce() -> Commit,
    ) -> Refusable<()> {
        topic::ensure(node).await?;
        let now = self.now();
        self.ask((group, GroupRefusal::Unavailable), Waits::Done, |ticket, shard, out| {
            shard.commit(now, group, (ticket, commit()), out)
        })
        .await
    }

    pub(crate) async fn delete(&self, group: &str) -> Refusable<()> {
        let absent = match group.is_empty() {
            true => GroupError::InvalidGroupId,
            false => GroupError::UnknownGroup,
        };
        self.ask((group, absent.into()), Waits::Done, |ticket, shard, out| {
            shard.delete((group, ticket), out)
        })
        .await
    }

    /// The topics whose offsets stay, because members use them.
    pub(crate) async fn delete_offsets(
        &self,
        group: &str,
        offsets: Vec<CommittedFor>,
    ) -> Refusable<BTreeSet<String>> {
        let absent = GroupError::UnknownGroup.into();
        let mut used = BTreeSet::new();
        self.ask((group, absent), Waits::Done, |ticket, shard, out| {
            used = shard.delete_offsets(group, (ticket, offsets), out)?;
            Ok(())
        })
        .await?;
        Ok(used)
    }

    /// Looks at the shard of a group.
    pub(crate) fn look<T>(&self, group: &str, look: impl FnOnce(&Shard) -> T) -> Refusable<T> {
        self.step(group, |shard, _| look(shard))
    }

    /// Looks at every shard that can be read: one that cannot says nothing of the others.
    pub(crate) fn look_at_all(&self, mut look: impl FnMut(&Shard)) -> Refusable<()> {
        self.keepers().iter().try_for_each(|keeper| match keeper.step(|shard, _| look(shard)) {
            Err(GroupRefusal::Unavailable) => Ok(()),
            looked => looked,
        })
    }

    /// Shows `each` every committed offset until it wants no more, in pieces of at most `steps_max`
    /// groups and offsets, between which commits go on; whether any were not shown.
    pub(crate) fn each_committed(
        &self,
        steps_max: usize,
        mut each: impl FnMut(CommittedRow) -> bool,
    ) -> bool {
        let mut is_incomplete = false;
        for keeper in self.keepers().iter() {
            let mut cursor = Some(OffsetsCursor::default());
            while let Some(from) = cursor {
                let looked = keeper.step(|shard, _| shard.committed_from(&from, steps_max));
                is_incomplete |= looked.is_err();
                let (rows, next) = looked.unwrap_or_default();
                if !rows.into_iter().all(&mut each) {
                    return true;
                }
                cursor = next;
            }
        }
        is_incomplete
    }

    /// Bytes that all groups take.
    pub(crate) fn memory_used(&self) -> usize {
        self.memory.used()
    }

    /// Whether the topic is there.
    fn has_topic(&self) -> bool {
        !self.keepers().is_empty()
    }

    fn tick(&self) -> Option<Monotonic> {
        let now = self.now();
        let mut next = None;
        for keeper in self.keepers().iter() {
            // Watched, it would ring the alarm that it was called for.
            let ticked = keeper.step_unwatched(|shard, out| {
                shard.tick(now, out);
                shard.deadline()
            });
            next = next.into_iter().chain(ticked.ok().flatten()).min();
        }
        next
    }

    fn expire(&self) {
        let now = self.now().wall;
        for keeper in self.keepers().iter() {
            let _ = keeper.step(|shard, out| shard.expire(now, &self.storage.image(), out));
        }
    }
}

pub(crate) fn now(env: &Env) -> Now {
    Now { monotonic: monotonic(env), wall: TimestampMs(env.clock.wall_ms()) }
}

fn monotonic(env: &Env) -> Monotonic {
    if rivven_io::planted!("B91") {
        return Monotonic(u64::try_from(env.clock.wall_ms()).unwrap_or(0) * 1_000_000);
    }
    env.clock.now()
}

/// Looks at deadlines of groups when they are due, and at the age of offsets now and then.
async fn drive(node: Arc<Node>) {
    let (groups, env) = (&node.groups, &node.env);
    let expiry_interval = node.config.offsets_retention_check_interval;
    let mut expiry = monotonic(env).after(expiry_interval);
    loop {
        // Whoever sets a deadline from here on finds that nothing is planned, and rings.
        groups.alarm.planned.store(u64::MAX, Ordering::Release);
        let next = groups.tick().map_or(expiry, |deadline| deadline.min(expiry));
        groups.alarm.planned.store(next.0, Ordering::Release);
        let wait = next.since(monotonic(env)).max(Duration::from_millis(1));
        tokio::select! {
            biased;
            () = node.stop.wait() => return,
            () = groups.alarm.earlier.notified() => {}
            () = env.clock.sleep(wait) => {}
        }
        if monotonic(env) >= expiry {
            expiry = monotonic(env).after(expiry_interval);
            groups.expire();
        }
    }
}

/// What the machines want done, before it is.
pub(crate) type Effects = Vec<ShardEffect>;
