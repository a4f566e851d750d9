//! Byte streams within the guest: pipes, and pairs of connected sockets (pipe(7), unix(7)).
//!
//! Both are made of [`End`]s. An end has the bytes that have come for it; its peer puts them there.

use super::{Events, FileType, Object, Status, Watchers};
use crate::Errno;
use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use core::any::Any;
use core::cell::{Cell, RefCell};

/// Bytes that wait in a direction at most (Linux: 64 KiB in a pipe).
pub const CAPACITY: usize = 64 * 1024;
/// A write of at most so many bytes to a pipe is not mixed with others (PIPE_BUF).
pub const ATOMIC: usize = 4096;

/// One end.
pub struct End {
    file_type: FileType,
    incoming: RefCell<VecDeque<u8>>,
    peer: RefCell<Weak<End>>,
    /// What the peer wrote before it ended writing is all there will be.
    incoming_ended: Cell<bool>,
    /// This end takes no more, and its peer is told so.
    reading_ended: Cell<bool>,
    watchers: Watchers,
}

/// Two connected sockets.
pub fn socket_pair() -> (Rc<End>, Rc<End>) {
    pair(FileType::Socket)
}

/// A pipe: the end that reads and the end that writes.
pub fn pipe() -> (Rc<End>, Rc<End>) {
    let (reader, writer) = pair(FileType::Fifo);
    writer.incoming_ended.set(true);
    (reader, writer)
}

fn pair(file_type: FileType) -> (Rc<End>, Rc<End>) {
    let end = || {
        Rc::new(End {
            file_type,
            incoming: RefCell::default(),
            peer: RefCell::default(),
            incoming_ended: Cell::new(false),
            reading_ended: Cell::new(false),
            watchers: Watchers::default(),
        })
    };
    let (one, other) = (end(), end());
    one.peer.replace(Rc::downgrade(&other));
    other.peer.replace(Rc::downgrade(&one));
    (one, other)
}

impl End {
    fn peer(&self) -> Option<Rc<End>> {
        self.peer.borrow().upgrade()
    }

    /// The peer that would take what is written now.
    fn taker(&self) -> Option<Rc<End>> {
        self.peer()
            .filter(|peer| !peer.incoming_ended.get() && !peer.reading_ended.get())
    }

    fn room(&self) -> usize {
        CAPACITY - self.incoming.borrow().len().min(CAPACITY)
    }

    /// Copies bytes that have come without taking them.
    pub fn peek(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        let incoming = self.incoming.borrow();
        if incoming.is_empty() {
            return if self.is_at_end() {
                Ok(0)
            } else {
                Err(Errno::EAGAIN)
            };
        }
        let count = bytes.len().min(incoming.len());
        for (place, &byte) in bytes.iter_mut().zip(incoming.iter()) {
            *place = byte;
        }
        Ok(count)
    }

    fn is_at_end(&self) -> bool {
        self.incoming_ended.get() || self.reading_ended.get() || self.peer().is_none()
    }
}

impl Object for End {
    fn read(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let count = self.peek(bytes)?;
        if count > 0 {
            self.incoming.borrow_mut().drain(..count);
            if let Some(peer) = self.peer() {
                peer.watchers.notify();
            }
        }
        Ok(count)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let taker = self.taker().ok_or(Errno::EPIPE)?;
        let room = taker.room();
        let whole = self.file_type == FileType::Fifo && bytes.len() <= ATOMIC;
        if bytes.is_empty() {
            return Ok(0);
        }
        if room == 0 || (whole && room < bytes.len()) {
            return Err(Errno::EAGAIN);
        }
        let count = room.min(bytes.len());
        taker.incoming.borrow_mut().extend(&bytes[..count]);
        taker.watchers.notify();
        Ok(count)
    }

    fn events(&self) -> Events {
        let peer = self.peer();
        let ended = self.is_at_end();
        let socket = self.file_type == FileType::Socket;
        let has_bytes = !self.incoming.borrow().is_empty();
        let taker = self.taker();
        // A pipe is writable when a whole atomic write fits; without a taker a write fails at once.
        let writable = taker.as_ref().is_none_or(|taker| taker.room() >= ATOMIC);
        let is_writer = socket || self.incoming_ended.get();
        let is_reader = socket || !self.incoming_ended.get() || has_bytes;
        Events::IN
            .when(is_reader && (has_bytes || (socket && ended)))
            .or(Events::OUT.when(is_writer && writable))
            .or(Events::RDHUP.when(socket && ended))
            .or(Events::HUP.when(peer.is_none() && is_reader))
            .or(Events::ERR.when(peer.is_none() && !socket && is_writer))
    }

