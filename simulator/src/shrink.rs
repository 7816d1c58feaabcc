//! Shrinking: from a plan that breaks a property to a small one that breaks the same.
//!
//! ```text
//! run it ─► name its operations ─► cut its length ─► leave out faults, clients, topics, operations
//!        ─► smaller gaps, numbers, knobs ─► again, until nothing helps ─► confirm it thrice
//! ```

mod ddmin;
pub mod parts;
mod smaller;
mod trials;
pub mod words;

use std::time::Duration;

use rivven_io::Env;
use rivven_io::clock::Monotonic;

use crate::launch::{Job, Launcher, Report};
use crate::oracles::Violation;
use crate::plan::{Plan, SEED_MAX};
use crate::planted;
use crate::run::Records;
use crate::run::outcome::Outcome;
use crate::shrink::ddmin::Ddmin;
use crate::shrink::parts::{Part, name_operations, operations};
use crate::shrink::smaller::Way;
use crate::shrink::trials::Trials;

/// Properties that no oracle has.
const STUCK: &str = "stuck";
pub(crate) const HARNESS: &str = "harness";
/// Fresh processes in which the result must fail alike.
const CONFIRMATIONS: usize = 3;
/// Beyond this a result is large, and detours are tried.
const FAULTS_FEW: usize = 5;
const OPERATIONS_FEW: usize = 30;
/// A candidate may take so many times the real time of the plan that it comes from…
const PATIENCE_FACTOR: u32 = 10;
/// …and at least this: a busy machine may stop for a while.
const PATIENCE_MIN: Duration = Duration::from_secs(20);

/// How to shrink.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Real time after which no candidate is begun.
    pub budget: Duration,
    /// Candidates side by side.
    pub side_by_side: usize,
    /// The property that must stay broken; without one, the first that the plan breaks, of a
    /// planted bug the first of its own.
    pub property: Option<String>,
}

/// Where it stands.
pub struct Progress<'a> {
    pub plan: &'a Plan,
    /// What is being left out or made smaller.
    pub what: &'a str,
    /// The candidate that was begun last, of how many of this round.
    pub candidate: usize,
    pub candidates: usize,
    pub runs: u64,
}

/// A smaller plan.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub plan: Plan,
    /// What the property's oracle says of it.
    pub violation: Violation,
    pub before: Before,
    pub runs: u64,
    /// Whether nothing more can be left out, as opposed to the time that was up.
    pub is_minimal: bool,
    pub trace_hash: String,
}

/// What was shrunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    pub seed: u64,
    pub faults: usize,
    pub operations: usize,
}

/// Why there is no smaller plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShrinkError {
    #[error("the plan breaks no property: replay it, or take a seed that fails")]
    Passes,
    #[error("the plan does not break {wanted}; it breaks {broken}: ask for one of these")]
    OtherProperty { wanted: String, broken: String },
    #[error("the run does not end ({text}): look at it with replay and --log debug")]
    Hangs { text: String },
    #[error("the run cannot be judged ({text}): that is a mistake of the simulator, not of a plan")]
    Harness { text: String },
    #[error(
        "with its operations named one by one, the plan does not break {property} any more: its \
         failure hangs on the very moment; shrink another seed"
    )]
    Elusive { property: String },
    #[error("the shrunk plan breaks {property} in {broken} of {CONFIRMATIONS} fresh processes")]
    Unconfirmed { property: String, broken: usize },
}

