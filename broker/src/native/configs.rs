//! Configurations of topics over the native protocol.

use rivven_core::wire::codec::Name;
use rivven_core::wire::message::{ConfigChange, ConfigValue, TopicConfigs};
use rivven_core::wire::response::Response;

use super::errors::Failure;
use crate::api;
use crate::api::describe_configs::{SOURCE_DEFAULT, TOPIC};
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResult,
};
use rivven_core::kafka::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

const SET: i8 = 0;
const DELETE: i8 = 1;

pub(super) async fn alter(
    node: &Node,
    topic: &str,
    changes: &[ConfigChange],
) -> Result<Response, Failure> {
    let config = |change: &ConfigChange| AlterableConfig {
        name: (&*change.key).into(),
        config_operation: if change.value.is_some() { SET } else { DELETE },
        value: change.value.as_deref().map(Into::into),
    };
    let resource = AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.into(),
        configs: changes.iter().map(config).collect(),
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let mut response = api::alter_configs::change(node, request).await;
    let result = response.responses.pop().expect("one for each resource");
    match (result.error_code, result.error_message) {
        (ErrorCode::NONE, _) => {
            let (topic, changed_count) = (topic.to_owned(), changes.len() as u64);
            Ok(Response::TopicConfigAltered { topic, changed_count })
        }
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None) => Err(Failure::unknown_topic(topic)),
        (code, message) => Err(Failure::of(code, message, "nothing was changed")),
    }
}

/// Of the topics asked for, all without a name.
pub(super) fn describe(node: &Node, topics: &[Name]) -> Result<Response, Failure> {
    let image = node.storage.image();
    let names: Vec<&str> = if topics.is_empty() {
        image.topics().filter(|topic| !topic.is_internal()).map(|topic| &*topic.name).collect()
    } else {
        topics.iter().map(|name| &**name).collect()
    };
    let resource = |name: &str| DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: name.into(),
        configuration_keys: None,
    };
    let resources = names.into_iter().map(resource).collect();
    let request = DescribeConfigsRequest { resources, ..DescribeConfigsRequest::default() };
    let response = api::describe_configs::handle(node, request);
    let configs = response.results.into_iter().map(described).collect::<Result<_, _>>()?;
    Ok(Response::TopicConfigsDescribed { configs })
}

fn described(result: DescribeConfigsResult) -> Result<TopicConfigs, Failure> {
    if result.error_code.is_error() {
        return Err(Failure::unknown_topic(&result.resource_name));
    }
    let configs = result.configs.iter().map(|config| {
        let value = ConfigValue {
            value: config.value.as_ref().map(ToString::to_string).unwrap_or_default(),
            is_default: config.config_source == SOURCE_DEFAULT,
            is_read_only: config.read_only,
            is_sensitive: config.is_sensitive,
        };
        (config.name.to_string(), value)
    });
    Ok(TopicConfigs { topic: result.resource_name.to_string(), configs: configs.collect() })
}
