//! The one table of topic configuration keys: name, type, default, bounds, effect.

use super::{ConfigError, TopicConfig};
use crate::limits::{BATCH_BYTES_MAX, CONFIG_VALUE_BYTES_MAX};
use crate::log::compaction::RATIO_ONE;
use crate::record::header::TimestampType;

/// One key of a topic's configuration.
#[derive(Debug)]
pub struct TopicConfigKey {
    pub name: &'static str,
    /// Kafka's name of the broker's setting that is this key's default.
    pub broker_synonym: &'static str,
    pub kind: ConfigKind,
    pub default: &'static str,
    /// What it does here, for users.
    pub doc: &'static str,
    pub(super) set: fn(&mut TopicConfig, &ConfigValue),
}

/// Type and bounds of a value, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    /// INT (32 bits).
    Int { min: i32, max: i32 },
    /// LONG (64 bits).
    Long { min: i64 },
    /// DOUBLE from 0 to 1.
    Ratio,
    /// BOOLEAN.
    Bool,
    /// STRING, one of these words.
    Word(&'static [&'static str]),
    /// STRING; words that Kafka knows, and the one of them that has an effect here.
    OnlyWord { word: &'static str, known: &'static [&'static str], remedy: &'static str },
    /// LIST of these words, separated by commas, none twice.
    Words(&'static [&'static str]),
}

/// A value that passed its key's checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConfigValue {
    Number(i64),
    /// In millionths.
    Ratio(u64),
    Bool(bool),
    Words(Vec<&'static str>),
}

const CLEANUP_POLICIES: &[&str] = &["compact", "delete"];
const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
const COMPRESSIONS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

const LONG_ANY: ConfigKind = ConfigKind::Long { min: i64::MIN };
const LONG_FROM_0: ConfigKind = ConfigKind::Long { min: 0 };
const LONG_FROM_1: ConfigKind = ConfigKind::Long { min: 1 };
const INT_FROM_0: ConfigKind = ConfigKind::Int { min: 0, max: i32::MAX };
const INT_FROM_1: ConfigKind = ConfigKind::Int { min: 1, max: i32::MAX };
const SEGMENT_BYTES: ConfigKind = ConfigKind::Int { min: 1 << 20, max: i32::MAX };
const MESSAGE_BYTES: ConfigKind = ConfigKind::Int { min: 0, max: BATCH_BYTES_MAX as i32 };

