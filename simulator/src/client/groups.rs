//! The requests of a member of a consumer group.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rivven_core::ids::TopicId;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::message::Request;
use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::heartbeat::HeartbeatRequest;
use rivven_core::kafka::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use rivven_core::kafka::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use rivven_core::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use rivven_core::kafka::messages::offset_fetch::{
    OffsetFetchGroup, OffsetFetchRequest, OffsetFetchResponse, OffsetFetchTopicResponse,
};
use rivven_core::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::reads::no_row;
use super::refusal::is_definite;
use super::{Client, Trouble};
use crate::history::event::{Call, CommittedOffset, GroupAsk, GroupCall, GroupReply, Reply};

const PROTOCOL: WireStr = WireStr::from_static("range");
const CONSUMER: WireStr = WireStr::from_static("consumer");

/// Who a member is, as it knows itself.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    pub group: String,
    /// Empty before the first join.
    pub member: String,
    /// Of a static member.
    pub instance: Option<String>,
    /// -1 before the first join.
    pub generation: i32,
}

/// How long a member may be silent, and how long it may take to join again.
#[derive(Clone, Copy, Debug)]
pub struct MemberTimes {
    pub session_ms: i32,
    pub rebalance_ms: i32,
}

/// The answer to a join.
pub struct JoinAnswer {
    pub generation: i32,
    pub member: String,
    pub leads: bool,
    pub members: Vec<String>,
}

impl Membership {
    fn call(&self, what: GroupAsk) -> Call {
        Call::Group(GroupCall {
            group: self.group.clone(),
            member: self.member.clone(),
            generation: self.generation,
            what,
        })
    }

    fn instance(&self) -> Option<WireStr> {
        self.instance.as_deref().map(WireStr::from)
    }
}

impl Client {
    /// Joins, and waits until the group has formed a generation.
    ///
    /// # Errors
    /// See [`Trouble`]. With MEMBER_ID_REQUIRED `me` has the id to join again with.
    pub async fn join_group(
        &mut self,
        me: &mut Membership,
        (times, topics): (MemberTimes, &[String]),
    ) -> Result<JoinAnswer, Trouble> {
        let protocol = JoinGroupRequestProtocol { name: PROTOCOL, metadata: subscription(topics) };
        let request = JoinGroupRequest {
            group_id: me.group.as_str().into(),
            session_timeout_ms: times.session_ms,
            rebalance_timeout_ms: times.rebalance_ms,
            member_id: me.member.as_str().into(),
            group_instance_id: me.instance(),
            protocol_type: CONSUMER,
            protocols: vec![protocol],
            reason: None,
        };
        let call = me.call(GroupAsk::Join);
        let read = |answer: JoinGroupResponse| {
            if answer.error_code == ErrorCode::MEMBER_ID_REQUIRED {
                me.member = answer.member_id.as_str().to_owned();
            }
            refusal(answer.error_code)?;
            let leads = answer.leader == answer.member_id && !answer.skip_assignment;
            let members = answer.members.iter().map(|member| member.member_id.to_string());
            Ok(Reply::Group(GroupReply::Joined {
                generation: answer.generation_id,
                member: answer.member_id.to_string(),
                leads,
                members: members.collect(),
            }))
        };
        match self.ask(call, &request, read).await? {
            Reply::Group(GroupReply::Joined { generation, member, leads, members }) => {
                Ok(JoinAnswer { generation, member, leads, members })
            }
            other => unreachable!("the reader answers joins, not {other:?}"),
        }
    }

