//! `rivven topic list`.

use rivven_client::image::Topic;
use serde_json::json;

use crate::arguments::topic::ListArguments;
use crate::output::Output;
use crate::session::Session;
use crate::table::{Table, or_dash};
use crate::{CommandError, Outcome};

pub(super) async fn run(
    session: &Session,
    arguments: &ListArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let mut topics = session.admin.list_topics().await?;
    topics.retain(|_, topic| arguments.internal || !topic.is_internal);
    if output.is_json() {
        let rows = topics.iter().map(|(name, topic)| {
            json!({
                "topic": name,
                "id": topic.id.to_string(),
                "is_internal": topic.is_internal,
                "partitions": topic.partitions.len(),
                "replication_factor": replicas(topic),
            })
        });
        output.document(json!({ "topics": rows.collect::<Vec<_>>() }))?;
    } else if topics.is_empty() {
        output.text("there are no topics; `rivven topic create NAME` makes one")?;
    } else {
        let mut table = Table::new(&["TOPIC", ">PARTITIONS", ">REPLICAS"]);
        for (name, topic) in &topics {
            let partitions = topic.partitions.len().to_string();
            table.row([name.clone(), partitions, or_dash(replicas(topic))]);
        }
        output.text(&table.text())?;
    }
    Ok(Outcome::Clean)
}

/// Replicas of the first partition; those of the others may differ only while they move.
pub(super) fn replicas(topic: &Topic) -> Option<usize> {
    topic.partitions.first().map(|partition| partition.replicas.len())
}
