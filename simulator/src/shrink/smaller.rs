//! Plans that are simpler than a plan: shorter, with smaller numbers, or with knobs at rest.

use serde_json::Value;

use crate::plan::{BrokerPlan, Plan};
use crate::run::AFTERMATH;

/// A second in the unit of plans.
const SECOND_US: u64 = 1_000_000;
/// Records of a batch and bytes of each beyond its head.
const HEAVY: (u64, u64) = (20, 6_000);
/// A gap between two things that happen is cut to one of these.
const GAPS_US: [u64; 4] = [1_000, 30_000, 300_000, SECOND_US];
/// Numbers of a fault that say which, not how much.
const NAMES: [&str; 5] = ["pick", "other", "client", "order", "place"];

/// A way to simplify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The story ends earlier or begins later.
    Length,
    /// Nothing happens for less time.
    Gaps,
    /// Fewer partitions, records and keys, shorter faults.
    Numbers,
    /// What the broker, its disk and its network are set to.
    Knobs,
    /// Not smaller at first: more and larger records, a log that is sooner full.
    Weight,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Length => "length",
            Way::Gaps => "gaps",
            Way::Numbers => "numbers",
            Way::Knobs => "knobs",
            Way::Weight => "weight",
        }
    }

    /// The simpler plans, the simplest of each kind first.
    pub(crate) fn candidates(self, plan: &Plan) -> Vec<Plan> {
        let mut all = match self {
            Way::Length => lengths(plan),
            Way::Gaps => gaps(plan),
            Way::Numbers => numbers(plan),
            Way::Knobs => knobs(plan),
            Way::Weight => heavier(plan),
        };
        all.retain(|simpler| simpler != plan);
        all
    }
}

/// Parts of the story: its begin, its end, and without idle time at its ends.
fn lengths(plan: &Plan) -> Vec<Plan> {
    let whole_us = plan.seconds * SECOND_US;
    let ends = [16, 8, 4, 2].into_iter().map(|part| window(plan, 0, whole_us / part));
    let three_quarters = window(plan, 0, whole_us / 4 * 3);
    let begins = [4, 2].into_iter().map(|part| window(plan, whole_us / part, whole_us));
    let first_us = times(plan).into_iter().min().unwrap_or(0);
    let last_us = times(plan).into_iter().max().unwrap_or(0);
    let trims = [
        window(plan, first_us, last_us + 1),
        window(plan, first_us, last_us + SECOND_US),
        window(plan, 0, last_us + 1),
    ];
    ends.chain([three_quarters]).chain(begins).chain(trims).collect()
}

/// What happens from one time up to another, and nothing else; it happens that much earlier.
fn window(plan: &Plan, from_us: u64, end_us: u64) -> Plan {
    let mut part = plan.clone();
    part.seconds = end_us.saturating_sub(from_us).div_ceil(SECOND_US).clamp(1, plan.seconds);
    let aftermath_us = u64::try_from(AFTERMATH.as_micros()).expect("a few seconds");
    let moved =
        |at_us: u64, end_us: u64| (from_us..end_us).contains(&at_us).then(|| at_us - from_us);
    part.faults.retain_mut(|fault| {
        let moved = moved(fault.at_us, end_us);
        fault.at_us = moved.unwrap_or(fault.at_us);
        moved.is_some()
    });
    for client in &mut part.workload.clients {
        if let Some(operations) = &mut client.operations {
            operations.retain_mut(|operation| {
                let moved = moved(operation.at_us, end_us + aftermath_us);
                operation.at_us = moved.unwrap_or(operation.at_us);
                moved.is_some()
            });
        }
    }
    part
}

/// When something happens.
fn times(plan: &Plan) -> Vec<u64> {
    let faults = plan.faults.iter().map(|fault| fault.at_us);
    let clients = plan.workload.clients.iter();
    let operations = clients.flat_map(|client| client.operations.iter().flatten());
    let mut times: Vec<u64> = faults.chain(operations.map(|operation| operation.at_us)).collect();
    times.sort_unstable();
    times.dedup();
    times
}

/// All gaps cut at once, then each by itself, the longest first.
fn gaps(plan: &Plan) -> Vec<Plan> {
    let times = times(plan);
    let ends = [0].iter().chain(&times);
    let mut gaps: Vec<(u64, u64)> =
        ends.zip(&times).map(|(from, end)| (end - from, *end)).collect();
    let all = GAPS_US.iter().map(|limit_us| {
        let cuts = gaps.iter().filter(|(gap_us, _)| gap_us > limit_us);
        let mut cuts: Vec<(u64, u64)> = cuts.map(|(gap, end)| (*end, gap - limit_us)).collect();
        cuts.sort_unstable();
        earlier(plan, &cuts)
    });
    let all: Vec<Plan> = all.collect();
    gaps.sort_unstable_by(|left, right| right.cmp(left));
    let single = gaps.into_iter().flat_map(|(gap_us, end)| {
        let shorter = GAPS_US.into_iter().filter(move |limit_us| gap_us > *limit_us);
        shorter.map(move |limit_us| earlier(plan, &[(end, gap_us - limit_us)]))
    });
    all.into_iter().chain(single).collect()
}

/// From each of these times on, everything happens that much earlier; times rise.
fn earlier(plan: &Plan, cuts: &[(u64, u64)]) -> Plan {
    let moved = |at_us: u64| {
        let passed = cuts.iter().take_while(|(from_us, _)| *from_us <= at_us);
        at_us - passed.map(|(_, by_us)| by_us).sum::<u64>()
    };
    let mut part = plan.clone();
    part.faults.iter_mut().for_each(|fault| fault.at_us = moved(fault.at_us));
    for client in &mut part.workload.clients {
        let operations = client.operations.iter_mut().flatten();
        operations.for_each(|operation| operation.at_us = moved(operation.at_us));
    }
    part
}

