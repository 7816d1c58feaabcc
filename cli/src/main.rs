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

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use rivven_io::Env;
use tokio::signal::unix::{SignalKind, signal};

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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(FINDINGS),
        Ok(Outcome::Interrupted(code)) => ExitCode::from(code),
        // Whoever reads the output has seen enough.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // That nobody reads it changes nothing.
            let _ = writeln!(io::stderr(), "rivven: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<Outcome, CommandError> {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let outcome = match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "rivven", &mut script);
            stdout.write_all(&script)?;
            Outcome::Clean
        }
        command => {
            let mut builder = match command.wants_threads() {
                true => tokio::runtime::Builder::new_multi_thread(),
                false => tokio::runtime::Builder::new_current_thread(),
            };
            let no_runtime = |error| CommandError::CannotOpen(format!("no runtime: {error}"));
            let runtime = builder.enable_all().build().map_err(no_runtime)?;
            let mut output = Output::new(&mut stdout, command.is_json());
            let outcome = runtime.block_on(until_signalled(&command, &mut output));
            // A look-up of a name that nobody answers must not keep the command.
            runtime.shutdown_background();
            outcome?
        }
    };
    stdout.flush()?;
    Ok(outcome)
}

/// A request that was sent is carried out, the rest is not sent. Who has something to finish is
/// let, until the second signal.
async fn until_signalled(
    command: &Command,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let (env, interrupt) = (Env::real(), Interrupt::default());
    let (mut by_person, mut by_program) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut work = std::pin::pin!(dispatch(&env, (command, &interrupt), output));
    loop {
        let code = tokio::select! {
            biased;
            outcome = &mut work => return outcome,
            Some(()) = by_person.recv() => BY_SIGINT,
            Some(()) = by_program.recv() => BY_SIGTERM,
        };
        if !(interrupt.raise(code) && command.finishes()) {
            return Ok(Outcome::Interrupted(code));
        }
    }
}

async fn dispatch(
    env: &Env,
    (command, interrupt): (&Command, &Interrupt),
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    match command {
        Command::Produce(arguments) => produce::run(env, (arguments, interrupt), output).await,
        Command::Consume(arguments) => consume::run(env, (arguments, interrupt), output).await,
        Command::Topic(command) => topic::run(env, command, output).await,
        Command::Group(command) => group::run(env, command, output).await,
        Command::Cluster(arguments) => cluster::run(env, arguments, output).await,
        Command::Bench(command) => bench::run(env, (command, interrupt), output).await,
        Command::Ping(arguments) => ping::run(env, arguments, output).await,
        Command::Log(LogCommand::Verify(arguments)) => verify::run(env, arguments, output).await,
        Command::Log(LogCommand::Dump(arguments)) => dump::run(env, arguments, output).await,
        Command::Completions { .. } => Ok(Outcome::Clean),
    }
}
