//! A commit in the making: what was placed, what was refused, what changes.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use rivven_io::disk::Create;

use crate::ids::{LeaderEpoch, Offset};
use crate::limits::BATCH_BYTES_MAX;
use crate::log::compaction::COMPACTED_SEGMENT_BYTES_MAX;
use crate::log::machine::{AppendPlan, Placement, RollRules};
use crate::log::segment::SegmentName;
use crate::metadata::topic_config::TopicConfig;
use crate::record::header::patch;
use crate::storage::committer::{Committer, Done};
use crate::storage::error::{AppendError, StorageFailed};
use crate::storage::folder;
use crate::storage::partition::{Partition, TailEntry};
use crate::storage::segment_end;
use crate::storage::shared::{AppendRequest, Appended, Change};
use crate::storage::wal::commit::COMMIT_HEADER_BYTES;
use crate::storage::wal::record::{
    APPEND_OVERHEAD_BYTES, COMPACTED_BYTES, PAGE_OVERHEAD_BYTES, ROLLED_BYTES, WalRecord,
};

/// A commit in the making.
#[derive(Default)]
pub(crate) struct Staged {
    /// Header room and payload so far.
    pub(crate) memory: BytesMut,
    pub(crate) records: u32,
    pub(crate) placed: Vec<PlacedAppend>,
    /// Answered at the end of the commit without being in it: duplicates and refusals.
    pub(crate) answered: Vec<(AppendRequest, Result<Appended, AppendError>)>,
    pub(crate) changes: Vec<StagedChange>,
    /// Bytes of the sealed commit, once it is written.
    pub(crate) commit_bytes: usize,
}

pub(crate) struct PlacedAppend {
    pub(crate) request: AppendRequest,
    pub(crate) placement: Placement,
    /// Where in the commit its batch stands.
    range: Range<usize>,
    pub(crate) entry: Option<TailEntry>,
}

pub(crate) struct StagedChange {
    pub(crate) change: Change,
    pub(crate) done: Done,
}

impl Staged {
    pub(crate) fn new(mut memory: BytesMut) -> Staged {
        memory.resize(COMMIT_HEADER_BYTES, 0);
        Staged { memory, ..Staged::default() }
    }

    /// Gives each placed batch its slice of the written commit.
    pub(crate) fn cut_batches(&mut self, commit: &Bytes) {
        assert!(self.memory.is_empty(), "the commit was split off");
        for append in &mut self.placed {
            let placement = append.placement;
            append.entry = Some(TailEntry {
                base_offset: placement.base_offset,
                end: placement.base_offset.plus(i64::from(append.request.header.count)),
                segment_base: placement.segment_base,
                position: placement.position,
                batch: commit.slice(append.range.clone()),
            });
        }
    }

    /// Number of batches in the commit.
    pub(crate) fn appends(&self) -> u32 {
        u32::try_from(self.placed.len()).expect("a commit holds at most 1000 requests")
    }

    /// Whether anything in it must be durable under every sync policy.
    pub(crate) fn changes_state(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Answers everyone with the failure.
    pub(crate) fn refuse(&mut self, failure: &StorageFailed) {
        for append in self.placed.drain(..) {
            super::committer::refuse(append.request, AppendError::Failed(failure.clone()));
        }
        for (request, _) in self.answered.drain(..) {
            super::committer::refuse(request, AppendError::Failed(failure.clone()));
        }
        for change in self.changes.drain(..) {
            let _ = change.done.send(Err(failure.clone()));
        }
    }
}

impl Committer {
    /// Plans an append, reserves its room on disk, applies it and encodes it.
    pub(crate) async fn stage_append(&self, request: AppendRequest, staged: &mut Staged) {
        match self.plan(&request) {
            Ok(AppendPlan::Duplicate { base_offset }) => {
                rivven_io::probe!("duplicate_batch");
                let log_start = request.partition.positions().log_start;
                let appended = Appended { base_offset, log_start, duplicate: true };
                staged.answered.push((request, Ok(appended)));
            }
            Ok(AppendPlan::Append(placement)) => {
                #[cfg(feature = "sim")]
                if rivven_io::planted!("B26") {
                    request.partition.lock().log.plant_producer_state(&request.header, self.now());
                }
                match self.reserve(&request, placement).await {
                    Ok(placement) => self.place(request, placement, staged),
                    Err(error) => staged.answered.push((request, Err(error))),
                }
            }
            Err(error) => staged.answered.push((request, Err(error))),
        }
    }

