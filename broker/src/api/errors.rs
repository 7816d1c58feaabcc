//! Kafka's error codes for what the core refuses.

use rivven_core::group::messages::GroupError;
use rivven_core::metadata::plan::{PlanRefusal, PlanRefusalKind};
use rivven_core::producer::ProducerError;
use rivven_core::record::refusal::ProduceRefusalKind;
use rivven_core::storage::error::{AppendError, ReadError};

use crate::groups::GroupRefusal;
use crate::limits::ROW_TEXTS_MAX;
use rivven_core::kafka::codec::error_code::ErrorCode;
use rivven_core::kafka::codec::text::WireStr;

pub(crate) fn plan_error(refusal: PlanRefusal) -> (ErrorCode, Option<WireStr>) {
    let code = match refusal.kind {
        PlanRefusalKind::InvalidTopic => ErrorCode::INVALID_TOPIC_EXCEPTION,
        PlanRefusalKind::TopicAlreadyExists => ErrorCode::TOPIC_ALREADY_EXISTS,
        PlanRefusalKind::InvalidPartitions => ErrorCode::INVALID_PARTITIONS,
        PlanRefusalKind::InvalidReplicationFactor => ErrorCode::INVALID_REPLICATION_FACTOR,
        PlanRefusalKind::InvalidReplicaAssignment => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
        PlanRefusalKind::InvalidConfig => ErrorCode::INVALID_CONFIG,
        PlanRefusalKind::InvalidRequest => ErrorCode::INVALID_REQUEST,
        PlanRefusalKind::NoReassignmentInProgress => ErrorCode::NO_REASSIGNMENT_IN_PROGRESS,
        PlanRefusalKind::UnknownTopic => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        PlanRefusalKind::UnknownTopicId => ErrorCode::UNKNOWN_TOPIC_ID,
    };
    (code, refusal.message.map(WireStr::from))
}

/// The texts of the rows of one answer; beyond [`ROW_TEXTS_MAX`] rows have a code alone.
#[derive(Default)]
pub(crate) struct RowTexts {
    given: usize,
}

impl RowTexts {
    /// The text of the next row, which is only made if it is given.
    pub(crate) fn next(&mut self, text: impl FnOnce() -> Option<WireStr>) -> Option<WireStr> {
        let text = if self.given < ROW_TEXTS_MAX { text() } else { None };
        self.given += usize::from(text.is_some());
        text
    }
}

pub(crate) fn produce_error(kind: ProduceRefusalKind) -> ErrorCode {
    match kind {
        ProduceRefusalKind::InvalidRecord => ErrorCode::INVALID_RECORD,
        ProduceRefusalKind::CorruptMessage => ErrorCode::CORRUPT_MESSAGE,
        ProduceRefusalKind::MessageTooLarge => ErrorCode::MESSAGE_TOO_LARGE,
        ProduceRefusalKind::UnsupportedCompressionType => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
        ProduceRefusalKind::InvalidTimestamp => ErrorCode::INVALID_TIMESTAMP,
    }
}

/// The code that a client of a group acts on.
pub(crate) fn group_error(refusal: &GroupRefusal) -> ErrorCode {
    match refusal {
        GroupRefusal::Loading => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        GroupRefusal::Unavailable => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        GroupRefusal::Group(error) => member_error(error),
    }
}

pub(crate) fn member_error(error: &GroupError) -> ErrorCode {
    match error {
        GroupError::UnknownMember => ErrorCode::UNKNOWN_MEMBER_ID,
        GroupError::IllegalGeneration(_) => ErrorCode::ILLEGAL_GENERATION,
        GroupError::InconsistentProtocol => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        GroupError::RebalanceInProgress => ErrorCode::REBALANCE_IN_PROGRESS,
        GroupError::FencedInstance => ErrorCode::FENCED_INSTANCE_ID,
        GroupError::MemberIdRequired(_) => ErrorCode::MEMBER_ID_REQUIRED,
        GroupError::Full(_) | GroupError::NoRoom { .. } => ErrorCode::GROUP_MAX_SIZE_REACHED,
        GroupError::NoRoomForOffsets { .. } => ErrorCode::INVALID_COMMIT_OFFSET_SIZE,
        GroupError::MemberTooLarge { .. } => ErrorCode::INVALID_REQUEST,
        GroupError::InvalidGroupId => ErrorCode::INVALID_GROUP_ID,
        GroupError::InvalidSessionTimeout { .. } => ErrorCode::INVALID_SESSION_TIMEOUT,
        GroupError::UnknownGroup => ErrorCode::GROUP_ID_NOT_FOUND,
        GroupError::NonEmptyGroup => ErrorCode::NON_EMPTY_GROUP,
        GroupError::TooManyGroups(_) | GroupError::NotStored => {
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        }
    }
}

/// KAFKA_STORAGE_ERROR makes clients try again, which a full disk may answer better later.
pub(crate) fn append_error(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Gone(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        AppendError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        AppendError::Producer(ProducerError::InvalidEpoch { .. }) => {
            ErrorCode::INVALID_PRODUCER_EPOCH
        }
        AppendError::Producer(ProducerError::OutOfOrder { .. }) => {
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        }
        AppendError::NoRoom { .. } | AppendError::Quarantined(_) | AppendError::Failed(_) => {
            ErrorCode::KAFKA_STORAGE_ERROR
        }
    }
}

pub(crate) fn read_error(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        ReadError::Corrupt { .. } => ErrorCode::CORRUPT_MESSAGE,
        ReadError::Io { .. } => ErrorCode::KAFKA_STORAGE_ERROR,
        ReadError::Gone(_) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    }
}
