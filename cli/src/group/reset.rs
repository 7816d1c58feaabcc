//! `rivven group reset-offsets`: shows a plan, and carries it out with `--execute`.

use std::collections::{BTreeMap, BTreeSet};

use console::{Style, style};
use rivven_client::Error;
use rivven_client::admin::Each;
use rivven_client::admin::offsets::{ListedOffset, OffsetSpec};
use rivven_client::assignor::TopicPartition;
use rivven_client::consumer::commits::{CommittedOffset, Offsets};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_io::Env;
use serde_json::json;

use super::plan::{Goal, Known, target};
use crate::arguments::group::{ResetArguments, Selection};
use crate::failure::{Failures, sentence};
use crate::output::Output;
use crate::session::Session;
use crate::table::{Table, or_dash};
use crate::time::datetime;
use crate::{CommandError, Outcome};

/// A partition, where the group is, and where it is to go.
struct Move {
    key: TopicPartition,
    from: Option<i64>,
    to: i64,
    end: i64,
}

pub(super) async fn run(
    env: &Env,
    session: &Session,
    arguments: &ResetArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let group = &arguments.group;
    let members = members(session, group).await?;
    if arguments.execute && members > 0 {
        return Err(CommandError::Failed(format!(
            "group {group:?} has {members} member(s), which would go on from their own positions; \
             stop them first (`rivven group describe {group}` names them)"
        )));
    }
    let committed = session.admin.group_offsets(group).await?;
    let partitions = partitions(session, arguments, &committed).await?;
    let goal = arguments.target.goal(env.clock.wall_ms());
    let moves = moves(session, &partitions, (goal, &committed)).await?;
    if arguments.execute {
        commit(session, group, &moves).await?;
    }
    if let Goal::Found(OffsetSpec::Timestamp(time)) = goal {
        output.text(&format!("to the first record that is not older than {}", datetime(time)))?;
    }
    output.text(&table(&moves).text())?;
    let rows = moves.iter().map(|row| {
        json!({
            "topic": &*row.key.topic,
            "partition": row.key.partition,
            "from": row.from,
            "to": row.to,
        })
    });
    let rows: Vec<_> = rows.collect();
    output
        .document(json!({ "group": group, "executed": arguments.execute, "partitions": rows }))?;
    let last = match (arguments.execute, members) {
        (true, _) => format!("{} offset(s) of group {group} are set", moves.len()),
        (false, 0) => {
            format!("{}: nothing was changed; --execute does it", style("dry run").yellow())
        }
        (false, _) => format!(
            "{}: nothing was changed; stop the {members} member(s) of the group, then --execute \
             does it",
            style("dry run").yellow()
        ),
    };
    output.text(&last)?;
    Ok(Outcome::Clean)
}

/// How many members the group has; none if it is not there.
async fn members(session: &Session, group: &str) -> Result<usize, CommandError> {
    match session.admin.describe_groups(&[group]).await?.remove(group) {
        Some(Ok(description)) => Ok(description.members.len()),
        Some(Err(error)) if error.code() != Some(ErrorCode::GROUP_ID_NOT_FOUND) => {
            Err(error.into())
        }
        _ => Ok(0),
    }
}

