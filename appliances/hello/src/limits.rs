//! What clients can hold at most, each limit with its reason.

use std::time::Duration;

/// Connections at once. One with TLS and a request's head takes some 40 kB, and all of them must fit
/// into the smallest domain; more wait in the listener's backlog.
pub(crate) const CONNECTIONS_MAX: usize = 128;
/// Bytes in the head of a request; hyper wants at least 8192, and nothing here needs more.
pub(crate) const HEAD_BYTES_MAX: usize = 8192;
/// Fields in the head of a request: browsers send some twenty.
pub(crate) const HEAD_FIELDS_MAX: usize = 64;
/// Bytes in the body of a request. Nothing here wants one; reading a small one keeps its connection.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024;
/// Requests at once on a connection of HTTP/2.
pub(crate) const STREAMS_MAX: u32 = 16;
/// What a client of HTTP/2 may send ahead, on a stream and on a connection.
pub(crate) const WINDOW_BYTES: u32 = 64 * 1024;

/// From the first byte of a connection with TLS to its keys: several round trips of a bad mobile link.
pub(crate) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// For the head of a request, once it has begun.
pub(crate) const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// For the body of a request.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// A connection without a request for this long is ended (after twice that at the latest).
pub(crate) const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// From the request to end until the last connection is cut. The controller gives a domain longer.
pub(crate) const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// After an error of the listener (descriptors or memory are used up), until the next try.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

// hyper panics on less.
const _: () = assert!(HEAD_BYTES_MAX >= 8192);
// A connection that is told to end and waits for its request's body must have had time for it.
const _: () = assert!(BODY_TIME_MAX.as_secs() <= IDLE_TIME_MAX.as_secs());
