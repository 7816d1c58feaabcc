//! When a consumer asks for metadata: of its topics, at intervals, and soon when what it knows is
//! of no use.

use std::sync::Arc;

use rivven_io::Env;
use rivven_io::clock::Monotonic;

use super::shared::Shared;
use crate::backoff::Backoff;
use crate::error::Error;

/// When to ask next.
pub(super) struct MetadataTimer {
    due: Monotonic,
    /// When the last answer came.
    answered: Monotonic,
    backoff: Backoff,
    /// It was brought forward.
    is_hurried: bool,
    /// What is known was found wrong.
    is_distrusted: bool,
    failing_since: Option<Monotonic>,
}

impl MetadataTimer {
    pub(super) fn new(now: Monotonic, backoff: Backoff) -> MetadataTimer {
        MetadataTimer {
            due: now,
            answered: Monotonic::default(),
            backoff,
            is_hurried: false,
            is_distrusted: false,
            failing_since: None,
        }
    }

    pub(super) fn distrust(&mut self) {
        self.is_distrusted = true;
    }

    /// When to ask; `is_lacking` says that something is not known.
    pub(super) fn due(&mut self, is_lacking: bool, env: &Env) -> Monotonic {
        let is_needed = is_lacking || self.is_distrusted;
        if !is_needed {
            self.backoff.reset();
        } else if !self.is_hurried {
            self.is_hurried = true;
            self.due = self.due.min(self.answered.after(self.backoff.take(env)));
        }
        self.due
    }
}

/// Asks once.
pub(super) async fn refresh(shared: Arc<Shared>) {
    let mut known = Vec::new();
    let mut made = Vec::new();
    {
        let state = shared.lock();
        for (topic, may_be_made) in &state.topics {
            if *may_be_made { made.push(topic.clone()) } else { known.push(topic.clone()) }
        }
        if state.metadata.is_hurried {
            shared.client.forget_topics();
        }
    }
    let mut failed = None;
    for (topics, create) in [(known, false), (made, true)] {
        if topics.is_empty() {
            continue;
        }
        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        failed = shared.client.topics(&names, create).await.err().or(failed);
    }
    let now = shared.now();
    let config = shared.client.config();
    let mut state = shared.lock();
    let timer = &mut state.metadata;
    timer.answered = now;
    timer.is_hurried = false;
    timer.due = now.after(config.metadata_max_age);
    if let Some(error) = failed {
        tracing::debug!(%error, "no metadata");
        // A topic that is not there may come; it must not keep others from being read.
        let is_answer = matches!(error, Error::Refused { .. });
        timer.is_distrusted = true;
        let since = *timer.failing_since.get_or_insert(now);
        let is_over = !is_answer && now.since(since) >= config.api_timeout;
        if !error.is_retriable() || is_over {
            timer.failing_since = None;
            state.trouble = Some(error);
        }
    } else {
        timer.is_distrusted = false;
        timer.failing_since = None;
    }
    drop(state);
    shared.arrived.notify_one();
}