/// Shrinks a plan; `told` hears of each candidate.
///
/// # Errors
/// If the plan does not break the property, or the result does not do so in three fresh processes.
pub async fn shrink(
    launcher: &Launcher,
    plan: &Plan,
    settings: &Settings,
    told: impl FnMut(&Progress<'_>),
) -> Result<Shrunk, ShrinkError> {
    let env = Env::real();
    let began = env.clock.now();
    let first = run(launcher, plan, true).await;
    let took = Duration::from_nanos(env.clock.now().0.saturating_sub(began.0));
    let property = property_of(plan, &first.outcome, settings.property.as_deref())?;
    let named = match operations(plan) {
        0 => name_operations(plan, &first.operations),
        _ => plan.clone(),
    };
    let before =
        Before { seed: plan.seed, faults: plan.faults.len(), operations: operations(&named) };
    let patience = (took * PATIENCE_FACTOR).max(PATIENCE_MIN);
    let times: (Monotonic, Duration) = (began.after(settings.budget), patience);
    let processes = (env, launcher.clone());
    let mut trials = Trials::new(processes, settings.side_by_side, &property, times);
    let mut broken = first.outcome.violations.iter();
    trials.bears_mistakes = broken.any(|violation| violation.property == HARNESS);
    let mut shrinker = Shrinker { plan: named, trials, told };
    if !shrinker.still_fails().await {
        return Err(ShrinkError::Elusive { property });
    }
    shrinker.run().await;
    let is_minimal = !shrinker.trials.is_over();
    let Shrinker { plan, trials, .. } = shrinker;
    let (violation, trace_hash) = confirm(launcher, &plan, &property).await?;
    let runs = trials.runs + 1 + CONFIRMATIONS as u64;
    Ok(Shrunk { plan, violation, before, runs, is_minimal, trace_hash })
}

async fn run(launcher: &Launcher, plan: &Plan, operations: bool) -> Report {
    let records = Records { operations, ..Records::default() };
    launcher.run(&Job { plan: plan.clone(), records, log: String::new() }).await
}

/// The property that shrinking keeps broken.
fn property_of(
    plan: &Plan,
    outcome: &Outcome,
    wanted: Option<&str>,
) -> Result<String, ShrinkError> {
    let said = |property: &str| {
        let mut violations = outcome.violations.iter();
        violations.find(|violation| violation.property == property).map(|found| found.text.clone())
    };
    if let Some(text) = said(STUCK) {
        return Err(ShrinkError::Hangs { text });
    }
    // A bug of the client library may show in its clients' panics, too: what counts is the rest.
    let broken = outcome.violations.iter().map(|violation| violation.property.as_str());
    let broken: Vec<&str> = broken.filter(|property| *property != HARNESS).collect();
    let Some(first) = broken.first() else {
        return Err(said(HARNESS).map_or(ShrinkError::Passes, |text| ShrinkError::Harness { text }));
    };
    if let Some(wanted) = wanted {
        let same = broken.iter().find(|property| property.eq_ignore_ascii_case(wanted));
        return same.map(|property| (*property).to_owned()).ok_or_else(|| {
            let mut broken: Vec<&str> = broken.clone();
            broken.sort_unstable();
            broken.dedup();
            let (wanted, broken) = (wanted.to_owned(), broken.join(", "));
            ShrinkError::OtherProperty { wanted, broken }
        });
    }
    let bug = planted::ALL.iter().find(|bug| bug.id == plan.planted);
    let own = bug.and_then(|bug| broken.iter().find(|property| bug.oracles.contains(property)));
    Ok((*own.unwrap_or(first)).to_owned())
}

/// Three fresh processes must give the same failing run.
async fn confirm(
    launcher: &Launcher,
    plan: &Plan,
    property: &str,
) -> Result<(Violation, String), ShrinkError> {
    let mut seen: Vec<(Violation, String)> = Vec::new();
    for _ in 0..CONFIRMATIONS {
        let Outcome { violations, trace_hash, .. } = run(launcher, plan, false).await.outcome;
        let violation = violations.into_iter().find(|violation| violation.property == property);
        seen.extend(violation.map(|violation| (violation, trace_hash)));
    }
    let alike = seen.iter().filter(|(_, hash)| *hash == seen[0].1).count();
    if alike < CONFIRMATIONS {
        return Err(ShrinkError::Unconfirmed { property: property.to_owned(), broken: alike });
    }
    Ok(seen.swap_remove(0))
}

/// What is tried when a result is large.
enum Detour {
    /// Without its faults this plan needs luck at the very end: they stay until few operations are
    /// left.
    OperationsFirst(Box<Plan>),
    /// Fewer operations may do as much if each writes more.
    Heavier,
    /// What one world needs luck for, another brings by itself.
    OtherWorlds,
}

/// In how many worlds a candidate is tried.
#[derive(Clone, Copy)]
enum Worlds {
    One,
    /// Several as long as much is left out at once.
    WhileCoarse,
    Several,
}

const WORLDS: usize = 6;
/// In so many the plan must fail once after its operations are named.
const WORLDS_AT_FIRST: usize = 20;
/// From the seed of a world to that of the next.
const NEXT_WORLD: u64 = 1_000_003;

/// The same plan on a disk and a network that draw other numbers; clients draw what they drew.
fn in_world(plan: Plan, seed: u64, world: usize) -> Plan {
    let seed = seed.wrapping_add(world as u64 * NEXT_WORLD) & SEED_MAX;
    Plan { seed, ..plan }
}

fn size(plan: &Plan) -> (usize, usize) {
    (operations(plan) + plan.faults.len(), plan.workload.clients.len())
}

struct Shrinker<F> {
    /// The smallest so far that fails.
    plan: Plan,
    trials: Trials,
    told: F,
}

impl<F: FnMut(&Progress<'_>)> Shrinker<F> {
    async fn run(&mut self) {
        let whole = self.trials.halve_time_left();
        self.simplify(Way::Length).await;
        let cut = Box::new(self.plan.clone());
        self.pass_by_pass().await;
        let mut was_cut_short = self.trials.is_over();
        self.trials.set_deadline(whole);
        for detour in [Detour::OperationsFirst(cut), Detour::Heavier, Detour::OtherWorlds] {
            if self.is_large() && !self.trials.is_over() {
                self.trials.halve_time_left();
                self.detour(detour).await;
                was_cut_short |= self.trials.is_over();
                self.trials.set_deadline(whole);
            }
        }
        if was_cut_short {
            self.pass_by_pass().await;
        }
    }

    /// All passes in turn, until none makes the plan smaller.
    async fn pass_by_pass(&mut self) {
        loop {
            let before = self.plan.clone();
            if self.plan.brokers > 1 {
                self.leave_out(Part::Brokers).await;
            }
            for part in [Part::Faults, Part::Clients, Part::Topics] {
                self.leave_out(part).await;
            }
            self.simplify(Way::Length).await;
            self.leave_out(Part::Operations).await;
            for way in [Way::Gaps, Way::Length, Way::Numbers, Way::Knobs] {
                self.simplify(way).await;
            }
            if self.plan == before || self.trials.is_over() {
                return;
            }
        }
    }

    fn is_large(&self) -> bool {
        self.plan.faults.len() > FAULTS_FEW || operations(&self.plan) > OPERATIONS_FEW
    }

    /// Goes on from a plan that is not smaller but may become so, and comes back if it does not.
    async fn detour(&mut self, detour: Detour) {
        let before = self.plan.clone();
        match detour {
            Detour::OperationsFirst(cut) => {
                self.plan = *cut;
                self.leave_out(Part::Operations).await;
            }
            Detour::Heavier => {
                self.simplify(Way::Weight).await;
                self.leave_out(Part::Operations).await;
            }
            Detour::OtherWorlds => {
                self.leave_out_in(Worlds::Several, Part::Faults).await;
                self.leave_out_in(Worlds::Several, Part::Operations).await;
            }
        }
        if size(&self.plan) < size(&before) {
            self.pass_by_pass().await;
        } else {
            self.plan = before;
        }
    }

    /// Whether the plan fails with its operations named, in its own world or another near it.
    async fn still_fails(&mut self) -> bool {
        let named = self.plan.clone();
        let candidate = |world| in_world(named.clone(), named.seed, world);
        match self.first_failing("operations named", WORLDS_AT_FIRST, candidate).await {
            Some((_, plan)) => {
                self.plan = plan;
                true
            }
            None => false,
        }
    }

    async fn leave_out(&mut self, part: Part) {
        let worlds = match part {
            // A broker's place is part of what its node draws.
            Part::Operations | Part::Brokers => Worlds::WhileCoarse,
            Part::Faults | Part::Clients | Part::Topics => Worlds::One,
        };
        self.leave_out_in(worlds, part).await;
    }

    /// Delta debugging over the pieces of one kind, in the plan's own world first.
    async fn leave_out_in(&mut self, worlds: Worlds, part: Part) {
        let whole = self.plan.clone();
        let mut ddmin = Ddmin::new(part.count(&whole));
        while !self.trials.is_over() && ddmin.candidates() > 0 {
            let count = ddmin.candidates();
            let worlds = match worlds {
                Worlds::Several => WORLDS,
                Worlds::WhileCoarse if ddmin.is_coarse() => WORLDS,
                Worlds::WhileCoarse | Worlds::One => 1,
            };
            let seed = self.plan.seed;
            let candidate = |index: usize| {
                let kept = part.keep(&whole, &ddmin.candidate(index % count));
                in_world(kept, seed, index / count)
            };
            match self.first_failing(part.name(), count * worlds, candidate).await {
                Some((index, plan)) => {
                    ddmin.fails(index % count);
                    self.plan = plan;
                }
                None if ddmin.none_fails() => {}
                None => return,
            }
        }
    }

    /// Takes each simpler plan that still fails, once through the list: each begins with what the
    /// ones before it brought.
    async fn simplify(&mut self, way: Way) {
        let mut done = 0;
        loop {
            let candidates = way.candidates(&self.plan);
            let rest = candidates.get(done..).unwrap_or_default();
            let candidate = |index: usize| rest[index].clone();
            match self.first_failing(way.name(), rest.len(), candidate).await {
                Some((index, plan)) => {
                    done += index;
                    self.plan = plan;
                }
                None => return,
            }
        }
    }

    async fn first_failing(
        &mut self,
        what: &str,
        count: usize,
        candidate: impl Fn(usize) -> Plan,
    ) -> Option<(usize, Plan)> {
        let Shrinker { plan, trials, told } = self;
        let runs = trials.runs;
        let progress = |index: usize| {
            let (candidate, candidates) = (index + 1, count);
            told(&Progress { plan, what, candidate, candidates, runs });
        };
        trials.first_failing(count, candidate, progress).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::registry;

    fn outcome(properties: &[&str]) -> Outcome {
        let plan = Plan::draw(registry::find("power_cuts").unwrap(), 1, "");
        let mut outcome = Outcome::without_run(&plan, "", String::new());
        outcome.violations = properties
            .iter()
            .map(|property| Violation {
                property: (*property).to_owned(),
                at_ns: 0,
                node: 1,
                text: "because".to_owned(),
            })
            .collect();
        outcome
    }

    #[test]
    fn the_property_is_the_one_asked_for_or_the_bugs_own_or_the_first() {
        let text = "because".to_owned();
        let other =
            ShrinkError::OtherProperty { wanted: "I2".to_owned(), broken: "I1, I42".to_owned() };
        for (planted, broken, wanted, found) in [
            ("", &["I42", "I1"][..], None, Ok("I42")),
            ("B01", &["I42", "I1"], None, Ok("I1")),
            ("B01", &["I42"], None, Ok("I42")),
            ("", &["I42", "I1"], Some("i1"), Ok("I1")),
            ("", &["I42", "I1", "I1"], Some("I2"), Err(other)),
            ("", &[], None, Err(ShrinkError::Passes)),
            ("", &["stuck"], None, Err(ShrinkError::Hangs { text: text.clone() })),
            ("", &["harness"], None, Err(ShrinkError::Harness { text })),
            ("", &["harness", "I1"], None, Ok("I1")),
        ] {
            let plan = Plan::draw(registry::find("power_cuts").unwrap(), 1, planted);
            let property = property_of(&plan, &outcome(broken), wanted);
            assert_eq!(property, found.map(str::to_owned), "{planted} {broken:?}");
        }
    }
}
