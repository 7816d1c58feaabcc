//! The records of `__consumer_offsets`, in Kafka's own form: tools that read that topic go on
//! working.
//!
//! ```text
//! key of an offset      i16 1 · string group · string topic · i32 partition
//! value of an offset    i16 3 · i64 offset · i32 leader epoch · string metadata ·
//!                       i64 committed, ms
//!   that expires        i16 1 · i64 offset · string metadata · i64 committed, ms ·
//!                       i64 expires, ms
//! key of a group        i16 2 · string group
//! value of a group      i16 3 · string protocol type · i32 generation · string? protocol ·
//!                       string? leader · i64 since, ms · i32 members, and for each: string id ·
//!                       string? instance · string client id · string client host ·
//!                       i32 rebalance timeout, ms · i32 session timeout, ms · bytes metadata ·
//!                       bytes assignment
//! ```
//!
//! A string is an i16 length (-1: none) and UTF-8, bytes are an i32 length and what follows. A null
//! value takes the key's state back. Which topic of its name an offset was committed for stands in
//! a record header, [`TOPIC_HEADER`], which tools pass over: the id, 16 bytes. Source:
//! `OffsetCommitKey`, `OffsetCommitValue`, `GroupMetadataKey` and `GroupMetadataValue` of Kafka
//! 4.3.1's group coordinator.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::group::messages::{StoredGroup, StoredMember};
use crate::ids::{Offset, TimestampMs, TopicId};
use crate::kafka::codec::text::STRING_BYTES_MAX;
use crate::record::records::RecordHeaders;

/// Name of the header with the topic's id.
pub const TOPIC_HEADER: &[u8] = b"rivven.topic.id";

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const VALUE_VERSION: i16 = 3;
const EXPIRING_VERSION: i16 = 1;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKey {
    Offset { group: String, topic: String, partition: i32 },
    Group { group: String },
}

/// How far a group has read a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record that it will read.
    pub offset: Offset,
    /// Of the record before it; -1: not said.
    pub leader_epoch: i32,
    /// Whatever the client wants to remember.
    pub metadata: String,
    pub committed: TimestampMs,
    /// When it goes, if the client said so (OffsetCommit up to version 4), else by the retention of
    /// the broker. Then no leader epoch is kept.
    pub expires: Option<TimestampMs>,
    /// Which topic of its name it is for; not part of the value. Nil: none that is there.
    pub topic: TopicId,
}

/// Why bytes are no record of this topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("it ends early, or a length in it is negative or beyond its end")]
    Truncated,
    #[error("a string in it is not UTF-8")]
    NotUtf8,
    /// A later release, or Kafka, wrote it.
    #[error("records of type or version {0} are not known")]
    Unknown(i16),
    #[error("a timeout, count or partition in it is negative")]
    Negative,
    #[error("{0} bytes follow its end")]
    TooLong(usize),
}

impl RecordKey {
    /// The key's bytes. Group and topic are at most `i16::MAX` bytes, which requests guarantee.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            RecordKey::Offset { group, topic, partition } => {
                out.put_i16(OFFSET_KEY);
                put_string(&mut out, Some(group));
                put_string(&mut out, Some(topic));
                out.put_i32(*partition);
            }
            RecordKey::Group { group } => {
                out.put_i16(GROUP_KEY);
                put_string(&mut out, Some(group));
            }
        }
        out.freeze()
    }

    /// # Errors
    /// [`RecordError`] for bytes that are no such key.
    pub fn decode(bytes: &[u8]) -> Result<RecordKey, RecordError> {
        let mut input = Input(bytes);
        let key = match input.i16()? {
            OFFSET_KEY => RecordKey::Offset {
                group: input.string()?,
                topic: input.string()?,
                partition: input.partition()?,
            },
            GROUP_KEY => RecordKey::Group { group: input.string()? },
            other => return Err(RecordError::Unknown(other)),
        };
        input.end()?;
        Ok(key)
    }
}

impl CommittedOffset {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(if self.expires.is_some() { EXPIRING_VERSION } else { VALUE_VERSION });
        out.put_i64(self.offset.0);
        if self.expires.is_none() {
            out.put_i32(self.leader_epoch);
        }
        put_string(&mut out, Some(&self.metadata));
        out.put_i64(self.committed.0);
        if let Some(expires) = self.expires {
            out.put_i64(expires.0);
        }
        out.freeze()
    }

    /// An offset of the topic that a header of its record names.
    ///
    /// # Errors
    /// [`RecordError`] for bytes that are no such value.
    pub fn decode(bytes: &[u8], topic: TopicId) -> Result<CommittedOffset, RecordError> {
        let mut input = Input(bytes);
        let expires = match input.i16()? {
            VALUE_VERSION => false,
            EXPIRING_VERSION => true,
            other => return Err(RecordError::Unknown(other)),
        };
        let value = CommittedOffset {
            offset: Offset(input.i64()?),
            leader_epoch: if expires { -1 } else { input.i32()? },
            metadata: input.string()?,
            committed: TimestampMs(input.i64()?),
            expires: if expires { Some(TimestampMs(input.i64()?)) } else { None },
            topic,
        };
        input.end()?;
        Ok(value)
    }
}

/// Which topic of its name an offset is for, if the record says so.
#[must_use]
pub fn topic_of(mut headers: RecordHeaders<'_>) -> Option<TopicId> {
    let id = headers.find(|header| header.key == TOPIC_HEADER)?.value?;
    id.try_into().ok().map(TopicId)
}

