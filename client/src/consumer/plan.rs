//! What is to be asked of whom: fetches and positions, from where the partitions stand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rivven_core::ids::TopicId;
use rivven_io::clock::Monotonic;

use super::config::{ConsumerConfig, OffsetReset};
use super::partitions::{At, EARLIEST, LATEST, Partitions, Position, Row, Start};
use crate::assignor::TopicPartition;
use crate::error::Error;
use crate::image::ClusterImage;

/// What is done beside the application, each once at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    Metadata,
    /// The group's committed offsets.
    Committed,
    /// ListOffsets at a leader.
    Offsets(i32),
    /// A fetch at a leader.
    Fetch(i32),
}

/// What a plan is made from.
pub(super) struct View<'a> {
    pub(super) image: &'a ClusterImage,
    pub(super) config: &'a ConsumerConfig,
    pub(super) under_way: &'a BTreeSet<Job>,
    /// How long metadata may be out of date before the application hears of it.
    pub(super) patience: Duration,
    pub(super) now: Monotonic,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) fetches: Vec<FetchPlan>,
    pub(super) offsets: BTreeMap<i32, Vec<Lookup>>,
    pub(super) committed: Vec<Lookup>,
    pub(super) needs_metadata: bool,
    /// Something was found that the application must be told.
    pub(super) has_trouble: bool,
    /// When there is more to do though nothing happens.
    pub(super) next: Option<Monotonic>,
}

/// A fetch at one leader.
#[derive(Debug)]
pub(super) struct FetchPlan {
    pub(super) leader: i32,
    pub(super) bytes_max: i32,
    pub(super) rows: Vec<FetchRow>,
}

/// One partition of a fetch.
#[derive(Clone, Debug)]
pub(super) struct FetchRow {
    pub(super) of: TopicPartition,
    pub(super) topic_id: TopicId,
    pub(super) leader_epoch: i32,
    pub(super) incarnation: u64,
    pub(super) from: At,
    fed: u64,
}

/// A position to ask for.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub(super) of: TopicPartition,
    pub(super) incarnation: u64,
    pub(super) leader_epoch: i32,
    /// Why it is asked for, and the timestamp for ListOffsets that this means.
    pub(super) start: Start,
    pub(super) timestamp: i64,
}

/// The partitions at one leader.
#[derive(Default)]
struct Leader {
    rows: Vec<FetchRow>,
    unread_bytes: usize,
    /// One of them has enough to read. A fetch without it would hold back its next one.
    is_full: bool,
}

/// Who leads a partition of a topic.
struct Led {
    leader: i32,
    epoch: i32,
    topic_id: TopicId,
}

impl Partitions {
    /// What to do now. Lookups count as under way from here on.
    pub(super) fn plan(&mut self, view: &View<'_>) -> Plan {
        let mut plan = Plan::default();
        let mut leaders: BTreeMap<i32, Leader> = BTreeMap::new();
        for (of, row) in &mut self.rows {
            if row.is_revoked || row.trouble.is_some() {
                continue;
            }
            if row.wait_until > view.now {
                let next = plan.next.map_or(row.wait_until, |next| next.min(row.wait_until));
                plan.next = Some(next);
                continue;
            }
            let Some(led) = led(view.image, of) else {
                plan.needs_metadata = true;
                continue;
            };
            row.notice_topic(of, led.topic_id);
            if row.is_ahead_of(&led) {
                plan.wait_for_leader((of, row), &led, view);
                continue;
            }
            match row.position {
                Position::Unknown(start) => plan.look_up((of, row), (start, &led), view),
                Position::At(_) if row.is_paused => {}
                Position::At(_) => leaders.entry(led.leader).or_default().add(of, row, &led, view),
            }
        }
        let share = view.config.buffer_bytes / leaders.len().max(1);
        for (leader, mut at) in leaders {
            // Half of the room is worth a request.
            if at.is_full
                || at.unread_bytes > share / 2
                || view.under_way.contains(&Job::Fetch(leader))
            {
                continue;
            }
            at.rows.sort_by_key(|row| row.fed);
            let room = i32::try_from((share - at.unread_bytes).max(1)).unwrap_or(i32::MAX);
            let bytes_max = room.min(view.config.fetch_max_bytes);
            plan.fetches.push(FetchPlan { leader, bytes_max, rows: at.rows });
        }
        plan
    }
}

