//! What must be known of a whole history before its first line is written: the number of each
//! partition, who sent which record where, and where each batch's operation ends.

use std::collections::BTreeMap;

use rivven_core::ids::PartitionId;

use super::Seen;
use crate::history::event::{Call, Event, EventKind, Produce, SeenRecord};
use crate::history::value::ValueId;

/// How a batch's operation goes.
#[derive(Default)]
struct Sending {
    /// Where in the history its last attempt ended, if it did.
    end: Option<usize>,
    /// Whether an attempt had an outcome that nobody knows, or none.
    is_unsure: bool,
    /// Whether an attempt is under way.
    is_open: bool,
}

#[derive(Default)]
pub(super) struct Book<'a> {
    keys: BTreeMap<PartitionId, u64>,
    /// Partitions of all incarnations of a topic's name, oldest first.
    named: BTreeMap<(&'a str, i64), Vec<u64>>,
    /// Of partitions that are only named.
    unknown: BTreeMap<(String, i64), u64>,
    values: BTreeMap<ValueId, (&'a Produce, u64)>,
    sendings: BTreeMap<u64, Sending>,
}

impl<'a> Book<'a> {
    pub(super) fn of(events: &'a [Event]) -> Book<'a> {
        let mut book = Book::default();
        for (place, event) in events.iter().enumerate() {
            match &event.kind {
                EventKind::Invoke(Call::Produce(call)) => {
                    book.see(&call.topic, call.partition);
                    let hashes = call.values.iter().map(|value| (value.id, (call, value.hash)));
                    book.values.extend(hashes);
                    let sending = book.sendings.entry(event.op).or_default();
                    sending.is_unsure |= sending.is_open;
                    (sending.is_open, sending.end) = (true, None);
                }
                EventKind::Invoke(Call::Fetch(call)) => book.see(&call.topic, call.partition),
                EventKind::Ok(_) | EventKind::Fail(_) => book.end(event.op, place, false),
                EventKind::Info(_) => book.end(event.op, place, true),
                EventKind::Invoke(_) | EventKind::Consumer(_) | EventKind::Mark(_) => {}
            }
        }
        book
    }

    fn see(&mut self, topic: &'a str, partition: PartitionId) {
        let next = self.keys.len() as u64;
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.keys.entry(partition) {
            vacant.insert(next);
            self.named.entry((topic, i64::from(partition.index))).or_default().push(next);
        }
    }

    fn end(&mut self, op: u64, place: usize, is_unsure: bool) {
        if let Some(sending) = self.sendings.get_mut(&op) {
            sending.end = Some(place);
            sending.is_unsure |= is_unsure;
            sending.is_open = false;
        }
    }

    /// Whether an operation ends with the event there, and is not tried once more.
    pub(super) fn is_end(&self, op: u64, place: usize) -> bool {
        self.sendings.get(&op).is_some_and(|sending| sending.end == Some(place))
    }

    /// Whether some attempt of an operation may have had an effect that nobody was told of.
    pub(super) fn is_unsure(&self, op: u64) -> bool {
        self.sendings.get(&op).is_some_and(|sending| sending.is_unsure)
    }

    /// The number of a partition that somebody wrote or read.
    pub(super) fn key(&self, topic: &str, partition: PartitionId) -> u64 {
        let known = self.keys.get(&partition).copied();
        known.unwrap_or_else(|| panic!("{topic} {partition} is in a request"))
    }

    /// The numbers of a partition in all incarnations of its topic's name.
    pub(super) fn keys_named(&mut self, topic: &str, partition: i32) -> Vec<u64> {
        match self.named.get(&(topic, i64::from(partition))) {
            Some(keys) => keys.clone(),
            None => vec![self.last_key_named(topic, partition)],
        }
    }

    /// The number of a partition in the last incarnation of its topic's name.
    pub(super) fn last_key_named(&mut self, topic: &str, partition: i32) -> u64 {
        let known = self.named.get(&(topic, i64::from(partition)));
        if let Some(last) = known.and_then(|keys| keys.last()) {
            return *last;
        }
        let next = (self.keys.len() + self.unknown.len()) as u64;
        *self.unknown.entry((topic.to_owned(), i64::from(partition))).or_insert(next)
    }

    /// Which partition of that name and number a record was sent to.
    pub(super) fn sent_to(
        &self,
        topic: &str,
        index: u32,
        record: &SeenRecord,
    ) -> Option<PartitionId> {
        let (call, _) = self.values.get(&record.value?)?;
        (call.topic == topic && call.partition.index == index).then_some(call.partition)
    }

    /// Adds a record to what was seen of a key.
    pub(super) fn note(&self, seen: &mut Seen, key: u64, record: &SeenRecord) {
        let sent = record.value.filter(|id| {
            let sent = self.values.get(id);
            sent.is_some_and(|(_, hash)| *hash == record.hash)
        });
        let known = sent.and_then(|id| i64::try_from(id.0).ok());
        let strange = -1 - i64::try_from(record.hash >> 1).expect("63 bits fit");
        seen.entry(key).or_default().push((record.offset, known.unwrap_or(strange)));
    }
}
