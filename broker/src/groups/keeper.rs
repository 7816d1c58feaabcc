//! One shard with its log: takes steps of the machine, appends what they want stored, and answers
//! those who wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use rivven_core::group::messages::{GroupError, Joined, Synced, Ticket};
use rivven_core::group::records::TOPIC_HEADER;
use rivven_core::group::shard::{AppendId, LogRecord, Shard, ShardEffect};
use rivven_core::ids::TimestampMs;
use rivven_core::limits::BATCH_BYTES_MAX;
use rivven_core::record::builder::{BatchBuilder, NewRecord};
use rivven_core::record::header::TimestampType;
use rivven_core::record::validate::{ProduceRules, validate_produced};
use rivven_core::storage::Storage;
use rivven_core::storage::error::AppendError;
use rivven_core::storage::partition::Partition;
use rivven_core::storage::shared::{AppendRequest, AppendSink, Appended};
use rivven_io::Env;
use tokio::sync::oneshot;

use super::memory::GroupMemory;
use super::{Alarm, Effects, GroupRefusal, Refusable, now};

/// Bytes of a record beside its key and value, at most.
const RECORD_OVERHEAD_BYTES: usize = 80;

/// What the keepers of one broker share.
pub(super) struct Parts {
    pub(super) env: Env,
    pub(super) storage: Storage,
    pub(super) alarm: Arc<Alarm>,
    pub(super) memory: Arc<GroupMemory>,
}

pub(super) struct Keeper {
    env: Env,
    storage: Storage,
    partition: Arc<Partition>,
    alarm: Arc<Alarm>,
    memory: Arc<GroupMemory>,
    state: Mutex<State>,
    /// For appends, which answer to it.
    this: Weak<Keeper>,
}

struct State {
    progress: Progress,
    waiting: BTreeMap<Ticket, Waits>,
    /// To be appended, in the order of the machine.
    outgoing: VecDeque<(AppendId, Vec<LogRecord>)>,
    /// Somebody hands them to the log, without the lock.
    is_appending: bool,
}

enum Progress {
    Loading,
    Ready(Box<Shard>),
    Failed,
}

/// Who waits for an answer of the machine.
pub(super) enum Waits {
    Join(oneshot::Sender<Result<Joined, GroupError>>),
    Sync(oneshot::Sender<Result<Synced, GroupError>>),
    Done(oneshot::Sender<Result<(), GroupError>>),
}

/// An answer that comes later.
pub(super) type Answer<T> = oneshot::Receiver<Result<T, GroupError>>;

impl Keeper {
    pub(super) fn new(
        parts: Parts,
        partition: Arc<Partition>,
        begin: Option<Shard>,
    ) -> Arc<Keeper> {
        let Parts { env, storage, alarm, memory } = parts;
        let progress = match begin {
            Some(shard) => Progress::Ready(Box::new(shard)),
            None => Progress::Loading,
        };
        let state = State {
            progress,
            waiting: BTreeMap::new(),
            outgoing: VecDeque::new(),
            is_appending: false,
        };
        Arc::new_cyclic(|this| Keeper {
            env,
            storage,
            partition,
            alarm,
            memory,
            state: Mutex::new(state),
            this: this.clone(),
        })
    }

    pub(super) fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition was read: its groups answer from now on. `None`: it could not be.
    pub(super) fn begin(&self, shard: Option<Shard>) {
        // What a start reads is taken in, whatever it takes.
        self.memory.note(0, shard.as_ref().map_or(0, Shard::bytes));
        let begun = shard.map_or(Progress::Failed, |shard| Progress::Ready(Box::new(shard)));
        let before = std::mem::replace(&mut self.lock().progress, begun);
        assert!(matches!(before, Progress::Loading), "a shard is loaded once");
        let _ = self.step(|shard, out| shard.forget_gone(&self.storage.image(), out));
    }

    /// Takes a step of the machine, does what it wants done, and sees to its deadline.
    pub(super) fn step<T>(&self, step: impl FnOnce(&mut Shard, &mut Effects) -> T) -> Refusable<T> {
        let (given, deadline) = self.step_unwatched(|shard, out| {
            let given = step(shard, out);
            (given, shard.deadline())
        })?;
        self.alarm.set(deadline);
        Ok(given)
    }

    /// [`Keeper::step`] for whoever watches the deadlines.
    pub(super) fn step_unwatched<T>(
        &self,
        step: impl FnOnce(&mut Shard, &mut Effects) -> T,
    ) -> Refusable<T> {
        let mut state = self.lock();
        let mut effects = Effects::new();
        let shard = state.progress.shard()?;
        let before = shard.bytes();
        shard.set_room(self.memory.room());
        let given = step(shard, &mut effects);
        self.memory.note(before, shard.bytes());
        state.take_all(effects);
        drop(state);
        self.append_outgoing();
        Ok(given)
    }

