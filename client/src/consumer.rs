//! A consumer: reads partitions of its own, or those that its group gives it.
//!
//! Tasks fetch ahead, keep the membership alive and join the group; what they bring takes effect in
//! [`Consumer::poll`], so that nothing changes under an application that works on its records.

mod batches;
pub mod commits;
pub mod config;
mod coordinator;
mod driver;
pub mod event;
mod fetch;
mod heartbeat;
mod join;
mod lookup;
mod membership;
mod metadata;
mod partitions;
mod plan;
mod rebalance;
pub mod record;
mod seeking;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use rivven_io::clock::Monotonic;
use rivven_io::task::Task;

use crate::assignor::TopicPartition;
use crate::client::Client;
use crate::error::Error;
use commits::{Counted, Offsets, Patience};
use config::ConsumerConfig;
use event::ConsumerEvent;
use membership::Membership;
use partitions::Start;
use rebalance::{Part, Phase};
use record::ConsumerRecord;
use shared::Shared;

/// Events that are kept for an application that does not ask for them: the latest.
const EVENTS_MAX: usize = 1000;
/// Of the name of a topic.
const TOPIC_BYTES_MAX: usize = 249;
/// For the commit and the leave at the end.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// Reads records. Positions move only over records that [`Consumer::poll`] has given out, and an
/// automatic commit stores what an earlier poll has given out: a crash repeats records and skips
/// none.
///
/// Dropping the future of any method loses nothing. Dropping a consumer is a crash to its group;
/// [`Consumer::close`] is not.
pub struct Consumer {
    shared: Arc<Shared>,
    /// In the group, if it has subscribed.
    part: Option<Part>,
    events: VecDeque<ConsumerEvent>,
    /// The automatic commit that is under way.
    committing: Option<Task<()>>,
    auto_commit_due: Monotonic,
    /// The driver and the heartbeats.
    tasks: [Task<()>; 2],
}

impl Consumer {
    /// A consumer that reads nothing yet.
    ///
    /// # Errors
    /// [`Error::Invalid`]
    pub fn new(client: Client, config: ConsumerConfig) -> Result<Consumer, Error> {
        config.check()?;
        let tasks = client.env().tasks.clone();
        let shared = Arc::new(Shared::new(client, config));
        let auto_commit_due = shared.now().after(shared.config.auto_commit_interval);
        let driver = tasks.spawn("consumer-driver", driver::run(shared.clone()));
        let heartbeat = tasks.spawn("consumer-heartbeat", heartbeat::run(shared.clone()));
        Ok(Consumer {
            shared,
            part: None,
            events: VecDeque::new(),
            committing: None,
            auto_commit_due,
            tasks: [driver, heartbeat],
        })
    }

    /// Reads what the group gives it of these topics, in place of those before. The group is
    /// joined by polls.
    ///
    /// # Errors
    /// [`Error::Invalid`]: no group is configured, or partitions were assigned.
    pub fn subscribe(&mut self, topics: &[&str]) -> Result<(), Error> {
        self.shared.group()?;
        let topics: BTreeSet<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
        let is_name = |topic: &Arc<str>| (1..=TOPIC_BYTES_MAX).contains(&topic.len());
        if let Some(wrong) = topics.iter().find(|topic| !is_name(topic)) {
            let length = wrong.len();
            let text = format!("a topic's name has 1 to {TOPIC_BYTES_MAX} bytes, not {length}");
            return Err(Error::Invalid(text));
        }
        if topics.is_empty() {
            let text = "a subscription names at least one topic; unsubscribe ends it";
            return Err(Error::Invalid(text.to_owned()));
        }
        let may_make = self.shared.config.allow_auto_create_topics;
        let mut state = self.shared.lock();
        if self.part.is_none() && !state.partitions.rows.is_empty() {
            let text = "partitions were assigned; a consumer cannot subscribe beside that";
            return Err(Error::Invalid(text.to_owned()));
        }
        state.is_subscribed = true;
        let may_be_made = topics.iter().map(|topic| (topic.clone(), may_make)).collect();
        match &mut self.part {
            // A leader of the group goes on watching those of the other members, too.
            Some(part) if part.topics == topics => return Ok(()),
            Some(part) => {
                part.topics = topics;
                state.membership.rejoin = Some("the subscription has changed".to_owned());
            }
            None => self.part = Some(Part::new(topics)),
        }
        state.topics = may_be_made;
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Reads exactly these partitions, without sharing them with a group; those that were read
    /// before keep their positions. With a group, reading begins at its committed offsets, and an
    /// automatic commit stores the positions of those that are given up.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the consumer has subscribed.
    pub fn assign(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        if self.part.is_some() {
            let text = "the consumer has subscribed; partitions cannot be assigned beside that";
            return Err(Error::Invalid(text.to_owned()));
        }
        let wanted: BTreeSet<TopicPartition> = partitions.iter().cloned().collect();
        if self.shared.config.group.is_some() && self.shared.config.enable_auto_commit {
            let offsets = self.shared.uncommitted(|_| true);
            if offsets.offsets.keys().any(|of| !wanted.contains(of)) {
                self.begin_commit(offsets);
            }
        }
        let mut state = self.shared.lock();
        state.partitions.rows.retain(|of, _| wanted.contains(of));
        let kept = state.partitions.names();
        state.topics.retain(|topic, _| wanted.iter().any(|of| of.topic == *topic));
        drop(state);
        let start = match self.shared.config.group {
            Some(_) => Start::Committed,
            None => Start::Reset,
        };
        self.shared.add(wanted.difference(&kept).cloned(), start);
        Ok(())
    }

    /// What is read now.
    #[must_use]
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        let state = self.shared.lock();
        let rows = state.partitions.rows.iter();
        rows.filter(|(_, row)| !row.is_revoked).map(|(of, _)| of.clone()).collect()
    }

