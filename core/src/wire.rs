//! The native protocol: what stands in a frame, in postcard's encoding or in protobuf.
//!
//! Nothing here knows a socket or a topic. docs/native-protocol.md draws every message.

pub mod codec;
pub mod frame;
mod language;
pub mod limits;
pub mod message;
mod proto;
pub mod request;
pub mod response;

#[cfg(test)]
mod tests;
