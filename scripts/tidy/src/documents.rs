//! Every dependency has its line in docs/dependencies.md, and no text names the machine it was
//! written on.

use std::collections::BTreeSet;

use toml::Table;

use crate::Finding;
use crate::tree::Tree;

const LIST: &str = "docs/dependencies.md";

/// Split, so that this file does not break its own rule.
const FOREIGN: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("sub", "agent"),
    concat!("bash_", "jobs"),
];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let list = tree.files.get(LIST).map(String::as_str).unwrap_or_default();
    let mut known = BTreeSet::new();
    for (path, text) in tree.files.iter().filter(|(path, _)| path.ends_with("Cargo.toml")) {
        for name in external(text) {
            if known.insert(name.clone()) && !list.contains(&format!("`{name}`")) {
                let line = text.lines().position(|line| line.starts_with(&name));
                findings.push(Finding {
                    path: path.clone(),
                    line: 1 + line.unwrap_or(0),
                    rule: "dependencies",
                    what: format!("{name} has no line in {LIST}"),
                    remedy: "say what it is for and what we would write instead",
                });
            }
        }
    }
    for (path, text) in &tree.files {
        for (index, line) in text.lines().enumerate() {
            let Some(word) = FOREIGN.iter().find(|word| line.contains(**word)) else { continue };
            findings.push(Finding {
                path: path.clone(),
                line: index + 1,
                rule: "foreign",
                what: format!("{word} does not belong here"),
                remedy: "say it without the machine or the tool it came from",
            });
        }
    }
}

/// Names of a manifest's dependencies, the workspace's table included, that are not ours.
fn external(manifest: &str) -> Vec<String> {
    let Ok(manifest) = manifest.parse::<Table>() else { return Vec::new() };
    let workspace = manifest.get("workspace").and_then(|workspace| workspace.as_table());
    let mut names = Vec::new();
    for table in [Some(&manifest), workspace].into_iter().flatten() {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let listed = table.get(kind).and_then(|listed| listed.as_table());
            names.extend(listed.into_iter().flatten().map(|(name, _)| name.clone()));
        }
    }
    names.retain(|name| !name.starts_with("rivven-"));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(&'static str, usize)> {
        let mut findings = Vec::new();
        check(&Tree::of(files), &mut findings);
        findings.iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    #[test]
    fn a_dependency_without_a_line_fires_once() {
        let root = ("Cargo.toml", "[workspace.dependencies]\nbytes = \"1\"\nserde = \"1\"\n");
        let member = ("core/Cargo.toml", "[dependencies]\nbytes.workspace = true\n");
        let list = ("docs/dependencies.md", "| `serde` | ... |\n");
        assert_eq!(found(&[root, member, list]), [("dependencies", 2)]);
    }

    #[test]
    fn a_foreign_word_fires_in_any_text() {
        for word in FOREIGN {
            let text = format!("one\nsee {word}x\n");
            assert_eq!(found(&[("docs/a.md", &text)]), [("foreign", 2)], "{word}");
        }
    }
}
