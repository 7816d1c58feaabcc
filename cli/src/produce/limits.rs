//! How large a record and a batch of a topic may be.

use rivven_client::ProducerRecord;
use rivven_client::admin::configs::Resource;

use crate::session::Session;

/// The default of brokers.
const MESSAGE_BYTES: usize = 1_048_588;
/// Room for the header of a batch and of its record.
const FRAMING_BYTES: usize = 512;
/// Bytes that a request may hold.
const REQUEST_BYTES: std::ops::RangeInclusive<usize> = 4096..=32 << 20;

/// What the topic's max.message.bytes, which counts compressed batches, leaves to do.
pub(super) struct Limits {
    /// None: the broker did not say.
    message_bytes_max: Option<usize>,
}

impl Limits {
    pub(super) async fn find(session: &Session, topic: &str) -> Limits {
        let resource = Resource::Topic(topic.to_owned());
        // A topic that is not there yet gets the broker's default, which is not known either.
        let described = session.admin.describe_configs(std::slice::from_ref(&resource)).await;
        let entries = described.ok().and_then(|mut described| described.remove(&resource)?.ok());
        let mut entries = entries.into_iter().flatten();
        let value = entries.find(|entry| entry.name == "max.message.bytes");
        let message_bytes_max = value.and_then(|entry| entry.value?.parse().ok());
        Limits { message_bytes_max }
    }

    /// Of the largest record and request.
    pub(super) fn request_bytes(&self) -> usize {
        let limit = self.message_bytes_max.unwrap_or(MESSAGE_BYTES);
        limit.clamp(*REQUEST_BYTES.start(), *REQUEST_BYTES.end())
    }

    /// A batch that the topic takes though compression gains nothing.
    pub(super) fn batch_bytes(&self, default: usize) -> usize {
        let limit = self.message_bytes_max.unwrap_or(MESSAGE_BYTES);
        default.min(limit.saturating_sub(FRAMING_BYTES)).clamp(1, self.request_bytes())
    }

    /// Says what to do about a record that is too large.
    pub(super) fn check(&self, record: &ProducerRecord, topic: &str) -> Result<(), String> {
        let len = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
        let headers = record.headers.iter().map(|(name, value)| name.len() + len(value));
        let bytes = len(&record.key) + len(&record.value) + headers.sum::<usize>();
        let limit = self.request_bytes().saturating_sub(FRAMING_BYTES);
        if bytes <= limit {
            return Ok(());
        }
        let next = match bytes + FRAMING_BYTES <= *REQUEST_BYTES.end() {
            true => format!(
                "`rivven topic config {topic} --set max.message.bytes={}` makes room, if the \
                 broker takes as much",
                bytes + FRAMING_BYTES
            ),
            false => "no more is ever sent; cut it up".to_owned(),
        };
        Err(format!("a record of {bytes} bytes is above the topic's limit of {limit}; {next}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fit_the_topic() {
        for (message_bytes_max, request, batch) in [
            (None, 1_048_588, 1000),
            (Some(10 << 20), 10 << 20, 1000),
            (Some(1400), 4096, 888),
            (Some(0), 4096, 1),
            (Some(1 << 40), 32 << 20, 1000),
        ] {
            let limits = Limits { message_bytes_max };
            assert_eq!((limits.request_bytes(), limits.batch_bytes(1000)), (request, batch));
        }
    }
}