fn numbers(plan: &Plan) -> Vec<Plan> {
    let mut places: Vec<(String, Vec<u64>)> = Vec::new();
    for (index, topic) in plan.workload.topics.iter().enumerate() {
        let half = u64::from(topic.partitions / 2).max(1);
        places.push((format!("/workload/topics/{index}/partitions"), vec![1, half]));
    }
    for (index, client) in plan.workload.clients.iter().enumerate() {
        let mut place = |field: &str, simpler: Vec<u64>| {
            places.push((format!("/workload/clients/{index}/{field}"), simpler));
        };
        place("in_flight", vec![1]);
        place("tombstone_percent", vec![0]);
        place("codec", vec![0]);
        place("time_searches_percent", vec![0]);
        if client.keys > 0 {
            place("keys", vec![1, 2, client.keys / 2]);
        }
    }
    let whole = json(plan);
    for (index, _) in plan.faults.iter().enumerate() {
        fault_numbers(&format!("/faults/{index}/what"), &whole, &mut places);
    }
    sizes(plan).into_iter().chain(with_numbers(&whole, &places)).collect()
}

/// Batches of fewer and shorter records, of all clients, then of each.
fn sizes(plan: &Plan) -> Vec<Plan> {
    let count = plan.workload.clients.len();
    let ranges = |(low, high): (u64, u64), least: u64| {
        let half = (high / 2).max(least);
        [(least, least), (low.min(half), half)]
    };
    let mut all = Vec::new();
    for clients in std::iter::once(0..count).chain((0..count).map(|index| index..index + 1)) {
        for way in 0..2 {
            let (mut fewer, mut shorter) = (plan.clone(), plan.clone());
            for index in clients.clone() {
                let client = &plan.workload.clients[index];
                fewer.workload.clients[index].batch_records = ranges(client.batch_records, 1)[way];
                shorter.workload.clients[index].filler_bytes = ranges(client.filler_bytes, 0)[way];
            }
            all.extend([fewer, shorter]);
        }
    }
    all
}

/// How much or how long a fault is; which one it is stays.
fn fault_numbers(at: &str, whole: &Value, places: &mut Vec<(String, Vec<u64>)>) {
    match whole.pointer(at) {
        Some(Value::Object(fields)) => {
            for name in fields.keys().filter(|name| !NAMES.contains(&name.as_str())) {
                fault_numbers(&format!("{at}/{name}"), whole, places);
            }
        }
        Some(Value::Number(number)) => {
            let number = number.as_u64().unwrap_or(0);
            places.push((at.to_owned(), vec![1, number / 10, number / 2]));
        }
        _ => {}
    }
}

fn knobs(plan: &Plan) -> Vec<Plan> {
    let rest = BrokerPlan::at_rest();
    let resting = Plan { broker: rest.clone(), ..plan.clone() };
    let fields = json(&rest);
    let fields = fields.as_object().expect("knobs have names");
    let broker = fields.iter().map(|(name, value)| {
        (format!("/broker/{name}"), value.as_u64().into_iter().collect::<Vec<u64>>())
    });
    let mut places: Vec<(String, Vec<u64>)> = broker.collect();
    places.extend(
        [
            ("/disk/short_permille", 0),
            ("/disk/latency_percent", 100),
            ("/network/tail_permille", 0),
            ("/network/buffer_bytes", 0),
        ]
        .map(|(place, number)| (place.to_owned(), vec![number])),
    );
    let single = with_numbers(&json(plan), &places);
    let mut all = vec![resting];
    for index in 0..plan.workload.topics.len() {
        let configs = &plan.workload.topics[index].configs;
        all.extend(configs.keys().map(|key| {
            let mut part = plan.clone();
            part.workload.topics[index].configs.remove(key);
            part
        }));
    }
    all.extend(single);
    all
}

/// Operations that write as much as many, and rings that one of them fills.
fn heavier(plan: &Plan) -> Vec<Plan> {
    let (records, bytes) = HEAVY;
    let mut heavy = plan.clone();
    for client in &mut heavy.workload.clients {
        client.batch_records = (records, records);
        client.filler_bytes = (bytes, bytes);
    }
    let mut all = vec![heavy];
    let least = BrokerPlan::least();
    let places = [
        ("/broker/wal_file_bytes", least.wal_file_bytes),
        ("/broker/wal_files", least.wal_files),
        ("/broker/tail_bytes", least.tail_bytes),
        ("/broker/checkpoint_interval_ms", least.checkpoint_interval_ms),
        ("/broker/open_files", least.open_files),
    ];
    let places = places.map(|(place, number)| (place.to_owned(), vec![number]));
    all.extend(with_numbers(&json(plan), &places));
    all
}

/// A plan for each of these numbers that is smaller than, or just not, what stands at its place.
fn with_numbers(whole: &Value, places: &[(String, Vec<u64>)]) -> Vec<Plan> {
    let mut all = Vec::new();
    for (place, simpler) in places {
        for number in simpler {
            let mut part = whole.clone();
            let Some(found) = part.pointer_mut(place) else { continue };
            let is_knob = !place.starts_with("/workload") && !place.starts_with("/faults");
            if !is_knob && found.as_u64().is_none_or(|found| *number >= found) {
                continue;
            }
            *found = Value::from(*number);
            all.extend(serde_json::from_value::<Plan>(part).ok());
        }
    }
    all
}

fn json(plain: &impl serde::Serialize) -> Value {
    serde_json::to_value(plain).expect("it is plain data")
}
