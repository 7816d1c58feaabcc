//! Kept plans: each found something once. A plan that names a planted bug must find it still, and
//! every plan must pass without one.

use std::path::PathBuf;

use rivven_simulator::plan::Plan;
use rivven_simulator::planted::ALL;
use rivven_simulator::run::Records;
use rivven_simulator::run::outcome::Verdict;

use crate::harness::{explain, run};

#[expect(clippy::disallowed_methods, reason = "the test reads the plans of the repository")]
fn plans() -> Vec<(PathBuf, Plan)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let plan = Plan::from_toml(&std::fs::read_to_string(&path).unwrap());
        (path.clone(), plan.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn kept_plans_find_what_they_found_and_nothing_else() {
    let plans = plans();
    assert!(!plans.is_empty());
    for (path, mut plan) in plans {
        if let Some(bug) = ALL.iter().find(|bug| bug.id == plan.planted) {
            let outcome = run(&plan, Records::default()).outcome;
            let named = |property: &str| bug.oracles.contains(&property);
            let found = outcome.violations.iter().any(|violation| named(&violation.property));
            assert!(found, "{} does not find {} any more", path.display(), bug.id);
        }
        plan.planted.clear();
        let outcome = run(&plan, Records::default()).outcome;
        assert!(outcome.verdict() == Verdict::Pass, "{}: {}", path.display(), explain(&outcome));
    }
}
