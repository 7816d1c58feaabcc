//! The cleaner: compacts logs (`cleanup.policy=compact`), one partition at a time, in bounded
//! memory and with as many pauses as work.
//!
//! ```text
//!  dirty segments ──► last offset of each key ──► groups of segments, oldest first
//!                                                      │ each sifted into one new file, synced
//!                         checkpoint ◄── applied ◄── WAL: the new one takes their place
//!                             └─► the old files are removed
//! ```
//!
//! A run goes from the front of the log to the end of what it compared, and stops at the first
//! trouble: a tombstone that is dropped behind records that were passed over would bring them back.

mod output;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use rivven_io::clock::Monotonic;
use rivven_io::disk::Create;

use crate::ids::{Offset, PartitionId, ProducerId, TimestampMs};
use crate::log::compaction::offset_map::OffsetMap;
use crate::log::compaction::sieve::{Sieve, Sifted};
use crate::log::compaction::{
    COMPACTED_SEGMENT_BYTES_MAX, Cleanable, CompactionRules, cleanable, groups,
};
use crate::log::segment::{SEGMENT_BYTES_MAX, Segment};
use crate::metadata::topic_config::TopicConfig;
use crate::record::header::BatchHeader;
use crate::record::unpacked::{UnreadableBatch, unpack};
use crate::storage::cleaner::output::Output;
use crate::storage::error::lacks_room;
use crate::storage::housekeeping;
use crate::storage::partition::{Partition, PartitionState};
use crate::storage::segment_walk::{SegmentWalk, Step, Stretch};
use crate::storage::shared::{Change, EndGuard, Shared};

/// Bytes that are read between two pauses.
const PIECE_BYTES: u64 = 1 << 20;
/// The longest pause, for a disk that stalls.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Room on the disk that the cleaner leaves to everyone else.
const SPARE_BYTES: u64 = 64 << 20;
/// Bytes of a new segment after which the disk's room is looked at again.
const ROOM_STEP_BYTES: u64 = 4 << 20;

/// Why a run ends before its time.
enum Stop {
    /// Storage ends, or the partition or its segments are gone.
    Ended,
    /// The disk has no room for the new segment; the next turn tries again.
    NoRoom,
    /// The disk answered with an error; the next turn tries again.
    Disk(io::Error),
    /// What stands at `offset` cannot be compared or written. Nothing was changed behind it.
    Uncleanable { offset: Offset, reason: String },
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        if lacks_room(&error) { Stop::NoRoom } else { Stop::Disk(error) }
    }
}

/// The state that only the cleaner touches.
struct Cleaner {
    shared: Arc<Shared>,
    /// Where the cleaning of a partition stopped for good, until the log begins behind it.
    stuck: BTreeMap<PartitionId, Offset>,
    /// End of the last run over a partition that had to leave batches as they were. Without more
    /// to compare another run would leave them again.
    left: BTreeMap<PartitionId, Offset>,
    /// Bytes that a segment may have.
    segment_bytes_max: u64,
    /// When the piece began that is being read, and how many bytes of it were.
    piece: (Monotonic, u64),
}

/// One run over one partition.
struct Job {
    partition: Arc<Partition>,
    config: Arc<TopicConfig>,
    cleanable: Cleanable,
    /// End of what earlier runs compared.
    cleaned: Offset,
    producers: BTreeMap<ProducerId, Offset>,
    now: TimestampMs,
}

impl Job {
    /// End of what may be cleaned.
    fn end(&self) -> Offset {
        self.cleanable.segments.last().map_or(self.cleaned, |segment| segment.end)
    }
}

/// The second pass of a run.
struct Pass<'a> {
    sieve: Sieve<'a>,
    /// The first batch that stays whole although less of it is to stay: the rest would take more
    /// room than there is.
    left: Option<Offset>,
    /// Bytes of the sources of the segment that is written that were not read yet. Together with
    /// what was written they fit a segment.
    rest: u64,
}

impl Pass<'_> {
    /// A batch is left as it is. What it should lose is still there, so no tombstone behind it may
    /// go, and it counts as not compared.
    fn leave(&mut self, header: &BatchHeader) {
        rivven_io::probe!("batch_left_whole");
        self.left.get_or_insert(header.base_offset);
        self.sieve.holds_tombstones = true;
    }

    /// Up to where everything was compared, and nothing was left.
    fn cleaned(&self, job: &Job) -> Offset {
        self.left.map_or(self.sieve.map.end(), |left| left.max(job.cleaned))
    }
}

