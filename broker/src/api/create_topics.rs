//! CreateTopics: all topics of a request that can be created are durable when it is answered.

use std::collections::BTreeSet;

use rivven_core::ids::{TimestampMs, TopicId};
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::metadata::image::MetadataImage;
use rivven_core::metadata::plan::{
    CreateTopicRequest, PlanContext, PlanRefusal, duplicate_names, plan_create,
};
use rivven_core::storage::error::StorageFailed;

use super::describe_configs::topic_entries;
use super::errors::plan_error;
use crate::groups::topic::room_for_others;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};

/// What every plan against this image is made with on this node.
pub(crate) fn plan_context<'a>(
    node: &Node,
    image: &MetadataImage,
    brokers: &'a [i32],
) -> PlanContext<'a> {
    PlanContext {
        brokers,
        partitions_max: room_for_others(node, image),
        default_partitions: node.config.default_partitions,
        default_replication_factor: 1,
        new_topic_id: TopicId::from_random(node.env.rng.bytes16()),
        now: TimestampMs(node.env.clock.wall_ms()),
    }
}

pub(crate) async fn handle(node: &Node, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut change = node.storage.change_metadata().await;
    let mut image = MetadataImage::clone(&change.image());
    let repeated = duplicate_names(request.topics.iter().map(|topic| &*topic.name));
    let mut commands = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut answered = BTreeSet::new();
    for topic in request.topics.iter().filter(|topic| answered.insert(&topic.name)) {
        let planned = if repeated.contains(&*topic.name) {
            Err(PlanRefusal::duplicate_name())
        } else {
            plan(node, &image, topic)
        };
        topics.push(match planned {
            Ok(command) => {
                image.apply(&command).expect("a plan against this image applies to it");
                commands.push(command);
                created(&image, &topic.name)
            }
            Err(refusal) => refused(topic, refusal),
        });
    }
    if rivven_io::planted!("B95") {
        drop(node.env.tasks.spawn("create-topics", async move { change.commit(commands).await }));
    } else if !request.validate_only
        && let Err(error) = change.commit(commands).await
    {
        topics.iter_mut().for_each(|result| fail(result, &error));
    }
    CreateTopicsResponse { topics, ..CreateTopicsResponse::default() }
}

fn plan(
    node: &Node,
    image: &MetadataImage,
    topic: &CreatableTopic,
) -> Result<MetadataCommand, PlanRefusal> {
    let assignments: Vec<(i32, Vec<i32>)> = topic
        .assignments
        .iter()
        .map(|assignment| (assignment.partition_index, assignment.broker_ids.clone()))
        .collect();
    let configs: Vec<(&str, Option<&str>)> =
        topic.configs.iter().map(|config| (&*config.name, config.value.as_deref())).collect();
    let request = CreateTopicRequest {
        name: &topic.name,
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: &assignments,
        configs: &configs,
    };
    plan_create(image, &request, &plan_context(node, image, &[node.config.node_id]))
}

fn created(image: &MetadataImage, name: &str) -> CreatableTopicResult {
    let topic = image.topic(name).expect("it was created above");
    let configs = topic_entries(image, topic).map(|entry| CreatableTopicConfigs {
        name: entry.key.name.into(),
        value: Some(entry.effective().value.into()),
        read_only: false,
        config_source: entry.effective().source,
        is_sensitive: false,
    });
    CreatableTopicResult {
        name: (&*topic.name).into(),
        topic_id: topic.id,
        num_partitions: i32::try_from(topic.partitions).expect("a topic has fewer partitions"),
        replication_factor: 1,
        configs: Some(configs.collect()),
        ..CreatableTopicResult::default()
    }
}

fn refused(topic: &CreatableTopic, refusal: PlanRefusal) -> CreatableTopicResult {
    let (error_code, error_message) = plan_error(refusal);
    let name = topic.name.clone();
    CreatableTopicResult { name, error_code, error_message, ..CreatableTopicResult::default() }
}

fn fail(result: &mut CreatableTopicResult, error: &StorageFailed) {
    if !result.error_code.is_error() {
        result.error_code = ErrorCode::KAFKA_STORAGE_ERROR;
        result.error_message = Some(error.to_string().into());
        result.configs = None;
    }
}
