//! What checkpoints and WAL together say of topics and logs: a start, replayed in memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::ids::{LeaderEpoch, Offset, PartitionId, TimestampMs};
use crate::log::machine::{PartitionLog, Placement, Replayed};
use crate::log::segment::SEGMENT_BYTES_MAX;
use crate::metadata::command::MetadataCommand;
use crate::metadata::image::{MetadataImage, Topic};
use crate::record::header::{BatchHeader, compute_crc};
use crate::storage::layout::Layout;
use crate::storage::stage::roll_rules;
use crate::storage::stored::stored_batch;
use crate::storage::verify::contents::Contents;
use crate::storage::wal::record::{Rolled, WalRecord};

/// One partition as a start would find it.
pub(super) struct ExpectedPartition {
    pub(super) topic: Arc<str>,
    pub(super) folder: PathBuf,
    pub(super) log: PartitionLog,
    /// End of what the checkpoint counts: segment and position.
    pub(super) trusted: (Offset, u64),
    /// The front of the page at the trusted end, if the WAL holds it: position and bytes. A start
    /// writes it back before anything is read.
    pub(super) page: Option<(u64, Bytes)>,
    /// What the WAL adds to each segment.
    pub(super) added: BTreeMap<Offset, Contents>,
    /// Whether the WAL does not fit its log; the rest of its records is passed over.
    broken: bool,
}

/// All topics and partitions.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) image: MetadataImage,
    /// Number of the last metadata command applied to the image.
    pub(super) commands: u64,
    pub(super) partitions: BTreeMap<PartitionId, ExpectedPartition>,
    /// Segments that starts closed since the checkpoint. Each stands in the WAL behind the batches
    /// that it moves, so it has to be known before the first of them.
    pub(super) rolled: BTreeMap<PartitionId, Vec<Rolled>>,
}

impl ExpectedPartition {
    pub(super) fn new(layout: &Layout, topic: &Topic, (index, log): (u32, PartitionLog)) -> Self {
        ExpectedPartition {
            topic: topic.name.clone(),
            folder: layout.partition(&topic.name, index),
            trusted: (log.active().base, log.active().bytes),
            log,
            page: None,
            added: BTreeMap::new(),
            broken: false,
        }
    }

    /// Bytes of the segment at `base` that must be in its file.
    pub(super) fn needed_bytes(&self, base: Offset, bytes: u64) -> u64 {
        match base.cmp(&self.trusted.0) {
            std::cmp::Ordering::Less => bytes,
            std::cmp::Ordering::Equal => self.trusted.1,
            std::cmp::Ordering::Greater => 0,
        }
    }

    /// Whether a checkpoint counts any of its bytes that the log still has.
    pub(super) fn trusts_bytes(&self) -> bool {
        let segments = self.log.sealed().iter().chain([self.log.active()]);
        segments.into_iter().any(|segment| self.needed_bytes(segment.base, segment.bytes) > 0)
    }
}

impl Expected {
    /// Applies one record of the WAL; the error says why it does not fit.
    pub(super) fn apply(&mut self, layout: &Layout, record: WalRecord) -> Result<(), String> {
        match record {
            WalRecord::Append { partition, placement, appended, batch } => {
                self.append(partition, (placement, appended), &batch)
            }
            WalRecord::Page { partition, segment_base, position, bytes } => {
                if let Some(partition) = self.partitions.get_mut(&partition) {
                    partition.keep_page(segment_base, (position, &bytes));
                }
                Ok(())
            }
            WalRecord::LogStart { partition, log_start } => {
                if let Some(partition) = self.partitions.get_mut(&partition) {
                    partition.log.move_log_start(log_start);
                }
                Ok(())
            }
            WalRecord::Compacted { partition, segment, cleaned } => {
                if let Some(partition) = self.partitions.get_mut(&partition)
                    && !partition.log.replace(segment, cleaned).is_empty()
                {
                    let replaced = segment.base..segment.end;
                    partition.added.retain(|base, _| !replaced.contains(base));
                }
                Ok(())
            }
            WalRecord::Rolled { .. } => Ok(()),
            WalRecord::Metadata { number, command } => self.command(layout, number, &command),
        }
    }

