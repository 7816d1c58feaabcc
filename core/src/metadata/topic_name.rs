//! Which topic names are legal, reserved, or too much like another, by Kafka's rules and texts.

use crate::limits::TOPIC_NAME_BYTES_MAX;

/// Topics of the broker itself. They exist as soon as they are needed; clients may read but
/// neither create, delete nor write them.
pub const INTERNAL_TOPICS: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// Why a topic name is illegal, in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    #[error("Topic name is invalid: '{0}' is not allowed")]
    Dots(String),
    #[error(
        "Topic name is invalid: the length of '{0}' is longer than the max allowed length \
         {TOPIC_NAME_BYTES_MAX}"
    )]
    TooLong(String),
    #[error(
        "Topic name is invalid: '{0}' contains one or more characters other than ASCII \
         alphanumerics, '.', '_' and '-'"
    )]
    Character(String),
}

/// Checks a topic name: 1 to 249 of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`.
///
/// # Errors
/// [`InvalidTopicName`], with the name.
pub fn check_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() {
        Err(InvalidTopicName::Empty)
    } else if name == "." || name == ".." {
        Err(InvalidTopicName::Dots(name.to_owned()))
    } else if name.chars().count() > TOPIC_NAME_BYTES_MAX {
        Err(InvalidTopicName::TooLong(name.to_owned()))
    } else if !name.bytes().all(is_legal) {
        Err(InvalidTopicName::Character(name.to_owned()))
    } else {
        Ok(())
    }
}

/// Whether the topic is the broker's own (Produce answers INVALID_TOPIC_EXCEPTION).
#[must_use]
pub fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// The broker's own topic that `name` differs from only in `.` and `_`. It counts as existing
/// before it is there, or a client could keep the broker from creating it.
pub(crate) fn colliding_internal(name: &str) -> Option<&'static str> {
    let key = collision_key(name)?;
    INTERNAL_TOPICS.into_iter().find(|internal| *internal == key && *internal != name)
}

/// What two names share that differ only in `.` and `_`, which metric names cannot tell apart;
/// `None` for a name with neither.
pub(crate) fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legal_by_kafka_s_rules_and_texts() {
        let longest = "z".repeat(249);
        let too_long = "z".repeat(250);
        let length_text = format!(
            "Topic name is invalid: the length of '{too_long}' is longer than the max allowed \
             length 249"
        );
        let character = "contains one or more characters other than ASCII alphanumerics, '.', '_' \
                         and '-'";
        let bad = format!("Topic name is invalid: 'bad name!' {character}");
        let accent = format!("Topic name is invalid: 'é' {character}");
        let cases = [
            ("a", None),
            ("A.b_c-9", None),
            ("...", None),
            ("wal", None),
            (&longest, None),
            ("", Some("Topic name is invalid: the empty string is not allowed")),
            (".", Some("Topic name is invalid: '.' is not allowed")),
            ("..", Some("Topic name is invalid: '..' is not allowed")),
            (&too_long, Some(&length_text)),
            ("bad name!", Some(&bad)),
            ("é", Some(&accent)),
        ];
        for (name, expected) in cases {
            let text = check_topic_name(name).err().map(|error| error.to_string());
            assert_eq!(text.as_deref(), expected, "{name}");
        }
    }
}