/// Every key, ascending by name. Keys that nothing here would obey are left out, so that setting
/// one is refused and not silently without effect.
pub static TOPIC_CONFIG_KEYS: [TopicConfigKey; 20] = [
    TopicConfigKey {
        name: "cleanup.policy",
        broker_synonym: "log.cleanup.policy",
        kind: ConfigKind::Words(CLEANUP_POLICIES),
        default: "delete",
        doc: "delete: retention removes old segments. compact: every record needs a key, and the \
              cleaner removes records that a later one of their key supersedes. Without delete, \
              retention removes nothing.",
        set: |config, value| {
            config.is_deleted = value.has("delete");
            config.is_compacted = value.has("compact");
        },
    },
    TopicConfigKey {
        name: "compression.type",
        broker_synonym: "compression.type",
        kind: ConfigKind::OnlyWord {
            word: "producer",
            known: COMPRESSIONS,
            remedy: "the broker stores batches as producers compressed them: leave it at \
                     producer and set compression.type of the producer",
        },
        default: "producer",
        doc: "Only producer: batches are stored as they came.",
        set: |_, _| {},
    },
    TopicConfigKey {
        name: "delete.retention.ms",
        broker_synonym: "log.cleaner.delete.retention.ms",
        kind: LONG_FROM_0,
        default: "86400000",
        doc: "Milliseconds for which a compacted topic keeps a tombstone (a record without value) \
              after the cleaner met it first.",
        set: |config, value| config.delete_retention_ms = value.unsigned(),
    },
    TopicConfigKey {
        name: "file.delete.delay.ms",
        broker_synonym: "log.segment.delete.delay.ms",
        kind: LONG_FROM_0,
        default: "60000",
        doc: "Milliseconds between taking a segment out of use and removing its files.",
        set: |config, value| config.file_delete_delay_ms = value.unsigned(),
    },
    TopicConfigKey {
        name: "flush.messages",
        broker_synonym: "log.flush.interval.messages",
        kind: LONG_FROM_1,
        default: "9223372036854775807",
        doc: "Met by the WAL, which syncs before it acknowledges, unless sync_policy is none.",
        set: |_, _| {},
    },
    TopicConfigKey {
        name: "flush.ms",
        broker_synonym: "log.flush.interval.ms",
        kind: LONG_FROM_0,
        default: "9223372036854775807",
        doc: "Met by the WAL, which syncs before it acknowledges, unless sync_policy is none.",
        set: |_, _| {},
    },
    TopicConfigKey {
        name: "index.interval.bytes",
        broker_synonym: "log.index.interval.bytes",
        kind: INT_FROM_0,
        default: "4096",
        doc: "Bytes of records between two entries of a segment's index.",
        set: |config, value| config.index_interval_bytes = value.unsigned(),
    },
    TopicConfigKey {
        name: "max.compaction.lag.ms",
        broker_synonym: "log.cleaner.max.compaction.lag.ms",
        kind: LONG_FROM_1,
        default: "9223372036854775807",
        doc: "Milliseconds after which records of a compacted topic are cleaned however few they \
              are; segments are closed that early, too.",
        set: |config, value| config.compaction_lag_max_ms = value.unsigned(),
    },
    TopicConfigKey {
        name: "max.message.bytes",
        broker_synonym: "message.max.bytes",
        kind: MESSAGE_BYTES,
        default: "1048588",
        doc: "Largest record batch in bytes, compressed if it is, with its header.",
        set: |config, value| {
            config.max_message_bytes =
                usize::try_from(value.number()).expect("the bounds are those of a batch");
        },
    },
    TopicConfigKey {
        name: "message.timestamp.after.max.ms",
        broker_synonym: "log.message.timestamp.after.max.ms",
        kind: LONG_FROM_0,
        default: "3600000",
        doc: "How far in milliseconds a record may lie ahead of the broker's clock.",
        set: |config, value| config.timestamp_after_max_ms = value.number(),
    },
    TopicConfigKey {
        name: "message.timestamp.before.max.ms",
        broker_synonym: "log.message.timestamp.before.max.ms",
        kind: LONG_FROM_0,
        default: "9223372036854775807",
        doc: "How far in milliseconds a record may lie behind the broker's clock.",
        set: |config, value| config.timestamp_before_max_ms = value.number(),
    },
    TopicConfigKey {
        name: "message.timestamp.type",
        broker_synonym: "log.message.timestamp.type",
        kind: ConfigKind::Word(TIMESTAMP_TYPES),
        default: "CreateTime",
        doc: "CreateTime: the producer's time. LogAppendTime: the broker's, at the append.",
        set: |config, value| {
            config.timestamp_type = if value.has("LogAppendTime") {
                TimestampType::LogAppendTime
            } else {
                TimestampType::CreateTime
            };
        },
    },
    TopicConfigKey {
        name: "min.cleanable.dirty.ratio",
        broker_synonym: "log.cleaner.min.cleanable.ratio",
        kind: ConfigKind::Ratio,
        default: "0.5",
        doc: "A log is cleaned when more than this part of its closed segments was not cleaned \
              yet.",
        set: |config, value| config.dirty_ratio_min = value.ratio(),
    },
    TopicConfigKey {
        name: "min.compaction.lag.ms",
        broker_synonym: "log.cleaner.min.compaction.lag.ms",
        kind: LONG_FROM_0,
        default: "0",
        doc: "Milliseconds for which the records of a compacted topic stay as they are.",
        set: |config, value| config.compaction_lag_min_ms = value.unsigned(),
    },
    TopicConfigKey {
        name: "min.insync.replicas",
        broker_synonym: "min.insync.replicas",
        kind: INT_FROM_1,
        default: "1",
        doc: "Replicas that must hold a record before acks=all is answered, at most as many as \
              the partition has; no effect with one replica.",
        set: |_, _| {},
    },
    TopicConfigKey {
        name: "retention.bytes",
        broker_synonym: "log.retention.bytes",
        kind: LONG_ANY,
        default: "-1",
        doc: "Bytes per partition beyond which whole old segments are removed; -1: no bound.",
        set: |config, value| config.retention_bytes = value.unsigned_or_none(),
    },
    TopicConfigKey {
        name: "retention.ms",
        broker_synonym: "log.retention.ms",
        kind: ConfigKind::Long { min: -1 },
        default: "604800000",
        doc: "Milliseconds after which whole old segments are removed; -1: never.",
        set: |config, value| config.retention_ms = value.unsigned_or_none(),
    },
    TopicConfigKey {
        name: "segment.bytes",
        broker_synonym: "log.segment.bytes",
        kind: SEGMENT_BYTES,
        default: "1073741824",
        doc: "Bytes at which a segment is closed and the next one begins.",
        set: |config, value| config.segment_bytes = value.unsigned(),
    },
    TopicConfigKey {
        name: "segment.ms",
        broker_synonym: "log.roll.ms",
        kind: LONG_FROM_1,
        default: "604800000",
        doc: "Age in milliseconds at which a segment is closed and the next one begins.",
        set: |config, value| config.segment_ms = value.unsigned(),
    },
    TopicConfigKey {
        name: "unclean.leader.election.enable",
        broker_synonym: "unclean.leader.election.enable",
        kind: ConfigKind::Bool,
        default: "false",
        doc: "Whether a replica that lags may become leader and lose records; no effect with one \
              replica.",
        set: |_, _| {},
    },
];

