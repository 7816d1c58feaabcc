//! `__consumer_offsets`: where it is, and how it comes into being.

use std::sync::Arc;

use rivven_core::group::shard::Shard;
use rivven_core::ids::PartitionId;
use rivven_core::metadata::image::MetadataImage;
use rivven_core::metadata::plan::{CreateTopicRequest, plan_create_internal};
use rivven_core::storage::Storage;
use rivven_core::storage::partition::Partition;

use super::{GroupRefusal, Refusable};
use crate::api::create_topics::plan_context;
use crate::node::Node;

pub(crate) const NAME: &str = "__consumer_offsets";
/// As Kafka makes it; the newest record of each key is kept.
const CONFIGS: [(&str, Option<&str>); 3] = [
    ("cleanup.policy", Some("compact")),
    ("compression.type", Some("producer")),
    ("segment.bytes", Some("104857600")),
];

/// The topic's partitions, in order, if it is there.
pub(super) fn partitions(storage: &Storage, image: &MetadataImage) -> Option<Vec<Arc<Partition>>> {
    let topic = image.topic(NAME)?;
    let partition = |index| storage.partition(PartitionId { topic: topic.id, index });
    (0..topic.partitions).map(partition).collect()
}

/// Makes the topic if it is not there; when this returns, groups have a place.
pub(crate) async fn ensure(node: &Node) -> Refusable<()> {
    if node.groups.has_topic() {
        return Ok(());
    }
    let mut change = node.storage.change_metadata().await;
    if node.groups.has_topic() {
        return Ok(());
    }
    let request = CreateTopicRequest {
        name: NAME,
        partitions: i32::try_from(node.config.offsets_topic_partitions).unwrap_or(i32::MAX),
        replication_factor: -1,
        assignments: &[],
        configs: &CONFIGS,
    };
    let image = change.image();
    let unavailable = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, topic = NAME, "no place for consumer groups");
        GroupRefusal::Unavailable
    };
    let command =
        plan_create_internal(&image, &request, &plan_context(node, &[node.config.node_id]))
            .map_err(|refusal| unavailable(&refusal))?;
    change.commit(vec![command]).await.map_err(|error| unavailable(&error))?;
    let partitions = partitions(&node.storage, &change.image()).ok_or(GroupRefusal::Unavailable)?;
    let _ = node.groups.keep(partitions, Some(&Shard::new(node.groups.rules)));
    Ok(())
}
