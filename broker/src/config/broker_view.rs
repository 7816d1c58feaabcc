//! The settings that the broker reads when it starts, under Kafka's names, as DescribeConfigs
//! shows them. Only what is true of this broker is listed.

use super::Config;

/// Types on the wire.
const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const LIST: i8 = 7;

type Get = fn(&Config) -> String;

/// One setting of the broker.
pub(crate) struct BrokerEntry {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) config_type: i8,
    /// Nobody set it.
    pub(crate) is_default: bool,
    pub(crate) doc: &'static str,
}

/// Every such setting.
pub(crate) fn broker_entries(config: &Config) -> Vec<BrokerEntry> {
    let mut entries = own(config);
    entries.extend(limits(config));
    entries.extend(fixed());
    entries
}

/// What this broker's own settings are called in Kafka.
fn own(config: &Config) -> Vec<BrokerEntry> {
    let entry = |name, config_type, doc, get: Get| entry(config, (name, config_type, doc), get);
    let advertised = match &config.advertise_addr {
        Some(addr) => format!("PLAINTEXT://{addr}"),
        None => listeners(config),
    };
    vec![
        BrokerEntry {
            name: "advertised.listeners",
            value: advertised,
            config_type: LIST,
            // Kafka counts what follows from the listeners as set by the operator, too.
            is_default: false,
            doc: "advertise-addr",
        },
        entry("auto.create.topics.enable", BOOLEAN, "auto-create-topics", |config| {
            config.auto_create_topics.to_string()
        }),
        entry("broker.id", INT, "node-id", |config| config.node_id.to_string()),
        entry("group.initial.rebalance.delay.ms", INT, "group-initial-rebalance-delay-ms", |c| {
            c.group_initial_rebalance_delay.as_millis().to_string()
        }),
        entry("group.max.session.timeout.ms", INT, "group-max-session-timeout-ms", |config| {
            config.group_max_session_timeout.as_millis().to_string()
        }),
        entry("group.max.size", INT, "group-max-size", |config| config.group_max_size.to_string()),
        entry("group.min.session.timeout.ms", INT, "group-min-session-timeout-ms", |config| {
            config.group_min_session_timeout.as_millis().to_string()
        }),
        entry("listeners", LIST, "bind", listeners),
        entry("log.dirs", STRING, "data-dir", |config| config.data_dir.display().to_string()),
        entry("max.connections", INT, "max-connections", |config| {
            config.max_connections.to_string()
        }),
        entry("node.id", INT, "node-id", |config| config.node_id.to_string()),
        entry("num.partitions", INT, "default-partitions", |config| {
            config.default_partitions.to_string()
        }),
        entry("offset.metadata.max.bytes", INT, "offset-metadata-max-bytes", |config| {
            config.offset_metadata_max_bytes.to_string()
        }),
        entry("offsets.retention.minutes", INT, "offsets-retention-minutes", |config| {
            (config.offsets_retention.as_secs() / 60).to_string()
        }),
        entry("offsets.topic.num.partitions", INT, "offsets-topic-partitions", |config| {
            config.offsets_topic_partitions.to_string()
        }),
    ]
}

fn listeners(config: &Config) -> String {
    let all: Vec<String> = config.bind.iter().map(|addr| format!("PLAINTEXT://{addr}")).collect();
    all.join(",")
}

/// Limits, and how often something is looked for.
fn limits(config: &Config) -> Vec<BrokerEntry> {
    let entry = |name, config_type, doc, get: Get| entry(config, (name, config_type, doc), get);
    vec![
        entry("connections.max.idle.ms", LONG, "idle-timeout-secs", |config| {
            config.idle_timeout.as_millis().to_string()
        }),
        entry("fetch.max.bytes", INT, "fetch-max-bytes", |config| {
            config.fetch_max_bytes.to_string()
        }),
        entry(
            "log.retention.check.interval.ms",
            LONG,
            "log-retention-check-interval-ms",
            |config| config.log_retention_check_interval.as_millis().to_string(),
        ),
        entry(
            "max.incremental.fetch.session.cache.slots",
            INT,
            "max-incremental-fetch-session-cache-slots",
            |config| config.fetch_sessions_max.to_string(),
        ),
        entry(
            "offsets.retention.check.interval.ms",
            LONG,
            "offsets-retention-check-interval-ms",
            |config| config.offsets_retention_check_interval.as_millis().to_string(),
        ),
        entry("producer.id.expiration.ms", INT, "producer-id-expiration-ms", |config| {
            config.producer_id_expiration.as_millis().to_string()
        }),
        entry("socket.request.max.bytes", INT, "max-request-size", |config| {
            config.max_request_size.to_string()
        }),
    ]
}

/// A setting that has another name here.
fn entry(
    config: &Config,
    (name, config_type, doc): (&'static str, i8, &'static str),
    get: Get,
) -> BrokerEntry {
    let value = get(config);
    BrokerEntry { name, is_default: value == get(&Config::default()), value, config_type, doc }
}

fn fixed() -> Vec<BrokerEntry> {
    let entry = |name, value: String, config_type| BrokerEntry {
        name,
        value,
        config_type,
        is_default: true,
        doc: "Fixed.",
    };
    vec![
        entry("default.replication.factor", "1".to_owned(), INT),
        entry("offsets.topic.replication.factor", "1".to_owned(), INT),
    ]
}
