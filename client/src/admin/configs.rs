//! Settings of topics and brokers: describe them, and change single ones.

use std::collections::BTreeMap;
use std::fmt;

use rivven_core::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use rivven_core::kafka::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::{Admin, Each, answered};
use crate::client::{Lane, Target};
use crate::error::Error;

/// What has settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Topic(String),
    Broker(i32),
    /// The defaults of all brokers.
    Brokers,
}

/// A setting and where its value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// None for a sensitive one, or one without a value.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_read_only: bool,
    pub is_sensitive: bool,
    pub documentation: Option<String>,
}

/// Which of the places that may set a value has set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    Topic,
    Broker,
    /// A dynamic default of all brokers.
    Brokers,
    /// The broker's file, flags or environment.
    Static,
    Default,
    Unknown(i8),
}

/// A change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    Set(String),
    /// Back to what it would be otherwise.
    Delete,
    /// Adds to a list.
    Append(String),
    /// Takes from a list.
    Subtract(String),
}

impl Admin {
    /// The settings of topics and brokers, sorted by name.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]
    pub async fn describe_configs(
        &self,
        resources: &[Resource],
    ) -> Result<Each<Resource, Vec<ConfigEntry>>, Error> {
        self.each("describing settings", resources.iter().cloned(), |open| async move {
            let mut results = Each::new();
            for (target, resources) in self.by_target(open.iter()).await? {
                let row = |resource: &&Resource| DescribeConfigsResource {
                    resource_type: resource.kind(),
                    resource_name: resource.name().into(),
                    configuration_keys: None,
                };
                let request = DescribeConfigsRequest {
                    resources: resources.iter().map(row).collect(),
                    include_synonyms: false,
                    include_documentation: true,
                };
                let answer = self.client.call(target, Lane::Admin, &request).await?;
                results.extend(answer.results.into_iter().filter_map(|row| {
                    let resource = Resource::read(row.resource_type, &row.resource_name)?;
                    let text = row.error_message.as_deref();
                    let error = |code| Error::refused(resource.to_string(), code, text);
                    let result = answered(entries(&row.configs), row.error_code, error);
                    Some((resource, result))
                }));
            }
            Ok(results)
        })
        .await
    }

    /// Changes single settings, or with `validate_only` says whether they could be changed. Of one
    /// resource all changes are made or none.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]. Appending twice to a list is as appending once.
    pub async fn alter_configs(
        &self,
        changes: &BTreeMap<Resource, BTreeMap<String, ConfigChange>>,
        validate_only: bool,
    ) -> Result<Each<Resource, ()>, Error> {
        self.each("changing settings", changes.keys().cloned(), |open| async move {
            let mut results = Each::new();
            for (target, resources) in self.by_target(open.iter()).await? {
                let row = |resource: &&Resource| AlterConfigsResource {
                    resource_type: resource.kind(),
                    resource_name: resource.name().into(),
                    configs: changes[*resource].iter().map(alterable).collect(),
                };
                let resources = resources.iter().map(row).collect();
                let request = IncrementalAlterConfigsRequest { resources, validate_only };
                let answer = self.client.call(target, Lane::Admin, &request).await?;
                results.extend(answer.responses.into_iter().filter_map(|row| {
                    let resource = Resource::read(row.resource_type, &row.resource_name)?;
                    let text = row.error_message.as_deref();
                    let error = |code| Error::refused(resource.to_string(), code, text);
                    let result = answered((), row.error_code, error);
                    Some((resource, result))
                }));
            }
            Ok(results)
        })
        .await
    }

    /// Only a broker itself knows its settings; of topics each broker knows them.
    async fn by_target<'a>(
        &self,
        resources: impl Iterator<Item = &'a Resource>,
    ) -> Result<Vec<(Target, Vec<&'a Resource>)>, Error> {
        let mut targets: Vec<(Target, Vec<&Resource>)> = Vec::new();
        for resource in resources {
            let target = match resource {
                Resource::Broker(id) => Target::Broker(*id),
                Resource::Topic(_) | Resource::Brokers => Target::Controller,
            };
            if let Target::Broker(id) = target
                && !self.client.image().brokers.contains_key(&id)
                && !self.brokers().await?.brokers.contains_key(&id)
            {
                return Err(Error::Invalid(format!("there is no broker {id} in the cluster")));
            }
            match targets.iter_mut().find(|(known, _)| *known == target) {
                Some((_, resources)) => resources.push(resource),
                None => targets.push((target, vec![resource])),
            }
        }
        Ok(targets)
    }
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

impl Resource {
    fn kind(&self) -> i8 {
        match self {
            Resource::Topic(_) => TOPIC,
            Resource::Broker(_) | Resource::Brokers => BROKER,
        }
    }

    fn name(&self) -> String {
        match self {
            Resource::Topic(name) => name.clone(),
            Resource::Broker(id) => id.to_string(),
            Resource::Brokers => String::new(),
        }
    }

    fn read(kind: i8, name: &str) -> Option<Resource> {
        match kind {
            TOPIC => Some(Resource::Topic(name.to_owned())),
            BROKER if name.is_empty() => Some(Resource::Brokers),
            BROKER => Some(Resource::Broker(name.parse().ok()?)),
            _ => None,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Topic(name) => write!(f, "topic {name:?}"),
            Resource::Broker(id) => write!(f, "broker {id}"),
            Resource::Brokers => f.write_str("the brokers' defaults"),
        }
    }
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfigSource::Topic => "topic",
            ConfigSource::Broker => "broker",
            ConfigSource::Brokers => "all brokers",
            ConfigSource::Static => "static",
            ConfigSource::Default => "default",
            ConfigSource::Unknown(_) => "unknown",
        })
    }
}

fn entries(rows: &[DescribeConfigsResourceResult]) -> Vec<ConfigEntry> {
    let entry = |row: &DescribeConfigsResourceResult| ConfigEntry {
        name: row.name.to_string(),
        value: row.value.as_ref().map(ToString::to_string),
        source: match row.config_source {
            1 => ConfigSource::Topic,
            2 => ConfigSource::Broker,
            3 => ConfigSource::Brokers,
            4 => ConfigSource::Static,
            5 => ConfigSource::Default,
            other => ConfigSource::Unknown(other),
        },
        is_read_only: row.read_only,
        is_sensitive: row.is_sensitive,
        documentation: row.documentation.as_ref().map(ToString::to_string),
    };
    let mut entries: Vec<ConfigEntry> = rows.iter().map(entry).collect();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries
}

fn alterable((name, change): (&String, &ConfigChange)) -> AlterableConfig {
    let (config_operation, value) = match change {
        ConfigChange::Set(value) => (0, Some(value)),
        ConfigChange::Delete => (1, None),
        ConfigChange::Append(value) => (2, Some(value)),
        ConfigChange::Subtract(value) => (3, Some(value)),
    };
    AlterableConfig {
        name: name.as_str().into(),
        config_operation,
        value: value.map(|value| value.as_str().into()),
    }
}
