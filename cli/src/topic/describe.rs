//! `rivven topic describe`.

use std::collections::BTreeMap;

use console::Style;
use rivven_client::Error;
use rivven_client::admin::Each;
use rivven_client::admin::configs::{ConfigEntry, ConfigSource, Resource};
use rivven_client::admin::offsets::{ListedOffset, OffsetSpec};
use rivven_client::assignor::TopicPartition;
use rivven_client::image::{Partition, Topic};
use serde_json::{Value, json};

use super::list::replicas;
use super::setting_json;
use crate::arguments::topic::DescribeArguments;
use crate::failure::Failures;
use crate::output::Output;
use crate::session::{Session, error_json};
use crate::table::{Table, bytes, or_dash, printable};
use crate::{CommandError, Outcome};

/// A topic with all that is shown of it.
struct Described<'a> {
    name: &'a str,
    topic: &'a Topic,
    /// Those that differ from the defaults.
    settings: Vec<ConfigEntry>,
    partitions: Vec<Row<'a>>,
}

struct Row<'a> {
    index: usize,
    partition: &'a Partition,
    log_start: Option<i64>,
    end: Option<i64>,
    bytes: Option<i64>,
}

pub(super) async fn run(
    session: &Session,
    arguments: &DescribeArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let names: Vec<&str> = arguments.topics.iter().map(String::as_str).collect();
    let results = session.admin.describe_topics(&names).await?;
    let found: BTreeMap<&str, &Topic> = results
        .iter()
        .filter_map(|(name, result)| Some((name.as_str(), result.as_ref().ok()?)))
        .collect();
    let facts = Facts::gather(session, &found).await?;
    let mut failures = Failures::default();
    let mut rows = Vec::new();
    for (index, (name, result)) in results.iter().enumerate() {
        match result {
            Ok(topic) => {
                let described = facts.of(name, topic);
                if index > 0 {
                    output.text("")?;
                }
                output.text(&described.text())?;
                rows.push(described.json());
            }
            Err(error) => {
                failures.add(session.about_topic(name, error).await);
                rows.push(json!({ "topic": name, "error": error_json(error) }));
            }
        }
    }
    output.document(json!({ "topics": rows }))?;
    failures.end()
}

/// What other requests say of the topics.
struct Facts {
    settings: Each<Resource, Vec<ConfigEntry>>,
    log_starts: Each<TopicPartition, ListedOffset>,
    ends: Each<TopicPartition, ListedOffset>,
    /// Of the leader's replica.
    sizes: BTreeMap<(i32, TopicPartition), i64>,
}

impl Facts {
    async fn gather(session: &Session, found: &BTreeMap<&str, &Topic>) -> Result<Facts, Error> {
        let resources: Vec<Resource> =
            found.keys().map(|name| Resource::Topic((*name).to_owned())).collect();
        let at = |spec: OffsetSpec| {
            let partitions = found.iter().flat_map(|(name, topic)| {
                (0i32..).zip(&topic.partitions).map(|(index, _)| TopicPartition::new(*name, index))
            });
            partitions.map(|key| (key, spec)).collect::<BTreeMap<_, _>>()
        };
        let mut sizes = BTreeMap::new();
        // Other brokers than ours may not allow this request; the rest is worth showing then.
        for (broker, dirs) in session.admin.describe_log_dirs().await.unwrap_or_default() {
            for (key, size) in dirs.unwrap_or_default().into_iter().flat_map(|dir| dir.partitions) {
                sizes.insert((broker, key), size);
            }
        }
        Ok(Facts {
            settings: session.admin.describe_configs(&resources).await?,
            log_starts: session.admin.list_offsets(&at(OffsetSpec::Earliest)).await?,
            ends: session.admin.list_offsets(&at(OffsetSpec::Latest)).await?,
            sizes,
        })
    }

    fn of<'a>(&self, name: &'a str, topic: &'a Topic) -> Described<'a> {
        let settings = self.settings.get(&Resource::Topic(name.to_owned()));
        let settings = settings.and_then(|settings| settings.as_ref().ok());
        let differs = |entry: &&ConfigEntry| entry.source == ConfigSource::Topic;
        let rows = topic.partitions.iter().enumerate().map(|(index, partition)| {
            let key = TopicPartition::new(name, i32::try_from(index).unwrap_or(i32::MAX));
            let offset = |listed: &Each<TopicPartition, ListedOffset>| {
                listed.get(&key)?.as_ref().ok()?.offset
            };
            let (log_start, end) = (offset(&self.log_starts), offset(&self.ends));
            let leader = partition.leader.unwrap_or(-1);
            let bytes = self.sizes.get(&(leader, key)).copied();
            Row { index, partition, log_start, end, bytes }
        });
        Described {
            name,
            topic,
            settings: settings.into_iter().flatten().filter(differs).cloned().collect(),
            partitions: rows.collect(),
        }
    }
}

impl Described<'_> {
    fn text(&self) -> String {
        let style = Style::new().bold();
        let count = self.partitions.len();
        let mut lines = vec![format!(
            "topic {}, {count} partition{}, {} replica(s) each, id {}{}",
            style.apply_to(self.name),
            if count == 1 { "" } else { "s" },
            or_dash(replicas(self.topic)),
            self.topic.id,
            if self.topic.is_internal { ", internal" } else { "" },
        )];
        for entry in &self.settings {
            let value = entry.value.as_deref().unwrap_or("(hidden)");
            lines.push(format!("  {}={}", printable(&entry.name), printable(value)));
        }
        let mut table = Table::new(&[
            ">PARTITION",
            ">LEADER",
            ">EPOCH",
            "REPLICAS",
            "IN SYNC",
            ">START",
            ">END",
            ">SIZE",
        ]);
        for row in &self.partitions {
            let is_whole = row.partition.leader.is_some()
                && row.partition.in_sync.len() == row.partition.replicas.len();
            let style = if is_whole { Style::new() } else { Style::new().yellow() };
            table.styled_row(
                style,
                [
                    row.index.to_string(),
                    or_dash(row.partition.leader),
                    row.partition.leader_epoch.to_string(),
                    ids(&row.partition.replicas),
                    ids(&row.partition.in_sync),
                    or_dash(row.log_start),
                    or_dash(row.end),
                    or_dash(row.bytes.map(bytes)),
                ],
            );
        }
        lines.push(table.text());
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let rows = self.partitions.iter().map(|row| {
            json!({
                "partition": row.index,
                "leader": row.partition.leader,
                "leader_epoch": row.partition.leader_epoch,
                "replicas": row.partition.replicas,
                "in_sync": row.partition.in_sync,
                "log_start": row.log_start,
                "end": row.end,
                "bytes": row.bytes,
            })
        });
        json!({
            "topic": self.name,
            "id": self.topic.id.to_string(),
            "is_internal": self.topic.is_internal,
            "settings": self.settings.iter().map(setting_json).collect::<Vec<_>>(),
            "partitions": rows.collect::<Vec<_>>(),
        })
    }
}

fn ids(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
