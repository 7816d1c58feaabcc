//! A record on its way to a topic.

use std::sync::Arc;

use bytes::Bytes;

/// What is to be written, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    pub topic: Arc<str>,
    /// `None`: by the key's hash, as Kafka's Java client has it; without a key, batch by batch
    /// another one.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl ProducerRecord {
    /// An empty record (a tombstone, as long as it gets no value).
    #[must_use]
    pub fn to(topic: impl Into<Arc<str>>) -> ProducerRecord {
        ProducerRecord { topic: topic.into(), ..ProducerRecord::default() }
    }

    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> ProducerRecord {
        self.key = Some(key.into());
        self
    }

    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> ProducerRecord {
        self.value = Some(value.into());
        self
    }

    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> ProducerRecord {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    #[must_use]
    pub fn partition(mut self, partition: i32) -> ProducerRecord {
        self.partition = Some(partition);
        self
    }

    /// Bytes of its parts.
    pub(crate) fn bytes(&self) -> usize {
        let len = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + len(value) + 16);
        len(&self.key) + len(&self.value) + headers.sum::<usize>()
    }
}
