//! A shard from its log: the last record of each key counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entry, Now, Shard, ShardRules};
use crate::group::machine::Group;
use crate::group::messages::StoredGroup;
use crate::group::offsets::{CommittedFor, Offsets};
use crate::group::records::{CommittedOffset, RecordError, RecordKey, decode_group};
use crate::ids::{TimestampMs, TopicId};
use crate::metadata::image::MetadataImage;

/// Takes the records of one partition, in order.
#[derive(Clone, Debug)]
pub struct ShardLoader {
    /// Topics before any of this life is made.
    image: Arc<MetadataImage>,
    groups: BTreeMap<String, (StoredGroup, TimestampMs)>,
    offsets: BTreeMap<String, Offsets>,
}

/// A record as it stands in the log.
#[derive(Clone, Copy, Debug)]
pub struct StoredRecord<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
    /// Of the header that tells for which topic of its name an offset is.
    pub topic: Option<TopicId>,
}

impl ShardLoader {
    /// A loader that has yet to take the first record.
    #[must_use]
    pub fn new(image: Arc<MetadataImage>) -> ShardLoader {
        ShardLoader { image, groups: BTreeMap::new(), offsets: BTreeMap::new() }
    }

    /// The next record.
    ///
    /// # Errors
    /// [`RecordError`] for one that is not of this topic, or of a later release; it counts for
    /// nothing.
    pub fn take(&mut self, record: StoredRecord<'_>) -> Result<(), RecordError> {
        match (RecordKey::decode(record.key)?, record.value) {
            (RecordKey::Group { group }, None) => {
                self.groups.remove(&group);
            }
            (RecordKey::Group { group }, Some(value)) => {
                self.groups.insert(group, decode_group(value)?);
            }
            (RecordKey::Offset { group, topic, partition }, value) => {
                let offset = value.map(|value| self.offset(&topic, (value, record.topic)));
                let (of, offset) = (CommittedFor { topic, partition }, offset.transpose()?);
                let offsets = self.offsets.entry(group).or_default();
                match offset {
                    Some(_) if rivven_io::planted!("B61") && offsets.has(&of) => {}
                    Some(offset) => offsets.set(of, offset),
                    None => offsets.remove(&of),
                }
            }
        }
        Ok(())
    }

    fn offset(
        &self,
        topic: &str,
        (value, id): (&[u8], Option<TopicId>),
    ) -> Result<CommittedOffset, RecordError> {
        let offset = CommittedOffset::decode(value, id.unwrap_or(TopicId::NIL))?;
        if id.is_some() {
            return Ok(offset);
        }
        // Earlier releases did not say. A topic that was made later is another one.
        let found = self.image.topic(topic).filter(|topic| topic.created_ms <= offset.committed);
        Ok(CommittedOffset { topic: found.map_or(TopicId::NIL, |topic| topic.id), ..offset })
    }

    /// The shard, each member with its whole session before it; and the groups whose last record
    /// makes no sense, with the reason. Those go on without members.
    #[must_use]
    pub fn finish(mut self, rules: ShardRules, now: Now) -> (Shard, Vec<(String, &'static str)>) {
        let mut shard = Shard::new(rules);
        let mut refused = Vec::new();
        for (name, (stored, since)) in self.groups {
            let group = Group::restored(rules.group, stored, now.monotonic);
            let group = group.unwrap_or_else(|reason| {
                refused.push((name.clone(), reason));
                Group::new(rules.group)
            });
            let offsets = self.offsets.remove(&name).unwrap_or_default();
            let entry = Entry { offsets, since, is_logged: true, ..Entry::of(group) };
            shard.groups.insert(name, entry);
        }
        for (name, offsets) in self.offsets.into_iter().filter(|(_, all)| !all.is_empty()) {
            shard.groups.insert(name, Entry { offsets, ..Entry::new(rules.group) });
        }
        let names: Vec<String> = shard.groups.keys().cloned().collect();
        for name in names {
            shard.note_deadline(&name);
            shard.weigh(&name);
        }
        shard.check_all();
        (shard, refused)
    }
}
