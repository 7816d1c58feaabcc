//! The `rivven` command: arguments, the runtime, and the exit code.

mod arguments;
mod bench;
mod cluster;
mod consume;
mod dump;
mod failure;
mod format;
mod group;
mod interrupt;
mod output;
mod ping;
mod produce;
mod session;
mod table;
mod time;
mod topic;
mod verify;
mod watched;
mod writer;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use rivven_io::Env;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::arguments::{Arguments, Command, LogCommand};
use crate::failure::CommandError;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// What a command ended with.
pub(crate) enum Outcome {
    Clean,
    /// Damage was found.
    Findings,
    /// By a signal; the exit code.
    Interrupted(u8),
}

const FINDINGS: u8 = 1;
/// 128 and the number of the signal, as shells have it.
const BY_SIGINT: u8 = 130;
const BY_SIGTERM: u8 = 143;
/// For a command that was told to end at once, before the process is ended under it.
const GRACE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    say_warnings();
    match run(arguments.command) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(FINDINGS),
        Ok(Outcome::Interrupted(code)) => ExitCode::from(code),
        // Whoever reads the output has seen enough.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

/// A sentence for people. Brokers have a part in some, and a terminal must not act on it.
pub(crate) fn say(sentence: &str) {
    for line in sentence.lines() {
        // That nobody reads it changes nothing.
        let _ = writeln!(io::stderr(), "rivven: {}", table::printable(line));
    }
}

/// What the client library notices and no result tells, such as positions that jump.
fn say_warnings() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(io::stderr)
        .with_ansi(console::colors_enabled_stderr())
        .with_target(false)
        .without_time();
    subscriber.init();
}

fn run(command: Command) -> Result<Outcome, CommandError> {
    // It is not locked: `consume` writes beside it.
    let mut stdout = io::BufWriter::new(io::stdout());
    if let Command::Completions { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "rivven", &mut script);
        stdout.write_all(&script)?;
        stdout.flush()?;
        return Ok(Outcome::Clean);
    }
    // The command's own thread may wait for a reader of its output; heartbeats and signals go on.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if !command.wants_threads() {
        builder.worker_threads(1);
    }
    let no_runtime = |error| CommandError::CannotOpen(format!("no runtime: {error}"));
    let runtime = builder.enable_all().build().map_err(no_runtime)?;
    let mut output = Output::new(&mut stdout, command.is_json());
    let outcome = runtime.block_on(until_signalled(&command, &mut output));
    // A look-up of a name that nobody answers must not keep the command.
    runtime.shutdown_background();
    outcome
}

/// A request that was sent is carried out, the rest is not sent. Who has something to finish is
/// let, until the second signal.
async fn until_signalled(
    command: &Command,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let (env, interrupt) = (Env::real(), Interrupt::default());
    let signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    let heeding = heed(env.clone(), interrupt.clone(), signals);
    drop(env.tasks.spawn("signals", heeding));
    let outcome = tokio::select! {
        biased;
        outcome = dispatch(&env, (command, &interrupt), output) => outcome?,
        () = interrupt.insisted() => interrupt.outcome(),
    };
    output.flush()?;
    Ok(outcome)
}

/// A task of its own: the command's thread may be inside a write that nobody reads.
async fn heed(env: Env, interrupt: Interrupt, [mut by_person, mut by_program]: [Signal; 2]) {
    loop {
        let code = tokio::select! {
            biased;
            Some(()) = by_person.recv() => BY_SIGINT,
            Some(()) = by_program.recv() => BY_SIGTERM,
            else => return,
        };
        if interrupt.raise(code) && interrupt.is_held() {
            continue;
        }
        interrupt.insist();
        env.clock.sleep(GRACE).await;
        std::process::exit(code.into());
    }
}

async fn dispatch(
    env: &Env,
    (command, interrupt): (&Command, &Interrupt),
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    match command {
        Command::Produce(arguments) => produce::run(env, (arguments, interrupt), output).await,
        Command::Consume(arguments) => consume::run(env, (arguments, interrupt)).await,
        Command::Topic(command) => topic::run(env, command, output).await,
        Command::Group(command) => group::run(env, command, output).await,
        Command::Cluster(arguments) => cluster::run(env, arguments, output).await,
        Command::Bench(command) => bench::run(env, (command, interrupt), output).await,
        Command::Ping(arguments) => ping::run(env, (arguments, interrupt), output).await,
        Command::Log(LogCommand::Verify(arguments)) => verify::run(env, arguments, output).await,
        Command::Log(LogCommand::Dump(arguments)) => dump::run(env, arguments, output).await,
        Command::Completions { .. } => Ok(Outcome::Clean),
    }
}
