//! Floors: a dependency goes to a strictly lower floor. And the feature `sim`, which is never on by
//! itself and always forwarded.

use std::collections::BTreeMap;

use toml::Table;

use crate::Finding;
use crate::tree::Tree;

const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

struct Member<'a> {
    path: &'a str,
    text: &'a str,
    manifest: Table,
    floor: i64,
}

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut members = BTreeMap::new();
    for (path, text) in tree.manifests() {
        let Ok(manifest) = text.parse::<Table>() else {
            findings.push(finding(path, 1, "manifest", "it does not parse".to_owned()));
            continue;
        };
        let Some(name) = manifest.get("package").and_then(|package| package.get("name")) else {
            continue;
        };
        let name = name.as_str().unwrap_or_default().to_owned();
        let metadata = manifest["package"].get("metadata");
        match metadata.and_then(|metadata| metadata.get("floor")).and_then(|f| f.as_integer()) {
            Some(floor) => drop(members.insert(name, Member { path, text, manifest, floor })),
            None => findings.push(finding(path, 1, "floors", "it names no floor".to_owned())),
        }
    }
    for member in members.values() {
        edges(member, &members, findings);
        sim_is_off(member, findings);
    }
    workspace_sim(tree, findings);
}

fn edges(member: &Member, members: &BTreeMap<String, Member>, findings: &mut Vec<Finding>) {
    for (kind, name, _) in dependencies(&member.manifest) {
        let Some(below) = members.get(name) else { continue };
        let line = line_of(member.text, name);
        if below.floor >= member.floor {
            let what = format!("floor {} depends on {name} on floor {}", member.floor, below.floor);
            findings.push(finding(member.path, line, "floors", what));
        }
        let has_sim = |member: &Member| feature(&member.manifest, "sim").is_some();
        let forwards = [format!("{name}/sim"), format!("{name}?/sim")];
        let own = feature(&member.manifest, "sim").unwrap_or_default();
        if kind == "dependencies" && has_sim(below) && !own.iter().any(|f| forwards.contains(f)) {
            let what = format!("the feature sim does not forward {name}/sim");
            findings.push(finding(member.path, line, "sim", what));
        }
    }
}

fn sim_is_off(member: &Member, findings: &mut Vec<Finding>) {
    for on in feature(&member.manifest, "default").unwrap_or_default() {
        if on == "sim" || on.ends_with("/sim") {
            let line = line_of(member.text, "default");
            let what = "sim stands among the default features".to_owned();
            findings.push(finding(member.path, line, "sim", what));
        }
    }
    for (_, name, value) in dependencies(&member.manifest) {
        if turns_sim_on(value) {
            let what = format!("the dependency {name} turns sim on for everyone");
            findings.push(finding(member.path, line_of(member.text, name), "sim", what));
        }
    }
}

fn workspace_sim(tree: &Tree, findings: &mut Vec<Finding>) {
    let Some(text) = tree.files.get("Cargo.toml") else { return };
    let Ok(manifest) = text.parse::<Table>() else {
        findings.push(finding("Cargo.toml", 1, "manifest", "it does not parse".to_owned()));
        return;
    };
    let shared = manifest.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    for (name, value) in shared.and_then(|shared| shared.as_table()).into_iter().flatten() {
        if turns_sim_on(value) {
            let what = format!("the dependency {name} turns sim on for everyone");
            findings.push(finding("Cargo.toml", line_of(text, name), "sim", what));
        }
    }
}

/// Kind, name and value of every dependency, those under `[target.…]` too.
fn dependencies(manifest: &Table) -> Vec<(&'static str, &str, &toml::Value)> {
    let targets = manifest.get("target").and_then(|target| target.as_table());
    let targets = targets.into_iter().flatten().filter_map(|(_, table)| table.as_table());
    let mut found = Vec::new();
    for table in targets.chain([manifest]) {
        for kind in KINDS {
            let of_kind = table.get(kind).and_then(|table| table.as_table());
            let named = of_kind.into_iter().flatten();
            found.extend(named.map(|(name, value)| (kind, name.as_str(), value)));
        }
    }
    found
}

fn feature(manifest: &Table, name: &str) -> Option<Vec<String>> {
    let listed = manifest.get("features")?.get(name)?.as_array()?;
    Some(listed.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect())
}

fn turns_sim_on(dependency: &toml::Value) -> bool {
    let features = dependency.get("features").and_then(|features| features.as_array());
    features.into_iter().flatten().any(|feature| feature.as_str() == Some("sim"))
}

fn line_of(text: &str, key: &str) -> usize {
    1 + text.lines().position(|line| line.trim_start().starts_with(key)).unwrap_or(0)
}

fn finding(path: &str, line: usize, rule: &'static str, what: String) -> Finding {
    let remedy = match rule {
        "floors" => "see the floors in ARCHITECTURE.md",
        "sim" => "keep sim off by default and forward it",
        _ => "mend the manifest",
    };
    Finding { path: path.to_owned(), line, rule, what, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: &str = "[package]\nname = \"rivven-io\"\n[package.metadata]\nfloor = 0\n\
                       [features]\nsim = []\n";

    fn rules(high: &str) -> Vec<(&'static str, String)> {
        let head = "[package]\nname = \"rivven-core\"\n[package.metadata]\nfloor = 1\n";
        let high = format!("{head}{high}");
        let files = [("core/Cargo.toml", high.as_str()), ("io-abstraction/Cargo.toml", LOW)];
        let mut findings = Vec::new();
        check(&Tree::of(&files), &mut findings);
        findings.into_iter().map(|finding| (finding.rule, finding.what)).collect()
    }

    #[test]
    fn a_manifest_without_a_floor_fires() {
        let mut findings = Vec::new();
        check(&Tree::of(&[("a/Cargo.toml", "[package]\nname = \"a\"\n")]), &mut findings);
        assert_eq!(findings[0].rule, "floors");
    }

    #[test]
    fn an_edge_upwards_or_sideways_fires_for_every_kind() {
        let side = "[package]\nname = \"side\"\n[package.metadata]\nfloor = 0\n";
        for kind in KINDS {
            for (floor, wanted) in [(0, 1), (1, 0)] {
                let from = format!(
                    "[package]\nname = \"from\"\n[package.metadata]\nfloor = {floor}\n\
                     [{kind}]\nside.workspace = true\n"
                );
                let files = [("from/Cargo.toml", from.as_str()), ("side/Cargo.toml", side)];
                let mut findings = Vec::new();
                check(&Tree::of(&files), &mut findings);
                assert_eq!(findings.len(), wanted, "{kind} {floor}: {findings:?}");
            }
        }
    }

    #[test]
    fn sim_is_forwarded_and_off() {
        let used = "[dependencies]\nrivven-io.workspace = true\n";
        let forwarded = "[features]\nsim = [\"rivven-io/sim\"]\n";
        assert_eq!(rules(used).len(), 1);
        assert_eq!(rules(&format!("{used}{forwarded}")), []);
        assert_eq!(rules(&format!("{used}{forwarded}default = [\"sim\"]\n")).len(), 1);
        let on = "[dev-dependencies]\nrivven-io = { workspace = true, features = [\"sim\"] }\n";
        assert_eq!(rules(on).len(), 1);
    }

    #[test]
    fn the_workspace_may_not_turn_sim_on() {
        let root = "[workspace.dependencies]\na = { path = \"a\", features = [\"sim\"] }\n";
        let mut findings = Vec::new();
        check(&Tree::of(&[("Cargo.toml", root)]), &mut findings);
        assert_eq!(findings[0].rule, "sim");
    }
}
