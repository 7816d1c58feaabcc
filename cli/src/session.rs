//! A client for one command, and what it says when a name is not known.

use std::time::Duration;

use rivven_client::admin::Admin;
use rivven_client::{Client, ClientConfig, Error, Lane, Target};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_io::Env;
use serde_json::{Value, json};

use crate::CommandError;
use crate::arguments::cluster::ConnectionArguments;
use crate::failure::sentence;

/// For a look at which names there are.
const HINT_LIMIT: Duration = Duration::from_secs(3);

/// A broker that answers.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) admin: Admin,
}

impl Session {
    /// Connects at once or not at all: who mistyped an address should not wait for retries.
    pub(crate) async fn open(
        env: &Env,
        arguments: &ConnectionArguments,
    ) -> Result<Session, CommandError> {
        let defaults = ClientConfig::to(&arguments.brokers);
        let config = ClientConfig {
            client_id: "rivven-cli".to_owned(),
            connect_timeout: defaults.connect_timeout.min(arguments.timeout),
            request_timeout: defaults.request_timeout.min(arguments.timeout),
            api_timeout: arguments.timeout,
            ..defaults
        };
        let client = Client::new(env.clone(), config)?;
        client.connect(Target::Any, Lane::Admin).await?;
        Ok(Session { admin: Admin::new(client.clone()), client })
    }

    /// An error about a topic, with the nearest name if it is not there.
    pub(crate) async fn about_topic(&self, topic: &str, error: &Error) -> String {
        let is_unknown = error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        // One that waited in vain for a topic to be made says no code.
        if !is_unknown && !matches!(error, Error::TimedOut { .. }) || error.is_after_lost_try() {
            return sentence(error);
        }
        // Who could not be asked in time for the command itself does not get as long for a hint.
        let clock = &self.client.env().clock;
        match clock.timeout(HINT_LIMIT, self.admin.list_topics()).await.ok().and_then(Result::ok) {
            Some(topics) if topics.contains_key(topic) && is_unknown => {
                format!("{error}; `rivven topic describe {topic}` shows its partitions")
            }
            Some(topics) if !topics.contains_key(topic) => {
                let names = topics.iter().filter(|(_, topic)| !topic.is_internal);
                let names = names.map(|(name, _)| name.as_str());
                not_there(("topic", topic), names, "`rivven topic list` shows all")
            }
            _ => sentence(error),
        }
    }

    /// An error about a group, with the nearest name if it is not there.
    pub(crate) async fn about_group(&self, group: &str, error: &Error) -> String {
        if error.code() != Some(ErrorCode::GROUP_ID_NOT_FOUND) || error.is_after_lost_try() {
            return sentence(error);
        }
        match self.admin.list_groups().await {
            Ok(groups) => {
                let names = groups.iter().map(|listed| listed.group.as_str());
                not_there(("group", group), names, "`rivven group list` shows all")
            }
            Err(_) => sentence(error),
        }
    }
}

fn not_there<'a>(
    (kind, name): (&str, &str),
    names: impl Iterator<Item = &'a str>,
    otherwise: &str,
) -> String {
    match nearest(name, names) {
        Some(nearest) => format!("there is no {kind} {name:?}; did you mean {nearest:?}?"),
        None => format!("there is no {kind} {name:?}; {otherwise}"),
    }
}

/// The name that differs least, if that is little enough to be a slip.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.map(|known| {
        let distance = strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
        (distance, known)
    });
    let (distance, known) = distances.min()?;
    (distance <= name.chars().count() / 3 + 1).then_some(known)
}

/// An error of one item of several, for machines.
pub(crate) fn error_json(error: &Error) -> Value {
    match error {
        Error::Refused { code, .. } => json!({
            "code": code.0,
            "name": code.name(),
            "message": error.to_string(),
        }),
        _ => json!({ "message": error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_from_other_names() {
        let names = ["orders", "payments", "x"];
        for (name, wanted) in [
            ("ordres", Some("orders")),
            ("ORDERS", Some("orders")),
            ("order", Some("orders")),
            ("payment", Some("payments")),
            ("y", Some("x")),
            ("customers", None),
        ] {
            assert_eq!(nearest(name, names.into_iter()), wanted, "{name}");
        }
        assert_eq!(nearest("a", [].into_iter()), None);
    }
}
