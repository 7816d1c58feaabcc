//! How to reach brokers, and the commands about them.

use std::time::Duration;

use clap::Args;

use crate::time::parse_duration;

/// Whom a command talks to, how patient it is, and how it answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection and output")]
pub(crate) struct ConnectionArguments {
    /// Brokers to begin with, host:port, separated by commas.
    #[arg(
        short = 'b',
        long,
        short_alias = 's',
        aliases = ["server", "bootstrap-server"],
        value_name = "HOST:PORT",
        env = "RIVVEN_BROKERS",
        default_value = "127.0.0.1:9092"
    )]
    pub(crate) brokers: String,
    /// How long an operation may take with all its retries.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub(crate) timeout: Duration,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn timeout(text: &str) -> Result<Duration, String> {
    // A bare number means seconds, as in other tools.
    let duration = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => parse_duration(text)?,
    };
    let allowed = Duration::from_millis(1)..=Duration::from_secs(86_400);
    if allowed.contains(&duration) { Ok(duration) } else { Err("give 1ms to 1d".to_owned()) }
}

/// `rivven cluster`.
#[derive(Debug, Args)]
pub(crate) struct ClusterArguments {
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

pub(crate) const PING_EXAMPLES: &str = "\
Each round trip is one ApiVersions request over one connection; the time to connect is told apart.

Examples:
  rivven ping
  rivven ping --count 1000 --interval 0ms --json | jq .p99_us";

/// `rivven ping`.
#[derive(Debug, Args)]
pub(crate) struct PingArguments {
    /// How many times to ask.
    #[arg(short = 'c', long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,
    /// From one answer to the next question.
    #[arg(short = 'i', long, value_name = "TIME", default_value = "200ms")]
    #[arg(value_parser = parse_duration)]
    pub(crate) interval: Duration,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}
