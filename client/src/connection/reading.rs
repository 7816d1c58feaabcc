//! The reading half: cuts the stream into frames and gives each to who waits for it.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use rivven_io::net::StreamReader;

use super::{ConnectionError, Shared, said};

const READ_BYTES: usize = 64 << 10;
/// Room that is made ahead for a long frame: its announced length is only a claim.
const AHEAD_BYTES_MAX: usize = 1 << 20;

pub(super) async fn run(reader: StreamReader, frame_bytes_max: usize, shared: Arc<Shared>) {
    let mut frames = Frames { reader, frame_bytes_max, received: BytesMut::new() };
    loop {
        let given = match frames.next().await {
            Ok(frame) => give(&shared, frame),
            Err(error) => Err(error),
        };
        if let Err(error) = given {
            return shared.fail(error);
        }
    }
}

fn give(shared: &Shared, frame: Bytes) -> Result<(), ConnectionError> {
    let number = frame.first_chunk().map(|number| i32::from_be_bytes(*number));
    let mut state = shared.lock();
    let Some(waiting) = state.waiting.pop_front() else {
        return Err(ConnectionError::Malformed("an answer that nobody asked for".to_owned()));
    };
    drop(state);
    let expected = waiting.correlation_id;
    if number != Some(expected) {
        let error = ConnectionError::Malformed(format!("it answers {number:?}, not {expected}"));
        // Who asked may be gone.
        let _ = waiting.answer.send(Err(error.clone()));
        return Err(error);
    }
    let _ = waiting.answer.send(Ok(frame));
    Ok(())
}

struct Frames {
    reader: StreamReader,
    frame_bytes_max: usize,
    received: BytesMut,
}

impl Frames {
    /// The next frame without its length.
    async fn next(&mut self) -> Result<Bytes, ConnectionError> {
        loop {
            let mut missing = READ_BYTES;
            if let Some(head) = self.received.first_chunk::<4>() {
                let length = self.length(*head)?;
                let have = self.received.len() - 4;
                if have >= length {
                    self.received.advance(4);
                    return Ok(self.received.split_to(length).freeze());
                }
                missing = (length - have).clamp(READ_BYTES, AHEAD_BYTES_MAX);
            }
            self.received.reserve(missing);
            let read = self.reader.read(&mut self.received).await;
            if read.map_err(|error| ConnectionError::Closed(said(&error)))? == 0 {
                return Err(ConnectionError::Closed("the broker ended it".to_owned()));
            }
        }
    }

    fn length(&self, head: [u8; 4]) -> Result<usize, ConnectionError> {
        let not_kafka = |text: &str| Err(ConnectionError::NotKafka(text.to_owned()));
        if &head == b"HTTP" {
            return not_kafka("an HTTP server answers there; Kafka clients need another port");
        }
        if matches!(head, [0x15 | 0x16, 3, _, _]) {
            return not_kafka("the peer speaks TLS there, which this client does not");
        }
        let limit = self.frame_bytes_max;
        match usize::try_from(i32::from_be_bytes(head)) {
            Ok(length) if length <= limit => Ok(length),
            _ => not_kafka(&format!(
                "the peer announces an answer of {} bytes, at most {limit} are read; it may not \
                 speak the Kafka protocol",
                u32::from_be_bytes(head)
            )),
        }
    }
}
