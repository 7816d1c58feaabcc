//! Requests to the broker that coordinates the group.

use std::time::Duration;

use rivven_core::kafka::codec::message::Request;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::find_coordinator::{Coordinator, FindCoordinatorRequest};
use rivven_io::clock::Monotonic;

use super::membership::Membership;
use super::shared::Shared;
use crate::backoff::Backoff;
use crate::client::{Client, Lane, Target};
use crate::error::{Error, accepted};

impl Shared {
    /// The name of the group.
    ///
    /// # Errors
    /// [`Error::Invalid`] if none is configured.
    pub(super) fn group(&self) -> Result<WireStr, Error> {
        let group = self.config.group.as_deref().map(WireStr::from);
        group.ok_or_else(|| Error::Invalid("the consumer has no group".to_owned()))
    }

    pub(super) fn instance(&self) -> Option<WireStr> {
        self.config.instance_id.as_deref().map(WireStr::from)
    }

    /// Who this consumer is now.
    pub(super) fn me(&self) -> Membership {
        self.lock().membership.clone()
    }

    /// One request to the coordinator, without retries. It is looked for again if it fails.
    pub(super) async fn call_coordinator<M: Request>(
        &self,
        lane: Lane,
        (request, timeout): (&M, Duration),
    ) -> Result<M::Response, Error> {
        let known = self.lock().membership.coordinator;
        let node = match known {
            Some(node) => node,
            None => self.find_coordinator().await?,
        };
        let answer = self.client.call_within(Target::Broker(node), lane, (request, timeout)).await;
        if answer.is_err() {
            let mut state = self.lock();
            if state.membership.coordinator == Some(node) {
                state.membership.coordinator = None;
            }
        }
        answer
    }

    /// The coordinator said nothing of use, and is asked again. The partitions are kept, though
    /// nothing is given out once the session may be over: one that comes back may know this member
    /// still. The application hears of it when it lasts, and again after as long.
    pub(super) fn fall_silent(&self, error: Error) {
        let now = self.now();
        let mut state = self.lock();
        let me = &mut state.membership;
        if now.since(me.silent_since) < self.client.config().api_timeout {
            return;
        }
        me.silent_since = now;
        state.trouble = Some(error);
        drop(state);
        self.arrived.notify_one();
    }

    async fn find_coordinator(&self) -> Result<i32, Error> {
        let group = self.group()?;
        let request = FindCoordinatorRequest {
            key: group.clone(),
            key_type: 0,
            coordinator_keys: vec![group.clone()],
        };
        let answer = self.client.call(Target::Any, Lane::Admin, &request).await?;
        // Above version 3 there is a row for each group.
        let row = answer.coordinators.into_iter().next().unwrap_or_else(|| Coordinator {
            node_id: answer.node_id,
            host: answer.host,
            port: answer.port,
            error_code: answer.error_code,
            error_message: answer.error_message,
            ..Coordinator::default()
        });
        let text = row.error_message.as_deref();
        accepted(row.error_code, text, || {
            format!("finding the coordinator of group {:?}", &*group)
        })?;
        let (node, address) = (row.node_id, (&*row.host, row.port));
        let is_there = self.client.image().brokers.get(&node).is_some_and(|broker| {
            (&*broker.address.host, i32::from(broker.address.port)) == address
        });
        if !is_there {
            // A broker is called where metadata says that it is.
            let topics = self.lock().topics.keys().map(ToString::to_string).collect::<Vec<_>>();
            self.client.look_up(Some(&topics)).await?;
        }
        self.lock().membership.coordinator = Some(node);
        Ok(node)
    }
}

/// How long something is tried again.
pub(super) struct Retries {
    what: &'static str,
    limit: Duration,
    deadline: Monotonic,
    backoff: Backoff,
}

impl Retries {
    pub(super) fn new(client: &Client, what: &'static str, limit: Duration) -> Retries {
        let deadline = client.env().clock.now().after(limit);
        Retries { what, limit, deadline, backoff: client.backoff() }
    }

    /// Waits, if it makes sense to try again after this error.
    ///
    /// # Errors
    /// It does not, or the time is over.
    pub(super) async fn after(&mut self, client: &Client, error: Error) -> Result<(), Error> {
        if !error.is_retriable() {
            return Err(error);
        }
        self.wait(client, error).await
    }

    /// Waits, whatever the error is.
    ///
    /// # Errors
    /// The time is over.
    pub(super) async fn wait(&mut self, client: &Client, error: Error) -> Result<(), Error> {
        let env = client.env();
        let wait = self.backoff.take(env);
        tracing::debug!(what = self.what, %error, "trying again");
        if env.clock.now().after(wait) >= self.deadline {
            return Err(match error {
                Error::Unreachable { .. } => error,
                other => Error::TimedOut {
                    what: self.what.to_owned(),
                    after: self.limit,
                    last: other.to_string(),
                },
            });
        }
        env.clock.sleep(wait).await;
        Ok(())
    }
}
