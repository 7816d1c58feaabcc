//! Every bound of the broker, each with unit and reason; related bounds are checked here.

use std::time::Duration;

/// Largest frame in bytes that `max-request-size` may allow.
pub(crate) const FRAME_BYTES_MAX: usize = 104_857_600;
/// Bytes that each connection holds without asking: a small request is always read, however
/// little memory is left.
pub(crate) const CONNECTION_FREE_BYTES: usize = 4096;
/// A read buffer begins with this many bytes; it grows as bytes arrive.
pub(crate) const READ_BYTES_MIN: usize = 4096;
/// A connection that sends frames of one size gets buffers of that size at once, up to here; one
/// batch of Kafka's default `max.message.bytes` with its headers fits.
pub(crate) const READ_AHEAD_BYTES_MAX: usize = (1 << 20) + (64 << 10);
/// Frames above this are large: together they may not use the last quarter of the memory.
pub(crate) const LARGE_FRAME_BYTES: usize = 4 << 20;
/// Bytes of answers that wait for a client to read them; beyond it no request is read.
pub(crate) const ANSWER_BYTES_WAITING_MAX: usize = 1 << 20;
/// Bytes of requests and answers that one connection may hold before it is not read any more;
/// a single frame may be larger.
pub(crate) const CONNECTION_BYTES_MAX: usize = 32 << 20;
/// Bytes that one read of the log gives a native client, whose records are unpacked; a larger batch
/// is read whole.
pub(crate) const NATIVE_READ_BYTES: usize = 1 << 20;
/// Bytes of records in one answer to a native client, so that it fits a frame of 10 MiB.
pub(crate) const NATIVE_ANSWER_BYTES_MAX: usize = (10 << 20) - (4 << 10);
/// Most bytes that one compressed batch may unpack to for a native client.
pub(crate) const NATIVE_UNPACKED_BYTES_MAX: usize = 64 << 20;
/// Groups that one native connection joins; a client has one.
pub(crate) const NATIVE_MEMBERSHIPS_MAX: usize = 64;
/// Longest wait of a native consumer; released clients give up after as long.
pub(crate) const NATIVE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest wait of a Fetch, whatever the client asks for.
pub(crate) const FETCH_WAIT_MAX: Duration = Duration::from_secs(300);
/// Fetch sessions together take at most one part in so many of the shared memory.
pub(crate) const FETCH_SESSION_SHARE: usize = 16;
/// Groups take at most one part in so many of the shared memory; what is there must not grow then.
pub(crate) const GROUPS_SHARE: usize = 4;
/// From one part in so many on, groups take in nothing new.
pub(crate) const GROUPS_NEW_SHARE: usize = 8;
/// How long a fetch session that was just used is safe from others, as Kafka's
/// `min.incremental.fetch.session.eviction.ms`.
pub(crate) const FETCH_SESSION_EVICTABLE_AFTER: Duration = Duration::from_secs(120);
/// How long a frame may take to arrive, beside the time that its size needs at
/// [`FRAME_BYTES_PER_SECOND_MIN`].
pub(crate) const FRAME_TIME: Duration = Duration::from_secs(60);
/// Slowest client that is not cut off in the middle of a large frame.
pub(crate) const FRAME_BYTES_PER_SECOND_MIN: usize = 64 << 10;
/// How long a client may leave an answer unread.
pub(crate) const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
/// How long a connection waits for memory before it is closed.
pub(crate) const MEMORY_WAIT_MAX: Duration = Duration::from_secs(20);
/// A connection that waits for memory looks this often for another that must give up its own.
pub(crate) const EVICTION_INTERVAL: Duration = Duration::from_millis(100);
/// A frame that is incomplete, or an answer that is unread, for this long may lose its memory to
/// others that need it.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(1);
/// How long a shutdown waits for answers to requests that were read.
pub(crate) const DRAIN_MAX: Duration = Duration::from_millis(500);
/// Pieces of one vectored write; the kernel takes at most 1024.
pub(crate) const WRITE_PIECES_MAX: usize = 64;
/// Connections to the HTTP port at once.
pub(crate) const HTTP_CONNECTIONS_MAX: usize = 16;
/// Bytes of the head of an HTTP request.
pub(crate) const HTTP_REQUEST_BYTES_MAX: usize = 8 << 10;
/// How long an HTTP client may take for its request, and for reading the answer.
pub(crate) const HTTP_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of `rivven.yaml`.
pub(crate) const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Bytes of `__consumer_offsets` that are read at once when a broker starts.
pub(crate) const GROUP_LOAD_BYTES: usize = 1 << 20;
/// Groups and offsets that are looked at under one lock of `__consumer_offsets` when the metrics
/// are asked for: commits wait meanwhile.
pub(crate) const LAG_STEPS_MAX: usize = 256;
/// Memory in bytes of one group's lag in one partition while the metrics are written.
pub(crate) const LAG_ROW_BYTES: usize = 1 << 10;
/// Bytes of batches that one look at the metrics reads, beside the last one, to know how old what
/// groups have yet to read is.
pub(crate) const LAG_READ_BYTES_MAX: usize = 64 << 20;
/// How long it reads at most.
pub(crate) const LAG_TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes of a client's name that go into the member id that it gets.
pub(crate) const MEMBER_ID_NAME_BYTES_MAX: usize = 249;

/// Rows of one answer that say in words why they were refused: a row of a request is a few bytes,
/// and must not be answered with many times as many.
pub(crate) const ROW_TEXTS_MAX: usize = 1000;

const _: () = assert!(CONNECTION_FREE_BYTES >= READ_BYTES_MIN);
const _: () = assert!(2 * LAG_TIME_MAX.as_millis() < HTTP_TIME_MAX.as_millis());
const _: () = assert!(READ_AHEAD_BYTES_MAX <= LARGE_FRAME_BYTES);
const _: () = assert!(LARGE_FRAME_BYTES <= CONNECTION_BYTES_MAX);
const _: () = assert!(CONNECTION_BYTES_MAX <= FRAME_BYTES_MAX);
