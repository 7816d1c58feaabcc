//! The `rivven` command: arguments, the runtime, and the exit code.

mod arguments;
mod dump;
mod output;
mod verify;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use rivven_io::Env;

use crate::arguments::{Arguments, Command, LogCommand};
use crate::output::Output;

/// What a command ended with.
pub(crate) enum Outcome {
    Clean,
    /// Damage was found.
    Findings,
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{0}")]
    CannotOpen(String),
    #[error("writing the output: {0}")]
    Output(#[from] io::Error),
}

const FINDINGS: u8 = 1;
const CANNOT_OPEN: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(FINDINGS),
        // Whoever reads the output has seen enough.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("rivven: {error}");
            ExitCode::from(CANNOT_OPEN)
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
        Command::Log(log) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| CommandError::CannotOpen(format!("no runtime: {error}")))?;
            runtime.block_on(async {
                let env = Env::real();
                match log {
                    LogCommand::Verify(verify) => {
                        let mut output = Output::new(&mut stdout, verify.json);
                        verify::run(&env, &verify, &mut output).await
                    }
                    LogCommand::Dump(dump) => {
                        let mut output = Output::new(&mut stdout, dump.json);
                        dump::run(&env, &dump, &mut output).await
                    }
                }
            })?
        }
    };
    stdout.flush()?;
    Ok(outcome)
}
