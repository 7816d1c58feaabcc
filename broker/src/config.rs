//! What an operator decides about a broker: one table of settings, read from flags, `RIVVEN_*`
//! variables and `rivven.yaml`, in this order of precedence.

pub(crate) mod broker_view;
mod file;
mod parse;
mod settings;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rivven_core::group::messages::GroupRules;
use rivven_core::group::shard::ShardRules;
use rivven_core::storage::options::{StorageOptions, SyncPolicy};
use rivven_io::Env;

use crate::limits::{CONFIG_BYTES_MAX, CONNECTION_FREE_BYTES};
use file::read_settings;
use settings::{SETTINGS, Setting, find};

/// Least memory in bytes that requests and answers may share, beside what each connection has.
const SHARED_BYTES_MIN: usize = 16 << 20;
/// Files that a process may hold open unless somebody knows better.
const OPEN_FILES_DEFAULT: usize = 1 << 20;
/// Segment files that are worth holding open.
const SEGMENT_FILES_MAX: usize = 1024;
/// Files beside segments and clients: the WAL, checkpoints, listeners, HTTP, and a reserve.
const OPEN_FILES_OTHER: usize = 128;
/// A variable that differs from a setting by so few letters is taken for a slip.
const SLIP_DISTANCE: usize = 2;
/// The file that is read when none is named, if it is there.
pub const DEFAULT_FILE: &str = "rivven.yaml";

/// Everything that a broker is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub data_dir: PathBuf,
    /// Where Kafka clients connect; port 0 takes a free one.
    pub bind: Vec<SocketAddr>,
    /// Whether an address of `bind` may be missing on this machine: only of the default ones.
    pub bind_is_default: bool,
    /// Where `/health` and `/metrics` are served.
    pub api_bind: SocketAddr,
    /// What clients are told to connect to; `None`: the address that they reached.
    pub advertise_addr: Option<Address>,
    pub node_id: i32,
    /// Partitions of a topic that names no number.
    pub default_partitions: u32,
    pub auto_create_topics: bool,
    pub sync_policy: SyncPolicy,
    /// Bytes of requests, answers and the tail of the log, together.
    pub memory_bytes: usize,
    pub max_connections: usize,
    /// Bytes of a frame; `socket.request.max.bytes`.
    pub max_request_size: usize,
    /// Requests of one connection that are read and not answered.
    pub in_flight_requests_max: usize,
    /// `connections.max.idle.ms`.
    pub idle_timeout: Duration,
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions_max: usize,
    /// Files and sockets that the process may hold open; no setting, but what the machine allows.
    pub open_files_max: usize,
    pub log_level: String,
    pub log_format: LogFormat,
    pub log_retention_check_interval: Duration,
    pub producer_id_expiration: Duration,
    /// `group.initial.rebalance.delay.ms`, and so on with the next three.
    pub group_initial_rebalance_delay: Duration,
    pub group_min_session_timeout: Duration,
    pub group_max_session_timeout: Duration,
    /// Members of one group.
    pub group_max_size: usize,
    /// Partitions of `__consumer_offsets` when it is made.
    pub offsets_topic_partitions: u32,
    pub offsets_retention: Duration,
    pub offsets_retention_check_interval: Duration,
    /// Bytes that a client may store beside an offset.
    pub offset_metadata_max_bytes: usize,
    /// Partitions of groups whose lag `/metrics` shows.
    pub consumer_lag_partitions_max: usize,
}

/// Host name or address, and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How the lines on stderr look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: the time, the level, what happened, `name=value`.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Where a value came from, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Default,
    File,
    Environment,
    Flag,
}

/// A configuration, and the source of each of its values.
#[derive(Clone, Debug)]
pub struct Effective {
    pub config: Config,
    sources: BTreeMap<&'static str, Source>,
}

