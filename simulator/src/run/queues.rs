//! Queues that a plan makes short (M2), and how often one of them was full.

use std::collections::BTreeMap;

use crate::plan::Plan;

/// Requests that the broker takes from a connection before it answers one.
pub(crate) const OF_BROKER: &str = "broker.connection_requests";
/// Requests that the client library sends over a connection before one is answered.
pub(crate) const OF_CLIENTS: &str = "clients.connection_requests";

/// The queues that a plan makes short, as scenario files name them, and the probes that tell of one
/// that is full.
fn short(plan: &Plan) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_short = [
        plan.broker.connection_requests > 0,
        plan.workload.clients.iter().any(|client| client.connection_requests > 0),
    ];
    let queues = [(OF_BROKER, "connection_takes_no_more"), (OF_CLIENTS, "connection_has_no_place")];
    queues.into_iter().zip(is_short).filter_map(|(queue, is_short)| is_short.then_some(queue))
}

/// The queues that a plan makes short, each once.
pub(crate) fn injected(plan: &Plan) -> BTreeMap<&'static str, u64> {
    short(plan).map(|(name, _)| (name, 1)).collect()
}

/// How often a request found such a queue full.
pub(crate) fn full(plan: &Plan, probes: &BTreeMap<&'static str, u64>) -> u64 {
    short(plan).filter_map(|(_, probe)| probes.get(probe)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::registry;

    #[test]
    fn only_short_queues_that_were_full_count() {
        let mut plan = Plan::draw(registry::find("power_cuts").unwrap(), 0, "");
        let probes = BTreeMap::from([("connection_takes_no_more", 3), ("tail_full", 9)]);
        assert_eq!((injected(&plan).len(), full(&plan, &probes)), (0, 0));
        plan.workload.clients[0].connection_requests = 2;
        assert_eq!((injected(&plan)[OF_CLIENTS], full(&plan, &probes)), (1, 0));
        plan.broker.connection_requests = 1;
        assert_eq!((injected(&plan)[OF_BROKER], full(&plan, &probes)), (1, 3));
    }
}
