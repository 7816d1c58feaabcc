//! What of a plan can be left out, piece by piece.

use std::collections::BTreeSet;

use crate::plan::Plan;
use crate::workload::operations::{BegunOperation, PlannedOperation};

/// A kind of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Brokers,
    Faults,
    Clients,
    Topics,
    Operations,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Brokers => "brokers",
            Part::Faults => "faults",
            Part::Clients => "clients",
            Part::Topics => "topics",
            Part::Operations => "operations",
        }
    }

    /// How many pieces a plan has.
    pub(crate) fn count(self, plan: &Plan) -> usize {
        match self {
            Part::Brokers => usize::try_from(plan.brokers).expect("there are few"),
            Part::Faults => plan.faults.len(),
            Part::Clients => plan.workload.clients.len(),
            Part::Topics => plan.workload.topics.len(),
            Part::Operations => operations(plan),
        }
    }

    /// The plan with these pieces of the kind only; the numbers rise.
    pub(crate) fn keep(self, plan: &Plan, kept: &[usize]) -> Plan {
        let mut part = plan.clone();
        match self {
            Part::Brokers => part = plan.with_brokers(kept),
            Part::Faults => part.faults = pick(&plan.faults, kept),
            Part::Clients => part.workload.clients = pick(&plan.workload.clients, kept),
            Part::Topics => {
                part.workload.topics = pick(&plan.workload.topics, kept);
                let names: BTreeSet<&str> =
                    part.workload.topics.iter().map(|topic| topic.name.as_str()).collect();
                for client in &mut part.workload.clients {
                    client.topics.retain(|name| names.contains(name.as_str()));
                }
            }
            Part::Operations => keep_operations(&mut part, kept),
        }
        part
    }
}

/// How many operations a plan names.
pub fn operations(plan: &Plan) -> usize {
    let named = plan.workload.clients.iter().filter_map(|client| client.operations.as_ref());
    named.map(Vec::len).sum()
}

/// The plan of a run in which clients began `begun`, with each of these by its name and time.
pub(crate) fn name_operations(plan: &Plan, begun: &[BegunOperation]) -> Plan {
    let mut named = plan.clone();
    for client in &mut named.workload.clients {
        let own = begun.iter().filter(|operation| operation.client == client.client);
        let planned = |operation: &BegunOperation| PlannedOperation {
            number: operation.number,
            at_us: operation.at_us,
        };
        client.operations = Some(own.map(planned).collect());
    }
    named
}

/// All operations stand in one row, in the order of their times: those that hang together are near.
fn keep_operations(plan: &mut Plan, kept: &[usize]) {
    let clients = plan.workload.clients.iter().enumerate();
    let mut row: Vec<(u64, usize, PlannedOperation)> = clients
        .flat_map(|(place, client)| {
            let named = client.operations.iter().flatten();
            named.map(move |operation| (operation.at_us, place, *operation))
        })
        .collect();
    row.sort_unstable();
    for client in &mut plan.workload.clients {
        client.operations = client.operations.as_ref().map(|_| Vec::new());
    }
    for (_, place, operation) in pick(&row, kept) {
        let named = plan.workload.clients[place].operations.as_mut();
        named.expect("it came from there").push(operation);
    }
}

fn pick<T: Clone>(all: &[T], kept: &[usize]) -> Vec<T> {
    kept.iter().map(|index| all[*index].clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::registry;

    const PARTS: [Part; 4] = [Part::Faults, Part::Clients, Part::Topics, Part::Operations];

    fn plan(seed: u64, scenario: usize) -> Plan {
        let all = registry::all();
        let mut plan = Plan::draw(&all[scenario % all.len()], seed, "");
        let clients: Vec<u32> = plan.workload.clients.iter().map(|client| client.client).collect();
        let begun: Vec<BegunOperation> = (0..40)
            .map(|k| BegunOperation {
                client: clients[k % clients.len()],
                number: (k / clients.len()) as u64,
                at_us: k as u64 * 700 % 9_001,
            })
            .collect();
        plan = name_operations(&plan, &begun);
        for client in &mut plan.workload.clients {
            client.operations.as_mut().unwrap().sort();
        }
        plan
    }

    proptest! {
        #[test]
        fn one_piece_less_leaves_all_others_as_they_were(
            seed in 0_u64..1_000,
            scenario in 0_usize..100,
            part in prop::sample::select(PARTS.to_vec()),
            which in any::<prop::sample::Index>(),
        ) {
            let whole = plan(seed, scenario);
            let count = part.count(&whole);
            prop_assume!(count > 0);
            let out = which.index(count);
            let kept: Vec<usize> = (0..count).filter(|index| *index != out).collect();
            let less = part.keep(&whole, &kept);
            prop_assert_eq!(part.count(&less), count - 1);
            for other in PARTS.into_iter().filter(|other| *other != part) {
                let goes_along = part == Part::Clients && other == Part::Operations;
                prop_assert!(goes_along || other.count(&less) == other.count(&whole));
            }
            // Everything that is left was there before, and nothing else of the plan has changed.
            let mut rebuilt = less.clone();
            rebuilt.faults.clone_from(&whole.faults);
            rebuilt.workload.clone_from(&whole.workload);
            prop_assert_eq!(&rebuilt, &whole);
            prop_assert!(less.faults.iter().all(|fault| whole.faults.contains(fault)));
            for client in &less.workload.clients {
                let mut same = whole.workload.clients.iter();
                let same = same.find(|same| same.client == client.client).unwrap();
                prop_assert_eq!(client.seed, same.seed);
                let all = same.operations.as_ref().unwrap();
                let named = client.operations.as_ref().unwrap();
                prop_assert!(named.iter().all(|operation| all.contains(operation)));
            }
            prop_assert_eq!(Plan::from_toml(&less.to_toml()), Ok(less));
        }
    }
}
