//! What clients can hold at most, each limit with its reason.

use std::time::Duration;

/// Connections at once, unless `CONNECTIONS_MAX` says otherwise. One with TLS and a request's head
/// takes some 40 kB, and all of them must fit into the smallest domain; more wait in the
/// listener's backlog.
pub const CONNECTIONS_MAX: usize = 128;
/// Connections that wait to be accepted, as the listener asks for.
pub const BACKLOG: i32 = 1024;
/// Bytes in the head of a request; hyper wants at least 8192, and browsers send less.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Fields in the head of a request: browsers send some twenty.
pub const HEAD_FIELDS_MAX: usize = 64;
/// Bytes until a ClientHello has ended, where its name is looked for: one full record. Those of browsers
/// have two thousand.
pub const HELLO_BYTES_MAX: usize = 5 + 16 * 1024;
/// Requests at once on a connection of HTTP/2.
pub const STREAMS_MAX: u32 = 16;
/// What a client of HTTP/2 may send ahead, on a stream and on a connection.
pub const WINDOW_BYTES: u32 = 64 * 1024;

/// From the first byte of a connection with TLS to its keys: several round trips of a bad mobile link.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// For the head of a request, once it has begun.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// A connection without a request, and without progress in an answer, for this long is ended (after
/// twice that at the latest).
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// From the request to end until the last connection is cut, unless `DRAIN_SECONDS` says otherwise.
/// The controller gives a domain longer.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// The most that `DRAIN_SECONDS` may say: an hour is longer than anybody waits for a domain.
pub const DRAIN_SECONDS_MAX: u64 = 3600;
/// After an error of the listener (descriptors or memory are used up), until the next try.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections at once of those who watch: a health check, a scraper, an operator, and room for each
/// to come again. They are counted apart, so that no flood of clients hides the appliance from them.
pub const MANAGEMENT_CONNECTIONS_MAX: usize = 8;
/// Lines about refusals in a second: who is refused a thousand times a second must not fill dom0's
/// disk with what the counters tell as well.
pub const REFUSAL_LINES_PER_SECOND: u32 = 10;
/// Bytes of the TOML document. One that a person wrote has a few thousand.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// For a question to the metadata service, which is one hop away.
pub const CONTROLLER_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer of the metadata service: the counters of twenty thousand clients fit.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long the metadata service may keep the question for the state; it promises half a minute.
pub const CONTROLLER_POLL_TIME_MAX: Duration = Duration::from_secs(45);
/// Before the first retry at the metadata service.
pub const RETRY_TIME_MIN: Duration = Duration::from_millis(100);
/// Between later retries at most: a controller that is back is noticed soon, and one that is away
/// is not flooded.
pub const RETRY_TIME_MAX: Duration = Duration::from_secs(10);

const _: () = assert!(ANSWER_BYTES_MAX >= DOCUMENT_BYTES_MAX);
// hyper panics on less.
const _: () = assert!(HEAD_BYTES_MAX >= 8192);
