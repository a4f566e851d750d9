//! What each address may have at once, so that nobody takes the others' part.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// How many places each address has taken.
#[derive(Debug)]
pub(crate) struct Places {
    taken: Mutex<HashMap<IpAddr, usize>>,
    each_max: usize,
}

/// A place that is taken; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>, IpAddr);

impl Places {
    /// As many places for each address.
    pub(crate) fn new(each_max: usize) -> Arc<Places> {
        let taken = Mutex::default();
        Arc::new(Places { taken, each_max })
    }

    /// A place for an address, if it has one left.
    pub(crate) fn take(self: &Arc<Places>, address: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= self.each_max {
            return None;
        }
        *count += 1;
        Some(Place(Arc::clone(self), address))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gives_them_back() {
        let places = Places::new(8);
        let [one, two] = ["10.0.1.2", "10.0.1.3"].map(|text| text.parse().unwrap());
        let all: Vec<Place> = (0..8).map(|_| places.take(one).unwrap()).collect();
        assert!(places.take(one).is_none());
        assert!(places.take(two).is_some());
        drop(all);
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