    /// Asks for the assignment of this generation; a leader brings everybody's.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn sync_group(
        &mut self,
        me: &Membership,
        assignments: &BTreeMap<String, Vec<(String, i32)>>,
    ) -> Result<Vec<(String, i32)>, Trouble> {
        let assignments = assignments.iter().map(|(member, partitions)| {
            let assignment = assignment(partitions);
            SyncGroupRequestAssignment { member_id: member.as_str().into(), assignment }
        });
        let request = SyncGroupRequest {
            group_id: me.group.as_str().into(),
            generation_id: me.generation,
            member_id: me.member.as_str().into(),
            group_instance_id: me.instance(),
            protocol_type: Some(CONSUMER),
            protocol_name: Some(PROTOCOL),
            assignments: assignments.collect(),
        };
        let read = |answer: <SyncGroupRequest as Request>::Response| {
            refusal(answer.error_code)?;
            let partitions = read_assignment(&answer.assignment).ok_or_else(|| {
                let text = "an assignment that nobody made".to_owned();
                Trouble::Refused { code: ErrorCode::NONE, text, definite: true }
            })?;
            Ok(Reply::Group(GroupReply::Assigned(partitions)))
        };
        match self.ask(me.call(GroupAsk::Sync), &request, read).await? {
            Reply::Group(GroupReply::Assigned(partitions)) => Ok(partitions),
            other => unreachable!("the reader answers assignments, not {other:?}"),
        }
    }

    /// A sign of life.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn heartbeat(&mut self, me: &Membership) -> Result<(), Trouble> {
        let request = HeartbeatRequest {
            group_id: me.group.as_str().into(),
            generation_id: me.generation,
            member_id: me.member.as_str().into(),
            group_instance_id: me.instance(),
        };
        let read = |answer: <HeartbeatRequest as Request>::Response| {
            refusal(answer.error_code)?;
            Ok(Reply::Group(GroupReply::Alive))
        };
        self.ask(me.call(GroupAsk::Heartbeat), &request, read).await.map(drop)
    }

    /// Goes.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn leave_group(&mut self, me: &Membership) -> Result<(), Trouble> {
        let member = MemberIdentity {
            member_id: me.member.as_str().into(),
            group_instance_id: me.instance(),
            reason: None,
        };
        let request = LeaveGroupRequest {
            group_id: me.group.as_str().into(),
            member_id: me.member.as_str().into(),
            members: vec![member],
        };
        let read = |answer: <LeaveGroupRequest as Request>::Response| {
            refusal(answer.error_code)?;
            let row = answer.members.first().ok_or_else(|| no_row("LeaveGroup"))?;
            refusal(row.error_code)?;
            Ok(Reply::Group(GroupReply::Left))
        };
        self.ask(me.call(GroupAsk::Leave), &request, read).await.map(drop)
    }

    /// Commits offsets.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn commit(
        &mut self,
        me: &Membership,
        offsets: Vec<CommittedOffset>,
    ) -> Result<(), Trouble> {
        let topics = offsets.iter().map(|of| OffsetCommitRequestTopic {
            name: of.topic.as_str().into(),
            topic_id: of.id,
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: of.partition,
                committed_offset: of.offset,
                ..OffsetCommitRequestPartition::default()
            }],
        });
        let request = OffsetCommitRequest {
            group_id: me.group.as_str().into(),
            generation_id_or_member_epoch: me.generation,
            member_id: me.member.as_str().into(),
            group_instance_id: me.instance(),
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        };
        let rows = offsets.len();
        let read = |answer: OffsetCommitResponse| {
            let answered = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let codes: Vec<ErrorCode> = answered.map(|row| row.error_code).collect();
            if codes.len() != rows {
                return Err(no_row("OffsetCommit"));
            }
            let Some(code) = codes.iter().copied().find(|code| code.is_error()) else {
                return Ok(Reply::Group(GroupReply::Committed));
            };
            // Of several topics one may be gone; the offsets of the others are committed.
            let definite = codes.iter().all(|code| code.is_error() && is_definite(*code));
            let text = "some of the offsets".to_owned();
            Err(Trouble::Refused { code, text, definite })
        };
        self.ask(me.call(GroupAsk::Commit(offsets)), &request, read).await.map(drop)
    }

    /// Everything that a group has committed, for topics with these names.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn committed(
        &mut self,
        me: &Membership,
        names: &BTreeMap<TopicId, String>,
    ) -> Result<Vec<CommittedOffset>, Trouble> {
        let group = OffsetFetchGroup {
            group_id: me.group.as_str().into(),
            topics: None,
            ..OffsetFetchGroup::default()
        };
        let request = OffsetFetchRequest {
            group_id: me.group.as_str().into(),
            topics: None,
            groups: vec![group],
            require_stable: false,
        };
        let read = |answer: OffsetFetchResponse| {
            refusal(answer.error_code)?;
            let mut topics = answer.topics;
            for group in answer.groups {
                refusal(group.error_code)?;
                topics.extend(group.topics);
            }
            let offsets = topics.iter().flat_map(|topic| rows_of(topic, names)).collect();
            Ok(Reply::Group(GroupReply::Offsets(offsets)))
        };
        match self.ask(me.call(GroupAsk::FetchOffsets), &request, read).await? {
            Reply::Group(GroupReply::Offsets(offsets)) => Ok(offsets),
            other => unreachable!("the reader answers offsets, not {other:?}"),
        }
    }
}

fn rows_of<'a>(
    topic: &'a OffsetFetchTopicResponse,
    names: &'a BTreeMap<TopicId, String>,
) -> impl Iterator<Item = CommittedOffset> + 'a {
    let name = match topic.name.is_empty() {
        true => names.get(&topic.topic_id).cloned().unwrap_or_default(),
        false => topic.name.to_string(),
    };
    // Earlier versions say a name only.
    let named = names.iter().find(|(_, known)| **known == name).map(|(id, _)| *id);
    let id = if topic.topic_id == TopicId::NIL { named } else { Some(topic.topic_id) };
    topic.partitions.iter().map(move |row| CommittedOffset {
        topic: name.clone(),
        id: id.unwrap_or(TopicId::NIL),
        partition: row.partition_index,
        offset: row.committed_offset,
    })
}

fn refusal(code: ErrorCode) -> Result<(), Trouble> {
    match code.is_error() {
        true => Err(Trouble::of_write(code, None)),
        false => Ok(()),
    }
}

/// ConsumerProtocolSubscription version 0.
fn subscription(topics: &[String]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(i32::try_from(topics.len()).expect("a plan has few topics"));
    topics.iter().for_each(|topic| put_text(&mut out, topic));
    out.put_i32(-1);
    out.freeze()
}

/// An assignment of ours: a topic's name and a partition, one after the other.
fn assignment(partitions: &[(String, i32)]) -> Bytes {
    let mut out = BytesMut::new();
    for (topic, partition) in partitions {
        put_text(&mut out, topic);
        out.put_i32(*partition);
    }
    out.freeze()
}

fn read_assignment(mut bytes: &[u8]) -> Option<Vec<(String, i32)>> {
    let mut partitions = Vec::new();
    while !bytes.is_empty() {
        let len = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        let (topic, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        partitions.push((String::from_utf8(topic.to_vec()).ok()?, bytes.try_get_i32().ok()?));
    }
    Some(partitions)
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).expect("a plan's names are short"));
    out.put_slice(text.as_bytes());
}
