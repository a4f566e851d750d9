//! A disk in bytes: reads and writes of any place and length, on top of requests for whole blocks.
//!
//! Operations are futures that are polled again whenever the [`Disk`]'s watchers are told; what waits for them
//! is a thread, or a test. An operation keeps as many requests in flight as there is room for, and waits for
//! room only when it has none in flight, so operations never wait for each other in a circle.
//!
//! A write that begins or ends within a block reads the rest of it first. Writes that share a block take
//! turns, or one would undo the other.

use super::super::Watchers;
use crate::Errno;
use crate::xen::blkfront::wire::{Parameters, SECTOR};
use crate::xen::blkfront::{Blkfront, Broken, Counters, Failure, Ticket};
use crate::xen::{Hypervisor, Port};
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell, RefMut};
use core::future::poll_fn;
use core::ops::Range;
use core::task::Poll;

/// A connected disk.
pub struct Disk {
    name: String,
    front: RefCell<Blkfront>,
    parameters: Cell<Parameters>,
    hypervisor: &'static dyn Hypervisor,
    port: Cell<Port>,
    tell: fn(core::fmt::Arguments),
    watchers: Watchers,
    /// Somebody waits for something other than an answer: room, or a turn.
    waiting: Cell<bool>,
    /// Places being written, or waiting to be, in the order in which they came.
    writes: RefCell<VecDeque<Rc<Range<u64>>>>,
    told: Cell<Told>,
}

/// What need not be told again.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Told {
    broken: bool,
    no_flush: bool,
}

impl Disk {
    /// The disk `name` behind a connected frontend, whose backend listens on `port`. What its user should
    /// know goes to `tell`.
    pub fn new(
        name: String,
        front: Blkfront,
        parameters: Parameters,
        (hypervisor, port): (&'static dyn Hypervisor, Port),
        tell: fn(core::fmt::Arguments),
    ) -> Self {
        let disk = Self {
            name,
            front: RefCell::new(front),
            parameters: Cell::new(parameters),
            hypervisor,
            port: Cell::new(port),
            tell,
            watchers: Watchers::default(),
            waiting: Cell::new(false),
            writes: RefCell::default(),
            told: Cell::default(),
        };
        disk.tell_news();
        disk
    }

    /// Its name in `/dev`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the backend says of it.
    pub fn parameters(&self) -> Parameters {
        self.parameters.get()
    }

    /// Bytes on it.
    pub fn capacity(&self) -> u64 {
        self.parameters.get().capacity
    }

    /// The frontend, when nobody uses the disk any more.
    pub fn into_front(self) -> Blkfront {
        self.front.into_inner()
    }

    /// The frontend, for tests to answer.
    #[cfg(test)]
    pub(super) fn front(&self) -> core::cell::Ref<'_, Blkfront> {
        self.front.borrow()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.front.borrow().counters()
    }

    /// Who is told when an operation may be able to go on.
    pub fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// The backend has said something.
    pub fn arrived(&self) {
        self.watchers.notify();
    }

    /// The device is of no use any more: all operations fail.
    pub fn give_up(&self, why: Broken) {
        self.front.borrow_mut().give_up(why);
        self.tell_news();
        self.watchers.notify();
    }

    /// Changes the frontend, as when it is connected to another backend, and lets operations go on.
    pub fn reconnect<R>(&self, port: Port, change: impl FnOnce(&mut Blkfront) -> R) -> R {
        self.port.set(port);
        let result = change(&mut self.front.borrow_mut());
        self.publish();
        self.watchers.notify();
        result
    }

    /// Tells, once each, what makes the disk useless or its data unsafe.
    fn tell_news(&self) {
        let front = self.front.borrow();
        let mut told = self.told.get();
        if let Some(why) = front.broken().filter(|_| !told.broken) {
            told.broken = true;
            (self.tell)(format_args!(
                "/dev/{}: {why}; every access fails from now on",
                self.name
            ));
        }
        let read_only = self.parameters.get().read_only;
        if !front.can_flush() && !told.no_flush && !read_only {
            told.no_flush = true;
            (self.tell)(format_args!(
                "/dev/{}: its backend offers no flush (feature-flush-cache, feature-barrier), so nothing on it \
                 can be made durable: fsync and fdatasync fail; give the domain a disk whose write cache can \
                 be flushed",
                self.name
            ));
        }
        self.told.set(told);
    }

