//! `rivven bench`: load and what it costs.

mod consume;
mod histogram;
mod produce;
mod report;

use rivven_io::Env;

use crate::arguments::bench::BenchCommand;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::{CommandError, Outcome};

pub(crate) async fn run(
    env: &Env,
    (command, interrupt): (&BenchCommand, &Interrupt),
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    match command {
        BenchCommand::Consume(arguments) => consume::run(env, (arguments, interrupt), output).await,
        BenchCommand::Produce(arguments) => produce::run(env, (arguments, interrupt), output).await,
    }
}
