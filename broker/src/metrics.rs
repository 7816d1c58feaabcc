//! What the broker counts. Nothing here waits or allocates on the way of a request, but for the
//! first error of a kind and the first batch of a topic.

mod exposition;
mod histogram;
mod lag;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rivven_core::ids::TopicId;
use rivven_core::metadata::image::{MetadataImage, Topic};
use rivven_core::wire::request::Request;

use histogram::Histogram;
use lag::KnownTimes;
use rivven_core::kafka::codec::api::{ApiKey, SERVED};
use rivven_core::kafka::codec::error_code::ErrorCode;

pub(crate) use exposition::exposition;

pub(crate) struct Metrics {
    /// Time from a whole request to its answer, by the API's place in [`SERVED`].
    requests: [Histogram; SERVED.len()],
    errors: Mutex<BTreeMap<(ApiKey, ErrorCode), u64>>,
    /// The same of native requests, by their numbers.
    native_requests: [Histogram; Request::NAMES.len()],
    /// Frames that are no request have no number.
    native_errors: Mutex<BTreeMap<(Option<usize>, ErrorCode), u64>>,
    topics: RwLock<BTreeMap<TopicId, Arc<TopicCounters>>>,
    fetched_bytes: AtomicU64,
    /// One scrape at a time reads the log.
    known_times: tokio::sync::Mutex<KnownTimes>,
    pub(crate) connections_active: AtomicU64,
    pub(crate) connections_accepted: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
}

/// What clients have published to one topic since the start, and the log has taken.
#[derive(Default)]
pub(crate) struct TopicCounters {
    records: AtomicU64,
    bytes: AtomicU64,
}

impl TopicCounters {
    pub(crate) fn add(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            requests: Default::default(),
            errors: Mutex::default(),
            // Arrays of this length have no default.
            native_requests: std::array::from_fn(|_| Histogram::default()),
            native_errors: Mutex::default(),
            topics: RwLock::default(),
            fetched_bytes: AtomicU64::new(0),
            known_times: tokio::sync::Mutex::default(),
            connections_active: AtomicU64::new(0),
            connections_accepted: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    pub(crate) fn note_request(&self, api_key: i16, took: Duration) {
        let index = SERVED.iter().position(|api| api.key as i16 == api_key);
        self.requests[index.expect("only served requests are answered")].note(took);
    }

    pub(crate) fn note_error(&self, api: ApiKey, code: ErrorCode) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry((api, code)).or_default() += 1;
    }

    /// A native request was answered, with an error or without.
    pub(crate) fn note_native(&self, index: usize, took: Duration, error: ErrorCode) {
        self.native_requests[index].note(took);
        if error.is_error() {
            self.note_native_error(Some(index), error);
        }
    }

    /// A native frame was no request.
    pub(crate) fn note_native_refusal(&self, error: ErrorCode) {
        self.note_native_error(None, error);
    }

    fn note_native_error(&self, index: Option<usize>, error: ErrorCode) {
        let mut errors = self.native_errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry((index, error)).or_default() += 1;
    }

    pub(crate) fn note_fetched(&self, bytes: usize) {
        self.fetched_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The counters of a topic.
    pub(crate) fn topic(&self, topic: &Topic) -> Arc<TopicCounters> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = topics.get(&topic.id) {
            return counters.clone();
        }
        drop(topics);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.entry(topic.id).or_default().clone()
    }

    /// Forgets topics that are gone.
    fn retain_topics(&self, image: &MetadataImage) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.retain(|id, _| image.topic_by_id(*id).is_some());
    }
}
