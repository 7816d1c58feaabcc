//! `rivven.yaml`: settings at the top, or in a section `server`.

use saphyr::{LoadableYamlNode, Scalar, Yaml};

use super::ConfigError;

/// The section of the file that is the broker's.
const SECTION: &str = "server";

/// Keys and values as they stand, in order.
pub(super) fn read_settings(name: &str, text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let wrong = |reason: String| ConfigError::File { path: name.to_owned(), reason };
    let documents = Yaml::load_from_str(text).map_err(|error| wrong(error.to_string()))?;
    let mut settings = Vec::new();
    match documents.as_slice() {
        [] => {}
        [document] => collect(document, true, &mut settings).map_err(wrong)?,
        _ => return Err(wrong("more than one document".to_owned())),
    }
    Ok(settings)
}

fn collect(node: &Yaml<'_>, is_top: bool, out: &mut Vec<(String, String)>) -> Result<(), String> {
    let Yaml::Mapping(mapping) = node else {
        return match node {
            Yaml::Value(Scalar::Null) => Ok(()),
            _ => Err("not a list of `name: value` lines".to_owned()),
        };
    };
    for (key, value) in mapping {
        let key = text_of(key).ok_or("a key is no plain text")?;
        if is_top && key == SECTION {
            collect(value, false, out)?;
        } else {
            let value = value_of(value).ok_or_else(|| format!("{key}: not a plain value"))?;
            out.push((key, value));
        }
    }
    Ok(())
}

/// A value, or a list of values separated by commas.
fn value_of(node: &Yaml<'_>) -> Option<String> {
    match node {
        Yaml::Sequence(items) => {
            let items: Option<Vec<String>> = items.iter().map(text_of).collect();
            items.map(|items| items.join(","))
        }
        other => text_of(other),
    }
}

fn text_of(node: &Yaml<'_>) -> Option<String> {
    match node {
        Yaml::Value(Scalar::String(text)) => Some(text.clone().into_owned()),
        Yaml::Value(Scalar::Boolean(on)) => Some(on.to_string()),
        Yaml::Value(Scalar::Integer(number)) => Some(number.to_string()),
        Yaml::Value(Scalar::Null) => Some(String::new()),
        _ => None,
    }
}
