//! A shard from its log: the last record of each key counts.

use std::collections::BTreeMap;

use super::{Entry, Now, Shard, ShardRules};
use crate::group::machine::Group;
use crate::group::messages::StoredGroup;
use crate::group::offsets::{CommittedFor, Offsets};
use crate::group::records::{CommittedOffset, RecordError, RecordKey, decode_group};
use crate::ids::TimestampMs;

/// Takes the records of one partition, in order.
#[derive(Clone, Debug, Default)]
pub struct ShardLoader {
    groups: BTreeMap<String, (StoredGroup, TimestampMs)>,
    offsets: BTreeMap<String, Offsets>,
}

impl ShardLoader {
    /// The next record.
    ///
    /// # Errors
    /// [`RecordError`] for one that is not of this topic, or of a later release; it counts for
    /// nothing.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), RecordError> {
        match (RecordKey::decode(key)?, value) {
            (RecordKey::Group { group }, None) => {
                self.groups.remove(&group);
            }
            (RecordKey::Group { group }, Some(value)) => {
                self.groups.insert(group, decode_group(value)?);
            }
            (RecordKey::Offset { group, topic, partition }, value) => {
                let of = CommittedFor { topic, partition };
                let offset = value.map(CommittedOffset::decode).transpose()?;
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
            let entry = Entry { group, offsets, deadline: None, since, is_logged: true };
            shard.groups.insert(name, entry);
        }
        for (name, offsets) in self.offsets.into_iter().filter(|(_, all)| !all.is_empty()) {
            shard.groups.insert(name, Entry { offsets, ..Entry::new(rules.group) });
        }
        let names: Vec<String> = shard.groups.keys().cloned().collect();
        for name in names {
            shard.note_deadline(&name);
        }
        shard.check_all();
        (shard, refused)
    }
}
