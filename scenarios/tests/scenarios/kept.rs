//! Every scenario keeps its promises.

use std::ops::Range;

use rivven_simulator::run::outcome::Verdict;
use rivven_simulator::scenario::registry;

use crate::harness::{explain, outcome};

/// Seeds of all scenarios together, unless `SIM_SEEDS` says more.
const SEEDS: u64 = 210;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

fn seeds() -> Range<u64> {
    match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let scenarios = registry::all().len() as u64;
            0..number("SIM_SEEDS").unwrap_or(SEEDS).div_ceil(scenarios)
        }
    }
}

fn keeps_its_promises(scenario: &str) {
    for seed in seeds() {
        let outcome = outcome(scenario, seed, "");
        assert!(outcome.verdict() == Verdict::Pass, "{}", explain(&outcome));
        assert!(outcome.simulated_ms >= 60_000, "{outcome:?}");
    }
}

macro_rules! every_scenario {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                keeps_its_promises(stringify!($name));
            }
        )*

        #[test]
        fn every_scenario_has_its_test() {
            let tested = [$(stringify!($name)),*];
            let known: Vec<&str> =
                registry::all().iter().map(|scenario| scenario.name.as_str()).collect();
            assert_eq!(known, tested);
        }
    };
}

every_scenario![
    power_cuts,
    kill_storm,
    torn_reordered,
    shorn_pages,
    full_disk,
    fsync_failure,
    stalled_disk,
    crash_in_recovery,
    crash_in_checkpoint_retention,
    restart_loop,
    compaction,
    compaction_packed,
    compaction_rot,
    compaction_in_trouble,
    bit_rot,
    wal_rot,
    lying_disk,
    extreme_knobs,
    vanishing_disk,
    old_disk,
    connection_resets,
    retry_other_connection,
    client_library,
    native_clients,
    partitions,
    slow_links,
    late_duplicates,
    clocks,
    pauses,
    long_pauses,
    slow_cpu,
    neighbours,
    delete_recreate,
    deserted_changes,
    changing_knobs,
    group_members,
    library_members,
    topics_come_and_go,
    groups_on_bad_disks,
    extreme_group_knobs,
    overload,
];
