//! Metadata: the broker, and topics with their partitions; creates missing topics if asked.
//!
//! Kafka answers UNKNOWN_TOPIC_OR_PARTITION while it creates a topic; here the topic is there when
//! the answer is sent.

use std::collections::BTreeSet;
use std::sync::Arc;

use rivven_core::ids::TopicId;
use rivven_core::metadata::image::{MetadataImage, Topic};
use rivven_core::metadata::plan::{CreateTopicRequest, PlanRefusalKind, plan_create};
use rivven_core::metadata::topic_name::check_topic_name;

use super::Caller;
use super::create_topics::plan_context;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};

/// First version in which a topic may be named by id alone; 10 and 11 have the field without it.
/// Kafka's own admin client sends an empty name beside the id: the id is what counts.
const BY_ID_VERSION_MIN: i16 = 12;

pub(crate) async fn handle(
    node: &Node,
    caller: Caller,
    api_version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    let asks_all = |topics: &Vec<_>| api_version == 0 && topics.is_empty();
    let asked = request.topics.filter(|topics| !asks_all(topics));
    let topics = match asked {
        None => node.storage.image().topics().map(|topic| described(node, topic)).collect(),
        Some(asked) => {
            if request.allow_auto_topic_creation && node.config.auto_create_topics {
                let by_name = asked.iter().filter(|topic| !names_by_id(api_version, topic));
                let names = by_name.filter_map(|topic| topic.name.as_deref());
                create_missing(node, names).await;
            }
            let image = node.storage.image();
            let mut seen = BTreeSet::new();
            let is_new =
                |topic: &&MetadataRequestTopic| seen.insert((topic.topic_id, topic.name.clone()));
            asked.iter().filter(is_new).map(|topic| row(node, &image, api_version, topic)).collect()
        }
    };
    let (host, port) = caller.advertised(node);
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: node.config.node_id,
            host,
            port,
            rack: None,
        }],
        cluster_id: Some(node.storage.cluster_id().into()),
        controller_id: node.config.node_id,
        topics,
        ..MetadataResponse::default()
    }
}

/// A name that cannot be created stays unknown, which the answer then says.
pub(crate) async fn create_missing<'a>(node: &Node, names: impl Iterator<Item = &'a str>) {
    let image = node.storage.image();
    let is_missing = |name: &&str| image.topic(name).is_none() && check_topic_name(name).is_ok();
    let missing: BTreeSet<&str> = names.filter(is_missing).collect();
    if missing.is_empty() {
        return;
    }
    let mut change = node.storage.change_metadata().await;
    let mut image = MetadataImage::clone(&change.image());
    let mut commands = Vec::with_capacity(missing.len());
    let brokers = [node.config.node_id];
    for name in missing {
        let request = CreateTopicRequest {
            name,
            partitions: -1,
            replication_factor: -1,
            assignments: &[],
            configs: &[],
        };
        match plan_create(&image, &request, &plan_context(node, &image, &brokers)) {
            Ok(command) => {
                image.apply(&command).expect("a plan against this image applies to it");
                tracing::info!(topic = %name, "creating a topic that a client asked for");
                commands.push(command);
            }
            Err(refusal) if refusal.kind == PlanRefusalKind::TopicAlreadyExists => {}
            Err(refusal) => tracing::info!(topic = %name, %refusal, "not creating a topic"),
        }
    }
    if let Err(error) = change.commit(commands).await {
        tracing::warn!(%error, "topics were not created");
    }
}

fn names_by_id(api_version: i16, asked: &MetadataRequestTopic) -> bool {
    api_version >= BY_ID_VERSION_MIN && asked.topic_id != TopicId::NIL
}

fn row(
    node: &Node,
    image: &MetadataImage,
    api_version: i16,
    asked: &MetadataRequestTopic,
) -> MetadataResponseTopic {
    let name = asked.name.as_ref().filter(|_| !names_by_id(api_version, asked));
    let found = match name {
        Some(name) => image.topic(name),
        None if names_by_id(api_version, asked) => image.topic_by_id(asked.topic_id),
        None => None,
    };
    if let Some(topic) = found {
        return described(node, topic);
    }
    let error_code = match name {
        Some(name) if check_topic_name(name).is_err() => ErrorCode::INVALID_TOPIC_EXCEPTION,
        Some(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        None if names_by_id(api_version, asked) => ErrorCode::UNKNOWN_TOPIC_ID,
        None => ErrorCode::INVALID_REQUEST,
    };
    MetadataResponseTopic {
        error_code,
        name: name.cloned(),
        topic_id: asked.topic_id,
        ..MetadataResponseTopic::default()
    }
}

fn described(node: &Node, topic: &Arc<Topic>) -> MetadataResponseTopic {
    let node_id = node.config.node_id;
    let partition = |index: u32| MetadataResponsePartition {
        partition_index: i32::try_from(index).expect("a topic has fewer partitions"),
        leader_id: node_id,
        leader_epoch: 0,
        replica_nodes: vec![node_id],
        isr_nodes: vec![node_id],
        ..MetadataResponsePartition::default()
    };
    MetadataResponseTopic {
        name: Some((&*topic.name).into()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: (0..topic.partitions).map(partition).collect(),
        ..MetadataResponseTopic::default()
    }
}
