//! Where each partition begins and ends.

use std::collections::{BTreeMap, BTreeSet};

use rivven_client::admin::offsets::OffsetSpec;
use rivven_client::assignor::TopicPartition;

use crate::CommandError;
use crate::arguments::consume::{ConsumeArguments, Start, Starts};
use crate::failure::sentence;
use crate::session::Session;

/// Partitions, and what of them is to be read.
pub(super) struct Places {
    /// Where to begin, without a group.
    pub(super) starts: BTreeMap<TopicPartition, i64>,
    /// Where the log ended when the command began.
    ends: BTreeMap<TopicPartition, i64>,
    /// What is read now and how far; none as long as a group has given nothing.
    owned: Option<BTreeMap<TopicPartition, i64>>,
}

impl Places {
    pub(super) async fn find(
        session: &Session,
        arguments: &ConsumeArguments,
        starts: &Starts,
    ) -> Result<Places, CommandError> {
        let partitions = partitions(session, arguments, starts).await?;
        let log_starts = list(session, &partitions, OffsetSpec::Earliest).await?;
        let ends = list(session, &partitions, OffsetSpec::Latest).await?;
        if arguments.group.is_some() {
            return Ok(Places { starts: BTreeMap::new(), ends, owned: None });
        }
        let mut begins = BTreeMap::new();
        for (of, end) in &ends {
            let log_start = log_starts.get(of).copied().unwrap_or(0);
            let offset = begin(starts.of(of.partition), log_start, *end).ok_or_else(|| {
                CommandError::Failed(format!(
                    "partition {} of topic {:?} has offsets {log_start} to {end}; begin inside \
                     them with --offset",
                    of.partition, &*of.topic
                ))
            })?;
            begins.insert(of.clone(), offset);
        }
        let owned = Some(begins.clone());
        Ok(Places { starts: begins, ends, owned })
    }

    pub(super) fn own(&mut self, partitions: Vec<TopicPartition>) {
        let owned = self.owned.get_or_insert_default();
        owned.extend(partitions.into_iter().map(|of| (of, 0)));
    }

    pub(super) fn disown(&mut self, partitions: &[TopicPartition]) {
        if let Some(owned) = &mut self.owned {
            owned.retain(|of, _| !partitions.contains(of));
        }
    }

    pub(super) fn reached(&mut self, of: &TopicPartition, next: i64) {
        if let Some(reached) = self.owned.as_mut().and_then(|owned| owned.get_mut(of)) {
            *reached = next.max(*reached);
        }
    }

    /// Whether a record was there when the command began.
    pub(super) fn wants(&self, of: &TopicPartition, offset: i64) -> bool {
        self.ends.get(of).is_some_and(|end| offset < *end)
    }

    /// What is owned and not read to its end.
    pub(super) fn open(&self) -> Vec<TopicPartition> {
        let owned = self.owned.iter().flatten();
        let open = owned.filter(|(of, reached)| self.ends.get(of).is_some_and(|e| *reached < e));
        open.map(|(of, _)| of.clone()).collect()
    }

    pub(super) fn has_all(&self) -> bool {
        self.owned.as_ref().is_some_and(|owned| !owned.is_empty()) && self.open().is_empty()
    }
}

/// `None` outside the log.
fn begin(start: Start, log_start: i64, end: i64) -> Option<i64> {
    match start {
        Start::Earliest => Some(log_start),
        Start::Latest => Some(end),
        Start::Last(count) => Some(end.saturating_sub(count).max(log_start)),
        Start::At(offset) => Some(offset).filter(|offset| (log_start..=end).contains(offset)),
    }
}

async fn partitions(
    session: &Session,
    arguments: &ConsumeArguments,
    starts: &Starts,
) -> Result<BTreeSet<TopicPartition>, CommandError> {
    let names: Vec<&str> = arguments.topics.iter().map(String::as_str).collect();
    let mut partitions = BTreeSet::new();
    for (name, result) in session.admin.describe_topics(&names).await? {
        let topic = match result {
            Ok(topic) => topic,
            Err(error) => {
                return Err(CommandError::Failed(session.about_topic(&name, &error).await));
            }
        };
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let named = arguments.partitions.iter().chain(starts.partitions.keys());
        if let Some(beyond) = named.copied().find(|index| *index >= count) {
            return Err(CommandError::Failed(format!(
                "topic {name:?} has no partition {beyond}, only 0 to {}",
                count - 1
            )));
        }
        let wanted =
            |index: &i32| arguments.partitions.is_empty() || arguments.partitions.contains(index);
        let indexes = (0..count).filter(wanted);
        partitions.extend(indexes.map(|index| TopicPartition::new(name.as_str(), index)));
    }
    Ok(partitions)
}

async fn list(
    session: &Session,
    partitions: &BTreeSet<TopicPartition>,
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, i64>, CommandError> {
    let wanted = partitions.iter().map(|of| (of.clone(), spec)).collect();
    let mut offsets = BTreeMap::new();
    for (of, listed) in session.admin.list_offsets(&wanted).await? {
        let listed = listed.map_err(|error| CommandError::Failed(sentence(&error)))?;
        offsets.insert(of, listed.offset.unwrap_or(0));
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_begins_inside_its_log() {
        for (start, wanted) in [
            (Start::Earliest, Some(10)),
            (Start::Latest, Some(20)),
            (Start::Last(3), Some(17)),
            (Start::Last(i64::MAX), Some(10)),
            (Start::At(10), Some(10)),
            (Start::At(20), Some(20)),
            (Start::At(9), None),
            (Start::At(21), None),
        ] {
            assert_eq!(begin(start, 10, 20), wanted, "{start:?}");
        }
    }

    #[test]
    fn the_end_is_where_every_owned_partition_has_reached_its_own() {
        let of = |index| TopicPartition::new("t", index);
        let ends = BTreeMap::from([(of(0), 5), (of(1), 0), (of(2), 9)]);
        let mut places = Places { starts: BTreeMap::new(), ends, owned: None };
        assert!(!places.has_all(), "nothing is owned yet");
        places.own(vec![of(0), of(1)]);
        assert_eq!(places.open(), [of(0)]);
        places.reached(&of(0), 4);
        assert!(!places.has_all());
        places.reached(&of(0), 5);
        assert!(places.has_all());
        places.own(vec![of(2)]);
        assert!(!places.has_all());
        places.disown(&[of(2)]);
        assert!(places.has_all());
        assert!(places.wants(&of(2), 8) && !places.wants(&of(2), 9));
    }
}
