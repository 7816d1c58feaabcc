//! Which runs a command makes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rivven_simulator::launch::Launcher;
use rivven_simulator::plan::Plan;
use rivven_simulator::planted;
use rivven_simulator::scenario::{Scenario, registry};

use crate::args::{One, SeedRange, Select};

/// The built-in scenario of that name, or the one in that file.
pub(crate) fn scenario(name: &str) -> Result<Scenario, String> {
    if name.contains('/') || name.ends_with(".toml") {
        let text = read(Path::new(name))?;
        return Scenario::parse(name, &text).map_err(|error| error.to_string());
    }
    registry::find(name).cloned().map_err(|error| error.to_string())
}

pub(crate) fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The planted bug's id as it is registered; empty for none.
pub(crate) fn planted(id: Option<&str>) -> Result<String, String> {
    let Some(id) = id else { return Ok(String::new()) };
    match planted::ALL.iter().find(|bug| bug.id.eq_ignore_ascii_case(id)) {
        Some(bug) => Ok(bug.id.to_owned()),
        None => Err(format!("there is no planted bug {id}")),
    }
}

/// The plan of a seed, or without one the plan in a file, with a planted bug if one is named.
pub(crate) fn plan(one: &One) -> Result<Plan, String> {
    let One { what, seed, planted: bug } = one;
    let planted = planted(bug.as_deref())?;
    let mut plan = match seed {
        Some(seed) => Plan::draw(&scenario(what)?, *seed, ""),
        None => {
            let text = read(Path::new(what))
                .map_err(|error| format!("{error} (a scenario needs its --seed)"))?;
            Plan::from_toml(&text).map_err(|error| format!("{what}: {error}"))?
        }
    };
    if !planted.is_empty() {
        plan.planted = planted;
    }
    Ok(plan)
}

/// The plans of a selection, one after the other.
pub(crate) fn plans(
    select: &Select,
    planted: &str,
    time: Option<Duration>,
) -> Result<impl Iterator<Item = Plan> + Send + use<>, String> {
    let scenarios = match (&select.scenario, select.all) {
        (Some(name), _) => vec![scenario(name)?],
        (None, true) => registry::all().to_vec(),
        (None, false) => return Err("name a --scenario, or say --all".to_owned()),
    };
    let seeds = match (select.seed, select.seeds, time) {
        (Some(seed), ..) => SeedRange { from: seed, end: seed + 1 },
        (None, Some(seeds), _) => seeds,
        (None, None, Some(_)) => SeedRange { from: 0, end: u64::MAX },
        (None, None, None) => SeedRange { from: 0, end: 1 },
    };
    let began = Instant::now();
    let planted = planted.to_owned();
    let plans = (seeds.from..seeds.end).map(move |seed| {
        let turn = usize::try_from(seed % scenarios.len() as u64).unwrap_or(0);
        Plan::draw(&scenarios[turn], seed, &planted)
    });
    Ok(plans.take_while(move |_| time.is_none_or(|time| began.elapsed() < time)))
}

/// How many runs a selection is, if that is known.
pub(crate) fn count(select: &Select, time: Option<Duration>) -> Option<u64> {
    match (select.seed, select.seeds) {
        (Some(_), _) => Some(1),
        (None, Some(seeds)) => Some(seeds.end - seeds.from),
        (None, None) => time.is_none().then_some(1),
    }
}

/// Children of this very program, also when its file is replaced while it runs.
pub(crate) async fn launcher(watchdog: Duration) -> Result<Launcher, String> {
    let own = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    let program = if own.exists() { Ok(own) } else { std::env::current_exe() };
    let program = program.map_err(|error| format!("this program: {error}"))?;
    Ok(Launcher::new(vec![program.into(), "child".into()], watchdog).await)
}
