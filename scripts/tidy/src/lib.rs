//! The house rules that a program can see, each a pure function over the texts of a checkout.
//!
//! Only `tree` reads files; the rules get texts, so that each is tried on a few invented ones.

mod banned;
mod density;
mod documents;
mod manifests;
mod reach;
mod shape;
mod source;
mod stories;
mod tree;

use std::fmt;
use std::path::Path;

use source::Source;
use tree::Tree;
pub use tree::TreeError;

/// One breach of one rule, shown as `path:line: rule: what; remedy`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Relative to the root of the checkout, with slashes.
    pub path: String,
    /// Counted from 1; 0 where the finding concerns the whole file.
    pub line: usize,
    /// The rule's short name.
    pub rule: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}; {}", self.path, self.line, self.rule, self.what, self.remedy)
    }
}

/// What one run of the checks says.
#[derive(Debug)]
pub struct Report {
    /// Sorted by path and line; empty when the house is tidy.
    pub findings: Vec<Finding>,
    /// Figures worth printing, such as the density of assertions; never a failure.
    pub notes: Vec<String>,
}

/// Checks the checkout at `root`.
///
/// # Errors
/// A file or folder that cannot be read; a breach of a rule is a finding, not an error.
pub fn check(root: &Path) -> Result<Report, TreeError> {
    Ok(check_tree(&Tree::load(root)?))
}

fn check_tree(tree: &Tree) -> Report {
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    for (path, text) in tree.rust() {
        match Source::parse(path, text) {
            Ok(source) => sources.push(source),
            Err(finding) => findings.push(finding),
        }
    }
    for source in &sources {
        shape::check(source, &mut findings);
        banned::check(source, &mut findings);
    }
    manifests::check(tree, &mut findings);
    reach::check(tree, &sources, &mut findings);
    stories::check(tree, &mut findings);
    documents::check(tree, &mut findings);
    let notes = density::check(&sources, &mut findings).into_iter().collect();
    findings.sort();
    Report { findings, notes }
}
