//! One connection of the native protocol: a request and its answer, one after the other.

use core::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rivven_core::wire::frame::{Head, LENGTH_BYTES};
use rivven_core::wire::request::Request;
use rivven_core::wire::response::Response;
use rivven_io::Env;
use rivven_io::net::Stream;

use super::TIMED_OUT;
use super::connection::CallError;

/// The longest frame of the protocol.
const FRAME_BYTES_MAX: usize = 10 << 20;
const READ_BYTES: usize = 64 << 10;

/// An open connection; of no use after an error.
pub(crate) struct NativeConnection {
    env: Env,
    stream: Stream,
    received: BytesMut,
    correlation_id: u32,
    timeout: Duration,
}

impl NativeConnection {
    /// Connects; `timeout` is that of each request, too.
    ///
    /// # Errors
    /// The broker is not there.
    pub(crate) async fn open(
        env: &Env,
        broker: SocketAddr,
        timeout: Duration,
    ) -> Result<NativeConnection, CallError> {
        let connected = env.clock.timeout(timeout, env.net.connect(broker)).await;
        let stream = connected
            .map_err(|_| CallError::Connect(TIMED_OUT.to_owned()))?
            .map_err(|error| CallError::Connect(error.kind().to_string()))?;
        let (env, received) = (env.clone(), BytesMut::new());
        Ok(NativeConnection { env, stream, received, correlation_id: 0, timeout })
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// See [`CallError`]; whether the broker acted on the request is open.
    pub(crate) async fn call(&mut self, request: &Request) -> Result<Response, CallError> {
        let clock = self.env.clock.clone();
        let answer = clock.timeout(self.timeout, self.exchange(request)).await;
        answer.map_err(|_| CallError::TimedOut)?
    }

    async fn exchange(&mut self, request: &Request) -> Result<Response, CallError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = Head::request(self.correlation_id, request);
        let frame = Bytes::from(frame.expect("what the simulator asks fits a frame"));
        self.stream.writer.write_all(&frame).await.map_err(|error| closed(&error))?;
        let malformed = |text: String| CallError::Malformed(format!("a native answer: {text}"));
        let answer = self.frame().await?;
        let (head, message) = Head::split(answer).map_err(|error| malformed(error.to_string()))?;
        if head.correlation_id != self.correlation_id {
            let (got, sent) = (head.correlation_id, self.correlation_id);
            return Err(malformed(format!("it answers {got}, not {sent}")));
        }
        Response::decode(message).map_err(|error| malformed(error.to_string()))
    }

    /// The next frame without its length.
    async fn frame(&mut self) -> Result<Bytes, CallError> {
        loop {
            if let Some(head) = self.received.first_chunk::<LENGTH_BYTES>() {
                let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
                if length > FRAME_BYTES_MAX {
                    return Err(CallError::Malformed(format!("a frame of {length} bytes")));
                }
                if self.received.len() >= LENGTH_BYTES + length {
                    self.received.advance(LENGTH_BYTES);
                    return Ok(self.received.split_to(length).freeze());
                }
            }
            self.received.reserve(READ_BYTES);
            let read = self.stream.reader.read(&mut self.received).await;
            if read.map_err(|error| closed(&error))? == 0 {
                return Err(CallError::Closed("the broker ended the stream".to_owned()));
            }
        }
    }
}

fn closed(error: &std::io::Error) -> CallError {
    CallError::Closed(error.kind().to_string())
}
