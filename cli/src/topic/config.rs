//! `rivven topic config`.

use std::collections::BTreeMap;

use rivven_client::admin::configs::{ConfigChange, ConfigEntry, ConfigSource, Resource};
use serde_json::json;

use super::setting_json;
use crate::arguments::topic::ConfigArguments;
use crate::output::Output;
use crate::session::Session;
use crate::table::Table;
use crate::{CommandError, Outcome};

pub(super) async fn run(
    session: &Session,
    arguments: &ConfigArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    if arguments.set.is_empty() && arguments.unset.is_empty() {
        return show(session, arguments, output).await;
    }
    let name = &arguments.topic;
    let changes = changes(arguments)?;
    let resource = Resource::Topic(name.clone());
    let asked = BTreeMap::from([(resource.clone(), changes.clone())]);
    let results = session.admin.alter_configs(&asked, arguments.dry_run).await?;
    if let Some(Err(error)) = results.get(&resource) {
        return Err(CommandError::Failed(session.about_topic(name, error).await));
    }
    let verb = if arguments.dry_run { "could be" } else { "is now" };
    for (setting, change) in &changes {
        let value = match change {
            ConfigChange::Set(value) => format!("{value:?}"),
            _ => "the default".to_owned(),
        };
        output.text(&format!("{setting} of topic {name} {verb} {value}"))?;
    }
    let names: Vec<&String> = changes.keys().collect();
    output.document(json!({ "topic": name, "changed": !arguments.dry_run, "settings": names }))?;
    Ok(Outcome::Clean)
}

/// # Errors
/// A setting that is named twice.
pub(super) fn changes(
    arguments: &ConfigArguments,
) -> Result<BTreeMap<String, ConfigChange>, CommandError> {
    let set = arguments.set.iter();
    let set = set.map(|(name, value)| (name.clone(), ConfigChange::Set(value.clone())));
    let unset = arguments.unset.iter().map(|name| (name.clone(), ConfigChange::Delete));
    let mut changes = BTreeMap::new();
    for (name, change) in set.chain(unset) {
        if changes.insert(name.clone(), change).is_some() {
            return Err(CommandError::Usage(format!("{name} is named twice; name it once")));
        }
    }
    Ok(changes)
}

async fn show(
    session: &Session,
    arguments: &ConfigArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let name = &arguments.topic;
    let resource = Resource::Topic(name.clone());
    let mut results = session.admin.describe_configs(std::slice::from_ref(&resource)).await?;
    let entries = match results.remove(&resource) {
        Some(Err(error)) => {
            return Err(CommandError::Failed(session.about_topic(name, &error).await));
        }
        Some(Ok(entries)) => entries,
        None => Vec::new(),
    };
    let is_shown = |entry: &&ConfigEntry| arguments.all || entry.source == ConfigSource::Topic;
    let shown: Vec<&ConfigEntry> = entries.iter().filter(is_shown).collect();
    if output.is_json() {
        let settings: Vec<_> = shown.into_iter().map(setting_json).collect();
        output.document(json!({ "topic": name, "settings": settings }))?;
    } else if shown.is_empty() {
        output.text(&format!("topic {name} has only defaults; --all shows them"))?;
    } else {
        let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
        for entry in shown {
            let value = match &entry.value {
                Some(value) => value.clone(),
                None if entry.is_sensitive => "(hidden)".to_owned(),
                None => "-".to_owned(),
            };
            table.row([entry.name.clone(), value, entry.source.to_string()]);
        }
        output.text(&table.text())?;
    }
    Ok(Outcome::Clean)
}
