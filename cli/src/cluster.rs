//! `rivven cluster`: brokers, what they lead and what they hold.

use rivven_client::admin::log_dirs::LogDir;
use rivven_io::Env;
use serde_json::json;

use crate::arguments::cluster::ClusterArguments;
use crate::output::Output;
use crate::session::Session;
use crate::table::{Table, bytes, or_dash, printable};
use crate::{CommandError, Outcome};

struct Row {
    id: i32,
    address: String,
    rack: Option<String>,
    is_controller: bool,
    leads: usize,
    held_bytes: Option<i64>,
    free_bytes: Option<i64>,
}

pub(crate) async fn run(
    env: &Env,
    arguments: &ClusterArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let session = Session::open(env, &arguments.connection).await?;
    let cluster = session.admin.describe_cluster().await?;
    let topics = session.admin.list_topics().await?;
    // Other brokers than ours may not allow this request; the rest is worth showing then.
    let dirs = session.admin.describe_log_dirs().await.unwrap_or_default();
    let partitions = || topics.values().flat_map(|topic| &topic.partitions);
    let rows = cluster.brokers.iter().map(|broker| {
        let dirs: Option<&Vec<LogDir>> = dirs.get(&broker.id).and_then(|dirs| dirs.as_ref().ok());
        let held = |dir: &LogDir| dir.partitions.values().sum::<i64>();
        Row {
            id: broker.id,
            address: format!("{}:{}", broker.host, broker.port),
            rack: broker.rack.clone(),
            is_controller: cluster.controller == Some(broker.id),
            leads: partitions().filter(|partition| partition.leader == Some(broker.id)).count(),
            held_bytes: dirs.map(|dirs| dirs.iter().map(held).sum()),
            free_bytes: dirs.and_then(|dirs| dirs.iter().map(|dir| dir.usable_bytes).sum()),
        }
    });
    let rows: Vec<Row> = rows.collect();
    if output.is_json() {
        let brokers = rows.iter().map(|row| {
            json!({
                "id": row.id,
                "address": row.address,
                "rack": row.rack,
                "is_controller": row.is_controller,
                "leads": row.leads,
                "held_bytes": row.held_bytes,
                "free_bytes": row.free_bytes,
            })
        });
        output.document(json!({
            "cluster": cluster.cluster_id,
            "topics": topics.len(),
            "partitions": partitions().count(),
            "brokers": brokers.collect::<Vec<_>>(),
        }))?;
        return Ok(Outcome::Clean);
    }
    output.text(&format!(
        "cluster {}, {} topic(s), {} partition(s)",
        printable(&cluster.cluster_id),
        topics.len(),
        partitions().count()
    ))?;
    let mut table =
        Table::new(&[">BROKER", "ADDRESS", "RACK", "CONTROLLER", ">LEADS", ">HOLDS", ">FREE"]);
    for row in rows {
        table.row([
            row.id.to_string(),
            row.address,
            or_dash(row.rack),
            if row.is_controller { "yes" } else { "" }.to_owned(),
            row.leads.to_string(),
            or_dash(row.held_bytes.map(bytes)),
            or_dash(row.free_bytes.map(bytes)),
        ]);
    }
    output.text(&table.text())?;
    Ok(Outcome::Clean)
}
