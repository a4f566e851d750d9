//! eventfd(2): a counter that threads wait for.

use super::{Events, FileType, Object, Status, Watchers};
use crate::Errno;
use core::any::Any;
use core::cell::Cell;

/// The counter. Reading gives it and makes it 0, or takes 1 from a semaphore.
pub struct EventCounter {
    count: Cell<u64>,
    semaphore: bool,
    watchers: Watchers,
}

impl EventCounter {
    /// A counter that starts at `count`.
    pub fn new(count: u64, semaphore: bool) -> Self {
        Self {
            count: Cell::new(count),
            semaphore,
            watchers: Watchers::default(),
        }
    }
}

impl Object for EventCounter {
    fn read(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        let place = bytes.get_mut(..8).ok_or(Errno::EINVAL)?;
        let taken = match (self.count.get(), self.semaphore) {
            (0, _) => return Err(Errno::EAGAIN),
            (_, true) => 1,
            (count, false) => count,
        };
        place.copy_from_slice(&taken.to_ne_bytes());
        self.count.set(self.count.get() - taken);
        self.watchers.notify();
        Ok(8)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let value = u64::from_ne_bytes(*bytes.first_chunk().ok_or(Errno::EINVAL)?);
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        // The greatest count is u64::MAX - 1.
        if value > u64::MAX - 1 - self.count.get() {
            return Err(Errno::EAGAIN);
        }
        self.count.set(self.count.get() + value);
        if value > 0 {
            self.watchers.notify();
        }
        Ok(8)
    }

    fn events(&self) -> Events {
        let count = self.count.get();
        Events::IN
            .when(count > 0)
            .or(Events::OUT.when(count < u64::MAX - 1))
    }

    fn watchers(&self) -> Option<&Watchers> {
        Some(&self.watchers)
    }

    fn status(&self) -> Status {
        Status {
            file_type: FileType::Regular,
            permissions: 0o600,
            size: 0,
            inode: 0,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(event: &EventCounter) -> Result<u64, Errno> {
        let mut bytes = [0; 8];
        event.read(&mut bytes).map(|_| u64::from_ne_bytes(bytes))
    }

    #[test]
    fn counts_and_empties() {
        let event = EventCounter::new(0, false);
        assert_eq!(read(&event), Err(Errno::EAGAIN));
        assert_eq!(event.events(), Events::OUT);
        event.write(&3u64.to_ne_bytes()).unwrap();
        event.write(&4u64.to_ne_bytes()).unwrap();
        assert_eq!(event.events(), Events::IN.or(Events::OUT));
        assert_eq!((read(&event), read(&event)), (Ok(7), Err(Errno::EAGAIN)));
    }

    #[test]
    fn a_semaphore_gives_one_at_a_time() {
        let event = EventCounter::new(2, true);
        assert_eq!((read(&event), read(&event)), (Ok(1), Ok(1)));
        assert_eq!(read(&event), Err(Errno::EAGAIN));
    }

    #[test]
    fn the_limits_of_the_counter() {
        let event = EventCounter::new(0, false);
        assert_eq!(event.write(&u64::MAX.to_ne_bytes()), Err(Errno::EINVAL));
        assert_eq!(event.write(&[0; 7]), Err(Errno::EINVAL));
        assert_eq!(event.write(&(u64::MAX - 1).to_ne_bytes()), Ok(8));
        assert_eq!(event.write(&1u64.to_ne_bytes()), Err(Errno::EAGAIN));
        assert_eq!(event.events(), Events::IN);
        assert_eq!(event.read(&mut [0; 7]), Err(Errno::EINVAL));
    }
}
