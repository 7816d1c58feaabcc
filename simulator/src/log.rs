//! The log of a child: what the code under test says, as it says it.

use tracing_subscriber::EnvFilter;

/// Prints what `directives` (as of `RUST_LOG`) let through to standard error, for the life of the
/// process. It carries no time: that of the machine would differ from run to run.
pub(crate) fn to_stderr(directives: &str) {
    let filter = EnvFilter::new(directives);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.without_time().with_ansi(false).init();
}
