//! One fetch session: the partitions that its client wants, and what it was told of each.

use std::collections::BTreeMap;

use rivven_core::ids::TopicId;
use rivven_io::clock::Monotonic;

use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::fetch::{
    FetchPartition, FetchTopic, ForgottenTopic, PartitionData,
};

/// How a session names a topic, for all its life: by id from version 13 on (KIP-516).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TopicKey {
    Name(WireStr),
    Id(TopicId),
}

/// What a partition is answered with, as far as the next answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) error_code: ErrorCode,
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
    pub(crate) has_records: bool,
}

/// A partition that is about to be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered<'a> {
    pub(crate) topic: &'a WireStr,
    pub(crate) topic_id: TopicId,
    pub(crate) wish: &'a FetchPartition,
    pub(crate) told: Told,
}

impl Told {
    pub(crate) fn of(data: &PartitionData) -> Told {
        Told {
            error_code: data.error_code,
            high_watermark: data.high_watermark,
            log_start: data.log_start_offset,
            has_records: data.records.as_ref().is_some_and(|records| !records.is_empty()),
        }
    }
}

/// High watermark and log start that no answer holds: the next one differs from it.
const UNTOLD: (i64, i64) = (-1, -1);

struct Wanted {
    topic: TopicKey,
    wish: FetchPartition,
    /// High watermark and log start as the client knows them.
    told: (i64, i64),
}

pub(super) struct Session {
    pub(super) epoch: i32,
    pub(super) opened: Monotonic,
    pub(super) used: Monotonic,
    pub(super) by_id: bool,
    /// In the order in which they are read.
    wanted: BTreeMap<u64, Wanted>,
    places: BTreeMap<(TopicKey, i32), u64>,
    next_place: u64,
    bytes: usize,
}

/// What one partition of a session takes, in both maps, beside the name of its topic.
const PARTITION_BYTES: usize = size_of::<Wanted>() + size_of::<TopicKey>() + 64;
/// What a session takes by itself.
const SESSION_BYTES: usize = size_of::<Session>() + 64;

fn partition_bytes(topic: &TopicKey) -> usize {
    match topic {
        TopicKey::Name(name) => PARTITION_BYTES + name.len(),
        TopicKey::Id(_) => PARTITION_BYTES,
    }
}

impl Session {
    pub(super) fn new(now: Monotonic, by_id: bool) -> Session {
        Session {
            epoch: 1,
            opened: now,
            used: now,
            by_id,
            wanted: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
            bytes: SESSION_BYTES,
        }
    }

    /// Memory in bytes that the session takes, as an estimate from above.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    fn key(&self, name: &WireStr, id: TopicId) -> TopicKey {
        if self.by_id { TopicKey::Id(id) } else { TopicKey::Name(name.clone()) }
    }

    /// Adds a partition, or takes its new offset and limits.
    pub(super) fn want(&mut self, name: &WireStr, id: TopicId, wish: &FetchPartition) {
        let place = (self.key(name, id), wish.partition);
        if let Some(place) = self.places.get(&place) {
            self.wanted.get_mut(place).expect("every place is taken").wish = wish.clone();
            return;
        }
        let (topic, index) = place;
        // What the request's frame holds must not live as long as the session.
        let topic = match topic {
            TopicKey::Name(name) => TopicKey::Name(WireStr::from(name.as_str())),
            by_id => by_id,
        };
        self.bytes += partition_bytes(&topic);
        self.places.insert((topic.clone(), index), self.next_place);
        self.wanted.insert(self.next_place, Wanted { topic, wish: wish.clone(), told: UNTOLD });
        self.next_place += 1;
    }

    /// Drops partitions that the client does not want any more.
    pub(super) fn forget(&mut self, forgotten: &ForgottenTopic) {
        let topic = self.key(&forgotten.topic, forgotten.topic_id);
        for index in &forgotten.partitions {
            if let Some(place) = self.places.remove(&(topic.clone(), *index)) {
                let gone = self.wanted.remove(&place).expect("every place is taken");
                self.bytes -= partition_bytes(&gone.topic);
            }
        }
    }

    /// The session's partitions as a request that names them all.
    pub(super) fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut last = None;
        for wanted in self.wanted.values() {
            if last != Some(&wanted.topic) {
                last = Some(&wanted.topic);
                topics.push(match &wanted.topic {
                    TopicKey::Name(name) => {
                        FetchTopic { topic: name.clone(), ..FetchTopic::default() }
                    }
                    TopicKey::Id(id) => FetchTopic { topic_id: *id, ..FetchTopic::default() },
                });
            }
            let topic = topics.last_mut().expect("pushed above");
            topic.partitions.push(wanted.wish.clone());
        }
        topics
    }

    /// Notes what a partition is about to be answered with; whether the answer must name it: it
    /// has records, an error, or a mark that the client does not know. Who gets records is read
    /// last the next time, so that a full answer does not starve the others.
    pub(super) fn tell(&mut self, row: &Answered<'_>) -> bool {
        let key = (self.key(row.topic, row.topic_id), row.wish.partition);
        let Some(place) = self.places.get_mut(&key) else {
            return true;
        };
        let told = row.told;
        let wanted = self.wanted.get_mut(place).expect("every place is taken");
        let is_error = told.error_code.is_error();
        let marks = (told.high_watermark, told.log_start);
        let is_news = told.has_records || is_error || wanted.told != marks;
        // After an error the partition is named again, also when nothing but the error is gone.
        wanted.told = if is_error { UNTOLD } else { marks };
        if told.has_records {
            let wanted = self.wanted.remove(place).expect("seen above");
            *place = self.next_place;
            self.wanted.insert(self.next_place, wanted);
            self.next_place += 1;
        }
        is_news
    }

    /// Asserts what holds of every partition, in O(n).
    #[cfg(test)]
    pub(super) fn check_all(&self) {
        assert_eq!(self.wanted.len(), self.places.len());
        let mut bytes = SESSION_BYTES;
        for (place, wanted) in &self.wanted {
            assert!(*place < self.next_place);
            assert_eq!(matches!(wanted.topic, TopicKey::Id(_)), self.by_id);
            let key = (wanted.topic.clone(), wanted.wish.partition);
            assert_eq!(self.places.get(&key), Some(place));
            bytes += partition_bytes(&wanted.topic);
        }
        assert_eq!(bytes, self.bytes);
    }
}
