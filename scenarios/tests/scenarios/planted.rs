//! Every planted bug turns one of its oracles red within fifty seeds, and nothing else does.

use rivven_simulator::planted::ALL;
use rivven_simulator::run::outcome::Verdict;

use crate::harness::{explain, outcome};

const SEEDS: u64 = 50;

/// The seeds before the red one, and those without the bug, are cheap: most bugs show at once.
fn is_found(id: &str) {
    let bug = ALL.iter().find(|bug| bug.id == id).expect("the bug is registered");
    let red = (0..SEEDS).find(|seed| {
        let outcome = outcome(bug.scenario, *seed, id);
        let named = |property: &str| bug.oracles.contains(&property);
        outcome.violations.iter().any(|violation| named(&violation.property))
    });
    let Some(red) = red else { panic!("{SEEDS} seeds of {} do not find {id}", bug.scenario) };
    let without = outcome(bug.scenario, red, "");
    assert!(without.verdict() == Verdict::Pass, "without {id}: {}", explain(&without));
}

macro_rules! every_bug {
    ($($test:ident $id:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                is_found($id);
            }
        )*

        #[test]
        fn every_planted_bug_has_its_test() {
            let known: Vec<&str> = ALL.iter().map(|bug| bug.id).collect();
            assert_eq!(known, [$($id),*]);
        }
    };
}

every_bug![
    b01_is_found "B01",
    b02_is_found "B02",
    b03_is_found "B03",
    b04_is_found "B04",
    b09_is_found "B09",
    b25_is_found "B25",
    b26_is_found "B26",
    b30_is_found "B30",
    b40_is_found "B40",
    b41_is_found "B41",
    b42_is_found "B42",
    b43_is_found "B43",
    b44_is_found "B44",
    b45_is_found "B45",
    b50_is_found "B50",
    b51_is_found "B51",
    b52_is_found "B52",
    b53_is_found "B53",
    b54_is_found "B54",
    b60_is_found "B60",
    b61_is_found "B61",
    b62_is_found "B62",
    b63_is_found "B63",
    b64_is_found "B64",
    b70_is_found "B70",
    b71_is_found "B71",
    b72_is_found "B72",
    b73_is_found "B73",
    b74_is_found "B74",
    b75_is_found "B75",
    b76_is_found "B76",
    b77_is_found "B77",
    b80_is_found "B80",
    b81_is_found "B81",
    b90_is_found "B90",
    b91_is_found "B91",
    b92_is_found "B92",
    b93_is_found "B93",
    b94_is_found "B94",
    b95_is_found "B95",
    b96_is_found "B96",
    b97_is_found "B97",
    b98_is_found "B98",
    b99_is_found "B99",
];
