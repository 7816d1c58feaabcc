//! A seed is one run: two processes do the same.

use crate::harness::outcome;

#[test]
fn a_seed_gives_the_same_run_twice() {
    for (scenario, seed) in
        [("power_cuts", 3), ("connection_resets", 4), ("delete_recreate", 5), ("neighbours", 6)]
    {
        assert_eq!(outcome(scenario, seed, ""), outcome(scenario, seed, ""), "{scenario}");
    }
}

#[test]
fn seeds_give_different_runs() {
    let hash = |seed| outcome("power_cuts", seed, "").trace_hash;
    assert_ne!(hash(1), hash(2));
}
