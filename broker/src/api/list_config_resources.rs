//! ListConfigResources: the topics and the broker. Other resources have no settings here.

use super::describe_configs::{BROKER, TOPIC};
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const EVERY_TYPE: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

pub(crate) fn handle(
    node: &Node,
    api_version: i16,
    request: &ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let asked: &[i8] = match (api_version, &request.resource_types[..]) {
        (0, _) => &[CLIENT_METRICS],
        (_, []) => &EVERY_TYPE,
        (_, types) => types,
    };
    let mut response = ListConfigResourcesResponse::default();
    if asked.iter().any(|kind| !EVERY_TYPE.contains(kind)) {
        response.error_code = ErrorCode::UNSUPPORTED_VERSION;
        return response;
    }
    let resource =
        |resource_name: WireStr, resource_type| ConfigResource { resource_name, resource_type };
    if asked.contains(&TOPIC) {
        let image = node.storage.image();
        let topics = image.topics().map(|topic| resource((&*topic.name).into(), TOPIC));
        response.config_resources.extend(topics);
    }
    if asked.contains(&BROKER) {
        let name = node.config.node_id.to_string().into();
        response.config_resources.push(resource(name, BROKER));
    }
    response
}
