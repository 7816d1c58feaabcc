//! Changes to a topic's overrides, one key at a time (IncrementalAlterConfigs, KIP-339).

use std::collections::BTreeMap;

use super::key::{self, ConfigKind, split_list};

/// How one key changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOp<'a> {
    /// Sets the value.
    Set(&'a str),
    /// Goes back to the default.
    Delete,
    /// Adds items to a list that it does not have yet.
    Append(&'a str),
    /// Takes items out of a list.
    Subtract(&'a str),
}

/// Append or subtract on a key that is no list, in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Can't {op} to key {key} because its type is not LIST.")]
pub(crate) struct NotAList {
    op: &'static str,
    key: String,
}

/// The value that `key` gets by `op`: `None` takes the override away.
pub(crate) fn changed_value(
    overrides: &BTreeMap<String, String>,
    key: &str,
    op: ConfigOp<'_>,
) -> Result<Option<String>, NotAList> {
    match op {
        ConfigOp::Set(value) => Ok(Some(value.to_owned())),
        ConfigOp::Delete => Ok(None),
        ConfigOp::Append(added) => {
            let current = list_of(overrides, key, "APPEND")?;
            let mut items: Vec<&str> = split_list(current).collect();
            for item in split_list(added) {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            Ok(Some(items.join(",")))
        }
        ConfigOp::Subtract(removed) => {
            let current = list_of(overrides, key, "SUBTRACT")?;
            let is_kept = |item: &&str| split_list(removed).all(|other| other != *item);
            let items: Vec<&str> = split_list(current).filter(is_kept).collect();
            Ok(Some(items.join(",")))
        }
    }
}

/// The value that a list has now, by its override or by default.
fn list_of<'a>(
    overrides: &'a BTreeMap<String, String>,
    name: &str,
    op: &'static str,
) -> Result<&'a str, NotAList> {
    match key::find(name) {
        Some(key) if matches!(key.kind, ConfigKind::Words(_)) => {
            Ok(overrides.get(name).map_or(key.default, String::as_str))
        }
        _ => Err(NotAList { op, key: name.to_owned() }),
    }
}
