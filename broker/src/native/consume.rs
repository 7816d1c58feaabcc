//! Consuming: Fetch reads whole batches, which are unpacked here into records, as many as were
//! asked for and fit an answer.

mod size;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rivven_core::record::batches::{Batch, Batches};
use rivven_core::record::compression::{Codec, DecompressError};
use rivven_core::record::header::BatchHeader;
use rivven_core::record::records::{Record, Records};
use rivven_core::wire::codec::Name;
use rivven_core::wire::message::{ConsumedRecord, MessageData};
use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;
use rivven_io::clock::Monotonic;

use super::Work;
use super::errors::Failure;
use super::topics::{index, offset};
use crate::api::fetch::Fetch;
use crate::api::find_partition;
use crate::limits::{
    LARGE_FRAME_BYTES, NATIVE_ANSWER_BYTES_MAX, NATIVE_READ_BYTES, NATIVE_UNPACKED_BYTES_MAX,
    NATIVE_WAIT_MAX,
};
use crate::memory::{Account, Charge, Class};
use crate::node::{Node, Stop};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::fetch::{
    FetchPartition, FetchRequest, FetchTopic, PartitionData,
};
use size::Size;

/// The newest version of Fetch that names topics by name.
const FETCH_VERSION: i16 = 12;
const READ_COMMITTED: u8 = 1;
const NANOS_PER_MS: u128 = 1_000_000;

/// A request to consume, whichever of the two it was.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    topic: Name,
    partition: u32,
    offset: u64,
    records_max: usize,
    bytes_max: usize,
    isolation_level: u8,
    wait: Duration,
    /// The answer is Messages, as released clients read it.
    is_released: bool,
}

impl Wish {
    /// What a request leads to if it consumes, or does something else.
    pub(super) fn of(request: Request) -> Work {
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        match request {
            Request::Consume {
                topic,
                partition,
                offset,
                max_messages,
                isolation_level,
                max_wait_ms,
            } => Work::Consume(Wish {
                topic,
                partition,
                offset,
                records_max: size(max_messages),
                bytes_max: NATIVE_ANSWER_BYTES_MAX,
                isolation_level: isolation_level.unwrap_or(0),
                wait: Duration::from_millis(max_wait_ms.unwrap_or(0)),
                is_released: true,
            }),
            Request::ConsumeRecords {
                topic,
                partition,
                offset,
                max_records,
                max_bytes,
                isolation_level,
                max_wait_ms,
            } => Work::Consume(Wish {
                topic,
                partition,
                offset,
                records_max: size(max_records.into()),
                bytes_max: size(max_bytes.into()).min(NATIVE_ANSWER_BYTES_MAX),
                isolation_level,
                wait: Duration::from_millis(max_wait_ms.into()),
                is_released: false,
            }),
            other => Work::Other(other),
        }
    }
}

/// A request to consume that is being answered.
pub(crate) struct Consume {
    node: Arc<Node>,
    account: Arc<Account>,
    wish: Wish,
    partition_index: i32,
    deadline: Monotonic,
    /// Offset from which on records are wanted.
    next: i64,
    records: Vec<ConsumedRecord>,
    /// Bytes that the records take in the answer.
    bytes: usize,
    /// For the list of records and their headers.
    charge: Charge,
    marks: Marks,
    /// A Fetch that has to wait.
    waiting: Option<Fetch>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    log_start: i64,
    last_stable: i64,
    high_watermark: i64,
}

/// Whether reading on may give more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    More,
    Done,
}

impl Consume {
    pub(crate) fn new(
        node: Arc<Node>,
        account: Arc<Account>,
        wish: Wish,
    ) -> Result<Consume, Failure> {
        let next = i64::try_from(wish.offset).map_err(|_| out_of_range(&wish))?;
        Ok(Consume {
            partition_index: index(&wish.topic, wish.partition)?,
            deadline: node.env.clock.now().after(wish.wait.min(NATIVE_WAIT_MAX)),
            charge: account.charge_anyway(0),
            node,
            account,
            next,
            records: Vec::new(),
            bytes: 0,
            marks: Marks::default(),
            waiting: None,
            wish,
        })
    }