/// Flags as they were given.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    values: BTreeMap<&'static str, String>,
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--print-config`.
    pub print: bool,
}

/// Why there is no configuration. The process ends with code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The flags; clap has made a text for the terminal.
    #[error("{0}")]
    Flags(Box<clap::Error>),
    #[error("{source_name}: unknown setting {key}{}", nearest_hint(nearest))]
    UnknownKey { source_name: String, key: String, nearest: Option<&'static str> },
    #[error("{source_name}: {key}={value}: {reason}")]
    Value { source_name: String, key: &'static str, value: String, reason: String },
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    #[error(
        "memory-bytes={given} is too little: {needed} are needed with max-connections={connections}"
    )]
    Memory { given: usize, needed: usize, connections: usize },
    #[error(
        "group-min-session-timeout-ms={} is more than group-max-session-timeout-ms={}",
        .min.as_millis(), .max.as_millis()
    )]
    SessionTimeouts { min: Duration, max: Duration },
}

fn nearest_hint(nearest: &Option<&'static str>) -> String {
    nearest.map(|name| format!(", did you mean {name}?")).unwrap_or_default()
}

impl Default for Config {
    fn default() -> Config {
        let mut config = Config {
            data_dir: PathBuf::new(),
            bind: Vec::new(),
            bind_is_default: true,
            api_bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise_addr: None,
            node_id: 0,
            default_partitions: 0,
            auto_create_topics: false,
            sync_policy: SyncPolicy::EveryWrite,
            memory_bytes: 0,
            max_connections: 0,
            max_request_size: 0,
            in_flight_requests_max: 0,
            idle_timeout: Duration::ZERO,
            fetch_max_bytes: 0,
            fetch_sessions_max: 0,
            open_files_max: OPEN_FILES_DEFAULT,
            log_level: String::new(),
            log_format: LogFormat::Text,
            log_retention_check_interval: Duration::ZERO,
            producer_id_expiration: Duration::ZERO,
            group_initial_rebalance_delay: Duration::ZERO,
            group_min_session_timeout: Duration::ZERO,
            group_max_session_timeout: Duration::ZERO,
            group_max_size: 0,
            offsets_topic_partitions: 0,
            offsets_retention: Duration::ZERO,
            offsets_retention_check_interval: Duration::ZERO,
            offset_metadata_max_bytes: 0,
            consumer_lag_partitions_max: 0,
        };
        for setting in &SETTINGS {
            setting.set(&mut config, setting.default).expect("a test reads every default");
        }
        config.bind_is_default = true;
        config
    }
}

impl Config {
    /// Bytes that requests and answers share, without what each connection has of its own.
    pub(crate) fn shared_bytes(&self) -> usize {
        let network = self.memory_bytes - self.tail_bytes();
        network - self.max_connections * CONNECTION_FREE_BYTES
    }

    /// Clients at once: a client too many must never take the file handle that the log needs.
    pub(crate) fn connections_max(&self) -> usize {
        let others = self.segment_files_max() + OPEN_FILES_OTHER;
        self.max_connections.min(self.open_files_max.saturating_sub(others)).max(1)
    }

    /// Segment files held open at once: at most a quarter of all.
    fn segment_files_max(&self) -> usize {
        SEGMENT_FILES_MAX.min(self.open_files_max / 4)
    }

    fn tail_bytes(&self) -> usize {
        self.memory_bytes / 4
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.group_min_session_timeout > self.group_max_session_timeout {
            return Err(ConfigError::SessionTimeouts {
                min: self.group_min_session_timeout,
                max: self.group_max_session_timeout,
            });
        }
        let connections = self.max_connections;
        let network = connections * CONNECTION_FREE_BYTES + SHARED_BYTES_MIN;
        let needed = network.div_ceil(3).saturating_mul(4);
        if self.memory_bytes < needed {
            return Err(ConfigError::Memory { given: self.memory_bytes, needed, connections });
        }
        Ok(())
    }

    pub(crate) fn storage_options(&self) -> StorageOptions {
        let mut options = StorageOptions::new(self.data_dir.clone(), self.node_id);
        options.sync_policy = self.sync_policy;
        options.tail_bytes_max = self.tail_bytes();
        options.open_files_max = self.segment_files_max();
        options.retention_interval = self.log_retention_check_interval;
        let expiration = self.producer_id_expiration.as_millis();
        options.producer_expiration_ms = i64::try_from(expiration).unwrap_or(i64::MAX);
        options
    }

    pub(crate) fn shard_rules(&self) -> ShardRules {
        ShardRules {
            group: GroupRules {
                members_max: self.group_max_size,
                initial_delay: self.group_initial_rebalance_delay,
            },
            session_timeout_min: self.group_min_session_timeout,
            session_timeout_max: self.group_max_session_timeout,
            metadata_bytes_max: self.offset_metadata_max_bytes,
            retention: self.offsets_retention,
        }
    }

    /// Addresses that machines other than this one can reach, while nobody has to say who he is.
    #[must_use]
    pub fn exposed(&self) -> Vec<SocketAddr> {
        let all = self.bind.iter().chain([&self.api_bind]);
        all.filter(|addr| !addr.ip().is_loopback()).copied().collect()
    }
}

impl Flags {
    /// Reads the command line, program name first.
    ///
    /// # Errors
    /// [`ConfigError::Flags`], also for `--help` and `--version`.
    pub fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Flags, ConfigError> {
        let matches = settings::command()
            .try_get_matches_from(args)
            .map_err(|error| ConfigError::Flags(Box::new(error)))?;
        let mut flags = Flags {
            file: matches.get_one::<String>("config").map(PathBuf::from),
            print: matches.get_flag("print-config"),
            ..Flags::default()
        };
        for setting in &SETTINGS {
            if let Some(value) = matches.get_one::<String>(setting.name) {
                flags.values.insert(setting.name, value.clone());
            }
        }
        Ok(flags)
    }
}

/// Lays flags over variables over the file over the defaults. `variables` may be all of the
/// process: those that do not begin with `RIVVEN_` are passed over. `file` is a name for messages,
/// and YAML.
///
/// # Errors
/// [`ConfigError`]: an unknown key, a value out of its bounds, or bounds that do not fit together.
pub fn effective(
    flags: &Flags,
    variables: &BTreeMap<String, String>,
    file: Option<(&str, &str)>,
) -> Result<Effective, ConfigError> {
    let mut effective = Effective { config: Config::default(), sources: BTreeMap::new() };
    if let Some((name, text)) = file {
        for (key, value) in read_settings(name, text)? {
            let setting = find(&key).ok_or_else(|| unknown(name, &key))?;
            effective.set(setting, &value, (Source::File, name))?;
        }
    }
    for (name, value) in variables {
        let Some(key) = name.strip_prefix("RIVVEN_").filter(|key| *key != "CONFIG") else {
            continue;
        };
        let key = key.to_ascii_lowercase();
        match find(&key) {
            Some(setting) => effective.set(setting, value, (Source::Environment, name))?,
            None if is_slip(&key) => return Err(unknown("environment", name)),
            None => {}
        }
    }
    for (key, value) in &flags.values {
        let setting = find(key).expect("flags are made from the table");
        effective.set(setting, value, (Source::Flag, "command line"))?;
    }
    effective.config.check()?;
    Ok(effective)
}

/// The text of a configuration file; `None` when it is not there and need not be.
///
/// # Errors
/// [`ConfigError::File`] when it cannot be read, is over 1 MiB, or is no text.
pub async fn read_file(
    env: &Env,
    path: &Path,
    must_exist: bool,
) -> Result<Option<String>, ConfigError> {
    let wrong = |reason: String| ConfigError::File { path: path.display().to_string(), reason };
    match env.read_file(path, CONFIG_BYTES_MAX).await {
        Ok(Some(bytes)) => match String::from_utf8(bytes.to_vec()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(wrong("not UTF-8 text".to_owned())),
        },
        Ok(None) if must_exist => Err(wrong("there is no such file".to_owned())),
        Ok(None) => Ok(None),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn unknown(source_name: &str, key: &str) -> ConfigError {
    let key_alone = key.strip_prefix("RIVVEN_").unwrap_or(key);
    ConfigError::UnknownKey {
        source_name: source_name.to_owned(),
        key: key.to_owned(),
        nearest: nearest(key_alone).map(|(_, name)| name),
    }
}

/// The setting whose name differs least, and by how many letters.
fn nearest(key: &str) -> Option<(usize, &'static str)> {
    let key = settings::normal(key);
    SETTINGS
        .iter()
        .map(|setting| (strsim::damerau_levenshtein(&key, setting.name), setting.name))
        .min()
        .filter(|(distance, name)| *distance <= name.len() / 2 + 1)
}

/// Other programs have variables that begin with `RIVVEN_`; one almost named like a setting is an
/// operator's mistake, which would go unnoticed.
fn is_slip(key: &str) -> bool {
    nearest(key).is_some_and(|(distance, _)| distance <= SLIP_DISTANCE)
}

impl Effective {
    fn set(
        &mut self,
        setting: &'static Setting,
        value: &str,
        (source, source_name): (Source, &str),
    ) -> Result<(), ConfigError> {
        setting.set(&mut self.config, value.trim()).map_err(|reason| ConfigError::Value {
            source_name: source_name.to_owned(),
            key: setting.name,
            value: value.to_owned(),
            reason,
        })?;
        self.sources.insert(setting.name, source);
        Ok(())
    }

    /// One line for each setting: name, value, and where the value came from; as YAML that gives
    /// the same configuration again.
    #[must_use]
    pub fn print(&self) -> String {
        let mut lines = String::new();
        for setting in &SETTINGS {
            let source = match self.sources.get(setting.name) {
                None | Some(Source::Default) => "default",
                Some(Source::File) => "file",
                Some(Source::Environment) => "environment",
                Some(Source::Flag) => "flag",
            };
            let value = yaml_text(setting.get(&self.config));
            writeln!(lines, "{}: {value} # {source}", setting.name)
                .expect("a String takes every write");
        }
        lines
    }
}

/// `value` as YAML reads it back: in quotes unless it is plain.
fn yaml_text(value: String) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._/:,()=-[]".contains(c);
    let is_number = value.parse::<f64>().is_ok() && value.parse::<i64>().is_err();
    let is_plain = value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && value.chars().all(is_allowed)
        && !value.ends_with(':')
        && !is_number
        && !value.eq_ignore_ascii_case("null")
        && !value.starts_with("0x")
        && !value.starts_with("0o");
    if is_plain { value } else { format!("'{}'", value.replace('\'', "''")) }
}

#[cfg(test)]
mod tests;
