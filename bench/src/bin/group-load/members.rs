//! Members of one group by the requests of the protocol alone, each on a connection of its own:
//! what is measured is the coordinator, and how soon members hear of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rivven_client::assignor::protocol::{
    decode_assignment, encode_assignment, encode_subscription,
};
use rivven_client::assignor::{Subscription, TopicPartition};
use rivven_client::connection::Connection;
use rivven_client::{Client, ClientConfig, Lane, Target};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::find_coordinator::FindCoordinatorRequest;
use rivven_core::kafka::messages::heartbeat::HeartbeatRequest;
use rivven_core::kafka::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use rivven_core::kafka::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use rivven_core::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use rivven_io::Env;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant as Due, sleep_until, timeout};

use crate::{Outcome, SettleArguments};

const GROUP: WireStr = WireStr::from_static("settling");
const PROTOCOL_TYPE: WireStr = WireStr::from_static("consumer");
const PROTOCOL: WireStr = WireStr::from_static("range");
const SESSION_MS: i32 = 45_000;
const REBALANCE_MS: i32 = 60_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// What all members know.
struct Group {
    topic: Arc<str>,
    partitions: i32,
    heartbeat: Duration,
    reports: mpsc::UnboundedSender<Report>,
    /// Without permits before all have their connections.
    start: Semaphore,
}

/// A member has its assignment.
struct Report {
    generation: i32,
    partitions: usize,
    at: Instant,
}

