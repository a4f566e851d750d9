//! What clients can hold at most, each limit with its reason.

use std::time::Duration;

/// Sessions at once: a large station at noon, in less than 16 MB of memory.
pub const SESSIONS_MAX: usize = 20_000;
/// Passes that are remembered, with and without a session: vouchers of a season.
pub const PASSES_MAX: usize = 50_000;
/// Vouchers that are known at once.
pub const VOUCHERS_MAX: usize = 50_000;
/// Vouchers that one request makes: what a printer prints in one go.
pub const VOUCHERS_PER_REQUEST_MAX: u16 = 1000;
/// Tokens that are remembered until they expire, so that none is good twice. At the most that is
/// verified in a second they last for a second; then tokens are refused until some have expired, which
/// are forgotten at once when there is no room.
pub const REPLAYS_MAX: usize = 20_000;
/// Longest body of a form: a token and its field's name fit.
pub const FORM_BYTES_MAX: usize = 4096;
/// Longest name of a subscriber, as RADIUS allows.
pub const NAME_BYTES_MAX: usize = 253;
/// Longest password: RFC 2865, section 5.2.
pub const PASSWORD_BYTES_MAX: usize = 128;
/// Longest publisher's token: a handful of claims in base64.
pub const TOKEN_BYTES_MAX: usize = 2048;
/// Longest life of a publisher's token: it is made when it is needed, and remembered so long.
pub const TOKEN_LIFE_SECONDS_MAX: u64 = 3600;
/// How far a publisher's clock may be off.
pub const CLOCK_SKEW_SECONDS: u64 = 60;

/// Failed logins that a client may have at once, and how often another is allowed. Who mistypes is
/// not locked out; who guesses a voucher of fifty bits needs some million years.
pub const ATTEMPTS_AT_ONCE: u32 = 10;
/// Seconds until a client may fail once more.
pub const ATTEMPT_SECONDS: u64 = 6;
/// Clients and accounts whose failures are remembered.
pub const ATTEMPTS_REMEMBERED_MAX: usize = 20_000;
/// Passwords that wait for their turn: each is worked on for some ten milliseconds, and takes
/// 19 MiB for as long.
pub const PASSWORDS_WAITING_MAX: usize = 64;

/// How often sessions are looked at: a quota ends within this and the controller's answer.
pub const LOOK_TIME: Duration = Duration::from_millis(500);
/// How often what sessions carried is asked and written down.
pub const COUNT_TIME: Duration = Duration::from_secs(2);
/// How often what is over is forgotten.
pub const FORGET_TIME: Duration = Duration::from_secs(60);
/// What is forgotten of a kind in one transaction: nobody logs in while it is written.
pub const FORGOTTEN_AT_ONCE: usize = 2000;
/// How long a voucher is told as used up, or as too old, before it is as if it had never been: a day, as
/// long as somebody comes to ask. When there is no room, it goes at once.
pub const VOUCHER_TOLD_SECONDS: u64 = 24 * 3600;
/// How often a login may find that others began on its pass while it made room, before it is refused:
/// each time one of them was let in, so this many want one pass at the same moment.
pub const PLACE_TRIES: usize = 16;
/// Seconds for which the host lets a client through after its pass is over, if the portal does not end
/// it. The portal does, within [`LOOK_TIME`] and as long as a count or the ends of a crowd before it take,
/// and hears all that was carried then; what the host ends by itself, it forgets before anybody asks.
pub const ADMISSION_GRACE_SECONDS: u64 = 10;
const _: () = assert!(ADMISSION_GRACE_SECONDS >= 2 * COUNT_TIME.as_secs() + LOOK_TIME.as_secs());
/// Until what was refused by a controller, or did not reach it, is tried again.
pub const RETRY_TIME: Duration = Duration::from_secs(2);

/// Connections that are carried on to free services at once. Each takes two sockets, and memory only for
/// what waits in them ([`CARRIED_BUFFER_BYTES`]).
pub const CARRIED_MAX: usize = 256;
/// Those of one client: a browser opens six to a name, and a page has a handful of names.
pub const CARRIED_PER_CLIENT_MAX: usize = 16;
const _: () = assert!(CARRIED_PER_CLIENT_MAX * 4 <= CARRIED_MAX);
/// Bytes that may wait in each of the two sockets, each way: of all that a client has, a quarter of what a
/// domain of 64 MB has for all sockets. A link of 20 ms carries three megabytes a second so.
pub const CARRIED_BUFFER_BYTES: u32 = 64 * 1024;
const _: () = assert!(4 * CARRIED_BUFFER_BYTES as usize * CARRIED_PER_CLIENT_MAX <= 4 << 20);
/// Bytes that are moved at once, each way.
pub const CARRIED_BYTES: usize = 16 * 1024;
/// Until a free service has to take a connection, at one address.
pub const SERVICE_CONNECT_TIME_MAX: Duration = Duration::from_secs(4);
/// Addresses of a service that are tried, one after the other.
pub const SERVICE_ADDRESSES_TRIED_MAX: usize = 3;
/// Between looks whether something moved on a connection that is carried; one of which a side has ended, and
/// where nothing did since the last look, is over: the other side may never have heard of it.
pub const CARRIED_LOOK_TIME: Duration = Duration::from_secs(30);
/// Looks until a connection on which neither side says anything is ended: chats and pushes are silent for
/// minutes.
pub const CARRIED_SILENT_LOOKS_MAX: u32 = 10;
/// Until who does not take what the other side sends is cut: what waits for it is memory that all share.
pub const CARRIED_STALL_TIME_MAX: Duration = Duration::from_secs(20);
/// How long what the host said of free services is good, when it says nothing more. It answers every two
/// seconds, whether there is news or not.
pub const FREE_KNOWN_TIME_MAX: Duration = Duration::from_secs(5);
/// Between questions for free services: the list may change faster than it is of use.
pub const FREE_PAUSE: Duration = Duration::from_millis(100);
/// After a question for free services without an answer; it doubles with each further one. Before the host
/// has believed who asks, it refuses, and that is over within moments.
pub const FREE_RETRY_TIME_MIN: Duration = Duration::from_millis(50);
/// How often it doubles while the host is away, who may be back at any moment.
pub const FREE_DOUBLINGS_AWAY_MAX: u32 = 3;
/// How often it doubles while the host refuses: a token that lacks the right lacks it for longer than half a
/// minute.
pub const FREE_DOUBLINGS_REFUSED_MAX: u32 = 9;
const _: () = assert!(
    2 * (FREE_RETRY_TIME_MIN.as_millis() << FREE_DOUBLINGS_AWAY_MAX)
        < FREE_KNOWN_TIME_MAX.as_millis()
);
/// Free services that have figures of their own; the others share one.
pub const SERVICES_COUNTED_MAX: usize = 128;
