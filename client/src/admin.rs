//! Administration: topics, settings, offsets, groups and brokers.
//!
//! What is asked of several items is answered for each, with the broker's error code and text where
//! it refuses. Errors that pass are tried again for as long as the API timeout.

pub mod cluster;
pub mod configs;
pub mod group_offsets;
pub mod groups;
mod items;
pub mod log_dirs;
pub mod offsets;
pub mod topics;

use std::collections::BTreeMap;

use rivven_core::kafka::codec::error_code::ErrorCode;

use crate::assignor::TopicPartition;
use crate::client::Client;
use crate::error::Error;

/// A result for each item.
pub type Each<K, T> = BTreeMap<K, Result<T, Error>>;

/// The administration of a client's cluster. Cloning is cheap.
///
/// Dropping a future leaves each item of its request done or not done.
#[derive(Clone)]
pub struct Admin {
    client: Client,
}

impl Admin {
    #[must_use]
    pub fn new(client: Client) -> Admin {
        Admin { client }
    }

    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What a broker waits for others at most, as requests say it.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.client.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

fn topic_error(topic: &str, code: ErrorCode, text: Option<&str>) -> Error {
    Error::refused(format!("topic {topic:?}"), code, text)
}

fn partition_error(of: &TopicPartition, code: ErrorCode) -> Error {
    Error::refused(format!("partition {} of topic {:?}", of.partition, of.topic), code, None)
}

fn group_error(group: &str, code: ErrorCode, text: Option<&str>) -> Error {
    Error::refused(format!("group {group:?}"), code, text)
}

/// `value` if the code is none.
fn answered<T>(
    value: T,
    code: ErrorCode,
    error: impl FnOnce(ErrorCode) -> Error,
) -> Result<T, Error> {
    if code.is_error() { Err(error(code)) } else { Ok(value) }
}

/// Every future of [`Admin`] may move to another thread, or this does not compile.
#[cfg(test)]
const _: fn(&Admin) = |admin| {
    fn may_be_spawned<T>(_: impl Future<Output = T> + Send) {}
    may_be_spawned(admin.describe_cluster());
    may_be_spawned(admin.describe_configs(&[]));
    may_be_spawned(admin.alter_configs(&BTreeMap::new(), false));
    may_be_spawned(admin.group_offsets("g"));
    may_be_spawned(admin.alter_group_offsets("g", &BTreeMap::new()));
    may_be_spawned(admin.delete_group_offsets("g", &[].into()));
    may_be_spawned(admin.list_groups());
    may_be_spawned(admin.describe_groups(&["g"]));
    may_be_spawned(admin.delete_groups(&["g"]));
    may_be_spawned(admin.describe_log_dirs());
    may_be_spawned(admin.list_offsets(&BTreeMap::new()));
    may_be_spawned(admin.create_topics(&BTreeMap::new(), false));
    may_be_spawned(admin.list_topics());
    may_be_spawned(admin.describe_topics(&["t"]));
    may_be_spawned(admin.delete_topics(&["t"]));
    may_be_spawned(admin.create_partitions(&BTreeMap::new(), false));
    may_be_spawned(admin.delete_records(&BTreeMap::new()));
};
