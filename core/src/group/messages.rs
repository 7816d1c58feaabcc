//! What goes into a group and what comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

/// Finds the answer to a request that waits; unique among the waiting ones of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Finds what was to be stored; unique in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreId(pub u64);

/// What operators decide about all groups.
#[derive(Clone, Copy, Debug)]
pub struct GroupRules {
    /// Members of one group (`group.max.size`).
    pub members_max: usize,
    /// How long the first generation of an empty group waits for more members
    /// (`group.initial.rebalance.delay.ms`).
    pub initial_delay: Duration,
}

/// Who asks, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Empty: it has none yet.
    pub member_id: String,
    /// A static member's (KIP-345).
    pub instance_id: Option<String>,
}

/// A JoinGroup request.
#[derive(Clone, Debug)]
pub struct Join {
    pub caller: Caller,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout: Duration,
    /// How long it takes to join again.
    pub rebalance_timeout: Duration,
    pub protocol_type: String,
    /// Name and metadata, the preferred one first.
    pub protocols: Vec<(String, Bytes)>,
    /// A new member comes back with the id that it is given (KIP-394, version 4).
    pub needs_known_id: bool,
    /// A static leader understands that it need not assign (version 9).
    pub can_skip_assignment: bool,
    /// The id that it gets if it has none: fresh and random.
    pub fresh_member_id: String,
}

/// One member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    /// Metadata of the protocol that was chosen.
    pub metadata: Bytes,
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    pub member_id: String,
    /// The leader has nothing to assign.
    pub skip_assignment: bool,
    /// Everybody, for the leader; nobody, for the others.
    pub members: Vec<JoinedMember>,
}

/// A SyncGroup request.
#[derive(Clone, Debug)]
pub struct Sync {
    pub caller: Caller,
    pub generation: i32,
    /// What the client took part in, from version 5 on.
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// By member; empty but for the leader.
    pub assignments: BTreeMap<String, Bytes>,
}

/// The answer to a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: String,
    pub protocol: String,
    pub assignment: Bytes,
}

/// Why a request of a member is refused; each is one Kafka error code, named after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// UNKNOWN_MEMBER_ID (25): join anew, without an id.
    #[error("no member of the group has this id")]
    UnknownMember,
    /// ILLEGAL_GENERATION (22): join again.
    #[error("the group is in generation {0}")]
    IllegalGeneration(i32),
    /// INCONSISTENT_GROUP_PROTOCOL (23).
    #[error("the members of the group have no such protocol in common")]
    InconsistentProtocol,
    /// REBALANCE_IN_PROGRESS (27): join again.
    #[error("the group forms a new generation")]
    RebalanceInProgress,
    /// FENCED_INSTANCE_ID (82): another process took the static member's place.
    #[error("another member has taken this group.instance.id")]
    FencedInstance,
    /// MEMBER_ID_REQUIRED (79): join again with this id.
    #[error("join again as {0}")]
    MemberIdRequired(String),
    /// GROUP_MAX_SIZE_REACHED (81).
    #[error("the group has {0} members, as many as it may have")]
    Full(usize),
    /// INVALID_GROUP_ID (24).
    #[error("a group needs a name")]
    InvalidGroupId,
    /// INVALID_SESSION_TIMEOUT (26).
    #[error("a session timeout of {asked:?} is not within {min:?} and {max:?}")]
    InvalidSessionTimeout { asked: Duration, min: Duration, max: Duration },
    /// GROUP_ID_NOT_FOUND (69).
    #[error("no group has this name")]
    UnknownGroup,
    /// NON_EMPTY_GROUP (68).
    #[error("the group has members")]
    NonEmptyGroup,
    /// GROUP_MAX_SIZE_REACHED (81).
    #[error("groups take {used} bytes; beyond {max} there is no room, see --memory-bytes")]
    NoRoom { used: usize, max: usize },
    /// INVALID_COMMIT_OFFSET_SIZE (28): as [`GroupError::NoRoom`], for offsets.
    #[error("groups take {used} bytes; beyond {max} no offset fits, see --memory-bytes")]
    NoRoomForOffsets { used: usize, max: usize },
    /// INVALID_REQUEST (42).
    #[error("a member brings {bytes} bytes; {max} are allowed")]
    MemberTooLarge { bytes: usize, max: usize },
    /// COORDINATOR_NOT_AVAILABLE (15): memory is bounded.
    #[error("there are {0} groups, as many as may be")]
    TooManyGroups(usize),
    /// COORDINATOR_NOT_AVAILABLE (15): what the answer depends on could not be stored; try again.
    #[error("the group could not be stored")]
    NotStored,
}

/// A member as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    /// Metadata of the group's protocol.
    pub metadata: Bytes,
    pub assignment: Bytes,
}

/// A group as it is stored: what a restart goes on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredGroup {
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    pub members: Vec<StoredMember>,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Join(Ticket, Result<Joined, GroupError>),
    Sync(Ticket, Result<Synced, GroupError>),
    /// Append this to the group's log, and report with `Group::stored`.
    Store(StoreId, StoredGroup),
}
