//! Every bound of the core, each with unit and reason; related bounds are checked here.

/// Longest topic name in bytes, as Kafka's: name, dash and partition must fit a file name.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Most partitions of one topic; a create request beyond it is refused before anything is stored.
pub const TOPIC_PARTITIONS_MAX: u32 = 100_000;
/// Most partitions of all topics together, which bounds the metadata that every node holds.
pub const CLUSTER_PARTITIONS_MAX: u64 = 1_000_000;
/// Longest value in bytes of one topic configuration; the longest useful one is some 30.
pub const CONFIG_VALUE_BYTES_MAX: usize = 1024;
/// Longest metadata command in bytes: a name and a value for each configuration key, amply.
pub const METADATA_COMMAND_BYTES_MAX: usize = 1 << 20;
/// Producer ids that one metadata command sets aside, as Kafka's: an id costs no disk write, and
/// a restart wastes less than this.
pub const PRODUCER_ID_BLOCK: i64 = 1000;
/// Largest record batch in bytes that any `max.message.bytes` may allow, so that one batch always
/// fits a WAL commit and a bounded buffer.
pub const BATCH_BYTES_MAX: usize = 64 << 20;
/// Batches whose sequence numbers are remembered per producer and partition (KIP-98: a client
/// keeps at most five in flight).
pub const PRODUCER_BATCHES_MAX: usize = 5;
/// Producers remembered per partition; beyond it the one that was silent longest is forgotten.
pub const PARTITION_PRODUCERS_MAX: usize = 100_000;
/// At that bound one producer in so many is forgotten at once, so that the search for the oldest
/// is paid once for thousands of new producers.
pub const PARTITION_PRODUCERS_FORGOTTEN: usize = 16;
/// Most bytes that one compressed batch may unpack to when a search looks inside it: a gigabyte
/// of zeros packs into less than one `BATCH_BYTES_MAX`, so the bound is on what comes out.
pub const BATCH_DECOMPRESSED_BYTES_MAX: usize = 256 << 20;
/// As [`BATCH_DECOMPRESSED_BYTES_MAX`] where only the age of a group's next record is wanted: one
/// scrape of the metrics asks for many.
pub const FIRST_RECORD_UNPACKED_BYTES_MAX: usize = 16 << 20;
/// Most records that a compressed batch may announce: what fits into the bytes that are ever
/// unpacked, at the least 7 bytes a record. Their number is believed, and each takes an offset.
pub const COMPRESSED_BATCH_RECORDS_MAX: usize = BATCH_DECOMPRESSED_BYTES_MAX / 7;
/// Most bytes that a compressed batch for a compacted topic may unpack to. The thread that reads
/// the request unpacks it before it is taken, and the cleaner holds it up to three times: as it
/// was, as it becomes, and as that reads when it is unpacked again. Half of what a batch may have,
/// so that what is left of it is a batch whatever the codec makes of it.
pub const COMPACTED_BATCH_UNPACKED_BYTES_MAX: usize = BATCH_BYTES_MAX / 2;
/// Largest window in bytes of a zstd frame that is unpacked: what the reference decoder takes by
/// default, and what level 22 writes.
pub const ZSTD_WINDOW_BYTES_MAX: u64 = 128 << 20;
/// Records named one by one in the refusal of a batch; the rest is only counted, so that a batch
/// of tiny bad records does not become an answer many times its size.
pub const PRODUCE_RECORD_ERRORS_MAX: usize = 1000;

/// Member ids of one group that were handed out and not used yet; clients come back with theirs at
/// once.
pub const GROUP_PENDING_IDS_MAX: usize = 1000;

/// Protocols (assignors) that a member names; consumers name two or three. Each is looked for in
/// every other member.
pub const GROUP_PROTOCOLS_MAX: usize = 64;
/// Groups in one partition of `__consumer_offsets`; a client that makes up names must not fill the
/// memory.
pub const SHARD_GROUPS_MAX: usize = 100_000;
/// Bytes that one member of a group may bring: a subscription to 10,000 topics with what it owns
/// of them takes a megabyte.
pub const GROUP_MEMBER_BYTES_MAX: usize = BATCH_BYTES_MAX / 16;

const _: () = assert!(PRODUCER_BATCHES_MAX >= 5);
const _: () = assert!(TOPIC_PARTITIONS_MAX as u64 <= CLUSTER_PARTITIONS_MAX);
const _: () = assert!(FIRST_RECORD_UNPACKED_BYTES_MAX <= BATCH_DECOMPRESSED_BYTES_MAX);
const _: () = assert!(BATCH_DECOMPRESSED_BYTES_MAX >= BATCH_BYTES_MAX);
const _: () = assert!(COMPACTED_BATCH_UNPACKED_BYTES_MAX <= BATCH_DECOMPRESSED_BYTES_MAX);
const _: () = assert!(COMPACTED_BATCH_UNPACKED_BYTES_MAX < BATCH_BYTES_MAX);
