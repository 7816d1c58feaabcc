//! The `simulator` command: runs scenarios over seeds, replays one, shrinks one, checks
//! determinism, and says what all that reaches.
//! It runs on the real machine: it starts a child process for each run, and writes what they left.
#![expect(
    clippy::disallowed_methods,
    reason = "the parent process reads real files and real time; runs happen in its children"
)]

mod args;
mod artefacts;
mod build_id;
mod cover;
mod failing;
mod interrupt;
mod meta;
mod mutants;
mod out;
mod outlook;
mod output;
mod replay;
mod selection;
mod shrink;
mod soak;
mod sweep;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::out::{EXIT_CLOSED, note};

/// Exit code of a mistake of the simulator, or of its user.
const EXIT_HARNESS: u8 = 4;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(asked) => {
            // Nobody is left to tell if this does not get out.
            let _ = asked.print();
            return ExitCode::from(if asked.use_stderr() { EXIT_HARNESS } else { 0 });
        }
    };
    if let Command::Child = args.command {
        rivven_simulator::launch::serve();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let code = runtime.block_on(serve(args.command));
        // What still runs on it owns children, which end with it.
        drop(runtime);
        code
    });
    match result {
        Ok(0 | EXIT_CLOSED) if out::has_failed() => ExitCode::from(EXIT_HARNESS),
        Ok(code) => ExitCode::from(code),
        Err(reason) => {
            note!("simulator: {reason}");
            ExitCode::from(EXIT_HARNESS)
        }
    }
}

/// Those that have sums deal with signals themselves; the others end at once.
async fn serve(command: Command) -> Result<u8, String> {
    let command = match command {
        Command::Run(run) => return sweep::sweep(run).await,
        Command::Cover(cover) => return cover::cover(cover).await,
        Command::Soak(soak) => return soak::soak(soak).await,
        command => command,
    };
    let work = async {
        match command {
            Command::Replay(replay) => replay::replay(replay).await,
            Command::Shrink(shrink) => shrink::shrink(shrink).await,
            Command::Meta(meta) => meta::meta(meta).await,
            Command::Mutants(mutants) => mutants::mutants(mutants).await,
            _ => unreachable!("a child never returns, the others have"),
        }
    };
    tokio::select! {
        biased;
        signal = interrupt::interrupted() => {
            if signal != EXIT_CLOSED {
                note!("simulator: interrupted");
            }
            Ok(signal)
        }
        result = work => result,
    }
}
