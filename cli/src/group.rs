//! `rivven group`: lists and deletes groups; the rest is below.

mod describe;
mod plan;
mod reset;

use rivven_io::Env;
use serde_json::json;

use crate::arguments::group::{DeleteArguments, GroupCommand};
use crate::failure::Failures;
use crate::output::Output;
use crate::session::{Session, error_json};
use crate::table::Table;
use crate::{CommandError, Outcome};

pub(crate) async fn run(
    env: &Env,
    command: &GroupCommand,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let session = Session::open(env, command.connection()).await?;
    match command {
        GroupCommand::List(_) => list(&session, output).await,
        GroupCommand::Describe(arguments) => describe::run(&session, arguments, output).await,
        GroupCommand::ResetOffsets(arguments) => reset::run(env, &session, arguments, output).await,
        GroupCommand::Delete(arguments) => delete(&session, arguments, output).await,
    }
}

async fn list(session: &Session, output: &mut Output<'_>) -> Result<Outcome, CommandError> {
    let groups = session.admin.list_groups().await?;
    if output.is_json() {
        let rows = groups.iter().map(|listed| {
            json!({
                "group": listed.group,
                "state": listed.state,
                "protocol_type": listed.protocol_type,
                "coordinator": listed.coordinator,
            })
        });
        output.document(json!({ "groups": rows.collect::<Vec<_>>() }))?;
    } else if groups.is_empty() {
        output.text("there are no groups; a consumer with a group id makes one")?;
    } else {
        let mut table = Table::new(&["GROUP", "STATE", "PROTOCOL", ">COORDINATOR"]);
        for listed in groups {
            let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
            table.row([
                listed.group,
                or_dash(listed.state),
                or_dash(listed.protocol_type),
                listed.coordinator.to_string(),
            ]);
        }
        output.text(&table.text())?;
    }
    Ok(Outcome::Clean)
}

async fn delete(
    session: &Session,
    arguments: &DeleteArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let names: Vec<&str> = arguments.groups.iter().map(String::as_str).collect();
    let results = session.admin.delete_groups(&names).await?;
    let mut failures = Failures::default();
    let mut rows = Vec::new();
    for (name, result) in &results {
        match result {
            Ok(()) => {
                output.text(&format!("group {name} deleted"))?;
                rows.push(json!({ "group": name, "deleted": true }));
            }
            Err(error) => {
                failures.add(session.about_group(name, error).await);
                rows.push(json!({ "group": name, "deleted": false, "error": error_json(error) }));
            }
        }
    }
    output.document(json!({ "groups": rows }))?;
    failures.end()
}
