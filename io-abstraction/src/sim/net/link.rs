//! A directed link between two nodes: what it costs and loses.

use std::time::Duration;

use crate::sim::rng::{Stream, stream};

/// How a directed link behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// One-way latency, drawn between the two for each segment and datagram.
    pub latency_min: Duration,
    pub latency_max: Duration,
    /// N4: added to each latency.
    pub lag: Duration,
    /// N4: the share of segments and datagrams whose latency is drawn from the heavy tail: up to
    /// `tail_max`, a half of them up to half of it, and so on.
    pub tail: f64,
    pub tail_max: Duration,
    /// N9: bytes a second; `None`: no limit.
    pub bytes_per_second: Option<u64>,
    /// Bytes that a stream holds at the sender and in flight, and at the receiver before it is
    /// read; both at least 1. Taken when the stream is made.
    pub send_buffer_bytes: usize,
    pub receive_buffer_bytes: usize,
    /// N1: the share of datagrams that is lost. (Streams retransmit: see `NetControl::block`.)
    pub loss: f64,
    /// N2: the share of datagrams that arrives once more, up to `duplicate_delay_max` later.
    pub duplicate: f64,
    pub duplicate_delay_max: Duration,
}

impl Default for LinkConfig {
    /// A quiet rack: 50 to 300 µs, no tail, no loss.
    fn default() -> LinkConfig {
        LinkConfig {
            latency_min: Duration::from_micros(50),
            latency_max: Duration::from_micros(300),
            lag: Duration::ZERO,
            tail: 0.0,
            tail_max: Duration::from_secs(2),
            bytes_per_second: None,
            send_buffer_bytes: 64 * 1024,
            receive_buffer_bytes: 64 * 1024,
            loss: 0.0,
            duplicate: 0.0,
            duplicate_delay_max: Duration::from_secs(180),
        }
    }
}

/// The state of a directed link.
pub(crate) struct Link {
    pub(crate) config: LinkConfig,
    /// Nothing gets through, because of a fault of this number in the catalogue.
    pub(crate) blocked: Option<&'static str>,
    /// When the last byte that was sent leaves the sender.
    busy_until_ns: u64,
    /// When the last datagram that was sent arrives.
    pub(crate) last_datagram_ns: u64,
    latency: Stream,
    tail: Stream,
    retry: Stream,
    pub(crate) loss: Stream,
    pub(crate) duplicate: Stream,
}

/// What a latency draw gave.
#[derive(Clone, Copy)]
pub(crate) struct Transit {
    pub(crate) latency_ns: u64,
    /// Time on the sender's side before the last byte leaves.
    pub(crate) queued_ns: u64,
    /// It is in the tail, or its link lags.
    pub(crate) is_late: bool,
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Link {
    pub(crate) fn new(seed: u64, (from, to): (u64, u64), config: LinkConfig) -> Link {
        let draws_of = |concern| stream(seed, concern, from, to);
        let config = match from == to {
            true => LinkConfig {
                latency_min: Duration::from_micros(5),
                latency_max: Duration::from_micros(30),
                ..LinkConfig::default()
            },
            false => config,
        };
        Link {
            config,
            blocked: None,
            busy_until_ns: 0,
            last_datagram_ns: 0,
            latency: draws_of("net.latency"),
            tail: draws_of("net.tail"),
            retry: draws_of("net.retry"),
            loss: draws_of("net.loss"),
            duplicate: draws_of("net.duplicate"),
        }
    }

    /// How long `bytes` sent at `now_ns` travel.
    pub(crate) fn transit(&mut self, now_ns: u64, bytes: usize) -> Transit {
        let config = &self.config;
        let usual = self.latency.between(ns(config.latency_min), ns(config.latency_max));
        let usual = usual.saturating_add(ns(config.lag));
        let in_tail = self.tail.chance(config.tail);
        let halvings = self.tail.u64().trailing_zeros().min(20);
        let tail = self.tail.between(0, ns(config.tail_max) >> halvings);
        let mut queued_ns = 0;
        if let Some(rate) = config.bytes_per_second {
            let sending_ns = (bytes as u64).saturating_mul(1_000_000_000) / rate.max(1);
            self.busy_until_ns = self.busy_until_ns.max(now_ns).saturating_add(sending_ns);
            queued_ns = self.busy_until_ns - now_ns;
        }
        let latency_ns = usual.saturating_add(if in_tail { tail } else { 0 });
        Transit { latency_ns, queued_ns, is_late: in_tail || !config.lag.is_zero() }
    }

    /// How long after a healing a held segment is sent again.
    pub(crate) fn retry_delay(&mut self) -> Duration {
        Duration::from_millis(self.retry.between(200, 3_000))
    }

    /// How long a sender goes on sending again before it gives up.
    pub(crate) fn give_up_delay(&mut self) -> Duration {
        Duration::from_millis(self.retry.between(120_000, 900_000))
    }
}
