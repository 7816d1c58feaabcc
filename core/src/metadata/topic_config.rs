//! What a topic can be configured to: one typed struct, filled through one table of keys.

pub mod change;
pub mod key;

use std::collections::BTreeMap;

use crate::ids::TimestampMs;
use crate::record::header::TimestampType;
use crate::record::validate::ProduceRules;
use key::TOPIC_CONFIG_KEYS;

/// The configuration of one topic as the storage reads it. Keys without a field here change
/// nothing on one node; the table of keys says why each is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Retention may delete old segments (`cleanup.policy` holds `delete`).
    pub is_deleted: bool,
    /// Every record needs a key, of which the last one stays (`cleanup.policy` holds `compact`).
    pub is_compacted: bool,
    /// Milliseconds a record is kept at least; `None` for ever.
    pub retention_ms: Option<u64>,
    /// Bytes a partition keeps at least; `None` without bound.
    pub retention_bytes: Option<u64>,
    /// Bytes at which a segment is closed.
    pub segment_bytes: u64,
    /// Age in milliseconds at which a segment is closed.
    pub segment_ms: u64,
    /// Largest batch in bytes, header included.
    pub max_message_bytes: usize,
    /// Who chooses the timestamps of records.
    pub timestamp_type: TimestampType,
    /// How far in milliseconds a record's timestamp may lie behind the broker's clock.
    pub timestamp_before_max_ms: i64,
    /// How far in milliseconds a record's timestamp may lie ahead of the broker's clock.
    pub timestamp_after_max_ms: i64,
    /// Milliseconds between taking a segment out of use and removing its files.
    pub file_delete_delay_ms: u64,
    /// Bytes of records between two entries of a segment's index.
    pub index_interval_bytes: u64,
    /// Milliseconds that a tombstone stays after it was cleaned first.
    pub delete_retention_ms: u64,
    /// Part of a log that must be dirty before it is cleaned, in millionths.
    pub dirty_ratio_min: u64,
    /// Milliseconds that a record is not cleaned.
    pub compaction_lag_min_ms: u64,
    /// Milliseconds after which a record is cleaned whatever the ratio says.
    pub compaction_lag_max_ms: u64,
}

/// Where a batch goes, by which version of the Produce request, and when.
#[derive(Clone, Copy, Debug)]
pub struct ProducedTo<'a> {
    pub topic: &'a str,
    pub partition: u32,
    pub produce_version: i16,
    pub now: TimestampMs,
}

/// Why configurations are refused (INVALID_CONFIG), in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("Null value not supported for topic configs: {}", keys.join(","))]
    Null { keys: Vec<String> },
    #[error("Unknown topic config name: {key}")]
    UnknownKey { key: String },
    #[error("Invalid value {value} for configuration {key}: {reason}")]
    Value { key: &'static str, value: String, reason: String },
    #[error(
        "conflict topic config setting min.compaction.lag.ms ({min_ms}) > max.compaction.lag.ms \
         ({max_ms})"
    )]
    CompactionLags { min_ms: u64, max_ms: u64 },
}

impl Default for TopicConfig {
    /// Every key at its default.
    fn default() -> TopicConfig {
        // The table overwrites each of these; one definition of a default is enough.
        let mut config = TopicConfig {
            is_deleted: false,
            is_compacted: false,
            retention_ms: None,
            retention_bytes: None,
            segment_bytes: 0,
            segment_ms: 0,
            max_message_bytes: 0,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: 0,
            timestamp_after_max_ms: 0,
            file_delete_delay_ms: 0,
            index_interval_bytes: 0,
            delete_retention_ms: 0,
            dirty_ratio_min: 0,
            compaction_lag_min_ms: 0,
            compaction_lag_max_ms: 0,
        };
        for key in &TOPIC_CONFIG_KEYS {
            let value = key.parse(key.default).expect("a test parses every default");
            (key.set)(&mut config, &value);
        }
        config
    }
}

impl TopicConfig {
    /// Reads overrides that a client wishes for.
    ///
    /// # Errors
    /// [`ConfigError`] for the first unknown key, else for the first bad value, else for two that
    /// do not go together.
    pub fn parse(overrides: &BTreeMap<String, String>) -> Result<TopicConfig, ConfigError> {
        if let Some(key) = overrides.keys().find(|key| key::find(key).is_none()) {
            return Err(ConfigError::UnknownKey { key: key.clone() });
        }
        let mut config = TopicConfig::default();
        for (name, value) in overrides {
            let key = key::find(name).expect("unknown keys are refused above");
            let parsed = key.parse(value)?;
            (key.set)(&mut config, &parsed);
        }
        let (min_ms, max_ms) = (config.compaction_lag_min_ms, config.compaction_lag_max_ms);
        if min_ms > max_ms {
            return Err(ConfigError::CompactionLags { min_ms, max_ms });
        }
        Ok(config)
    }

    /// Reads overrides that are stored, over the defaults of the node. A key or value that this
    /// version does not know counts as the default: another version of the broker accepted it, and
    /// the topic must open.
    #[must_use]
    pub fn from_stored(
        defaults: &TopicConfig,
        overrides: &BTreeMap<String, String>,
    ) -> TopicConfig {
        let mut config = defaults.clone();
        for (name, value) in overrides {
            if let Some(key) = key::find(name) {
                key.set_if_valid(&mut config, value);
            }
        }
        config
    }

    /// What this topic demands of a batch that is produced to one of its partitions.
    #[must_use]
    pub fn produce_rules<'a>(&self, to: ProducedTo<'a>) -> ProduceRules<'a> {
        ProduceRules {
            topic: to.topic,
            partition: to.partition,
            produce_version: to.produce_version,
            max_message_bytes: self.max_message_bytes,
            timestamp_type: self.timestamp_type,
            timestamp_before_max_ms: self.timestamp_before_max_ms,
            timestamp_after_max_ms: self.timestamp_after_max_ms,
            is_compacted: self.is_compacted,
            now: to.now,
        }
    }
}

#[cfg(test)]
mod tests;
