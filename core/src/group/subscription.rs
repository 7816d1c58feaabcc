//! Which topics the members of a consumer group subscribe to: the one thing that the coordinator
//! reads of what clients tell each other, to know which offsets are in use.
//!
//! ```text
//! i16 version · i32 topics, and for each: i16 length · UTF-8 · more that is not looked at
//! ```
//!
//! Source: `ConsumerProtocolSubscription` of Kafka 4.3.1.

use bytes::Buf;

/// The protocol type whose metadata has this form; of others nothing is known.
pub(super) const CONSUMER: &str = "consumer";

/// Whether a subscription names a topic; `None` for bytes that are no subscription.
pub(super) fn names(mut metadata: &[u8], topic: &str) -> Option<bool> {
    let version = metadata.try_get_i16().ok()?;
    let count = metadata.try_get_i32().ok()?;
    if version < 0 || count < 0 {
        return None;
    }
    let mut is_named = false;
    for _ in 0..count {
        let len = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        let (name, rest) = metadata.split_at_checked(len)?;
        is_named |= name == topic.as_bytes();
        metadata = rest;
    }
    Some(is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_found_and_nonsense_is_none() {
        let two = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";
        for (topic, named) in [("a", true), ("bc", true), ("b", false), ("", false)] {
            assert_eq!(names(two, topic), Some(named), "{topic}");
        }
        let short = b"\0\x01\0\0\0\x03\0\x01a\0\x02bc";
        for nonsense in [&b""[..], b"\0\x01", b"\xff\xff\0\0\0\0", b"\0\0\xff\xff\xff\xff", short] {
            assert_eq!(names(nonsense, "a"), None);
        }
        assert_eq!(names(b"\0\0\0\0\0\0", "a"), Some(false));
    }
}
