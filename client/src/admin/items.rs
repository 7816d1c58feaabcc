//! Requests about several items: what fails for a while is asked again, the rest is not.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::find_coordinator::FindCoordinatorRequest;

use super::{Admin, Each, group_error, partition_error, topic_error};
use crate::assignor::TopicPartition;
use crate::client::{Lane, Target};
use crate::error::Error;
use crate::image::ClusterImage;

impl Admin {
    /// Calls `send` with the items that have no final answer yet, until each has one or the API
    /// timeout is over. Only for requests that may take effect twice.
    ///
    /// # Errors
    /// The last error of `send` as a whole, if it never gave an answer.
    pub(super) async fn each<K: Ord + Clone, T, Sent>(
        &self,
        what: &str,
        keys: impl IntoIterator<Item = K>,
        send: impl FnMut(BTreeSet<K>) -> Sent,
    ) -> Result<Each<K, T>, Error>
    where
        Sent: Future<Output = Result<Each<K, T>, Error>>,
    {
        Ok(self.tried(what, keys, send).await?.0)
    }

    /// [`Admin::each`] of a change: a refusal says so if an earlier try may have made the change.
    ///
    /// # Errors
    /// Those of [`Admin::each`]
    pub(super) async fn change<K: Ord + Clone, T, Sent>(
        &self,
        what: &str,
        keys: impl IntoIterator<Item = K>,
        send: impl FnMut(BTreeSet<K>) -> Sent,
    ) -> Result<Each<K, T>, Error>
    where
        Sent: Future<Output = Result<Each<K, T>, Error>>,
    {
        let (results, lost) = self.tried(what, keys, send).await?;
        let results = results.into_iter().map(|(key, result)| match result {
            Err(error) if lost.contains(&key) && is_done_already(&error) => {
                (key, Err(error.after_lost_try()))
            }
            result => (key, result),
        });
        Ok(results.collect())
    }

    /// [`Admin::each`], and the items of which an answer was lost.
    async fn tried<K: Ord + Clone, T, Sent>(
        &self,
        what: &str,
        keys: impl IntoIterator<Item = K>,
        mut send: impl FnMut(BTreeSet<K>) -> Sent,
    ) -> Result<(Each<K, T>, BTreeSet<K>), Error>
    where
        Sent: Future<Output = Result<Each<K, T>, Error>>,
    {
        let mut open: BTreeSet<K> = keys.into_iter().collect();
        let (mut results, mut lost) = (Each::new(), BTreeSet::new());
        if open.is_empty() {
            return Ok((results, lost));
        }
        let mut tries = self.client.tries(what.to_owned());
        let mut is_first = true;
        loop {
            let tried = async {
                if !std::mem::take(&mut is_first) {
                    // Leaders and the controller may be others now.
                    self.client.look_up(Some(&[])).await?;
                }
                let sent = send(open.clone()).await;
                if matches!(sent, Err(Error::Connection { .. })) {
                    lost.extend(open.iter().cloned());
                }
                sent
            };
            let passing = match tried.await {
                Ok(answers) => take(what, answers, (&mut open, &mut results, &mut lost)),
                Err(error) => Some(error),
            };
            let end = match passing {
                None => Ok(()),
                Some(error) if error.is_retriable() => match tries.again(error).await {
                    Ok(()) => continue,
                    Err(over) => Err(over),
                },
                Some(error) => Err(error),
            };
            return match end {
                Err(error) if results.is_empty() => Err(error),
                _ => Ok((results, lost)),
            };
        }
    }

