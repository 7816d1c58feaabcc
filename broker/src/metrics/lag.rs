//! How far consumer groups are behind, looked up when somebody asks for the metrics.
//!
//! What is read, how long and into how much memory is bounded; what did not come about is left
//! out, never guessed. No lock is held for longer than a short piece of the work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rivven_core::group::shard::CommittedRow;
use rivven_core::ids::{Offset, PartitionId, TimestampMs};
use rivven_core::storage::error::ReadError;
use rivven_core::storage::partition::Partition;
use rivven_io::clock::Monotonic;

use crate::limits::{
    LAG_READ_BYTES_MAX, LAG_ROW_BYTES, LAG_STEPS_MAX, LAG_TIME_MAX, LARGE_FRAME_BYTES,
};
use crate::memory::{Account, Charge, Class};
use crate::node::Node;

/// Where a group has to go on reading.
type Place = (PartitionId, Offset);

/// What stands at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Record(TimestampMs),
    /// The cleaner has left nothing to be read.
    Nothing,
    /// Damage, which is reported once and not at each scrape; or a record without a timestamp.
    Unreadable,
}

/// What earlier scrapes have read.
#[derive(Default)]
pub(crate) struct KnownTimes {
    found: BTreeMap<Place, Found>,
    /// The row at which reading goes on, so that each has its turn.
    begin: usize,
}

/// One partition that a group has committed an offset for.
pub(super) struct Lag {
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) partition: i32,
    /// Offsets up to the high watermark.
    pub(super) records: u64,
    /// How old the oldest record is that the group has not committed; `None`: not known now.
    pub(super) age: Option<Duration>,
}

pub(super) struct Lags {
    pub(super) rows: Vec<Lag>,
    /// Whether rows or ages are missing.
    pub(super) is_incomplete: bool,
    memory: Vec<Charge>,
    account: Borrowed,
}

/// A row whose age is wanted.
struct Wanted {
    row: usize,
    partition: Arc<Partition>,
    from: Offset,
}

/// The memory of one look, also if it is given up.
struct Borrowed(Arc<Account>);

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The lag of every group, as far as the bounds allow.
pub(super) async fn lags(node: &Node) -> Lags {
    let deadline = node.env.clock.now().after(LAG_TIME_MAX);
    let account = Borrowed(node.budget.open_account());
    let mut lags = Lags { rows: Vec::new(), is_incomplete: false, memory: Vec::new(), account };
    let mut wanted = Vec::new();
    let image = node.storage.image();
    let is_cut_off = node.groups.each_committed(LAG_STEPS_MAX, |row| {
        let index = u32::try_from(row.of.partition).unwrap_or(u32::MAX);
        // What was committed for an earlier topic of this name is nobody's lag.
        let topic = image.topic(&row.of.topic).filter(|topic| topic.id == row.topic);
        let id = topic.map(|topic| PartitionId { topic: topic.id, index });
        let Some(partition) = id.and_then(|id| node.storage.partition(id)) else { return true };
        let has_room = lags.has_room(node.config.consumer_lag_partitions_max);
        if has_room {
            wanted.extend(lags.take((row, partition)));
        }
        has_room
    });
    lags.is_incomplete = is_cut_off;
    let left = deadline.since(node.env.clock.now());
    let Ok(mut known) = node.env.clock.timeout(left, node.metrics.known_times.lock()).await else {
        lags.is_incomplete |= !wanted.is_empty();
        return lags;
    };
    let account = lags.account.0.clone();
    let look = Look { node, account: &account, deadline };
    lags.is_incomplete |= !look.ages(&mut known, (&mut lags.rows, &wanted)).await;
    lags
}

