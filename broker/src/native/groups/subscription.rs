//! What members of a consumer group tell each other, as Kafka's clients write it: version 0 of
//! `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`. Later versions add fields
//! behind, which are not looked at. Other members' words are bounded before they are taken.
//!
//! ```text
//! subscription  i16 version · i32 topics, each: i16 length · name · i32 length of user data (-1)
//! assignment    i16 version · i32 topics, each: i16 length · name · i32 count · i32 partitions
//!               · i32 length of user data (-1)
//! ```

use bytes::{Buf, BufMut, Bytes};
use rivven_core::wire::codec::Name;
use rivven_core::wire::limits::{LIST_MAX, NAME_BYTES_MAX};

use crate::limits::NATIVE_ANSWER_BYTES_MAX;

const VERSION: i16 = 0;
const NO_USER_DATA: i32 = -1;

pub(super) fn subscription<'a>(topics: impl ExactSizeIterator<Item = &'a str>) -> Bytes {
    let mut out = Vec::new();
    out.put_i16(VERSION);
    put_count(&mut out, topics.len());
    topics.for_each(|topic| put_name(&mut out, topic));
    out.put_i32(NO_USER_DATA);
    out.into()
}

pub(super) fn assignment(topics: &[(Name, Vec<u32>)]) -> Bytes {
    let mut out = Vec::new();
    out.put_i16(VERSION);
    put_count(&mut out, topics.len());
    for (topic, partitions) in topics {
        put_name(&mut out, topic);
        put_count(&mut out, partitions.len());
        partitions.iter().for_each(|partition| out.put_u32(*partition));
    }
    out.put_i32(NO_USER_DATA);
    out.into()
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_i32(i32::try_from(count).expect("lists of a request are bounded"));
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    out.put_i16(i16::try_from(name.len()).expect("names are bounded"));
    out.put_slice(name.as_bytes());
}

/// The members with the topics that each wants; `None` when they take more than an answer holds. A
/// subscription that cannot be read wants nothing.
pub(super) fn of_members<'a>(
    members: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Option<Vec<(String, Vec<String>)>> {
    let mut left = NATIVE_ANSWER_BYTES_MAX;
    let of_member = |(member, metadata): (&str, &[u8])| {
        let topics = topics(metadata).unwrap_or_default();
        let bytes = topics.iter().map(|topic| size_of::<String>() + topic.len()).sum();
        left = left.checked_sub(bytes)?;
        Some((member.to_owned(), topics))
    };
    members.map(of_member).collect()
}

/// The topics of a subscription; `None` when the bytes are none, or too many.
fn topics(mut metadata: &[u8]) -> Option<Vec<String>> {
    let version = metadata.try_get_i16().ok()?;
    let count = get_count(&mut metadata)?;
    (version >= 0 && count <= LIST_MAX).then_some(())?;
    (0..count).map(|_| get_name(&mut metadata)).collect()
}

/// The partitions of an assignment; `None` when the bytes are none, or too many.
pub(super) fn assigned(mut bytes: &[u8]) -> Option<Vec<(String, Vec<u32>)>> {
    let version = bytes.try_get_i16().ok()?;
    let count = get_count(&mut bytes)?;
    (version >= 0 && count <= LIST_MAX).then_some(())?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let name = get_name(&mut bytes)?;
        let partitions = get_count(&mut bytes)?;
        let partitions = (0..partitions).map(|_| bytes.try_get_u32().ok());
        topics.push((name, partitions.collect::<Option<_>>()?));
    }
    Some(topics)
}

fn get_count(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(bytes.try_get_i32().ok()?).ok()
}

fn get_name(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    let (name, rest) = bytes.split_at_checked(length).filter(|_| length <= NAME_BYTES_MAX)?;
    *bytes = rest;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_words_are_kafka_s_and_nonsense_is_none() {
        let written = subscription(["a", "bc"].into_iter());
        assert_eq!(written[..], *b"\0\0\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff");
        assert_eq!(topics(&written), Some(vec!["a".to_owned(), "bc".to_owned()]));
        let given = assignment(&[(Name::from("a"), vec![0, 5])]);
        let bytes = b"\0\0\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x05\xff\xff\xff\xff";
        assert_eq!(given[..], *bytes);
        assert_eq!(assigned(&given), Some(vec![("a".to_owned(), vec![0, 5])]));
        for end in 0..given.len() - 4 {
            assert_eq!(assigned(&given[..end]), None, "{end}");
        }
        assert_eq!(topics(b"\0\0\x7f\xff\xff\xff"), None);
    }

    #[test]
    fn what_others_say_is_bounded() {
        let empty = vec![""; LIST_MAX + 1];
        assert!(topics(&subscription(empty[1..].iter().copied())).is_some());
        assert_eq!(topics(&subscription(empty.iter().copied())), None);
        let given = |count: usize| assignment(&vec![(Name::from(""), vec![]); count]);
        assert!(assigned(&given(LIST_MAX)).is_some());
        assert_eq!(assigned(&given(LIST_MAX + 1)), None);
        for (length, is_name) in [(NAME_BYTES_MAX, true), (NAME_BYTES_MAX + 1, false)] {
            let name = "a".repeat(length);
            assert_eq!(topics(&subscription([&*name].into_iter())).is_some(), is_name);
            assert_eq!(assigned(&assignment(&[(Name::from(&*name), vec![])])).is_some(), is_name);
        }
    }

    #[test]
    fn members_that_fit_no_answer_together_are_refused() {
        let name = "a".repeat(NAME_BYTES_MAX);
        let large = subscription(vec![&*name; LIST_MAX].into_iter());
        let members = |count: usize| of_members(std::iter::repeat_n(("m", &large[..]), count));
        assert_eq!(members(3).map(|members| members.len()), Some(3));
        assert_eq!(members(4), None);
        let strange = of_members([("m", &b"?"[..])].into_iter());
        assert_eq!(strange, Some(vec![("m".to_owned(), vec![])]));
    }
}