pub(crate) async fn run(arguments: SettleArguments, heartbeat: Duration) -> Outcome<Value> {
    let (reports, mut told) = mpsc::unbounded_channel();
    let group = Arc::new(Group {
        topic: Arc::from(arguments.topic.as_str()),
        partitions: arguments.partitions,
        heartbeat,
        reports,
        start: Semaphore::new(0),
    });
    make_coordinator(arguments.broker).await?;
    let count = u32::try_from(arguments.members)?;
    for index in 0..count {
        // Heartbeats of members that started one after the other.
        let phase = heartbeat * index / count;
        let member = Member::connect(&group, arguments.broker).await?;
        tokio::spawn(member.run(phase, None));
    }
    let partitions = usize::try_from(arguments.partitions)?;
    let begun = Instant::now();
    group.start.add_permits(1 + arguments.members);
    let (first, first_generation) = settled(&mut told, (arguments.members, partitions)).await?;
    let (first_ms, leaves) = (ms(first - begun), Arc::new(Notify::new()));

    tokio::time::sleep(heartbeat).await;
    let more = Member::connect(&group, arguments.broker).await?;
    let begun = Instant::now();
    let last = tokio::spawn(more.run(Duration::ZERO, Some(leaves.clone())));
    let (joined, join_generation) = settled(&mut told, (arguments.members + 1, partitions)).await?;
    let join_ms = ms(joined - begun);

    tokio::time::sleep(heartbeat).await;
    let begun = Instant::now();
    leaves.notify_one();
    let (left, leave_generation) = settled(&mut told, (arguments.members, partitions)).await?;
    last.await?;
    Ok(json!({
        "first_ms": first_ms,
        "join_ms": join_ms,
        "leave_ms": ms(left - begun),
        "generations": [first_generation, join_generation, leave_generation],
    }))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// As every client does before its first join, which makes the topic of the offsets.
async fn make_coordinator(broker: SocketAddr) -> Outcome<()> {
    let client = Client::new(Env::real(), ClientConfig::to(&broker.to_string()))?;
    let (connection, _) = client.connect(Target::Any, Lane::Admin).await?;
    let request = FindCoordinatorRequest {
        key: GROUP,
        coordinator_keys: vec![GROUP],
        ..FindCoordinatorRequest::default()
    };
    connection.call(&request, PATIENCE).await?;
    Ok(())
}

/// When the last of so many members has its part of so many partitions, in one generation.
async fn settled(
    told: &mut mpsc::UnboundedReceiver<Report>,
    wanted: (usize, usize),
) -> Outcome<(Instant, i32)> {
    let mut generations: BTreeMap<i32, (usize, usize)> = BTreeMap::new();
    loop {
        let report = timeout(PATIENCE, told.recv())
            .await
            .map_err(|_| format!("not settled in {PATIENCE:?}: {generations:?} of {wanted:?}"))?;
        let report = report.ok_or("no member is left")?;
        let (members, partitions) = generations.entry(report.generation).or_default();
        *members += 1;
        *partitions += report.partitions;
        if (*members, *partitions) == wanted {
            return Ok((report.at, report.generation));
        }
    }
}

struct Member {
    group: Arc<Group>,
    connection: Connection,
    /// Empty before it has one.
    id: WireStr,
}

impl Member {
    async fn connect(group: &Arc<Group>, broker: SocketAddr) -> Outcome<Member> {
        let config = ClientConfig::to(&broker.to_string());
        let connection = Connection::open(&Env::real(), broker, &config).await?;
        Ok(Member { group: group.clone(), connection, id: WireStr::default() })
    }

    /// Takes part until it is told to leave.
    async fn run(mut self, phase: Duration, leaves: Option<Arc<Notify>>) {
        if let Err(error) = self.take_part(phase, leaves).await {
            eprintln!("group-load: a member: {error}");
        }
    }

    async fn take_part(&mut self, phase: Duration, leaves: Option<Arc<Notify>>) -> Outcome<()> {
        self.group.start.acquire().await?.forget();
        let mut beat = Due::now() + phase;
        loop {
            let Some(generation) = self.come_in().await? else { continue };
            loop {
                while beat <= Due::now() {
                    beat += self.group.heartbeat;
                }
                let told = async {
                    match &leaves {
                        Some(leaves) => leaves.notified().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = told => return self.leave().await,
                    () = sleep_until(beat) => {}
                }
                if !self.beat(generation).await? {
                    break;
                }
            }
        }
    }

    /// Joins, and gets its part; none if the group went on meanwhile.
    async fn come_in(&mut self) -> Outcome<Option<i32>> {
        let joined = self.join().await?;
        match joined.error_code {
            ErrorCode::NONE => {}
            ErrorCode::REBALANCE_IN_PROGRESS => return Ok(None),
            code => return Err(format!("join: {code}").into()),
        }
        let request = SyncGroupRequest {
            group_id: GROUP,
            generation_id: joined.generation_id,
            member_id: self.id.clone(),
            protocol_type: Some(PROTOCOL_TYPE),
            protocol_name: Some(PROTOCOL),
            assignments: self.assign(&joined),
            ..SyncGroupRequest::default()
        };
        let answer = self.connection.call(&request, PATIENCE).await?;
        let at = Instant::now();
        match answer.error_code {
            ErrorCode::NONE => {}
            ErrorCode::REBALANCE_IN_PROGRESS => return Ok(None),
            code => return Err(format!("sync: {code}").into()),
        }
        let assigned = decode_assignment(answer.assignment).ok_or("no assignment")?;
        let generation = joined.generation_id;
        // Who measures may have ended.
        let _ = self.group.reports.send(Report { generation, partitions: assigned.len(), at });
        Ok(Some(generation))
    }

    async fn join(&mut self) -> Outcome<JoinGroupResponse> {
        let subscription = Subscription {
            topics: BTreeSet::from([self.group.topic.clone()]),
            generation: -1,
            ..Subscription::default()
        };
        let metadata = encode_subscription(&subscription, None);
        loop {
            let request = JoinGroupRequest {
                group_id: GROUP,
                session_timeout_ms: SESSION_MS,
                rebalance_timeout_ms: REBALANCE_MS,
                member_id: self.id.clone(),
                protocol_type: PROTOCOL_TYPE,
                protocols: vec![JoinGroupRequestProtocol {
                    name: PROTOCOL,
                    metadata: metadata.clone(),
                }],
                ..JoinGroupRequest::default()
            };
            let answer = self.connection.call(&request, PATIENCE).await?;
            if answer.error_code != ErrorCode::MEMBER_ID_REQUIRED {
                self.id = answer.member_id.clone();
                return Ok(answer);
            }
            self.id = answer.member_id;
        }
    }

    /// The leader's part: each member gets as many as the next one.
    fn assign(&self, joined: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
        let count = i32::try_from(joined.members.len()).expect("there are few members");
        let of = |(index, member): (i32, &WireStr)| {
            let partitions = (index..self.group.partitions)
                .step_by(usize::try_from(count).expect("there is one at least"))
                .map(|partition| TopicPartition::new(self.group.topic.clone(), partition))
                .collect();
            SyncGroupRequestAssignment {
                member_id: member.clone(),
                assignment: encode_assignment(&partitions),
            }
        };
        (0..).zip(joined.members.iter().map(|member| &member.member_id)).map(of).collect()
    }

    /// Whether the generation goes on.
    async fn beat(&self, generation: i32) -> Outcome<bool> {
        let request = HeartbeatRequest {
            group_id: GROUP,
            generation_id: generation,
            member_id: self.id.clone(),
            ..HeartbeatRequest::default()
        };
        match self.connection.call(&request, PATIENCE).await?.error_code {
            ErrorCode::NONE => Ok(true),
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION => Ok(false),
            code => Err(format!("heartbeat: {code}").into()),
        }
    }

    async fn leave(&self) -> Outcome<()> {
        let member = MemberIdentity { member_id: self.id.clone(), ..MemberIdentity::default() };
        let request = LeaveGroupRequest {
            group_id: GROUP,
            members: vec![member],
            ..LeaveGroupRequest::default()
        };
        match self.connection.call(&request, PATIENCE).await?.error_code {
            ErrorCode::NONE => Ok(()),
            code => Err(format!("leave: {code}").into()),
        }
    }
}
