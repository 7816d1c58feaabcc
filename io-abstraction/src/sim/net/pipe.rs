//! One direction of a connection: what is on its way, what has arrived, and what is held.

use std::collections::VecDeque;

use bytes::Bytes;

/// One direction of a connection.
pub(crate) struct Pipe {
    pub(super) in_flight: VecDeque<Segment>,
    pub(super) in_flight_bytes: usize,
    pub(super) received: VecDeque<Bytes>,
    pub(super) received_bytes: usize,
    send_buffer_bytes: usize,
    receive_buffer_bytes: usize,
    pub(super) last_arrival_ns: u64,
    pub(super) ended: bool,
    pub(super) end_received: bool,
    /// Since when nothing gets through.
    pub(crate) held_since_ns: Option<u64>,
    /// A reset that its sender sent does not get through.
    pub(crate) reset_held: bool,
}

pub(super) struct Segment {
    pub(super) arrives_ns: u64,
    /// Empty for the end of the stream.
    pub(super) data: Bytes,
}

impl Pipe {
    pub(crate) fn new(send_buffer_bytes: usize, receive_buffer_bytes: usize) -> Pipe {
        Pipe {
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            received: VecDeque::new(),
            received_bytes: 0,
            send_buffer_bytes: send_buffer_bytes.max(1),
            receive_buffer_bytes: receive_buffer_bytes.max(1),
            last_arrival_ns: 0,
            ended: false,
            end_received: false,
            held_since_ns: None,
            reset_held: false,
        }
    }

    /// Whoever would send what is held again has lost its power.
    pub(crate) fn forget_held(&mut self) {
        self.reset_held = false;
        if self.held_since_ns.take().is_some() {
            self.in_flight.clear();
            self.in_flight_bytes = 0;
        }
    }

    pub(super) fn room(&self) -> usize {
        self.send_buffer_bytes.saturating_sub(self.in_flight_bytes)
    }

    pub(super) fn drop_content(&mut self) {
        self.in_flight.clear();
        self.received.clear();
        (self.in_flight_bytes, self.received_bytes) = (0, 0);
    }

    /// Takes what has arrived by `now_ns` and fits; its count of bytes, and whether the end came.
    pub(super) fn arrive(&mut self, now_ns: u64) -> (usize, bool) {
        let mut count = 0;
        while let Some(segment) = self.in_flight.front_mut() {
            let room = self.receive_buffer_bytes.saturating_sub(self.received_bytes);
            if segment.arrives_ns > now_ns || (room == 0 && !segment.data.is_empty()) {
                break;
            }
            let data = segment.data.split_to(segment.data.len().min(room));
            if data.is_empty() {
                self.end_received = true;
            }
            count += data.len();
            self.in_flight_bytes -= data.len();
            self.received_bytes += data.len();
            if segment.data.is_empty() {
                self.in_flight.pop_front();
            }
            if !data.is_empty() {
                self.received.push_back(data);
            }
        }
        (count, self.end_received)
    }
}