    fn plan(&self, request: &AppendRequest) -> Result<AppendPlan, AppendError> {
        let limit = self.shared.options.batch_bytes_max();
        assert!(limit <= BATCH_BYTES_MAX, "options keep the limit of the core");
        if request.batch.len() > limit {
            return Err(AppendError::TooLarge { bytes: request.batch.len(), limit });
        }
        let state = request.partition.lock();
        if state.deleted {
            return Err(AppendError::Gone(request.partition.id()));
        }
        if state.quarantine.is_some() {
            return Err(AppendError::Quarantined(request.partition.id()));
        }
        let rules = roll_rules(&state.config);
        Ok(state.log.plan_append(&request.header, &rules, self.now())?)
    }

    /// Makes sure that the batch's bytes will find room in their segment; where they go. The first
    /// batch of this life in a segment begins another one if the writer could not go on in it.
    async fn reserve(
        &self,
        request: &AppendRequest,
        mut placement: Placement,
    ) -> Result<Placement, AppendError> {
        let mut end = placement.position + request.batch.len() as u64;
        let (base, room, segment_bytes, goes_on) = {
            let state = request.partition.lock();
            let base = state.room.0;
            let place = (placement.segment_base, placement.position);
            let goes_on = base != placement.segment_base && state.must_log_page(place);
            (base, state.room.1, roll_rules(&state.config).segment_bytes, goes_on)
        };
        if base == placement.segment_base && end <= room {
            return Ok(placement);
        }
        if goes_on && self.is_unreadable(&request.partition, placement).await {
            placement.segment_base = placement.base_offset;
            placement.position = 0;
            end = request.batch.len() as u64;
        }
        let wanted = room_after(end, segment_bytes);
        let is_first = placement.position == 0 && base < placement.segment_base;
        let reserved = async {
            let (partition, base) = (&request.partition, placement.segment_base);
            if is_first {
                folder::remove_leftover(&self.shared, partition, base).await?;
            }
            self.allocate(partition, base, (wanted, end)).await
        };
        match reserved.await {
            Ok(reserved) => {
                request.partition.lock().room = (placement.segment_base, reserved);
                Ok(placement)
            }
            Err(error) => {
                tracing::warn!(partition = %request.partition.id(), %error, "no room for a batch");
                self.shared.stats.no_room.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let bytes = request.batch.len();
                Err(AppendError::NoRoom { partition: request.partition.id(), bytes })
            }
        }
    }

    /// Whether what stands before a batch in its page cannot be read. An error that does not say
    /// so meets the batch again when its room is reserved.
    async fn is_unreadable(&self, partition: &Partition, placement: Placement) -> bool {
        let place = (placement.segment_base, placement.position);
        let found = segment_end::is_readable(&self.shared, partition, place).await;
        let is_unreadable = found.is_ok_and(|is_readable| !is_readable);
        if is_unreadable {
            segment_end::report(partition, place, placement.base_offset);
        }
        is_unreadable
    }

    /// Reserves `wanted` bytes of a segment's file, or at least `needed` when the disk is nearly
    /// full.
    async fn allocate(
        &self,
        partition: &Partition,
        segment_base: Offset,
        (wanted, needed): (u64, u64),
    ) -> std::io::Result<u64> {
        folder::ensure_folder(&self.shared, partition).await?;
        let name = SegmentName::appended(segment_base);
        let file = self.shared.files.segment(partition, name, Create::IfMissing).await?;
        if file.allocate(wanted).await.is_ok() {
            return Ok(wanted);
        }
        file.allocate(needed).await?;
        Ok(needed)
    }

    fn place(&self, request: AppendRequest, placement: Placement, staged: &mut Staged) {
        let appended = self.now();
        let record = WalRecord::Append {
            partition: request.partition.id(),
            placement,
            appended,
            batch: request.batch.clone(),
        };
        assert_eq!(request.batch.len(), request.header.size, "header and batch belong together");
        let range = record.encode(&mut staged.memory);
        assert_eq!(range.len(), request.batch.len(), "the batch went into the commit whole");
        patch(&mut staged.memory[range.clone()], placement.base_offset, LeaderEpoch(0));
        {
            let mut state = request.partition.lock();
            let rules = roll_rules(&state.config);
            let closed = state.log.apply_append(placement, &request.header, (appended, &rules));
            state.closed.extend(closed);
            state.note_staged((placement.segment_base, placement.position));
        }
        staged.records += 1;
        staged.placed.push(PlacedAppend { request, placement, range, entry: None });
    }

