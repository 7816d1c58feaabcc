//! The one table of settings: name, unit, default, bounds, and what each is for.

use std::time::Duration;

use clap::{Arg, ArgAction, Command};

use super::Config;
use super::parse::{
    address, addresses, boolean, level, log_format, log_format_text, millis, number, socket,
    sync_policy, sync_text,
};

/// One setting. In YAML its name may have `_` for `-`; the variable is `RIVVEN_` and the name in
/// capitals with `_`.
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// What stands for the value in help.
    pub(super) value: &'static str,
    pub(super) default: &'static str,
    pub(super) doc: &'static str,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
    pub(super) get: fn(&Config) -> String,
}

/// Every setting.
pub(super) static SETTINGS: [Setting; 20] = [
    Setting {
        name: "data-dir",
        value: "DIR",
        default: "rivven-data",
        doc: "Directory of the log; made if it is not there, locked while the broker runs",
        set: |config, value| {
            if value.is_empty() {
                return Err("a directory is needed".to_owned());
            }
            config.data_dir = value.into();
            Ok(())
        },
        get: |config| config.data_dir.display().to_string(),
    },
    Setting {
        name: "bind",
        value: "HOST:PORT[,HOST:PORT]",
        default: "127.0.0.1:9092,[::1]:9092",
        doc: "Addresses for clients; port 0 takes a free one; of the default, [::1] may be missing",
        set: |config, value| {
            config.bind = addresses(value)?;
            config.bind_is_default = false;
            Ok(())
        },
        get: |config| {
            let all: Vec<String> = config.bind.iter().map(ToString::to_string).collect();
            all.join(",")
        },
    },
    Setting {
        name: "api-bind",
        value: "HOST:PORT",
        default: "127.0.0.1:9094",
        doc: "Address of /health and /metrics",
        set: |config, value| socket(value).map(|addr| config.api_bind = addr),
        get: |config| config.api_bind.to_string(),
    },
    Setting {
        name: "advertise-addr",
        value: "HOST:PORT",
        default: "",
        doc: "Where clients are told to connect; empty: the address that they reached",
        set: |config, value| {
            config.advertise_addr = if value.is_empty() { None } else { Some(address(value)?) };
            Ok(())
        },
        get: |config| config.advertise_addr.as_ref().map(ToString::to_string).unwrap_or_default(),
    },
    Setting {
        name: "node-id",
        value: "N",
        default: "1",
        doc: "Id of this broker, 0 to 2147483647; a data directory keeps the one it was made with",
        set: |config, value| number(value, 0, i64::from(i32::MAX)).map(|id| config.node_id = id),
        get: |config| config.node_id.to_string(),
    },
    Setting {
        name: "default-partitions",
        value: "N",
        default: "3",
        doc: "Partitions of a topic that is created without a number, 1 to 100000",
        set: |config, value| number(value, 1, 100_000).map(|n| config.default_partitions = n),
        get: |config| config.default_partitions.to_string(),
    },
    Setting {
        name: "auto-create-topics",
        value: "true|false",
        default: "true",
        doc: "Whether a client that asks for an unknown topic gets it created",
        set: |config, value| boolean(value).map(|on| config.auto_create_topics = on),
        get: |config| config.auto_create_topics.to_string(),
    },
    Setting {
        name: "sync-policy",
        value: "POLICY",
        default: "every_write",
        doc: "When a write is acknowledged: every_write (synced), every_n_writes(N), none",
        set: |config, value| sync_policy(value).map(|policy| config.sync_policy = policy),
        get: |config| sync_text(config.sync_policy),
    },
    Setting {
        name: "memory-bytes",
        value: "BYTES",
        default: "268435456",
        doc: "Memory of requests, answers and the log's tail together; a quarter is the tail's",
        set: |config, value| number(value, 0, i64::MAX).map(|bytes| config.memory_bytes = bytes),
        get: |config| config.memory_bytes.to_string(),
    },
    Setting {
        name: "max-connections",
        value: "N",
        default: "4096",
        doc: "Connections of clients at once, 1 to 1000000; each takes 4 KiB of the memory",
        set: |config, value| number(value, 1, 1_000_000).map(|n| config.max_connections = n),
        get: |config| config.max_connections.to_string(),
    },
    Setting {
        name: "log-level",
        value: "LEVEL",
        default: "info",
        doc: "error, warn, info, debug, trace; or a filter as in rivven_core=debug,info",
        set: |config, value| level(value).map(|level| config.log_level = level),
        get: |config| config.log_level.clone(),
    },
    Setting {
        name: "log-format",
        value: "text|json",
        default: "text",
        doc: "Lines on stderr: text for people, or one JSON object each",
        set: |config, value| log_format(value).map(|format| config.log_format = format),
        get: |config| log_format_text(config.log_format).to_owned(),
    },
    Setting {
        name: "group-initial-rebalance-delay-ms",
        value: "MS",
        default: "3000",
        doc: "How long an empty consumer group waits for more members before it assigns",
        set: |config, value| {
            millis(value, 0).map(|time| config.group_initial_rebalance_delay = time)
        },
        get: |config| config.group_initial_rebalance_delay.as_millis().to_string(),
    },
    Setting {
        name: "group-min-session-timeout-ms",
        value: "MS",
        default: "6000",
        doc: "Shortest session that a group member may ask for",
        set: |config, value| millis(value, 1).map(|time| config.group_min_session_timeout = time),
        get: |config| config.group_min_session_timeout.as_millis().to_string(),
    },
    Setting {
        name: "group-max-session-timeout-ms",
        value: "MS",
        default: "1800000",
        doc: "Longest session that a group member may ask for",
        set: |config, value| millis(value, 1).map(|time| config.group_max_session_timeout = time),
        get: |config| config.group_max_session_timeout.as_millis().to_string(),
    },
    Setting {
        name: "group-max-size",
        value: "N",
        default: "2147483647",
        doc: "Members of one consumer group, 1 to 2147483647",
        set: |config, value| {
            number(value, 1, i64::from(i32::MAX)).map(|n| config.group_max_size = n)
        },
        get: |config| config.group_max_size.to_string(),
    },
    Setting {
        name: "offsets-topic-partitions",
        value: "N",
        default: "50",
        doc: "Partitions of __consumer_offsets when the first group makes it, 1 to 10000",
        set: |config, value| number(value, 1, 10_000).map(|n| config.offsets_topic_partitions = n),
        get: |config| config.offsets_topic_partitions.to_string(),
    },
    Setting {
        name: "offsets-retention-minutes",
        value: "N",
        default: "10080",
        doc: "How long offsets are kept once their group has no members, 1 to 2147483647",
        set: |config, value| {
            let minutes: u64 = number(value, 1, i64::from(i32::MAX))?;
            config.offsets_retention = Duration::from_secs(60 * minutes);
            Ok(())
        },
        get: |config| (config.offsets_retention.as_secs() / 60).to_string(),
    },
    Setting {
        name: "offset-metadata-max-bytes",
        value: "BYTES",
        default: "4096",
        doc: "What a client may store beside a committed offset, 0 to 32767",
        set: |config, value| {
            number(value, 0, i64::from(i16::MAX)).map(|n| config.offset_metadata_max_bytes = n)
        },
        get: |config| config.offset_metadata_max_bytes.to_string(),
    },
    Setting {
        name: "consumer-lag-partitions-max",
        value: "N",
        default: "10000",
        doc: "Partitions of groups whose lag /metrics shows, 0 to 100000; each takes 1 KiB",
        set: |config, value| {
            number(value, 0, 100_000).map(|n| config.consumer_lag_partitions_max = n)
        },
        get: |config| config.consumer_lag_partitions_max.to_string(),
    },
];

/// A key as the table spells it.
pub(super) fn normal(key: &str) -> String {
    key.trim().to_ascii_lowercase().replace('_', "-")
}

pub(super) fn find(key: &str) -> Option<&'static Setting> {
    let key = normal(key);
    SETTINGS.iter().find(|setting| setting.name == key)
}

/// The command line that the table makes.
pub(super) fn command() -> Command {
    let mut command = Command::new("rivvend")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Rivven, an event-streaming broker that speaks the Kafka protocol")
        .after_help(
            "Every setting can also stand in the variable RIVVEN_NAME, or in rivven.yaml. Flags \
             win over variables, variables over the file.",
        );
    for setting in &SETTINGS {
        let default = match setting.default {
            "" => "none",
            default => default,
        };
        command = command.arg(
            Arg::new(setting.name)
                .long(setting.name)
                .value_name(setting.value)
                .allow_hyphen_values(true)
                .help(format!("{} [default: {default}]", setting.doc)),
        );
    }
    command
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .help("Settings in YAML [default: rivven.yaml, if it is there]"),
        )
        .arg(
            Arg::new("print-config")
                .long("print-config")
                .action(ArgAction::SetTrue)
                .help("Print every setting with its value and source, and end"),
        )
}
