//! Several buffers, written as if they were one.

use crate::Errno;
use alloc::vec::Vec;

/// Parts of so many bytes together are joined before they are written: head and body of a small answer then
/// go in one packet, and a datagram is one. To copy so much costs less than a packet.
pub const JOINED_MAX: usize = 64 << 10;

/// The parts in one piece, if there are several and all of them are small enough.
pub fn joined<'p>(parts: impl Iterator<Item = &'p [u8]> + Clone) -> Option<Vec<u8>> {
    let several = parts
        .clone()
        .filter(|part| !part.is_empty())
        .nth(1)
        .is_some();
    let length = parts
        .clone()
        .fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    (several && length <= JOINED_MAX).then(|| {
        let mut whole = Vec::with_capacity(length);
        parts.for_each(|part| whole.extend_from_slice(part));
        whole
    })
}

/// Writes `parts` one after the other (`writev`) and returns how many bytes went.
///
/// A part that goes only in part is the last: room may come while this runs, and bytes of the next
/// part would then follow a gap.
///
/// # Errors
/// What `write` answers to the first part. Later errors are found by the next call.
pub fn write<'p>(
    parts: impl IntoIterator<Item = &'p [u8]>,
    mut write: impl FnMut(&'p [u8]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut total = 0;
    for part in parts {
        match write(part) {
            Ok(count) => {
                total += count;
                if count < part.len() {
                    break;
                }
            }
            Err(_) if total > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes what there is room for, each time anew.
    fn check(rooms: &[Result<usize, Errno>], expected: Result<&[u8], Errno>) {
        let mut rooms = rooms.iter();
        let mut taken = Vec::new();
        let parts: [&[u8]; 3] = [b"abc", b"", b"defg"];
        let count = write(parts, |part| {
            let room = rooms.next().copied().unwrap_or(Err(Errno::EAGAIN))?;
            let count = room.min(part.len());
            taken.extend_from_slice(&part[..count]);
            Ok(count)
        });
        assert_eq!(count, expected.map(<[u8]>::len));
        assert_eq!(taken, expected.unwrap_or_default());
    }

    #[test]
    fn several_small_parts_are_joined() {
        let parts: [&[u8]; 4] = [b"", b"head", b"", b"body"];
        assert_eq!(joined(parts.into_iter()).as_deref(), Some(&b"headbody"[..]));
        assert_eq!(joined(parts[..3].iter().copied()), None);
        let large = alloc::vec![0; JOINED_MAX];
        assert_eq!(joined([&large[..], b"x"].into_iter()), None);
        assert!(joined([&large[1..], b"x"].into_iter()).is_some());
    }

    #[test]
    fn a_part_that_goes_in_part_is_the_last() {
        check(&[Ok(9), Ok(9), Ok(9)], Ok(b"abcdefg"));
        check(&[Ok(2), Ok(9), Ok(9)], Ok(b"ab"));
        check(&[Ok(9), Ok(9), Ok(1)], Ok(b"abcd"));
        check(&[Ok(9), Err(Errno::EPIPE)], Ok(b"abc"));
        check(&[Err(Errno::EPIPE)], Err(Errno::EPIPE));
    }
}
