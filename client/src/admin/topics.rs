//! Topics: create, list, describe, delete, more partitions, fewer records.

use std::collections::BTreeMap;
use std::sync::Arc;

use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use rivven_core::kafka::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use rivven_core::kafka::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use rivven_core::kafka::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};

use super::{Admin, Each, answered, partition_error, topic_error};
use crate::assignor::TopicPartition;
use crate::client::{Lane, Target};
use crate::error::Error;
use crate::image::Topic;

/// A topic to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// None: the broker's default.
    pub partitions: Option<i32>,
    /// None: the broker's default.
    pub replication_factor: Option<i16>,
    pub configs: BTreeMap<String, String>,
}

/// A topic that was made, as the broker says it. Brokers before Kafka 2.4 say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    pub id: TopicId,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
}

impl Admin {
    /// Makes topics, or with `validate_only` says whether they could be made.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]. TOPIC_ALREADY_EXISTS may mean that an earlier try, whose
    /// answer was lost, has made the topic.
    pub async fn create_topics(
        &self,
        topics: &BTreeMap<String, NewTopic>,
        validate_only: bool,
    ) -> Result<Each<String, CreatedTopic>, Error> {
        self.change("creating topics", topics.keys().cloned(), |open| async move {
            let rows = open.iter().map(|name| creatable(name, &topics[name])).collect();
            let timeout_ms = self.timeout_ms();
            let request = CreateTopicsRequest { topics: rows, timeout_ms, validate_only };
            let answer = self.client.call(Target::Controller, Lane::Admin, &request).await?;
            let results = answer.topics.into_iter().map(|row| {
                let created = CreatedTopic {
                    id: row.topic_id,
                    partitions: Some(row.num_partitions).filter(|count| *count >= 0),
                    replication_factor: Some(row.replication_factor).filter(|count| *count >= 0),
                };
                let result = answered(created, row.error_code, |code| {
                    topic_error(&row.name, code, row.error_message.as_deref())
                });
                (row.name.to_string(), result)
            });
            Ok(results.collect())
        })
        .await
    }

    /// Every topic of the cluster.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]
    pub async fn list_topics(&self) -> Result<BTreeMap<String, Topic>, Error> {
        let what = "listing topics";
        let image = self.client.retry(what, || async { Ok(self.client.look_up(None).await?.0) });
        Ok(image.await?.topics.clone())
    }

    /// Partitions, leaders and replicas of topics.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]
    pub async fn describe_topics(&self, names: &[&str]) -> Result<Each<String, Topic>, Error> {
        let keys = names.iter().map(|name| (*name).to_owned());
        self.each("describing topics", keys, |open| async move {
            let names: Vec<String> = open.iter().cloned().collect();
            let (image, failed) = self.client.look_up(Some(&names)).await?;
            let failed: BTreeMap<String, ErrorCode> = failed.into_iter().collect();
            let results = names.into_iter().filter_map(|name| {
                let result = match failed.get(&name) {
                    Some(code) => Err(topic_error(&name, *code, None)),
                    None => Ok(image.topics.get(&name)?.clone()),
                };
                Some((name, result))
            });
            Ok(results.collect())
        })
        .await
    }

    /// Deletes topics with all their records.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]. UNKNOWN_TOPIC_OR_PARTITION may mean that an earlier try,
    /// whose answer was lost, has deleted the topic.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<Each<String, ()>, Error> {
        let keys = names.iter().map(|name| (*name).to_owned());
        self.change("deleting topics", keys, |open| async move {
            let names: Vec<WireStr> = open.iter().map(|name| name.as_str().into()).collect();
            let state = |name: &WireStr| DeleteTopicState {
                name: Some(name.clone()),
                ..DeleteTopicState::default()
            };
            let request = DeleteTopicsRequest {
                topics: names.iter().map(state).collect(),
                topic_names: names,
                timeout_ms: self.timeout_ms(),
            };
            let answer = self.client.call(Target::Controller, Lane::Admin, &request).await?;
            let results = answer.responses.into_iter().filter_map(|row| {
                let name = row.name?.to_string();
                let text = row.error_message.as_deref();
                let result = answered((), row.error_code, |code| topic_error(&name, code, text));
                Some((name, result))
            });
            Ok(results.collect())
        })
        .await
    }

    /// Gives topics more partitions; `counts` says how many in all.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]
    pub async fn create_partitions(
        &self,
        counts: &BTreeMap<String, i32>,
        validate_only: bool,
    ) -> Result<Each<String, ()>, Error> {
        self.change("creating partitions", counts.keys().cloned(), |open| async move {
            let row = |name: &String| CreatePartitionsTopic {
                name: name.as_str().into(),
                count: counts[name],
                assignments: None,
            };
            let request = CreatePartitionsRequest {
                topics: open.iter().map(row).collect(),
                timeout_ms: self.timeout_ms(),
                validate_only,
            };
            let answer = self.client.call(Target::Controller, Lane::Admin, &request).await?;
            let results = answer.results.into_iter().map(|row| {
                let result = answered((), row.error_code, |code| {
                    topic_error(&row.name, code, row.error_message.as_deref())
                });
                (row.name.to_string(), result)
            });
            Ok(results.collect())
        })
        .await
    }

    /// Moves the log start of partitions up to these offsets, -1 meaning the high watermark; the
    /// log starts afterwards.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Each<TopicPartition, i64>, Error> {
        self.each("deleting records", before.keys().cloned(), |open| async move {
            let (leaders, mut results) = self.leaders(&open).await?;
            for (leader, keys) in leaders {
                let answers = self.delete_records_at(leader, &keys, before).await;
                match answers {
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

    async fn delete_records_at(
        &self,
        leader: i32,
        keys: &[TopicPartition],
        before: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Each<TopicPartition, i64>, Error> {
        let mut topics: Vec<DeleteRecordsTopic> = Vec::new();
        for key in keys {
            let row =
                DeleteRecordsPartition { partition_index: key.partition, offset: before[key] };
            match topics.last_mut().filter(|topic| topic.name == *key.topic) {
                Some(topic) => topic.partitions.push(row),
                None => {
                    let name = (&*key.topic).into();
                    topics.push(DeleteRecordsTopic { name, partitions: vec![row] });
                }
            }
        }
        let request = DeleteRecordsRequest { topics, timeout_ms: self.timeout_ms() };
        let answer = self.client.call(Target::Broker(leader), Lane::Admin, &request).await?;
        let rows = answer.topics.into_iter().flat_map(|topic| {
            let name: Arc<str> = Arc::from(&*topic.name);
            let of = move |index| TopicPartition::new(name.clone(), index);
            topic.partitions.into_iter().map(move |row| (of(row.partition_index), row))
        });
        let results = rows.map(|(key, row)| {
            let error = |code| partition_error(&key, code);
            let result = answered(row.low_watermark, row.error_code, error);
            (key, result)
        });
        Ok(results.collect())
    }
}

fn creatable(name: &str, topic: &NewTopic) -> CreatableTopic {
    let configs = topic.configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: name.as_str().into(),
        value: Some(value.as_str().into()),
    });
    CreatableTopic {
        name: name.into(),
        num_partitions: topic.partitions.unwrap_or(-1),
        replication_factor: topic.replication_factor.unwrap_or(-1),
        assignments: Vec::new(),
        configs: configs.collect(),
    }
}
