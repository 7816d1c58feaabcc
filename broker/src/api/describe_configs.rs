//! DescribeConfigs: every setting of a topic or of the broker, and where its value comes from.

use rivven_core::metadata::image::Topic;
use rivven_core::metadata::topic_config::key::{ConfigKind, TOPIC_CONFIG_KEYS, TopicConfigKey};
use rivven_core::metadata::topic_name::check_topic_name;

use crate::config::broker_view::{BrokerEntry, broker_entries};
use crate::kafka::codec::error_code::ErrorCode;
use crate::kafka::codec::text::WireStr;
use crate::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::node::Node;

/// Resource types on the wire.
pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;

const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// One setting of a topic.
pub(crate) struct TopicEntry<'a> {
    pub(crate) key: &'static TopicConfigKey,
    pub(crate) value: &'a str,
    pub(crate) source: i8,
}

/// Every setting of a topic, ascending by name.
pub(crate) fn topic_entries(topic: &Topic) -> impl Iterator<Item = TopicEntry<'_>> {
    TOPIC_CONFIG_KEYS.iter().map(|key| match topic.overrides.get(key.name) {
        Some(value) => TopicEntry { key, value, source: SOURCE_TOPIC },
        None => TopicEntry { key, value: key.default, source: SOURCE_DEFAULT },
    })
}

pub(crate) fn handle(node: &Node, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let with =
        Wanted { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let results = request.resources.into_iter().map(|resource| describe(node, with, resource));
    DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() }
}

#[derive(Clone, Copy)]
struct Wanted {
    synonyms: bool,
    documentation: bool,
}

fn describe(node: &Node, with: Wanted, resource: DescribeConfigsResource) -> DescribeConfigsResult {
    let keys = resource.configuration_keys.as_deref();
    let is_asked = |name: &str| keys.is_none_or(|keys| keys.iter().any(|key| *key == name));
    let found = match resource.resource_type {
        TOPIC => topic_configs(node, with, &resource.resource_name),
        BROKER => broker_configs(node, with, &resource.resource_name),
        other => {
            Err((ErrorCode::INVALID_REQUEST, Some(format!("Unsupported resource type {other}"))))
        }
    };
    let mut result = DescribeConfigsResult {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        ..DescribeConfigsResult::default()
    };
    match found {
        Ok(mut configs) => {
            configs.retain(|config| is_asked(&config.name));
            result.configs = configs;
        }
        Err((error_code, message)) => {
            result.error_code = error_code;
            result.error_message = message.map(WireStr::from);
        }
    }
    result
}

type Found = Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, Option<String>)>;

fn topic_configs(node: &Node, with: Wanted, name: &str) -> Found {
    let image = node.storage.image();
    let Some(topic) = image.topic(name) else {
        return Err(match check_topic_name(name) {
            Ok(()) => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None),
            Err(error) => (ErrorCode::INVALID_TOPIC_EXCEPTION, Some(error.to_string())),
        });
    };
    Ok(topic_entries(topic).map(|entry| topic_row(&entry, with)).collect())
}

fn topic_row(entry: &TopicEntry<'_>, with: Wanted) -> DescribeConfigsResourceResult {
    let synonym = |name: &str, value: &str, source| DescribeConfigsSynonym {
        name: name.into(),
        value: Some(value.into()),
        source,
    };
    let mut synonyms = Vec::new();
    if with.synonyms {
        if entry.source == SOURCE_TOPIC {
            synonyms.push(synonym(entry.key.name, entry.value, SOURCE_TOPIC));
        }
        synonyms.push(synonym(entry.key.broker_synonym, entry.key.default, SOURCE_DEFAULT));
    }
    DescribeConfigsResourceResult {
        name: entry.key.name.into(),
        value: Some(entry.value.into()),
        config_source: entry.source,
        synonyms,
        config_type: config_type(entry.key.kind),
        documentation: with.documentation.then(|| entry.key.doc.into()),
        ..DescribeConfigsResourceResult::default()
    }
}

fn config_type(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Bool => 1,
        ConfigKind::Word(_) | ConfigKind::OnlyWord { .. } => 2,
        ConfigKind::Int { .. } => 3,
        ConfigKind::Long { .. } => 5,
        ConfigKind::Words(_) => 7,
    }
}

/// An empty name asks for what all brokers share by dynamic configuration, which is nothing.
fn broker_configs(node: &Node, with: Wanted, name: &str) -> Found {
    if name.is_empty() {
        return Ok(Vec::new());
    }
    check_broker(node, name).map_err(|text| (ErrorCode::INVALID_REQUEST, Some(text)))?;
    Ok(broker_entries(&node.config).into_iter().map(|entry| broker_row(entry, with)).collect())
}

/// Whether `name` is this broker's id, as a resource of type broker must say.
pub(crate) fn check_broker(node: &Node, name: &str) -> Result<(), String> {
    let node_id = node.config.node_id;
    match name.parse::<i32>() {
        Ok(id) if id == node_id => Ok(()),
        Ok(_) => Err(format!("Unexpected broker id, expected {node_id}, but received {name}")),
        Err(_) => Err(format!("Broker id must be an integer, but it is: {name}")),
    }
}

fn broker_row(entry: BrokerEntry, with: Wanted) -> DescribeConfigsResourceResult {
    let config_source = if entry.is_default { SOURCE_DEFAULT } else { SOURCE_STATIC_BROKER };
    let value: WireStr = entry.value.into();
    let synonym = DescribeConfigsSynonym {
        name: entry.name.into(),
        value: Some(value.clone()),
        source: config_source,
    };
    DescribeConfigsResourceResult {
        name: entry.name.into(),
        value: Some(value),
        read_only: true,
        config_source,
        synonyms: if with.synonyms { vec![synonym] } else { Vec::new() },
        config_type: entry.config_type,
        documentation: with.documentation.then(|| entry.doc.into()),
        ..DescribeConfigsResourceResult::default()
    }
}
