//! What may not stand in code: ways round `io-abstraction`, order that differs from run to run,
//! and marks of unfinished work.

use syn::visit::Visit;

use crate::Finding;
use crate::source::Source;

/// The layer itself, programs that never run under the simulator, and the outermost shells.
const FREE_OF_BANS: [&str; 7] = [
    "io-abstraction/",
    "scripts/",
    "bench/",
    "cli/src/main.rs",
    "broker/src/main.rs",
    "simulator/src/main.rs",
    "simulator/src/bin/",
];

/// Crates whose order of iteration a client, a replay or a trace can see.
const ORDERED: [&str; 3] = ["core/", "broker/", "simulator/"];

struct Ban {
    path: &'static str,
    remedy: &'static str,
    /// Whether in-file tests may name it: they may make a temporary folder, but not wait.
    free_in_tests: bool,
}

const BANS: [Ban; 14] = [
    ban("std::fs", "use the disk of Env", true),
    ban("std::net", "use the network of Env", true),
    ban("std::thread", "use spawn or spawn_dedicated of Env", false),
    ban("tokio::fs", "use the disk of Env", false),
    ban("tokio::net", "use the network of Env", false),
    ban("tokio::time", "use the clock of Env", false),
    ban("tokio::spawn", "use spawn of Env", false),
    ban("tokio::task", "use spawn or offload of Env", false),
    ban("tokio::runtime", "only a main shell starts a runtime", true),
    ban("tokio::sync::watch", "it draws from a process-wide counter; use Notify", false),
    ban("Instant::now", "use the clock of Env", false),
    ban("SystemTime::now", "use the clock of Env", false),
    ban("rand", "use the randomness of Env", false),
    ban("getrandom", "use the randomness of Env", false),
];

/// Types of `std::net` that only name an address and open nothing.
const ADDRESSES: [&str; 8] = [
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "AddrParseError",
    "IpAddr::V4",
];

const fn ban(path: &'static str, remedy: &'static str, free_in_tests: bool) -> Ban {
    Ban { path, remedy, free_in_tests }
}

/// Words that are finished work in no place, test or not.
const UNFINISHED: [(&[&str], &str); 5] = [
    (&["#", "[", "ignore"], "run it, move it to scripts/long-check, or delete it"),
    (&["todo", "!"], "finish it or take it out"),
    (&["unimplemented", "!"], "finish it or take it out"),
    (&["should_panic"], "test the error, or the check with catch_unwind in the simulator"),
    (&["dbg", "!"], "log a field or take it out"),
];

pub(crate) fn check(source: &Source, findings: &mut Vec<Finding>) {
    unfinished(source, findings);
    unbiased(source, findings);
    if FREE_OF_BANS.iter().any(|free| source.path.starts_with(free)) || source.is_test_file() {
        return;
    }
    for (path, line) in source.paths() {
        let tested = source.is_test_line(line);
        let address = ADDRESSES.iter().any(|name| path.strip_prefix("std::net::") == Some(*name));
        let broken =
            |ban: &&Ban| !(address || ban.free_in_tests && tested) && names(&path, ban.path);
        if let Some(ban) = BANS.iter().find(broken) {
            let what = format!("{path} goes round io-abstraction");
            let at = source.path.clone();
            findings.push(Finding { path: at, line, rule: "bans", what, remedy: ban.remedy });
        }
    }
    if ORDERED.iter().any(|folder| source.path.starts_with(folder)) {
        Hashed { source, findings }.visit_file(&source.syntax);
    }
}

/// Whether `path` names `ban`: for a crate's path from its start, for a type's method anywhere.
fn names(path: &str, ban: &str) -> bool {
    let (path, ban): (Vec<_>, Vec<_>) = (path.split("::").collect(), ban.split("::").collect());
    if ban.len() == 1 {
        return path.len() > 1 && path[0] == ban[0];
    }
    path.windows(ban.len()).any(|part| part == ban)
}

fn unfinished(source: &Source, findings: &mut Vec<Finding>) {
    for (index, word) in source.words.iter().enumerate() {
        let rest = &source.words[index..];
        let stands = |wanted: &[&str]| {
            rest.len() >= wanted.len()
                && wanted.iter().zip(rest).all(|(wanted, word)| *wanted == word.text)
        };
        if let Some((wanted, remedy)) = UNFINISHED.iter().find(|(wanted, _)| stands(wanted)) {
            let what = format!("{} stands here", wanted.concat());
            let (path, line) = (source.path.clone(), word.line);
            findings.push(Finding { path, line, rule: "unfinished", what, remedy });
        }
    }
}

