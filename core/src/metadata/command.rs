//! The changes that lead from one metadata image to the next, and their bytes in the WAL and in
//! Raft: one version byte (1), then postcard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::broker_config::BrokerScope;
use crate::ids::{ProducerId, TimestampMs, TopicId};
use crate::limits::METADATA_COMMAND_BYTES_MAX;

/// One change of the metadata. The order of variants and fields is the stored format: add
/// variants at the end, and a field only with a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataCommand {
    /// A topic begins to exist, with partitions 0 to `partitions` - 1.
    CreateTopic {
        name: String,
        id: TopicId,
        partitions: u32,
        /// Overrides of the topic's configuration.
        configs: BTreeMap<String, String>,
        created_ms: TimestampMs,
    },
    /// A topic ceases to exist; its name is free for another.
    DeleteTopic { id: TopicId },
    /// A topic has more partitions from now on.
    CreatePartitions { id: TopicId, new_count: u32 },
    /// Overrides are set and taken away; a key in both is set.
    SetTopicConfigs { id: TopicId, set: BTreeMap<String, String>, delete: Vec<String> },
    /// Producer ids below `end` are taken. It is durable before any of them is handed out, so
    /// that no restart hands one out twice.
    AllocateProducerIds { end: ProducerId },
    /// Configurations of brokers are set and taken away; a key in both is set.
    SetBrokerConfigs { scope: BrokerScope, set: BTreeMap<String, String>, delete: Vec<String> },
}

/// Why bytes are no metadata of this version: a command, or a snapshot of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("no metadata in no bytes")]
    Empty,
    #[error("metadata format version {version} is not known")]
    Version { version: u8 },
    #[error("{bytes} bytes are more than the {max} of a metadata command")]
    TooLong { bytes: usize, max: usize },
    #[error("malformed metadata: {reason}")]
    Malformed { reason: String },
    #[error("{bytes} bytes follow the metadata")]
    Trailing { bytes: usize },
}

const COMMAND_VERSION: u8 = 1;

impl MetadataCommand {
    /// The command as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bytes = encode(COMMAND_VERSION, self);
        assert!(bytes.len() <= METADATA_COMMAND_BYTES_MAX, "a command of {} bytes", bytes.len());
        bytes
    }

    /// Reads a command back; `bytes` hold exactly one.
    ///
    /// # Errors
    /// [`DecodeError`] when they hold anything else.
    pub fn decode(bytes: &[u8]) -> Result<MetadataCommand, DecodeError> {
        let max = METADATA_COMMAND_BYTES_MAX;
        if bytes.len() > max {
            return Err(DecodeError::TooLong { bytes: bytes.len(), max });
        }
        match split_version(bytes)? {
            (COMMAND_VERSION, rest) => decode(rest),
            (version, _) => Err(DecodeError::Version { version }),
        }
    }
}

pub(super) fn encode(version: u8, value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, vec![version]).expect("metadata types always serialise to a Vec")
}

/// The version that stands first, and what follows it.
pub(super) fn split_version(bytes: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let (version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    Ok((*version, rest))
}

/// What serde allocates ahead is bounded by serde itself, the rest by the length of `bytes`.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(bytes)
        .map_err(|error| DecodeError::Malformed { reason: error.to_string() })?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::Trailing { bytes: rest.len() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> TopicId {
        TopicId([byte; 16])
    }

    fn commands() -> Vec<(MetadataCommand, Vec<u8>)> {
        let configs = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        vec![
            (
                MetadataCommand::CreateTopic {
                    name: "t".to_owned(),
                    id: id(7),
                    partitions: 300,
                    configs: configs.clone(),
                    created_ms: TimestampMs(5),
                },
                [&[1, 0, 1, b't'][..], &[7; 16], &[0xac, 2, 1, 1, b'a', 1, b'1', 10]].concat(),
            ),
            (MetadataCommand::DeleteTopic { id: id(7) }, [&[1, 1][..], &[7; 16]].concat()),
            (
                MetadataCommand::CreatePartitions { id: id(7), new_count: 5 },
                [&[1, 2][..], &[7; 16], &[5]].concat(),
            ),
            (
                MetadataCommand::SetTopicConfigs {
                    id: id(7),
                    set: configs.clone(),
                    delete: vec!["b".to_owned()],
                },
                [&[1, 3][..], &[7; 16], &[1, 1, b'a', 1, b'1', 1, 1, b'b']].concat(),
            ),
            (MetadataCommand::AllocateProducerIds { end: ProducerId(1000) }, vec![1, 4, 0xd0, 15]),
            (
                MetadataCommand::SetBrokerConfigs {
                    scope: BrokerScope::One(5),
                    set: configs,
                    delete: vec!["b".to_owned()],
                },
                vec![1, 5, 1, 10, 1, 1, b'a', 1, b'1', 1, 1, b'b'],
            ),
            (
                MetadataCommand::SetBrokerConfigs {
                    scope: BrokerScope::Every,
                    set: BTreeMap::new(),
                    delete: Vec::new(),
                },
                vec![1, 5, 0, 0, 0],
            ),
        ]
    }

    #[test]
    fn commands_have_their_drawn_bytes_and_every_truncation_is_refused() {
        for (command, bytes) in commands() {
            assert_eq!(command.encode(), bytes, "{command:?}");
            assert_eq!(MetadataCommand::decode(&bytes), Ok(command));
            for end in 0..bytes.len() {
                assert!(MetadataCommand::decode(&bytes[..end]).is_err());
            }
            let longer = [&bytes[..], &[0]].concat();
            let trailing = Err(DecodeError::Trailing { bytes: 1 });
            assert_eq!(MetadataCommand::decode(&longer), trailing);
        }
    }

    #[test]
    fn strange_bytes_are_refused() {
        let huge = vec![1; METADATA_COMMAND_BYTES_MAX + 1];
        assert!(matches!(MetadataCommand::decode(&huge), Err(DecodeError::TooLong { .. })));
        assert_eq!(MetadataCommand::decode(&[]), Err(DecodeError::Empty));
        assert_eq!(MetadataCommand::decode(&[2, 4, 0]), Err(DecodeError::Version { version: 2 }));
        let unknown = MetadataCommand::decode(&[1, 99]);
        assert!(matches!(unknown, Err(DecodeError::Malformed { .. })));
        let long_name = [1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(MetadataCommand::decode(&long_name).is_err());
    }
}
