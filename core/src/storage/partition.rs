//! One partition as its users share it: its log, the tail that waits for its segment, and those
//! who wait for news.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::ids::{LeaderEpoch, Offset, PartitionId};
use crate::log::machine::{ClosedSegment, PartitionLog};
use crate::log::positions::Positions;
use crate::log::segment::{Segment, SegmentName};
use crate::metadata::topic_config::TopicConfig;
use crate::storage::writer::PAGE_BYTES;

/// A batch in memory: acknowledged, or about to be. First come those that their segments hold
/// already, kept for readers, then those that the writer has yet to copy.
#[derive(Clone, Debug)]
pub(crate) struct TailEntry {
    pub(crate) base_offset: Offset,
    /// Offset after its last record.
    pub(crate) end: Offset,
    pub(crate) segment_base: Offset,
    pub(crate) position: u64,
    pub(crate) batch: Bytes,
}

/// A partition.
pub struct Partition {
    id: PartitionId,
    topic: Arc<str>,
    folder: PathBuf,
    state: Mutex<PartitionState>,
    /// For watches, which take themselves off the list.
    this: Weak<Partition>,
}

/// What the lock of a partition guards; it is never held across an await.
pub(crate) struct PartitionState {
    pub(crate) log: PartitionLog,
    pub(crate) config: Arc<TopicConfig>,
    pub(crate) tail: VecDeque<TailEntry>,
    /// Entries at the front of `tail` whose segments hold them already.
    pub(crate) copied: usize,
    /// Places of batches that the log counts and whose commit is under way, oldest first: neither
    /// the tail nor a segment has them.
    staged: VecDeque<(Offset, u64)>,
    /// Whether the partition stands in the writer's queue.
    pub(crate) queued: bool,
    /// Segments that appends closed and whose indexes are not written yet, oldest first.
    pub(crate) closed: Vec<ClosedSegment>,
    /// Segments that the cleaner replaced and that a durable checkpoint may still count.
    pub(crate) replaced: Vec<SegmentName>,
    /// The segment that the cleaner is writing.
    pub(crate) written: Option<SegmentName>,
    /// Base of the segment whose file room is known, and how many bytes are reserved in it.
    pub(crate) room: (Offset, u64),
    /// What the last durable checkpoint trusts.
    pub(crate) durable: Trust,
    /// What the last begun checkpoint trusts, or will trust once it is durable.
    pub(crate) begun: Trust,
    /// Whether anything changed since the last checkpoint.
    pub(crate) dirty: bool,
    /// Why the log may not be continued, if its end is damaged.
    pub(crate) quarantine: Option<String>,
    pub(crate) deleted: bool,
    /// Whether the folder is known to exist with the right id.
    pub(crate) folder_ready: bool,
    /// Whether the checkpoint that this life began with counts it, and so its folder.
    pub(crate) counted: bool,
    watches: BTreeMap<u64, Arc<Notify>>,
    next_watch: u64,
}

/// Up to where a checkpoint takes segments for durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trust {
    /// Segment and position.
    pub(crate) end: (Offset, u64),
    /// Whether the page at `end` was logged since the checkpoint began.
    pub(crate) page_logged: bool,
}

impl Trust {
    /// Whether a write at `position` of a segment goes on in the page in which the trusted bytes
    /// end.
    pub(crate) fn shares_page(&self, (segment_base, position): (Offset, u64)) -> bool {
        let (base, end) = self.end;
        let page = position / PAGE_BYTES * PAGE_BYTES;
        segment_base == base && page < end && end <= position
    }
}

/// What identifies a partition, and where it lives.
pub(crate) struct PartitionPlace {
    pub(crate) id: PartitionId,
    pub(crate) topic: Arc<str>,
    pub(crate) folder: PathBuf,
}

