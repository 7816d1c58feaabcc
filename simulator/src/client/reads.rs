//! The requests that change nothing: Metadata, ListOffsets, Fetch; and InitProducerId, of which
//! nobody else notices.

use rivven_core::ids::PartitionId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic,
};
use rivven_core::kafka::messages::init_producer_id::InitProducerIdRequest;
use rivven_core::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use rivven_core::kafka::messages::metadata::{MetadataRequest, MetadataResponse};

use super::connection::{BY_ID_FROM, CallError};
use super::seen::seen_batches;
use super::{Client, Trouble};
use crate::history::event::{Call, EventKind, Failure, Fetch, Fetched, KnownTopic, Reply};

/// The timestamp that asks ListOffsets for the high watermark.
pub const LATEST: i64 = -1;
/// The timestamp that asks ListOffsets for the log start.
pub const EARLIEST: i64 = -2;
/// The timestamp that asks ListOffsets for the first record of the largest one (KIP-734).
pub const MAX_TIMESTAMP: i64 = -3;
/// The first version in which [`MAX_TIMESTAMP`] can be asked for.
const MAX_TIMESTAMP_FROM: i16 = 7;

/// A partition with its topic's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub topic: String,
    pub partition: PartitionId,
}

impl Place {
    pub(crate) fn index(&self) -> i32 {
        i32::try_from(self.partition.index).expect("Kafka numbers partitions with an i32")
    }
}

/// How much a fetch asks for, and how long it may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchSize {
    pub wait_ms: i32,
    pub bytes: i32,
}

impl Client {
    /// All topics of the broker.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn topics(&mut self) -> Result<Vec<KnownTopic>, Trouble> {
        let request = MetadataRequest {
            topics: None,
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let reply = self.ask(Call::Metadata, &request, |answer| read_topics(&answer)).await?;
        let Reply::Topics(topics) = reply else { unreachable!("read_topics answers topics") };
        Ok(topics)
    }

    /// A fresh producer id with its epoch.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn producer_id(&mut self) -> Result<(i64, i16), Trouble> {
        let request = InitProducerIdRequest {
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let read = |answer: <InitProducerIdRequest as super::Request>::Response| {
            if answer.error_code.is_error() {
                return Err(Trouble::of_read(answer.error_code));
            }
            Ok(Reply::ProducerId { id: answer.producer_id, epoch: answer.producer_epoch })
        };
        match self.ask(Call::InitProducerId, &request, read).await? {
            Reply::ProducerId { id, epoch } => Ok((id, epoch)),
            other => unreachable!("the reader answers producer ids, not {other:?}"),
        }
    }

    /// The first record whose timestamp is `timestamp` or more; or, of [`MAX_TIMESTAMP`], with the
    /// largest, if this connection speaks a version that can ask for it. -1 if there is none.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn search(&mut self, place: &Place, timestamp: i64) -> Result<i64, Trouble> {
        let version = match self.connection().await {
            Ok(connection) => connection.version::<ListOffsetsRequest>(),
            Err(error) => Err(error),
        };
        let speaks = version.map_err(Trouble::NotSent)? >= MAX_TIMESTAMP_FROM;
        let timestamp = if timestamp == MAX_TIMESTAMP && !speaks { 0 } else { timestamp };
        self.end_of(place, timestamp).await
    }

    /// One end of a partition: [`LATEST`] or [`EARLIEST`].
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn end_of(&mut self, place: &Place, timestamp: i64) -> Result<i64, Trouble> {
        let partition = ListOffsetsPartition {
            partition_index: place.index(),
            timestamp,
            ..ListOffsetsPartition::default()
        };
        let topic = ListOffsetsTopic {
            name: WireStr::from(place.topic.as_str()),
            partitions: vec![partition],
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![topic],
            timeout_ms: 5_000,
            ..ListOffsetsRequest::default()
        };
        let read = |answer: <ListOffsetsRequest as super::Request>::Response| {
            let row = answer.topics.first().and_then(|topic| topic.partitions.first());
            let row = row.ok_or_else(|| no_row("ListOffsets"))?;
            if row.error_code.is_error() {
                return Err(Trouble::of_read(row.error_code));
            }
            let (offset, timestamp) = (row.offset, row.timestamp);
            Ok(Reply::Listed { offset, timestamp, leader_epoch: row.leader_epoch })
        };
        let call = Call::ListOffsets { partition: place.partition, timestamp };
        match self.ask(call, &request, read).await? {
            Reply::Listed { offset, .. } => Ok(offset),
            other => unreachable!("the reader answers offsets, not {other:?}"),
        }
    }

    /// Reads a partition from `offset` on.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn fetch(
        &mut self,
        place: &Place,
        offset: i64,
        size: FetchSize,
    ) -> Result<Fetched, Trouble> {
        let version = match self.connection().await {
            Ok(connection) => connection.version::<FetchRequest>().map_err(Trouble::NotSent)?,
            Err(error) => {
                let op = self.history.next_op();
                let (topic, partition) = (place.topic.clone(), place.partition);
                let fetch = Fetch { topic, partition, by_name: false, offset };
                self.record(op, EventKind::Invoke(Call::Fetch(fetch)));
                let failure = Failure { code: None, why: error.to_string() };
                self.record(op, EventKind::Fail(failure));
                return Err(Trouble::NotSent(error));
            }
        };
        let call = Call::Fetch(fetch_call(place, offset, version));
        let request = fetch_request(place, offset, size);
        match self.ask(call, &request, |answer| read_fetched(&answer)).await? {
            Reply::Fetched(fetched) => Ok(fetched),
            other => unreachable!("the reader answers batches, not {other:?}"),
        }
    }

    /// Sends a fetch and does not wait for the answer; its operation. The answers are read, or
    /// left, in the order of the requests.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub(crate) async fn begin_fetch(
        &mut self,
        place: &Place,
        offset: i64,
        size: FetchSize,
    ) -> Result<u64, Trouble> {
        let connection = self.connection().await.map_err(Trouble::NotSent)?;
        let version = connection.version::<FetchRequest>().map_err(Trouble::NotSent)?;
        let op = self.history.next_op();
        self.record(op, EventKind::Invoke(Call::Fetch(fetch_call(place, offset, version))));
        let request = fetch_request(place, offset, size);
        let sent = match self.connection().await {
            Ok(connection) => connection.send(&request).await,
            Err(error) => Err(error),
        };
        let Err(error) = sent else { return Ok(op) };
        let trouble = Trouble::NotAnswered(error);
        self.record(op, trouble.event());
        self.drop_it();
        Err(trouble)
    }

    /// Reads the answer to the oldest fetch that was begun, which is `op`.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub(crate) async fn end_fetch(&mut self, op: u64) -> Result<(), Trouble> {
        let connection = self.connection().await.map_err(Trouble::NotSent)?;
        let answer = connection.receive::<FetchRequest>().await;
        if answer.is_err() {
            self.drop_it();
        }
        let read = answer.map_err(Trouble::NotAnswered).and_then(|answer| read_fetched(&answer));
        self.record(
            op,
            read.as_ref().map_or_else(Trouble::event, |reply| EventKind::Ok(reply.clone())),
        );
        read.map(drop)
    }

    /// Closes the connection before the answers to these fetches are read.
    pub(crate) fn leave_fetches(&mut self, ops: &[u64]) {
        self.drop_it();
        let left = Trouble::NotAnswered(CallError::Closed("by this client itself".to_owned()));
        for op in ops {
            self.record(*op, left.event());
        }
    }
}

