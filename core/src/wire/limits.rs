//! Bounds of the native protocol, each with unit and reason.

/// Largest frame in bytes, without its length, in both directions; clients refuse larger ones.
pub const FRAME_BYTES_MAX: usize = 10 << 20;
/// Longest name of a topic, a group, a member or a setting in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest password, token or SASL message in bytes.
pub const SECRET_BYTES_MAX: usize = 64 << 10;
/// Most elements of one list in a request.
pub const LIST_MAX: usize = 10_000;
/// Memory in bytes that decoding one request may take beside its frame, however large it is.
pub const REQUEST_MEMORY_MAX: usize = 32 << 20;
/// As [`REQUEST_MEMORY_MAX`] for responses, whose lists are long: ten bytes may be a record.
pub const RESPONSE_MEMORY_MAX: usize = 256 << 20;
/// Memory that any frame may take, so that small frames of tiny elements are never refused.
pub const MEMORY_MIN: usize = 1 << 20;

const _: () = assert!(REQUEST_MEMORY_MAX <= RESPONSE_MEMORY_MAX);
const _: () = assert!(MEMORY_MIN <= REQUEST_MEMORY_MAX);
const _: () = assert!(NAME_BYTES_MAX < SECRET_BYTES_MAX);
const _: () = assert!(LIST_MAX < FRAME_BYTES_MAX);
const _: () = assert!(SECRET_BYTES_MAX < FRAME_BYTES_MAX);
