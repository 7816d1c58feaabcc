//! `rivven consume`: prints records, and commits what it has printed.

mod places;

use std::collections::BTreeSet;
use std::time::Duration;

use rivven_client::assignor::TopicPartition;
use rivven_client::consumer::commits::{CommittedOffset, Offsets};
use rivven_client::consumer::config::{ConsumerConfig, OffsetReset};
use rivven_client::consumer::event::ConsumerEvent;
use rivven_client::consumer::record::ConsumerRecord;
use rivven_client::{Consumer, Error};
use rivven_io::Env;
use rivven_io::clock::Monotonic;

use self::places::Places;
use crate::arguments::consume::{ConsumeArguments, Start, Starts};
use crate::format::{Format, Shown};
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::writer::Writer;
use crate::{CommandError, Outcome};

/// How long a poll waits, and how often a bounded run looks where it is.
const POLL: Duration = Duration::from_millis(500);
/// How often offsets of printed records are committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
const POLL_RECORDS_MAX: usize = 1000;
/// Bytes after which what is printed is written.
const PIECE_BYTES: usize = 1 << 20;

pub(crate) async fn run(
    env: &Env,
    (arguments, interrupt): (&ConsumeArguments, &Interrupt),
) -> Result<Outcome, CommandError> {
    let starts = arguments.starts().map_err(CommandError::Usage)?;
    let session = Session::open(env, &arguments.connection).await?;
    let places = Places::find(&session, arguments, &starts).await?;
    let consumer = consumer(&session, arguments, (&starts, &places))?;
    let now = env.clock.now();
    let mut reading = Reading {
        env,
        session: &session,
        interrupt,
        consumer,
        places,
        writer: Writer::start(env),
        format: arguments.format(),
        left: arguments.max.unwrap_or(u64::MAX),
        follows: arguments.follow,
        group: arguments.group.as_deref(),
        polled_some: false,
        has_said: false,
        is_read_by_others: false,
        given_up: BTreeSet::new(),
        writing: Offsets::new(),
        printed: Offsets::new(),
        commit_due: now.after(COMMIT_INTERVAL),
        look_due: now.after(POLL),
    };
    interrupt.hold();
    let read = reading.read().await;
    // What was printed counts as read, whatever ended the reading.
    let committed = reading.commit().await;
    let left = reading.consumer.close().await;
    read?;
    committed?;
    left?;
    Ok(interrupt.outcome())
}