/// A fetch as the history names it.
fn fetch_call(place: &Place, offset: i64, version: i16) -> Fetch {
    Fetch {
        topic: place.topic.clone(),
        partition: place.partition,
        by_name: version < BY_ID_FROM,
        offset,
    }
}

pub(crate) fn fetch_request(place: &Place, offset: i64, size: FetchSize) -> FetchRequest {
    let partition = FetchPartition {
        partition: place.index(),
        fetch_offset: offset,
        partition_max_bytes: size.bytes,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: WireStr::from(place.topic.as_str()),
        topic_id: place.partition.topic,
        partitions: vec![partition],
    };
    FetchRequest {
        max_wait_ms: size.wait_ms,
        min_bytes: 1,
        max_bytes: size.bytes,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

fn read_fetched(answer: &FetchResponse) -> Result<Reply, Trouble> {
    if answer.error_code.is_error() {
        return Err(Trouble::of_read(answer.error_code));
    }
    let row = answer.responses.first().and_then(|topic| topic.partitions.first());
    let row = row.ok_or_else(|| no_row("Fetch"))?;
    if row.error_code.is_error() {
        return Err(Trouble::of_read(row.error_code));
    }
    let bytes = row.records.as_ref().map(|records| records.to_bytes()).unwrap_or_default();
    let (batches, garbage) = seen_batches(&bytes);
    Ok(Reply::Fetched(Fetched {
        high_watermark: row.high_watermark,
        log_start: row.log_start_offset,
        batches,
        garbage,
    }))
}

fn read_topics(answer: &MetadataResponse) -> Result<Reply, Trouble> {
    if answer.error_code.is_error() {
        return Err(Trouble::of_read(answer.error_code));
    }
    let mut topics = Vec::new();
    for topic in &answer.topics {
        if topic.error_code.is_error() {
            return Err(Trouble::of_read(topic.error_code));
        }
        let mut epochs: Vec<_> =
            topic.partitions.iter().map(|row| (row.partition_index, row.leader_epoch)).collect();
        epochs.sort_unstable();
        topics.push(KnownTopic {
            name: topic.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            id: topic.topic_id,
            leader_epochs: epochs.into_iter().map(|(_, epoch)| epoch).collect(),
        });
    }
    Ok(Reply::Topics(topics))
}

/// An answer without the row that was asked for.
pub(crate) fn no_row(api: &str) -> Trouble {
    Trouble::NotAnswered(CallError::Malformed(format!("{api} without the row asked for")))
}

/// Whether `code` says that the topic is not there (any more).
pub(crate) fn is_gone(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::INCONSISTENT_TOPIC_ID
    )
}
