//! Errors in scenario files in words: an unknown key names the nearest known one.

/// What is wrong with a file, with the line, and the nearest known name of an unknown one.
pub(crate) fn explain(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let message = error.message();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.contains("unknown ").then(|| quoted.next()).flatten();
    match unknown {
        Some(unknown) => {
            let nearest = nearest(unknown, quoted);
            format!("{}; did you mean {nearest}?", text.trim_end())
        }
        None => text.trim_end().to_owned(),
    }
}

/// The name of `known` with the least edit distance to `name`; empty if there is none.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    known.min_by_key(|candidate| strsim::damerau_levenshtein(name, candidate)).unwrap_or("")
}
