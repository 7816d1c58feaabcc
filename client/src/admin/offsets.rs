//! Offsets of partitions by place or by time.

use std::collections::BTreeMap;
use std::sync::Arc;

use rivven_core::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

use super::{Admin, Each, answered, partition_error};
use crate::assignor::TopicPartition;
use crate::client::{Lane, Target};
use crate::error::Error;

/// Which offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start.
    Earliest,
    /// The high watermark: behind the last record that may be read.
    Latest,
    /// The record with the greatest timestamp.
    MaxTimestamp,
    /// The first record that is not older, in milliseconds since 1970.
    Timestamp(i64),
}

/// An offset that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// None if no record is as late as the timestamp that was asked for.
    pub offset: Option<i64>,
    /// Of the record that was found by its timestamp, in milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// None if the broker does not say it.
    pub leader_epoch: Option<i32>,
}

impl OffsetSpec {
    fn timestamp(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::Timestamp(timestamp) => timestamp.max(0),
        }
    }
}

impl Admin {
    /// Looks offsets up, one request for each leader.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    ) -> Result<Each<TopicPartition, ListedOffset>, Error> {
        self.each("listing offsets", wanted.keys().cloned(), |open| async move {
            let (leaders, mut results) = self.leaders(&open).await?;
            for (leader, keys) in leaders {
                match self.list_offsets_at(leader, &keys, wanted).await {
                    Ok(answers) => results.extend(answers),
                    Err(error) => {
                        results.extend(keys.into_iter().map(|key| (key, Err(error.clone()))));
                    }
                }
            }
            Ok(results)
        })
        .await
    }

    async fn list_offsets_at(
        &self,
        leader: i32,
        keys: &[TopicPartition],
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    ) -> Result<Each<TopicPartition, ListedOffset>, Error> {
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for key in keys {
            let row = ListOffsetsPartition {
                partition_index: key.partition,
                timestamp: wanted[key].timestamp(),
                ..ListOffsetsPartition::default()
            };
            match topics.last_mut().filter(|topic| topic.name == *key.topic) {
                Some(topic) => topic.partitions.push(row),
                None => {
                    let name = (&*key.topic).into();
                    topics.push(ListOffsetsTopic { name, partitions: vec![row] });
                }
            }
        }
        let timeout_ms = self.timeout_ms();
        let request = ListOffsetsRequest { replica_id: -1, isolation_level: 0, topics, timeout_ms };
        let answer = self.client.call(Target::Broker(leader), Lane::Admin, &request).await?;
        let rows = answer.topics.into_iter().flat_map(|topic| {
            let name: Arc<str> = Arc::from(&*topic.name);
            let of = move |index| TopicPartition::new(name.clone(), index);
            topic.partitions.into_iter().map(move |row| (of(row.partition_index), row))
        });
        let results = rows.map(|(key, row)| {
            let listed = ListedOffset {
                offset: Some(row.offset).filter(|offset| *offset >= 0),
                timestamp: Some(row.timestamp).filter(|timestamp| *timestamp >= 0),
                leader_epoch: Some(row.leader_epoch).filter(|epoch| *epoch >= 0),
            };
            let result = answered(listed, row.error_code, |code| partition_error(&key, code));
            (key, result)
        });
        Ok(results.collect())
    }
}