/// The key of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static TopicConfigKey> {
    let index = TOPIC_CONFIG_KEYS.binary_search_by(|key| key.name.cmp(name)).ok()?;
    Some(&TOPIC_CONFIG_KEYS[index])
}

impl ConfigValue {
    fn number(&self) -> i64 {
        match self {
            ConfigValue::Number(number) => *number,
            other => unreachable!("{other:?} of a number key"),
        }
    }

    fn unsigned(&self) -> u64 {
        u64::try_from(self.number()).expect("the key's lower bound is 0 or greater")
    }

    fn unsigned_or_none(&self) -> Option<u64> {
        u64::try_from(self.number()).ok()
    }

    fn ratio(&self) -> u64 {
        match self {
            ConfigValue::Ratio(millionths) => *millionths,
            other => unreachable!("{other:?} of a ratio key"),
        }
    }

    fn has(&self, word: &str) -> bool {
        matches!(self, ConfigValue::Words(words) if words.contains(&word))
    }
}

impl TopicConfigKey {
    pub(super) fn parse(&'static self, value: &str) -> Result<ConfigValue, ConfigError> {
        self.parse_as(self.name, value)
    }

    /// Whether a broker may be given this value as the default of the key.
    pub(in crate::metadata) fn check_broker_value(
        &'static self,
        value: &str,
    ) -> Result<(), ConfigError> {
        self.parse_as(self.broker_synonym, value).map(|_| ())
    }

    /// Sets the field of a stored value; one that this version cannot read is passed over.
    pub(in crate::metadata) fn set_if_valid(&'static self, config: &mut TopicConfig, value: &str) {
        if let Ok(parsed) = self.parse(value) {
            (self.set)(config, &parsed);
        }
    }

    fn parse_as(&self, name: &'static str, value: &str) -> Result<ConfigValue, ConfigError> {
        self.kind.parse(value).map_err(|reason| {
            let value = value.chars().take(CONFIG_VALUE_BYTES_MAX).collect();
            ConfigError::Value { key: name, value, reason }
        })
    }
}

impl ConfigKind {
    fn parse(self, value: &str) -> Result<ConfigValue, String> {
        if value.len() > CONFIG_VALUE_BYTES_MAX {
            return Err(format!("Value is longer than {CONFIG_VALUE_BYTES_MAX} bytes"));
        }
        let value = value.trim();
        match self {
            ConfigKind::Int { min, max } => {
                let number = value.parse::<i32>().map_err(|_| "Not a number of type INT")?;
                within(i64::from(number), i64::from(min), i64::from(max))
            }
            ConfigKind::Long { min } => {
                let number = value.parse::<i64>().map_err(|_| "Not a number of type LONG")?;
                within(number, min, i64::MAX)
            }
            ConfigKind::Ratio => {
                let ratio = value.parse::<f64>().map_err(|_| "Not a number of type DOUBLE")?;
                match ratio {
                    ..0.0 => Err("Value must be at least 0".to_owned()),
                    0.0..=1.0 => Ok(ConfigValue::Ratio((ratio * RATIO_ONE as f64).round() as u64)),
                    _ => Err("Value must be no more than 1".to_owned()),
                }
            }
            ConfigKind::Bool => match value.to_ascii_lowercase().as_str() {
                "true" => Ok(ConfigValue::Bool(true)),
                "false" => Ok(ConfigValue::Bool(false)),
                _ => Err("Expected value to be either true or false".to_owned()),
            },
            ConfigKind::Word(words) => Ok(ConfigValue::Words(vec![one_of(value, words)?])),
            ConfigKind::OnlyWord { word, known, remedy } => match one_of(value, known)? {
                given if given == word => Ok(ConfigValue::Words(vec![given])),
                _ => Err(remedy.to_owned()),
            },
            ConfigKind::Words(known) => words(value, known).map(ConfigValue::Words),
        }
    }
}

fn within(number: i64, min: i64, max: i64) -> Result<ConfigValue, String> {
    if number < min {
        Err(format!("Value must be at least {min}"))
    } else if number > max {
        Err(format!("Value must be no more than {max}"))
    } else {
        Ok(ConfigValue::Number(number))
    }
}

fn one_of(value: &str, known: &'static [&'static str]) -> Result<&'static str, String> {
    let found = known.iter().find(|word| **word == value);
    found.copied().ok_or_else(|| format!("String must be one of: {}", known.join(", ")))
}

fn words(value: &str, known: &'static [&'static str]) -> Result<Vec<&'static str>, String> {
    let mut words = Vec::with_capacity(known.len());
    for word in split_list(value) {
        let word = one_of(word, known)?;
        if words.contains(&word) {
            return Err(format!("Value {word} is given twice"));
        }
        words.push(word);
    }
    Ok(words)
}

/// The items of a LIST value; an empty value has none.
pub(super) fn split_list(value: &str) -> impl Iterator<Item = &str> {
    let is_empty = value.trim().is_empty();
    value.split(',').map(str::trim).filter(move |_| !is_empty)
}
