//! Faults of the links between clients and broker.

use std::time::Duration;

use bytes::BytesMut;
use rivven_io::Env;
use rivven_io::sim::net::LinkConfig;
use rivven_io::sim::rng::stream;
use rivven_io::sim::trace;

use crate::plan::CLIENTS;
use crate::plan::fault::{Fault, Hole};
use crate::run::server;
use crate::run::supervisor::{NODES_EACH, Step, Supervisor};

/// The node from which requests come again, of the first broker.
const ECHO: u64 = 60_001;
/// How long it waits for an answer.
const ECHO_PATIENCE: Duration = Duration::from_secs(5);

impl Supervisor<'_> {
    pub(super) fn inject_network(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Isolate { client, hole, for_ms } => {
                let links = self.client(*client).map(|client| self.links(*hole, client));
                links.is_some_and(|links| self.block(links.collect(), *for_ms))
            }
            Fault::Swizzle { order, gap_ms, for_ms } => self.swizzle(*order, (*gap_ms, *for_ms)),
            Fault::Lag { hole, lag_ms, for_ms } => {
                let lag = Duration::from_millis(*lag_ms);
                let links = self.all_links(*hole);
                self.shape(&links, |link| link.lag = lag);
                self.queue_in(for_ms * 1_000, Step::LagEnds(links));
                true
            }
            Fault::Narrow { bytes_per_second, for_ms } => {
                let links = self.all_links(Hole::Both);
                self.shape(&links, |link| link.bytes_per_second = Some(*bytes_per_second));
                self.queue_in(for_ms * 1_000, Step::NarrowEnds(links));
                true
            }
            Fault::LateDuplicate { age_ms } => self.repeat(*age_ms),
            Fault::Corrupt { place } => {
                let Some(element) = &self.element else { return false };
                element.spoil_next(*place);
                true
            }
            _ => false,
        }
    }

    pub(super) fn shape(&self, links: &[(u64, u64)], change: impl Fn(&mut LinkConfig)) {
        for (from, to) in links {
            self.world.net().change_link(*from, *to, &change);
        }
    }

    /// The clients' nodes.
    fn clients(&self) -> Vec<u64> {
        let clients = &self.plan.workload.clients;
        clients.iter().map(|client| CLIENTS + u64::from(client.client)).collect()
    }

    /// The node of one client.
    pub(super) fn client(&self, pick: u64) -> Option<u64> {
        let clients = self.clients();
        let index = usize::try_from(pick.checked_rem(clients.len() as u64)?).ok()?;
        clients.get(index).copied()
    }

    /// The links that vanish between a client and the broker.
    fn links(&self, hole: Hole, client: u64) -> impl Iterator<Item = (u64, u64)> + use<> {
        let server = self.node.id();
        let there = (hole != Hole::FromBroker).then_some((client, server));
        let back = (hole != Hole::ToBroker).then_some((server, client));
        there.into_iter().chain(back)
    }

    fn all_links(&self, hole: Hole) -> Vec<(u64, u64)> {
        self.clients().into_iter().flat_map(|client| self.links(hole, client)).collect()
    }

    pub(super) fn black_hole(&mut self, hole: Hole, for_ms: u64) -> bool {
        self.block(self.all_links(hole), for_ms)
    }

    fn block(&mut self, links: Vec<(u64, u64)>, for_ms: u64) -> bool {
        for (from, to) in &links {
            self.world.net().block(*from, *to);
        }
        self.queue_in(for_ms * 1_000, Step::HoleEnds(links));
        true
    }

    /// N5: clogs one client after the other, and unclogs them in another order.
    fn swizzle(&mut self, order: u64, (gap_ms, for_ms): (u64, u64)) -> bool {
        let mut draws = stream(order, "swizzle", self.node.id(), 0);
        let mut clients = self.clients();
        let count = clients.len() as u64;
        for (k, client) in (0..).zip(shuffled(&mut clients, |end| draws.below(end))) {
            self.queue_in(k * gap_ms * 1_000, Step::Clog(client));
        }
        for (k, client) in (0..).zip(shuffled(&mut clients, |end| draws.below(end))) {
            let links = self.links(Hole::Both, client).collect();
            let after_ms = (count + k) * gap_ms + for_ms;
            self.queue_in(after_ms * 1_000, Step::HoleEnds(links));
        }
        count > 0
    }

    /// N2: sends an old request again from somewhere else.
    fn repeat(&self, age_ms: u64) -> bool {
        let Some(element) = self.element.as_ref().filter(|_| self.life.is_some()) else {
            return false;
        };
        let until_us = self.now_us().saturating_sub(age_ms * 1_000);
        let Some(frame) = element.answered_until(until_us) else { return false };
        let own = ECHO + NODES_EACH * self.broker;
        let node = self.world.node(own);
        let (env, broker) = (node.env(), self.node.ip());
        drop(node.spawn(async move {
            let clock = env.clock.clone();
            let answered = clock.timeout(ECHO_PATIENCE, echo(&env, (broker, &frame))).await;
            if answered.is_ok_and(|answer| answer.is_ok_and(|bytes| bytes > 0)) {
                trace::fault(own, "N2", frame.len() as u64);
            }
        }));
        true
    }
}

async fn echo(env: &Env, (broker, frame): (std::net::IpAddr, &[u8])) -> std::io::Result<usize> {
    let mut stream = env.net.connect((broker, server::PORT).into()).await?;
    stream.writer.write_all(frame).await?;
    stream.reader.read(&mut BytesMut::with_capacity(4_096)).await
}

/// `all` in an order in which each has an equal chance of each place.
fn shuffled(all: &mut [u64], mut below: impl FnMut(u64) -> u64) -> Vec<u64> {
    for end in (1..all.len()).rev() {
        let other = usize::try_from(below(end as u64 + 1)).expect("it is below a len");
        all.swap(end, other);
    }
    all.to_vec()
}
