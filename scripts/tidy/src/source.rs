//! One parsed Rust file: its tree, its words (tokens without comments) and where its tests begin.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::Finding;

/// A token with its line; brackets are tokens too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) is_name: bool,
}

pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
    pub(crate) words: Vec<Word>,
    /// First line of the in-file tests, counted from 1; one past the last line without tests.
    pub(crate) tests_line: usize,
}

impl Source {
    pub(crate) fn parse(path: &str, text: &str) -> Result<Source, Finding> {
        let syntax = syn::parse_file(text).map_err(|error| unparsed(path, &error))?;
        let stream: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| {
            unparsed(path, &syn::Error::new(error.span(), error))
        })?;
        let mut words = Vec::new();
        flatten(stream, &mut words);
        let (path, text) = (path.to_owned(), text.to_owned());
        let tests_line = tests_line(&text);
        Ok(Source { path, text, syntax, words, tests_line })
    }

    /// Whether the whole file is test or bench code by its place.
    pub(crate) fn is_test_file(&self) -> bool {
        let folders = ["tests", "benches"];
        self.path.split('/').any(|part| folders.contains(&part) || part == "tests.rs")
    }

    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file() || line >= self.tests_line
    }

    /// Paths such as `std::fs::read` as they are written, with their lines; `use` trees expanded.
    pub(crate) fn paths(&self) -> Vec<(String, usize)> {
        let mut paths = Vec::new();
        let mut index = 0;
        while index < self.words.len() {
            let word = &self.words[index];
            index += 1;
            if !word.is_name {
                continue;
            }
            let mut path = word.text.clone();
            while self.joins(index) {
                path = format!("{path}::{}", self.words[index + 2].text);
                index += 3;
            }
            paths.push((path, word.line));
        }
        let mut uses = Uses(paths);
        syn::visit::Visit::visit_file(&mut uses, &self.syntax);
        uses.0
    }

    /// Whether the words at `index` are `::name`.
    fn joins(&self, index: usize) -> bool {
        let at = |index: usize| self.words.get(index);
        at(index).is_some_and(|word| word.text == ":")
            && at(index + 1).is_some_and(|word| word.text == ":")
            && at(index + 2).is_some_and(|word| word.is_name)
    }
}

struct Uses(Vec<(String, usize)>);

impl<'ast> syn::visit::Visit<'ast> for Uses {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.expand("", &item.tree);
    }
}

impl Uses {
    fn expand(&mut self, prefix: &str, tree: &syn::UseTree) {
        let join = |name: &syn::Ident| match prefix {
            "" => name.to_string(),
            _ => format!("{prefix}::{name}"),
        };
        match tree {
            syn::UseTree::Path(path) => self.expand(&join(&path.ident), &path.tree),
            syn::UseTree::Name(name) => {
                self.0.push((join(&name.ident), name.ident.span().start().line));
            }
            syn::UseTree::Rename(name) => {
                self.0.push((join(&name.ident), name.ident.span().start().line));
            }
            syn::UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.0.push((prefix.to_owned(), line));
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.expand(prefix, tree));
            }
        }
    }
}

fn unparsed(path: &str, error: &syn::Error) -> Finding {
    Finding {
        path: path.to_owned(),
        line: error.span().start().line,
        rule: "syntax",
        what: format!("this file does not parse: {error}"),
        remedy: "make it compile first",
    }
}

fn flatten(stream: TokenStream, words: &mut Vec<Word>) {
    for token in stream {
        let line = token.span().start().line;
        let (text, is_name) = match token {
            TokenTree::Ident(name) => (name.to_string(), true),
            TokenTree::Punct(punct) => (punct.as_char().to_string(), false),
            TokenTree::Literal(literal) => (literal.to_string(), false),
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                words.push(Word { text: open.to_owned(), line, is_name: false });
                flatten(group.stream(), words);
                let line = group.span_close().start().line;
                words.push(Word { text: close.to_owned(), line, is_name: false });
                continue;
            }
        };
        words.push(Word { text, line, is_name });
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

/// The line of the first `#[cfg(test)]` that stands before a module; other uses of the attribute
/// do not end the code of a file.
fn tests_line(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_test =
        |line: &str| line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
    for (index, line) in lines.iter().enumerate() {
        let rest = &lines[index + 1..];
        let next = rest.iter().find(|line| !line.starts_with("#["));
        let opens = |line: &&str| line.starts_with("mod ") || line.starts_with("pub(crate) mod ");
        if is_test(line) && next.is_some_and(opens) {
            return index + 1;
        }
    }
    lines.len() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_code_and_use_trees_but_not_from_comments() {
        let text =
            "//! std::fs\nuse std::{io, fs::{self, File}};\nfn f() { a::b::c(\"std::net\") }\n";
        let paths = Source::parse("core/src/a.rs", text).unwrap().paths();
        for wanted in [("std::fs::self", 2), ("std::fs::File", 2), ("std::io", 2), ("a::b::c", 3)] {
            assert!(paths.contains(&(wanted.0.to_owned(), wanted.1)), "{wanted:?} in {paths:?}");
        }
        assert!(
            !paths.iter().any(|(path, line)| path.contains("net") || *line == 1 && path != "doc")
        );
    }

    #[test]
    fn tests_begin_at_their_module_and_not_at_a_test_only_import() {
        for (text, line) in [
            ("//! x\n#[cfg(test)]\nuse a::b;\nfn f() {}\n", 5),
            ("//! x\n#[cfg(test)]\nmod tests {}\n", 2),
            ("//! x\n#[cfg(all(test, feature = \"sim\"))]\n#[allow(x)]\nmod tests {}\n", 2),
        ] {
            assert_eq!(tests_line(text), line, "{text}");
        }
    }

    #[test]
    fn a_file_that_does_not_parse_is_a_finding() {
        let finding = Source::parse("core/src/a.rs", "fn {").err().unwrap();
        assert_eq!(finding.rule, "syntax");
    }
}
