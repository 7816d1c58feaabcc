//! Reads whole frames from a stream. An announced length reserves nothing: memory is charged for
//! the bytes that arrive, doubling as they do.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rivven_io::Env;
use rivven_io::clock::Monotonic;
use rivven_io::net::StreamReader;

use crate::limits::{
    FRAME_BYTES_PER_SECOND_MIN, FRAME_TIME, LARGE_FRAME_BYTES, READ_AHEAD_BYTES_MAX, READ_BYTES_MIN,
};
use crate::memory::{Account, Charge, Class, OutOfMemory};

const LENGTH_BYTES: usize = 4;

/// Why no further frame comes; the connection is closed in each case.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("frame length {length} is not within 1 to {bytes_max}")]
    Length { length: u32, bytes_max: usize },
    /// Another protocol, as its first bytes show.
    #[error("{0}")]
    Stranger(&'static str),
    #[error("the stream ended inside a frame, after {0} bytes of it")]
    Truncated(usize),
    #[error("a frame of {bytes} bytes did not arrive in {time:?}")]
    Slow { bytes: usize, time: Duration },
    #[error("no request came in {0:?}")]
    Idle(Duration),
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

pub(crate) struct Frames {
    env: Env,
    reader: StreamReader,
    account: Arc<Account>,
    buffer: BytesMut,
    /// Bytes that `buffer` had when it was new.
    charge: Option<Arc<Charge>>,
    /// Size of the last frame: the next one is probably alike.
    last_bytes: usize,
    /// When the first bytes of the frame were there.
    begun: Option<Monotonic>,
    /// Longest frame that is taken.
    bytes_max: usize,
    /// Longest wait for a frame to begin.
    idle_max: Duration,
}

impl Frames {
    pub(crate) fn new(
        env: Env,
        reader: StreamReader,
        account: Arc<Account>,
        (bytes_max, idle_max): (usize, Duration),
    ) -> Frames {
        Frames {
            env,
            reader,
            account,
            buffer: BytesMut::new(),
            charge: None,
            last_bytes: 0,
            begun: None,
            bytes_max,
            idle_max,
        }
    }

    /// Takes no longer frames from now on.
    pub(crate) fn limit(&mut self, bytes_max: usize) {
        self.bytes_max = self.bytes_max.min(bytes_max);
    }

    /// The next frame without its length; `None` when the client has ended its side between two
    /// frames. Its memory is charged until the last slice of it is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let total = match announced(&self.buffer, self.bytes_max)? {
                Some(length) if self.buffer.len() >= LENGTH_BYTES + length => {
                    return Ok(Some(self.split(length)));
                }
                Some(length) => LENGTH_BYTES + length,
                None => LENGTH_BYTES,
            };
            self.grow(total).await?;
            if !self.read(total).await? {
                return match self.buffer.len() {
                    0 => Ok(None),
                    have => Err(FrameError::Truncated(have)),
                };
            }
        }
    }

    fn split(&mut self, length: usize) -> Bytes {
        let frame = self.buffer.split_to(LENGTH_BYTES + length).freeze();
        self.last_bytes = LENGTH_BYTES + length;
        self.begun = (!self.buffer.is_empty()).then(|| self.env.clock.now());
        self.account.set_reading_since(None);
        let charge = self.charge.clone().expect("bytes were read into a charged buffer");
        if self.buffer.is_empty() && self.buffer.capacity() < LENGTH_BYTES {
            // An idle connection must not hold the memory of its last frame.
            self.buffer = BytesMut::new();
            self.charge = None;
        }
        charge.hold(frame.slice(LENGTH_BYTES..))
    }

    /// Makes room for at least one byte, and for a whole frame where that is cheap.
    async fn grow(&mut self, total: usize) -> Result<(), FrameError> {
        let have = self.buffer.len();
        let spare = self.buffer.capacity() - have;
        // A remainder that is too small for the next frame would only cost a read of its own.
        let wanted = self.last_bytes.clamp(LENGTH_BYTES, READ_BYTES_MIN);
        if spare >= wanted || have > 0 && spare > 0 {
            return Ok(());
        }
        // What idle connections hold in advance may not use up the memory.
        let is_roomy = self.account.is_roomy();
        let ahead = if is_roomy { self.last_bytes.min(READ_AHEAD_BYTES_MAX) } else { 0 };
        let trusted = ahead.max(READ_BYTES_MIN);
        let bytes = (2 * have).max(trusted).min(total.max(READ_BYTES_MIN).max(trusted));
        assert!(bytes > have, "a buffer of {bytes} bytes for {have} and more");
        let class = if bytes > LARGE_FRAME_BYTES { Class::Large } else { Class::Small };
        if have == 0 {
            // Nothing to keep: its memory may be what is waited for.
            self.buffer = BytesMut::new();
            self.charge = None;
        }
        let charge = self.account.charge(bytes, class, &self.env.clock).await?;
        let mut larger = BytesMut::with_capacity(bytes);
        larger.extend_from_slice(&self.buffer);
        self.buffer = larger;
        self.charge = Some(Arc::new(charge));
        Ok(())
    }

    /// Reads once; whether there was anything before the end of the stream.
    async fn read(&mut self, total: usize) -> Result<bool, FrameError> {
        let clock = &self.env.clock;
        let (limit, error) = match self.begun {
            None => (self.idle_max, FrameError::Idle(self.idle_max)),
            Some(begun) => {
                self.account.set_reading_since(Some(begun));
                let seconds = (total / FRAME_BYTES_PER_SECOND_MIN) as u64;
                let time = FRAME_TIME + Duration::from_secs(seconds);
                let left = time.saturating_sub(clock.now().since(begun));
                (left, FrameError::Slow { bytes: total, time })
            }
        };
        let Ok(read) = clock.timeout(limit, self.reader.read(&mut self.buffer)).await else {
            return Err(error);
        };
        if read? == 0 {
            return Ok(false);
        }
        self.begun.get_or_insert_with(|| clock.now());
        Ok(true)
    }
}