    /// Sends what was put into the ring.
    fn publish(&self) {
        if self.front.borrow_mut().publish() {
            self.hypervisor.notify(self.port.get());
        }
    }

    /// Takes what the backend has answered. Whoever looks takes everybody's answers, and the backend may have
    /// seen no reason to notify of all of them, so the others are told.
    fn collect(&self) -> RefMut<'_, Blkfront> {
        let mut front = self.front.borrow_mut();
        if front.collect() {
            self.watchers.notify();
        }
        front
    }

    /// Something that others may wait for has become free.
    pub(super) fn release(&self) {
        if self.waiting.replace(false) {
            self.watchers.notify();
        }
    }

    /// Waits until `attempt` gives something; it is tried again whenever something has become free.
    pub(super) async fn wait_for<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> R {
        poll_fn(|_| match attempt() {
            Some(result) => Poll::Ready(result),
            None => {
                self.waiting.set(true);
                Poll::Pending
            }
        })
        .await
    }

    /// Waits for a request's answer and ends it; what was read from `skip` on goes to `bytes`.
    async fn answer(&self, ticket: Ticket, skip: usize, bytes: &mut [u8]) -> Result<(), Failure> {
        let mut ticket = Some(ticket);
        let answer = poll_fn(|_| {
            let mut front = self.collect();
            match ticket.take_if(|ticket| front.is_answered(ticket)) {
                Some(ticket) => Poll::Ready(front.take(ticket, skip, bytes)),
                None => Poll::Pending,
            }
        })
        .await;
        if answer.is_err() {
            self.tell_news();
        }
        self.release();
        answer
    }

    /// How many bytes a request can have now; does not come back before there is room, if `wait` is asked for.
    async fn room(&self, wait: bool) -> usize {
        let room = self.front.borrow().room();
        if room > 0 || !wait {
            return room;
        }
        self.wait_for(|| {
            let room = self.collect().room();
            Some(room).filter(|&room| room > 0)
        })
        .await
    }

    /// Reads from `position` on, all within the disk. How much was read: less than all if the rest failed.
    pub async fn read(&self, position: u64, bytes: &mut [u8]) -> Result<usize, Errno> {
        let block = self.parameters.get().block;
        let mut flying = VecDeque::new();
        let mut asked = 0;
        let mut good = None;
        loop {
            while asked < bytes.len() && good.is_none() {
                let room = self.room(flying.is_empty()).await;
                if room == 0 {
                    break;
                }
                let start = position + asked as u64;
                let skip = (start % block as u64) as usize;
                let request = (skip + bytes.len() - asked)
                    .next_multiple_of(block)
                    .min(room);
                let range = asked..bytes.len().min(asked + request - skip);
                asked = range.end;
                let sector = (start - skip as u64) / SECTOR as u64;
                let ticket = self.front.borrow_mut().read(sector, request);
                flying.push_back((ticket, skip, range));
            }
            self.publish();
            let Some((ticket, skip, range)) = flying.pop_front() else {
                return outcome(good.unwrap_or(bytes.len()), bytes.len());
            };
            let start = range.start;
            if self.answer(ticket, skip, &mut bytes[range]).await.is_err() {
                good.get_or_insert(start);
            }
        }
    }

    /// Writes from `position` on, all within the disk. How much was written: less than all if the rest failed.
    pub async fn write(&self, position: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let block = self.parameters.get().block as u64;
        let end = position + bytes.len() as u64;
        let blocks = position - position % block..end.next_multiple_of(block);
        let _turn = self.turn(blocks.clone()).await;
        let head = self.read_edge(blocks.start..position).await?;
        let tail = self.read_edge(end..blocks.end).await?;
        let gathered = Gathered([&head, bytes, &tail]);
        let good = self.write_blocks(blocks.start, &gathered).await;
        let good = good.saturating_sub(head.len()).min(bytes.len());
        outcome(good, bytes.len())
    }

    /// Writes whole blocks; how many bytes of them before the first failure.
    async fn write_blocks(&self, position: u64, gathered: &Gathered<'_>) -> usize {
        let length = gathered.length();
        let mut flying = VecDeque::new();
        let mut asked = 0;
        let mut good = None;
        loop {
            while asked < length && good.is_none() {
                let room = self.room(flying.is_empty()).await;
                if room == 0 {
                    break;
                }
                let range = asked..length.min(asked + room);
                let sector = (position + asked as u64) / SECTOR as u64;
                asked = range.end;
                let parts = gathered.parts(range.clone());
                let ticket = self.front.borrow_mut().write(sector, &parts);
                flying.push_back((ticket, range.start));
            }
            self.publish();
            let Some((ticket, start)) = flying.pop_front() else {
                return good.unwrap_or(length);
            };
            if self.answer(ticket, 0, &mut []).await.is_err() {
                good.get_or_insert(start);
            }
        }
    }

    /// What is on the disk beside an unaligned write.
    async fn read_edge(&self, range: Range<u64>) -> Result<Vec<u8>, Errno> {
        let mut bytes = alloc::vec![0; (range.end - range.start) as usize];
        if self.read(range.start, &mut bytes).await? < bytes.len() {
            return Err(Errno::EIO);
        }
        Ok(bytes)
    }

    /// Waits until nobody who came earlier writes to these bytes. Until the turn is dropped, those who come
    /// later wait.
    async fn turn(&self, blocks: Range<u64>) -> Turn<'_> {
        let blocks = Rc::new(blocks);
        self.writes.borrow_mut().push_back(blocks.clone());
        let turn = Turn { disk: self, blocks };
        self.wait_for(|| turn.has_come().then_some(())).await;
        turn
    }

    /// Makes durable what was written by operations that have ended.
    pub async fn flush(&self) -> Result<(), Errno> {
        // A disk that cannot be written has nothing to lose.
        if self.parameters.get().read_only {
            return Ok(());
        }
        loop {
            if !self.front.borrow().can_flush() {
                self.tell_news();
                return Err(Errno::EOPNOTSUPP);
            }
            let ticket = self.wait_for(|| self.collect().flush()).await;
            self.publish();
            match self.answer(ticket, 0, &mut []).await {
                Ok(()) => return Ok(()),
                // Another way is tried, if there is one left: each of the two is given up at its first refusal.
                Err(Failure::NotSupported) => {}
                Err(Failure::Error | Failure::Broken) => return Err(Errno::EIO),
            }
        }
    }
}

