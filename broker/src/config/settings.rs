//! The one table of settings: name, unit, default, bounds, and what each is for.

use std::time::Duration;

use clap::{Arg, ArgAction, Command};

use super::Config;
use super::parse::{
    address, addresses, boolean, level, log_format, log_format_text, number, socket, sync_policy,
    sync_text,
};
use crate::limits::FRAME_BYTES_MAX;

/// Largest value of Kafka's INT.
const INT_MAX: i64 = i32::MAX as i64;

/// One setting. In YAML its name may have `_` for `-`; the variable is `RIVVEN_` and the name in
/// capitals with `_`.
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// What stands for the value in help.
    pub(super) value: &'static str,
    pub(super) default: &'static str,
    pub(super) doc: &'static str,
    pub(super) kind: Kind,
}

/// What values there are, and where they go.
pub(super) enum Kind {
    /// Whole numbers within bounds.
    Number {
        min: i64,
        max: i64,
        set: fn(&mut Config, i64),
        get: fn(&Config) -> String,
    },
    Text {
        set: fn(&mut Config, &str) -> Result<(), String>,
        get: fn(&Config) -> String,
    },
}

impl Setting {
    /// Takes the value in, or says what is wrong with it.
    pub(super) fn set(&self, config: &mut Config, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Number { min, max, set, .. } => {
                number(value, min, max).map(|number| set(config, number))
            }
            Kind::Text { set, .. } => set(config, value),
        }
    }

    pub(super) fn get(&self, config: &Config) -> String {
        match self.kind {
            Kind::Number { get, .. } | Kind::Text { get, .. } => get(config),
        }
    }

    /// Smallest and largest number.
    pub(super) fn bounds(&self) -> Option<(i64, i64)> {
        match self.kind {
            Kind::Number { min, max, .. } => Some((min, max)),
            Kind::Text { .. } => None,
        }
    }
}

/// A number whose bounds make it one of `T`.
fn narrow<T: TryFrom<i64>>(number: i64) -> T {
    T::try_from(number).unwrap_or_else(|_| unreachable!("{number} is beyond its bounds"))
}

fn millis(number: i64) -> Duration {
    Duration::from_millis(narrow(number))
}

