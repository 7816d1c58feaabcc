//! Load of `scripts/groups-perf`: members of one group, commits beside produce requests, many idle
//! groups, a topic with few live keys. Each command prints one JSON document.

mod acks;
mod consumers;
mod fill;
mod members;
mod peer;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

/// Nobody decides by what went wrong: it is printed, and the measurement is void.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// How long a group takes to settle, at first and when one member comes and goes.
    Settle(SettleArguments),
    /// What commits and produce requests of one record take at a rate, in turns.
    Acks(AcksArguments),
    /// Commits offsets for many groups in which nobody is.
    Groups(GroupsArguments),
    /// Writes a topic in which each key stands several times.
    Keyed(KeyedArguments),
}

#[derive(Args)]
struct SettleArguments {
    #[arg(long)]
    broker: SocketAddr,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    partitions: i32,
    #[arg(long)]
    members: usize,
    #[arg(long)]
    heartbeat_ms: u64,
    /// Through whole consumers of the client library; else the requests of the protocol alone.
    #[arg(long)]
    consumers: bool,
}

#[derive(Args)]
struct AcksArguments {
    #[arg(long)]
    broker: SocketAddr,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 4)]
    connections: u32,
    /// Requests a second over all connections.
    #[arg(long)]
    rate: u32,
    #[arg(long)]
    seconds: f64,
}

#[derive(Args)]
struct GroupsArguments {
    #[arg(long)]
    broker: SocketAddr,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    groups: u32,
    /// Partitions of the topic, of all of which each group has an offset.
    #[arg(long)]
    partitions: i32,
    /// Only asks what the last group has committed, until it is told.
    #[arg(long)]
    ask: bool,
}

#[derive(Args)]
struct KeyedArguments {
    #[arg(long)]
    broker: SocketAddr,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    mib: u64,
    /// How many of a hundred records are the last of their key.
    #[arg(long)]
    live_percent: u64,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("group-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome<Value> {
    match command {
        Command::Settle(arguments) => settle(arguments),
        Command::Acks(arguments) => acks::run(&arguments),
        Command::Groups(arguments) if arguments.ask => fill::ask(&arguments),
        Command::Groups(arguments) => fill::groups(&arguments),
        Command::Keyed(arguments) => fill::keyed(&arguments),
    }
}

fn settle(arguments: SettleArguments) -> Outcome<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let heartbeat = Duration::from_millis(arguments.heartbeat_ms);
    let outcome = match arguments.consumers {
        true => runtime.block_on(consumers::run(&arguments, heartbeat)),
        false => runtime.block_on(members::run(arguments, heartbeat)),
    };
    // What is left waits for answers that nobody needs.
    runtime.shutdown_background();
    outcome
}
