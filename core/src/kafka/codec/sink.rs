//! Where encoders write: a length counter, one buffer, or segments that share record payloads.

use bytes::{Bytes, BytesMut};

/// Payloads of at least this many bytes become segments of their own; copying a smaller one costs
/// less than another entry in a vectored write.
const SHARED_BYTES_MIN: usize = 1024;

/// Takes the bytes of a message in order. One `write` runs against all sinks, so that the length
/// counted first is the length written.
pub trait Sink {
    fn put(&mut self, bytes: &[u8]);
    /// Record data, which a sink may share instead of copying it.
    fn put_payload(&mut self, payload: &Bytes);
}

/// Counts what would be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Length {
    /// Bytes that are copied.
    pub(crate) copied: usize,
    /// Bytes of payloads that become segments of their own.
    pub(crate) shared: usize,
    /// How many such payloads there are.
    pub(crate) shared_count: usize,
}

impl Length {
    pub(crate) fn total(&self) -> usize {
        self.copied + self.shared
    }
}

impl Sink for Length {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.copied += bytes.len();
    }

    fn put_payload(&mut self, payload: &Bytes) {
        if payload.len() < SHARED_BYTES_MIN {
            self.copied += payload.len();
        } else {
            self.shared += payload.len();
            self.shared_count += 1;
        }
    }
}

impl Sink for BytesMut {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn put_payload(&mut self, payload: &Bytes) {
        self.extend_from_slice(payload);
    }
}

/// Copies small fields into one allocation and shares large payloads between its pieces.
#[derive(Debug)]
pub(crate) struct Segments {
    copied: BytesMut,
    done: Vec<Bytes>,
}

impl Segments {
    pub(crate) fn with_length(length: Length) -> Segments {
        Segments {
            copied: BytesMut::with_capacity(length.copied),
            done: Vec::with_capacity(2 * length.shared_count + 1),
        }
    }

    fn cut(&mut self) {
        if !self.copied.is_empty() {
            self.done.push(self.copied.split().freeze());
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        self.cut();
        self.done
    }
}

impl Sink for Segments {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
    }

    fn put_payload(&mut self, payload: &Bytes) {
        if payload.len() < SHARED_BYTES_MIN {
            self.copied.extend_from_slice(payload);
        } else {
            self.cut();
            self.done.push(payload.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sink: &mut impl Sink, payloads: &[Bytes]) {
        sink.put(b"head");
        for payload in payloads {
            sink.put_payload(payload);
            sink.put(b"tail");
        }
    }

    #[test]
    fn large_payloads_are_shared_and_small_ones_copied() {
        let large = Bytes::from(vec![1; SHARED_BYTES_MIN]);
        let small = Bytes::from(vec![2; SHARED_BYTES_MIN - 1]);
        let payloads = [large.clone(), small, large.clone()];
        let mut length = Length::default();
        write(&mut length, &payloads);
        assert_eq!((length.shared, length.shared_count), (2 * SHARED_BYTES_MIN, 2));

        let mut segments = Segments::with_length(length);
        write(&mut segments, &payloads);
        let segments = segments.finish();
        assert_eq!(segments.len(), 5);
        assert_eq!(segments[1].as_ptr(), large.as_ptr());
        assert_eq!(segments[3].as_ptr(), large.as_ptr());

        let mut whole = BytesMut::new();
        write(&mut whole, &payloads);
        assert_eq!(segments.concat(), whole);
        assert_eq!(whole.len(), length.total());
    }
}
