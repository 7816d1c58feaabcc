//! `rivven group describe`: who reads what, how far they are and how far behind.

use std::collections::{BTreeMap, BTreeSet};

use console::Style;
use rivven_client::Error;
use rivven_client::admin::groups::{GroupDescription, MemberDescription};
use rivven_client::admin::offsets::OffsetSpec;
use rivven_client::assignor::TopicPartition;
use serde_json::{Value, json};

use crate::arguments::group::DescribeArguments;
use crate::failure::Failures;
use crate::output::Output;
use crate::session::{Session, error_json};
use crate::table::{Table, or_dash, printable};
use crate::{CommandError, Outcome};

struct Described {
    name: String,
    group: GroupDescription,
    rows: Vec<Row>,
}

/// A partition that the group has committed, or that a member is to read.
struct Row {
    key: TopicPartition,
    committed: Option<i64>,
    /// None if the topic is gone.
    end: Option<i64>,
    member: Option<usize>,
}

impl Row {
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

pub(super) async fn run(
    session: &Session,
    arguments: &DescribeArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let names: Vec<&str> = arguments.groups.iter().map(String::as_str).collect();
    let mut failures = Failures::default();
    let mut documents = Vec::new();
    for (name, result) in session.admin.describe_groups(&names).await? {
        let described = match result.and_then(|group| there(&name, group)) {
            Ok(group) => described(session, &name, group).await,
            Err(error) => Err(error),
        };
        match described {
            Ok(described) => {
                if !documents.is_empty() {
                    output.text("")?;
                }
                output.text(&described.text())?;
                documents.push(described.json());
            }
            Err(error) => {
                failures.add(session.about_group(&name, &error).await);
                documents.push(json!({ "group": name, "error": error_json(&error) }));
            }
        }
    }
    output.document(json!({ "groups": documents }))?;
    failures.end()
}

/// Brokers before Kafka 4.0 describe a group that is not there as dead.
fn there(name: &str, group: GroupDescription) -> Result<GroupDescription, Error> {
    use rivven_core::kafka::codec::error_code::ErrorCode;
    match group.state.as_str() {
        "Dead" => {
            Err(Error::refused(format!("group {name:?}"), ErrorCode::GROUP_ID_NOT_FOUND, None))
        }
        _ => Ok(group),
    }
}

async fn described(
    session: &Session,
    name: &str,
    group: GroupDescription,
) -> Result<Described, Error> {
    let committed = session.admin.group_offsets(name).await?;
    let members: BTreeMap<&TopicPartition, usize> = group
        .members
        .iter()
        .enumerate()
        .flat_map(|(index, member)| member.assignment.iter().map(move |key| (key, index)))
        .collect();
    let keys: BTreeSet<TopicPartition> =
        committed.keys().chain(members.keys().copied()).cloned().collect();
    let wanted = keys.iter().map(|key| (key.clone(), OffsetSpec::Latest)).collect();
    let ends = session.admin.list_offsets(&wanted).await?;
    let rows = keys.into_iter().map(|key| Row {
        committed: committed.get(&key).map(|committed| committed.offset),
        end: ends.get(&key).and_then(|end| end.as_ref().ok()?.offset),
        member: members.get(&key).copied(),
        key,
    });
    let rows = rows.collect();
    Ok(Described { name: name.to_owned(), group, rows })
}

impl Described {
    fn total_lag(&self) -> i64 {
        self.rows.iter().filter_map(Row::lag).sum()
    }

    fn text(&self) -> String {
        let style = Style::new().bold();
        let group = &self.group;
        let mut head = vec![
            format!("group {}", style.apply_to(printable(&self.name))),
            format!("state {}", printable(&group.state)),
        ];
        if !group.protocol.is_empty() {
            head.push(format!("assignor {}", printable(&group.protocol)));
        }
        head.push(format!("coordinator {}", group.coordinator));
        head.push(format!("{} member(s)", group.members.len()));
        head.push(format!("lag {}", self.total_lag()));
        let mut lines = vec![head.join(", ")];
        if !self.rows.is_empty() {
            lines.push(self.table().text());
        }
        let idle = group.members.iter().filter(|member| member.assignment.is_empty());
        lines.extend(idle.map(|member| {
            let [id, client, host] =
                [&member.member, &member.client_id, &member.host].map(|text| printable(text));
            format!("{id} of {client} at {host} reads nothing")
        }));
        lines.join("\n")
    }

    fn table(&self) -> Table {
        let headings =
            ["TOPIC", ">PARTITION", ">COMMITTED", ">END", ">LAG", "MEMBER", "CLIENT", "HOST"];
        let mut table = Table::new(&headings);
        for row in &self.rows {
            let member = row.member.map(|index| &self.group.members[index]);
            let of_member = |text: fn(&MemberDescription) -> &str| or_dash(member.map(text));
            table.row([
                row.key.topic.to_string(),
                row.key.partition.to_string(),
                or_dash(row.committed),
                or_dash(row.end),
                or_dash(row.lag()),
                of_member(|member| &member.member),
                of_member(|member| &member.client_id),
                of_member(|member| &member.host),
            ]);
        }
        table
    }

    fn json(&self) -> Value {
        let members = self.group.members.iter().map(|member| {
            json!({
                "member": member.member,
                "instance": member.instance,
                "client_id": member.client_id,
                "host": member.host,
                "partitions": member.assignment.iter().map(|of| {
                    json!({ "topic": &*of.topic, "partition": of.partition })
                }).collect::<Vec<_>>(),
            })
        });
        let partitions = self.rows.iter().map(|row| {
            json!({
                "topic": &*row.key.topic,
                "partition": row.key.partition,
                "committed": row.committed,
                "end": row.end,
                "lag": row.lag(),
                "member": row.member.map(|index| &self.group.members[index].member),
            })
        });
        json!({
            "group": self.name,
            "state": self.group.state,
            "protocol_type": self.group.protocol_type,
            "assignor": self.group.protocol,
            "coordinator": self.group.coordinator,
            "lag": self.total_lag(),
            "members": members.collect::<Vec<_>>(),
            "partitions": partitions.collect::<Vec<_>>(),
        })
    }
}
