//! Whether topics are still those that a command began with.

use std::collections::BTreeMap;

use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::error_code::ErrorCode;

use crate::CommandError;
use crate::session::Session;

/// Topics by name. Who waits for the end of one that is gone would wait for ever.
#[derive(Default)]
pub(crate) struct Watched {
    topics: BTreeMap<String, TopicId>,
}

impl Watched {
    pub(crate) fn add(&mut self, name: &str, id: TopicId) {
        self.topics.insert(name.to_owned(), id);
    }

    /// By what the client knows already.
    ///
    /// # Errors
    /// A topic was deleted and made anew.
    pub(crate) fn look(&self, session: &Session) -> Result<(), CommandError> {
        let image = session.client.image();
        for (name, id) in &self.topics {
            if image.topics.get(name).is_some_and(|topic| topic.id != *id) {
                let text = format!("topic {name:?} was deleted and made anew meanwhile");
                return Err(CommandError::Failed(text));
            }
        }
        Ok(())
    }

    /// Asks the cluster.
    ///
    /// # Errors
    /// A topic was deleted. That nobody answers is the consumer's to tell.
    pub(crate) async fn ask(&self, session: &Session) -> Result<(), CommandError> {
        let names: Vec<&str> = self.topics.keys().map(String::as_str).collect();
        for (name, described) in session.admin.describe_topics(&names).await.unwrap_or_default() {
            let code = described.err().and_then(|error| error.code());
            if code == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) {
                let text = format!("topic {name:?} was deleted meanwhile");
                return Err(CommandError::Failed(text));
            }
        }
        self.look(session)
    }
}
