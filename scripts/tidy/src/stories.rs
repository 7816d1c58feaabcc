//! Scenarios are embedded in the simulator, and each oracle has a test that makes it fire.

use crate::Finding;
use crate::tree::Tree;

const HOMES: [&str; 2] = ["simulator/src/", "scenarios/src/"];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let embedding: Vec<&str> = tree
        .rust()
        .filter(|(path, text)| {
            HOMES.iter().any(|home| path.starts_with(home)) && text.contains("include_str!")
        })
        .map(|(_, text)| text)
        .collect();
    for path in tree.files.keys() {
        let Some(inside) = path.strip_prefix("scenarios/") else { continue };
        // Kept plans are no scenarios: a test reads their whole folder.
        let is_plan = inside.starts_with("regressions/");
        if !inside.ends_with(".toml") || is_plan || inside == "Cargo.toml" {
            continue;
        }
        let literal = format!("{inside}\"");
        if !embedding.iter().any(|text| text.contains(&literal)) {
            findings.push(Finding {
                path: path.clone(),
                line: 0,
                rule: "scenarios",
                what: "no include_str! of the simulator names this scenario".to_owned(),
                remedy: "register it or delete it",
            });
        }
    }
    for (path, text) in tree.rust() {
        if path.starts_with("simulator/src/oracles/") && !text.contains("#[test]") {
            findings.push(Finding {
                path: path.to_owned(),
                line: 0,
                rule: "oracles",
                what: "this oracle has no unit test".to_owned(),
                remedy: "add one that makes it fire",
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unregistered_scenario_and_an_untested_oracle_fire() {
        let files = [
            ("scenarios/Cargo.toml", ""),
            ("scenarios/storage/power_cut.toml", ""),
            ("scenarios/storage/full_disk.toml", ""),
            ("simulator/src/list.rs", "include_str!(\"../../scenarios/storage/power_cut.toml\")"),
            ("simulator/src/oracles/acked.rs", "fn check() {}"),
            ("simulator/src/oracles/dense.rs", "#[test] fn gap_fires() {}"),
        ];
        let mut findings = Vec::new();
        check(&Tree::of(&files), &mut findings);
        let found: Vec<_> = findings.iter().map(|f| (f.rule, f.path.as_str())).collect();
        assert_eq!(
            found,
            [
                ("scenarios", "scenarios/storage/full_disk.toml"),
                ("oracles", "simulator/src/oracles/acked.rs")
            ]
        );
    }
}
