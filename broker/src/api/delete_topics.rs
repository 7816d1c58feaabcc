//! DeleteTopics, by name or by id.

use rivven_core::ids::TopicId;
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::metadata::image::MetadataImage;
use rivven_core::metadata::plan::{TopicRef, plan_delete};

use super::errors::plan_error;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};

/// First version with a list of names and ids.
const STATES_VERSION_MIN: i16 = 6;

pub(crate) async fn handle(
    node: &Node,
    api_version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let asked = if api_version >= STATES_VERSION_MIN {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), topic_id: TopicId::NIL };
        request.topic_names.into_iter().map(by_name).collect()
    };
    let mut change = node.storage.change_metadata().await;
    let mut image = MetadataImage::clone(&change.image());
    let mut commands = Vec::new();
    let mut responses = Vec::with_capacity(asked.len());
    for state in asked {
        responses.push(match plan(&image, &state) {
            Ok((command, name)) => {
                image.apply(&command).expect("a plan against this image applies to it");
                let MetadataCommand::DeleteTopic { id } = command else {
                    unreachable!("a deletion is planned as one")
                };
                commands.push(command);
                DeletableTopicResult { name: Some(name), topic_id: id, ..Default::default() }
            }
            Err((error_code, error_message)) => DeletableTopicResult {
                name: state.name,
                topic_id: state.topic_id,
                error_code,
                error_message,
            },
        });
    }
    if let Err(error) = change.commit(commands).await {
        for result in responses.iter_mut().filter(|result| !result.error_code.is_error()) {
            result.error_code = ErrorCode::KAFKA_STORAGE_ERROR;
            result.error_message = Some(error.to_string().into());
        }
    }
    DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
}

type Refused = (ErrorCode, Option<WireStr>);

fn plan(
    image: &MetadataImage,
    state: &DeleteTopicState,
) -> Result<(MetadataCommand, WireStr), Refused> {
    let invalid = |text: &str| (ErrorCode::INVALID_REQUEST, Some(text.into()));
    let topic = match (&state.name, state.topic_id) {
        (Some(_), id) if id != TopicId::NIL => {
            return Err(invalid("You may not specify both topic name and topic id."));
        }
        (Some(name), _) => TopicRef::Name(name),
        (None, TopicId::NIL) => {
            return Err(invalid("Neither topic name nor id were specified."));
        }
        (None, id) => TopicRef::Id(id),
    };
    let command = plan_delete(image, topic).map_err(plan_error)?;
    let found = match topic {
        TopicRef::Name(name) => image.topic(name),
        TopicRef::Id(id) => image.topic_by_id(id),
    };
    let found = found.expect("only a topic that exists is planned to be deleted");
    Ok((command, (&*found.name).into()))
}