    fn append(
        &mut self,
        id: PartitionId,
        (placement, appended): (Placement, TimestampMs),
        batch: &[u8],
    ) -> Result<(), String> {
        let Some(topic) = self.image.topic_by_id(id.topic) else { return Ok(()) };
        let Some(partition) = self.partitions.get_mut(&id) else { return Ok(()) };
        if partition.broken {
            return Ok(());
        }
        let rules = roll_rules(&topic.config);
        let rolled = self.rolled.get(&id).map_or(&[][..], Vec::as_slice);
        let placement = Rolled::moved_by_all(rolled, placement);
        let header = check_batch(placement, batch);
        let continued = header.and_then(|header| {
            let valid = stored_batch(&header);
            let replayed = partition.log.replay_append(placement, &valid, (appended, &rules));
            replayed.map(|replayed| (header, replayed)).map_err(|gap| gap.to_string())
        });
        match continued {
            Ok((header, Replayed::Appended(_))) => {
                let end = partition.log.positions().log_end;
                assert_eq!(end, header.last_offset().plus(1), "the batch ends the log");
                partition.added.entry(placement.segment_base).or_default().add(&header);
                Ok(())
            }
            Ok((_, Replayed::Known)) => Ok(()),
            Err(reason) => {
                partition.broken = true;
                Err(format!("partition {} of topic {}: {reason}", id.index, partition.topic))
            }
        }
    }

    fn command(&mut self, layout: &Layout, number: u64, bytes: &[u8]) -> Result<(), String> {
        if number <= self.commands {
            return Ok(());
        }
        if number != self.commands + 1 {
            return Err(format!("metadata command {} is missing", self.commands + 1));
        }
        let unfit = |error: String| format!("metadata command {number}: {error}");
        let command = MetadataCommand::decode(bytes).map_err(|error| unfit(error.to_string()))?;
        self.image.apply(&command).map_err(|error| unfit(error.to_string()))?;
        assert_eq!(number, self.commands + 1, "commands are applied in order");
        self.commands = number;
        match &command {
            MetadataCommand::CreateTopic { id, .. }
            | MetadataCommand::CreatePartitions { id, .. } => {
                let Some(topic) = self.image.topic_by_id(*id) else { return Ok(()) };
                for index in 0..topic.partitions {
                    let id = PartitionId { topic: *id, index };
                    self.partitions.entry(id).or_insert_with(|| {
                        let log = PartitionLog::new(TimestampMs(0));
                        ExpectedPartition::new(layout, topic, (index, log))
                    });
                }
            }
            MetadataCommand::DeleteTopic { id } => {
                self.partitions.retain(|partition, _| partition.topic != *id);
            }
            MetadataCommand::SetTopicConfigs { .. }
            | MetadataCommand::SetBrokerConfigs { .. }
            | MetadataCommand::AllocateProducerIds { .. } => {}
        }
        Ok(())
    }
}

impl ExpectedPartition {
    /// Keeps the newest image of the page at the trusted end, as a start would; see the replayer.
    fn keep_page(&mut self, segment_base: Offset, (position, bytes): (u64, &[u8])) {
        let end = position.saturating_add(bytes.len() as u64);
        assert!(end >= position, "a page does not end before it begins");
        let (trusted_base, trusted_end) = self.trusted;
        if segment_base == trusted_base && position <= trusted_end && end >= trusted_end {
            // A copy, because a slice would keep the whole commit in memory.
            self.page = Some((position, Bytes::copy_from_slice(bytes)));
        }
    }
}

/// Holds a batch of the WAL to what the log takes for granted of stored batches.
fn check_batch(placement: Placement, batch: &[u8]) -> Result<BatchHeader, String> {
    let header = BatchHeader::parse(batch).map_err(|error| error.to_string())?;
    let offset = placement.base_offset;
    if header.size() != batch.len() || compute_crc(batch) != header.crc {
        return Err(format!("the checksum of the batch at offset {offset} does not match"));
    }
    if header.leader_epoch != LeaderEpoch(0) {
        return Err(format!("the batch at offset {offset} has epoch {}", header.leader_epoch.0));
    }
    let end = placement.position.checked_add(header.size() as u64);
    let sound = header.last_offset_delta >= 0
        && header.last_offset_delta < i32::MAX
        && (0..i64::MAX / 2).contains(&offset.0)
        && end.is_some_and(|end| end <= SEGMENT_BYTES_MAX)
        && (header.producer_id.0 < 0 || header.base_sequence >= 0);
    if sound { Ok(header) } else { Err(format!("the batch at offset {offset} is not sound")) }
}