    /// The leaders of these partitions, and why some have none.
    pub(super) async fn leaders<T>(
        &self,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<(BTreeMap<i32, Vec<TopicPartition>>, Each<TopicPartition, T>), Error> {
        let mut names: Vec<String> = partitions.iter().map(|of| of.topic.to_string()).collect();
        names.dedup();
        let (image, failed) = self.client.look_up(Some(&names)).await?;
        let failed: BTreeMap<String, ErrorCode> = failed.into_iter().collect();
        let mut leaders: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        let mut none = Each::new();
        for key in partitions {
            let error = match (failed.get(&*key.topic), leader(&image, key)) {
                (Some(code), _) => topic_error(&key.topic, *code, None),
                (None, Ok(leader)) => {
                    leaders.entry(leader).or_default().push(key.clone());
                    continue;
                }
                (None, Err(code)) => partition_error(key, code),
            };
            none.insert(key.clone(), Err(error));
        }
        Ok((leaders, none))
    }

    /// The broker that coordinates a group.
    pub(super) async fn coordinator(&self, group: &str) -> Result<Target, Error> {
        let key = WireStr::from(group);
        let coordinator_keys = vec![key.clone()];
        let request = FindCoordinatorRequest { key, key_type: 0, coordinator_keys };
        let answer = self.client.call(Target::Any, Lane::Admin, &request).await?;
        let (node, code, text) = match answer.coordinators.into_iter().next() {
            Some(found) => (found.node_id, found.error_code, found.error_message),
            None => (answer.node_id, answer.error_code, answer.error_message),
        };
        if code.is_error() {
            return Err(group_error(group, code, text.as_deref()));
        }
        if !self.client.image().brokers.contains_key(&node) {
            self.client.look_up(Some(&[])).await?;
        }
        Ok(Target::Broker(node))
    }

    /// Calls `send` with the coordinator of each of these groups, and the groups that it has.
    pub(super) async fn at_coordinators<T, Sent>(
        &self,
        groups: &BTreeSet<String>,
        mut send: impl FnMut(Target, Vec<String>) -> Sent,
    ) -> Result<Each<String, T>, Error>
    where
        Sent: Future<Output = Result<Each<String, T>, Error>>,
    {
        let mut coordinators: Vec<(Target, Vec<String>)> = Vec::new();
        let mut results = Each::new();
        for group in groups {
            match self.coordinator(group).await {
                Ok(target) => match coordinators.iter_mut().find(|(known, _)| *known == target) {
                    Some((_, groups)) => groups.push(group.clone()),
                    None => coordinators.push((target, vec![group.clone()])),
                },
                Err(error) if error.code().is_some() => {
                    results.insert(group.clone(), Err(error));
                }
                Err(error) => return Err(error),
            }
        }
        for (target, groups) in coordinators {
            match send(target, groups.clone()).await {
                Ok(answers) => results.extend(answers),
                Err(error) => {
                    results.extend(groups.into_iter().map(|group| (group, Err(error.clone()))));
                }
            }
        }
        Ok(results)
    }

    /// Every broker of the cluster.
    pub(super) async fn brokers(&self) -> Result<Arc<ClusterImage>, Error> {
        self.client
            .retry("finding the brokers", || async { Ok(self.client.look_up(Some(&[])).await?.0) })
            .await
    }
}

/// Takes the answers of one try in; the last error that may pass, whose items stay open.
fn take<K: Ord + Clone, T>(
    what: &str,
    mut answers: Each<K, T>,
    (open, results, lost): (&mut BTreeSet<K>, &mut Each<K, T>, &mut BTreeSet<K>),
) -> Option<Error> {
    let mut passing = None;
    for key in std::mem::take(open) {
        let answer = answers.remove(&key).unwrap_or_else(|| Err(left_out(what)));
        if matches!(answer, Err(Error::Connection { .. })) {
            lost.insert(key.clone());
        }
        if let Err(error) = &answer
            && passes(error)
        {
            passing = Some(error.clone());
            open.insert(key.clone());
        }
        results.insert(key, answer);
    }
    passing
}

fn leader(image: &ClusterImage, of: &TopicPartition) -> Result<i32, ErrorCode> {
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    let topic = image.topics.get(&*of.topic).ok_or(unknown)?;
    let index = usize::try_from(of.partition).map_err(|_| unknown)?;
    let partition = topic.partitions.get(index).ok_or(unknown)?;
    partition.leader.ok_or(ErrorCode::LEADER_NOT_AVAILABLE)
}

/// Whether to ask again. What is not there does not come by waiting.
fn passes(error: &Error) -> bool {
    let gone = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::UNKNOWN_TOPIC_ID];
    error.is_retriable() && !error.code().is_some_and(|code| gone.contains(&code))
}

/// What a request that was carried out already is refused with.
fn is_done_already(error: &Error) -> bool {
    let codes = [
        ErrorCode::TOPIC_ALREADY_EXISTS,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::INVALID_PARTITIONS,
        ErrorCode::GROUP_ID_NOT_FOUND,
    ];
    error.code().is_some_and(|code| codes.contains(&code))
}

fn left_out(what: &str) -> Error {
    let text = "the broker's answer leaves it out";
    Error::refused(what, ErrorCode::UNKNOWN_SERVER_ERROR, Some(text))
}
