//! Turns wishes for a broker's configuration into commands, in Kafka's words.

use std::collections::BTreeMap;

use super::{PlanRefusal, PlanRefusalKind, duplicate_names};
use crate::metadata::broker_config::{self, BrokerScope};
use crate::metadata::command::MetadataCommand;
use crate::metadata::image::MetadataImage;
use crate::metadata::topic_config::change::{ConfigOp, changed_value};

/// Plans changes of single keys of a broker's configuration (IncrementalAlterConfigs).
///
/// # Errors
/// [`PlanRefusal`] with the kind and text of Kafka 4.3; no key changes then. Kafka takes any name
/// that it does not know; here it is refused, because it would have no effect.
pub fn plan_broker_changes(
    image: &MetadataImage,
    scope: BrokerScope,
    changes: &[(&str, ConfigOp<'_>)],
) -> Result<MetadataCommand, PlanRefusal> {
    if !duplicate_names(changes.iter().map(|(key, _)| *key)).is_empty() {
        return Err(invalid("Error due to duplicate config keys"));
    }
    let now = overrides(image, scope);
    let mut wanted = now.clone();
    for (name, op) in changes {
        let value = changed_value(&now, (name, broker_config::find(name)), *op)
            .map_err(|error| PlanRefusal::new(PlanRefusalKind::InvalidConfig, error))?;
        match value {
            Some(value) => wanted.insert((*name).to_owned(), value),
            None => wanted.remove(*name),
        };
    }
    plan_difference(now, wanted, scope)
}

/// Plans what is set of a broker's configuration to be exactly `configs` (AlterConfigs).
///
/// # Errors
/// As [`plan_broker_changes`].
pub fn plan_broker_replacement(
    image: &MetadataImage,
    scope: BrokerScope,
    configs: &[(&str, Option<&str>)],
) -> Result<MetadataCommand, PlanRefusal> {
    let mut wanted = BTreeMap::new();
    for (name, value) in configs {
        let Some(value) = value else {
            return Err(invalid(format!("Null value not supported for : {name}")));
        };
        wanted.insert((*name).to_owned(), (*value).to_owned());
    }
    plan_difference(overrides(image, scope), wanted, scope)
}

fn overrides(image: &MetadataImage, scope: BrokerScope) -> BTreeMap<String, String> {
    image.broker_overrides().get(&scope).cloned().unwrap_or_default()
}

fn plan_difference(
    now: BTreeMap<String, String>,
    wanted: BTreeMap<String, String>,
    scope: BrokerScope,
) -> Result<MetadataCommand, PlanRefusal> {
    let refused = |reason: String| {
        let name = match scope {
            BrokerScope::Every => String::new(),
            BrokerScope::One(id) => id.to_string(),
        };
        let resource = format!("ConfigResource(type=BROKER, name='{name}')");
        invalid(format!("Invalid config value for resource {resource}: {reason}"))
    };
    for (name, value) in &wanted {
        let Some(key) = broker_config::find(name) else {
            let reason = format!("Cannot update these configs dynamically: [{name}]");
            return Err(refused(reason));
        };
        key.check_broker_value(value).map_err(|error| refused(error.to_string()))?;
    }
    let delete = now.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
    let is_new = |(name, value): &(String, String)| now.get(name) != Some(value);
    let set = wanted.into_iter().filter(is_new).collect();
    Ok(MetadataCommand::SetBrokerConfigs { scope, set, delete })
}

fn invalid(text: impl ToString) -> PlanRefusal {
    PlanRefusal::new(PlanRefusalKind::InvalidRequest, text)
}
