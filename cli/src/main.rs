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

use crate::arguments::{Arguments, Command, LogCommand};
use crate::failure::CommandError;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// What a command ended with.
pub(crate) enum Outcome {
    Clean,
    /// Damage was found.
    Findings,
    /// By Ctrl-C.
    Interrupted,
}

const FINDINGS: u8 = 1;
/// 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(FINDINGS),
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
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
            let runtime = builder
                .enable_all()
                .build()
                .map_err(|error| CommandError::CannotOpen(format!("no runtime: {error}")))?;
            let outcome = runtime.block_on(async {
                let env = Env::real();
                let mut output = Output::new(&mut stdout, command.is_json());
                let interrupt = Interrupt::default();
                let work = dispatch(&env, (&command, &interrupt), &mut output);
                let mut work = std::pin::pin!(work);
                loop {
                    tokio::select! {
                        biased;
                        outcome = &mut work => break outcome,
                        Ok(()) = tokio::signal::ctrl_c() => {
                            // A request that was sent is carried out, the rest is not sent. Who
                            // has something to finish is let, until the second time.
                            if !(command.finishes() && interrupt.raise()) {
                                break Ok(Outcome::Interrupted);
                            }
                        }
                    }
                }
            });
            // A look-up of a name that nobody answers must not keep the command.
            runtime.shutdown_background();
            outcome?
        }
    };
    stdout.flush()?;
    Ok(outcome)
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
