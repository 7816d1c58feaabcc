//! What a consumer and its tasks share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rivven_io::clock::Monotonic;
use tokio::sync::Notify;

use super::commits::Counted;
use super::config::ConsumerConfig;
use super::join::JoinEnd;
use super::membership::Membership;
use super::metadata::MetadataTimer;
use super::partitions::{Partitions, Start, Taken};
use super::plan::{Job, Plan, View};
use crate::assignor::TopicPartition;
use crate::client::Client;
use crate::error::Error;

/// A consumer without its handle.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) config: ConsumerConfig,
    state: Mutex<State>,
    /// There may be something to ask for.
    pub(super) work: Notify,
    /// There may be something for the application.
    pub(super) arrived: Notify,
    /// The membership has changed.
    pub(super) beat: Notify,
}

pub(super) struct State {
    pub(super) partitions: Partitions,
    pub(super) membership: Membership,
    /// It reads and commits as a member of its group, or not at all.
    pub(super) is_subscribed: bool,
    /// What was given up and is not committed yet.
    pub(super) given_up: Counted,
    /// Counts joins; one that is not the last has no effect.
    pub(super) join_number: u64,
    /// What came out of a join, until poll takes it.
    pub(super) joined: Option<JoinEnd>,
    /// What is wrong and nobody was told of.
    pub(super) trouble: Option<Error>,
    pub(super) under_way: BTreeSet<Job>,
    /// Topics whose metadata is kept, with whether they may be made.
    pub(super) topics: BTreeMap<Arc<str>, bool>,
    pub(super) metadata: MetadataTimer,
    /// When the application last polled; `None` while it does.
    pub(super) polled: Option<Monotonic>,
    /// Counts fetches, so that partitions take turns.
    pub(super) fetch_count: u64,
}

impl State {
    /// Whether it wants to be a member and is none.
    pub(super) fn is_out(&self) -> bool {
        self.is_subscribed && self.membership.generation < 0
    }
}

impl Shared {
    pub(super) fn new(client: Client, config: ConsumerConfig) -> Shared {
        let now = client.env().clock.now();
        let state = State {
            partitions: Partitions::default(),
            membership: Membership::new(now),
            is_subscribed: false,
            given_up: Counted::default(),
            join_number: 0,
            joined: None,
            trouble: None,
            under_way: BTreeSet::new(),
            topics: BTreeMap::new(),
            metadata: MetadataTimer::new(now, client.backoff()),
            polled: Some(now),
            fetch_count: 0,
        };
        let (work, arrived, beat) = (Notify::new(), Notify::new(), Notify::new());
        Shared { client, config, state: Mutex::new(state), work, arrived, beat }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Monotonic {
        self.client.env().clock.now()
    }

    /// Counts as polling until it is dropped.
    pub(super) fn polling(self: &Arc<Shared>) -> Polling {
        self.lock().polled = None;
        Polling(self.clone())
    }

    /// Records for the application.
    pub(super) fn take(&self) -> Result<Taken, Error> {
        let retry_at = self.now().after(self.client.config().retry_backoff);
        let taken = self.lock().partitions.take(self.config.max_poll_records, retry_at);
        if taken.as_ref().map_or(true, |taken| taken.made_room) {
            self.work.notify_one();
        }
        taken
    }

    /// Begins to read these, and keeps their topics' metadata.
    pub(super) fn add(&self, partitions: impl IntoIterator<Item = TopicPartition>, start: Start) {
        let backoff = self.client.backoff();
        let mut state = self.lock();
        for of in partitions {
            state.topics.entry(of.topic.clone()).or_insert(false);
            state.partitions.add(of, start, backoff.clone());
        }
        drop(state);
        self.work.notify_one();
    }

    /// What the tasks should do now; what is begun counts as under way.
    pub(super) fn plan(&self) -> Plan {
        let (image, now) = (self.client.image(), self.now());
        let mut guard = self.lock();
        let state = &mut *guard;
        let (config, under_way) = (&self.config, &state.under_way);
        let patience = self.client.config().api_timeout;
        let view = View { image: &image, config, under_way, patience, now };
        let mut plan = state.partitions.plan(&view);
        let is_lacking = plan.needs_metadata
            || state.topics.keys().any(|name| !image.topics.contains_key(&**name));
        plan.needs_metadata = false;
        if !state.topics.is_empty() && !state.under_way.contains(&Job::Metadata) {
            let due = state.metadata.due(is_lacking, self.client.env());
            plan.needs_metadata = due <= now;
            plan.next = Some(plan.next.map_or(due, |next| next.min(due)));
        }
        let begun = plan.fetches.iter().map(|fetch| Job::Fetch(fetch.leader));
        state.under_way.extend(begun);
        state.under_way.extend(plan.offsets.keys().map(|leader| Job::Offsets(*leader)));
        state.under_way.extend((!plan.committed.is_empty()).then_some(Job::Committed));
        state.under_way.extend(plan.needs_metadata.then_some(Job::Metadata));
        plan
    }

    /// Tells the application at its next poll.
    pub(super) fn report(&self, error: Error) {
        self.lock().trouble = Some(error);
        self.arrived.notify_one();
    }

    /// What is known of the cluster is wrong.
    pub(super) fn distrust_metadata(&self) {
        self.lock().metadata.distrust();
        self.work.notify_one();
    }
}

/// The time in which an application polls.
pub(super) struct Polling(Arc<Shared>);

impl Drop for Polling {
    fn drop(&mut self) {
        let now = self.0.now();
        self.0.lock().polled = Some(now);
    }
}
