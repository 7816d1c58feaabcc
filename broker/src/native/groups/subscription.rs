//! What members of a consumer group tell each other, as Kafka's clients write it: version 0 of
//! `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`. Later versions add fields
//! behind, which are not looked at.
//!
//! ```text
//! subscription  i16 version · i32 topics, each: i16 length · name · i32 length of user data (-1)
//! assignment    i16 version · i32 topics, each: i16 length · name · i32 count · i32 partitions
//!               · i32 length of user data (-1)
//! ```

use bytes::{Buf, BufMut, Bytes};
use rivven_core::wire::codec::Name;

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

/// The topics of a subscription; `None` when the bytes are none.
pub(super) fn topics(mut metadata: &[u8]) -> Option<Vec<String>> {
    let version = metadata.try_get_i16().ok()?;
    let count = get_count(&mut metadata)?;
    (version >= 0).then_some(())?;
    (0..count).map(|_| get_name(&mut metadata)).collect()
}

/// The partitions of an assignment; `None` when the bytes are none.
pub(super) fn assigned(mut bytes: &[u8]) -> Option<Vec<(String, Vec<u32>)>> {
    let version = bytes.try_get_i16().ok()?;
    let count = get_count(&mut bytes)?;
    (version >= 0).then_some(())?;
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
    let (name, rest) = bytes.split_at_checked(length)?;
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
}
