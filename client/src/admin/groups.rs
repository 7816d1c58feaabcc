//! Groups: list, describe with members and what they were assigned, delete.

use std::collections::BTreeSet;

use rivven_core::kafka::codec::text::WireStr;
use rivven_core::kafka::messages::delete_groups::DeleteGroupsRequest;
use rivven_core::kafka::messages::describe_groups::{
    DescribeGroupsRequest, DescribedGroup, DescribedGroupMember,
};
use rivven_core::kafka::messages::list_groups::ListGroupsRequest;

use super::{Admin, Each, answered, group_error};
use crate::assignor::TopicPartition;
use crate::assignor::protocol::{CONSUMER, decode_assignment};
use crate::client::{Lane, Target};
use crate::error::{Error, accepted};

/// A group as its coordinator lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedGroup {
    pub group: String,
    /// Of consumers "consumer"; empty for a group that only stores offsets.
    pub protocol_type: String,
    /// Empty if the broker does not say it.
    pub state: String,
    pub coordinator: i32,
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    pub state: String,
    pub protocol_type: String,
    /// Name of the assignor that all members speak; empty between generations.
    pub protocol: String,
    pub coordinator: i32,
    pub members: Vec<MemberDescription>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    pub member: String,
    /// Of a static member.
    pub instance: Option<String>,
    pub client_id: String,
    pub host: String,
    /// Empty for members that are no consumers.
    pub assignment: BTreeSet<TopicPartition>,
}

impl Admin {
    /// The groups of every broker, sorted by name.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>, Error> {
        let mut groups = Vec::new();
        for broker in self.brokers().await?.brokers.keys() {
            let request = ListGroupsRequest::default();
            let to = (Target::Broker(*broker), Lane::Admin);
            let listed = self.client.ask(to, &request, |answer| {
                accepted(answer.error_code, None, || format!("listing groups of broker {broker}"))?;
                Ok(answer.groups)
            });
            groups.extend(listed.await?.into_iter().map(|row| ListedGroup {
                group: row.group_id.to_string(),
                protocol_type: row.protocol_type.to_string(),
                state: row.group_state.to_string(),
                coordinator: *broker,
            }));
        }
        groups.sort();
        Ok(groups)
    }

    /// States and members of groups. A group that is not there is in state "Dead" or, with newer
    /// brokers, refused as GROUP_ID_NOT_FOUND.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]
    pub async fn describe_groups(
        &self,
        groups: &[&str],
    ) -> Result<Each<String, GroupDescription>, Error> {
        let keys = groups.iter().map(|group| (*group).to_owned());
        self.each("describing groups", keys, |open| async move {
            self.at_coordinators(&open, |target, groups| async move {
                let groups = wire_names(&groups);
                let request = DescribeGroupsRequest { groups, ..Default::default() };
                let answer = self.client.call(target, Lane::Admin, &request).await?;
                let results = answer.groups.into_iter().map(|row| {
                    let text = row.error_message.as_deref();
                    let error = |code| group_error(&row.group_id, code, text);
                    let result = answered(description(&row, target), row.error_code, error);
                    (row.group_id.to_string(), result)
                });
                Ok(results.collect())
            })
            .await
        })
        .await
    }

    /// Deletes groups without members, and what they have committed.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]. GROUP_ID_NOT_FOUND may mean that an earlier try, whose
    /// answer was lost, has deleted the group.
    pub async fn delete_groups(&self, groups: &[&str]) -> Result<Each<String, ()>, Error> {
        let keys = groups.iter().map(|group| (*group).to_owned());
        self.change("deleting groups", keys, |open| async move {
            self.at_coordinators(&open, |target, groups| async move {
                let request = DeleteGroupsRequest { groups_names: wire_names(&groups) };
                let answer = self.client.call(target, Lane::Admin, &request).await?;
                let results = answer.results.into_iter().map(|row| {
                    let error = |code| group_error(&row.group_id, code, None);
                    (row.group_id.to_string(), answered((), row.error_code, error))
                });
                Ok(results.collect())
            })
            .await
        })
        .await
    }
}

fn wire_names(names: &[String]) -> Vec<WireStr> {
    names.iter().map(|name| name.as_str().into()).collect()
}

fn description(row: &DescribedGroup, target: Target) -> GroupDescription {
    let coordinator = match target {
        Target::Broker(id) => id,
        Target::Any | Target::Controller => -1,
    };
    let is_consumer = row.protocol_type == CONSUMER;
    let member = |member: &DescribedGroupMember| MemberDescription {
        member: member.member_id.to_string(),
        instance: member.group_instance_id.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        host: member.client_host.trim_start_matches('/').to_owned(),
        assignment: match is_consumer {
            true => decode_assignment(member.member_assignment.clone()).unwrap_or_default(),
            false => BTreeSet::new(),
        },
    };
    GroupDescription {
        state: row.group_state.to_string(),
        protocol_type: row.protocol_type.to_string(),
        protocol: row.protocol_data.to_string(),
        coordinator,
        members: row.members.iter().map(member).collect(),
    }
}
