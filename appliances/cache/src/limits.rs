//! What requests and origins can hold at most, each limit with its reason.

use std::time::Duration;

/// Responses under one address that `Vary` or ranges tell apart; the oldest gives way. More would be
/// an explosion that fills the cache with one address.
pub const VARIANTS_MAX: usize = 16;
/// Bytes of an address as a key: what browsers send is shorter.
pub const TARGET_BYTES_MAX: usize = 8192;
/// Bytes that an entry takes beside its body, for the tier's count.
pub const ENTRY_BYTES: u64 = 1024;
/// For a connection to an origin, over a poor backhaul.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// From the end of a request to the head of its answer, and between two pieces of the request's content: the
/// usual patience of proxies.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(60);
/// Between two pieces of an origin's body.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(60);
/// Requests at once on a client's connection: what HTTP/2 may have of streams.
pub const REQUESTS_PER_CONNECTION: usize = edgecloud_appliance::limits::STREAMS_MAX as usize;
/// Idle connections that are kept to an origin.
pub const IDLE_CONNECTIONS_MAX: usize = 32;
/// How long they are kept: shorter than what servers keep usually, so that few requests meet a
/// connection that is being closed.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(4);
/// Kinds of addresses in which the memory tier is divided to guess its number of entries.
pub const TYPICAL_OBJECT_BYTES: u64 = 16 * 1024;
/// Responses that wait to be written to the disk: each holds its body, of 16 MiB at most.
pub const DISK_KEEPS_MAX: usize = 64;
/// Records of one address that are looked at for a request: each is read from the disk for that.
pub const DISK_CANDIDATES_MAX: usize = 4;
/// How often the index of the disk is brought up to date: as much is forgotten when the power fails.
pub const DISK_FLUSH_TIME: Duration = Duration::from_secs(1);
/// Memory that a record of the disk takes in the index.
pub const INDEX_RECORD_BYTES: u64 = 128;
/// Bytes of a list of what to purge or to prefetch: thousands of addresses.
pub const ORDERS_BYTES_MAX: usize = 256 * 1024;
/// Purges in one order: each is looked for in all that is held.
pub const PURGES_MAX: usize = 256;
/// Addresses on the operator's page: what fits on a screen.
pub const BUSIEST_SHOWN: usize = 20;
/// Bytes that are fetched ahead of the foremost reader of what is too large to be kept.
pub const OUTGROWN_AHEAD: u64 = 1 << 20;
/// Bytes of a slice of what is too large to be stored in one piece: some seconds of a film, so that little is
/// fetched that nobody watches, and many times the request that it costs.
pub const SLICE_BYTES: u64 = 1 << 20;
/// Bytes of a body that is kept as one piece: more than this is written in some pieces anyway.
pub const JOINED_BYTES_MAX: u64 = 256 << 10;
/// Addresses that were made invalid last, which each part remembers: a load during which there were more is in
/// vain.
pub const INVALIDATED_MAX: usize = 1024;
/// How often a slice is asked for that broke off.
pub const SLICE_TRIES: u32 = 3;
/// Bytes of what is stored in slices: a film is smaller.
pub const SLICED_BYTES_MAX: u64 = 1 << 40;
/// Bytes of the tag by which slices are known, which is part of their keys.
pub const SLICED_TAG_BYTES_MAX: usize = 128;
/// What a connection to an origin reads at once: the largest head, and a piece of a body.
pub const ORIGIN_BUFFER_BYTES: usize = 64 * 1024;
/// The same as [`OUTGROWN_AHEAD`] while clients that are slow hold too much.
pub const CROWDED_AHEAD: u64 = 64 * 1024;
