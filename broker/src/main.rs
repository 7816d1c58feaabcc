//! The `rivvend` program: signals, the runtime, logging to stderr, and the ready line.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use rivven_broker::config::{self, Config, ConfigError, DEFAULT_FILE, Effective, Flags, LogFormat};
use rivven_broker::lifecycle::Broker;
use rivven_io::Env;
use tokio::signal::unix::{SignalKind, signal};

const BAD_CONFIGURATION: u8 = 2;
const STORAGE_FAILED: u8 = 4;

fn main() -> ExitCode {
    let flags = match Flags::parse(std::env::args_os()) {
        Ok(flags) => flags,
        Err(ConfigError::Flags(error)) => error.exit(),
        Err(error) => return refused(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refused(&error),
    };
    let code = runtime.block_on(run(flags));
    // Nothing of value is left to wait for: storage has ended, or has failed.
    runtime.shutdown_background();
    code
}

fn refused(error: &dyn std::fmt::Display) -> ExitCode {
    say_refused(error);
    ExitCode::from(BAD_CONFIGURATION)
}

/// For people. That nobody can read it is no reason to end with another code.
fn say_refused(error: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "rivvend: {error}");
}

async fn run(flags: Flags) -> ExitCode {
    let env = Env::real();
    let mut effective = match configure(&env, &flags).await {
        Ok(effective) => effective,
        Err(error) => return refused(&error),
    };
    if flags.print {
        print!("{}", effective.print());
        return ExitCode::SUCCESS;
    }
    begin_log(&effective.config);
    effective.config.open_files_max =
        usize::try_from(Env::raise_open_files_limit()).unwrap_or(usize::MAX);
    serve(env, effective).await
}

fn begin_log(config: &Config) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(&config.log_level)
        .with_writer(std::io::stderr)
        // It would be reported on stderr, too, with a panic: a log on the disk that is full must
        // not end the broker.
        .log_internal_errors(false)
        .with_ansi(false);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

async fn configure(env: &Env, flags: &Flags) -> Result<Effective, ConfigError> {
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let named = flags.file.clone().or_else(|| variables.get("RIVVEN_CONFIG").map(Into::into));
    let path = named.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let name = path.display().to_string();
    let text = config::read_file(env, &path, named.is_some()).await?;
    config::effective(flags, &variables, text.as_deref().map(|text| (name.as_str(), text)))
}

async fn serve(env: Env, effective: Effective) -> ExitCode {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return refused(&"cannot wait for signals");
    };
    let log_format = effective.config.log_format;
    let broker = match Broker::start(env, effective.config).await {
        Ok(broker) => broker,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            // The log may be filtered; whoever reads it as JSON must not meet another line.
            if log_format == LogFormat::Text {
                say_refused(&error);
            }
            return ExitCode::from(error.exit_code());
        }
    };
    say_ready(&broker);
    tokio::select! {
        biased;
        failure = broker.failed() => {
            tracing::error!(%failure, "ending");
            return ExitCode::from(STORAGE_FAILED);
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    match broker.shutdown().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(%failure, "ending");
            ExitCode::from(STORAGE_FAILED)
        }
    }
}

/// The one line on stdout. That nobody reads it is no reason to end.
fn say_ready(broker: &Broker) {
    let kafka: Vec<String> = broker.kafka_addrs().iter().map(ToString::to_string).collect();
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(
        stdout,
        "ready kafka={} http={} recovered={} ms={}",
        kafka.join(","),
        broker.http_addr(),
        broker.recovered_batches(),
        broker.start_time().as_millis()
    );
    let _ = stdout.flush();
}
