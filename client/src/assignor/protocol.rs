//! What members of a consumer group tell each other, in bytes: `ConsumerProtocolSubscription` and
//! `ConsumerProtocolAssignment` of Kafka, versions 0 to 3, and the user data of sticky members.
//!
//! ```text
//! subscription  i16 version · topics · bytes user data · 1+: owned · 2+: i32 generation
//!               · 3+: string rack
//! assignment    i16 version · partitions · bytes user data
//! sticky        partitions · i32 generation
//! made from     "rivven" · u8 version, 1 · u32 CRC-32 of what the assignment was made from
//!
//! topics        i32 count · string each
//! partitions    i32 topics, and for each: string · i32 count · i32 each
//! string        i16 length, -1 for null · UTF-8
//! bytes         i32 length, -1 for null
//! ```
//! A reader takes what it knows of a later version and ignores the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{PartitionCounts, Subscription, TopicPartition};

/// The protocol type of groups of consumers.
pub const CONSUMER: &str = "consumer";

const SUBSCRIPTION_VERSION: i16 = 3;
/// All versions look the same; the oldest readers take this one.
const ASSIGNMENT_VERSION: i16 = 0;
/// What user data of an assignment by this library begins with.
const MADE_FROM: &[u8] = b"rivven\x01";

#[must_use]
pub fn encode_subscription(subscription: &Subscription, user_data: Option<&Bytes>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(SUBSCRIPTION_VERSION);
    put_count(&mut out, subscription.topics.len());
    subscription.topics.iter().for_each(|topic| put_string(&mut out, Some(topic)));
    put_bytes(&mut out, user_data);
    put_partitions(&mut out, &subscription.owned);
    out.put_i32(subscription.generation);
    put_string(&mut out, subscription.rack.as_deref());
    out.freeze()
}

/// A subscription and its user data; `None` for bytes that are none.
#[must_use]
pub fn decode_subscription(mut bytes: Bytes) -> Option<(Subscription, Option<Bytes>)> {
    let version = bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
    let mut topics = BTreeSet::new();
    for _ in 0..get_count(&mut bytes)? {
        topics.insert(get_string(&mut bytes)??);
    }
    let user_data = get_bytes(&mut bytes)?;
    let owned = if version >= 1 { get_partitions(&mut bytes)? } else { BTreeSet::new() };
    let generation = if version >= 2 { bytes.try_get_i32().ok()? } else { -1 };
    let rack = if version >= 3 { get_string(&mut bytes)? } else { None };
    let rack = rack.map(|rack| rack.to_string());
    Some((Subscription { topics, owned, generation, rack }, user_data))
}

#[must_use]
pub fn encode_assignment(partitions: &BTreeSet<TopicPartition>) -> Bytes {
    encode_assignment_of(partitions, None)
}

/// The same with user data.
pub(crate) fn encode_assignment_of(
    partitions: &BTreeSet<TopicPartition>,
    user_data: Option<&Bytes>,
) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(ASSIGNMENT_VERSION);
    put_partitions(&mut out, partitions);
    put_bytes(&mut out, user_data);
    out.freeze()
}

/// `None` for bytes that are no assignment. No bytes at all are an empty one.
#[must_use]
pub fn decode_assignment(bytes: Bytes) -> Option<BTreeSet<TopicPartition>> {
    decode_assignment_of(bytes).map(|(partitions, _)| partitions)
}

/// The same with the user data.
pub(crate) fn decode_assignment_of(
    mut bytes: Bytes,
) -> Option<(BTreeSet<TopicPartition>, Option<Bytes>)> {
    if bytes.is_empty() {
        return Some((BTreeSet::new(), None));
    }
    bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
    let partitions = get_partitions(&mut bytes)?;
    // What is cut off here is no reason to go without the partitions.
    Some((partitions, get_bytes(&mut bytes).flatten()))
}

/// What a leader leaves in its own assignment for the one that comes back in its place: which
/// topics, with how many partitions, everybody's assignments were made from.
pub(crate) fn encode_made_from(counts: &PartitionCounts) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(MADE_FROM);
    out.put_u32(checksum(counts));
    out.freeze()
}

/// Whether an assignment with this user data was made from other topics or partitions. `false`
/// where nothing is said: a leader of another kind made it.
pub(crate) fn was_made_from_others(user_data: Option<&Bytes>, counts: &PartitionCounts) -> bool {
    let sum = user_data.and_then(|bytes| bytes.strip_prefix(MADE_FROM));
    sum.is_some_and(|sum| sum != checksum(counts).to_be_bytes())
}

fn checksum(counts: &PartitionCounts) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for (topic, count) in counts {
        sum.update(topic.as_bytes());
        // No name of a topic holds a zero.
        sum.update(&[0]);
        sum.update(&count.to_be_bytes());
    }
    sum.finalize()
}

pub(super) fn encode_sticky_user_data(had: &BTreeSet<TopicPartition>, generation: i32) -> Bytes {
    let mut out = BytesMut::new();
    put_partitions(&mut out, had);
    out.put_i32(generation);
    out.freeze()
}

/// Its version 0 has no generation.
pub(super) fn decode_sticky_user_data(mut bytes: Bytes) -> Option<(BTreeSet<TopicPartition>, i32)> {
    let had = get_partitions(&mut bytes)?;
    Some((had, bytes.try_get_i32().unwrap_or(-1)))
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).expect("a subscription has far fewer entries than 2^31"));
}

fn put_string(out: &mut BytesMut, text: Option<&str>) {
    match text {
        None => out.put_i16(-1),
        Some(text) => {
            let length = i16::try_from(text.len()).expect("topics and racks are short names");
            out.put_i16(length);
            out.put_slice(text.as_bytes());
        }
    }
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&Bytes>) {
    match bytes {
        None => out.put_i32(-1),
        Some(bytes) => {
            put_count(out, bytes.len());
            out.put_slice(bytes);
        }
    }
}

fn put_partitions(out: &mut BytesMut, partitions: &BTreeSet<TopicPartition>) {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    put_count(out, topics.len());
    for (topic, indices) in topics {
        put_string(out, Some(topic));
        put_count(out, indices.len());
        indices.into_iter().for_each(|index| out.put_i32(index));
    }
}

/// A count that the bytes behind it can hold.
fn get_count(bytes: &mut Bytes) -> Option<usize> {
    let count = usize::try_from(bytes.try_get_i32().ok()?).ok()?;
    (count <= bytes.len()).then_some(count)
}

/// The outer `None` says that the bytes are no string.
fn get_string(bytes: &mut Bytes) -> Option<Option<Arc<str>>> {
    let length = bytes.try_get_i16().ok()?;
    let Ok(length) = usize::try_from(length) else { return Some(None) };
    if length > bytes.len() {
        return None;
    }
    let text = bytes.split_to(length);
    Some(Some(Arc::from(std::str::from_utf8(&text).ok()?)))
}

/// The outer `None` says that the bytes are cut off.
fn get_bytes(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    let length = bytes.try_get_i32().ok()?;
    let Ok(length) = usize::try_from(length) else { return Some(None) };
    (length <= bytes.len()).then(|| Some(bytes.split_to(length)))
}

fn get_partitions(bytes: &mut Bytes) -> Option<BTreeSet<TopicPartition>> {
    let mut partitions = BTreeSet::new();
    for _ in 0..get_count(bytes)? {
        let topic = get_string(bytes)??;
        for _ in 0..get_count(bytes)? {
            partitions.insert(TopicPartition::new(topic.clone(), bytes.try_get_i32().ok()?));
        }
    }
    Some(partitions)
}
