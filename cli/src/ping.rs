//! `rivven ping`: round trips over one connection.

use std::time::Duration;

use rivven_client::connection::Connection;
use rivven_client::{Lane, Target};
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::api_versions::ApiVersionsRequest;
use rivven_io::Env;
use serde_json::json;

use crate::arguments::cluster::PingArguments;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::session::Session;
use crate::time::shown;
use crate::{CommandError, Outcome};

pub(crate) async fn run(
    env: &Env,
    (arguments, interrupt): (&PingArguments, &Interrupt),
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let begun = env.clock.now();
    let session = Session::open(env, &arguments.connection).await?;
    let connecting = env.clock.now().since(begun);
    let (connection, peer) = session.client.connect(Target::Any, Lane::Admin).await?;
    output.text(&format!("connected to {peer} in {}", shown(connecting)))?;
    output.flush()?;
    interrupt.hold();
    let mut times = Vec::new();
    let pinged = tokio::select! {
        biased;
        () = interrupt.raised() => Ok(()),
        pinged = ping((env, arguments), &connection, (&mut times, output)) => pinged,
    };
    // What came is told, whatever ended it.
    if !times.is_empty() {
        summary(&peer, &mut times, output)?;
    }
    pinged.map_err(|error| match error {
        CommandError::Failed(text) => {
            CommandError::Failed(format!("{peer} after {} answers: {text}", times.len()))
        }
        other => other,
    })?;
    Ok(interrupt.outcome())
}

async fn ping(
    (env, arguments): (&Env, &PingArguments),
    connection: &Connection,
    (times, output): (&mut Vec<Duration>, &mut Output<'_>),
) -> Result<(), CommandError> {
    let request = ApiVersionsRequest {
        client_software_name: WireStr::from_static("rivven-cli"),
        client_software_version: WireStr::from_static(env!("CARGO_PKG_VERSION")),
    };
    for number in 1..=arguments.count {
        let asked = env.clock.now();
        let answer = connection.call(&request, arguments.connection.timeout).await;
        let time = env.clock.now().since(asked);
        answer.map_err(|error| CommandError::Failed(error.to_string()))?;
        times.push(time);
        output.item(
            || json!({ "number": number, "us": micros(time) }),
            || format!("{number}: {}", shown(time)),
        )?;
        output.flush()?;
        if number < arguments.count {
            env.clock.sleep(arguments.interval).await;
        }
    }
    Ok(())
}

fn summary(
    peer: &str,
    times: &mut [Duration],
    output: &mut Output<'_>,
) -> Result<(), CommandError> {
    times.sort();
    let at = |percent| percentile(times, percent);
    let (min, max) = (at(0), at(100));
    output.item(
        || {
            json!({
                "peer": peer,
                "count": times.len(),
                "min_us": micros(min),
                "p50_us": micros(at(50)),
                "p90_us": micros(at(90)),
                "p99_us": micros(at(99)),
                "max_us": micros(max),
            })
        },
        || {
            format!(
                "{} answers: least {}, p50 {}, p90 {}, p99 {}, most {}",
                times.len(),
                shown(min),
                shown(at(50)),
                shown(at(90)),
                shown(at(99)),
                shown(max)
            )
        },
    )?;
    Ok(())
}

/// The least time that so many percent do not exceed, of sorted times.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        for (percent, wanted) in [(0, 1), (1, 2), (50, 100), (99, 198), (100, 200)] {
            assert_eq!(percentile(&times, percent), Duration::from_millis(wanted), "{percent}");
        }
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
