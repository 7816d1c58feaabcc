//! What a client of the library asks about its group, and what it is told, for the history.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rivven_client::Error;
use rivven_client::assignor::protocol;
use rivven_client::watch::{Watch, Watched};
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use rivven_core::kafka::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use rivven_core::kafka::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use rivven_core::kafka::messages::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use rivven_core::kafka::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
use rivven_core::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::client::Trouble;
use crate::history::History;
use crate::history::event::{
    Call, CommittedOffset, Event, EventKind, Failure, GroupAsk, GroupCall, GroupReply, Reply,
};

/// The operations of one request. A commit is one for each partition: some may be taken.
struct Asked {
    ops: Vec<u64>,
    /// What a fetch of offsets asked for.
    offsets: Vec<CommittedOffset>,
}

struct Recorder {
    history: Arc<History>,
    client: u32,
    /// By the number of the request; one that was dropped stays, and has no end.
    asked: Mutex<BTreeMap<u64, Asked>>,
}

/// Records the group's requests of a client under its number.
pub(super) fn watch(history: Arc<History>, client: u32) -> Watch {
    let recorder = Recorder { history, client, asked: Mutex::default() };
    Arc::new(move |number, watched| recorder.take(number, watched))
}

impl Recorder {
    fn take(&self, number: u64, watched: Watched<'_>) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match watched {
            Watched::Asked(request) => {
                let calls = calls(request);
                if calls.is_empty() {
                    return;
                }
                let offsets = match &calls[0].what {
                    GroupAsk::FetchOffsetsOf(offsets) => offsets.clone(),
                    _ => Vec::new(),
                };
                let ops = calls.into_iter().map(|call| {
                    let op = self.history.next_op();
                    self.record(op, EventKind::Invoke(Call::Group(call)));
                    op
                });
                let ops = ops.collect();
                asked.insert(number, Asked { ops, offsets });
            }
            Watched::Answered(answer) => {
                let Some(asked) = asked.remove(&number) else { return };
                let ends = ends(answer, &asked);
                for (op, end) in asked.ops.iter().zip(ends) {
                    self.record(*op, end);
                }
            }
            Watched::Failed(error) => {
                let Some(asked) = asked.remove(&number) else { return };
                asked.ops.iter().for_each(|op| self.record(*op, unknown(error)));
            }
        }
    }

    fn record(&self, op: u64, kind: EventKind) {
        let (at_ns, client) = (self.history.now_ns(), self.client);
        self.history.record(Event { at_ns, client, op, kind });
    }
}

fn unknown(error: &Error) -> EventKind {
    EventKind::Info(Failure { code: None, why: error.to_string() })
}

/// What a request asks about a group; nothing if it is about something else.
fn calls(request: &dyn Any) -> Vec<GroupCall> {
    let call = |(group, member, generation): (&str, &str, i32), what: GroupAsk| GroupCall {
        group: group.to_owned(),
        member: member.to_owned(),
        generation,
        what,
    };
    if let Some(join) = request.downcast_ref::<JoinGroupRequest>() {
        return vec![call((&join.group_id, &join.member_id, -1), GroupAsk::Join)];
    }
    if let Some(sync) = request.downcast_ref::<SyncGroupRequest>() {
        return vec![call((&sync.group_id, &sync.member_id, sync.generation_id), GroupAsk::Sync)];
    }
    if let Some(beat) = request.downcast_ref::<HeartbeatRequest>() {
        let me = (&*beat.group_id, &*beat.member_id, beat.generation_id);
        return vec![call(me, GroupAsk::Heartbeat)];
    }
    if let Some(leave) = request.downcast_ref::<LeaveGroupRequest>() {
        return vec![call((&leave.group_id, &leave.member_id, -1), GroupAsk::Leave)];
    }
    if let Some(commit) = request.downcast_ref::<OffsetCommitRequest>() {
        let me = (&*commit.group_id, &*commit.member_id, commit.generation_id_or_member_epoch);
        let rows = commit.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|row| CommittedOffset {
                topic: topic.name.to_string(),
                id: topic.topic_id,
                partition: row.partition_index,
                offset: row.committed_offset,
            })
        });
        return rows.map(|row| call(me, GroupAsk::Commit(vec![row]))).collect();
    }
    if let Some(fetch) = request.downcast_ref::<OffsetFetchRequest>() {
        let topics = fetch.topics.as_deref().unwrap_or_default();
        let rows = topics.iter().flat_map(|topic| {
            topic.partition_indexes.iter().map(|partition| CommittedOffset {
                topic: topic.name.to_string(),
                id: topic.topic_id,
                partition: *partition,
                offset: -1,
            })
        });
        return vec![call((&fetch.group_id, "", -1), GroupAsk::FetchOffsetsOf(rows.collect()))];
    }
    Vec::new()
}