impl Partition {
    pub(crate) fn new(
        place: PartitionPlace,
        log: PartitionLog,
        config: Arc<TopicConfig>,
    ) -> Arc<Partition> {
        let end = (log.active().base, log.active().bytes);
        let trust = Trust { end, page_logged: false };
        let state = PartitionState {
            log,
            config,
            tail: VecDeque::new(),
            copied: 0,
            staged: VecDeque::new(),
            queued: false,
            closed: Vec::new(),
            replaced: Vec::new(),
            written: None,
            room: (Offset(-1), 0),
            durable: trust,
            begun: trust,
            dirty: false,
            quarantine: None,
            deleted: false,
            folder_ready: false,
            counted: false,
            watches: BTreeMap::new(),
            next_watch: 0,
        };
        Arc::new_cyclic(|this| Partition {
            id: place.id,
            topic: place.topic,
            folder: place.folder,
            state: Mutex::new(state),
            this: this.clone(),
        })
    }

    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Name of its topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// Where its log stands now.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.lock().log.positions()
    }

    /// Whether what stands at `offset`, below the high watermark, is in no memory of the log's own:
    /// its segment, and maybe the disk, is asked for it.
    #[must_use]
    pub fn is_behind_tail(&self, offset: Offset) -> bool {
        offset < self.lock().tail_start()
    }

    /// Epoch of its leader; a single node never changes it.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(0)
    }

    /// Bytes of its log.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.lock().log.bytes()
    }

    /// Configuration of its topic as of now.
    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        self.lock().config.clone()
    }

    /// `wake.notify_one()` is called whenever more becomes visible, and when the partition is
    /// deleted, until the returned watch is dropped.
    #[must_use]
    pub fn watch(&self, wake: &Arc<Notify>) -> Watch {
        let mut state = self.lock();
        let key = state.next_watch;
        state.next_watch += 1;
        state.watches.insert(key, wake.clone());
        Watch { partition: self.this.clone(), key }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, PartitionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartitionState {
    /// Wakes everyone who watches.
    pub(crate) fn wake(&self) {
        for wake in self.watches.values() {
            wake.notify_one();
        }
    }

    /// Offset from which on batches are in memory; the log end if none is.
    pub(crate) fn tail_start(&self) -> Offset {
        self.tail.front().map_or(self.log.positions().log_end, |entry| entry.base_offset)
    }

    /// End of what is in segment files: segment and position of the next byte to be copied.
    pub(crate) fn flushed(&self) -> (Offset, u64) {
        let uncopied = self.uncopied().map(|entry| (entry.segment_base, entry.position));
        let staged = if rivven_io::planted!("B64") { None } else { self.staged.front().copied() };
        let end = (self.log.active().base, self.log.active().bytes);
        uncopied.or(staged).unwrap_or(end)
    }

    /// The log counts a batch there whose commit is about to be written.
    pub(crate) fn note_staged(&mut self, place: (Offset, u64)) {
        assert!(self.staged.back().is_none_or(|last| *last < place), "batches are staged in order");
        self.staged.push_back(place);
    }

    /// The commit of the batch there is done: from now on the tail has it.
    pub(crate) fn note_published(&mut self, place: (Offset, u64)) {
        if rivven_io::planted!("B09") && self.staged.front() != Some(&place) {
            // It was shown before its sync, and comes again.
            return;
        }
        assert_eq!(
            self.staged.pop_front(),
            Some(place),
            "batches are published as they are staged"
        );
    }

    /// The first batch that its segment does not hold yet.
    pub(crate) fn uncopied(&self) -> Option<&TailEntry> {
        self.tail.get(self.copied)
    }

    /// Notes that every batch before `end` is in its segment, and keeps it in memory; the bytes of
    /// those that were not before.
    pub(crate) fn note_copied(&mut self, end: Offset) -> u64 {
        let mut bytes = 0;
        while let Some(entry) = self.uncopied().filter(|entry| entry.end <= end) {
            bytes += entry.batch.len() as u64;
            self.copied += 1;
        }
        bytes
    }

    /// Drops batches before `end` that their segments hold.
    pub(crate) fn drop_copied(&mut self, end: Offset) {
        while self.copied > 0 && self.tail.front().is_some_and(|entry| entry.end <= end) {
            self.tail.pop_front();
            self.copied -= 1;
        }
    }

    /// Takes batches of segments that are no longer part of the log off the tail: their files are
    /// gone or going. The bytes taken that no segment held.
    pub(crate) fn forget_dropped_tail(&mut self) -> u64 {
        let first = self.log.sealed().first().unwrap_or(self.log.active()).base;
        let mut bytes = 0;
        while self.tail.front().is_some_and(|entry| entry.segment_base < first) {
            let entry = self.tail.pop_front().expect("seen above");
            if self.copied > 0 {
                self.copied -= 1;
            } else {
                bytes += entry.batch.len() as u64;
            }
        }
        bytes
    }

    /// Empties the tail of a deleted partition; the bytes taken that no segment held.
    pub(crate) fn forget_tail(&mut self) -> u64 {
        let uncopied = self.tail.range(self.copied..).map(|entry| entry.batch.len() as u64).sum();
        self.tail.clear();
        self.copied = 0;
        uncopied
    }

    /// Whether a write there must wait for an image of its page in the WAL. What the begun
    /// checkpoint trusts before that place needs none: until it is durable the WAL has it, and it
    /// waits for the write.
    pub(crate) fn must_log_page(&self, place: (Offset, u64)) -> bool {
        [&self.durable, &self.begun]
            .into_iter()
            .any(|trust| !trust.page_logged && trust.shares_page(place))
    }

    /// Notes that the image of the page before `place` is durable.
    pub(crate) fn note_page_logged(&mut self, place: (Offset, u64)) {
        for trust in [&mut self.durable, &mut self.begun] {
            trust.page_logged |= trust.shares_page(place);
        }
    }

    /// All segments whose files are, or may be, there for a reason.
    pub(crate) fn names(&self) -> impl Iterator<Item = SegmentName> {
        let log = self.log.sealed().iter().chain([self.log.active()]).map(Segment::name);
        log.chain(self.replaced.iter().copied()).chain(self.written)
    }

    /// Whether nobody wants the file of a segment any more. A batch that is being placed may have
    /// begun the next one.
    pub(crate) fn is_stray(&self, name: SegmentName) -> bool {
        let is_begun = name.base >= self.log.active().base;
        let is_kept = self.log.holds(name) || self.replaced.contains(&name);
        self.deleted || !(is_begun || is_kept || self.written == Some(name))
    }

    /// Whether the file of a segment that is being appended, or was closed just now, is still
    /// wanted.
    pub(crate) fn wants_segment(&self, base: Offset) -> bool {
        self.wants(SegmentName::appended(base))
    }

    /// Whether a segment is part of a log that is still there.
    pub(crate) fn wants(&self, name: SegmentName) -> bool {
        !self.deleted && self.log.holds(name)
    }

    /// Whether every closed segment before `base` has its final length and indexes.
    pub(crate) fn closed_through(&self, base: Offset) -> bool {
        self.closed.first().is_none_or(|closed| closed.segment.base >= base)
    }

    /// Holds the tail to the log; O(1).
    pub(crate) fn check(&self) {
        let end = (self.log.active().base, self.log.active().bytes);
        assert!(self.flushed() <= end, "no segment is longer than the log");
        assert!(self.copied <= self.tail.len(), "what was copied is part of the tail");
        if let (Some(front), Some(back)) = (self.tail.front(), self.tail.back()) {
            assert!(front.base_offset < front.end, "a tail entry holds records");
            assert!(back.end <= self.log.positions().log_end, "the tail ends with the log");
            assert!(front.base_offset <= back.base_offset, "the tail rises");
            assert!(front.segment_base <= back.segment_base, "through the segments, too");
        }
    }
}

/// A registration that ends when it is dropped.
pub struct Watch {
    partition: Weak<Partition>,
    key: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(partition) = self.partition.upgrade() {
            partition.lock().watches.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::ids::{TimestampMs, TopicId};

    #[test]
    fn what_followers_of_the_log_read_next_stays_until_it_is_told_to_go() {
        let place = PartitionPlace {
            id: PartitionId { topic: TopicId::NIL, index: 0 },
            topic: "t".into(),
            folder: PathBuf::from("/t/0"),
        };
        let log = PartitionLog::new(TimestampMs(0));
        let partition = Partition::new(place, log, Arc::new(TopicConfig::default()));
        let mut state = partition.lock();
        for first in 0..5 {
            state.tail.push_back(TailEntry {
                base_offset: Offset(first),
                end: Offset(first + 1),
                segment_base: Offset::ZERO,
                position: first.unsigned_abs() * 100,
                batch: Bytes::from_static(&[0; 100]),
            });
        }
        assert_eq!(state.note_copied(Offset(3)), 300);
        // To where batches may go, and the first that is still there.
        for (end, expected) in [(0, 0), (1, 1), (2, 2), (5, 3)] {
            state.drop_copied(Offset(end));
            let first = state.tail.front().map(|entry| entry.base_offset);
            assert_eq!(first, Some(Offset(expected)), "through {end}");
        }
        assert_eq!((state.copied, state.note_copied(Offset(5))), (0, 200));
    }
}
