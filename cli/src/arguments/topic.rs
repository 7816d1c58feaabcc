//! `rivven topic`.

use clap::{Args, Subcommand};
use rivven_core::metadata::topic_name::check_topic_name;

use super::cluster::ConnectionArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Creates topics.
    #[command(after_long_help = CREATE_EXAMPLES)]
    Create(CreateArguments),
    /// Lists the topics.
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Shows partitions, leaders, offsets, sizes and settings of topics.
    #[command(visible_alias = "info")]
    Describe(DescribeArguments),
    /// Deletes topics with all their records.
    #[command(visible_alias = "rm")]
    Delete(DeleteArguments),
    /// Shows the settings of a topic, or changes some.
    #[command(after_long_help = CONFIG_EXAMPLES)]
    Config(ConfigArguments),
    /// Gives a topic more partitions.
    #[command(after_long_help = PARTITIONS_EXAMPLES)]
    Partitions(PartitionsArguments),
}

const CREATE_EXAMPLES: &str = "\
Examples:
  rivven topic create orders
  rivven topic create orders payments --partitions 6
  rivven topic create clicks -p 12 --config retention.ms=86400000 --config compression.type=lz4
  rivven topic create orders --dry-run       could it be made?";

/// `rivven topic create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// One or more names.
    #[arg(required = true, value_name = "TOPIC", value_parser = topic_name)]
    pub(crate) topics: Vec<String>,
    /// Partitions of each topic; the broker has a default.
    #[arg(short = 'p', long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) partitions: Option<i32>,
    /// Replicas of each partition; the broker has a default.
    #[arg(short = 'r', long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    pub(crate) replication_factor: Option<i16>,
    /// A setting of each topic; may be given several times.
    #[arg(short = 'c', long = "config", value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) configs: Vec<(String, String)>,
    /// It is no failure that a topic is there already.
    #[arg(long)]
    pub(crate) if_not_exists: bool,
    /// Only ask the broker whether it would.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// `rivven topic list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// List the broker's own topics, too.
    #[arg(long)]
    pub(crate) internal: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// `rivven topic describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArguments {
    /// One or more names.
    #[arg(required = true, value_name = "TOPIC", value_parser = topic_name)]
    pub(crate) topics: Vec<String>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// `rivven topic delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// One or more names.
    #[arg(required = true, value_name = "TOPIC", value_parser = topic_name)]
    pub(crate) topics: Vec<String>,
    /// It is no failure that a topic is not there.
    #[arg(long)]
    pub(crate) if_exists: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

const CONFIG_EXAMPLES: &str = "\
Without changes it shows the settings that differ from the defaults. All changes are made or none.

Examples:
  rivven topic config orders --all
  rivven topic config orders --set retention.ms=604800000 --unset segment.bytes
  rivven topic config orders --set cleanup.policy=compact --dry-run";

/// `rivven topic config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    /// Its name.
    #[arg(value_name = "TOPIC", value_parser = topic_name)]
    pub(crate) topic: String,
    /// Sets a setting; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) set: Vec<(String, String)>,
    /// Sets a setting back to its default; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) unset: Vec<String>,
    /// Show the settings that have their defaults, too.
    #[arg(long, conflicts_with_all = ["set", "unset"])]
    pub(crate) all: bool,
    /// Only ask the broker whether it would.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

const PARTITIONS_EXAMPLES: &str = "\
Records stay where they are: keys may go to other partitions from then on. There is no way back.

Examples:
  rivven topic partitions orders 12";

/// `rivven topic partitions`.
#[derive(Debug, Args)]
pub(crate) struct PartitionsArguments {
    /// Its name.
    #[arg(value_name = "TOPIC", value_parser = topic_name)]
    pub(crate) topic: String,
    /// Partitions that the topic shall have in all.
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) count: i32,
    /// Only ask the broker whether it would.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

impl TopicCommand {
    pub(crate) fn connection(&self) -> &ConnectionArguments {
        match self {
            TopicCommand::Create(arguments) => &arguments.connection,
            TopicCommand::List(arguments) => &arguments.connection,
            TopicCommand::Describe(arguments) => &arguments.connection,
            TopicCommand::Delete(arguments) => &arguments.connection,
            TopicCommand::Config(arguments) => &arguments.connection,
            TopicCommand::Partitions(arguments) => &arguments.connection,
        }
    }
}

pub(super) fn topic_name(text: &str) -> Result<String, String> {
    check_topic_name(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write name=value, such as retention.ms=86400000".to_owned()),
    }
}