/// A `select!` without `biased` picks its branch by a process-wide counter, so a replay differs.
fn unbiased(source: &Source, findings: &mut Vec<Finding>) {
    for part in source.words.windows(4) {
        let [name, bang, open, first] = part else { continue };
        let is_select = name.text == "select"
            && bang.text == "!"
            && ["{", "(", "["].contains(&open.text.as_str());
        if is_select && first.text != "biased" {
            findings.push(Finding {
                path: source.path.clone(),
                line: name.line,
                rule: "select",
                what: "select! without biased".to_owned(),
                remedy: "begin it with biased; and order the branches",
            });
        }
    }
}

/// Finds maps and sets with the default hasher, whose keys differ from run to run.
struct Hashed<'a> {
    source: &'a Source,
    findings: &'a mut Vec<Finding>,
}

impl Hashed<'_> {
    fn segment(&mut self, segment: &syn::PathSegment, method: Option<&syn::PathSegment>) {
        let hasher_index = match segment.ident.to_string().as_str() {
            "HashMap" => 2,
            "HashSet" => 1,
            _ => return,
        };
        let given = match &segment.arguments {
            syn::PathArguments::AngleBracketed(arguments) => Some(arguments.args.len()),
            _ => None,
        };
        let made = method.is_some_and(|method| {
            ["new", "with_capacity", "from"].contains(&method.ident.to_string().as_str())
        });
        let line = segment.ident.span().start().line;
        let default_hasher = given.is_some_and(|count| count <= hasher_index) || made;
        if default_hasher && !self.source.is_test_line(line) {
            self.findings.push(Finding {
                path: self.source.path.clone(),
                line,
                rule: "order",
                what: format!("{} with the default hasher", segment.ident),
                remedy: "use the BTree one, or a hasher with a fixed seed",
            });
        }
    }
}

impl<'ast> Visit<'ast> for Hashed<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        for (index, segment) in path.segments.iter().enumerate() {
            self.segment(segment, path.segments.iter().nth(index + 1));
        }
        syn::visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        let mut findings = Vec::new();
        check(&Source::parse(path, text).unwrap(), &mut findings);
        findings.iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn each_ban_fires_in_core() {
        for ban in &BANS {
            let code = format!("fn f() {{ {}::x() }}", ban.path);
            assert_eq!(rules("core/src/a.rs", &code), ["bans"], "{code}");
        }
        for code in [
            "use std::{io, fs};",
            "use std::net::*;",
            "use tokio::{sync::watch, io};",
            "fn f() { std::time::Instant::now(); }",
            "fn f() { call!(std::thread::sleep(x)) }",
        ] {
            assert!(rules("core/src/a.rs", code).contains(&"bans"), "{code}");
        }
    }

    #[test]
    fn free_places_and_harmless_names_pass() {
        let free = "fn f() { std::fs::read(x); }";
        let tested = "fn f() {}\n#[cfg(test)]\nmod tests { fn f() { std::fs::read(x); } }";
        for (path, code) in [
            ("io-abstraction/src/real.rs", free),
            ("core/tests/a.rs", free),
            ("bench/src/lib.rs", free),
            ("core/src/a.rs", tested),
            ("core/src/a.rs", "use std::net::SocketAddr; fn f(a: std::net::IpAddr) {}"),
            ("core/src/a.rs", "// std::fs\nuse tokio::sync::Notify; fn f(rand: u8) {}"),
            ("core/src/a.rs", "fn f() -> &'static str { \"todo! std::fs\" }"),
        ] {
            assert_eq!(rules(path, code), Vec::<&str>::new(), "{path}: {code}");
        }
    }

    #[test]
    fn unfinished_work_fires_in_tests_too() {
        for code in [
            "#[test] #[ignore] fn f() {}",
            "#[ignore = \"slow\"] fn f() {}",
            "fn f() { todo!() }",
            "fn f() { unimplemented!() }",
            "#[should_panic] fn f() {}",
            "fn f() { dbg!(x) }",
        ] {
            assert_eq!(rules("core/tests/a.rs", code), ["unfinished"], "{code}");
        }
    }

    #[test]
    fn select_must_be_biased() {
        let one = "async fn f() { tokio::select! { a = b => {} } }";
        let two = "async fn f() { tokio::select! { biased; a = b => {} } }";
        assert_eq!(rules("broker/src/a.rs", one), ["select"]);
        assert_eq!(rules("broker/src/a.rs", two), Vec::<&str>::new());
    }

    #[test]
    fn only_the_default_hasher_is_refused() {
        for (code, wanted) in [
            ("struct A { a: HashMap<u8, u8> }", 1),
            ("struct A { a: std::collections::HashSet<u8> }", 1),
            ("fn f() { let a = HashMap::new(); }", 1),
            ("struct A { a: HashMap<u8, u8, Fixed> }", 0),
            ("struct A { a: HashSet<u8, Fixed> }", 0),
            ("use std::collections::HashMap; fn f() { let a = HashMap::with_hasher(x); }", 0),
        ] {
            assert_eq!(rules("core/src/a.rs", code).len(), wanted, "{code}");
        }
    }
}
