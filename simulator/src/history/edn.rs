//! A history as EDN, one operation's begin or end a line, in the form that Jepsen's workload for
//! Kafka (`jepsen.tests.kafka`) and Elle read. It has what that workload knows: sends, polls and
//! assignments. Other requests are only in the JSON lines.
//!
//! ```text
//! {:index 0, :time 1000, :process 0, :type :invoke, :f :send, :value [[:send 0 7]]}
//! {:index 1, :time 2000, :process 0, :type :ok, :f :send, :value [[:send 0 [5 7]]]}
//! {:index 2, :time 3000, :process 1, :type :invoke, :f :poll, :value [[:poll]]}
//! {:index 3, :time 4000, :process 1, :type :ok, :f :poll, :value [[:poll {0 [[5 7]]}]]}
//! ```
//! A key is a partition of one incarnation of a topic, a value is a record's id. A record with
//! other bytes than were sent has a negative number, which nobody sent. A process has one operation
//! at a time, and none after an `:info`. A fetch that does not go on where the one before ended
//! seeks: it is another process, whose polls need not follow.

mod book;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use rivven_core::ids::PartitionId;

use self::book::Book;
use crate::history::event::{
    Call, Consumed, ConsumerSaw, Event, EventKind, Fetch, Fetched, GivenRecord, Produce, Reply,
};

/// Writes a whole history.
///
/// # Errors
/// What `out` answers.
pub fn write(events: &[Event], out: &mut impl Write) -> io::Result<()> {
    let mut writer = Writer {
        book: Book::of(events),
        out,
        lines: 0,
        processes: 0,
        open: BTreeMap::new(),
        idle: BTreeMap::new(),
        readers: BTreeMap::new(),
        consumers: BTreeMap::new(),
    };
    for (place, event) in events.iter().enumerate() {
        writer.take(place, event)?;
    }
    writer.finish(events.last().map_or(0, |last| last.at_ns))
}

/// A whole history as text.
#[must_use]
pub fn text(events: &[Event]) -> String {
    let mut out = Vec::new();
    write(events, &mut out).expect("memory takes every write");
    String::from_utf8(out).expect("only ASCII is written")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Invoke,
    Ok,
    Fail,
    Info,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::Invoke => "invoke",
            Type::Ok => "ok",
            Type::Fail => "fail",
            Type::Info => "info",
        }
    }
}

