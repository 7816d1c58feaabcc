//! What brokers are configured to while they run: the defaults of their topics' configurations.
//!
//! They go by Kafka's names for brokers (`log.retention.ms` is the default of `retention.ms`).
//! Settings that a broker reads when it starts are not among them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::topic_config::TopicConfig;
use super::topic_config::key::{TOPIC_CONFIG_KEYS, TopicConfigKey};

/// Whose configuration something is. What is said of one broker counts more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BrokerScope {
    /// Every broker's; an empty name on Kafka's wire.
    Every,
    /// That of the broker with this node id.
    One(i32),
}

/// What was set, by scope, as it was written. No scope is there without a key.
pub(super) type BrokerOverrides = BTreeMap<BrokerScope, BTreeMap<String, String>>;

/// The key whose default a broker's configuration of this name is.
#[must_use]
pub fn find(name: &str) -> Option<&'static TopicConfigKey> {
    TOPIC_CONFIG_KEYS.iter().find(|key| key.broker_synonym == name)
}

/// The scopes that count on a node, the strongest first.
pub(super) fn scopes(node_id: Option<i32>) -> impl Iterator<Item = BrokerScope> {
    node_id.map(BrokerScope::One).into_iter().chain([BrokerScope::Every])
}

/// The configuration on a node of a topic that overrides nothing. As with topics, a stored key or
/// value that this version does not know counts as not set.
pub(super) fn topic_defaults(overrides: &BrokerOverrides, node_id: Option<i32>) -> TopicConfig {
    let mut config = TopicConfig::default();
    let mut weakest_first: Vec<BrokerScope> = scopes(node_id).collect();
    weakest_first.reverse();
    for scope in weakest_first {
        for (name, value) in overrides.get(&scope).into_iter().flatten() {
            if let Some(key) = find(name) {
                key.set_if_valid(&mut config, value);
            }
        }
    }
    config
}