    /// Encodes a change; it is applied when the commit is durable.
    pub(crate) fn stage_change(&mut self, change: Change, done: Done, staged: &mut Staged) {
        self.next_command = self.next_command.max(self.shared.image().1 + 1);
        let records = match &change {
            Change::Metadata { commands, .. } => commands
                .iter()
                .map(|command| {
                    let number = self.next_command;
                    self.next_command += 1;
                    let command = Bytes::from(command.encode());
                    WalRecord::Metadata { number, command }
                })
                .collect(),
            Change::LogStart { partition, to } => {
                vec![WalRecord::LogStart { partition: partition.id(), log_start: *to }]
            }
            Change::Pages(pages) => pages
                .iter()
                .map(|page| WalRecord::Page {
                    partition: page.partition,
                    segment_base: page.segment_base,
                    position: page.position,
                    bytes: page.bytes.clone(),
                })
                .collect(),
            Change::Compacted { partition, segment, cleaned } => vec![WalRecord::Compacted {
                partition: partition.id(),
                segment: *segment,
                cleaned: *cleaned,
            }],
            Change::Rolled { partition, rolled } => {
                vec![WalRecord::Rolled { partition: *partition, rolled: *rolled }]
            }
            Change::Barrier | Change::Checkpointed(_) => Vec::new(),
        };
        for record in records {
            record.encode(&mut staged.memory);
            staged.records += 1;
        }
        staged.changes.push(StagedChange { change, done });
    }
}

/// Upper bound of what a change adds to a commit.
pub(crate) fn change_bytes(change: &Change) -> usize {
    match change {
        Change::Metadata { commands, .. } => {
            commands.iter().map(|command| 16 + command.encode().len()).sum()
        }
        Change::LogStart { .. } => APPEND_OVERHEAD_BYTES,
        Change::Compacted { .. } => COMPACTED_BYTES,
        Change::Rolled { .. } => ROLLED_BYTES,
        Change::Pages(pages) => {
            pages.iter().map(|page| PAGE_OVERHEAD_BYTES + page.bytes.len()).sum()
        }
        Change::Barrier | Change::Checkpointed(_) => 0,
    }
}

/// When this topic's segments are closed.
pub(crate) fn roll_rules(config: &TopicConfig) -> RollRules {
    let (bytes_max, lag_max_ms) = match config.is_compacted {
        true => (COMPACTED_SEGMENT_BYTES_MAX, config.compaction_lag_max_ms),
        false => (u64::MAX, u64::MAX),
    };
    RollRules {
        segment_bytes: config.segment_bytes.min(bytes_max),
        segment_ms: config.segment_ms.min(lag_max_ms),
        index_interval_bytes: config.index_interval_bytes,
    }
}

/// A segment file is reserved half as far again as it is long, by 64 KiB at least and 16 MiB at
/// most, so that an idle partition takes little and a busy one rarely asks.
fn room_after(bytes_needed: u64, segment_bytes: u64) -> u64 {
    const UNIT: u64 = 64 << 10;
    const AHEAD_MAX: u64 = 16 << 20;
    let ahead = (bytes_needed / 2).min(AHEAD_MAX);
    (bytes_needed + ahead).next_multiple_of(UNIT).min(segment_bytes.max(bytes_needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compacted_topic_s_segments_leave_the_cleaner_room() {
        let largest = TopicConfig { segment_bytes: i32::MAX as u64, ..TopicConfig::default() };
        assert_eq!(roll_rules(&largest).segment_bytes, i32::MAX as u64);
        let compacted = TopicConfig { is_compacted: true, ..largest };
        assert_eq!(roll_rules(&compacted).segment_bytes, i32::MAX as u64 / 2);
        let small = TopicConfig { segment_bytes: 1000, ..compacted };
        assert_eq!(roll_rules(&small).segment_bytes, 1000);
    }

    #[test]
    fn a_segment_that_grows_asks_for_room_a_few_times() {
        let segment_bytes = 1 << 30;
        for batch in [61, 1094, 65_596, 1 << 20] {
            let (mut end, mut room, mut asked) = (0, 0, 0);
            while end + batch <= segment_bytes {
                end += batch;
                if end > room {
                    room = room_after(end, segment_bytes);
                    asked += 1;
                }
                assert!((end..=segment_bytes).contains(&room), "{batch}: {room} for {end}");
            }
            assert!(asked < 90, "{asked} calls for 1 GiB of {batch} bytes each");
        }
        assert_eq!(room_after(100, 1 << 30), 64 << 10, "an idle partition takes little");
        assert_eq!(room_after(5000, 4096), 5000, "a batch may be larger than its segment");
    }
}
