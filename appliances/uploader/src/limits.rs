//! What clients and origins can hold at most, each limit with its reason.

use std::time::Duration;

/// Uploads that are remembered, on their way or waiting or done.
pub(crate) const UPLOADS_MAX: usize = 8192;
/// Bytes of their records in all, which are in memory and in the index: two kilobytes for each.
pub(crate) const RECORD_BYTES_MAX: u64 = 16 << 20;
/// The part of the index that records may be, as a divisor: redb's file grows by doubling, its pages are half
/// empty at worst, and a commit writes those that it changes anew.
pub(crate) const RECORD_SHARE: u64 = 8;
/// Of a resource at an origin that speaks tus, as its `Location` says: it is in the record.
pub(crate) const RESOURCE_BYTES_MAX: usize = 2048;
/// Bodies that are taken at once: each holds up to three extents in memory. More are told to come again.
pub(crate) const BODIES_MAX: usize = 48;
/// What is written at once and has one checksum; a disk's throughput is near its best from there on.
pub(crate) const EXTENT_BYTES_MAX: usize = 256 << 10;
/// An extent that is shorter is written anew with what follows it, so that an upload in small pieces takes
/// few records of the index.
pub(crate) const EXTENT_BYTES_MIN: usize = 64 << 10;
/// Bytes of a body that are read at once, and written without being copied. Each connection may hold as many.
pub(crate) const READ_BYTES: usize = 256 << 10;
/// Writes of one body that wait for the disk.
pub(crate) const WRITES_WAITING_MAX: usize = 2;
/// Pieces of all uploads that were written and wait to be hashed; the thread that writes waits then.
pub(crate) const HASHES_WAITING_MAX: usize = 4;
/// What is written of all uploads before all of it is committed, whether anybody waits or not, so that a phone
/// that loses its network loses little. Tests come to it sooner.
pub(crate) const VOLATILE_BYTES_MAX: u64 = if cfg!(test) { 1 << 20 } else { 32 << 20 };
/// Bytes that are written before a flush begins by itself: a disk's queue is full with them.
pub(crate) const EAGER_BYTES: u64 = if cfg!(test) { 256 << 10 } else { 4 << 20 };
/// Commands that one flush serves.
pub(crate) const GROUP_MAX: usize = 256;
/// Commands that wait for the disk; who sends more waits himself.
pub(crate) const COMMANDS_WAITING_MAX: usize = 256;
/// `Upload-Metadata`: a URL, a cookie and a bearer's token, in base64. A head has 16 KiB.
pub(crate) const METADATA_BYTES_MAX: usize = 12 << 10;
/// Pairs in it.
pub(crate) const METADATA_PAIRS_MAX: usize = 32;
/// Parts of a concatenation; parallel clients use a handful.
pub(crate) const PARTS_MAX: usize = 64;
/// Between two pieces of a body. What came is kept, and the phone goes on from there.
pub(crate) const STALL_TIME_MAX: Duration = Duration::from_secs(60);
/// What a connection may put in memory for redb.
pub(crate) const INDEX_CACHE_BYTES: usize = 4 << 20;

/// A body's pieces between disk and network.
pub(crate) const PIECES_WAITING_MAX: usize = 2;
/// To reach an origin: two lost SYNs of a poor backhaul, and its TLS handshake.
pub(crate) const CONNECT_TIME_MAX: Duration = Duration::from_secs(20);
/// For an origin to take the next piece, or to answer when it has all: a backhaul that is out for longer is
/// tried again.
pub(crate) const ORIGIN_STALL_TIME_MAX: Duration = Duration::from_secs(120);
/// Bytes of a part for a store that speaks S3, at least: it wants 5 MiB, and a part that a poor backhaul loses
/// is sent again. A part ends with an extent.
pub(crate) const S3_PART_BYTES: u64 = 8 << 20;
/// Parts that such a store takes are 10,000; they are larger than they are planned by up to an extent.
pub(crate) const S3_PARTS_MAX: u64 = 9_000;
/// Bytes of its answers: a thousand parts have some 200 kB.
pub(crate) const S3_ANSWER_BYTES_MAX: usize = 1 << 20;
/// Bytes of an origin's answer that are read, so that its reason can be told.
pub(crate) const ANSWER_BYTES_MAX: usize = 4096;
/// Before the first retry.
pub(crate) const RETRY_TIME_MIN: Duration = Duration::from_secs(1);
/// Between later retries; `Retry-After` may ask for more.
pub(crate) const RETRY_TIME_MAX: Duration = Duration::from_secs(600);
/// The longest `Retry-After` that is obeyed.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// An upload that is the same as one that was delivered so recently is that one, sent again by a phone that
/// did not hear the answer. Later it is meant.
pub(crate) const SAME_TIME_MAX: Duration = Duration::from_secs(600);
/// How often is looked what expires.
pub(crate) const EXPIRY_TIME: Duration = Duration::from_secs(10);
/// Bytes that are sent at once: on a backhaul of 2 Mbit/s a quarter of a second.
pub(crate) const PIECE_BYTES_MAX: usize = 64 << 10;
/// Senders whose shares are remembered; then all begin anew.
pub(crate) const SENDERS_MAX: usize = 4096;
/// How often the schedule is looked at though nothing happened: prices change, and clocks are set.
pub(crate) const SCHEDULE_TIME_MAX: Duration = Duration::from_secs(30);

// What is read at once may be an extent.
const _: () = assert!(READ_BYTES >= EXTENT_BYTES_MIN && READ_BYTES <= EXTENT_BYTES_MAX);
// An absorbed extent and what follows it make one extent.
const _: () = assert!(EXTENT_BYTES_MIN < EXTENT_BYTES_MAX);
const _: () = assert!(EXTENT_BYTES_MAX.is_multiple_of(4096));
