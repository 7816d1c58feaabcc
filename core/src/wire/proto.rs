//! The protobuf form of messages, package `rivven.protocol.v1`: field numbers as release 0.0.22 has
//! them. What a message can say beyond its postcard sister (headers, timestamps, a byte limit) is
//! read into the newer requests.

mod answer;
mod bounds;
mod request;
mod response;

pub(super) use answer::encode;
pub(super) use request::decode;

use bytes::Bytes;

/// What stands in front of every request and response.
#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    correlation_id: u64,
    #[prost(string, tag = "3")]
    client_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RecordHeader {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// A request or response without fields, or one whose fields nobody reads.
#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

/// Numbers of the requests whose answers are of the same kind here and of two kinds there.
pub(super) mod asked {
    pub(in crate::wire) const GET_METADATA: u32 = 15;
    pub(in crate::wire) const IDEMPOTENT_PUBLISH: u32 = 41;
}

#[cfg(test)]
mod tests;
