//! The `simulator` command: runs scenarios over seeds, replays one, shrinks one, and checks
//! determinism.
//! It runs on the real machine: it starts a child process for each run, and writes what they left.
#![expect(
    clippy::disallowed_methods,
    reason = "the parent process reads real files and real time; runs happen in its children"
)]

mod args;
mod artefacts;
mod meta;
mod mutants;
mod outlook;
mod replay;
mod selection;
mod shrink;
mod sweep;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

/// Exit code of a mistake of the simulator, or of its user.
const EXIT_HARNESS: u8 = 4;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Command::Child = args.command {
        rivven_simulator::launch::serve();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(async {
            match args.command {
                Command::Run(run) => sweep::sweep(run).await,
                Command::Replay(replay) => replay::replay(replay).await,
                Command::Shrink(shrink) => shrink::shrink(shrink).await,
                Command::Meta(meta) => meta::meta(meta).await,
                Command::Mutants(mutants) => mutants::mutants(mutants).await,
                Command::Child => unreachable!("a child never returns"),
            }
        })
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(reason) => {
            eprintln!("simulator: {reason}");
            ExitCode::from(EXIT_HARNESS)
        }
    }
}