    /// Reads what needs no waiting; whether that makes the answer.
    pub(crate) async fn try_complete(&mut self) -> Result<bool, Failure> {
        loop {
            let mut fetch = self.fetch();
            if !fetch.try_complete().await {
                if self.records.is_empty() {
                    self.waiting = Some(fetch);
                    return Ok(false);
                }
                return Ok(true);
            }
            if self.take_what_is_good(fetch).await? == Step::Done {
                return Ok(true);
            }
        }
    }

    /// Waits until there is a record, the time is up, or the broker or the connection ends.
    pub(crate) async fn wait(&mut self, ending: &Stop) -> Result<(), Failure> {
        loop {
            let mut fetch = self.waiting.take().unwrap_or_else(|| self.fetch());
            tokio::select! {
                biased;
                () = fetch.wait() => {}
                () = ending.wait() => {}
            }
            let step = self.take_what_is_good(fetch).await?;
            if step == Step::Done || self.node.stop.is_set() || ending.is_set() {
                return Ok(());
            }
        }
    }

    pub(crate) fn finish(self) -> Response {
        let Marks { log_start, last_stable, high_watermark } = self.marks;
        let partition = self.wish.partition;
        if self.wish.is_released {
            let message = |record: ConsumedRecord| released(partition, record);
            return Response::Messages {
                messages: self.records.into_iter().map(message).collect(),
            };
        }
        Response::Records {
            partition,
            log_start: offset(log_start),
            last_stable_offset: offset(last_stable),
            high_watermark: offset(high_watermark),
            next_offset: offset(self.next),
            records: self.records,
        }
    }

    /// Waits for data only while there is none to answer with.
    fn fetch(&self) -> Fetch {
        let wait = self.deadline.since(self.node.env.clock.now());
        let wait = if self.records.is_empty() { wait } else { Duration::ZERO };
        // Rounded down, the answer would come before its time.
        let wait_ms = wait.as_nanos().div_ceil(NANOS_PER_MS);
        let bytes_max = i32::try_from(NATIVE_READ_BYTES).expect("a read is smaller than 2 GiB");
        let partition = FetchPartition {
            partition: self.partition_index,
            fetch_offset: self.next,
            partition_max_bytes: bytes_max,
            ..FetchPartition::default()
        };
        let topic = (&*self.wish.topic).into();
        let topic = FetchTopic { topic, partitions: vec![partition], ..FetchTopic::default() };
        let request = FetchRequest {
            max_wait_ms: i32::try_from(wait_ms).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: bytes_max,
            isolation_level: i8::try_from(self.wish.isolation_level).unwrap_or(i8::MAX),
            topics: vec![topic],
            ..FetchRequest::default()
        };
        Fetch::new(self.node.clone(), self.account.clone(), FETCH_VERSION, request)
    }

    /// An error is told to whoever asks for what is behind the records that came before it.
    async fn take_what_is_good(&mut self, fetch: Fetch) -> Result<Step, Failure> {
        match self.take(fetch).await {
            Err(_) if !self.records.is_empty() => Ok(Step::Done),
            taken => taken,
        }
    }

    /// Takes the records of what was read.
    async fn take(&mut self, fetch: Fetch) -> Result<Step, Failure> {
        let mut response = fetch.into_response();
        let data = response.responses.pop().and_then(|mut topic| topic.partitions.pop());
        let data = data.ok_or_else(|| Failure::new(response.error_code, "nothing was read"))?;
        if data.error_code == ErrorCode::OFFSET_OUT_OF_RANGE && self.skip_to_log_start() {
            return Ok(Step::More);
        }
        self.check(&data)?;
        self.marks = Marks {
            log_start: data.log_start_offset,
            last_stable: data.last_stable_offset,
            high_watermark: data.high_watermark,
        };
        let read = data.records.unwrap_or_default();
        if read.is_empty() {
            return Ok(Step::Done);
        }
        // Every piece holds whole batches; together they would be a copy.
        for piece in read.pieces() {
            for batch in Batches::new(piece) {
                let batch = batch.map_err(|error| {
                    Failure::for_good(ErrorCode::CORRUPT_MESSAGE, error.to_string())
                })?;
                if self.take_batch(piece, &batch).await? == Step::Done {
                    return Ok(Step::Done);
                }
            }
        }
        let end = self.end();
        Ok(if self.next < end || self.records.is_empty() { Step::More } else { Step::Done })
    }

