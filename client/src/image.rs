//! What a client knows of a cluster: its brokers, topics and their leaders.

use std::collections::BTreeMap;

use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::metadata::{MetadataResponse, MetadataResponseTopic};

use crate::config::Address;

/// A cluster as Metadata answers have described it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterImage {
    pub cluster_id: Option<String>,
    pub controller: Option<i32>,
    pub brokers: BTreeMap<i32, Broker>,
    pub topics: BTreeMap<String, Topic>,
}

/// A broker and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub address: Address,
    pub rack: Option<String>,
}

/// A topic that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub id: TopicId,
    pub is_internal: bool,
    /// By partition, from 0 on without a gap.
    pub partitions: Vec<Partition>,
}

/// A partition and who leads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub leader: Option<i32>,
    /// -1 if it is not known.
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
    pub error: ErrorCode,
}

impl ClusterImage {
    /// Takes over an answer: brokers as a whole, topics one by one. Gives back the topics that it
    /// says an error of.
    pub(crate) fn apply(&mut self, answer: &MetadataResponse) -> Vec<(String, ErrorCode)> {
        let brokers = answer.brokers.iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok().filter(|port| *port != 0)?;
            let address = Address { host: broker.host.to_string(), port };
            let rack = broker.rack.as_ref().map(ToString::to_string);
            Some((broker.node_id, Broker { address, rack }))
        });
        self.brokers = brokers.collect();
        self.cluster_id = answer.cluster_id.as_ref().map(ToString::to_string);
        self.controller = Some(answer.controller_id).filter(|id| self.brokers.contains_key(id));
        let mut failed = Vec::new();
        for row in &answer.topics {
            let Some(name) = row.name.as_ref().map(ToString::to_string) else { continue };
            match self.read_topic(&name, row) {
                Ok(topic) => drop(self.topics.insert(name, topic)),
                Err(code) => {
                    self.topics.remove(&name);
                    failed.push((name, code));
                }
            }
        }
        failed
    }

    /// Whether the topic is there and each of its partitions has a leader.
    #[must_use]
    pub fn has_leaders(&self, topic: &str) -> bool {
        let topic = self.topics.get(topic);
        topic.is_some_and(|topic| topic.partitions.iter().all(|part| part.leader.is_some()))
    }

    /// Partitions of a topic, 0 if it is not there.
    #[must_use]
    pub fn partition_count(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, |topic| topic.partitions.len())
    }

    fn read_topic(&self, name: &str, row: &MetadataResponseTopic) -> Result<Topic, ErrorCode> {
        if row.error_code.is_error() {
            return Err(row.error_code);
        }
        let known = self.topics.get(name).filter(|known| known.id == row.topic_id);
        let mut rows: Vec<_> = row.partitions.iter().collect();
        rows.sort_by_key(|partition| partition.partition_index);
        let in_order = (0i32..).zip(&rows).all(|(index, row)| row.partition_index == index);
        if !in_order || rows.is_empty() {
            return Err(ErrorCode::LEADER_NOT_AVAILABLE);
        }
        let read = |(index, row): (usize, &&_)| {
            let partition = read_partition(row);
            // An answer of a broker that lags behind must not bring an old leader back (KIP-320).
            match known.and_then(|topic| topic.partitions.get(index)) {
                Some(known) if known.leader_epoch > partition.leader_epoch => known.clone(),
                _ => partition,
            }
        };
        let partitions = rows.iter().enumerate().map(read).collect();
        Ok(Topic { id: row.topic_id, is_internal: row.is_internal, partitions })
    }
}

fn read_partition(
    row: &rivven_core::kafka::messages::metadata::MetadataResponsePartition,
) -> Partition {
    Partition {
        leader: Some(row.leader_id).filter(|id| *id >= 0),
        leader_epoch: row.leader_epoch,
        replicas: row.replica_nodes.clone(),
        in_sync: row.isr_nodes.clone(),
        error: row.error_code,
    }
}

#[cfg(test)]
mod tests {
    use rivven_core::kafka::messages::metadata::{
        MetadataResponseBroker, MetadataResponsePartition,
    };

    use super::*;

    fn answer(epoch: i32, leader: i32, error: ErrorCode) -> MetadataResponse {
        let partition = MetadataResponsePartition {
            leader_id: leader,
            leader_epoch: epoch,
            ..MetadataResponsePartition::default()
        };
        let topic = MetadataResponseTopic {
            error_code: error,
            name: Some("t".into()),
            partitions: vec![partition],
            ..MetadataResponseTopic::default()
        };
        let broker = MetadataResponseBroker {
            node_id: 1,
            host: "h".into(),
            port: 9092,
            ..MetadataResponseBroker::default()
        };
        MetadataResponse {
            brokers: vec![broker],
            topics: vec![topic],
            ..MetadataResponse::default()
        }
    }

    #[test]
    fn an_older_leader_never_comes_back() {
        let mut image = ClusterImage::default();
        assert_eq!(image.apply(&answer(5, 1, ErrorCode::NONE)), []);
        image.apply(&answer(4, 2, ErrorCode::NONE));
        assert_eq!(image.topics["t"].partitions[0].leader, Some(1));
        image.apply(&answer(6, -1, ErrorCode::NONE));
        assert_eq!(image.topics["t"].partitions[0].leader, None);
    }

    #[test]
    fn a_topic_with_an_error_is_forgotten() {
        let mut image = ClusterImage::default();
        image.apply(&answer(5, 1, ErrorCode::NONE));
        let gone = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        assert_eq!(image.apply(&answer(5, 1, gone)), [("t".to_owned(), gone)]);
        assert!(image.topics.is_empty());
        assert_eq!(image.brokers[&1].address.to_string(), "h:9092");
    }
}