/// The length of the frame at the front of `buffer`, once it is known.
fn announced(buffer: &[u8], bytes_max: usize) -> Result<Option<usize>, FrameError> {
    let Some(bytes) = buffer.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*bytes);
    match usize::try_from(length) {
        Ok(length) if (1..=bytes_max).contains(&length) => Ok(Some(length)),
        _ => {
            Err(stranger(bytes)
                .map_or(FrameError::Length { length, bytes_max }, FrameError::Stranger))
        }
    }
}

/// Protocols that come to the wrong port, in words for the log. Read as a length, the first bytes
/// of each are beyond the limit.
fn stranger(first: &[u8; LENGTH_BYTES]) -> Option<&'static str> {
    match first {
        [0x16, 0x03, ..] => Some("this is a TLS handshake; this port speaks plain text"),
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"OPTI" | b"DELE" | b"PRI " => {
            Some("this is HTTP; HTTP is served at --api-bind")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::limits::FRAME_BYTES_MAX;
    use crate::memory::Budget;

    #[test]
    fn lengths_outside_the_bounds_are_refused() {
        let cases: [(i32, Option<usize>); 7] = [
            (1, Some(1)),
            (104_857_600, Some(FRAME_BYTES_MAX)),
            (0, None),
            (-1, None),
            (i32::MIN, None),
            (104_857_601, None),
            (i32::MAX, None),
        ];
        for (length, expected) in cases {
            let found = announced(&length.to_be_bytes(), FRAME_BYTES_MAX);
            match expected {
                Some(_) => assert_eq!(found.unwrap(), expected),
                None => assert!(matches!(found, Err(FrameError::Length { .. })), "{length}"),
            }
        }
        assert!(matches!(announced(&[0, 0, 1], FRAME_BYTES_MAX), Ok(None)));
    }

    #[tokio::test]
    async fn a_frame_that_begins_in_the_last_bytes_of_a_full_buffer_is_whole() {
        const FIRST_BYTES: usize = 6000;
        let env = Env::real();
        let listener = env.net.listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        for beyond in 0..=LENGTH_BYTES {
            let client = env.net.connect(listener.local_addr().unwrap()).await.unwrap();
            let server = listener.accept().await.unwrap();
            let account = Budget::new(1 << 20).open_account();
            let bounds = (FRAME_BYTES_MAX, Duration::from_secs(30));
            let mut frames = Frames::new(env.clone(), server.reader, account, bounds);
            let send = async |sizes: &[usize]| {
                let frame = |size: &usize| {
                    let length = u32::try_from(*size).unwrap().to_be_bytes();
                    [&length[..], &vec![7; *size]].concat()
                };
                let all: Vec<u8> = sizes.iter().flat_map(frame).collect();
                client.writer.write_all(&all).await.unwrap();
            };
            // The second is read into a buffer of the first one's size.
            send(&[FIRST_BYTES]).await;
            assert_eq!(frames.next().await.unwrap().unwrap().len(), FIRST_BYTES);
            send(&[FIRST_BYTES - beyond, 100]).await;
            for size in [FIRST_BYTES - beyond, 100] {
                let frame = frames.next().await.unwrap().unwrap();
                assert_eq!(frame, vec![7; size], "{beyond} bytes beyond");
            }
        }
    }

    #[test]
    fn other_protocols_are_named_in_the_log() {
        for first in [b"GET /", b"POST ", b"\x16\x03\x01\x02\x00"] {
            assert!(
                matches!(announced(first, FRAME_BYTES_MAX), Err(FrameError::Stranger(_))),
                "{first:?}"
            );
        }
    }
}