/// Every setting.
pub(super) static SETTINGS: [Setting; 28] = [
    Setting {
        name: "data-dir",
        value: "DIR",
        default: "rivven-data",
        doc: "Directory of the log; made if it is not there, locked while the broker runs",
        kind: Kind::Text {
            set: |config, value| {
                if value.is_empty() {
                    return Err("a directory is needed".to_owned());
                }
                config.data_dir = value.into();
                Ok(())
            },
            get: |config| config.data_dir.display().to_string(),
        },
    },
    Setting {
        name: "bind",
        value: "HOST:PORT[,HOST:PORT]",
        default: "127.0.0.1:9092,[::1]:9092",
        doc: "Addresses for clients; port 0 takes a free one; of the default, [::1] may be missing",
        kind: Kind::Text {
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
    },
    Setting {
        name: "api-bind",
        value: "HOST:PORT",
        default: "127.0.0.1:9094",
        doc: "Address of /health and /metrics",
        kind: Kind::Text {
            set: |config, value| socket(value).map(|addr| config.api_bind = addr),
            get: |config| config.api_bind.to_string(),
        },
    },
    Setting {
        name: "advertise-addr",
        value: "HOST:PORT",
        default: "",
        doc: "Where clients are told to connect; empty: the address that they reached",
        kind: Kind::Text {
            set: |config, value| {
                let addr = if value.is_empty() { None } else { Some(address(value)?) };
                config.advertise_addr = addr;
                Ok(())
            },
            get: |config| {
                config.advertise_addr.as_ref().map(ToString::to_string).unwrap_or_default()
            },
        },
    },
    Setting {
        name: "node-id",
        value: "N",
        default: "1",
        doc: "Id of this broker; a data directory keeps the one it was made with",
        kind: Kind::Number {
            min: 0,
            max: INT_MAX,
            set: |config, n| config.node_id = narrow(n),
            get: |config| config.node_id.to_string(),
        },
    },
    Setting {
        name: "default-partitions",
        value: "N",
        default: "3",
        doc: "Partitions of a topic that is created without a number",
        kind: Kind::Number {
            min: 1,
            max: 100_000,
            set: |config, n| config.default_partitions = narrow(n),
            get: |config| config.default_partitions.to_string(),
        },
    },
    Setting {
        name: "auto-create-topics",
        value: "true|false",
        default: "true",
        doc: "Whether a client that asks for an unknown topic gets it created",
        kind: Kind::Text {
            set: |config, value| boolean(value).map(|on| config.auto_create_topics = on),
            get: |config| config.auto_create_topics.to_string(),
        },
    },
    Setting {
        name: "sync-policy",
        value: "POLICY",
        default: "every_write",
        doc: "When a write is acknowledged: every_write (synced), every_n_writes(N), none",
        kind: Kind::Text {
            set: |config, value| sync_policy(value).map(|policy| config.sync_policy = policy),
            get: |config| sync_text(config.sync_policy),
        },
    },
    Setting {
        name: "memory-bytes",
        value: "BYTES",
        default: "268435456",
        doc: "Memory of requests, answers and the log's tail together; a quarter is the tail's",
        kind: Kind::Number {
            min: 0,
            max: i64::MAX,
            set: |config, n| config.memory_bytes = narrow(n),
            get: |config| config.memory_bytes.to_string(),
        },
    },
    Setting {
        name: "max-connections",
        value: "N",
        default: "4096",
        doc: "Connections of clients at once; each takes 4 KiB of the memory",
        kind: Kind::Number {
            min: 1,
            max: 1_000_000,
            set: |config, n| config.max_connections = narrow(n),
            get: |config| config.max_connections.to_string(),
        },
    },
    Setting {
        name: "max-request-size",
        value: "BYTES",
        default: "104857600",
        doc: "Longest request; the native protocol has 10485760 at most",
        kind: Kind::Number {
            min: 4096,
            max: FRAME_BYTES_MAX as i64,
            set: |config, n| config.max_request_size = narrow(n),
            get: |config| config.max_request_size.to_string(),
        },
    },
    Setting {
        name: "max-in-flight-requests",
        value: "N",
        default: "64",
        doc: "Requests of one connection that are read and not answered",
        kind: Kind::Number {
            min: 1,
            max: 1000,
            set: |config, n| config.in_flight_requests_max = narrow(n),
            get: |config| config.in_flight_requests_max.to_string(),
        },
    },
    Setting {
        name: "idle-timeout-secs",
        value: "SECONDS",
        default: "600",
        doc: "How long a connection without a request stays open",
        kind: Kind::Number {
            min: 1,
            max: INT_MAX / 1000,
            set: |config, n| config.idle_timeout = millis(1000 * n),
            get: |config| config.idle_timeout.as_secs().to_string(),
        },
    },
    Setting {
        name: "fetch-max-bytes",
        value: "BYTES",
        default: "57671680",
        doc: "Record bytes of one answer to a consumer, beyond its first batch",
        kind: Kind::Number {
            min: 1024,
            max: FRAME_BYTES_MAX as i64,
            set: |config, n| config.fetch_max_bytes = narrow(n),
            get: |config| config.fetch_max_bytes.to_string(),
        },
    },
    Setting {
        name: "max-incremental-fetch-session-cache-slots",
        value: "N",
        default: "1000",
        doc: "Fetch sessions at once; clients without one name all their partitions each time",
        kind: Kind::Number {
            min: 0,
            max: 100_000,
            set: |config, n| config.fetch_sessions_max = narrow(n),
            get: |config| config.fetch_sessions_max.to_string(),
        },
    },
    Setting {
        name: "log-level",
        value: "LEVEL",
        default: "info",
        doc: "error, warn, info, debug, trace; or a filter as in rivven_core=debug,info",
        kind: Kind::Text {
            set: |config, value| level(value).map(|level| config.log_level = level),
            get: |config| config.log_level.clone(),
        },
    },
    Setting {
        name: "log-format",
        value: "text|json",
        default: "text",
        doc: "Lines on stderr: text for people, or one JSON object each",
        kind: Kind::Text {
            set: |config, value| log_format(value).map(|format| config.log_format = format),
            get: |config| log_format_text(config.log_format).to_owned(),
        },
    },
    Setting {
        name: "log-retention-check-interval-ms",
        value: "MS",
        default: "30000",
        doc: "How often expired segments and silent producers are looked for",
        kind: Kind::Number {
            min: 1,
            max: INT_MAX,
            set: |config, n| config.log_retention_check_interval = millis(n),
            get: |config| config.log_retention_check_interval.as_millis().to_string(),
        },
    },
    Setting {
        name: "producer-id-expiration-ms",
        value: "MS",
        default: "86400000",
        doc: "How long the sequence numbers of a silent idempotent producer are kept",
        kind: Kind::Number {
            min: 1,
            max: INT_MAX,
            set: |config, n| config.producer_id_expiration = millis(n),
            get: |config| config.producer_id_expiration.as_millis().to_string(),
        },
    },
    Setting {
        name: "group-initial-rebalance-delay-ms",
        value: "MS",
        default: "3000",
        doc: "How long an empty consumer group waits for more members before it assigns",
        kind: Kind::Number {
            min: 0,
            max: INT_MAX,
            set: |config, n| config.group_initial_rebalance_delay = millis(n),
            get: |config| config.group_initial_rebalance_delay.as_millis().to_string(),
        },
    },
    Setting {
        name: "group-min-session-timeout-ms",
        value: "MS",
        default: "6000",
        doc: "Shortest session that a group member may ask for",
        kind: Kind::Number {
            min: 1,
            max: INT_MAX,
            set: |config, n| config.group_min_session_timeout = millis(n),
            get: |config| config.group_min_session_timeout.as_millis().to_string(),
        },
    },
    Setting {
        name: "group-max-session-timeout-ms",
        value: "MS",
        default: "1800000",
        doc: "Longest session that a group member may ask for",
        kind: Kind::Number {
            min: 1,
            max: INT_MAX,
            set: |config, n| config.group_max_session_timeout = millis(n),
            get: |config| config.group_max_session_timeout.as_millis().to_string(),
        },
    },
    Setting {
        name: "group-max-size",
        value: "N",
        default: "2147483647",
        doc: "Members of one consumer group",
        kind: Kind::Number {
            min: 1,
            max: INT_MAX,
            set: |config, n| config.group_max_size = narrow(n),
            get: |config| config.group_max_size.to_string(),
        },
    },
    Setting {
        name: "offsets-topic-partitions",
        value: "N",
        default: "50",
        doc: "Partitions of __consumer_offsets when the first group makes it",
        kind: Kind::Number {
            min: 1,
            max: 10_000,
            set: |config, n| config.offsets_topic_partitions = narrow(n),
            get: |config| config.offsets_topic_partitions.to_string(),
        },
    },
    Setting {
        name: "offsets-retention-minutes",
        value: "N",
        default: "10080",
        doc: "How long offsets are kept once their group has no members",
        kind: Kind::Number {
            min: 1,
            max: INT_MAX,
            set: |config, n| config.offsets_retention = Duration::from_secs(60 * narrow::<u64>(n)),
            get: |config| (config.offsets_retention.as_secs() / 60).to_string(),
        },
    },
    Setting {
        name: "offsets-retention-check-interval-ms",
        value: "MS",
        default: "600000",
        doc: "How often offsets that are older than that are looked for",
        kind: Kind::Number {
            min: 1,
            max: INT_MAX,
            set: |config, n| config.offsets_retention_check_interval = millis(n),
            get: |config| config.offsets_retention_check_interval.as_millis().to_string(),
        },
    },
    Setting {
        name: "offset-metadata-max-bytes",
        value: "BYTES",
        default: "4096",
        doc: "What a client may store beside a committed offset",
        kind: Kind::Number {
            min: 0,
            max: i16::MAX as i64,
            set: |config, n| config.offset_metadata_max_bytes = narrow(n),
            get: |config| config.offset_metadata_max_bytes.to_string(),
        },
    },
    Setting {
        name: "consumer-lag-partitions-max",
        value: "N",
        default: "10000",
        doc: "Partitions of groups whose lag /metrics shows; each takes 1 KiB meanwhile",
        kind: Kind::Number {
            min: 0,
            max: 100_000,
            set: |config, n| config.consumer_lag_partitions_max = narrow(n),
            get: |config| config.consumer_lag_partitions_max.to_string(),
        },
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
        let bounds = setting.bounds().map(|(min, max)| format!("; {min} to {max}"));
        let bounds = bounds.unwrap_or_default();
        command = command.arg(
            Arg::new(setting.name)
                .long(setting.name)
                .value_name(setting.value)
                .allow_hyphen_values(true)
                .help(format!("{}{bounds} [default: {default}]", setting.doc)),
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