/// What an answer says of each of the request's operations.
fn ends(answer: &dyn Any, asked: &Asked) -> Vec<EventKind> {
    if let Some(joined) = answer.downcast_ref::<JoinGroupResponse>() {
        let members = joined.members.iter().map(|member| member.member_id.to_string()).collect();
        let reply = GroupReply::Joined {
            generation: joined.generation_id,
            member: joined.member_id.to_string(),
            leads: joined.leader == joined.member_id,
            members,
        };
        return vec![end(joined.error_code, || reply)];
    }
    if let Some(synced) = answer.downcast_ref::<SyncGroupResponse>() {
        let partitions = || protocol::decode_assignment(synced.assignment.clone());
        let names = || partitions().unwrap_or_default().into_iter();
        let names = || names().map(|of| (of.topic.to_string(), of.partition)).collect();
        return vec![end(synced.error_code, || GroupReply::Assigned(names()))];
    }
    if let Some(beat) = answer.downcast_ref::<HeartbeatResponse>() {
        return vec![end(beat.error_code, || GroupReply::Alive)];
    }
    if let Some(left) = answer.downcast_ref::<LeaveGroupResponse>() {
        return vec![end(left.error_code, || GroupReply::Left)];
    }
    if let Some(committed) = answer.downcast_ref::<OffsetCommitResponse>() {
        let rows = committed.topics.iter().flat_map(|topic| &topic.partitions);
        return rows.map(|row| end(row.error_code, || GroupReply::Committed)).collect();
    }
    if let Some(fetched) = answer.downcast_ref::<OffsetFetchResponse>() {
        let (code, offsets) = fetched_offsets(fetched, asked);
        return vec![end(code, || GroupReply::Offsets(offsets))];
    }
    Vec::new()
}

/// The first error of all, and the offsets of those partitions that were asked for.
fn fetched_offsets(
    fetched: &OffsetFetchResponse,
    asked: &Asked,
) -> (ErrorCode, Vec<CommittedOffset>) {
    let group = fetched.groups.first();
    let (topics, code) = match group {
        Some(group) => (&group.topics, group.error_code),
        None => (&fetched.topics, fetched.error_code),
    };
    let rows = topics.iter().flat_map(|topic| topic.partitions.iter().map(move |row| (topic, row)));
    let codes = [code].into_iter().chain(rows.clone().map(|(_, row)| row.error_code));
    let code = codes.into_iter().find(|code| code.is_error()).unwrap_or(ErrorCode::NONE);
    let offset_of = |of: &CommittedOffset| {
        let is_it = |topic: &&str| topic.is_empty() || *topic == of.topic;
        let mut rows = rows.clone().filter(|(topic, row)| {
            let is_topic = topic.topic_id == of.id || topic.name == of.topic.as_str();
            is_topic && is_it(&&*topic.name) && row.partition_index == of.partition
        });
        rows.next().map_or(-1, |(_, row)| row.committed_offset)
    };
    let offsets = asked.offsets.iter();
    let offsets = offsets.map(|of| CommittedOffset { offset: offset_of(of), ..of.clone() });
    (code, offsets.collect())
}

fn end(code: ErrorCode, reply: impl FnOnce() -> GroupReply) -> EventKind {
    match code.is_error() {
        true => Trouble::of_write(code, None).event(),
        false => EventKind::Ok(Reply::Group(reply())),
    }
}