fn consumer(
    session: &Session,
    arguments: &ConsumeArguments,
    (starts, places): (&Starts, &Places),
) -> Result<Consumer, Error> {
    let max = usize::try_from(arguments.max.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let begins_at_end = arguments.group.is_some() && starts.others == Start::Latest;
    let config = ConsumerConfig {
        group: arguments.group.clone(),
        enable_auto_commit: false,
        // Without a group it counts only where records were deleted before they were read: what is
        // left of them is not to be skipped, too.
        auto_offset_reset: match begins_at_end {
            true => OffsetReset::Latest,
            false => OffsetReset::Earliest,
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
    Ok(consumer)
}

struct Reading<'a> {
    env: &'a Env,
    session: &'a Session,
    interrupt: &'a Interrupt,
    consumer: Consumer,
    places: Places,
    writer: Writer,
    format: Format,
    /// Records that may still be printed.
    left: u64,
    follows: bool,
    group: Option<&'a str>,
    /// Since the last look.
    polled_some: bool,
    /// That it waits for others.
    has_said: bool,
    /// Other members have read everything.
    is_read_by_others: bool,
    /// Since the last poll that gave records: what it gave of these belongs to others.
    given_up: BTreeSet<TopicPartition>,
    /// What the writer has begun to print.
    writing: Offsets,
    /// What was printed and is not committed.
    printed: Offsets,
    commit_due: Monotonic,
    look_due: Monotonic,
}

impl Reading<'_> {
    async fn read(&mut self) -> Result<(), CommandError> {
        while !self.is_done() {
            let polled = tokio::select! {
                biased;
                () = self.interrupt.raised() => return Ok(()),
                polled = self.consumer.poll(POLL) => polled?,
            };
            self.take_events().await?;
            if !self.follows {
                self.places.watched.look(self.session)?;
            }
            match polled.is_empty() {
                true => self.writer.check()?,
                false => self.print(&polled).await?,
            }
            let now = self.env.clock.now();
            if now >= self.commit_due {
                self.commit().await?;
            }
            if !self.follows && now >= self.look_due {
                let interrupt = self.interrupt;
                tokio::select! {
                    biased;
                    () = interrupt.raised() => return Ok(()),
                    looked = self.look() => looked?,
                }
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let has_all = !self.follows && (self.places.has_all() || self.is_read_by_others);
        self.left == 0 || has_all || self.interrupt.is_raised()
    }

    /// What is given up is committed as long as that is possible; what is lost never.
    async fn take_events(&mut self) -> Result<(), CommandError> {
        for event in self.consumer.events() {
            let given_up = match event {
                ConsumerEvent::Assigned(partitions) => {
                    self.places.own(partitions);
                    continue;
                }
                ConsumerEvent::Revoked(partitions) => {
                    self.commit().await?;
                    partitions
                }
                ConsumerEvent::Lost { partitions, .. } => partitions,
            };
            self.places.disown(&given_up);
            for of in given_up {
                self.writing.remove(&of);
                self.printed.remove(&of);
                self.given_up.insert(of);
            }
        }
        Ok(())
    }

    /// What is written out in one go is committed together.
    async fn print(&mut self, polled: &[ConsumerRecord]) -> Result<(), CommandError> {
        self.polled_some = true;
        self.given_up.clear();
        let mut bytes = Vec::new();
        for record in polled {
            let of = TopicPartition::new(record.topic.clone(), record.partition);
            if !(self.follows || self.places.wants(&of, record.offset)) {
                self.places.reached(&of, record.offset);
                continue;
            }
            if self.given_up.contains(&of) {
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
            self.writing.insert(of, next);
            if bytes.len() >= PIECE_BYTES {
                self.write(std::mem::take(&mut bytes)).await?;
                if self.interrupt.is_raised() {
                    return Ok(());
                }
            }
        }
        match self.writing.is_empty() {
            true => Ok(()),
            false => self.write(bytes).await,
        }
    }

    /// Waits until it is written, or interrupted. A reader who stops must not put this member out
    /// of its group: meanwhile everything is paused and polled.
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), CommandError> {
        self.writer.begin(bytes);
        let mut is_paused = false;
        loop {
            tokio::select! {
                biased;
                written = self.writer.written() => {
                    written?;
                    break;
                }
                () = self.interrupt.raised() => return Ok(()),
                polled = poll_if(&mut self.consumer, self.env, is_paused) => polled?,
            }
            self.take_events().await?;
            let all: Vec<TopicPartition> = self.consumer.assignment().into_iter().collect();
            self.consumer.pause(&all)?;
            is_paused = true;
        }
        for (of, next) in std::mem::take(&mut self.writing) {
            self.places.reached(&of, next.offset);
            self.printed.insert(of, next);
        }
        if is_paused {
            self.resume()?;
        }
        Ok(())
    }

    fn resume(&mut self) -> Result<(), CommandError> {
        let mut paused = self.consumer.assignment();
        if !self.follows {
            let finished = self.places.finished();
            paused.retain(|of| !finished.contains(of));
        }
        Ok(self.consumer.resume(&paused.into_iter().collect::<Vec<_>>())?)
    }

    /// Finds out what no record tells: positions also move over what is never given out, such as
    /// compacted offsets; topics are deleted; others read what this one waits for.
    async fn look(&mut self) -> Result<(), CommandError> {
        self.look_due = self.env.clock.now().after(POLL);
        for of in self.places.open() {
            let position = self.consumer.position(&of);
            if let Ok(Ok(offset)) = self.env.clock.timeout(Duration::ZERO, position).await {
                self.places.reached(&of, offset);
            }
        }
        let assigned = self.consumer.assignment();
        let finished = self.places.finished().into_iter().filter(|of| assigned.contains(of));
        self.consumer.pause(&finished.collect::<Vec<_>>())?;
        if std::mem::take(&mut self.polled_some) {
            return Ok(());
        }
        let asked = self.places.watched.ask(self.session);
        if let Ok(asked) = self.env.clock.timeout(POLL, asked).await {
            asked?;
        }
        if self.places.has_nothing()
            && let Some(group) = self.group
        {
            self.look_at_others(group).await;
        }
        Ok(())
    }

    async fn look_at_others(&mut self, group: &str) {
        let committed = self.session.admin.group_offsets(group);
        if let Ok(Ok(committed)) = self.env.clock.timeout(POLL, committed).await {
            self.is_read_by_others = self.places.are_read(&committed);
        }
        if !(self.is_read_by_others || std::mem::replace(&mut self.has_said, true)) {
            crate::say(&format!(
                "other members of group {group:?} have all partitions; this one ends when they \
                 have read and committed what was there when it began"
            ));
        }
    }

    async fn commit(&mut self) -> Result<(), CommandError> {
        self.commit_due = self.env.clock.now().after(COMMIT_INTERVAL);
        if self.group.is_none() || self.printed.is_empty() {
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

/// Gives it some time first; what is paused gives no records.
async fn poll_if(consumer: &mut Consumer, env: &Env, is_paused: bool) -> Result<(), Error> {
    if is_paused {
        let polled = consumer.poll(POLL).await?;
        assert!(polled.is_empty(), "nothing is given out of what is paused");
    } else {
        env.clock.sleep(POLL).await;
    }
    Ok(())
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
