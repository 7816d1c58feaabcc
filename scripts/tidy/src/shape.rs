//! The shape of a file and of its functions: sizes, widths, names, the opening line.

use syn::spanned::Spanned;
use syn::visit::Visit;

use crate::Finding;
use crate::source::Source;

/// Lines of a file without its in-file tests.
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// Without `self`.
const PARAMETERS_MAX: usize = 4;
const COLUMNS_MAX: usize = 100;
/// Names that say nothing, so that everything ends up in them.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "misc"];

pub(crate) fn check(source: &Source, findings: &mut Vec<Finding>) {
    let mut add = |line, rule, what: String, remedy| {
        findings.push(Finding { path: source.path.clone(), line, rule, what, remedy });
    };
    if !source.text.starts_with("//! ") {
        let what = "the file does not begin with a //! line".to_owned();
        add(1, "opening", what, "say in one sentence what the file is for");
    }
    let file = source.path.rsplit('/').next().unwrap_or_default();
    if file == "mod.rs" {
        let what = "a file is called mod.rs".to_owned();
        add(0, "names", what, "use foo.rs beside the folder foo");
    }
    for part in source.path.split('/') {
        let name = part.strip_suffix(".rs").unwrap_or(part);
        if EMPTY_NAMES.contains(&name) {
            let what = format!("the name {name} says nothing");
            add(0, "names", what, "name it after what it does");
        }
    }
    let lines = source.tests_line - 1;
    if !source.is_test_file() && lines > FILE_LINES_MAX {
        let what = format!("{lines} lines without tests, limit {FILE_LINES_MAX}");
        add(0, "file-length", what, "split it by responsibility");
    }
    for (index, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            let what = format!("{columns} columns, limit {COLUMNS_MAX}");
            add(index + 1, "width", what, "break the line");
        }
    }
    let mut functions = Functions { source, findings };
    functions.visit_file(&source.syntax);
}

struct Functions<'a> {
    source: &'a Source,
    findings: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn signature(&mut self, signature: &syn::Signature) {
        let is_self = |input: &&syn::FnArg| matches!(input, syn::FnArg::Receiver(_));
        let count = signature.inputs.len() - signature.inputs.iter().filter(is_self).count();
        let line = signature.fn_token.span.start().line;
        if count > PARAMETERS_MAX && !self.source.is_test_line(line) {
            let what =
                format!("{} has {count} parameters, limit {PARAMETERS_MAX}", signature.ident);
            self.add(line, "parameters", what, "give it a named struct");
        }
    }

    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.fn_token.span.start().line;
        let lines = block.span().end().line + 1 - line;
        if lines > FUNCTION_LINES_MAX && !self.source.is_test_line(line) {
            let what = format!("{} has {lines} lines, limit {FUNCTION_LINES_MAX}", signature.ident);
            self.add(line, "function-length", what, "let children compute and the parent branch");
        }
    }

    fn add(&mut self, line: usize, rule: &'static str, what: String, remedy: &'static str) {
        let path = self.source.path.clone();
        self.findings.push(Finding { path, line, rule, what, remedy });
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.signature(signature);
        syn::visit::visit_signature(self, signature);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.body(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.body(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(&item.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }

    /// The shape of a foreign function is not ours to choose.
    fn visit_foreign_item_fn(&mut self, _: &'ast syn::ForeignItemFn) {}

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        if EMPTY_NAMES.contains(&name.as_str()) && item.content.is_some() {
            let what = format!("the module name {name} says nothing");
            let line = item.ident.span().start().line;
            self.add(line, "names", what, "name it after what it does");
        }
        syn::visit::visit_item_mod(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        let mut findings = Vec::new();
        check(&Source::parse(path, text).unwrap(), &mut findings);
        findings.iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    #[test]
    fn each_shape_rule_fires() {
        let long_file = format!("//! x\n{}", "// y\n".repeat(500));
        let long_function = format!("//! x\nfn f() {{\n{}}}\n", "    g();\n".repeat(69));
        let wide = format!("//! x\n// {}\n", "é".repeat(98));
        let method = "//! x\nimpl A { fn f(&self, a: u8, b: u8, c: u8, d: u8, e: u8) {} }\n";
        let declared = "//! x\ntrait A { fn f(a: u8, b: u8, c: u8, d: u8, e: u8); }\n";
        for (path, text, wanted) in [
            ("core/src/a.rs", "fn f() {}\n", ("opening", 1)),
            ("core/src/mod.rs", "//! x\n", ("names", 0)),
            ("core/src/utils.rs", "//! x\n", ("names", 0)),
            ("core/src/common/a.rs", "//! x\n", ("names", 0)),
            ("core/src/a.rs", "//! x\nmod helpers { }\n", ("names", 2)),
            ("core/src/a.rs", &long_file, ("file-length", 0)),
            ("core/src/a.rs", &long_function, ("function-length", 2)),
            ("core/src/a.rs", &wide, ("width", 2)),
            ("core/src/a.rs", method, ("parameters", 2)),
            ("core/src/a.rs", declared, ("parameters", 2)),
        ] {
            assert_eq!(rules(path, text), [wanted], "{path}: {text}");
        }
    }

    #[test]
    fn what_is_just_within_the_limits_passes() {
        let file = format!("//! x\n{}#[cfg(test)]\nmod tests {{\n}}\n", "// y\n".repeat(499));
        let function = format!("//! x\nfn f() {{\n{}}}\n", "    g();\n".repeat(68));
        let method = "//! x\nimpl A { fn f(&self, a: u8, b: u8, c: u8, d: u8) {} }\n";
        let tests = format!("//! x\n{}", "// y\n".repeat(900));
        let foreign = "//! x\nunsafe extern \"C\" { fn f(a: u8, b: u8, c: u8, d: u8, e: u8); }\n";
        for (path, text) in [
            ("core/src/a.rs", file.as_str()),
            ("core/src/a.rs", &function),
            ("core/src/a.rs", method),
            ("core/src/a.rs", foreign),
            ("core/tests/a.rs", &tests),
        ] {
            assert_eq!(rules(path, text), [], "{path}");
        }
    }
}
