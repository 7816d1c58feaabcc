//! Which topics the members of a consumer group subscribe to: the one thing that the coordinator
//! reads of what clients tell each other, to know which offsets are in use.
//!
//! ```text
//! i16 version · i32 topics, and for each: i16 length · UTF-8 · more that is not looked at
//! ```
//!
//! Source: `ConsumerProtocolSubscription` of Kafka 4.3.1.

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};

/// The protocol type whose metadata has this form; of others nothing is known.
pub(super) const CONSUMER: &str = "consumer";

/// The topics that any of some members subscribes to.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscriptions {
    topics: BTreeSet<Bytes>,
    /// A subscription cannot be read: it may be to anything.
    is_unknown: bool,
}

impl Subscriptions {
    pub(super) fn of(members: impl Iterator<Item = Bytes>) -> Subscriptions {
        let mut all = Subscriptions::default();
        for metadata in members {
            match topics(metadata) {
                Some(topics) => all.topics.extend(topics),
                None => all.is_unknown = true,
            }
        }
        all
    }

    pub(super) fn contains(&self, topic: &str) -> bool {
        self.is_unknown || self.topics.contains(topic.as_bytes())
    }
}

/// `None` for bytes that are no subscription.
fn topics(mut metadata: Bytes) -> Option<Vec<Bytes>> {
    let version = metadata.try_get_i16().ok()?;
    let count = metadata.try_get_i32().ok()?;
    if version < 0 || count < 0 {
        return None;
    }
    let mut topics = Vec::new();
    for _ in 0..count {
        let len = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        if len > metadata.len() {
            return None;
        }
        topics.push(metadata.split_to(len));
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(members: &[&'static [u8]], topic: &str) -> bool {
        Subscriptions::of(members.iter().map(|bytes| Bytes::from_static(bytes))).contains(topic)
    }

    #[test]
    fn topics_are_found_and_nonsense_may_be_anything() {
        let two = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";
        let one = b"\0\0\0\0\0\x01\0\x01d";
        for (topic, named) in [("a", true), ("bc", true), ("d", true), ("b", false), ("", false)] {
            assert_eq!(contains(&[two, one], topic), named, "{topic}");
        }
        let short = b"\0\x01\0\0\0\x03\0\x01a\0\x02bc";
        for nonsense in [&b""[..], b"\0\x01", b"\xff\xff\0\0\0\0", b"\0\0\xff\xff\xff\xff", short] {
            assert!(contains(&[nonsense, one], "a"));
        }
        assert!(!contains(&[b"\0\0\0\0\0\0"], "a") && !contains(&[], "a"));
    }
}
