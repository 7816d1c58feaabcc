//! The partitions that a consumer reads: where each stands, and what was fetched of it.
//!
//! A position moves only when a record is given out, or over offsets that hold none for this
//! consumer: markers of transactions, aborted records, what compaction has removed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_io::clock::Monotonic;

use super::batches::Batch;
use super::record::{BatchReader, ConsumerRecord};
use crate::assignor::TopicPartition;
use crate::backoff::Backoff;
use crate::error::Error;

/// The timestamps of ListOffsets that mean an end of the log.
pub(super) const LATEST: i64 = -1;
pub(super) const EARLIEST: i64 = -2;

/// Bytes of keys and values after which a poll takes no further record: a small batch may unpack
/// to a large one, and a thousand of those to more than there is memory.
const POLL_BYTES_MAX: usize = 8 << 20;

/// Where reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// It is being asked for.
    Unknown(Start),
    At(At),
}

/// An offset, and the epoch of the leader that wrote the record before it; -1 if unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
}

/// What gives a position that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The group's committed offset, or else [`Start::Reset`].
    Committed,
    /// What the configuration says.
    Reset,
    /// The first record that is not older; also [`LATEST`] and [`EARLIEST`].
    Timestamp(i64),
}

/// Everything that is read.
#[derive(Default)]
pub(super) struct Partitions {
    pub(super) rows: BTreeMap<TopicPartition, Row>,
    /// Numbers rows and their seeks, so that an answer finds out that nobody wants it any more.
    next_incarnation: u64,
    /// Whose turn it is to give records out.
    turn: Option<TopicPartition>,
}

/// One partition.
pub(super) struct Row {
    pub(super) incarnation: u64,
    pub(super) position: Position,
    /// Behind what was fetched; the position if nothing is unread.
    pub(super) fetched: At,
    pub(super) unread: VecDeque<Batch>,
    pub(super) unread_bytes: usize,
    /// Of the first unread batch, once it is being read.
    reader: Option<BatchReader>,
    pub(super) is_paused: bool,
    /// It was announced as revoked: nothing more is given out.
    pub(super) is_revoked: bool,
    /// A request for its position is under way.
    pub(super) is_looked_up: bool,
    pub(super) topic_id: Option<TopicId>,
    /// The newest leader that is known to have been, by its epoch; -1 if none is.
    pub(super) epoch_seen: i32,
    /// Since when metadata names an older one.
    pub(super) outdated_since: Option<Monotonic>,
    pub(super) marks: Option<Marks>,
    /// What poll says when all that is unread is given out.
    pub(super) trouble: Option<Error>,
    pub(super) wait_until: Monotonic,
    pub(super) backoff: Backoff,
    /// Higher: served later by a fetch, so that all get their turn.
    pub(super) fed: u64,
    /// What the group has; `None` while that is not certain.
    pub(super) committed: Option<Stored>,
    /// The last commit that was begun; 0 for none.
    pub(super) commit: u64,
}

/// An offset that the group is known to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) offset: i64,
    pub(super) noted_at: Monotonic,
}

/// Where a log stood when it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) log_start: i64,
    pub(super) last_stable: i64,
    pub(super) high_watermark: i64,
}

/// What one poll took.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) records: Vec<ConsumerRecord>,
    /// Of their keys and values.
    bytes: usize,
    /// A batch was read to its end: there is room for more.
    pub(super) made_room: bool,
}

impl Taken {
    fn is_full(&self, count_max: usize) -> bool {
        self.records.len() >= count_max || self.bytes >= POLL_BYTES_MAX
    }

    fn weigh(&mut self, first: usize) {
        let len = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
        let records = self.records[first..].iter();
        self.bytes += records.map(|record| len(&record.key) + len(&record.value)).sum::<usize>();
    }
}

impl Partitions {
    /// Begins to read a partition that is not read yet.
    pub(super) fn add(&mut self, of: TopicPartition, start: Start, backoff: Backoff) {
        let row = Row {
            incarnation: self.number(),
            position: Position::Unknown(start),
            fetched: At { offset: 0, leader_epoch: -1 },
            unread: VecDeque::new(),
            unread_bytes: 0,
            reader: None,
            is_paused: false,
            is_revoked: false,
            is_looked_up: false,
            topic_id: None,
            epoch_seen: -1,
            outdated_since: None,
            marks: None,
            trouble: None,
            wait_until: Monotonic::default(),
            backoff,
            fed: 0,
            committed: None,
            commit: 0,
        };
        let before = self.rows.insert(of, row);
        assert!(before.is_none(), "a partition is added once");
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next_incarnation += 1;
        self.next_incarnation
    }

    pub(super) fn names(&self) -> BTreeSet<TopicPartition> {
        self.rows.keys().cloned().collect()
    }

    /// Sets a position; what was fetched is forgotten. Whether the partition is read at all.
    pub(super) fn set(&mut self, of: &TopicPartition, position: Position) -> bool {
        let incarnation = self.number();
        let Some(row) = self.rows.get_mut(of) else { return false };
        row.incarnation = incarnation;
        row.trouble = None;
        row.wait_until = Monotonic::default();
        // Who sets it knows better than what was read before.
        (row.epoch_seen, row.outdated_since) = (-1, None);
        row.set(position);
        true
    }