    /// Takes a step whose answer may come later, under the ticket.
    pub(super) fn ask<T>(
        &self,
        ticket: Ticket,
        waits: impl FnOnce(oneshot::Sender<Result<T, GroupError>>) -> Waits,
        step: impl FnOnce(&mut Shard, &mut Effects) -> Result<(), GroupError>,
    ) -> Refusable<Answer<T>> {
        let (sender, receiver) = oneshot::channel();
        self.lock().waiting.insert(ticket, waits(sender));
        let taken = self.step(step);
        if !matches!(taken, Ok(Ok(()))) {
            self.lock().waiting.remove(&ticket);
        }
        taken??;
        Ok(receiver)
    }

    /// Hands what is outgoing to the log. If somebody does already, that one goes on: the log may
    /// answer within the call.
    fn append_outgoing(&self) {
        loop {
            let (id, records) = {
                let mut state = self.lock();
                if state.is_appending {
                    return;
                }
                let Some(next) = state.outgoing.pop_front() else { return };
                state.is_appending = true;
                next
            };
            let refused = match self.request(id, &records) {
                Some(request) => {
                    self.storage.append(request);
                    false
                }
                None => true,
            };
            self.lock().is_appending = false;
            if refused {
                self.answered(id, false);
            }
        }
    }

    /// `None` if the records do not fit a batch.
    fn request(&self, id: AppendId, records: &[LogRecord]) -> Option<AppendRequest> {
        let wall = TimestampMs(self.env.clock.wall_ms());
        let keys: Vec<Bytes> = records.iter().map(|record| record.key.encode()).collect();
        let size = |(key, record): (&Bytes, &LogRecord)| {
            key.len() + record.value.as_ref().map_or(0, Bytes::len) + RECORD_OVERHEAD_BYTES
        };
        let bytes: usize = keys.iter().zip(records).map(size).sum();
        if bytes + RECORD_OVERHEAD_BYTES > BATCH_BYTES_MAX {
            tracing::warn!(partition = %self.partition.id(), bytes, limit = BATCH_BYTES_MAX,
                "what a group wants to store is too large");
            return None;
        }
        let mut builder = BatchBuilder::new(wall);
        for (key, record) in keys.iter().zip(records) {
            let topic = record.topic.as_ref().map(|id| (TOPIC_HEADER, Some(&id.0[..])));
            builder = builder.push(NewRecord {
                timestamp: None,
                key: Some(key),
                value: record.value.as_deref(),
                headers: topic.as_slice(),
            });
        }
        let batch = Bytes::from(builder.build());
        let rules = ProduceRules {
            topic: self.partition.topic(),
            partition: self.partition.id().index,
            produce_version: i16::MAX,
            max_message_bytes: BATCH_BYTES_MAX,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: i64::MAX,
            is_compacted: true,
            now: wall,
        };
        let header = validate_produced(&batch, &rules).expect("what is built here is valid");
        let sink = self.this.upgrade().expect("it is called by its owner");
        Some(AppendRequest { partition: self.partition.clone(), batch, header, sink, token: id.0 })
    }

    fn answered(&self, id: AppendId, is_durable: bool) {
        let now = now(&self.env);
        let step = self.step(|shard, out| shard.appended(now, (id, is_durable), out));
        assert!(step.is_ok(), "only a shard that is ready appends");
    }
}

impl Progress {
    fn shard(&mut self) -> Refusable<&mut Shard> {
        match self {
            Progress::Loading => Err(GroupRefusal::Loading),
            Progress::Failed => Err(GroupRefusal::Unavailable),
            Progress::Ready(shard) => Ok(shard),
        }
    }
}

impl State {
    fn take_all(&mut self, effects: Effects) {
        effects.into_iter().for_each(|effect| self.take(effect));
    }

    fn take(&mut self, effect: ShardEffect) {
        // Who asked may be gone.
        match effect {
            ShardEffect::Append(id, records) => self.outgoing.push_back((id, records)),
            ShardEffect::Join(ticket, answer) => {
                if let Some(Waits::Join(waits)) = self.waiting.remove(&ticket) {
                    let _ = waits.send(answer);
                }
            }
            ShardEffect::Sync(ticket, answer) => {
                if let Some(Waits::Sync(waits)) = self.waiting.remove(&ticket) {
                    let _ = waits.send(answer);
                }
            }
            ShardEffect::Done(ticket, answer) => {
                if let Some(Waits::Done(waits)) = self.waiting.remove(&ticket) {
                    let _ = waits.send(answer);
                }
            }
        }
    }
}

impl AppendSink for Keeper {
    fn appended(&self, token: u64, outcome: Result<Appended, AppendError>) {
        if let Err(error) = &outcome {
            tracing::warn!(partition = %self.partition.id(), %error, "a group was not stored");
        }
        self.answered(AppendId(token), outcome.is_ok());
    }

    fn flush(&self) {}
}