/// Runs until storage closes or fails.
pub(crate) async fn run(shared: Arc<Shared>, ended: EndGuard) {
    let mut cleaner = Cleaner::new(shared.clone());
    while !cleaner.must_end() {
        tokio::select! {
            biased;
            () = shared.cleaner_wanted.notified() => {}
            () = shared.env.clock.sleep(shared.options.cleaner_interval) => {
                cleaner.turn().await;
            }
        }
    }
    ended.expected();
}

impl Cleaner {
    fn new(shared: Arc<Shared>) -> Cleaner {
        let piece = (shared.env.clock.now(), 0);
        let group_bytes = shared.options.compacted_segment_bytes;
        assert!(group_bytes <= COMPACTED_SEGMENT_BYTES_MAX, "positions have 31 bits");
        Cleaner {
            shared,
            stuck: BTreeMap::new(),
            left: BTreeMap::new(),
            segment_bytes_max: 2 * group_bytes,
            piece,
        }
    }

    fn must_end(&self) -> bool {
        self.shared.is_closing() || self.shared.failure().is_some()
    }

    /// Cleans every log that needs it, the dirtiest first.
    async fn turn(&mut self) {
        let shared = self.shared.clone();
        for noted in [&mut self.stuck, &mut self.left] {
            noted.retain(|id, _| shared.partition(*id).is_some());
        }
        let mut dirty = Vec::new();
        for partition in self.shared.all_partitions() {
            if let Some(job) = self.job(&partition) {
                dirty.push((job.cleanable.dirty_ratio, partition));
            }
        }
        dirty.sort_by_key(|(ratio, partition)| (std::cmp::Reverse(*ratio), partition.id()));
        for (_, partition) in dirty {
            if self.must_end() {
                return;
            }
            let Some(job) = self.job(&partition) else { continue };
            match self.clean(&job).await {
                Ok(()) => {
                    rivven_io::probe!("log_compacted");
                    self.shared.stats.compactions.fetch_add(1, Ordering::Relaxed);
                }
                Err(stop) => self.note(&partition, stop),
            }
        }
    }

    /// What is to be done for a partition now.
    fn job(&mut self, partition: &Arc<Partition>) -> Option<Job> {
        let now = TimestampMs(self.shared.env.clock.wall_ms());
        let state = partition.lock();
        if !is_cleaned(&state) {
            return None;
        }
        let config = state.config.clone();
        let start = state.log.positions().log_start;
        if self.stuck.get(&partition.id()).is_some_and(|offset| start <= *offset) {
            return None;
        }
        self.stuck.remove(&partition.id());
        let rules = CompactionRules {
            dirty_ratio_min: config.dirty_ratio_min,
            lag_min_ms: config.compaction_lag_min_ms,
            lag_max_ms: config.compaction_lag_max_ms,
        };
        let cleanable = cleanable(&state.log, state.durable.end.0, (rules, now))?;
        let cleaned = state.log.cleaned();
        let producers = state.log.producers().last_offsets().collect();
        drop(state);
        let job = Job { partition: partition.clone(), config, cleanable, cleaned, producers, now };
        let is_news = self.left.get(&partition.id()).is_none_or(|end| *end < job.end());
        is_news.then_some(job)
    }

    fn note(&mut self, partition: &Partition, stop: Stop) {
        let (id, topic) = (partition.id(), partition.topic());
        match stop {
            Stop::Ended => {}
            Stop::NoRoom => {
                rivven_io::probe!("no_room_to_compact");
                tracing::warn!(partition = %id, topic, "no room on disk to compact the log");
            }
            Stop::Disk(error) => {
                tracing::warn!(partition = %id, topic, %error, "compacting the log");
            }
            Stop::Uncleanable { offset, reason } => {
                rivven_io::probe!("log_uncleanable");
                self.shared.stats.compactions_stopped.fetch_add(1, Ordering::Relaxed);
                tracing::error!(partition = %id, topic, %offset, reason,
                    "the log is no longer compacted: a batch of it cannot be read");
                self.stuck.insert(id, offset);
            }
        }
    }

