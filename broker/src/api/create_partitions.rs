//! CreatePartitions: new partitions are there when it is answered.

use rivven_core::metadata::command::MetadataCommand;
use rivven_core::metadata::image::MetadataImage;
use rivven_core::metadata::plan::{
    CreatePartitionsRequest as Wish, PlanRefusal, duplicate_names, plan_partitions,
};

use super::errors::plan_error;
use crate::groups::topic::room_for_others;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

pub(crate) async fn handle(
    node: &Node,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut change = node.storage.change_metadata().await;
    let mut image = MetadataImage::clone(&change.image());
    let repeated = duplicate_names(request.topics.iter().map(|topic| &*topic.name));
    let mut commands = Vec::new();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let planned = if repeated.contains(&*topic.name) {
            Err(PlanRefusal::duplicate_name())
        } else {
            plan(node, &image, topic)
        };
        let (error_code, error_message) = match planned {
            Ok(command) => {
                image.apply(&command).expect("a plan against this image applies to it");
                commands.push(command);
                (ErrorCode::NONE, None)
            }
            Err(refusal) => plan_error(refusal),
        };
        let name = topic.name.clone();
        results.push(CreatePartitionsTopicResult { name, error_code, error_message });
    }
    if !request.validate_only
        && let Err(error) = change.commit(commands).await
    {
        for result in results.iter_mut().filter(|result| !result.error_code.is_error()) {
            result.error_code = ErrorCode::KAFKA_STORAGE_ERROR;
            result.error_message = Some(error.to_string().into());
        }
    }
    CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() }
}

fn plan(
    node: &Node,
    image: &MetadataImage,
    topic: &CreatePartitionsTopic,
) -> Result<MetadataCommand, PlanRefusal> {
    let assignments: Option<Vec<Vec<i32>>> = topic.assignments.as_ref().map(|assignments| {
        assignments.iter().map(|assignment| assignment.broker_ids.clone()).collect()
    });
    let wish = Wish { name: &topic.name, count: topic.count, assignments: assignments.as_deref() };
    plan_partitions(image, &wish, (&[node.config.node_id], room_for_others(node, image)))
}
