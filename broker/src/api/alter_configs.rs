//! AlterConfigs replaces the settings of a topic or broker, IncrementalAlterConfigs changes some.
//!
//! A broker's are the defaults of its topics; what it reads when it starts cannot be changed here.

use std::collections::BTreeMap;

use rivven_core::metadata::broker_config::BrokerScope;
use rivven_core::metadata::command::MetadataCommand;
use rivven_core::metadata::image::{MetadataImage, Topic};
use rivven_core::metadata::plan::brokers::{plan_broker_changes, plan_broker_replacement};
use rivven_core::metadata::plan::{plan_config_changes, plan_config_replacement};
use rivven_core::metadata::topic_config::change::ConfigOp;
use rivven_core::metadata::topic_name::check_topic_name;

use super::describe_configs::{BROKER, TOPIC, broker_scope};
use super::errors::plan_error;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::alter_configs as replacing;
use rivven_core::kafka::messages::incremental_alter_configs as changing;

type Refused = (ErrorCode, Option<WireStr>);

/// A resource of either request.
trait Resource {
    fn place(&self) -> (i8, &WireStr);
    fn plan(&self, image: &MetadataImage, of: Of<'_>) -> Result<MetadataCommand, Refused>;
}

/// What a resource is about.
#[derive(Clone, Copy)]
enum Of<'a> {
    Topic(&'a Topic),
    Broker(BrokerScope),
}

/// How one resource was answered.
struct Altered {
    resource_type: i8,
    resource_name: WireStr,
    error_code: ErrorCode,
    error_message: Option<WireStr>,
}

pub(crate) async fn replace(
    node: &Node,
    request: replacing::AlterConfigsRequest,
) -> replacing::AlterConfigsResponse {
    let altered = alter(node, &request.resources, request.validate_only).await;
    let row = |result: Altered| replacing::AlterConfigsResourceResponse {
        error_code: result.error_code,
        error_message: result.error_message,
        resource_type: result.resource_type,
        resource_name: result.resource_name,
    };
    let responses = altered.into_iter().map(row).collect();
    replacing::AlterConfigsResponse { responses, ..Default::default() }
}

pub(crate) async fn change(
    node: &Node,
    request: changing::IncrementalAlterConfigsRequest,
) -> changing::IncrementalAlterConfigsResponse {
    let altered = alter(node, &request.resources, request.validate_only).await;
    let row = |result: Altered| changing::AlterConfigsResourceResponse {
        error_code: result.error_code,
        error_message: result.error_message,
        resource_type: result.resource_type,
        resource_name: result.resource_name,
    };
    let responses = altered.into_iter().map(row).collect();
    changing::IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

async fn alter(node: &Node, resources: &[impl Resource], validate_only: bool) -> Vec<Altered> {
    let mut named: BTreeMap<(i8, &WireStr), usize> = BTreeMap::new();
    for resource in resources {
        *named.entry(resource.place()).or_default() += 1;
    }
    let mut change = node.storage.change_metadata().await;
    let image = change.image();
    let mut commands = Vec::new();
    let mut results = Vec::with_capacity(resources.len());
    for resource in resources {
        let planned = match named.get(&resource.place()) {
            Some(1) => plan(node, &image, resource),
            _ => Err(invalid("Each resource must appear at most once.")),
        };
        let (error_code, error_message) = match planned {
            Ok(command) => {
                commands.push(command);
                (ErrorCode::NONE, None)
            }
            Err(refused) => refused,
        };
        let (resource_type, name) = resource.place();
        let resource_name = name.clone();
        results.push(Altered { resource_type, resource_name, error_code, error_message });
    }
    if !validate_only && let Err(error) = change.commit(commands).await {
        for result in results.iter_mut().filter(|result| !result.error_code.is_error()) {
            result.error_code = ErrorCode::KAFKA_STORAGE_ERROR;
            result.error_message = Some(error.to_string().into());
        }
    }
    results
}

fn invalid(text: &str) -> Refused {
    (ErrorCode::INVALID_REQUEST, Some(text.into()))
}

fn plan(
    node: &Node,
    image: &MetadataImage,
    resource: &impl Resource,
) -> Result<MetadataCommand, Refused> {
    match resource.place() {
        (TOPIC, name) => match image.topic(name) {
            Some(topic) => resource.plan(image, Of::Topic(topic)),
            None => Err(match check_topic_name(name) {
                Ok(()) => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None),
                Err(error) => (ErrorCode::INVALID_TOPIC_EXCEPTION, Some(error.to_string().into())),
            }),
        },
        (BROKER, name) => {
            let scope = broker_scope(node, name).map_err(|text| invalid(&text))?;
            resource.plan(image, Of::Broker(scope))
        }
        (other, _) => Err(invalid(&format!("Unsupported resource type {other}"))),
    }
}

impl Resource for replacing::AlterConfigsResource {
    fn place(&self) -> (i8, &WireStr) {
        (self.resource_type, &self.resource_name)
    }

    fn plan(&self, image: &MetadataImage, of: Of<'_>) -> Result<MetadataCommand, Refused> {
        let configs: Vec<(&str, Option<&str>)> =
            self.configs.iter().map(|config| (&*config.name, config.value.as_deref())).collect();
        let planned = match of {
            Of::Topic(topic) => plan_config_replacement(topic, &configs),
            Of::Broker(scope) => plan_broker_replacement(image, scope, &configs),
        };
        planned.map_err(plan_error)
    }
}

impl Resource for changing::AlterConfigsResource {
    fn place(&self) -> (i8, &WireStr) {
        (self.resource_type, &self.resource_name)
    }

    fn plan(&self, image: &MetadataImage, of: Of<'_>) -> Result<MetadataCommand, Refused> {
        let mut changes = Vec::with_capacity(self.configs.len());
        for config in &self.configs {
            let op = match (config.config_operation, config.value.as_deref()) {
                (1, _) => ConfigOp::Delete,
                (0, Some(value)) => ConfigOp::Set(value),
                (2, Some(value)) => ConfigOp::Append(value),
                (3, Some(value)) => ConfigOp::Subtract(value),
                (0 | 2 | 3, None) => {
                    let text = format!("Null value not supported for : {}", config.name);
                    return Err(invalid(&text));
                }
                (other, _) => return Err(invalid(&format!("Unknown operation {other}"))),
            };
            changes.push((&*config.name, op));
        }
        let planned = match of {
            Of::Topic(topic) => plan_config_changes(topic, &changes),
            Of::Broker(scope) => plan_broker_changes(image, scope, &changes),
        };
        planned.map_err(plan_error)
    }
}
