//! The requests of an administrator: topics, log starts and configurations.

use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use rivven_core::kafka::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use rivven_core::kafka::messages::delete_topics::{
    DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use rivven_core::kafka::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::reads::{Place, no_row};
use super::{Client, Trouble};
use crate::history::event::{Call, NewTopic, Reply};
use crate::workload::TopicParams;

const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const TIMEOUT_MS: i32 = 10_000;

impl Client {
    /// Creates a topic; its id.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn create_topic(&mut self, topic: &TopicParams) -> Result<TopicId, Trouble> {
        let config = |(name, value): (&String, &String)| CreatableTopicConfig {
            name: WireStr::from(name.as_str()),
            value: Some(WireStr::from(value.as_str())),
        };
        let row = CreatableTopic {
            name: WireStr::from(topic.name.as_str()),
            num_partitions: i32::try_from(topic.partitions).expect("a plan's topics are small"),
            replication_factor: 1,
            assignments: Vec::new(),
            configs: topic.configs.iter().map(config).collect(),
        };
        let request = CreateTopicsRequest {
            topics: vec![row],
            timeout_ms: TIMEOUT_MS,
            ..CreateTopicsRequest::default()
        };
        let call = Call::CreateTopic(NewTopic {
            name: topic.name.clone(),
            partitions: topic.partitions,
            retention: topic.retention(),
            compaction: topic.compaction(),
        });
        let read = |answer: CreateTopicsResponse| {
            let row = answer.topics.first().ok_or_else(|| no_row("CreateTopics"))?;
            match row.error_code.is_error() {
                true => Err(Trouble::of_write(row.error_code, row.error_message.as_deref())),
                false => Ok(Reply::Created { id: row.topic_id }),
            }
        };
        match self.ask(call, &request, read).await? {
            Reply::Created { id } => Ok(id),
            other => unreachable!("the reader answers topic ids, not {other:?}"),
        }
    }

    /// Deletes one incarnation of a topic.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn delete_topic(&mut self, name: &str, id: TopicId) -> Result<(), Trouble> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState { name: None, topic_id: id }],
            timeout_ms: TIMEOUT_MS,
            ..DeleteTopicsRequest::default()
        };
        let read = |answer: DeleteTopicsResponse| {
            let row = answer.responses.first().ok_or_else(|| no_row("DeleteTopics"))?;
            match row.error_code.is_error() {
                true => Err(Trouble::of_write(row.error_code, row.error_message.as_deref())),
                false => Ok(Reply::Deleted),
            }
        };
        let call = Call::DeleteTopic { name: name.to_owned(), id };
        self.ask(call, &request, read).await.map(drop)
    }

    /// Moves a partition's log start up to `to`; the log start afterwards.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn delete_records(&mut self, place: &Place, to: i64) -> Result<i64, Trouble> {
        let row = DeleteRecordsPartition { partition_index: place.index(), offset: to };
        let topic =
            DeleteRecordsTopic { name: WireStr::from(place.topic.as_str()), partitions: vec![row] };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS };
        let read = |answer: DeleteRecordsResponse| {
            let row = answer.topics.first().and_then(|topic| topic.partitions.first());
            let row = row.ok_or_else(|| no_row("DeleteRecords"))?;
            match row.error_code.is_error() {
                true => Err(Trouble::of_write(row.error_code, None)),
                false => Ok(Reply::RecordsDeleted { log_start: row.low_watermark }),
            }
        };
        let call = Call::DeleteRecords { partition: place.partition, to };
        match self.ask(call, &request, read).await? {
            Reply::RecordsDeleted { log_start } => Ok(log_start),
            other => unreachable!("the reader answers log starts, not {other:?}"),
        }
    }

    /// Sets one configuration of a topic.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn alter_topic(
        &mut self,
        topic: &str,
        (key, value): (&str, &str),
    ) -> Result<(), Trouble> {
        let (name, key, value) = (topic.to_owned(), key.to_owned(), value.to_owned());
        let config = AlterableConfig {
            name: WireStr::from(key.as_str()),
            config_operation: SET,
            value: Some(WireStr::from(value.as_str())),
        };
        self.alter((TOPIC_RESOURCE, topic), config, Call::AlterTopic { name, key, value }).await
    }

    /// Sets one default of a broker, or of all if it has no name; without a value, takes back what
    /// was set.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn alter_broker(
        &mut self,
        broker: &str,
        (key, value): (&str, Option<&str>),
    ) -> Result<(), Trouble> {
        let (name, key, value) = (broker.to_owned(), key.to_owned(), value.map(str::to_owned));
        let config = AlterableConfig {
            name: WireStr::from(key.as_str()),
            config_operation: if value.is_some() { SET } else { DELETE },
            value: value.as_deref().map(WireStr::from),
        };
        self.alter((BROKER_RESOURCE, broker), config, Call::AlterBroker { name, key, value }).await
    }

    async fn alter(
        &mut self,
        (resource_type, name): (i8, &str),
        config: AlterableConfig,
        call: Call,
    ) -> Result<(), Trouble> {
        let resource = AlterConfigsResource {
            resource_type,
            resource_name: WireStr::from(name),
            configs: vec![config],
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let read = |answer: IncrementalAlterConfigsResponse| {
            let row = answer.responses.first().ok_or_else(|| no_row("IncrementalAlterConfigs"))?;
            match row.error_code.is_error() {
                true => Err(Trouble::of_write(row.error_code, row.error_message.as_deref())),
                false => Ok(Reply::Altered),
            }
        };
        self.ask(call, &request, read).await.map(drop)
    }
}
