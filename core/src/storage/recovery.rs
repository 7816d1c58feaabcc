//! Opens a data directory: the last checkpoint, and where the WAL after it ends.
//!
//! The WAL is walked twice. The first time finds its end and puts back the pages that a power cut
//! may have spoiled. The newest commit may be one whose sync never returned; before anyone can see
//! it, it is written and synced once more (`earlier_life`). The second time (`replayer`) applies
//! everything, while committer and writer run already, so that a long WAL needs no more memory than
//! a short one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rivven_io::Env;

use crate::ids::{PartitionId, TimestampMs};
use crate::metadata::image::MetadataImage;
use crate::storage::checkpoint_file::{CHECKPOINT_BYTES_MAX, Checkpoint, decode_log};
use crate::storage::earlier_life::{self, Unsynced};
use crate::storage::error::OpenError;
use crate::storage::layout::Layout;
use crate::storage::options::StorageOptions;
use crate::storage::partition::{Partition, PartitionPlace};
use crate::storage::replayer;
use crate::storage::shared::{Shared, SharedParts};
use crate::storage::wal::commit::Lsn;
use crate::storage::wal::record::{Rolled, WalRecord};
use crate::storage::wal::replay::{Replay, ReplayedCommit, RingShape, WalPosition};
use crate::storage::wal::ring::Ring;

/// What a recovered directory needs to run.
pub(crate) struct Recovered {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ring: Ring,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) shape: RingShape,
    /// What earlier starts closed since the checkpoint.
    pub(crate) rolled: BTreeMap<PartitionId, Vec<Rolled>>,
    /// Where the WAL that must be applied ends.
    pub(crate) end: WalPosition,
}

/// Where, as whom and how to recover.
pub(crate) struct RecoveryParts {
    pub(crate) env: Env,
    pub(crate) layout: Layout,
    pub(crate) options: StorageOptions,
    pub(crate) cluster_id: String,
}

pub(crate) async fn recover(parts: RecoveryParts) -> Result<Recovered, OpenError> {
    let RecoveryParts { env, layout, options, cluster_id } = parts;
    let checkpoint = read_checkpoints(&env, &layout).await?;
    let image = decode_image(&layout, &checkpoint)?.of_node(options.node_id);
    let now = TimestampMs(env.clock.wall_ms());
    let partitions = restore_partitions(&layout, (&checkpoint, &image), now)?;
    let shape = RingShape {
        dir: layout.wal(),
        files: options.wal_files,
        file_bytes: options.wal_file_bytes,
    };
    let mut replay = Replay::new(&env, &shape, checkpoint.wal);
    let mut found = FoundFirst::default();
    let mut unsynced = Unsynced::default();
    let mut place = replay.position();
    while let Some(commit) = replay.next().await? {
        found.note(&commit);
        unsynced.note(place, replay.synced());
        place = replay.position();
    }
    replay.refuse_lost_checkpoint().await?;
    let beside = replay.take_beside();
    let end = replay.position();
    earlier_life::renew(&env, &layout, (&checkpoint, end.lsn > Lsn(0))).await?;
    let direct = probe_direct(&env, &layout).await?;
    let shared = Arc::new(Shared::new(SharedParts {
        env: env.clone(),
        options,
        layout,
        cluster_id,
        image,
        commands: checkpoint.commands,
        partitions,
        direct,
    }));
    let failed = |error| OpenError::Io { doing: "opening the WAL".to_owned(), error };
    let mut ring = Ring::open(&env, shape.clone(), end, checkpoint.wal).await.map_err(failed)?;
    if !rivven_io::planted!("B41") {
        unsynced.write_again(&env, beside, (&shape, &mut ring)).await?;
    }
    // Not before the newest commit is durable: the images may stand in it, and a page that is being
    // written is at risk.
    replayer::restore_pages(&shared, found.pages).await?;
    Ok(Recovered { shared, ring, checkpoint, shape, rolled: found.rolled, end })
}