/// An operation that has not ended.
enum Open<'a> {
    Send { client: u32, process: u64, call: &'a Produce },
    Poll { client: u32, process: u64, call: &'a Fetch },
}

/// Reads one partition on and on.
struct Reader {
    process: u64,
    next: i64,
    is_busy: bool,
}

/// A consumer of the client library.
struct Consumer {
    process: u64,
    owned: BTreeSet<(String, i32)>,
}

struct Writer<'a, 'w, W> {
    book: Book<'a>,
    out: &'w mut W,
    lines: u64,
    processes: u64,
    /// By operation.
    open: BTreeMap<u64, Open<'a>>,
    /// Processes of each client that have sent, and may send again.
    idle: BTreeMap<u32, BTreeSet<u64>>,
    readers: BTreeMap<(u32, PartitionId), Reader>,
    consumers: BTreeMap<u64, Consumer>,
}

/// When, and of which process.
type Head = (u64, u64);

impl<'a, W: Write> Writer<'a, '_, W> {
    fn take(&mut self, place: usize, event: &'a Event) -> io::Result<()> {
        match &event.kind {
            EventKind::Invoke(Call::Produce(call)) => self.send(event, call),
            EventKind::Invoke(Call::Fetch(call)) => self.poll(event, call),
            EventKind::Consumer(told) => self.consumer(event, told),
            EventKind::Ok(reply) => self.end(event, (place, Type::Ok), Some(reply)),
            EventKind::Fail(_) => self.end(event, (place, Type::Fail), None),
            EventKind::Info(_) => self.end(event, (place, Type::Info), None),
            EventKind::Invoke(_) | EventKind::Mark(_) => Ok(()),
        }
    }

    fn send(&mut self, event: &Event, call: &'a Produce) -> io::Result<()> {
        if self.open.contains_key(&event.op) {
            // Another attempt of the same operation.
            return Ok(());
        }
        let client = event.client;
        let idle = self.idle.entry(client).or_default().pop_first();
        let process = idle.unwrap_or_else(|| self.new_process());
        self.open.insert(event.op, Open::Send { client, process, call });
        let value = self.sends(call, None);
        self.line((event.at_ns, process), (Type::Invoke, "send"), &value)
    }

    fn poll(&mut self, event: &Event, call: &'a Fetch) -> io::Result<()> {
        let (client, of) = (event.client, (event.client, call.partition));
        let goes_on = |reader: &&mut Reader| !reader.is_busy && reader.next == call.offset;
        let process = match self.readers.get_mut(&of).filter(goes_on) {
            Some(reader) => {
                reader.is_busy = true;
                reader.process
            }
            None => {
                let process = self.new_process();
                self.readers.insert(of, Reader { process, next: call.offset, is_busy: true });
                process
            }
        };
        self.open.insert(event.op, Open::Poll { client, process, call });
        self.line((event.at_ns, process), (Type::Invoke, "poll"), "[[:poll]]")
    }

    fn end(
        &mut self,
        event: &Event,
        (place, r#type): (usize, Type),
        reply: Option<&Reply>,
    ) -> io::Result<()> {
        match (self.open.get(&event.op), reply) {
            (Some(Open::Send { .. }), _) if !self.book.is_end(event.op, place) => Ok(()),
            (Some(Open::Send { client, process, call }), reply) => {
                let (client, process) = (*client, *process);
                let base = match reply {
                    Some(Reply::Produced { base_offset, .. }) => Some(*base_offset),
                    _ => None,
                };
                let is_sure = r#type != Type::Fail || !self.book.is_unsure(event.op);
                let r#type = if is_sure { r#type } else { Type::Info };
                let value = self.sends(call, base);
                self.open.remove(&event.op);
                if r#type != Type::Info {
                    self.idle.entry(client).or_default().insert(process);
                }
                self.line((event.at_ns, process), (r#type, "send"), &value)
            }
            (Some(Open::Poll { client, process, call }), reply) => {
                let (of, process, call) = ((*client, call.partition), *process, *call);
                self.open.remove(&event.op);
                let (value, next) = match reply {
                    Some(Reply::Fetched(fetched)) => self.polled(call, fetched),
                    _ => ("[[:poll]]".to_owned(), call.offset),
                };
                // A poll of another process may have begun there meanwhile.
                if let Some(reader) = self.readers.get_mut(&of)
                    && reader.process == process
                {
                    // After an `:info` a process does nothing more.
                    reader.is_busy = r#type == Type::Info;
                    reader.next = next;
                }
                self.line((event.at_ns, process), (r#type, "poll"), &value)
            }
            (None, _) => Ok(()),
        }
    }

    fn consumer(&mut self, event: &Event, told: &Consumed) -> io::Result<()> {
        let process = match self.consumers.get(&event.op) {
            Some(consumer) => consumer.process,
            None => {
                let process = self.new_process();
                self.consumers.insert(event.op, Consumer { process, owned: BTreeSet::new() });
                process
            }
        };
        let head = (event.at_ns, process);
        let owned = &mut self.consumers.get_mut(&event.op).expect("it is there by now").owned;
        match &told.what {
            ConsumerSaw::Assigned(new) => owned.extend(new.iter().cloned()),
            ConsumerSaw::Revoked(old) | ConsumerSaw::Lost(old) => {
                owned.retain(|of| !old.contains(of));
            }
            ConsumerSaw::Given(records) => {
                let value = self.given(records);
                self.line(head, (Type::Invoke, "poll"), "[[:poll]]")?;
                return self.line(head, (Type::Ok, "poll"), &value);
            }
            ConsumerSaw::Ended => {
                self.consumers.remove(&event.op);
                self.line(head, (Type::Invoke, "crash"), "nil")?;
                return self.line(head, (Type::Info, "crash"), "nil");
            }
        }
        let keys: BTreeSet<u64> = owned
            .iter()
            .flat_map(|(topic, partition)| self.book.keys_named(topic, *partition))
            .collect();
        let keys: Vec<String> = keys.iter().map(u64::to_string).collect();
        let value = format!("[{}]", keys.join(" "));
        self.line(head, (Type::Invoke, "assign"), &value)?;
        self.line(head, (Type::Ok, "assign"), &value)
    }

    /// What never ended may still happen.
    fn finish(mut self, at_ns: u64) -> io::Result<()> {
        for open in std::mem::take(&mut self.open).into_values() {
            match open {
                Open::Send { process, call, .. } => {
                    let value = self.sends(call, None);
                    self.line((at_ns, process), (Type::Info, "send"), &value)?;
                }
                Open::Poll { process, .. } => {
                    self.line((at_ns, process), (Type::Info, "poll"), "[[:poll]]")?;
                }
            }
        }
        Ok(())
    }

    fn sends(&self, call: &Produce, base: Option<i64>) -> String {
        let key = self.book.key(&call.topic, call.partition);
        let one = |(place, value): (i64, &crate::history::event::SentValue)| {
            let value = value.id.0;
            match base {
                None => format!("[:send {key} {value}]"),
                // −1: it was there already, nobody says where.
                Some(..0) => format!("[:send {key} [nil {value}]]"),
                Some(base) => format!("[:send {key} [{} {value}]]", base + place),
            }
        };
        let sends: Vec<String> = (0..).zip(&call.values).map(one).collect();
        format!("[{}]", sends.join(" "))
    }

    /// What an answer shows from the offset asked for on, and the offset behind it.
    fn polled(&self, call: &Fetch, fetched: &Fetched) -> (String, i64) {
        let mut seen = BTreeMap::new();
        let records = fetched.batches.iter().flat_map(|batch| &batch.records);
        for record in records.filter(|record| record.offset >= call.offset) {
            let partition = match call.by_name {
                true => self.book.sent_to(&call.topic, call.partition.index, record),
                false => None,
            };
            let key = self.book.key(&call.topic, partition.unwrap_or(call.partition));
            self.book.note(&mut seen, key, record);
        }
        let last = fetched.batches.last().map_or(call.offset, |batch| batch.last_offset + 1);
        (poll_of(&seen), last.max(call.offset))
    }

    fn given(&mut self, records: &[GivenRecord]) -> String {
        let mut seen = BTreeMap::new();
        for GivenRecord { topic, partition, record } in records {
            let index = u32::try_from(*partition).unwrap_or(u32::MAX);
            let key = match self.book.sent_to(topic, index, record) {
                Some(partition) => self.book.key(topic, partition),
                None => self.book.last_key_named(topic, *partition),
            };
            self.book.note(&mut seen, key, record);
        }
        poll_of(&seen)
    }

    fn new_process(&mut self) -> u64 {
        self.processes += 1;
        self.processes - 1
    }

    fn line(
        &mut self,
        (at_ns, process): Head,
        (r#type, what): (Type, &str),
        value: &str,
    ) -> io::Result<()> {
        let (index, r#type) = (self.lines, r#type.name());
        self.lines += 1;
        writeln!(
            self.out,
            "{{:index {index}, :time {at_ns}, :process {process}, :type :{type}, :f :{what}, \
             :value {value}}}"
        )
    }
}

/// Keys with what was seen of each: offsets and values.
type Seen = BTreeMap<u64, Vec<(i64, i64)>>;

fn poll_of(seen: &Seen) -> String {
    let pair = |(offset, value): &(i64, i64)| format!("[{offset} {value}]");
    let key = |(key, pairs): (&u64, &Vec<(i64, i64)>)| {
        let pairs: Vec<String> = pairs.iter().map(pair).collect();
        format!("{key} [{}]", pairs.join(" "))
    };
    let keys: Vec<String> = seen.iter().map(key).collect();
    format!("[[:poll {{{}}}]]", keys.join(", "))
}
