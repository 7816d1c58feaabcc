//! One fetch at one leader, and what its answer means for the partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};

use super::batches::{Cut, cut};
use super::config::{ConsumerConfig, Isolation, OffsetReset, millis};
use super::partitions::{At, Marks, Position, Row, Start};
use super::plan::{FetchPlan, FetchRow};
use super::shared::Shared;
use crate::assignor::TopicPartition;
use crate::client::{Lane, Target};
use crate::error::Error;

/// What one partition's row of an answer says.
struct Fetched {
    asked: FetchRow,
    data: PartitionData,
    cut: Cut,
}

/// What is to be done when the answer has been read.
#[derive(Default)]
struct Noticed {
    metadata_is_old: bool,
    for_application: bool,
}

/// Asks once, and gives the partitions what came.
pub(super) async fn run(shared: Arc<Shared>, plan: FetchPlan) {
    let config = &shared.config;
    let request = request(&plan, config);
    let timeout = shared.client.config().request_timeout + config.fetch_max_wait;
    let target = Target::Broker(plan.leader);
    let answer = shared.client.call_within(target, Lane::Fetch, (&request, timeout)).await;
    let error = match answer {
        Ok(answer) if !answer.error_code.is_error() => {
            return take(&shared, read(answer, plan, config));
        }
        Ok(answer) => Error::refused("Fetch", answer.error_code, None),
        Err(error) => error,
    };
    tracing::debug!(leader = plan.leader, %error, "no fetch");
    let is_retriable = error.is_retriable();
    let mut state = shared.lock();
    for asked in &plan.rows {
        if let Some(row) = state.partitions.rows.get_mut(&asked.of) {
            row.wait(&shared);
        }
    }
    drop(state);
    if !is_retriable {
        shared.report(error);
    }
    shared.distrust_metadata();
}

fn request(plan: &FetchPlan, config: &ConsumerConfig) -> FetchRequest {
    let mut topics: BTreeMap<(&str, TopicId), Vec<FetchPartition>> = BTreeMap::new();
    // The broker fills its answer in the order of the request, of topics as of partitions.
    let mut order = Vec::new();
    for row in &plan.rows {
        let topic = (&*row.of.topic, row.topic_id);
        let partitions = topics.entry(topic).or_default();
        if partitions.is_empty() {
            order.push(topic);
        }
        partitions.push(FetchPartition {
            partition: row.of.partition,
            current_leader_epoch: row.leader_epoch,
            fetch_offset: row.from.offset,
            last_fetched_epoch: row.from.leader_epoch,
            partition_max_bytes: config.max_partition_fetch_bytes,
            ..FetchPartition::default()
        });
    }
    let topics = order.into_iter().map(|topic| FetchTopic {
        topic: WireStr::from(topic.0),
        topic_id: topic.1,
        partitions: topics.remove(&topic).expect("each topic stands once in the order"),
    });
    FetchRequest {
        max_wait_ms: millis(config.fetch_max_wait),
        min_bytes: config.fetch_min_bytes,
        max_bytes: plan.bytes_max,
        isolation_level: config.isolation(),
        topics: topics.collect(),
        ..FetchRequest::default()
    }
}

/// Cuts and checks the batches, which takes a while and needs no lock.
fn read(answer: FetchResponse, plan: FetchPlan, config: &ConsumerConfig) -> Vec<Fetched> {
    let names: BTreeMap<TopicId, Arc<str>> =
        plan.rows.iter().map(|row| (row.topic_id, row.of.topic.clone())).collect();
    let mut asked: BTreeMap<TopicPartition, FetchRow> =
        plan.rows.into_iter().map(|row| (row.of.clone(), row)).collect();
    let mut fetched = Vec::new();
    for topic in answer.responses {
        let name = match topic.topic.is_empty() {
            true => names.get(&topic.topic_id).cloned(),
            false => Some(Arc::from(topic.topic.as_str())),
        };
        let Some(name) = name else { continue };
        for data in topic.partitions {
            let of = TopicPartition::new(name.clone(), data.partition_index);
            let Some(asked) = asked.remove(&of) else { continue };
            let bytes = data.records.as_ref().map(|records| records.to_bytes());
            let aborted = data.aborted_transactions.as_deref().unwrap_or_default();
            let wants_committed = config.isolation_level == Isolation::ReadCommitted;
            let aborted = wants_committed.then_some(aborted);
            let cut = cut(&of, asked.from, (&bytes.unwrap_or_default(), aborted));
            fetched.push(Fetched { asked, data, cut });
        }
    }
    fetched
}