/// Whether segments can be written past the page cache.
async fn probe_direct(env: &Env, layout: &Layout) -> Result<bool, OpenError> {
    let topics = layout.topics();
    let probed = async {
        env.disk.create_dir_all(&topics).await?;
        env.disk.supports_direct(&topics).await
    };
    let direct = probed.await.map_err(|error| OpenError::Io {
        doing: format!("trying direct I/O in {}", topics.display()),
        error,
    })?;
    if !direct {
        tracing::warn!(path = %topics.display(), "no direct I/O here: segments are written slowly");
    }
    Ok(direct)
}

/// What must be known before the first record is applied.
#[derive(Default)]
struct FoundFirst {
    pages: Vec<WalRecord>,
    rolled: BTreeMap<PartitionId, Vec<Rolled>>,
}

impl FoundFirst {
    fn note(&mut self, commit: &ReplayedCommit) {
        let mut payload = commit.payload.clone();
        while let Some(record) = WalRecord::decode(&mut payload) {
            match record {
                WalRecord::Page { partition, segment_base, position, bytes } => {
                    // A slice would hold all that was read with it.
                    let bytes = Bytes::copy_from_slice(&bytes);
                    self.pages.push(WalRecord::Page { partition, segment_base, position, bytes });
                }
                WalRecord::Rolled { partition, rolled } => {
                    self.rolled.entry(partition).or_default().push(rolled);
                }
                _ => {}
            }
        }
    }
}

/// The newer valid checkpoint; an empty one if there is none.
pub(crate) async fn read_checkpoints(env: &Env, layout: &Layout) -> Result<Checkpoint, OpenError> {
    let mut newest = Checkpoint::default();
    for odd in [false, true] {
        let path = layout.checkpoint(odd);
        let bytes = env.read_file(&path, CHECKPOINT_BYTES_MAX).await.map_err(|error| {
            OpenError::Io { doing: format!("reading {}", path.display()), error }
        })?;
        let Some(bytes) = bytes else { continue };
        match Checkpoint::decode(bytes) {
            Some(found) if found.sequence > newest.sequence => newest = found,
            Some(_) => {}
            None => {
                rivven_io::probe!("torn_checkpoint");
                tracing::warn!(path = %path.display(), "checkpoint is torn; the other one is used");
            }
        }
    }
    Ok(newest)
}

pub(crate) fn decode_image(
    layout: &Layout,
    checkpoint: &Checkpoint,
) -> Result<MetadataImage, OpenError> {
    if checkpoint.image.is_empty() {
        return Ok(MetadataImage::default());
    }
    MetadataImage::restore(&checkpoint.image).map_err(|error| OpenError::Corrupt {
        path: layout.checkpoint(checkpoint.sequence % 2 == 1),
        reason: error.to_string(),
    })
}

/// All partitions of all topics, as the checkpoint knows them.
fn restore_partitions(
    layout: &Layout,
    (checkpoint, image): (&Checkpoint, &MetadataImage),
    now: TimestampMs,
) -> Result<BTreeMap<PartitionId, Arc<Partition>>, OpenError> {
    let mut partitions = BTreeMap::new();
    for topic in image.topics() {
        let name = topic.name.clone();
        let config = Arc::new(topic.config.clone());
        for index in 0..topic.partitions {
            let id = PartitionId { topic: topic.id, index };
            let partition = match checkpoint.partitions.get(&id) {
                None => super::apply::new_partition(layout, (id, &name), config.clone(), now),
                Some(bytes) => {
                    let log = decode_log(bytes).map_err(|reason| OpenError::Corrupt {
                        path: layout.checkpoint(checkpoint.sequence % 2 == 1),
                        reason: format!("partition {id}: {reason}"),
                    })?;
                    let folder = layout.partition(&name, index);
                    let place = PartitionPlace { id, topic: name.clone(), folder };
                    let partition = Partition::new(place, log, config.clone());
                    partition.lock().counted = true;
                    partition
                }
            };
            partitions.insert(id, partition);
        }
    }
    Ok(partitions)
}
