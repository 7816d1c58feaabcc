//! Where each partition begins and ends.

use std::collections::{BTreeMap, BTreeSet};

use rivven_client::admin::offsets::OffsetSpec;
use rivven_client::assignor::TopicPartition;
use rivven_client::consumer::commits::Offsets;

use crate::CommandError;
use crate::arguments::consume::{ConsumeArguments, Start, Starts};
use crate::failure::sentence;
use crate::session::Session;
use crate::watched::Watched;

/// Partitions, and what of them is to be read.
#[derive(Default)]
pub(super) struct Places {
    /// Where to begin; with a group, where it has committed nothing.
    pub(super) starts: BTreeMap<TopicPartition, i64>,
    /// Where the log ended when the command began.
    ends: BTreeMap<TopicPartition, i64>,
    /// What is read now and how far; none as long as a group has given nothing.
    owned: Option<BTreeMap<TopicPartition, i64>>,
    pub(super) watched: Watched,
}

impl Places {
    pub(super) async fn find(
        session: &Session,
        arguments: &ConsumeArguments,
        starts: &Starts,
    ) -> Result<Places, CommandError> {
        let mut watched = Watched::default();
        let partitions = partitions(session, (arguments, starts), &mut watched).await?;
        let log_starts = list(session, &partitions, OffsetSpec::Earliest).await?;
        let ends = list(session, &partitions, OffsetSpec::Latest).await?;
        let mut begins = BTreeMap::new();
        for (of, end) in &ends {
            let log_start = log_starts.get(of).copied().unwrap_or(0);
            let start = starts.of(of.partition);
            let is_named =
                !arguments.partitions.is_empty() || starts.partitions.contains_key(&of.partition);
            let offset = begin(start, log_start, *end).or(match start {
                // Partitions are of different lengths: one offset for all cannot fit each.
                Start::At(offset) if !is_named && ends.values().any(|end| offset <= *end) => {
                    Some(offset.clamp(log_start, *end))
                }
                _ => None,
            });
            let offset = offset.ok_or_else(|| {
                CommandError::Failed(format!(
                    "partition {} of topic {:?} has offsets {log_start} to {end}; begin inside \
                     them with --offset",
                    of.partition, &*of.topic
                ))
            })?;
            begins.insert(of.clone(), offset);
        }
        let owned = arguments.group.is_none().then(|| begins.clone());
        Ok(Places { starts: begins, ends, owned, watched })
    }

    pub(super) fn own(&mut self, partitions: Vec<TopicPartition>) {
        let owned = self.owned.get_or_insert_default();
        owned.extend(partitions.into_iter().map(|of| (of, 0)));
    }

    pub(super) fn disown(&mut self, partitions: &[TopicPartition]) {
        if let Some(owned) = &mut self.owned {
            owned.retain(|of, _| !partitions.contains(of));
        }
        // The group gives something out, or says that there is nothing, when it has rebalanced.
        self.owned.take_if(|owned| owned.is_empty());
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
        self.owned_that(|reached, end| reached < end)
    }

    /// What is owned and read to its end.
    pub(super) fn finished(&self) -> Vec<TopicPartition> {
        self.owned_that(|reached, end| reached >= end)
    }

    fn owned_that(&self, is: impl Fn(i64, i64) -> bool) -> Vec<TopicPartition> {
        let owned = self.owned.iter().flatten();
        // A partition that came later has no end: nothing of it was there.
        let end = |of: &TopicPartition| self.ends.get(of).copied().unwrap_or(0);
        let those = owned.filter(|(of, reached)| is(**reached, end(of)));
        those.map(|(of, _)| of.clone()).collect()
    }

    pub(super) fn has_all(&self) -> bool {
        self.owned.as_ref().is_some_and(|owned| !owned.is_empty()) && self.open().is_empty()
    }

    /// Whether the group has given out everything to others.
    pub(super) fn has_nothing(&self) -> bool {
        self.owned.as_ref().is_some_and(BTreeMap::is_empty)
    }

    /// Whether a group that has committed this has read everything.
    pub(super) fn are_read(&self, committed: &Offsets) -> bool {
        self.ends.iter().all(|(of, end)| {
            let begin = self.starts.get(of).copied().unwrap_or(0);
            committed.get(of).map_or(begin, |committed| committed.offset) >= *end
        })
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
    (arguments, starts): (&ConsumeArguments, &Starts),
    watched: &mut Watched,
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
        watched.add(&name, topic.id);
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

    fn of(index: i32) -> TopicPartition {
        TopicPartition::new("t", index)
    }

    #[test]
    fn the_end_is_where_every_owned_partition_has_reached_its_own() {
        let ends = BTreeMap::from([(of(0), 5), (of(1), 0), (of(2), 9)]);
        let mut places = Places { ends, ..Places::default() };
        assert!(!places.has_all() && !places.has_nothing(), "nothing is given out yet");
        places.own(vec![of(0), of(1)]);
        assert_eq!((places.open(), places.finished()), (vec![of(0)], vec![of(1)]));
        places.reached(&of(0), 4);
        assert!(!places.has_all());
        places.reached(&of(0), 5);
        assert!(places.has_all());
        places.own(vec![of(2)]);
        assert!(!places.has_all());
        places.disown(&[of(2)]);
        assert!(places.has_all());
        places.disown(&[of(0), of(1)]);
        assert!(!places.has_all() && !places.has_nothing());
        places.own(Vec::new());
        assert!(!places.has_all() && places.has_nothing());
        assert!(places.wants(&of(2), 8) && !places.wants(&of(2), 9));
    }

    #[test]
    fn a_group_has_read_everything_when_it_has_committed_every_end() {
        let ends = BTreeMap::from([(of(0), 5), (of(1), 3)]);
        let starts = BTreeMap::from([(of(0), 0), (of(1), 3)]);
        let places = Places { starts, ends, ..Places::default() };
        for (committed, wanted) in [(None, false), (Some(4), false), (Some(5), true)] {
            let committed = committed.map(|offset: i64| (of(0), offset.into()));
            assert_eq!(places.are_read(&committed.into_iter().collect()), wanted);
        }
    }
}
