//! The cluster: its id, controller and brokers.

use rivven_core::kafka::messages::describe_cluster::DescribeClusterRequest;

use super::Admin;
use crate::client::{Lane, Target};
use crate::error::{Error, accepted};

/// A cluster as one of its brokers describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    pub cluster_id: String,
    pub controller: Option<i32>,
    /// Sorted by id.
    pub brokers: Vec<BrokerDescription>,
}

/// A broker and where it tells clients to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerDescription {
    pub id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

impl Admin {
    /// # Errors
    /// Those of [`crate::Client::ask`]
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, Error> {
        let request = DescribeClusterRequest::default();
        self.client
            .ask((Target::Any, Lane::Admin), &request, |answer| {
                let text = answer.error_message.as_deref();
                accepted(answer.error_code, text, || "describing the cluster".to_owned())?;
                let brokers = answer.brokers.iter().map(|row| BrokerDescription {
                    id: row.broker_id,
                    host: row.host.to_string(),
                    port: row.port,
                    rack: row.rack.as_ref().map(ToString::to_string),
                });
                let mut brokers: Vec<BrokerDescription> = brokers.collect();
                brokers.sort_by_key(|broker| broker.id);
                Ok(ClusterDescription {
                    cluster_id: answer.cluster_id.to_string(),
                    controller: Some(answer.controller_id).filter(|id| *id >= 0),
                    brokers,
                })
            })
            .await
    }
}