    /// Released clients have no way back into a log whose start has moved past them: they read from
    /// its start, and see it by the offsets. Whether they were before it.
    fn skip_to_log_start(&mut self) -> bool {
        let found = find_partition(&self.node, &self.wish.topic, self.partition_index);
        let log_start = found.map(|partition| partition.positions().log_start.0);
        match log_start.filter(|log_start| self.wish.is_released && self.next < *log_start) {
            Some(log_start) => {
                self.next = log_start;
                true
            }
            None => false,
        }
    }

    fn check(&self, data: &PartitionData) -> Result<(), Failure> {
        let Wish { topic, partition, .. } = &self.wish;
        match data.error_code {
            ErrorCode::NONE => Ok(()),
            ErrorCode::OFFSET_OUT_OF_RANGE => Err(out_of_range(&self.wish)),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                let image = self.node.storage.image();
                Err(match image.topic(topic) {
                    Some(_) => Failure::unknown_partition(topic, *partition),
                    None => Failure::unknown_topic(topic),
                })
            }
            code => Err(Failure::new(code, format!("partition {partition} of '{topic}'"))),
        }
    }

    /// Offset behind what this client may see.
    fn end(&self) -> i64 {
        match self.wish.isolation_level {
            READ_COMMITTED => self.marks.last_stable,
            _ => self.marks.high_watermark,
        }
    }

    /// Takes the records of one batch of `read`.
    async fn take_batch(&mut self, read: &Bytes, batch: &Batch<'_>) -> Result<Step, Failure> {
        let header = &batch.header;
        let behind = header.last_offset().plus(1).0;
        if behind <= self.next {
            return Ok(Step::More);
        }
        if header.is_control() {
            self.next = behind;
            return Ok(Step::More);
        }
        let packed = read.slice_ref(batch.body());
        let body = self.unpack(packed, header.codec_bits(), behind).await?;
        if header.codec_bits() != 0 {
            check_records(header, &body)?;
        }
        let end = self.end();
        for record in Records::new(header, &body) {
            let record = record.map_err(|error| damaged(&error, behind))?;
            let at = header.base_offset.plus(i64::from(record.offset_delta)).0;
            if at < self.next && !rivven_io::planted!("B81") {
                continue;
            }
            if at >= end || !self.admit(at, &record)? {
                return Ok(Step::Done);
            }
            let headers = record.headers.map(|header| {
                let key = String::from_utf8_lossy(header.key).into_owned();
                (key, header.value.map(|value| body.slice_ref(value)))
            });
            self.records.push(ConsumedRecord {
                offset: offset(at),
                key: record.key.map(|key| body.slice_ref(key)),
                value: record.value.map(|value| body.slice_ref(value)),
                timestamp_ms: record.timestamp.0,
                headers: headers.collect(),
            });
            self.next = at + 1;
        }
        self.next = behind;
        Ok(Step::More)
    }

    /// Whether the record at this offset fits the answer; if so, what it takes there and in memory
    /// is counted, before anything is allocated for it.
    fn admit(&mut self, at: i64, record: &Record<'_>) -> Result<bool, Failure> {
        let size = Size::of(record);
        if size.answer_bytes > NATIVE_ANSWER_BYTES_MAX {
            let text = format!(
                "the record at offset {at} takes more than the {NATIVE_ANSWER_BYTES_MAX} bytes of \
                 an answer; go on at offset {}",
                at + 1
            );
            return Err(Failure::new(ErrorCode::MESSAGE_TOO_LARGE, text));
        }
        let bytes = self.bytes + size.answer_bytes;
        let is_full = !self.records.is_empty() && bytes > self.wish.bytes_max;
        if is_full || self.records.len() >= self.wish.records_max {
            return Ok(false);
        }
        self.bytes = bytes;
        let before = self.records.capacity();
        self.records.reserve(1);
        let grown = (self.records.capacity() - before) * size_of::<ConsumedRecord>();
        let needed = grown + size.header_memory;
        if needed > 0 {
            self.charge.absorb(self.account.charge_anyway(needed));
        }
        Ok(true)
    }

    /// The records of a batch that ends before `behind`, with room for them charged before they are
    /// unpacked.
    async fn unpack(&self, body: Bytes, codec_bits: i16, behind: i64) -> Result<Bytes, Failure> {
        let codec = Codec::from_bits(codec_bits);
        let codec = codec.ok_or_else(|| damaged(&"an undefined codec", behind))?;
        if codec == Codec::None {
            return Ok(body);
        }
        let mut limit = (8 * body.len()).clamp(1 << 20, NATIVE_UNPACKED_BYTES_MAX);
        loop {
            let class = if limit > LARGE_FRAME_BYTES { Class::Large } else { Class::Small };
            let charge = self.account.charge(limit, class, &self.node.env.clock).await;
            let mut charge = charge
                .map_err(|error| Failure::new(ErrorCode::REQUEST_TIMED_OUT, error.to_string()))?;
            let packed = body.clone();
            let work = async move { codec.decompress(&packed, limit) };
            match self.node.env.tasks.offload(work).await {
                Ok(unpacked) => {
                    charge.shrink_to(unpacked.len());
                    return Ok(Arc::new(charge).hold(unpacked.into()));
                }
                Err(DecompressError::TooLarge { .. }) if limit < NATIVE_UNPACKED_BYTES_MAX => {
                    limit = (4 * limit).min(NATIVE_UNPACKED_BYTES_MAX);
                }
                Err(error @ DecompressError::TooLarge { .. }) => {
                    let text = format!("{error}; go on at offset {behind}");
                    return Err(Failure::new(ErrorCode::MESSAGE_TOO_LARGE, text));
                }
                Err(error) => return Err(damaged(&error, behind)),
            }
        }
    }
}

