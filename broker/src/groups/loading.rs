//! Reads the groups of an earlier life from the log.

use std::sync::Arc;
use std::time::Duration;

use rivven_core::group::records::topic_of;
use rivven_core::group::shard::{Shard, ShardLoader, StoredRecord};
use rivven_core::ids::Offset;
use rivven_core::metadata::image::MetadataImage;
use rivven_core::record::compression::Codec;
use rivven_core::record::header::HEADER_BYTES;
use rivven_core::record::records::{Record, Records};
use rivven_core::storage::error::ReadError;
use rivven_core::storage::read::{ReadRequest, batches};

use super::keeper::Keeper;
use super::now;
use crate::limits::GROUP_LOAD_BYTES;
use crate::node::Node;

/// How often a partition is tried to be read while the disk answers with errors.
const TRIES_MAX: u32 = 30;
/// Between two tries to read what could not be read.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a partition's groups do not answer.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the batch at offset {0} is compressed, which no group coordinator of ours writes")]
    Compressed(Offset),
    #[error("the batch at offset {offset} holds no records: {error}")]
    Records { offset: Offset, error: String },
}

/// Reads every partition, one after the other. `image`: topics before any of this life is made.
pub(super) async fn load(node: Arc<Node>, image: Arc<MetadataImage>, keepers: Arc<[Arc<Keeper>]>) {
    let mut unread: Vec<&Arc<Keeper>> = keepers.iter().collect();
    let mut tries = 0;
    while !unread.is_empty() {
        tries += 1;
        let mut again = Vec::new();
        for keeper in unread {
            let loaded = tokio::select! {
                biased;
                () = node.stop.wait() => return,
                loaded = load_one(&node, &image, keeper) => loaded,
            };
            let partition = keeper.partition().id();
            match loaded {
                Ok(shard) => keeper.begin(Some(shard)),
                Err(error) if error.may_pass() && tries < TRIES_MAX => {
                    tracing::warn!(%partition, %error, "reading a partition's groups again");
                    again.push(keeper);
                }
                Err(error) => {
                    tracing::error!(%partition, %error,
                        "the groups of a partition of __consumer_offsets are out of service");
                    keeper.begin(None);
                }
            }
        }
        unread = again;
        if !unread.is_empty() {
            tokio::select! {
                biased;
                () = node.stop.wait() => return,
                () = node.env.clock.sleep(AGAIN) => {}
            }
        }
    }
}

impl LoadError {
    /// Whether it may go better the next time: the disk may recover, and the log may have lost its
    /// beginning meanwhile.
    fn may_pass(&self) -> bool {
        matches!(self, LoadError::Read(ReadError::Io { .. } | ReadError::OutOfRange { .. }))
    }
}

async fn load_one(
    node: &Node,
    image: &Arc<MetadataImage>,
    keeper: &Keeper,
) -> Result<Shard, LoadError> {
    let partition = keeper.partition();
    let positions = partition.positions();
    let mut loader = ShardLoader::new(image.clone());
    let mut from = positions.log_start;
    while from < positions.high_watermark {
        let request =
            ReadRequest { from, bytes_max: GROUP_LOAD_BYTES, at_least_one: true, cold: true };
        let answer = node.storage.read(partition, request).await?;
        let begun = from;
        for (header, batch) in batches(&answer.data) {
            let offset = header.base_offset;
            if Codec::from_bits(header.codec_bits()) != Some(Codec::None) {
                return Err(LoadError::Compressed(offset));
            }
            for record in Records::new(&header, &batch[HEADER_BYTES..]) {
                let record = record
                    .map_err(|error| LoadError::Records { offset, error: error.to_string() })?;
                take(&mut loader, keeper, (offset, record));
            }
            from = offset.plus(i64::from(header.last_offset_delta) + 1);
        }
        if from == begun {
            // What lies between is gone: compaction has left nothing to read.
            break;
        }
    }
    let (shard, refused) = loader.finish(node.groups.rules, now(&node.env));
    for (group, reason) in refused {
        tracing::error!(group, reason, "the group's last record makes no sense; it begins anew");
    }
    Ok(shard)
}

fn take(loader: &mut ShardLoader, keeper: &Keeper, (offset, record): (Offset, Record<'_>)) {
    let Some(key) = record.key else { return };
    let topic = topic_of(record.headers);
    if let Err(error) = loader.take(StoredRecord { key, value: record.value, topic }) {
        tracing::warn!(partition = %keeper.partition().id(), %offset, %error,
            "passing over a record of __consumer_offsets");
    }
}