    async fn clean(&mut self, job: &Job) -> Result<(), Stop> {
        let map = self.compare(job).await?;
        let sieve = Sieve {
            map: &map,
            now: job.now,
            delete_retention_ms: job.config.delete_retention_ms,
            producers: &job.producers,
            holds_tombstones: false,
        };
        let mut pass = Pass { sieve, left: None, rest: 0 };
        let segments = &job.cleanable.segments;
        let group_bytes = job.config.segment_bytes.min(self.shared.options.compacted_segment_bytes);
        let groups = groups(segments, map.end(), group_bytes);
        let last = groups.len().checked_sub(1).ok_or(Stop::Ended)?;
        for (index, group) in groups.into_iter().enumerate() {
            self.rewrite(job, &segments[group], (&mut pass, index == last)).await?;
        }
        self.left.remove(&job.partition.id());
        if let Some(left) = pass.left {
            tracing::warn!(partition = %job.partition.id(), topic = job.partition.topic(),
                offset = %left, "what is left of batches needs more room than they; they stay");
            self.left.insert(job.partition.id(), job.end());
        }
        Ok(())
    }

    /// Notes the last offset of each key of the dirty segments, as far as there is room.
    async fn compare(&mut self, job: &Job) -> Result<OffsetMap, Stop> {
        let from = job.cleanable.dirty_from;
        let dirty = job.cleanable.segments.iter().filter(|segment| segment.end > from);
        let span = |segment: &Segment| segment.end.0 - segment.base.max(from).0;
        let keys = u64::try_from(dirty.clone().map(span).sum::<i64>()).unwrap_or(0);
        let seed = [self.shared.env.rng.u64(), self.shared.env.rng.u64()];
        let mut map = OffsetMap::new((keys, self.shared.options.cleaner_map_bytes), from, seed);
        for segment in dirty.filter(|segment| !segment.is_empty()) {
            let file = self.open(job, segment).await?;
            let mut walk = walk(&file, segment).await?;
            while let Some((header, batch)) = self.next((job, segment), &mut walk).await? {
                if header.is_control() {
                    continue;
                }
                let noted = note_keys(&batch, &mut map);
                if !noted.map_err(|error| uncleanable(&header, error.to_string()))? {
                    rivven_io::probe!("offset_map_full");
                    if rivven_io::planted!("B54") {
                        map.pass(job.end());
                    }
                    return Ok(map);
                }
            }
            map.pass(segment.end);
        }
        map.pass(job.end());
        Ok(map)
    }