impl Leader {
    fn add(&mut self, of: &TopicPartition, row: &Row, led: &Led, view: &View<'_>) {
        let enough = view.config.max_partition_fetch_bytes / 2;
        self.is_full |= row.unread_bytes > usize::try_from(enough).unwrap_or(0);
        self.unread_bytes += row.unread_bytes;
        self.rows.push(FetchRow {
            of: of.clone(),
            topic_id: led.topic_id,
            leader_epoch: led.epoch,
            incarnation: row.incarnation,
            from: row.fetched,
            fed: row.fed,
        });
    }
}

impl Plan {
    /// Metadata lags behind what was read: the leader that it names may lack that, and take the
    /// position for one that is out of range (KIP-320).
    fn wait_for_leader(
        &mut self,
        (of, row): (&TopicPartition, &mut Row),
        led: &Led,
        view: &View<'_>,
    ) {
        self.needs_metadata = true;
        let since = *row.outdated_since.get_or_insert(view.now);
        if view.now.since(since) >= view.patience {
            let (known, seen) = (led.epoch, row.epoch_seen);
            let what = format!("finding the leader of {of}");
            let last = format!("metadata names that of epoch {known}, older than epoch {seen}");
            row.trouble = Some(Error::TimedOut { what, after: view.patience, last });
            row.outdated_since = None;
            self.has_trouble = true;
        }
    }

    fn look_up(
        &mut self,
        (of, row): (&TopicPartition, &mut Row),
        (start, led): (Start, &Led),
        view: &View<'_>,
    ) {
        if row.is_looked_up {
            return;
        }
        let timestamp = match (start, view.config.auto_offset_reset) {
            (Start::Timestamp(timestamp), _) => timestamp,
            (Start::Reset, OffsetReset::Earliest) => EARLIEST,
            (Start::Reset, OffsetReset::Latest) => LATEST,
            (Start::Reset, OffsetReset::None) => {
                let text = format!("{of} has no committed offset, and auto_offset_reset is none");
                row.trouble = Some(Error::Invalid(text));
                self.has_trouble = true;
                return;
            }
            (Start::Committed, _) => 0,
        };
        let incarnation = row.incarnation;
        let (of, leader_epoch) = (of.clone(), led.epoch);
        let lookup = Lookup { of, incarnation, leader_epoch, start, timestamp };
        let job = match start {
            Start::Committed => Job::Committed,
            _ => Job::Offsets(led.leader),
        };
        if view.under_way.contains(&job) {
            return;
        }
        row.is_looked_up = true;
        match start {
            Start::Committed => self.committed.push(lookup),
            _ => self.offsets.entry(led.leader).or_default().push(lookup),
        }
    }
}

impl Row {
    /// Whether metadata names a leader that is not the newest one.
    fn is_ahead_of(&mut self, led: &Led) -> bool {
        let is_ahead = led.epoch >= 0 && led.epoch < self.epoch_seen;
        if !is_ahead {
            self.epoch_seen = self.epoch_seen.max(led.epoch);
            self.outdated_since = None;
        }
        is_ahead
    }

    /// A topic that was deleted and made again is another one: it is read from its beginning.
    fn notice_topic(&mut self, of: &TopicPartition, id: TopicId) {
        let before = self.topic_id.replace(id);
        if before.is_some_and(|before| before != id) && !rivven_io::planted!("B75") {
            tracing::warn!(partition = %of, "the topic was made anew: it is read from its start");
            self.marks = None;
            (self.epoch_seen, self.outdated_since) = (-1, None);
            self.set(Position::Unknown(Start::Timestamp(EARLIEST)));
        }
    }
}

fn led(image: &ClusterImage, of: &TopicPartition) -> Option<Led> {
    let topic = image.topics.get(&*of.topic)?;
    let partition = topic.partitions.get(usize::try_from(of.partition).ok()?)?;
    let leader = partition.leader.filter(|leader| image.brokers.contains_key(leader))?;
    Some(Led { leader, epoch: partition.leader_epoch, topic_id: topic.id })
}
