//! Every kind of fault of drives, network, clocks and processes changes something, and every
//! oracle has something to judge, in the scenario that is there for it.

use std::collections::BTreeSet;

use rivven_simulator::oracles::ORACLES;

use crate::harness::outcome;

/// Seeds in which a kind may be off, or hit nothing, and an oracle may have nothing to look at.
const SEEDS: u64 = 6;

#[test]
fn faults_of_drives_network_clocks_and_processes_change_something() {
    let cases: [(&str, &[&str]); 12] = [
        ("lying_disk", &["D6", "D7", "D8", "D9"]),
        ("vanishing_disk", &["D14"]),
        ("old_disk", &["D15"]),
        ("partitions", &["N4", "N5", "N6", "N8"]),
        ("slow_links", &["N4", "N9"]),
        ("late_duplicates", &["N2", "N10"]),
        ("clocks", &["C1", "C2", "C3"]),
        ("pauses", &["P4"]),
        ("slow_cpu", &["P8", "P9"]),
        ("neighbours", &["D16"]),
        ("changing_knobs", &["G1"]),
        ("overload", &["M2", "M4"]),
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

#[test]
fn every_oracle_judges_something() {
    let log = ["I1", "I2", "I3", "I10", "I11", "I12", "I13", "I14", "I42", "I45", "I46", "I47"];
    let cases: [(&str, &[&str]); 7] = [
        ("power_cuts", &log),
        ("group_members", &["I22", "I23", "I24", "I49"]),
        ("library_members", &["I25", "I26"]),
        ("compaction", &["I27", "I28"]),
        ("clocks", &["I50"]),
        ("crash_in_checkpoint_retention", &["I30"]),
        ("delete_recreate", &["I33", "I48"]),
    ];
    let listed: BTreeSet<&str> = cases.iter().flat_map(|(_, ids)| *ids).copied().collect();
    assert_eq!(listed, ORACLES.iter().map(|oracle| oracle.id).collect::<BTreeSet<_>>());
    let (mut decided, mut given_up) = (0, 0);
    for (scenario, ids) in cases {
        let mut missing: Vec<&str> = ids.to_vec();
        for seed in 0..SEEDS {
            if missing.is_empty() {
                break;
            }
            let outcome = outcome(scenario, seed, "");
            missing.retain(|id| !outcome.judged.contains_key(*id));
            decided += outcome.looked.operations;
            given_up += outcome.looked.given_up;
        }
        assert!(missing.is_empty(), "{scenario}: {missing:?} judged nothing in {SEEDS} seeds");
    }
    // None is usual. As if each were of 200 operations, they are less than a tenth.
    assert!(given_up * 200 * 10 < decided, "{given_up} windows given up, {decided} operations");
}
