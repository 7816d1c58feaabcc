//! The records of `__consumer_offsets`, held to bytes that Kafka 4.3.1 wrote.

use crate::group::records::{
    CommittedOffset, RecordError, RecordKey, decode_group, encode_group, partition_of,
};
use crate::ids::{Offset, TimestampMs, TopicId};

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

const OFFSET_KEY: &str = "0001 0001 67 0001 74 00000007";
const OFFSET_VALUE: &str = "0003 000000000000002a 00000005 0001 6d 00000000000003e8";
const EXPIRING_VALUE: &str = "0001 000000000000002a 0001 6d 00000000000003e8 00000000000007d0";
const GROUP_KEY: &str = "0002 0001 67";
const GROUP_VALUE: &str = "0003 0008 636f6e73756d6572 00000003 0005 72616e6765 0001 61 \
                           00000000000003e8 00000002 \
                           0001 61 0001 69 0001 63 0002 2f68 0000ea60 00002710 00000001 01 \
                           00000002 0203 \
                           0001 62 ffff 0000 0000 00000001 00000002 00000000 00000000";
const EMPTY_GROUP: &str = "0003 0000 00000004 ffff ffff ffffffffffffffff 00000000";

fn group() -> StoredGroup {
    let first = StoredMember {
        member_id: "a".to_owned(),
        instance_id: Some("i".to_owned()),
        client_id: "c".to_owned(),
        client_host: "/h".to_owned(),
        rebalance_timeout: Duration::from_secs(60),
        session_timeout: Duration::from_secs(10),
        metadata: Bytes::from_static(&[1]),
        assignment: Bytes::from_static(&[2, 3]),
    };
    let second = StoredMember {
        member_id: "b".to_owned(),
        instance_id: None,
        client_id: String::new(),
        client_host: String::new(),
        rebalance_timeout: Duration::from_millis(1),
        session_timeout: Duration::from_millis(2),
        metadata: Bytes::new(),
        assignment: Bytes::new(),
    };
    StoredGroup {
        generation: 3,
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("range".to_owned()),
        leader: Some("a".to_owned()),
        members: vec![first, second],
    }
}

#[test]
fn a_client_id_that_is_too_long_is_cut_between_characters() {
    let mut stored = group();
    stored.members[0].client_id = "\u{fffd}".repeat(20_000);
    let (read, _) = decode_group(&encode_group(&stored, TimestampMs(0))).unwrap();
    assert_eq!(read.members[0].client_id.len(), 32_766);
    assert!(stored.members[0].client_id.starts_with(&read.members[0].client_id));
    assert_eq!(read.members[1], stored.members[1]);
}

#[test]
fn records_are_those_of_kafka() {
    let (group_name, topic) = ("g".to_owned(), "t".to_owned());
    let offset_key = RecordKey::Offset { group: group_name.clone(), topic, partition: 7 };
    let group_key = RecordKey::Group { group: group_name };
    for (key, golden) in [(offset_key, OFFSET_KEY), (group_key, GROUP_KEY)] {
        assert_eq!(key.encode(), bytes(golden));
        assert_eq!(RecordKey::decode(&bytes(golden)), Ok(key));
    }
    let value = CommittedOffset {
        offset: Offset(42),
        leader_epoch: 5,
        metadata: "m".to_owned(),
        committed: TimestampMs(1000),
        expires: None,
        topic: TopicId([7; 16]),
    };
    let expiring =
        CommittedOffset { leader_epoch: -1, expires: Some(TimestampMs(2000)), ..value.clone() };
    for (value, golden) in [(value, OFFSET_VALUE), (expiring, EXPIRING_VALUE)] {
        assert_eq!(value.encode(), bytes(golden));
        assert_eq!(CommittedOffset::decode(&bytes(golden), value.topic), Ok(value));
    }
    let empty = StoredGroup { generation: 4, ..StoredGroup::default() };
    for (group, since, golden) in [(group(), 1000, GROUP_VALUE), (empty, -1, EMPTY_GROUP)] {
        assert_eq!(encode_group(&group, TimestampMs(since)), bytes(golden));
        assert_eq!(decode_group(&bytes(golden)), Ok((group, TimestampMs(since))));
    }
}

#[test]
fn what_is_no_record_is_refused() {
    type Refuses = fn(&[u8]) -> bool;
    let key: Refuses = |bytes| RecordKey::decode(bytes).is_err();
    let offset: Refuses = |bytes| CommittedOffset::decode(bytes, TopicId::NIL).is_err();
    let group: Refuses = |bytes| decode_group(bytes).is_err();
    for (golden, refuses) in
        [(OFFSET_KEY, key), (GROUP_KEY, key), (OFFSET_VALUE, offset), (GROUP_VALUE, group)]
    {
        let whole = bytes(golden);
        assert!(!refuses(&whole), "{golden}");
        for end in 0..whole.len() {
            assert!(refuses(&whole[..end]), "{golden} cut at {end}");
        }
        // Whatever one byte becomes, nothing panics.
        for at in 0..whole.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut spoilt = whole.clone();
                spoilt[at] = byte;
                let _ = RecordKey::decode(&spoilt);
                let _ = CommittedOffset::decode(&spoilt, TopicId::NIL);
                let _ = decode_group(&spoilt);
            }
        }
    }
    assert_eq!(RecordKey::decode(&bytes("0003 0001 67")), Err(RecordError::Unknown(3)));
    assert_eq!(RecordKey::decode(&bytes("0002 0001 67 00")), Err(RecordError::TooLong(1)));
    assert_eq!(RecordKey::decode(&bytes("0002 0001 ff")), Err(RecordError::NotUtf8));
    let newer = CommittedOffset::decode(&bytes("0004"), TopicId::NIL);
    assert_eq!(newer, Err(RecordError::Unknown(4)));
    let below = RecordKey::decode(&bytes("0001 0001 67 0001 74 ffffffff"));
    assert_eq!(below, Err(RecordError::Negative));
    let many = "0003 0000 00000004 ffff ffff ffffffffffffffff 7fffffff";
    assert_eq!(decode_group(&bytes(many)), Err(RecordError::Truncated));
    let negative = "0003 0000 00000004 ffff ffff ffffffffffffffff ffffffff";
    assert_eq!(decode_group(&bytes(negative)), Err(RecordError::Negative));
}

#[test]
fn a_group_stays_in_its_partition() {
    for (group, expected) in [
        ("", 0),
        ("g", 3),
        ("group-42", 20),
        ("äöü€😀", 35),
        ("a-very-long-group-name-0123456789", 9),
    ] {
        assert_eq!(partition_of(group, 50), expected, "{group}");
    }
}
