//! What `rivven` understands; the help texts and completions are made from this.

pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod consume;
pub(crate) mod group;
pub(crate) mod produce;
pub(crate) mod topic;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use self::bench::BenchCommand;
use self::cluster::{ClusterArguments, PingArguments};
use self::consume::ConsumeArguments;
use self::group::GroupCommand;
use self::produce::ProduceArguments;
use self::topic::TopicCommand;

/// The command line of Rivven and other brokers that speak the Kafka protocol.
#[derive(Debug, Parser)]
#[command(name = "rivven", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Exit codes:
  0  done
  1  refused or failed, or the output cannot be written; one sentence on stderr says why
  2  the arguments are wrong
  3  no broker was reached; of `log`: the file or directory cannot be opened
  130  interrupted (143: terminated); what was begun is finished, a group is left; a second
       signal ends it at once

Examples:
  rivven topic create orders --partitions 6
  rivven produce orders 'first order' --key 4711
  rivven topic describe orders
  rivven consume orders --follow --group billing
  rivven group describe billing --brokers broker-1:9092,broker-2:9092
  rivven group reset-offsets billing --topic orders --to-earliest
  rivven log verify --data-dir ./data
  rivven completions bash > /etc/bash_completion.d/rivven

`rivven help topic create` explains a command with examples.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes records: an argument, a file or stdin.
    #[command(after_long_help = produce::PRODUCE_EXAMPLES)]
    Produce(ProduceArguments),
    /// Reads records and prints them, alone or as a member of a group.
    #[command(after_long_help = consume::CONSUME_EXAMPLES)]
    Consume(ConsumeArguments),
    /// Topics: create, list, describe, delete, settings, more partitions.
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Consumer groups: list, describe with lag, reset offsets, delete.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Shows the cluster: its id, its brokers, what they lead and hold.
    Cluster(ClusterArguments),
    /// Measures how long a broker takes to answer.
    #[command(after_long_help = cluster::PING_EXAMPLES)]
    Ping(PingArguments),
    /// Loads a broker and measures it.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Looks at logs on disk, without a broker.
    #[command(subcommand)]
    Log(LogCommand),
    /// Prints completions for a shell.
    Completions { shell: Shell },
}

impl Command {
    /// Whether one thread would be what it measures.
    pub(crate) fn wants_threads(&self) -> bool {
        matches!(self, Command::Bench(_))
    }

    pub(crate) fn is_json(&self) -> bool {
        match self {
            Command::Produce(arguments) => arguments.connection.json,
            Command::Consume(arguments) => arguments.connection.json,
            Command::Topic(command) => command.connection().json,
            Command::Group(command) => command.connection().json,
            Command::Bench(command) => command.connection().json,
            Command::Cluster(arguments) => arguments.connection.json,
            Command::Ping(arguments) => arguments.connection.json,
            Command::Log(LogCommand::Verify(arguments)) => arguments.json,
            Command::Log(LogCommand::Dump(arguments)) => arguments.json,
            Command::Completions { .. } => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Verifies the data directory of a stopped broker.
    #[command(long_about = VERIFY_ABOUT, after_long_help = VERIFY_EXAMPLES)]
    Verify(VerifyArguments),
    /// Prints what stands in one file of a data directory.
    #[command(long_about = DUMP_ABOUT, after_long_help = DUMP_EXAMPLES)]
    Dump(DumpArguments),
}

const VERIFY_ABOUT: &str = "\
Verifies the data directory of a stopped broker. It changes nothing.

Reads both checkpoints, replays the write-ahead log in memory as a start would, and holds every
segment to them: the CRC of each batch, offsets without gaps, lengths, indexes, and files that
belong to nothing. The broker must be stopped: the directory is locked meanwhile.

An error is damage. A warning is what a start repairs, such as a torn checkpoint beside a whole
one or a damaged index. A note is what a stop or a crash leaves behind and a start removes.";

const VERIFY_EXAMPLES: &str = "\
Exit codes:
  0  nothing is damaged (there may be warnings and notes)
  1  something is damaged; the table says what
  2  the arguments are wrong
  3  the directory cannot be opened: there is none, a broker has it open, or it is not ours

Examples:
  rivven log verify --data-dir ./data
  rivven log verify --data-dir ./data --json | jq '.findings[] | select(.severity == \"error\")'";

/// `rivven log verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Directory that the broker was started with.
    #[arg(long, value_name = "DIR", env = "RIVVEN_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Print the result as one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

const DUMP_ABOUT: &str = "\
Prints what stands in one file of a data directory: a segment (.log), its indexes (.idx,
.timeindex), a file of the write-ahead log (.wal) or a checkpoint. The content decides what it
is, so a copy under another name is fine. Damaged places are named and passed over. A broker that
is running may go on writing to its files meanwhile.";

const DUMP_EXAMPLES: &str = "\
Exit codes:
  0  all of it could be read
  1  a part of it is damaged
  2  the arguments are wrong
  3  the file cannot be opened, or it is none of a broker's

In JSON, bytes that are no UTF-8 stand in base64 under another name: key_base64, value_base64.

Examples:
  rivven log dump data/topics/orders/partition-0/00000000000000000000.log
  rivven log dump --records --from 4711 --max 1 .../00000000000000000000.log
  rivven log dump --json data/checkpoint.a | jq .";

/// `rivven log dump`.
#[derive(Debug, Args)]
pub(crate) struct DumpArguments {
    pub(crate) file: PathBuf,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the records of each batch, too; compressed ones are unpacked.
    #[arg(long)]
    pub(crate) records: bool,
    /// Begin at the batch or entry that holds this offset; of a WAL file, at this commit.
    ///
    /// A checkpoint and a .timeindex are printed from their beginning.
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    pub(crate) from: i64,
    /// Print at most so many batches, entries or commits.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    pub(crate) max: u64,
}
