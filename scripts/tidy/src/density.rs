//! How often the core asserts what it believes.

use crate::Finding;
use crate::source::{Source, Word};

/// Assertions in 1,000 lines of code.
const DENSITY_MIN: f64 = 20.0;
/// Below this many lines the figure says nothing.
const LINES_MIN: usize = 200;

/// Returns the figure as a note.
pub(crate) fn check(sources: &[Source], findings: &mut Vec<Finding>) -> Option<String> {
    let (mut lines, mut assertions) = (0, 0);
    for source in sources.iter().filter(|source| source.path.starts_with("core/src/")) {
        lines += code_lines(source);
        let code = source.words.windows(2).filter(|words| !source.is_test_line(words[0].line));
        assertions += code.filter(|words| asserts(&words[0], &words[1])).count();
    }
    if lines == 0 {
        return None;
    }
    let density = assertions as f64 * 1000.0 / lines as f64;
    let figure = format!(
        "core has {assertions} assertions in {lines} code lines, {density:.1} per 1,000 \
         (at least {DENSITY_MIN})"
    );
    if density < DENSITY_MIN && lines >= LINES_MIN {
        findings.push(Finding {
            path: "core/src".to_owned(),
            line: 0,
            rule: "assertions",
            what: figure.clone(),
            remedy: "assert arguments, results and both sides of a boundary",
        });
    }
    Some(figure)
}

fn asserts(word: &Word, next: &Word) -> bool {
    let name = word.text.trim_start_matches("debug_").trim_start_matches("prop_");
    let is_macro = ["assert", "assert_eq", "assert_ne"].contains(&name) && next.text == "!";
    is_macro || (word.text == "expect" && next.text == "(")
}

fn code_lines(source: &Source) -> usize {
    if source.is_test_file() {
        return 0;
    }
    let code = source.text.lines().take(source.tests_line - 1).map(str::trim);
    code.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_must_assert_often_enough() {
        for (assertions, wanted) in [(5, 0), (3, 1)] {
            let code = format!(
                "//! x\nfn f() {{\n{}{}}}\n",
                "    assert!(a);\n".repeat(assertions),
                "    g();\n".repeat(198),
            );
            let tests = "#[cfg(test)]\nmod tests { fn f() { assert!(a); assert!(b); } }\n";
            let source = Source::parse("core/src/a.rs", &format!("{code}{tests}")).unwrap();
            let mut findings = Vec::new();
            let note = check(&[source], &mut findings).unwrap();
            assert!(note.contains(&format!("{assertions} assertions in")), "{note}");
            assert_eq!(findings.len(), wanted);
        }
    }
}
