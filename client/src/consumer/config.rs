//! How a consumer reads: Kafka's names and defaults.

use std::time::Duration;

use crate::assignor::Assignor;
use crate::error::Error;

/// Where to begin if there is no committed offset, or the position is not there any more
/// (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    Latest,
    /// Not at all: `poll` gives an error.
    None,
}

/// Whether records of open and aborted transactions are given out (`isolation.level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

/// How a consumer reads. The fields have the names of Kafka's settings where those have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// Without one it can neither subscribe nor commit.
    pub group: Option<String>,
    /// Of a static member (KIP-345): a restart within the session timeout is no rebalance.
    pub instance_id: Option<String>,
    /// The preferred one first. Members keep reading during a rebalance if all of them allow it.
    pub assignors: Vec<Assignor>,
    /// After which a silent member is out of the group.
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// Between two polls, after which a member leaves its group by itself.
    pub max_poll_interval: Duration,
    pub max_poll_records: usize,
    /// Whether `poll` and `close` commit by themselves.
    pub enable_auto_commit: bool,
    pub auto_commit_interval: Duration,
    pub auto_offset_reset: OffsetReset,
    pub isolation_level: Isolation,
    /// What a broker waits for before it answers a fetch, for at most `fetch_max_wait`.
    pub fetch_min_bytes: i32,
    pub fetch_max_bytes: i32,
    pub fetch_max_wait: Duration,
    /// Of one partition in one answer. A larger batch comes alone.
    pub max_partition_fetch_bytes: i32,
    /// Bytes of unread batches, as they came, in all.
    pub buffer_bytes: usize,
    /// Whether a subscription makes topics that are not there, if the broker allows it.
    pub allow_auto_create_topics: bool,
    /// Where this client is; sent with fetches and joins.
    pub rack: Option<String>,
}

impl Default for ConsumerConfig {
    fn default() -> ConsumerConfig {
        ConsumerConfig {
            group: None,
            instance_id: None,
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            max_poll_records: 500,
            enable_auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            auto_offset_reset: OffsetReset::Latest,
            isolation_level: Isolation::ReadUncommitted,
            fetch_min_bytes: 1,
            fetch_max_bytes: 50 << 20,
            fetch_max_wait: Duration::from_millis(500),
            max_partition_fetch_bytes: 1 << 20,
            buffer_bytes: 64 << 20,
            allow_auto_create_topics: true,
            rack: None,
        }
    }
}

impl ConsumerConfig {
    /// # Errors
    /// [`Error::Invalid`] says what cannot be.
    pub(super) fn check(&self) -> Result<(), Error> {
        let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
        let is_name = |name: &Option<String>| {
            name.as_ref().is_none_or(|name| !name.is_empty() && name.len() <= 1000)
        };
        if !is_name(&self.group) || !is_name(&self.instance_id) || !is_name(&self.rack) {
            return invalid("group, instance_id and rack have 1 to 1000 bytes, if they are given");
        }
        if self.instance_id.is_some() && self.group.is_none() {
            return invalid("instance_id needs a group");
        }
        if self.assignors.is_empty() {
            return invalid("assignors must name at least one");
        }
        if self.heartbeat_interval.is_zero() || self.heartbeat_interval >= self.session_timeout {
            return invalid("heartbeat_interval must be above 0 and below session_timeout");
        }
        let milliseconds = [self.session_timeout, self.max_poll_interval, self.fetch_max_wait];
        if milliseconds.iter().any(|time| i32::try_from(time.as_millis()).is_err()) {
            return invalid("no timeout is above 24 days");
        }
        if self.max_poll_interval.is_zero() || self.max_poll_records == 0 {
            return invalid("max_poll_interval and max_poll_records must be above 0");
        }
        let bytes = [self.fetch_min_bytes, self.fetch_max_bytes, self.max_partition_fetch_bytes];
        if bytes.iter().any(|bytes| *bytes < 1) || self.buffer_bytes == 0 {
            return invalid("bytes to fetch and buffer_bytes must be above 0");
        }
        Ok(())
    }

    /// Whether members of the group keep reading during a rebalance: all assignors must allow it,
    /// because any of them may be chosen.
    pub(super) fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|assignor| assignor.is_cooperative())
    }

    /// 0: read uncommitted, 1: read committed.
    pub(super) fn isolation(&self) -> i8 {
        i8::from(self.isolation_level == Isolation::ReadCommitted)
    }
}

/// Milliseconds of a duration, at most those of 24 days.
pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
