//! DescribeCluster: this broker, which is the cluster.

use super::Caller;
use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) fn handle(
    node: &Node,
    caller: Caller,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let refused = |error_code, text: &str| DescribeClusterResponse {
        error_code,
        error_message: Some(text.into()),
        endpoint_type: request.endpoint_type,
        ..DescribeClusterResponse::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let text = "The request was sent to an endpoint of type BROKER, but we wanted an \
                        endpoint of type CONTROLLER";
            return refused(ErrorCode::MISMATCHED_ENDPOINT_TYPE, text);
        }
        other => {
            let text = format!("Unsupported endpoint type {other}");
            return refused(ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, &text);
        }
    }
    let (host, port) = caller.advertised(node);
    let broker_id = node.config.node_id;
    DescribeClusterResponse {
        cluster_id: node.storage.cluster_id().into(),
        controller_id: broker_id,
        brokers: vec![DescribeClusterBroker {
            broker_id,
            host,
            port,
            ..DescribeClusterBroker::default()
        }],
        ..DescribeClusterResponse::default()
    }
}
