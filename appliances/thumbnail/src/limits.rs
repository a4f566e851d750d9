//! What clients can hold at most, each limit with its reason.

use std::time::Duration;

/// A body that is taken. Photographs of telephones have 2 to 15 MB, those of cameras up to 30; what is
/// larger goes to the origin, and what is in memory fits the smallest setting of it twice.
pub(crate) const BODY_BYTES_MAX: usize = 32 << 20;
/// How much of a form is looked at for its first picture: fields come before files, and are short.
pub(crate) const FORM_START_BYTES_MAX: usize = 64 << 10;
/// Pictures in one form; a gallery's selection.
pub(crate) const PICTURES_MAX: usize = 16;
/// The part of the memory that one client may hold, as a divisor: others always find room.
pub(crate) const CLIENT_SHARE: usize = 2;
/// Between two pieces of a body. A phone that loses its network for longer comes again.
pub(crate) const STALL_TIME_MAX: Duration = Duration::from_secs(60);
/// To reach the origin or the uploader: two lost SYNs.
pub(crate) const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// For the uploader to take the next piece or to answer; its disk may have to flush before.
pub(crate) const UPLOADER_TIME_MAX: Duration = Duration::from_secs(30);
/// For the origin to take the next piece of what is passed through, and to answer after the last: what it
/// would take without us, and more.
pub(crate) const ORIGIN_TIME_MAX: Duration = Duration::from_secs(120);
/// What is in memory of a body that passes goes in pieces of this, so that a slow backhaul is seen to take it.
pub(crate) const PASSED_BYTES_MAX: usize = 64 << 10;
/// What is hashed before others have their turn: some 2 ms where the processor is emulated.
pub(crate) const HASHED_BYTES_MAX: usize = 256 << 10;
/// How long a phone whose original is durable waits to hear that the origin does not want the thumbnail.
/// A round trip of a poor backhaul, and a thumbnail.
pub(crate) const VERDICT_TIME_MAX: Duration = Duration::from_secs(3);
/// For the origin to take one thumbnail; then it goes to the uploader.
pub(crate) const THUMBNAIL_TIME_MAX: Duration = Duration::from_secs(30);
/// What an origin may say of a thumbnail beside its status, if the next is to go on the same connection.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Pieces of a body between the phone and the uploader; each has up to 64 kB.
pub(crate) const PIECES_WAITING_MAX: usize = 8;
/// Uploads by tus that are remembered for their thumbnails.
pub(crate) const SESSIONS_MAX: usize = 256;
/// How long one that nothing is heard of is remembered; a phone that comes later has no thumbnail.
pub(crate) const SESSION_TIME_MAX: Duration = Duration::from_secs(900);
/// `Upload-Metadata` of a phone.
pub(crate) const METADATA_BYTES_MAX: usize = 4096;
/// Between two attempts to take an upload back from an uploader that does not answer: it leaves an original
/// alone for some seconds after it has come back.
pub(crate) const TAKE_BACK_TIME: Duration = Duration::from_secs(1);
/// How often that is tried; one that is away for longer is no domain that is started again.
pub(crate) const TAKE_BACK_TRIES: u32 = 600;
