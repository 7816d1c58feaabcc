//! Values row by row, with Kafka's texts.

use super::change::{ConfigOp, changed_value};
use super::key::TOPIC_CONFIG_KEYS;
use super::*;

fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn keys_ascend_and_their_defaults_are_kafka_s() {
    assert!(TOPIC_CONFIG_KEYS.is_sorted_by(|a, b| a.name < b.name));
    for key in &TOPIC_CONFIG_KEYS {
        assert!(key.parse(key.default).is_ok(), "{}", key.name);
        assert!(!key.doc.is_empty() && !key.broker_synonym.is_empty());
        assert_eq!(key::find(key.name).map(|found| found.name), Some(key.name));
    }
    let expected = TopicConfig {
        is_deleted: true,
        is_compacted: false,
        retention_ms: Some(7 * 24 * 3_600_000),
        retention_bytes: None,
        segment_bytes: 1 << 30,
        segment_ms: 7 * 24 * 3_600_000,
        max_message_bytes: 1_048_588,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        file_delete_delay_ms: 60_000,
        index_interval_bytes: 4096,
        delete_retention_ms: 24 * 3_600_000,
        dirty_ratio_min: 500_000,
        compaction_lag_min_ms: 0,
        compaction_lag_max_ms: i64::MAX.unsigned_abs(),
    };
    assert_eq!(TopicConfig::default(), expected);
}

