//! `rivven produce`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rivven_client::producer::{Acks, Compression};

use super::cluster::ConnectionArguments;
use super::topic::topic_name;

pub(crate) const PRODUCE_EXAMPLES: &str = "\
Without a value each line of stdin becomes a record. Lines may hold any bytes. A topic that is not
there is created if the broker allows it. Records stand in the log once and in order, whatever
connections do, unless --acks says less.

Examples:
  rivven produce orders 'first order'
  rivven produce orders 'paid' --key 4711 --header source=shop
  tail -F app.log | rivven produce logs --compression lz4
  rivven produce users --file users.txt --key-separator :
  rivven produce users --key 4711 --tombstone";

/// `rivven produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceArguments {
    /// Where to.
    #[arg(value_name = "TOPIC", value_parser = topic_name)]
    pub(crate) topic: String,
    /// The value of one record, in place of the lines of stdin.
    #[arg(value_name = "VALUE", conflicts_with_all = ["file", "key_separator"])]
    pub(crate) value: Option<String>,
    /// Each line of this file or pipe becomes a record, in place of those of stdin (-).
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The key of each record.
    #[arg(short = 'k', long, value_name = "KEY", conflicts_with = "key_separator")]
    pub(crate) key: Option<String>,
    /// What parts the key from the value in each line; the first one counts.
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = separator)]
    pub(crate) key_separator: Option<String>,
    /// A header of each record; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// The partition; without it the key decides, or each batch goes to another one.
    #[arg(short = 'p', long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) partition: Option<i32>,
    /// How batches are compressed.
    #[arg(short = 'z', long, value_name = "CODEC", value_enum, default_value_t)]
    pub(crate) compression: CompressionArgument,
    /// Who must have a record: nobody, the leader, or all replicas that are in sync.
    #[arg(long, value_name = "ACKS", value_enum, default_value_t)]
    pub(crate) acks: AcksArgument,
    /// One record without a value, which deletes its key from a compacted topic.
    #[arg(long, requires = "key", conflicts_with_all = ["value", "file"])]
    pub(crate) tombstone: bool,
    /// A topic that is not there is not created.
    #[arg(long)]
    pub(crate) no_create: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum CompressionArgument {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcksArgument {
    #[value(name = "0")]
    None,
    #[value(name = "1")]
    Leader,
    #[default]
    #[value(name = "all", alias = "-1")]
    All,
}

impl From<CompressionArgument> for Compression {
    fn from(argument: CompressionArgument) -> Compression {
        match argument {
            CompressionArgument::None => Compression::None,
            CompressionArgument::Gzip => Compression::Gzip,
            CompressionArgument::Snappy => Compression::Snappy,
            CompressionArgument::Lz4 => Compression::Lz4,
            CompressionArgument::Zstd => Compression::Zstd,
        }
    }
}

impl From<AcksArgument> for Acks {
    fn from(argument: AcksArgument) -> Acks {
        match argument {
            AcksArgument::None => Acks::None,
            AcksArgument::Leader => Acks::Leader,
            AcksArgument::All => Acks::All,
        }
    }
}

fn separator(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it must have at least one character".to_owned()),
        "\\t" => Ok("\t".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write name=value".to_owned()),
    }
}
