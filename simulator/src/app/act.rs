//! One seed of an application's story.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rivven_io::sim::World;

use super::{App, nodes};
use crate::history::History;
use crate::oracles::Violation;
use crate::plan::{Plan, SERVER};
use crate::run::outcome::Outcome;
use crate::run::supervisor::Supervisor;
use crate::run::{JUDGE, Records, Run, SET_UP, Sums, heal, link, panics_of, server};
use crate::workload::Stop;

/// The property that an application breaks.
pub(super) const APPLICATION: &str = "application";

pub(super) fn act<F, Fut>(
    plan: &Plan,
    records: &Records,
    (processes, kills_per_minute): (&[String], u64),
    story: &F,
) -> Result<Run, String>
where
    F: Fn(App) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let world = World::new(plan.seed);
    if let Some(path) = &records.trace {
        world.trace_to(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let own = world.node(JUDGE);
    let app = App {
        env: own.env(),
        broker: SocketAddr::new(world.node(SERVER).ip(), server::PORT),
        seed: plan.seed,
        kills_per_minute,
        nodes: Arc::new(nodes(processes, |id| world.node(id))),
        running: Arc::default(),
        healed: Arc::new(Stop::new()),
    };
    let history = Arc::new(History::timed_by(own.env().clock));
    let mut supervisor = Supervisor::alone(&world, plan, &history);
    world.run(play((&world, plan), &mut supervisor, app, story));
    world.flush_trace().map_err(|error| format!("the trace cannot be written: {error}"))?;
    let Supervisor { tally, violations, .. } = supervisor;
    let mut found = panics_of(&world, plan, APPLICATION);
    found.extend(violations);
    let operations_acked = history.acked_operations();
    let sums = Sums { operations_acked, tally, ..Sums::default() };
    let outcome = Outcome::of(&world, plan, (found, sums));
    Ok(Run { outcome, histories: vec![history] })
}

async fn play<F, Fut>(
    (world, plan): (&World, &Plan),
    supervisor: &mut Supervisor<'_>,
    app: App,
    story: &F,
) where
    F: Fn(App) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    world.net().set_all(&link(plan));
    supervisor.set_offsets();
    supervisor.start();
    if !supervisor.pass_until_ready(SET_UP).await {
        supervisor.violate("liveness", "the broker does not serve on an empty disk".to_owned());
        return;
    }
    let clock = app.env.clock.clone();
    let mut task = Box::pin(world.node(JUDGE).spawn(story(app.clone())));
    supervisor.schedule_faults();
    let faults = Duration::from_secs(plan.seconds);
    // A panic of the story is in the world's list of panics.
    if supervisor.pass_while(clock.timeout(faults, &mut task)).await.is_ok() {
        return;
    }
    if !heal(supervisor, plan).await {
        if supervisor.refused {
            // Rightly, but then the story proves nothing.
            let text = "the faults damaged what only one disk had, and the broker does not start";
            supervisor.violate("exit", text.to_owned());
        }
        return;
    }
    app.healed.give();
    let within = Duration::from_secs(plan.liveness_seconds);
    if supervisor.pass_while(clock.timeout(within, &mut task)).await.is_err() {
        let text = format!("the story does not end {} s after the faults", within.as_secs());
        let at_ns = supervisor.now_us() * 1_000;
        let property = APPLICATION.to_owned();
        supervisor.violations.push(Violation { property, at_ns, node: JUDGE, text });
    }
}
