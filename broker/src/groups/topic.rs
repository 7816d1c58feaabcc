//! `__consumer_offsets`: where it is, and how it comes into being.

use std::sync::Arc;

use rivven_core::group::shard::Shard;
use rivven_core::ids::PartitionId;
use rivven_core::metadata::image::MetadataImage;
use rivven_core::metadata::plan::{CreateTopicRequest, PlanContext, plan_create_internal};
use rivven_core::storage::Storage;
use rivven_core::storage::metadata_change::MetadataChange;
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
    // Whoever made it may have gone away before it was served: then nothing is in it yet.
    if change.image().topic(NAME).is_none() {
        create(node, &mut change).await?;
    }
    let partitions = partitions(&node.storage, &change.image()).ok_or(GroupRefusal::Unavailable)?;
    let _ = node.groups.keep(partitions, Some(&Shard::new(node.groups.rules)));
    Ok(())
}

/// Partitions that topics of clients may have in all. Groups keep the room for their own topic,
/// which is made when the first of them needs it; in a log that is too small for both, half of it.
pub(crate) fn room_for_others(node: &Node, image: &MetadataImage) -> u64 {
    let room = node.storage.partitions_max();
    match image.topic(NAME) {
        Some(_) => room,
        None => room - u64::from(node.config.offsets_topic_partitions).min(room / 2),
    }
}

async fn create(node: &Node, change: &mut MetadataChange) -> Refusable<()> {
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
    let brokers = [node.config.node_id];
    let partitions_max = node.storage.partitions_max();
    let context = PlanContext { partitions_max, ..plan_context(node, &image, &brokers) };
    let command = plan_create_internal(&image, &request, &context)
        .map_err(|refusal| unavailable(&refusal))?;
    change.commit(vec![command]).await.map_err(|error| unavailable(&error))
}

#[cfg(test)]
mod tests {
    use rivven_core::kafka::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
    use rivven_io::Env;

    use super::*;
    use crate::api::create_topics;
    use crate::config::Config;
    use crate::lifecycle::Broker;

    fn config(folder: &tempfile::TempDir) -> Config {
        let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        Config {
            data_dir: folder.path().join("data"),
            bind: vec![any_port],
            api_bind: any_port,
            offsets_topic_partitions: 3,
            ..Config::default()
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn other_topics_leave_groups_their_room() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        let mut options = config.storage_options();
        (options.wal_file_bytes, options.wal_files) = (1 << 20, 3);
        options.tail_bytes_max = 4 << 20;
        let room = i32::try_from(options.partitions_max()).unwrap();
        let broker = Broker::start_with_storage(Env::real(), config, options).await.unwrap();
        let node = &broker.node;
        let create = async |name: &str, num_partitions| {
            let topic = CreatableTopic {
                name: name.into(),
                num_partitions,
                replication_factor: 1,
                ..CreatableTopic::default()
            };
            let topics = vec![topic];
            let request = CreateTopicsRequest { topics, ..CreateTopicsRequest::default() };
            create_topics::handle(node, request).await.topics.remove(0).error_message
        };
        let said = create("too-large", room - 2).await.unwrap();
        assert!(said.contains(&format!("more than the {} that", room - 3)), "{said}");
        assert_eq!(create("fits", room - 3).await, None);
        ensure(node).await.unwrap();
        assert_eq!(node.groups.keepers().len(), 3);
        assert!(create("one-more", 1).await.is_some());
        broker.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn groups_have_their_place_though_its_maker_went_away() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        let broker = Broker::start(Env::real(), config).await.unwrap();
        let node = &broker.node;
        tokio::select! {
            biased;
            _ = ensure(node) => panic!("a commit takes a while"),
            () = async {} => {}
        }
        assert!(!node.groups.has_topic());
        ensure(node).await.unwrap();
        assert_eq!(node.groups.keepers().len(), 3);
        broker.shutdown().await.unwrap();
    }
}