#[test]
fn bad_values_get_kafka_s_texts() {
    let compressions = "uncompressed, zstd, lz4, snappy, gzip, producer";
    let cases = [
        ("no.such.config", "1", "Unknown topic config name: no.such.config".to_owned()),
        ("retention.ms", "abc", invalid("retention.ms", "abc", "Not a number of type LONG")),
        ("retention.ms", "", invalid("retention.ms", "", "Not a number of type LONG")),
        ("retention.ms", "-2", invalid("retention.ms", "-2", "Value must be at least -1")),
        ("segment.bytes", "1", invalid("segment.bytes", "1", "Value must be at least 1048576")),
        ("segment.bytes", "2147483648", {
            invalid("segment.bytes", "2147483648", "Not a number of type INT")
        }),
        ("max.message.bytes", "67108865", {
            invalid("max.message.bytes", "67108865", "Value must be no more than 67108864")
        }),
        ("min.insync.replicas", "0", {
            invalid("min.insync.replicas", "0", "Value must be at least 1")
        }),
        ("cleanup.policy", "bogus", {
            invalid("cleanup.policy", "bogus", "String must be one of: compact, delete")
        }),
        ("cleanup.policy", "delete,bogus", {
            invalid("cleanup.policy", "delete,bogus", "String must be one of: compact, delete")
        }),
        ("cleanup.policy", "delete,delete", {
            invalid("cleanup.policy", "delete,delete", "Value delete is given twice")
        }),
        ("message.timestamp.type", "Never", {
            let reason = "String must be one of: CreateTime, LogAppendTime";
            invalid("message.timestamp.type", "Never", reason)
        }),
        ("unclean.leader.election.enable", "1", {
            let reason = "Expected value to be either true or false";
            invalid("unclean.leader.election.enable", "1", reason)
        }),
        ("min.cleanable.dirty.ratio", "1.5", {
            invalid("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1")
        }),
        ("min.cleanable.dirty.ratio", "-0.1", {
            invalid("min.cleanable.dirty.ratio", "-0.1", "Value must be at least 0")
        }),
        ("min.cleanable.dirty.ratio", "NaN", {
            invalid("min.cleanable.dirty.ratio", "NaN", "Value must be no more than 1")
        }),
        ("min.cleanable.dirty.ratio", "half", {
            invalid("min.cleanable.dirty.ratio", "half", "Not a number of type DOUBLE")
        }),
        ("compression.type", "brotli", {
            invalid("compression.type", "brotli", &format!("String must be one of: {compressions}"))
        }),
        ("compression.type", "gzip", {
            let reason = "the broker stores batches as producers compressed them: leave it at \
                          producer and set compression.type of the producer";
            invalid("compression.type", "gzip", reason)
        }),
    ];
    for (key, value, expected) in cases {
        let error = TopicConfig::parse(&overrides(&[(key, value)])).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let long = "1".repeat(2000);
    assert!(TopicConfig::parse(&overrides(&[("retention.ms", &long)])).is_err());
}

fn invalid(key: &str, value: &str, reason: &str) -> String {
    format!("Invalid value {value} for configuration {key}: {reason}")
}

#[test]
fn good_values_reach_their_fields() {
    type Check = fn(&TopicConfig) -> bool;
    let cases: [(&str, &str, Check); 21] = [
        ("cleanup.policy", "compact", |c| c.is_compacted && !c.is_deleted),
        ("cleanup.policy", " compact , delete", |c| c.is_compacted && c.is_deleted),
        ("cleanup.policy", "", |c| !c.is_compacted && !c.is_deleted),
        ("retention.ms", "-1", |c| c.retention_ms.is_none()),
        ("retention.ms", " 5 ", |c| c.retention_ms == Some(5)),
        ("retention.bytes", "9", |c| c.retention_bytes == Some(9)),
        ("segment.bytes", "1048576", |c| c.segment_bytes == 1 << 20),
        ("segment.ms", "1", |c| c.segment_ms == 1),
        ("max.message.bytes", "0", |c| c.max_message_bytes == 0),
        ("message.timestamp.type", "LogAppendTime", |c| {
            c.timestamp_type == TimestampType::LogAppendTime
        }),
        ("message.timestamp.before.max.ms", "7", |c| c.timestamp_before_max_ms == 7),
        ("message.timestamp.after.max.ms", "7", |c| c.timestamp_after_max_ms == 7),
        ("file.delete.delay.ms", "0", |c| c.file_delete_delay_ms == 0),
        ("index.interval.bytes", "1", |c| c.index_interval_bytes == 1),
        ("delete.retention.ms", "0", |c| c.delete_retention_ms == 0),
        ("min.cleanable.dirty.ratio", "0.01", |c| c.dirty_ratio_min == 10_000),
        ("min.cleanable.dirty.ratio", "0", |c| c.dirty_ratio_min == 0),
        ("min.cleanable.dirty.ratio", "1.0", |c| c.dirty_ratio_min == 1_000_000),
        ("min.compaction.lag.ms", "7", |c| c.compaction_lag_min_ms == 7),
        ("max.compaction.lag.ms", "7", |c| c.compaction_lag_max_ms == 7),
        ("flush.messages", "1", |c| *c == TopicConfig::default()),
    ];
    for (key, value, check) in cases {
        let overrides = overrides(&[(key, value)]);
        let config = TopicConfig::parse(&overrides).unwrap();
        assert!(check(&config), "{key}={value}: {config:?}");
        assert_eq!(config, TopicConfig::from_stored(&TopicConfig::default(), &overrides));
    }
}

#[test]
fn lags_that_leave_no_time_to_clean_are_refused() {
    let lags = [("min.compaction.lag.ms", "8"), ("max.compaction.lag.ms", "7")];
    let refused = TopicConfig::parse(&overrides(&lags)).unwrap_err().to_string();
    let text =
        "conflict topic config setting min.compaction.lag.ms (8) > max.compaction.lag.ms (7)";
    assert_eq!(refused, text);
    assert!(TopicConfig::parse(&overrides(&[lags[0], ("max.compaction.lag.ms", "8")])).is_ok());
}

#[test]
fn stored_keys_of_another_version_count_as_defaults() {
    let stored = overrides(&[("from.the.future", "1"), ("retention.ms", "x"), ("segment.ms", "9")]);
    let defaults = TopicConfig { retention_ms: Some(8), ..TopicConfig::default() };
    let expected = TopicConfig { segment_ms: 9, ..defaults.clone() };
    assert_eq!(TopicConfig::from_stored(&defaults, &stored), expected);
}

#[test]
fn changes_give_the_new_value() {
    let set = overrides(&[("cleanup.policy", "compact,delete"), ("retention.ms", "5")]);
    let none = BTreeMap::new();
    let text = |text: &str| Ok(Some(text.to_owned()));
    let not_a_list = "Can't APPEND to key retention.ms because its type is not LIST.";
    let cases = [
        (&set, "retention.ms", ConfigOp::Set("6"), text("6")),
        (&set, "retention.ms", ConfigOp::Delete, Ok(None)),
        (&set, "retention.ms", ConfigOp::Append("6"), Err(not_a_list.to_owned())),
        (&none, "cleanup.policy", ConfigOp::Append("compact"), text("delete,compact")),
        (&none, "cleanup.policy", ConfigOp::Append("delete"), text("delete")),
        (&set, "cleanup.policy", ConfigOp::Subtract("compact"), text("delete")),
        (&none, "cleanup.policy", ConfigOp::Subtract("delete"), text("")),
    ];
    for (overrides, key, op, expected) in cases {
        let value =
            changed_value(overrides, (key, key::find(key)), op).map_err(|error| error.to_string());
        assert_eq!(value, expected, "{key} {op:?}");
    }
}

#[test]
fn produce_rules_are_the_topic_s() {
    let config = TopicConfig::parse(&overrides(&[
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "1000"),
        ("message.timestamp.type", "LogAppendTime"),
    ]))
    .unwrap();
    let now = TimestampMs(1);
    let to = ProducedTo { topic: "t", partition: 3, produce_version: 8, now };
    let rules = config.produce_rules(to);
    assert!(rules.is_compacted && rules.max_message_bytes == 1000 && rules.partition == 3);
    assert_eq!(rules.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!(rules.timestamp_after_max_ms, 3_600_000);
}
