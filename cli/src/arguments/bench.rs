//! `rivven bench`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::cluster::ConnectionArguments;
use super::produce::{AcksArgument, CompressionArgument};
use super::topic::topic_name;
use crate::time::parse_duration;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Writes records at a fixed rate and measures their delivery.
    #[command(after_long_help = PRODUCE_EXAMPLES)]
    Produce(BenchProduceArguments),
    /// Reads a topic and measures how fast it comes, or how old records are when they come.
    #[command(after_long_help = CONSUME_EXAMPLES)]
    Consume(BenchConsumeArguments),
}

const PRODUCE_EXAMPLES: &str = "\
The load is open: each record has its time by the rate, and its latency counts from that time, so
that a slow broker shows in the percentiles and does not slow the load down. What is due and cannot
be sent before the end is told as unsent, and its latency counts to the end. Without a rate records
are sent as fast as the broker takes them, and latency counts from the call. One record to each
partition goes before, which is not measured.

Examples:
  rivven topic create bench -p 4
  rivven bench produce bench --rate 10000 --size 512 --duration 30s
  rivven bench produce bench --rate 0 --compression lz4 --json | jq .latency_us.p999";

/// `rivven bench produce`.
#[derive(Debug, Args)]
pub(crate) struct BenchProduceArguments {
    /// A topic that is there; its records are of no use to anybody else.
    #[arg(value_name = "TOPIC", value_parser = topic_name)]
    pub(crate) topic: String,
    /// Records a second in all; 0: as many as go.
    #[arg(short = 'r', long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=10_000_000))]
    pub(crate) rate: u32,
    /// Bytes of each value.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=900_000))]
    pub(crate) size: u32,
    /// How long.
    #[arg(short = 'd', long, value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// How long a batch waits for more records.
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = parse_duration)]
    pub(crate) linger: Duration,
    /// How batches are compressed.
    #[arg(short = 'z', long, value_name = "CODEC", value_enum, default_value_t)]
    pub(crate) compression: CompressionArgument,
    /// Who must have a record before its delivery counts.
    #[arg(long, value_name = "ACKS", value_enum, default_value_t)]
    pub(crate) acks: AcksArgument,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

const CONSUME_EXAMPLES: &str = "\
It reads what is there and tells the rate. With --latest it reads what is written meanwhile, and
latency is the time from a record's timestamp to its arrival; the clocks of this machine and of the
record's producer must agree for that, and records that come from the future are counted. Bytes are
those of keys and values.

Examples:
  rivven bench consume bench
  rivven bench consume bench --latest --duration 30s";

/// `rivven bench consume`.
#[derive(Debug, Args)]
pub(crate) struct BenchConsumeArguments {
    #[arg(value_name = "TOPIC", value_parser = topic_name)]
    pub(crate) topic: String,
    /// Only what is written from now on.
    #[arg(long)]
    pub(crate) latest: bool,
    /// How long at most.
    #[arg(short = 'd', long, value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = parse_duration)]
    pub(crate) duration: Duration,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

impl BenchCommand {
    pub(crate) fn connection(&self) -> &ConnectionArguments {
        match self {
            BenchCommand::Produce(arguments) => &arguments.connection,
            BenchCommand::Consume(arguments) => &arguments.connection,
        }
    }
}