/// The bytes of a group's value; `since` is when it came into its phase.
#[must_use]
pub fn encode_group(group: &StoredGroup, since: TimestampMs) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(VALUE_VERSION);
    put_string(&mut out, Some(group.protocol_type.as_deref().unwrap_or_default()));
    out.put_i32(group.generation);
    put_string(&mut out, group.protocol.as_deref());
    put_string(&mut out, group.leader.as_deref());
    out.put_i64(since.0);
    out.put_i32(i32::try_from(group.members.len()).expect("a group has few members"));
    for member in &group.members {
        put_string(&mut out, Some(&member.member_id));
        put_string(&mut out, member.instance_id.as_deref());
        put_string(&mut out, Some(&member.client_id));
        put_string(&mut out, Some(&member.client_host));
        put_millis(&mut out, member.rebalance_timeout);
        put_millis(&mut out, member.session_timeout);
        put_bytes(&mut out, &member.metadata);
        put_bytes(&mut out, &member.assignment);
    }
    out.freeze()
}

/// A group, and when it came into its phase.
///
/// # Errors
/// [`RecordError`] for bytes that are no group's value.
pub fn decode_group(bytes: &[u8]) -> Result<(StoredGroup, TimestampMs), RecordError> {
    let mut input = Input(bytes);
    input.version()?;
    let protocol_type = Some(input.string()?).filter(|name| !name.is_empty());
    let generation = input.i32()?;
    let protocol = input.nullable_string()?;
    let leader = input.nullable_string()?;
    let since = TimestampMs(input.i64()?);
    let count = usize::try_from(input.i32()?).map_err(|_| RecordError::Negative)?;
    // No capacity for what is only announced: each member takes some bytes.
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(StoredMember {
            member_id: input.string()?,
            instance_id: input.nullable_string()?,
            client_id: input.string()?,
            client_host: input.string()?,
            rebalance_timeout: input.millis()?,
            session_timeout: input.millis()?,
            metadata: input.bytes()?,
            assignment: input.bytes()?,
        });
    }
    input.end()?;
    Ok((StoredGroup { generation, protocol_type, protocol, leader, members }, since))
}

/// The partition of `__consumer_offsets` that has a group, by Java's hash of its name. Kafka takes
/// the absolute value of the hash where this takes its lower 31 bits, so that groups whose hash is
/// negative live elsewhere there: who wants to know asks FindCoordinator. Directories depend on it.
#[must_use]
pub fn partition_of(group: &str, partitions: u32) -> u32 {
    assert!(partitions > 0, "a topic has partitions");
    let units = group.encode_utf16();
    let hash = units.fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX).cast_unsigned() % partitions
}

fn put_string(out: &mut BytesMut, text: Option<&str>) {
    let Some(text) = text else { return out.put_i16(-1) };
    // Only a client id can be longer, if it was not UTF-8 and its bytes became characters.
    let text = &text[..text.floor_char_boundary(STRING_BYTES_MAX)];
    out.put_i16(i16::try_from(text.len()).expect("it was cut to what a length can say"));
    out.put_slice(text.as_bytes());
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(i32::try_from(bytes.len()).expect("a frame bounds its bytes to 100 MiB"));
    out.put_slice(bytes);
}

fn put_millis(out: &mut BytesMut, time: Duration) {
    out.put_i32(i32::try_from(time.as_millis()).unwrap_or(i32::MAX));
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn version(&mut self) -> Result<(), RecordError> {
        match self.i16()? {
            VALUE_VERSION => Ok(()),
            other => Err(RecordError::Unknown(other)),
        }
    }

    fn i16(&mut self) -> Result<i16, RecordError> {
        self.0.try_get_i16().map_err(|_| RecordError::Truncated)
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        self.0.try_get_i32().map_err(|_| RecordError::Truncated)
    }

    fn partition(&mut self) -> Result<i32, RecordError> {
        let partition = self.i32()?;
        if partition < 0 { Err(RecordError::Negative) } else { Ok(partition) }
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        self.0.try_get_i64().map_err(|_| RecordError::Truncated)
    }

    fn take(&mut self, len: usize) -> Result<&[u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(RecordError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn nullable_string(&mut self) -> Result<Option<String>, RecordError> {
        let len = match self.i16()? {
            -1 => return Ok(None),
            len => usize::try_from(len).map_err(|_| RecordError::Truncated)?,
        };
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| RecordError::NotUtf8)?;
        Ok(Some(text.to_owned()))
    }

    fn string(&mut self) -> Result<String, RecordError> {
        self.nullable_string()?.ok_or(RecordError::Truncated)
    }

    fn bytes(&mut self) -> Result<Bytes, RecordError> {
        let len = usize::try_from(self.i32()?).map_err(|_| RecordError::Truncated)?;
        Ok(Bytes::copy_from_slice(self.take(len)?))
    }

    fn millis(&mut self) -> Result<Duration, RecordError> {
        let millis = u64::try_from(self.i32()?).map_err(|_| RecordError::Negative)?;
        Ok(Duration::from_millis(millis))
    }

    fn end(&self) -> Result<(), RecordError> {
        match self.0.len() {
            0 => Ok(()),
            more => Err(RecordError::TooLong(more)),
        }
    }
}
