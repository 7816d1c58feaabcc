//! Every kind of fault of network, clocks and processes changes something in the scenario that is
//! there for it.

use crate::harness::outcome;

/// Seeds in which a kind may be off, or hit nothing.
const SEEDS: u64 = 6;

#[test]
fn faults_of_network_clocks_and_processes_change_something() {
    let cases: [(&str, &[&str]); 6] = [
        ("partitions", &["N4", "N5", "N6", "N8"]),
        ("slow_links", &["N4", "N9"]),
        ("late_duplicates", &["N2", "N10"]),
        ("clocks", &["C1", "C2", "C3"]),
        ("pauses", &["P4"]),
        ("slow_cpu", &["P8", "P9"]),
    ];
    for (scenario, numbers) in cases {
        let mut missing: Vec<&str> = numbers.to_vec();
        for seed in 0..SEEDS {
            if missing.is_empty() {
                break;
            }
            let effective = outcome(scenario, seed, "").faults_effective;
            missing.retain(|number| !effective.contains_key(*number));
        }
        assert!(missing.is_empty(), "{scenario}: {missing:?} changed nothing in {SEEDS} seeds");
    }
}
