//! DescribeConfigs: every setting of a topic or of the broker, and where its value comes from.

use rivven_core::metadata::broker_config::{self, BrokerScope};
use rivven_core::metadata::image::{MetadataImage, Topic};
use rivven_core::metadata::topic_config::key::{ConfigKind, TOPIC_CONFIG_KEYS, TopicConfigKey};
use rivven_core::metadata::topic_name::check_topic_name;

use crate::config::broker_view::{BrokerEntry, broker_entries};
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

/// Resource types on the wire.
pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;

const SOURCE_TOPIC: i8 = 1;
const SOURCE_DYNAMIC_BROKER: i8 = 2;
const SOURCE_DYNAMIC_DEFAULT_BROKER: i8 = 3;
const SOURCE_STATIC_BROKER: i8 = 4;
pub(crate) const SOURCE_DEFAULT: i8 = 5;

/// One value of a setting, and who gave it.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    /// The name it was given by: the topic's, or the broker's of the same meaning.
    name: &'static str,
    pub(crate) value: &'a str,
    pub(crate) source: i8,
}

/// One setting of a topic.
pub(crate) struct TopicEntry<'a> {
    pub(crate) key: &'static TopicConfigKey,
    /// All values that were given and the default, the strongest first; never empty.
    given: Vec<Given<'a>>,
}

impl<'a> TopicEntry<'a> {
    /// The value that counts.
    pub(crate) fn effective(&self) -> Given<'a> {
        *self.given.first().expect("the default is always there")
    }
}

/// Every setting of a topic, ascending by name.
pub(crate) fn topic_entries<'a>(
    image: &'a MetadataImage,
    topic: &'a Topic,
) -> impl Iterator<Item = TopicEntry<'a>> {
    TOPIC_CONFIG_KEYS.iter().map(|key| {
        let own = topic.overrides.get(key.name);
        let own = own.map(|value| Given { name: key.name, value, source: SOURCE_TOPIC });
        TopicEntry { key, given: own.into_iter().chain(broker_given(image, key)).collect() }
    })
}

/// What this broker says of a topic's setting: what was set while it runs, then the default.
fn broker_given<'a>(
    image: &'a MetadataImage,
    key: &'static TopicConfigKey,
) -> impl Iterator<Item = Given<'a>> {
    let name = key.broker_synonym;
    let default = Given { name, value: key.default, source: SOURCE_DEFAULT };
    let given = |(scope, value)| Given { name, value, source: scope_source(scope) };
    image.broker_values(key).map(given).chain([default])
}

fn scope_source(scope: BrokerScope) -> i8 {
    match scope {
        BrokerScope::One(_) => SOURCE_DYNAMIC_BROKER,
        BrokerScope::Every => SOURCE_DYNAMIC_DEFAULT_BROKER,
    }
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
    Ok(topic_entries(&image, topic).map(|entry| row(entry.key.name, &entry, with)).collect())
}

fn row(name: &str, entry: &TopicEntry<'_>, with: Wanted) -> DescribeConfigsResourceResult {
    let synonym = |given: &Given<'_>| DescribeConfigsSynonym {
        name: given.name.into(),
        value: Some(given.value.into()),
        source: given.source,
    };
    let shown = if with.synonyms { &entry.given[..] } else { &[] };
    let Given { value, source, .. } = entry.effective();
    DescribeConfigsResourceResult {
        name: name.into(),
        value: Some(value.into()),
        config_source: source,
        synonyms: shown.iter().map(synonym).collect(),
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
        ConfigKind::Ratio => 6,
        ConfigKind::Words(_) => 7,
    }
}

/// Of one broker, every setting; of all together, what was set for all of them.
fn broker_configs(node: &Node, with: Wanted, name: &str) -> Found {
    let scope =
        broker_scope(node, name).map_err(|text| (ErrorCode::INVALID_REQUEST, Some(text)))?;
    let image = node.storage.image();
    let mut rows = match scope {
        BrokerScope::Every => shared_rows(&image, with),
        BrokerScope::One(_) => own_rows(node, &image, with),
    };
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

fn shared_rows(image: &MetadataImage, with: Wanted) -> Vec<DescribeConfigsResourceResult> {
    let set = image.broker_overrides().get(&BrokerScope::Every).into_iter().flatten();
    let rows = set.filter_map(|(name, value)| {
        let key = broker_config::find(name)?;
        let given =
            Given { name: key.broker_synonym, value, source: SOURCE_DYNAMIC_DEFAULT_BROKER };
        Some(row(name, &TopicEntry { key, given: vec![given] }, with))
    });
    rows.collect()
}

fn own_rows(
    node: &Node,
    image: &MetadataImage,
    with: Wanted,
) -> Vec<DescribeConfigsResourceResult> {
    let dynamic = TOPIC_CONFIG_KEYS.iter().map(|key| {
        let entry = TopicEntry { key, given: broker_given(image, key).collect() };
        row(key.broker_synonym, &entry, with)
    });
    let fixed = broker_entries(&node.config).into_iter().map(|entry| broker_row(entry, with));
    dynamic.chain(fixed).collect()
}

/// Whose configuration a resource of type broker is: this broker's by its id, or, without a name,
/// that of every broker.
pub(crate) fn broker_scope(node: &Node, name: &str) -> Result<BrokerScope, String> {
    let node_id = node.config.node_id;
    if name.is_empty() {
        return Ok(BrokerScope::Every);
    }
    match name.parse::<i32>() {
        Ok(id) if id == node_id => Ok(BrokerScope::One(id)),
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
