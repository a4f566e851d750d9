//! The descriptor table.

use super::Description;
use crate::Errno;
use alloc::rc::Rc;
use alloc::vec::Vec;

/// Most descriptors at once: what a server with ten thousand connections needs and then some. Each costs
/// 8 bytes in the table.
pub const DESCRIPTORS_MAX: usize = 65_536;

/// Numbers and the descriptions behind them.
#[derive(Default)]
pub struct Table(Vec<Option<Rc<Description>>>);

impl Table {
    /// An empty table.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The description behind a number.
    pub fn get(&self, descriptor: i32) -> Result<Rc<Description>, Errno> {
        let entry = usize::try_from(descriptor)
            .ok()
            .and_then(|index| self.0.get(index));
        entry.and_then(Clone::clone).ok_or(Errno::EBADF)
    }

    /// Puts a description at the lowest free number from `least` on.
    pub fn insert(&mut self, description: Rc<Description>, least: usize) -> Result<i32, Errno> {
        if least >= DESCRIPTORS_MAX {
            return Err(Errno::EINVAL);
        }
        let free = self.0.iter().skip(least).position(Option::is_none);
        let index = free.map_or(self.0.len().max(least), |offset| least + offset);
        if index >= DESCRIPTORS_MAX {
            return Err(Errno::EMFILE);
        }
        self.place(index, Some(description));
        Ok(index as i32)
    }

    /// Puts a description at `descriptor`, in place of what is there, which is returned.
    pub fn replace(
        &mut self,
        descriptor: i32,
        description: Rc<Description>,
    ) -> Result<Option<Rc<Description>>, Errno> {
        let index = usize::try_from(descriptor).map_err(|_| Errno::EBADF)?;
        if index >= DESCRIPTORS_MAX {
            return Err(Errno::EBADF);
        }
        Ok(self.place(index, Some(description)))
    }

    /// Frees a number. The description is returned, so that it is dropped outside.
    pub fn remove(&mut self, descriptor: i32) -> Result<Rc<Description>, Errno> {
        let entry = usize::try_from(descriptor)
            .ok()
            .and_then(|index| self.0.get_mut(index));
        entry.and_then(Option::take).ok_or(Errno::EBADF)
    }

    fn place(
        &mut self,
        index: usize,
        description: Option<Rc<Description>>,
    ) -> Option<Rc<Description>> {
        if index >= self.0.len() {
            self.0.resize_with(index + 1, || None);
        }
        core::mem::replace(&mut self.0[index], description)
    }
}

#[cfg(test)]
mod tests {
    use super::super::device::Device;
    use super::*;

    fn description() -> Rc<Description> {
        Description::new(Rc::new(Device::Null), 0)
    }

    #[test]
    fn the_lowest_free_number_is_taken() {
        let mut table = Table::new();
        let numbers: Vec<_> = (0..4)
            .map(|_| table.insert(description(), 0).unwrap())
            .collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        table.remove(1).unwrap();
        assert_eq!(table.insert(description(), 0), Ok(1));
        assert_eq!(table.insert(description(), 10), Ok(10));
        assert_eq!(table.insert(description(), 0), Ok(4));
    }

    #[test]
    fn bad_numbers_are_refused() {
        let mut table = Table::new();
        for number in [-1, 0, i32::MIN, i32::MAX] {
            assert_eq!(table.get(number).err(), Some(Errno::EBADF));
            assert_eq!(table.remove(number).err(), Some(Errno::EBADF));
        }
        assert_eq!(table.replace(-1, description()).err(), Some(Errno::EBADF));
        assert_eq!(
            table.insert(description(), DESCRIPTORS_MAX),
            Err(Errno::EINVAL)
        );
    }

    #[test]
    fn a_full_table_says_so() {
        let mut table = Table::new();
        table
            .replace(DESCRIPTORS_MAX as i32 - 1, description())
            .unwrap();
        assert_eq!(
            table.insert(description(), DESCRIPTORS_MAX - 1),
            Err(Errno::EMFILE)
        );
    }
}