    /// Up to `count_max` records, and no batch after the first 8 MiB, beginning with the partition
    /// whose turn it is.
    ///
    /// # Errors
    /// What is wrong with the next partition, if no records come before. It is tried again after
    /// `retry_at`, or from where the caller seeks to.
    pub(super) fn take(&mut self, count_max: usize, retry_at: Monotonic) -> Result<Taken, Error> {
        let mut taken = Taken::default();
        let first = self.turn.take();
        let begin = first.as_ref().map_or(Bound::Unbounded, Bound::Included);
        let names = self.rows.range::<TopicPartition, _>((begin, Bound::Unbounded));
        let mut names: Vec<TopicPartition> = names.map(|(of, _)| of.clone()).collect();
        if let Some(first) = &first {
            let rest = self.rows.range::<TopicPartition, _>(..first);
            names.extend(rest.map(|(of, _)| of.clone()));
        }
        for (index, of) in names.iter().enumerate() {
            let row = self.rows.get_mut(of).expect("names are those of the rows");
            let next = &names[(index + 1) % names.len()];
            match row.take(of, count_max, &mut taken) {
                Ok(()) if !taken.is_full(count_max) => {}
                Ok(()) => {
                    // One unpacked body at a time: it counts for nothing in `buffer_bytes`.
                    let keeps_turn = row.reader.as_ref().is_some_and(BatchReader::is_unpacked);
                    self.turn = Some(if keeps_turn { of } else { next }.clone());
                    break;
                }
                Err(error) if taken.records.is_empty() => {
                    self.turn = Some(next.clone());
                    row.set(row.position);
                    row.trouble = None;
                    row.wait_until = retry_at;
                    return Err(error);
                }
                Err(error) => {
                    self.turn = Some(of.clone());
                    row.trouble = Some(error);
                    row.unread.clear();
                    row.unread_bytes = 0;
                    row.reader = None;
                    break;
                }
            }
        }
        assert!(taken.records.len() <= count_max, "no more than was asked for");
        Ok(taken)
    }
}

impl Row {
    /// Goes on at `position`, without what was fetched.
    pub(super) fn set(&mut self, position: Position) {
        self.position = position;
        if let Position::At(at) = position {
            self.fetched = at;
            self.epoch_seen = self.epoch_seen.max(at.leader_epoch);
        }
        self.unread.clear();
        self.unread_bytes = 0;
        self.reader = None;
        self.is_looked_up = false;
    }

    /// Whether requests are made for it.
    pub(super) fn is_active(&self) -> bool {
        !self.is_paused && !self.is_revoked && self.trouble.is_none()
    }

    /// Takes over a batch that continues what was fetched.
    pub(super) fn push(&mut self, batch: Batch) {
        assert!(batch.end > self.fetched.offset, "a batch brings the next offset");
        self.fetched = At { offset: batch.end, leader_epoch: batch.leader_epoch };
        self.epoch_seen = self.epoch_seen.max(batch.leader_epoch);
        self.unread_bytes += batch.bytes.len();
        match self.unread.back_mut() {
            // They have no bytes that would bound their number.
            Some(last) if !last.has_records && !batch.has_records => *last = batch,
            _ => self.unread.push_back(batch),
        }
    }

    fn take(
        &mut self,
        of: &TopicPartition,
        count_max: usize,
        taken: &mut Taken,
    ) -> Result<(), Error> {
        if self.is_paused || self.is_revoked {
            return Ok(());
        }
        let before = taken.records.len();
        while !taken.is_full(count_max) {
            let (Position::At(at), Some(batch)) = (&mut self.position, self.unread.front()) else {
                break;
            };
            if batch.has_records {
                let unreadable = |error: &dyn std::fmt::Display, at: &At| {
                    let what = format!("reading {of} at offset {}", at.offset);
                    Error::refused(what, ErrorCode::CORRUPT_MESSAGE, Some(&error.to_string()))
                };
                let reader = match &mut self.reader {
                    Some(reader) => reader,
                    none => {
                        let opened = BatchReader::open(&batch.bytes);
                        none.insert(opened.map_err(|error| unreadable(&error, at))?)
                    }
                };
                let first = taken.records.len();
                let read = reader.read(of, at.offset, (&mut taken.records, count_max));
                taken.weigh(first);
                if let Some(last) = taken.records[first..].last() {
                    assert!(last.offset >= at.offset, "nothing before the position is given out");
                    *at = At { offset: last.offset + 1, leader_epoch: last.leader_epoch };
                }
                if !read.map_err(|error| unreadable(&error, at))? {
                    break;
                }
            }
            *at = At { offset: batch.end.max(at.offset), leader_epoch: batch.leader_epoch };
            self.unread_bytes -= batch.bytes.len();
            self.unread.pop_front();
            self.reader = None;
            taken.made_room = true;
        }
        let is_over = self.unread.is_empty() && taken.records.len() == before;
        match &self.trouble {
            Some(trouble) if is_over => Err(trouble.clone()),
            _ => Ok(()),
        }
    }

    /// Offsets from the position to the end of what may be read.
    pub(super) fn lag(&self, is_committed_only: bool) -> Option<u64> {
        let (Position::At(at), Some(marks)) = (self.position, self.marks) else { return None };
        let end = if is_committed_only { marks.last_stable } else { marks.high_watermark };
        Some(u64::try_from(end.saturating_sub(at.offset)).unwrap_or(0))
    }
}
