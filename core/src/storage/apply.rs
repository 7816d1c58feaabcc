//! Applies durable changes of state to what everyone sees.

use std::path::PathBuf;
use std::sync::Arc;

use crate::ids::{PartitionId, TimestampMs};
use crate::log::machine::PartitionLog;
use crate::log::segment::Segment;
use crate::metadata::command::MetadataCommand;
use crate::metadata::image::{ApplyError, MetadataImage, Topic};
use crate::metadata::topic_config::TopicConfig;
use crate::storage::layout::Layout;
use crate::storage::partition::{Partition, PartitionPlace};
use crate::storage::shared::{Change, CondemnedFiles, Shared};

pub(crate) fn apply_change(shared: &Shared, change: Change) {
    match change {
        Change::Metadata { commands, turn } => {
            apply_metadata(shared, &commands).expect("commands were planned against this image");
            drop(turn);
        }
        Change::LogStart { partition, to } => {
            let dropped = {
                let mut state = partition.lock();
                let dropped = state.log.move_log_start(to);
                let start = state.log.positions().log_start;
                state.closed.retain(|closed| closed.segment.end > start);
                let forgotten = state.forget_dropped_tail();
                shared.stats.tail_bytes.fetch_sub(forgotten, std::sync::atomic::Ordering::Relaxed);
                state.wake();
                if !state.dirty {
                    state.dirty = true;
                    shared.note_dirty(partition.clone());
                }
                dropped
            };
            if !dropped.is_empty() {
                let names = dropped.iter().map(Segment::name).collect();
                let delay_ms = partition.config().file_delete_delay_ms;
                shared.condemn(CondemnedFiles::Segments(partition, names), delay_ms);
                shared.checkpoint_wanted.notify_one();
            }
        }
        Change::Compacted { partition, segment, cleaned } => {
            let mut state = partition.lock();
            let replaced = state.log.replace(segment, cleaned);
            if replaced.is_empty() {
                return;
            }
            state.replaced.extend(replaced.iter().map(Segment::name));
            // What is still in memory is what stood there before.
            state.drop_copied(segment.end);
            if !state.dirty {
                state.dirty = true;
                shared.note_dirty(partition.clone());
            }
        }
        Change::Pages(_) | Change::Rolled { .. } | Change::Barrier | Change::Checkpointed(_) => {}
    }
}

/// Applies commands that are durable, all or none.
pub(crate) fn apply_metadata(
    shared: &Shared,
    commands: &[MetadataCommand],
) -> Result<(), ApplyError> {
    let (image, number) = shared.image();
    let mut image = MetadataImage::clone(&image);
    for command in commands {
        image.apply(command)?;
    }
    let now = TimestampMs(shared.env.clock.wall_ms());
    for command in commands {
        follow(shared, command, &image, now);
    }
    assert_eq!(shared.image().1, number, "nobody else changes the image");
    shared.set_image(image, number + commands.len() as u64);
    Ok(())
}

/// Brings the partitions in line with one command that `image` has applied.
fn follow(shared: &Shared, command: &MetadataCommand, image: &MetadataImage, now: TimestampMs) {
    match command {
        MetadataCommand::CreateTopic { id, .. } | MetadataCommand::CreatePartitions { id, .. } => {
            let Some(topic) = image.topic_by_id(*id) else { return };
            let name = topic.name.clone();
            let config = Arc::new(topic.config.clone());
            shared.with_partitions(|partitions| {
                for index in 0..topic.partitions {
                    let id = PartitionId { topic: *id, index };
                    partitions.entry(id).or_insert_with(|| {
                        new_partition(&shared.layout, (id, &name), config.clone(), now)
                    });
                }
            });
        }
        MetadataCommand::SetTopicConfigs { id, .. } => {
            if let Some(topic) = image.topic_by_id(*id) {
                configure(shared, topic);
            }
        }
        MetadataCommand::SetBrokerConfigs { .. } => {
            image.topics().for_each(|topic| configure(shared, topic));
        }
        MetadataCommand::DeleteTopic { id } => {
            let gone: Vec<_> = shared.with_partitions(|partitions| {
                let first = PartitionId { topic: *id, index: 0 };
                let last = PartitionId { topic: *id, index: u32::MAX };
                let keys: Vec<_> = partitions.range(first..=last).map(|(key, _)| *key).collect();
                keys.iter().filter_map(|key| partitions.remove(key)).collect()
            });
            for partition in gone {
                bury(shared, partition);
            }
            shared.checkpoint_wanted.notify_one();
        }
        MetadataCommand::AllocateProducerIds { .. } => {}
    }
}

/// Gives a topic's partitions its configuration.
fn configure(shared: &Shared, topic: &Topic) {
    let config = Arc::new(topic.config.clone());
    for index in 0..topic.partitions {
        if let Some(partition) = shared.partition(PartitionId { topic: topic.id, index }) {
            let mut state = partition.lock();
            if state.config != config {
                rivven_io::probe!("partition_reconfigured");
            }
            state.config = config.clone();
        }
    }
}

/// Empties a deleted partition and has its files removed.
fn bury(shared: &Shared, partition: Arc<Partition>) {
    {
        let mut state = partition.lock();
        state.deleted = true;
        let bytes = state.forget_tail();
        state.closed.clear();
        shared.stats.tail_bytes.fetch_sub(bytes, std::sync::atomic::Ordering::Relaxed);
        state.wake();
    }
    let delay_ms = partition.config().file_delete_delay_ms;
    shared.condemn(CondemnedFiles::Partition(partition), delay_ms);
}

/// A partition with an empty log.
pub(crate) fn new_partition(
    layout: &Layout,
    (id, topic): (PartitionId, &Arc<str>),
    config: Arc<TopicConfig>,
    now: TimestampMs,
) -> Arc<Partition> {
    let folder: PathBuf = layout.partition(topic, id.index);
    let place = PartitionPlace { id, topic: topic.clone(), folder };
    Partition::new(place, PartitionLog::new(now), config)
}
