//! Directories of brokers: sizes of partitions and the room of the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use rivven_core::kafka::messages::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResult,
};

use super::{Admin, Each, answered};
use crate::assignor::TopicPartition;
use crate::client::{Lane, Target};
use crate::error::{Error, accepted};

/// A directory that holds logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    pub path: String,
    /// Bytes of the file system; None if the broker does not say them.
    pub total_bytes: Option<i64>,
    pub usable_bytes: Option<i64>,
    /// Bytes of each partition.
    pub partitions: BTreeMap<TopicPartition, i64>,
}

impl Admin {
    /// The directories of every broker.
    ///
    /// # Errors
    /// Those of [`crate::Client::ask`]
    pub async fn describe_log_dirs(&self) -> Result<Each<i32, Vec<LogDir>>, Error> {
        let mut results = Each::new();
        for broker in self.brokers().await?.brokers.keys() {
            let what = || format!("describing the directories of broker {broker}");
            let to = (Target::Broker(*broker), Lane::Admin);
            let request = DescribeLogDirsRequest { topics: None };
            let dirs = self.client.ask(to, &request, |answer| {
                accepted(answer.error_code, None, what)?;
                let dirs = answer.results.into_iter().map(|row| {
                    let code = row.error_code;
                    answered(log_dir(row), code, |code| Error::refused(what(), code, None))
                });
                dirs.collect()
            });
            results.insert(*broker, dirs.await);
        }
        Ok(results)
    }
}

fn log_dir(row: DescribeLogDirsResult) -> LogDir {
    let partitions = row.topics.iter().flat_map(|topic| {
        let name: Arc<str> = Arc::from(&*topic.name);
        let of_topic = topic.partitions.iter().filter(|row| !row.is_future_key);
        let of = move |index| TopicPartition::new(name.clone(), index);
        of_topic.map(move |row| (of(row.partition_index), row.partition_size))
    });
    LogDir {
        partitions: partitions.collect(),
        path: row.log_dir.to_string(),
        total_bytes: Some(row.total_bytes).filter(|bytes| *bytes >= 0),
        usable_bytes: Some(row.usable_bytes).filter(|bytes| *bytes >= 0),
    }
}