    /// What happened to the assignment since the last call; the latest 1000 if it were more.
    pub fn events(&mut self) -> Vec<ConsumerEvent> {
        self.events.drain(..).collect()
    }

    /// The next records, at once if there are any, else within `timeout`; none if it is over, or
    /// if [`Consumer::events`] has something that the application should see first. Takes part in
    /// rebalances, for which it must be called within `max_poll_interval`.
    ///
    /// Records that an earlier poll has given out count as done when this is called. Dropping the
    /// future drops no record.
    ///
    /// # Errors
    /// What keeps a partition from being read: of a damaged batch, its partition and offset. It is
    /// tried again by the next poll; the other partitions go on. What keeps the group from taking
    /// this member.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumerRecord>, Error> {
        let clock = self.shared.client.env().clock.clone();
        let deadline = clock.now().after(timeout);
        let _polling = self.shared.polling();
        self.commit_if_due();
        loop {
            let trouble = self.shared.lock().trouble.take();
            if let Some(trouble) = trouble {
                return Err(trouble);
            }
            if self.take_part()? {
                return Ok(Vec::new());
            }
            if self.part.is_none() || !self.shared.may_be_out() {
                let taken = self.shared.take()?;
                if !taken.records.is_empty() {
                    return Ok(taken.records);
                }
            }
            let left = deadline.since(clock.now());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            tokio::select! {
                biased;
                () = self.shared.arrived.notified() => {}
                () = clock.sleep(left) => {}
            }
        }
    }

    /// Begins an automatic commit of what earlier polls gave out.
    fn commit_if_due(&mut self) {
        let now = self.shared.now();
        let is_due = self.shared.config.group.is_some()
            && self.shared.config.enable_auto_commit
            && now >= self.auto_commit_due;
        // The one before may wait for an answer that shows that its connection is dead.
        if !is_due || self.is_committing() {
            return;
        }
        let config = &self.shared.config;
        self.auto_commit_due = now.after(config.auto_commit_interval);
        // A join commits by itself what it gives up.
        let is_joining = self.part.as_ref().is_some_and(|part| !matches!(part.phase, Phase::In));
        let offsets = self.shared.uncommitted(|is_revoked| !is_revoked);
        if is_joining || offsets.is_empty() || self.shared.lock().is_out() {
            return;
        }
        self.begin_commit(offsets);
    }

    fn begin_commit(&mut self, offsets: Counted) {
        let before = self.committing.take();
        if let Some(before) = &before {
            before.abort();
        }
        let config = &self.shared.config;
        let limit = config.auto_commit_interval.max(self.shared.client.config().retry_backoff);
        let shared = self.shared.clone();
        let work = async move {
            if let Some(before) = before {
                // It must not take the offsets back.
                drop(before.await);
            }
            if let Err(error) = commits::store(&shared, &offsets, Patience::of(limit)).await {
                tracing::warn!(%error, "the automatic commit failed");
            }
        };
        self.committing = Some(self.shared.client.env().tasks.spawn("consumer-commit", work));
    }

    /// Whether an automatic commit is under way.
    fn is_committing(&mut self) -> bool {
        let Some(task) = &mut self.committing else { return false };
        let is_over = Pin::new(task).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if is_over {
            self.committing = None;
        }
        !is_over
    }

    /// Commits the positions: all that was given out so far.
    ///
    /// # Errors
    /// REBALANCE_IN_PROGRESS: poll, then commit again. UNKNOWN_MEMBER_ID and ILLEGAL_GENERATION:
    /// others read the partitions by now. When the future is dropped or fails with anything but a
    /// refusal, the offsets may be committed or not.
    pub async fn commit(&mut self) -> Result<(), Error> {
        // What is known to be committed is committed again: its time begins anew.
        let offsets = self.shared.lock().partitions.positions(|_| true);
        self.store(&offsets).await
    }

    /// Commits these offsets, each the next one to read of its partition.
    ///
    /// # Errors
    /// Those of [`Consumer::commit`]
    pub async fn commit_offsets(&mut self, offsets: &Offsets) -> Result<(), Error> {
        self.store(&offsets.clone().into()).await
    }

    async fn store(&mut self, offsets: &Counted) -> Result<(), Error> {
        self.shared.group()?;
        self.stop_committing().await;
        if offsets.is_empty() {
            return Ok(());
        }
        let patience = Patience::of(self.shared.client.config().api_timeout);
        commits::store(&self.shared, offsets, patience).await
    }

    /// Ends the automatic commit that is under way: it could take back what is committed next.
    async fn stop_committing(&mut self) {
        if let Some(task) = &mut self.committing {
            task.abort();
            drop(task.await);
            self.committing = None;
        }
    }

    /// What the group has committed for these partitions; those without are left out.
    ///
    /// # Errors
    /// The coordinator's, after retries.
    pub async fn committed(&self, partitions: &[TopicPartition]) -> Result<Offsets, Error> {
        let partitions = partitions.iter().cloned().collect();
        let client = &self.shared.client;
        let limit = client.config().api_timeout;
        let mut retries = coordinator::Retries::new(client, "reading committed offsets", limit);
        loop {
            match commits::fetch(&self.shared, &partitions).await {
                Err(error) => retries.after(client, error).await?,
                offsets => return offsets,
            }
        }
    }

    /// Commits if that is automatic, and leaves the group unless it is a static member, whose
    /// partitions wait for its return until its session is over.
    ///
    /// # Errors
    /// The commit's, or else the leave's. The consumer has ended anyway.
    pub async fn close(self) -> Result<(), Error> {
        let is_static = self.shared.config.instance_id.is_some();
        self.end(!is_static).await
    }

    /// [`Consumer::close`], after which the group does not wait for a static member either.
    ///
    /// # Errors
    /// Those of [`Consumer::close`]
    pub async fn close_and_leave(self) -> Result<(), Error> {
        self.end(true).await
    }

    /// Commits if that is automatic, leaves the group unless it is a static member, and reads
    /// nothing any more.
    ///
    /// # Errors
    /// The commit's, or else the leave's. The subscription has ended anyway.
    pub async fn unsubscribe(&mut self) -> Result<(), Error> {
        let leaves = self.shared.config.instance_id.is_none();
        let done = self.go(leaves).await;
        let now = self.shared.now();
        self.part = None;
        let mut state = self.shared.lock();
        state.partitions.rows.clear();
        state.topics.clear();
        state.is_subscribed = false;
        state.membership = Membership::new(now);
        done
    }

    async fn end(mut self, leaves: bool) -> Result<(), Error> {
        self.tasks[0].abort();
        self.go(leaves).await
    }

    async fn go(&mut self, leaves: bool) -> Result<(), Error> {
        if let Some(joining) = self.stop_joining() {
            // It may just learn the id by which the group is left.
            drop(joining.await);
        }
        let committed = self.commit_at_end().await;
        let me = self.shared.me();
        let is_member = self.part.is_some() && !me.member_id.is_empty();
        let left = match leaves && is_member {
            true => self.in_time(heartbeat::leave(&self.shared, &me, "it closes")).await,
            false => Ok(()),
        };
        committed.and(left)
    }

    /// Ends a join that is under way; its task, which may run on for a moment.
    fn stop_joining(&mut self) -> Option<Task<()>> {
        let part = self.part.as_mut()?;
        if !matches!(part.phase, Phase::Joining(_)) {
            return None;
        }
        let Phase::Joining(task) = std::mem::replace(&mut part.phase, Phase::Out) else {
            unreachable!("seen above")
        };
        task.abort();
        let mut state = self.shared.lock();
        state.join_number += 1;
        state.membership.is_joining = false;
        Some(task)
    }

    async fn commit_at_end(&mut self) -> Result<(), Error> {
        let config = &self.shared.config;
        if config.group.is_none() || !config.enable_auto_commit {
            return Ok(());
        }
        self.stop_committing().await;
        let mut offsets = std::mem::take(&mut self.shared.lock().given_up);
        offsets.extend(self.shared.uncommitted(|_| true));
        if offsets.is_empty() {
            return Ok(());
        }
        let patience = Patience::at_end(CLOSE_LIMIT);
        self.in_time(commits::store(&self.shared, &offsets, patience)).await
    }

    async fn in_time(&self, work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let in_time = self.shared.client.env().clock.timeout(CLOSE_LIMIT, work).await;
        in_time.unwrap_or_else(|_| {
            let (what, last) = ("closing the consumer".to_owned(), "none".to_owned());
            Err(Error::TimedOut { what, after: CLOSE_LIMIT, last })
        })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(Task::abort);
        if let Some(committing) = &self.committing {
            committing.abort();
        }
        if let Some(Part { phase: Phase::Joining(task), .. }) = &self.part {
            task.abort();
        }
    }
}
