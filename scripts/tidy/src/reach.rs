//! Dead files: a `.rs` file that no crate root reaches through `mod` is compiled by nobody.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::Visit;

use crate::Finding;
use crate::source::Source;
use crate::tree::Tree;

pub(crate) fn check(tree: &Tree, sources: &[Source], findings: &mut Vec<Finding>) {
    let by_path: BTreeMap<&str, &Source> =
        sources.iter().map(|source| (source.path.as_str(), source)).collect();
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<(String, bool)> = Vec::new();
    let mut folders = Vec::new();
    for (manifest, text) in tree.manifests() {
        let folder = manifest.trim_end_matches("Cargo.toml").to_owned();
        waiting.extend(roots(&folder, text, &by_path).into_iter().map(|root| (root, true)));
        folders.push(folder);
    }
    while let Some((path, is_root)) = waiting.pop() {
        let Some(source) = by_path.get(path.as_str()) else { continue };
        if reached.insert(path.clone()) {
            let mut modules = Modules { inside: vec![home(&path, is_root)], found: Vec::new() };
            modules.visit_file(&source.syntax);
            waiting.extend(modules.found.into_iter().map(|path| (path, false)));
        }
    }
    for path in by_path.keys().filter(|path| !reached.contains(**path)) {
        if folders.iter().any(|folder| path.starts_with(folder.as_str())) {
            findings.push(Finding {
                path: path.to_string(),
                line: 0,
                rule: "dead-file",
                what: "no crate root reaches this file".to_owned(),
                remedy: "declare it with mod or delete it",
            });
        }
    }
}

/// The files that cargo itself finds in a package, and the ones its manifest names.
fn roots(folder: &str, manifest: &str, sources: &BTreeMap<&str, &Source>) -> Vec<String> {
    let mut roots: Vec<String> =
        ["src/lib.rs", "src/main.rs", "build.rs"].map(|root| format!("{folder}{root}")).to_vec();
    for path in sources.keys() {
        let Some(inside) = path.strip_prefix(folder) else { continue };
        let parts: Vec<&str> = inside.split('/').collect();
        let is_root = matches!(
            parts.as_slice(),
            ["src", "bin", _]
                | ["src", "bin", _, "main.rs"]
                | ["tests" | "benches" | "examples" | "fuzz_targets", _]
                | ["tests" | "benches" | "examples", _, "main.rs"]
        );
        if is_root {
            roots.push(path.to_string());
        }
    }
    let named = manifest.lines().filter_map(|line| line.trim().strip_prefix("path = \""));
    roots.extend(named.filter_map(|rest| Some(format!("{folder}{}", rest.strip_suffix('"')?))));
    roots
}

/// The folder in which a file's modules live.
fn home(path: &str, is_root: bool) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    if is_root || file == "mod.rs" {
        folder.to_owned()
    } else {
        path.trim_end_matches(".rs").to_owned()
    }
}

struct Modules {
    /// Folders of the enclosing inline modules, the innermost last.
    inside: Vec<String>,
    found: Vec<String>,
}

impl<'ast> Visit<'ast> for Modules {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let here = self.inside.last().cloned().unwrap_or_default();
        let name = item.ident.to_string();
        if item.content.is_some() {
            self.inside.push(format!("{here}/{name}"));
            syn::visit::visit_item_mod(self, item);
            self.inside.pop();
            return;
        }
        self.found.push(format!("{here}/{name}.rs"));
        self.found.push(format!("{here}/{name}/mod.rs"));
        for attribute in &item.attrs {
            let syn::Meta::NameValue(pair) = &attribute.meta else { continue };
            let syn::Expr::Lit(value) = &pair.value else { continue };
            if let (true, syn::Lit::Str(path)) = (pair.path.is_ident("path"), &value.lit) {
                self.found.push(resolve(&here, &path.value()));
            }
        }
    }
}

/// `folder/path` without its `..` parts.
fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(files: &[(&str, &str)]) -> Vec<String> {
        let tree = Tree::of(files);
        let parse = |(path, text)| Source::parse(path, text).unwrap();
        let sources: Vec<Source> = tree.rust().map(parse).collect();
        let mut findings = Vec::new();
        check(&tree, &sources, &mut findings);
        findings.into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn a_file_that_nobody_declares_is_dead() {
        let files = [
            ("core/Cargo.toml", "[package]\n"),
            ("core/src/lib.rs", "mod a;\n"),
            ("core/src/a.rs", "mod b;\n"),
            ("core/src/a/b.rs", ""),
            ("core/src/a/c.rs", ""),
            ("core/src/b.rs", ""),
        ];
        assert_eq!(dead(&files), ["core/src/a/c.rs", "core/src/b.rs"]);
    }

    #[test]
    fn every_way_to_be_compiled_counts() {
        let files = [
            ("core/Cargo.toml", "[package]\n[[test]]\nname = \"x\"\npath = \"odd/x.rs\"\n"),
            ("core/src/main.rs", "mod a { mod b; }\n#[path = \"../far/c.rs\"]\nmod c;\n"),
            ("core/src/a/b.rs", ""),
            ("core/far/c.rs", ""),
            ("core/odd/x.rs", ""),
            ("core/src/bin/tool.rs", ""),
            ("core/tests/t.rs", "mod shared;\n"),
            ("core/tests/shared.rs", ""),
            ("core/tests/big/main.rs", "mod part;\n"),
            ("core/tests/big/part.rs", ""),
        ];
        assert_eq!(dead(&files), Vec::<String>::new());
    }
}