fn take(shared: &Arc<Shared>, fetched: Vec<Fetched>) {
    let mut noticed = Noticed::default();
    let mut guard = shared.lock();
    let state = &mut *guard;
    for one in fetched {
        let Some(row) = state.partitions.rows.get_mut(&one.asked.of) else { continue };
        // It was assigned anew, sought, or fetched from another leader meanwhile.
        let is_wanted = row.incarnation == one.asked.incarnation
            && row.fetched == one.asked.from
            && row.topic_id == Some(one.asked.topic_id)
            && matches!(row.position, Position::At(_))
            && row.is_active();
        if is_wanted {
            state.fetch_count += u64::from(!one.cut.batches.is_empty());
            row.fed = if one.cut.batches.is_empty() { row.fed } else { state.fetch_count };
            row.take_fetched(shared, one, &mut noticed);
        }
    }
    drop(guard);
    if noticed.for_application {
        shared.arrived.notify_one();
    }
    if noticed.metadata_is_old {
        shared.distrust_metadata();
    }
}

impl Row {
    /// Is not asked for again before some time is over.
    pub(super) fn wait(&mut self, shared: &Shared) {
        let wait = self.backoff.take(shared.client.env());
        self.wait_until = shared.now().after(wait);
    }

    fn take_fetched(&mut self, shared: &Shared, fetched: Fetched, noticed: &mut Noticed) {
        let Fetched { asked, data, cut } = fetched;
        match data.error_code {
            ErrorCode::NONE => {}
            ErrorCode::OFFSET_OUT_OF_RANGE => return self.out_of_range(shared, &asked, noticed),
            code => {
                self.wait(shared);
                noticed.metadata_is_old = true;
                if !code.is_retriable() {
                    let what = format!("reading {} at offset {}", asked.of, asked.from.offset);
                    self.trouble = Some(Error::refused(what, code, None));
                    noticed.for_application = true;
                }
                return;
            }
        }
        self.backoff.reset();
        self.marks = Some(Marks {
            log_start: data.log_start_offset,
            last_stable: data.last_stable_offset,
            high_watermark: data.high_watermark,
        });
        if data.diverging_epoch.end_offset >= 0 {
            return self.diverged(shared, &asked.of, data.diverging_epoch.end_offset);
        }
        noticed.for_application |= !cut.batches.is_empty() || cut.trouble.is_some();
        cut.batches.into_iter().for_each(|batch| self.push(batch));
        self.trouble = cut.trouble;
    }

    fn out_of_range(&mut self, shared: &Shared, asked: &FetchRow, noticed: &mut Noticed) {
        if !self.unread.is_empty() {
            // Once that is read, it is seen whether the offset is there now.
            return self.wait(shared);
        }
        let of = &asked.of;
        if shared.config.auto_offset_reset == OffsetReset::None {
            let what = format!("reading {of} at offset {}", asked.from.offset);
            let text = "and auto_offset_reset is none";
            self.trouble = Some(Error::refused(what, ErrorCode::OFFSET_OUT_OF_RANGE, Some(text)));
            noticed.for_application = true;
            return;
        }
        tracing::warn!(partition = %of, offset = asked.from.offset, "offset out of range: reset");
        self.set(Position::Unknown(Start::Reset));
        shared.work.notify_one();
    }

    /// A new leader does not have what was read from the old one (KIP-320).
    fn diverged(&mut self, shared: &Shared, of: &TopicPartition, end_offset: i64) {
        let Position::At(at) = self.position else { return };
        tracing::warn!(partition = %of, at.offset, end_offset, "the log was cut");
        let offset = at.offset.min(end_offset);
        // What it was written by is asked anew at that offset.
        self.set(Position::At(At { offset, leader_epoch: -1 }));
        shared.work.notify_one();
    }
}