impl Lags {
    /// Whether there may be one more row, and memory for it.
    fn has_room(&mut self, rows_max: usize) -> bool {
        if self.rows.len() == self.memory.len() * LAG_STEPS_MAX {
            let memory = self.account.0.try_charge(LAG_STEPS_MAX * LAG_ROW_BYTES, Class::Large);
            self.memory.extend(memory);
        }
        self.rows.len() < rows_max.min(self.memory.len() * LAG_STEPS_MAX)
    }

    /// Notes a row, and gives it back if its age has to be looked up.
    fn take(&mut self, (row, partition): (CommittedRow, Arc<Partition>)) -> Option<Wanted> {
        let CommittedRow { group, of, offset, .. } = row;
        let positions = partition.positions();
        // Anything may have been committed.
        let records = positions.high_watermark.0.saturating_sub(offset.0);
        let records = u64::try_from(records).unwrap_or(0);
        let is_behind = records > 0;
        let age = (!is_behind).then_some(Duration::ZERO);
        self.rows.push(Lag { group, topic: of.topic, partition: of.partition, records, age });
        // What is deleted cannot be read any more.
        let from = offset.max(positions.log_start);
        is_behind.then(|| Wanted { row: self.rows.len() - 1, partition, from })
    }
}

struct Look<'a> {
    node: &'a Node,
    account: &'a Arc<Account>,
    deadline: Monotonic,
}

impl Look<'_> {
    /// Fills in the ages; whether all of them.
    async fn ages(&self, known: &mut KnownTimes, (rows, wanted): (&mut [Lag], &[Wanted])) -> bool {
        let now = self.node.env.clock.wall_ms();
        let (mut all, mut bytes) = (BTreeMap::new(), 0);
        let begin = known.begin.checked_rem(wanted.len()).unwrap_or(0);
        known.begin = 0;
        for index in (begin..wanted.len()).chain(0..begin) {
            let Wanted { row, partition, from } = &wanted[index];
            let place = (partition.id(), *from);
            // The cleaner may take the record at a place.
            let may_change = partition.config().is_compacted;
            let lasts = |found: &Found| !may_change || *found == Found::Unreadable;
            let earlier = known.found.get(&place).copied().filter(lasts);
            let mut found = all.get(&place).copied().or(earlier);
            if found.is_none() && bytes < LAG_READ_BYTES_MAX {
                found = self.read(&wanted[index], &mut bytes).await;
            }
            let Some(found) = found else {
                known.begin = if known.begin == 0 { index } else { known.begin };
                continue;
            };
            all.insert(place, found);
            rows[*row].age = match found {
                Found::Record(time) => {
                    let age = u64::try_from(now.saturating_sub(time.0)).unwrap_or(0);
                    Some(Duration::from_millis(age))
                }
                Found::Nothing => Some(Duration::ZERO),
                Found::Unreadable => None,
            };
        }
        known.found = all;
        wanted.iter().all(|wanted| rows[wanted.row].age.is_some())
    }

    /// What the group reads next. `None`: the time is up, memory is scarce, or the disk failed.
    async fn read(&self, wanted: &Wanted, bytes: &mut usize) -> Option<Found> {
        let clock = &self.node.env.clock;
        let now = clock.now();
        if now >= self.deadline {
            return None;
        }
        let partition = &wanted.partition;
        let stored = usize::try_from(partition.bytes()).unwrap_or(usize::MAX);
        let largest = partition.config().max_message_bytes.min(stored);
        let class = if largest > LARGE_FRAME_BYTES { Class::Large } else { Class::Small };
        let _memory = self.account.try_charge(largest, class)?;
        let read = self.node.storage.first_timestamp(partition, wanted.from);
        let (time, read) = match clock.timeout(self.deadline.since(now), read).await.ok()? {
            Ok(found) => found,
            Err(ReadError::Corrupt { .. }) => return Some(Found::Unreadable),
            Err(_) => return None,
        };
        *bytes += read;
        Some(match time {
            Some(time) if time.0 < 0 => Found::Unreadable,
            Some(time) => Found::Record(time),
            None => Found::Nothing,
        })
    }
}