/// A count, unless nothing was done of what was asked.
fn outcome(good: usize, asked: usize) -> Result<usize, Errno> {
    if good == 0 && asked > 0 {
        Err(Errno::EIO)
    } else {
        Ok(good)
    }
}

/// Bytes in three places that are written as one.
struct Gathered<'b>([&'b [u8]; 3]);

impl<'b> Gathered<'b> {
    fn length(&self) -> usize {
        self.0.iter().map(|part| part.len()).sum()
    }

    /// Where the bytes of a range are.
    fn parts(&self, range: Range<usize>) -> [&'b [u8]; 3] {
        let mut start = 0;
        self.0.map(|part| {
            let clip = |at: usize| at.clamp(start, start + part.len()) - start;
            let clipped = &part[clip(range.start)..clip(range.end)];
            start += part.len();
            clipped
        })
    }
}

/// The right to write to some blocks.
struct Turn<'d> {
    disk: &'d Disk,
    blocks: Rc<Range<u64>>,
}

impl Turn<'_> {
    fn has_come(&self) -> bool {
        let writes = self.disk.writes.borrow();
        writes
            .iter()
            .take_while(|other| !Rc::ptr_eq(other, &self.blocks))
            .all(|other| other.end <= self.blocks.start || self.blocks.end <= other.start)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.disk
            .writes
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, &self.blocks));
        self.disk.release();
    }
}
