//! Drawing the clients of a plan from the ranges of its scenario.

use rivven_io::sim::rng::{Stream, stream};

use crate::plan::brokers::CLIENTS_A_BROKER;
use crate::plan::fault::pick;
use crate::plan::{SEED_MAX, SERVER};
use crate::scenario::ClientSpec;
use crate::workload::library_member::LIBRARY_GROUPS;
use crate::workload::{ClientKind, ClientParams, CommitStyle, GroupParams, TopicParams};

/// A client stops by itself after so many operations, so that no plan runs away.
const OPERATIONS_MAX: u64 = 1_000_000;
/// What a stalled consumer asks for at once: several of them hold more than the broker has.
const STALLED_FETCH_BYTES: u64 = 8 << 20;

/// Draws the clients of one of the plan's brokers.
pub(super) fn draw(
    spec: &ClientSpec,
    topics: &[TopicParams],
    (seed, broker): (u64, u64),
) -> Vec<ClientParams> {
    let concern = match broker {
        0 => "plan.clients".to_owned(),
        _ => format!("plan.clients.{broker}"),
    };
    let kinds = [
        (ClientKind::PlainProducer, &spec.plain_producers),
        (ClientKind::IdempotentProducer, &spec.idempotent_producers),
        (ClientKind::TailConsumer, &spec.tail_consumers),
        (ClientKind::ScanConsumer, &spec.scan_consumers),
        (ClientKind::TopicAdmin, &spec.topic_admins),
        (ClientKind::RecordDeleter, &spec.record_deleters),
        (ClientKind::ConfigAdmin, &spec.config_admins),
        (ClientKind::GroupMember, &spec.group_members),
        (ClientKind::LibraryProducer, &spec.library_producers),
        (ClientKind::Deserter, &spec.deserters),
        (ClientKind::LibraryMember, &spec.library_members),
        (ClientKind::NativeClient, &spec.native_clients),
        (ClientKind::StalledConsumer, &spec.stalled_consumers),
    ];
    let groups = draw_groups(seed);
    let mut clients = Vec::new();
    for (index, (kind, count)) in (1..).zip(kinds) {
        let count = count.draw(&mut stream(seed, &concern, index, u64::MAX)).min(100);
        for k in 0..count {
            let mut draws = stream(seed, &concern, index, k);
            let client = u32::try_from(broker * CLIENTS_A_BROKER + index * 100 + k);
            let client = client.expect("there are few brokers and kinds");
            let mut drawn = draw_client(spec, (client, kind), topics, &mut draws);
            drawn.group = match kind {
                ClientKind::LibraryMember => pick(&groups, &mut draws).cloned(),
                ClientKind::NativeClient => Some(GroupParams {
                    name: format!("native-{client}"),
                    assignors: Vec::new(),
                    commits: CommitStyle::Explicit,
                }),
                _ => None,
            };
            if matches!(kind, ClientKind::LibraryProducer | ClientKind::LibraryMember) {
                drawn.connection_requests = spec.connection_requests.draw(&mut draws);
            }
            drawn.broker = broker;
            clients.push(drawn);
        }
    }
    clients
}

/// The groups of library members: one, or sometimes two.
fn draw_groups(seed: u64) -> Vec<GroupParams> {
    let assignors: [&[&str]; 5] = [
        &["range"],
        &["sticky"],
        &["cooperative-sticky"],
        &["cooperative-sticky"],
        &["range", "cooperative-sticky"],
    ];
    let styles = [CommitStyle::Automatic, CommitStyle::Explicit, CommitStyle::Mixed];
    let group = |(k, name): (u64, &str)| {
        let mut draws = stream(seed, "plan.groups", SERVER, k);
        let assignors = pick(&assignors, &mut draws).expect("there are five");
        GroupParams {
            name: name.to_owned(),
            assignors: assignors.iter().map(|name| (*name).to_owned()).collect(),
            commits: *pick(&styles, &mut draws).expect("there are three"),
        }
    };
    let count = 1 + usize::from(stream(seed, "plan.groups", SERVER, u64::MAX).below(3) == 0);
    (0..).zip(LIBRARY_GROUPS).take(count).map(group).collect()
}

fn draw_client(
    spec: &ClientSpec,
    (client, kind): (u32, ClientKind),
    topics: &[TopicParams],
    draws: &mut Stream,
) -> ClientParams {
    let seed = draws.u64() & SEED_MAX;
    let pause_ms = spec.pause_ms.draw(draws);
    let batch_records = spec.batch_records.draw(draws);
    let filler_bytes = spec.filler_bytes.draw(draws);
    let acks = spec.acks.draw(draws);
    let idempotent = matches!(kind, ClientKind::IdempotentProducer | ClientKind::LibraryProducer);
    ClientParams {
        client,
        broker: 0,
        kind,
        seed,
        topics: topics.iter().map(|topic| topic.name.clone()).collect(),
        pause_ms: match kind {
            ClientKind::PlainProducer
            | ClientKind::IdempotentProducer
            | ClientKind::LibraryProducer
            | ClientKind::NativeClient => (pause_ms / 2, pause_ms + pause_ms / 2),
            ClientKind::TailConsumer => (0, 50),
            ClientKind::GroupMember => (1, 80),
            ClientKind::LibraryMember => (0, 30),
            ClientKind::ScanConsumer => (50, 500),
            _ => (200, 3_000),
        },
        batch_records: (1, batch_records.max(1)),
        filler_bytes: (0, filler_bytes),
        in_flight: spec.in_flight.draw(draws),
        acks: if acks > 1 || idempotent { -1 } else { i16::from(acks == 1) },
        fetch_wait_ms: draws.between(10, 1_000),
        fetch_bytes: match (kind, *pick(&[1, 4_096, 1 << 20], draws).expect("there are three")) {
            (ClientKind::StalledConsumer, _) => STALLED_FETCH_BYTES,
            (_, drawn) => drawn,
        },
        request_timeout_ms: spec.request_timeout_ms.draw(draws),
        keys: spec.keys.draw(draws),
        tombstone_percent: spec.tombstone_percent.draw(draws),
        codec: spec.codec.draw(draws),
        time_searches_percent: spec.time_searches_percent.draw(draws),
        broker_changes_percent: match kind {
            ClientKind::ConfigAdmin => spec.broker_changes_percent.draw(draws),
            _ => 0,
        },
        connection_requests: 0,
        operations_max: OPERATIONS_MAX,
        operations: None,
        group: None,
    }
}