fn out_of_range(wish: &Wish) -> Failure {
    let Wish { topic, partition, offset, .. } = wish;
    let text = format!("partition {partition} of '{topic}' does not reach to offset {offset}");
    Failure::new(ErrorCode::OFFSET_OUT_OF_RANGE, text)
}

/// Checks a batch that was packed when it came, so that nobody has looked at its records: each
/// stands behind the one before it, within the offsets that the batch takes up. A record that could
/// not be reached by its offset would be lost without a word.
fn check_records(header: &BatchHeader, body: &[u8]) -> Result<(), Failure> {
    let behind = header.last_offset().plus(1).0;
    let mut delta_min = 0;
    for record in Records::new(header, body) {
        let record = record.map_err(|error| damaged(&error, behind))?;
        let delta = i64::from(record.offset_delta);
        if !(delta_min..=i64::from(header.last_offset_delta)).contains(&delta) {
            return Err(damaged(&format!("a record's offset delta is {delta}"), behind));
        }
        delta_min = delta + 1;
    }
    Ok(())
}

/// A batch whose producer sent what it cannot read either: it is stored as it came, and will never
/// be read.
fn damaged(reason: &impl Display, behind: i64) -> Failure {
    let text = format!("{reason}; go on at offset {behind}");
    Failure::for_good(ErrorCode::CORRUPT_MESSAGE, text)
}

fn released(partition: u32, record: ConsumedRecord) -> MessageData {
    let header = |(key, value): (String, Option<Bytes>)| (key, value.unwrap_or_default());
    MessageData {
        offset: record.offset,
        partition,
        key: record.key,
        value: record.value.unwrap_or_default(),
        timestamp_ms: record.timestamp_ms,
        headers: record.headers.into_iter().map(header).collect(),
    }
}