    fn watchers(&self) -> Option<&Watchers> {
        Some(&self.watchers)
    }

    fn status(&self) -> Status {
        Status {
            file_type: self.file_type,
            permissions: 0o600,
            size: 0,
            inode: 0,
        }
    }

    fn available(&self) -> Result<usize, Errno> {
        Ok(self.incoming.borrow().len())
    }

    fn shutdown(&self, read: bool, write: bool) -> Result<(), Errno> {
        if self.file_type != FileType::Socket {
            return Err(Errno::ENOTSOCK);
        }
        let peer = self.peer();
        if read {
            self.reading_ended.set(true);
        }
        if write && let Some(peer) = &peer {
            peer.incoming_ended.set(true);
        }
        self.watchers.notify();
        if let Some(peer) = peer {
            peer.watchers.notify();
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // The peer sees the end now: an upgrade of its pointer to this end already fails.
        if let Some(peer) = self.peer() {
            peer.watchers.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(end: &End) -> Result<Vec<u8>, Errno> {
        let mut bytes = [0; 16];
        end.read(&mut bytes).map(|count| bytes[..count].to_vec())
    }

    #[test]
    fn sockets_carry_bytes_both_ways() {
        let (a, b) = socket_pair();
        assert_eq!(read(&b), Err(Errno::EAGAIN));
        assert_eq!(a.events(), Events::OUT);
        a.write(b"ping").unwrap();
        b.write(b"pong").unwrap();
        assert_eq!(a.events(), Events::IN.or(Events::OUT));
        assert_eq!(
            (read(&a), read(&b)),
            (Ok(b"pong".to_vec()), Ok(b"ping".to_vec()))
        );
    }

    #[test]
    fn half_close_lets_the_other_direction_live() {
        let (a, b) = socket_pair();
        a.write(b"last").unwrap();
        a.shutdown(false, true).unwrap();
        assert_eq!(a.write(b"x"), Err(Errno::EPIPE));
        assert_eq!((read(&b), read(&b)), (Ok(b"last".to_vec()), Ok(vec![])));
        assert_eq!(b.events(), Events::IN.or(Events::OUT).or(Events::RDHUP));
        b.write(b"still").unwrap();
        assert_eq!(read(&a), Ok(b"still".to_vec()));
    }

    #[test]
    fn what_was_written_outlives_the_writer() {
        let (a, b) = socket_pair();
        a.write(b"bye").unwrap();
        drop(a);
        assert_eq!(b.write(b"x"), Err(Errno::EPIPE));
        assert!(!b.events().and(Events::HUP).is_empty());
        assert_eq!((read(&b), read(&b)), (Ok(b"bye".to_vec()), Ok(vec![])));
    }

    #[test]
    fn a_full_direction_takes_a_part_and_then_nothing() {
        let (a, b) = socket_pair();
        assert_eq!(a.write(&vec![1; CAPACITY + 5]), Ok(CAPACITY));
        assert_eq!(a.write(b"x"), Err(Errno::EAGAIN));
        assert_eq!(a.events(), Events(0));
        b.read(&mut vec![0; ATOMIC]).unwrap();
        assert_eq!(a.events(), Events::OUT);
        assert_eq!(b.available(), Ok(CAPACITY - ATOMIC));
    }

    #[test]
    fn a_pipe_goes_one_way_and_keeps_small_writes_whole() {
        let (reader, writer) = pipe();
        assert_eq!(reader.write(b"x"), Err(Errno::EPIPE));
        assert_eq!((reader.events(), writer.events()), (Events(0), Events::OUT));
        writer.write(&vec![1; CAPACITY - 10]).unwrap();
        assert_eq!(writer.write(&[2; 11]), Err(Errno::EAGAIN));
        assert_eq!(writer.write(&[2; 10]), Ok(10));
        assert_eq!(reader.events(), Events::IN);
        drop(reader);
        assert_eq!(writer.write(b"x"), Err(Errno::EPIPE));
        assert_eq!(writer.events(), Events::OUT.or(Events::ERR));
    }

    #[test]
    fn the_reader_sees_the_end_of_a_pipe() {
        let (reader, writer) = pipe();
        drop(writer);
        assert_eq!(reader.events(), Events::HUP);
        assert_eq!(read(&reader), Ok(vec![]));
    }
}
