//! DescribeLogDirs: the data directory, which is the one log directory.

use std::collections::BTreeSet;

use rivven_core::ids::PartitionId;
use rivven_core::metadata::image::Topic;

use crate::node::Node;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};

pub(crate) async fn handle(
    node: &Node,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let image = node.storage.image();
    let topics = match &request.topics {
        None => {
            let all = image.topics();
            all.map(|topic| describe(node, topic, 0..topic.partitions)).collect()
        }
        Some(asked) => asked
            .iter()
            .filter_map(|row| {
                let topic = image.topic(&row.topic)?;
                let indexes = row.partitions.iter().filter_map(|index| u32::try_from(*index).ok());
                let known: BTreeSet<u32> = indexes.filter(|n| *n < topic.partitions).collect();
                (!known.is_empty()).then(|| describe(node, topic, known))
            })
            .collect(),
    };
    let mut result = DescribeLogDirsResult { topics, ..DescribeLogDirsResult::default() };
    let data_dir = &node.config.data_dir;
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.clone());
    result.log_dir = absolute.display().to_string().into();
    match node.env.disk.space(data_dir).await {
        Ok(space) => {
            let bytes = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            result.total_bytes = bytes(space.total_bytes);
            result.usable_bytes = bytes(space.available_bytes);
        }
        Err(error) => {
            tracing::warn!(path = %data_dir.display(), %error, "asking for the room of the disk");
            result.error_code = ErrorCode::KAFKA_STORAGE_ERROR;
        }
    }
    DescribeLogDirsResponse { results: vec![result], ..DescribeLogDirsResponse::default() }
}

fn describe(
    node: &Node,
    topic: &Topic,
    indexes: impl IntoIterator<Item = u32>,
) -> DescribeLogDirsTopic {
    let partitions = indexes.into_iter().filter_map(|index| {
        // It may be made or deleted at this moment.
        let partition = node.storage.partition(PartitionId { topic: topic.id, index })?;
        Some(DescribeLogDirsPartition {
            partition_index: i32::try_from(index).expect("topics have few partitions"),
            partition_size: i64::try_from(partition.bytes()).unwrap_or(i64::MAX),
            // How far its log lies behind its high watermark: the only copy never does.
            offset_lag: 0,
            is_future_key: false,
        })
    });
    DescribeLogDirsTopic { name: (&*topic.name).into(), partitions: partitions.collect() }
}