    /// Writes what is left of some segments into one, and puts it in their place.
    async fn rewrite(
        &mut self,
        job: &Job,
        sources: &[Segment],
        (pass, is_last): (&mut Pass<'_>, bool),
    ) -> Result<(), Stop> {
        let bytes: u64 = sources.iter().map(|segment| segment.bytes).sum();
        assert!(bytes <= SEGMENT_BYTES_MAX, "whatever has to stay whole fits one segment");
        pass.rest = bytes;
        self.check_room(bytes + SPARE_BYTES.min(bytes)).await?;
        let mut output = Output::create((&self.shared, &job.partition), sources).await?;
        for source in sources.iter().filter(|source| !source.is_empty()) {
            if let Err(stop) = self.copy(job, source, (pass, &mut output)).await {
                output.discard().await;
                return Err(stop);
            }
        }
        let segment = output.finish().await?;
        assert!(segment.bytes <= SEGMENT_BYTES_MAX, "positions have 32 bits");
        if self.shared.env.buggify("compacted_before_commit") {
            self.shared.env.clock.sleep(Duration::from_millis(50)).await;
        }
        // Only the last one of a run says that all before it was compared.
        let cleaned = if is_last { pass.cleaned(job) } else { job.cleaned };
        let partition = job.partition.clone();
        let change = Change::Compacted { partition, segment, cleaned };
        if !is_cleaned(&job.partition.lock()) {
            output::remove(&self.shared, &job.partition, segment.name()).await;
            return Err(Stop::Ended);
        }
        // Whether a change that failed is in the WAL is open: the file stays until the next start.
        self.shared.change(change).await.map_err(|_| Stop::Ended)?;
        let is_part = {
            let mut state = job.partition.lock();
            state.written = None;
            state.log.holds(segment.name())
        };
        if !is_part {
            // The log start passed some of the sources, or the topic is gone.
            rivven_io::probe!("compacted_in_vain");
            output::remove(&self.shared, &job.partition, segment.name()).await;
            return Err(Stop::Ended);
        }
        if rivven_io::planted!("B50") {
            let names: Vec<_> = sources.iter().map(Segment::name).collect();
            housekeeping::remove_segments(&self.shared, &job.partition, &names).await?;
        }
        Ok(())
    }

    async fn check_room(&self, needed: u64) -> Result<(), Stop> {
        let space = self.shared.env.disk.space(&self.shared.layout.root).await?;
        if space.available_bytes < needed { Err(Stop::NoRoom) } else { Ok(()) }
    }

    async fn copy(
        &mut self,
        job: &Job,
        source: &Segment,
        (pass, output): (&mut Pass<'_>, &mut Output),
    ) -> Result<(), Stop> {
        let file = self.open(job, source).await?;
        let mut walk = walk(&file, source).await?;
        while let Some((header, batch)) = self.next((job, source), &mut walk).await? {
            let sifted = pass.sieve.sift(&batch);
            let sifted = sifted.map_err(|error| uncleanable(&header, error.to_string()))?;
            pass.rest -= batch.len() as u64;
            let used = output.bytes() + pass.rest;
            let kept = match sifted {
                Sifted::Nothing => continue,
                Sifted::Whole => batch,
                Sifted::Written(bytes) if used + bytes.len() as u64 <= self.segment_bytes_max => {
                    Bytes::from(bytes)
                }
                Sifted::Written(bytes) if bytes.len() <= batch.len() => Bytes::from(bytes),
                Sifted::Written(_) | Sifted::TooLarge => {
                    pass.leave(&header);
                    batch
                }
            };
            let before = output.bytes();
            output.push(kept).await?;
            if before / ROOM_STEP_BYTES < output.bytes() / ROOM_STEP_BYTES {
                self.check_room(SPARE_BYTES.min(source.bytes)).await?;
            }
        }
        Ok(())
    }

    async fn open(&self, job: &Job, segment: &Segment) -> Result<Arc<rivven_io::disk::File>, Stop> {
        let files = &self.shared.files;
        let opened = files.segment(&job.partition, segment.name(), Create::Never).await;
        opened.map_err(|error| match job.partition.lock().wants(segment.name()) {
            true => Stop::Disk(error),
            false => Stop::Ended,
        })
    }

    /// The next batch of a segment, with as much rest as work.
    async fn next(
        &mut self,
        (job, segment): (&Job, &Segment),
        walk: &mut SegmentWalk<'_>,
    ) -> Result<Option<(BatchHeader, Bytes)>, Stop> {
        if self.must_end() || !is_cleaned(&job.partition.lock()) {
            return Err(Stop::Ended);
        }
        if self.piece.1 >= PIECE_BYTES {
            let took = self.shared.env.clock.now().since(self.piece.0);
            self.shared.env.clock.sleep(took.min(PAUSE_MAX)).await;
            self.piece = (self.shared.env.clock.now(), 0);
        }
        match walk.next().await? {
            None => Ok(None),
            // The base offset is not under the CRC.
            Some(Step::Batch { header, .. }) if header.last_offset() >= segment.end => {
                Err(uncleanable(&header, format!("its segment ends at {}", segment.end)))
            }
            Some(Step::Batch { position, header }) => {
                self.piece.1 += header.size() as u64;
                Ok(Some((header, walk.batch(position, &header).await?)))
            }
            Some(Step::Damage(damage)) => {
                let offset = damage.expected.unwrap_or(job.cleanable.dirty_from);
                let reason = format!("at position {}: {}", damage.position, damage.reason);
                Err(Stop::Uncleanable { offset, reason })
            }
        }
    }
}

/// Whether a partition's log is to be compacted; its topic's policy may change during a run.
fn is_cleaned(state: &PartitionState) -> bool {
    state.config.is_compacted && !state.deleted && state.quarantine.is_none()
}

async fn walk<'a>(
    file: &'a rivven_io::disk::File,
    segment: &Segment,
) -> io::Result<SegmentWalk<'a>> {
    let stretch = Stretch {
        base: Some(segment.base),
        has_gaps: segment.has_gaps(),
        bytes: segment.bytes,
        page: None,
    };
    SegmentWalk::new(file, stretch).await
}

/// Notes a batch's keys; whether there was room for all.
fn note_keys(batch: &[u8], map: &mut OffsetMap) -> Result<bool, UnreadableBatch> {
    let unpacked = unpack(batch)?;
    let from = map.end();
    unpacked.each_record(|offset, record, _| {
        let key = record.key.filter(|_| offset >= from);
        key.is_none_or(|key| map.note(key, offset))
    })
}

fn uncleanable(header: &BatchHeader, reason: String) -> Stop {
    Stop::Uncleanable { offset: header.base_offset, reason }
}

#[cfg(test)]
mod tests;
