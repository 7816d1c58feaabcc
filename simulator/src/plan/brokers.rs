//! Several brokers in one plan: which clients and faults belong to which.

use crate::plan::Plan;

/// Brokers of one plan at most.
pub(crate) const BROKERS_MAX: u64 = 5;
/// Client numbers that one broker's clients draw from.
pub(super) const CLIENTS_A_BROKER: u64 = 2_000;

impl Plan {
    /// What the plan says of one of its brokers: no client and no fault of another one.
    pub(crate) fn of_broker(&self, broker: u64) -> Plan {
        let mut part = self.clone();
        part.faults.retain(|fault| fault.broker == broker);
        part.workload.clients.retain(|client| client.broker == broker);
        part
    }

    /// The plan with these of its brokers only, which are counted anew. One is left in any case,
    /// if need be without clients and faults.
    pub(crate) fn with_brokers(&self, kept: &[usize]) -> Plan {
        let mut part = self.clone();
        let new = |old: u64| {
            let place = kept.iter().position(|broker| *broker as u64 == old);
            place.map(|place| place as u64)
        };
        part.brokers = (kept.len() as u64).max(1);
        part.faults.retain_mut(|fault| {
            let moved = new(fault.broker);
            fault.broker = moved.unwrap_or(fault.broker);
            moved.is_some()
        });
        part.workload.clients.retain_mut(|client| {
            let moved = new(client.broker);
            client.broker = moved.unwrap_or(client.broker);
            moved.is_some()
        });
        part
    }

    /// Every client and fault has its broker.
    pub(super) fn check_brokers(&self) -> Result<(), String> {
        if !(1..=BROKERS_MAX).contains(&self.brokers) {
            return Err(format!("brokers = {} is not in 1..={BROKERS_MAX}", self.brokers));
        }
        let clients = self.workload.clients.iter().map(|client| client.broker);
        let faults = self.faults.iter().map(|fault| fault.broker);
        match clients.chain(faults).find(|broker| *broker >= self.brokers) {
            Some(broker) => Err(format!(
                "a client or fault of broker {broker}: there are {}, counted from 0",
                self.brokers
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlanError;
    use crate::scenario::draw::Draw;
    use crate::scenario::registry;

    fn plan(brokers: u64) -> Plan {
        let mut scenario = registry::find("power_cuts").unwrap().clone();
        scenario.topology.brokers = Draw::Fixed(brokers);
        Plan::draw(&scenario, 3, "")
    }

    #[test]
    fn another_broker_leaves_the_draws_of_the_first_as_they_were() {
        let (one, three) = (plan(1), plan(3));
        assert_eq!(three.with_brokers(&[0]), one);
        let second = three.with_brokers(&[1]);
        assert!(!second.faults.is_empty() && second.faults != one.faults);
        assert_ne!(second.workload.clients, one.workload.clients);
        let parts = (0..3).map(|broker| three.of_broker(broker));
        let faults: usize = parts.map(|part| part.faults.len()).sum();
        assert_eq!(faults, three.faults.len());
    }

    #[test]
    fn client_numbers_are_unique_in_the_plan() {
        let clients = plan(BROKERS_MAX).workload.clients;
        let numbers: std::collections::BTreeSet<u32> =
            clients.iter().map(|client| client.client).collect();
        assert_eq!(numbers.len(), clients.len());
        assert!(numbers.iter().all(|number| (1..10_000).contains(number)));
    }

    #[test]
    fn a_plan_with_a_broker_that_is_not_there_is_refused() {
        let three = plan(3);
        assert_eq!(Plan::from_toml(&three.to_toml()), Ok(three.clone()));
        let last = three.workload.clients.last().unwrap().broker;
        for (brokers, said) in [(0, "not in 1..=5"), (6, "not in 1..=5"), (last, "there are")] {
            let less = Plan { brokers, ..three.clone() };
            let Err(PlanError::Malformed { reason }) = Plan::from_toml(&less.to_toml()) else {
                panic!("{brokers} brokers");
            };
            assert!(reason.contains(said), "{reason}");
        }
    }
}