async fn partitions(
    session: &Session,
    arguments: &ResetArguments,
    committed: &Offsets,
) -> Result<BTreeSet<TopicPartition>, CommandError> {
    if arguments.topics.is_empty() {
        if committed.is_empty() {
            let error = Error::refused(
                format!("group {:?}", arguments.group),
                ErrorCode::GROUP_ID_NOT_FOUND,
                None,
            );
            let known = session.admin.list_groups().await?;
            let text = match known.iter().any(|listed| listed.group == arguments.group) {
                true => format!(
                    "group {:?} has committed nothing; name the topics with --topic",
                    arguments.group
                ),
                false => session.about_group(&arguments.group, &error).await,
            };
            return Err(CommandError::Failed(text));
        }
        // Of a topic that is gone nothing can be read again.
        let topics = session.admin.list_topics().await?;
        let is_there = |of: &&TopicPartition| topics.contains_key(&*of.topic);
        return Ok(committed.keys().filter(is_there).cloned().collect());
    }
    let names: Vec<&str> = arguments.topics.iter().map(|named| named.topic.as_str()).collect();
    let topics = session.admin.describe_topics(&names).await?;
    let mut partitions = BTreeSet::new();
    for Selection { topic: name, partitions: wanted } in &arguments.topics {
        let topic = match &topics[name] {
            Ok(topic) => topic,
            Err(error) => {
                return Err(CommandError::Failed(session.about_topic(name, error).await));
            }
        };
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let wanted = wanted.clone().unwrap_or_else(|| (0..count).collect());
        if let Some(beyond) = wanted.iter().find(|index| **index >= count) {
            return Err(CommandError::Failed(format!(
                "topic {name:?} has no partition {beyond}, only 0 to {}",
                count - 1
            )));
        }
        partitions
            .extend(wanted.into_iter().map(|index| TopicPartition::new(name.as_str(), index)));
    }
    Ok(partitions)
}

async fn moves(
    session: &Session,
    partitions: &BTreeSet<TopicPartition>,
    (goal, committed): (Goal, &Offsets),
) -> Result<Vec<Move>, CommandError> {
    let log_starts = list(session, partitions, OffsetSpec::Earliest).await?;
    let ends = list(session, partitions, OffsetSpec::Latest).await?;
    let found = match goal {
        Goal::Found(spec) => list(session, partitions, spec).await?,
        Goal::Exactly(_) | Goal::By(_) => BTreeMap::new(),
    };
    let mut moves = Vec::new();
    for key in partitions {
        let offset = |listed: &BTreeMap<TopicPartition, ListedOffset>| listed.get(key)?.offset;
        let known = Known {
            log_start: offset(&log_starts).unwrap_or(0),
            end: offset(&ends).unwrap_or(0),
            committed: committed.get(key).map(|committed| committed.offset),
            found: offset(&found),
        };
        let Some(to) = target(goal, known) else {
            return Err(CommandError::Failed(format!(
                "the group has committed nothing for partition {} of topic {:?}, so there is \
                 nothing to shift; use --to-earliest, --to-latest or --to-offset for it",
                key.partition, key.topic
            )));
        };
        moves.push(Move { key: key.clone(), from: known.committed, to, end: known.end });
    }
    Ok(moves)
}

async fn list(
    session: &Session,
    partitions: &BTreeSet<TopicPartition>,
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, ListedOffset>, CommandError> {
    let wanted = partitions.iter().map(|key| (key.clone(), spec)).collect();
    let listed: Each<TopicPartition, ListedOffset> = session.admin.list_offsets(&wanted).await?;
    let listed = listed.into_iter().map(|(key, result)| Ok((key, result?)));
    listed.collect::<Result<_, Error>>().map_err(|error| CommandError::Failed(sentence(&error)))
}

/// One request: all of the offsets are set or none, but for those that the broker refuses.
async fn commit(session: &Session, group: &str, moves: &[Move]) -> Result<(), CommandError> {
    let offsets = moves.iter().map(|row| (row.key.clone(), CommittedOffset::from(row.to)));
    let results = session.admin.alter_group_offsets(group, &offsets.collect()).await?;
    let mut failures = Failures::default();
    for (of, result) in results {
        if let Err(error) = result {
            let (partition, topic) = (of.partition, &of.topic);
            failures.add(format!("partition {partition} of {topic:?}: {}", sentence(&error)));
        }
    }
    failures.end().map(drop)
}

fn table(moves: &[Move]) -> Table {
    let mut table = Table::new(&["TOPIC", ">PARTITION", ">FROM", ">TO", ">CHANGE", ">LAG THEN"]);
    for row in moves {
        let change = row.from.map(|from| row.to - from);
        let unchanged = change == Some(0);
        table.styled_row(
            if unchanged { Style::new().dim() } else { Style::new() },
            [
                row.key.topic.to_string(),
                row.key.partition.to_string(),
                or_dash(row.from),
                row.to.to_string(),
                or_dash(change.map(|change| format!("{change:+}"))),
                (row.end - row.to).max(0).to_string(),
            ],
        );
    }
    table
}
