//! A blocking connection with one request under way: what an answer takes is the broker's time.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use rivven_core::kafka::codec::frame::RequestFrame;
use rivven_core::kafka::codec::header::decode_response_header;
use rivven_core::kafka::codec::message::{Message, Request};
use rivven_core::kafka::codec::text::WireStr;

use crate::Outcome;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Peer {
    stream: TcpStream,
    number: i32,
}

impl Peer {
    pub(crate) fn connect(broker: SocketAddr) -> Outcome<Peer> {
        let stream = TcpStream::connect(broker)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Peer { stream, number: 0 })
    }

    pub(crate) fn call<M: Request>(&mut self, version: i16, request: &M) -> Outcome<M::Response> {
        self.send(version, request)?;
        self.receive::<M>(version)
    }

    pub(crate) fn send<M: Request>(&mut self, version: i16, request: &M) -> Outcome<()> {
        self.number += 1;
        let client_id = Some(WireStr::from_static("group-load"));
        let frame = RequestFrame { api_version: version, correlation_id: self.number, client_id };
        Ok(self.stream.write_all(&frame.encode(request).concat())?)
    }

    /// The answer to the oldest request that has none.
    pub(crate) fn receive<M: Request>(&mut self, version: i16) -> Outcome<M::Response> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        self.stream.read_exact(&mut frame)?;
        let (_, body) = decode_response_header(M::API, version, Bytes::from(frame))?;
        Ok(M::Response::decode(body, version)?)
    }
}
