//! `rivven topic`: creates, deletes and grows topics; the rest is below.

mod config;
mod describe;
mod list;

use std::collections::BTreeMap;

use rivven_client::admin::topics::{CreatedTopic, NewTopic};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_io::Env;
use serde_json::{Value, json};

use crate::arguments::topic::{
    CreateArguments, DeleteArguments, PartitionsArguments, TopicCommand,
};
use crate::failure::Failures;
use crate::output::Output;
use crate::session::{Session, error_json};
use crate::{CommandError, Outcome};

pub(crate) async fn run(
    env: &Env,
    command: &TopicCommand,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    if let TopicCommand::Config(arguments) = command {
        config::changes(arguments)?;
    }
    let session = Session::open(env, command.connection()).await?;
    match command {
        TopicCommand::Create(arguments) => create(&session, arguments, output).await,
        TopicCommand::List(arguments) => list::run(&session, arguments, output).await,
        TopicCommand::Describe(arguments) => describe::run(&session, arguments, output).await,
        TopicCommand::Delete(arguments) => delete(&session, arguments, output).await,
        TopicCommand::Config(arguments) => config::run(&session, arguments, output).await,
        TopicCommand::Partitions(arguments) => partitions(&session, arguments, output).await,
    }
}

async fn create(
    session: &Session,
    arguments: &CreateArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let topic = NewTopic {
        partitions: arguments.partitions,
        replication_factor: arguments.replication_factor,
        configs: arguments.configs.iter().cloned().collect(),
    };
    let topics = arguments.topics.iter().map(|name| (name.clone(), topic.clone())).collect();
    let results = session.admin.create_topics(&topics, arguments.dry_run).await?;
    let mut failures = Failures::default();
    let mut rows = Vec::new();
    for (name, result) in &results {
        let (json, text) = match result {
            Ok(created) => (
                json!({
                    "topic": name,
                    "created": !arguments.dry_run,
                    "id": created.id.to_string(),
                    "partitions": created.partitions,
                    "replication_factor": created.replication_factor,
                }),
                created_text(name, created, arguments.dry_run),
            ),
            Err(error)
                if arguments.if_not_exists
                    && error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) =>
            {
                let text = format!("topic {name} is there already");
                (json!({ "topic": name, "created": false }), text)
            }
            Err(error) => {
                failures.add_error(error);
                rows.push(json!({ "topic": name, "created": false, "error": error_json(error) }));
                continue;
            }
        };
        output.text(&text)?;
        rows.push(json);
    }
    output.document(json!({ "topics": rows }))?;
    failures.end()
}

fn created_text(name: &str, created: &CreatedTopic, dry_run: bool) -> String {
    let verb = if dry_run { "could be created" } else { "created" };
    let count = |count: i64, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    };
    let partitions = created.partitions.map(|partitions| count(partitions.into(), "partition"));
    let replicas = created.replication_factor.map(|replicas| count(replicas.into(), "replica"));
    match (partitions, replicas) {
        (Some(partitions), Some(replicas)) => {
            format!("topic {name} {verb}: {partitions} with {replicas} each")
        }
        _ => format!("topic {name} {verb}"),
    }
}

async fn delete(
    session: &Session,
    arguments: &DeleteArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let names: Vec<&str> = arguments.topics.iter().map(String::as_str).collect();
    let results = session.admin.delete_topics(&names).await?;
    let mut failures = Failures::default();
    let mut rows = Vec::new();
    for (name, result) in &results {
        match result {
            Ok(()) => {
                output.text(&format!("topic {name} deleted"))?;
                rows.push(json!({ "topic": name, "deleted": true }));
            }
            Err(error)
                if arguments.if_exists
                    && error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) =>
            {
                output.text(&format!("there is no topic {name}"))?;
                rows.push(json!({ "topic": name, "deleted": false }));
            }
            Err(error) => {
                failures.add(session.about_topic(name, error).await);
                rows.push(json!({ "topic": name, "deleted": false, "error": error_json(error) }));
            }
        }
    }
    output.document(json!({ "topics": rows }))?;
    failures.end()
}

async fn partitions(
    session: &Session,
    arguments: &PartitionsArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let (name, count) = (&arguments.topic, arguments.count);
    let counts = BTreeMap::from([(name.clone(), count)]);
    let results = session.admin.create_partitions(&counts, arguments.dry_run).await?;
    if let Some(Err(error)) = results.get(name) {
        return Err(CommandError::Failed(session.about_topic(name, error).await));
    }
    let verb = if arguments.dry_run { "could have" } else { "has" };
    let text = || format!("topic {name} {verb} {count} partitions");
    let changed = !arguments.dry_run;
    output.item(|| json!({ "topic": name, "partitions": count, "changed": changed }), text)?;
    Ok(Outcome::Clean)
}

/// A setting's value for machines: the sensitive ones are null.
fn setting_json(entry: &rivven_client::admin::configs::ConfigEntry) -> Value {
    json!({
        "name": entry.name,
        "value": entry.value,
        "source": entry.source.to_string(),
        "is_sensitive": entry.is_sensitive,
        "is_read_only": entry.is_read_only,
    })
}
