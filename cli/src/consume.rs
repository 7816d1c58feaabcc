//! `rivven consume`: prints records, and commits what it has printed.

mod places;

use std::collections::BTreeMap;
use std::time::Duration;

use rivven_client::Consumer;
use rivven_client::assignor::TopicPartition;
use rivven_client::consumer::commits::{CommittedOffset, Offsets};
use rivven_client::consumer::config::{ConsumerConfig, OffsetReset};
use rivven_client::consumer::event::ConsumerEvent;
use rivven_client::consumer::record::ConsumerRecord;
use rivven_io::Env;
use rivven_io::clock::Monotonic;

use self::places::Places;
use crate::arguments::consume::{ConsumeArguments, Start};
use crate::format::{Format, Shown};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::session::Session;
use crate::{CommandError, Outcome};

const POLL: Duration = Duration::from_millis(500);
/// How often offsets of printed records are committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
const POLL_RECORDS_MAX: usize = 1000;

pub(crate) async fn run(
    env: &Env,
    (arguments, interrupt): (&ConsumeArguments, &Interrupt),
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let starts = arguments.starts().map_err(CommandError::Usage)?;
    let session = Session::open(env, &arguments.connection).await?;
    let places = Places::find(&session, arguments, &starts).await?;
    let max = usize::try_from(arguments.max.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let config = ConsumerConfig {
        group: arguments.group.clone(),
        enable_auto_commit: false,
        auto_offset_reset: match starts.others {
            Start::Latest => OffsetReset::Latest,
            _ => OffsetReset::Earliest,
        },
        max_poll_records: POLL_RECORDS_MAX.min(max.max(1)),
        allow_auto_create_topics: false,
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::new(session.client.clone(), config)?;
    if arguments.group.is_some() {
        let topics: Vec<&str> = arguments.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
    } else {
        let partitions: Vec<TopicPartition> = places.starts.keys().cloned().collect();
        consumer.assign(&partitions)?;
        for (partition, offset) in &places.starts {
            consumer.seek(partition, *offset)?;
        }
    }
    let mut reading = Reading {
        env,
        consumer,
        places,
        format: arguments.format(),
        left: arguments.max.unwrap_or(u64::MAX),
        follows: arguments.follow,
        commits: arguments.group.is_some(),
        printed: Offsets::new(),
        commit_due: env.clock.now().after(COMMIT_INTERVAL),
    };
    let read = reading.read(interrupt, output).await;
    // What was printed counts as read, whatever ended the reading.
    let committed = reading.commit().await;
    let left = reading.consumer.close().await;
    read?;
    committed?;
    left?;
    Ok(interrupt.outcome())
}

struct Reading<'a> {
    env: &'a Env,
    consumer: Consumer,
    places: Places,
    format: Format,
    /// Records that may still be printed.
    left: u64,
    follows: bool,
    commits: bool,
    /// What was printed and is not committed.
    printed: Offsets,
    commit_due: Monotonic,
}

impl Reading<'_> {
    async fn read(
        &mut self,
        interrupt: &Interrupt,
        output: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        while self.left > 0 && !(self.has_all() || interrupt.is_raised()) {
            let polled = tokio::select! {
                biased;
                () = interrupt.raised() => return Ok(()),
                polled = self.consumer.poll(POLL) => polled?,
            };
            self.print(&polled, output)?;
            let events = self.consumer.events();
            let gives_up = |event: &ConsumerEvent| matches!(event, ConsumerEvent::Revoked(_));
            if events.iter().any(gives_up) || self.env.clock.now() >= self.commit_due {
                self.commit().await?;
            }
            for event in events {
                self.take(event);
            }
            if polled.is_empty() && !self.follows {
                self.look_at_positions().await;
            }
        }
        Ok(())
    }

    /// What is written out in one go is committed together.
    fn print(
        &mut self,
        polled: &[ConsumerRecord],
        output: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let mut bytes = Vec::new();
        let mut printed = BTreeMap::new();
        for record in polled {
            let of = TopicPartition::new(record.topic.clone(), record.partition);
            if !(self.follows || self.places.wants(&of, record.offset)) {
                self.places.reached(&of, record.offset);
                continue;
            }
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            self.format.write(shown(record), &mut bytes);
            let next = CommittedOffset {
                offset: record.offset + 1,
                leader_epoch: record.leader_epoch,
                metadata: String::new(),
            };
            printed.insert(of, next);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        output.bytes(&bytes)?;
        output.flush()?;
        for (of, next) in printed {
            self.places.reached(&of, next.offset);
            self.printed.insert(of, next);
        }
        Ok(())
    }

    fn take(&mut self, event: ConsumerEvent) {
        match event {
            ConsumerEvent::Assigned(partitions) => self.places.own(partitions),
            ConsumerEvent::Revoked(partitions) => self.give_up(&partitions),
            ConsumerEvent::Lost { partitions, .. } => self.give_up(&partitions),
        }
    }

    fn give_up(&mut self, partitions: &[TopicPartition]) {
        self.places.disown(partitions);
        for of in partitions {
            self.printed.remove(of);
        }
    }

    fn has_all(&self) -> bool {
        !self.follows && self.places.has_all()
    }

    /// Positions also move over what is never given out, such as compacted offsets.
    async fn look_at_positions(&mut self) {
        for of in self.places.open() {
            let position = self.consumer.position(&of);
            if let Ok(Ok(offset)) = self.env.clock.timeout(POLL, position).await {
                self.places.reached(&of, offset);
            }
        }
    }

    async fn commit(&mut self) -> Result<(), CommandError> {
        self.commit_due = self.env.clock.now().after(COMMIT_INTERVAL);
        if !self.commits || self.printed.is_empty() {
            return Ok(());
        }
        let offsets = std::mem::take(&mut self.printed);
        match self.consumer.commit_offsets(&offsets).await {
            // The others of the group read on from what was committed before: they repeat records.
            Err(error) if error.code().is_some_and(is_of_rebalance) => Ok(()),
            result => Ok(result?),
        }
    }
}

fn is_of_rebalance(code: rivven_core::kafka::codec::error_code::ErrorCode) -> bool {
    use rivven_core::kafka::codec::error_code::ErrorCode;
    [ErrorCode::REBALANCE_IN_PROGRESS, ErrorCode::ILLEGAL_GENERATION, ErrorCode::UNKNOWN_MEMBER_ID]
        .contains(&code)
}

fn shown(record: &ConsumerRecord) -> Shown<'_> {
    Shown {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &record.headers,
    }
}
