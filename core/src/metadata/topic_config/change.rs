//! Changes to a topic's overrides, one key at a time (IncrementalAlterConfigs, KIP-339).

use std::collections::BTreeMap;

use super::key::{ConfigKind, TopicConfigKey, split_list};

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

/// The value that a name gets by `op`, where it means `key`: `None` takes the override away.
pub(crate) fn changed_value(
    overrides: &BTreeMap<String, String>,
    (name, key): (&str, Option<&'static TopicConfigKey>),
    op: ConfigOp<'_>,
) -> Result<Option<String>, NotAList> {
    let list_of = |op| match key {
        Some(key) if matches!(key.kind, ConfigKind::Words(_)) => {
            Ok(overrides.get(name).map_or(key.default, String::as_str))
        }
        _ => Err(NotAList { op, key: name.to_owned() }),
    };
    match op {
        ConfigOp::Set(value) => Ok(Some(value.to_owned())),
        ConfigOp::Delete => Ok(None),
        ConfigOp::Append(added) => {
            let current = list_of("APPEND")?;
            let mut items: Vec<&str> = split_list(current).collect();
            for item in split_list(added) {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            Ok(Some(items.join(",")))
        }
        ConfigOp::Subtract(removed) => {
            let current = list_of("SUBTRACT")?;
            let is_kept = |item: &&str| split_list(removed).all(|other| other != *item);
            let items: Vec<&str> = split_list(current).filter(is_kept).collect();
            Ok(Some(items.join(",")))
        }
    }
}
