//! The frontend's end of a ring of requests and responses (`io/ring.h`).
//!
//! ```text
//! 0          4           8          12          16        64
//! | req_prod | req_event | rsp_prod | rsp_event | padding | entries: a request, later its response |
//! ```
//! Indices run freely. The backend writes `req_event`, `rsp_prod` and responses; a `rsp_prod` that claims more
//! responses than there are requests is a broken backend. Entries are copied word by word, once.

use super::ring::BrokenRing;
use super::shared_page::SharedPage;
use crate::memory::PAGE;
use core::sync::atomic::{AtomicU32, Ordering, fence};

const HEADER_WORDS: usize = 16;
const WORDS: usize = PAGE / 4;

const REQ_PROD: usize = 0;
const REQ_EVENT: usize = 1;
const RSP_PROD: usize = 2;
const RSP_EVENT: usize = 3;

/// A ring whose entries have `W` 32-bit words (the larger of request and response).
pub struct FrontRing<const W: usize> {
    page: SharedPage,
    /// Requests put into the ring, published or not.
    req_prod_pvt: u32,
    /// Responses taken.
    rsp_cons: u32,
}

impl<const W: usize> FrontRing<W> {
    /// Entries in a ring: the greatest power of two that fits into a page.
    pub const ENTRIES: u32 = 1 << ((WORDS - HEADER_WORDS) / W).ilog2();

    /// An empty ring on a page of its own; `None` when memory is out.
    pub fn new() -> Option<Self> {
        let ring = Self {
            page: SharedPage::new()?,
            req_prod_pvt: 0,
            rsp_cons: 0,
        };
        ring.word(REQ_EVENT).store(1, Ordering::Relaxed);
        ring.word(RSP_EVENT).store(1, Ordering::Relaxed);
        Some(ring)
    }

    /// The page, to be granted.
    pub fn page(&self) -> &SharedPage {
        &self.page
    }

    /// The page, when the ring is given up.
    pub fn into_page(self) -> SharedPage {
        self.page
    }

    fn word(&self, index: usize) -> &AtomicU32 {
        // SAFETY: a page of atomic words.
        let words: &[AtomicU32; WORDS] = unsafe { self.page.as_atomics() };
        &words[index]
    }

    fn entry(&self, index: u32) -> usize {
        HEADER_WORDS + (index & (Self::ENTRIES - 1)) as usize * W
    }

    /// How many requests there is room for.
    pub fn room(&self) -> u32 {
        Self::ENTRIES - self.req_prod_pvt.wrapping_sub(self.rsp_cons)
    }

    /// How many requests have no response taken yet.
    pub fn outstanding(&self) -> u32 {
        self.req_prod_pvt.wrapping_sub(self.rsp_cons)
    }

    /// The number of the next request, counted from the ring's first one.
    pub fn next_index(&self) -> u32 {
        self.req_prod_pvt
    }

    /// Puts a request into the ring, to be published later. The caller has seen that there is room.
    pub fn put(&mut self, request: &[u32; W]) {
        assert!(self.room() > 0, "a request for a full ring");
        let start = self.entry(self.req_prod_pvt);
        for (offset, &word) in request.iter().enumerate() {
            self.word(start + offset).store(word, Ordering::Relaxed);
        }
        self.req_prod_pvt = self.req_prod_pvt.wrapping_add(1);
    }

    /// Publishes what was put; whether the backend wants to be notified.
    #[must_use = "a backend that waits for a notification waits for ever"]
    pub fn publish(&mut self) -> bool {
        let old = self.word(REQ_PROD).load(Ordering::Relaxed);
        let new = self.req_prod_pvt;
        // The backend sees the requests before the index, and we see its wish after it sees the index.
        self.word(REQ_PROD).store(new, Ordering::Release);
        fence(Ordering::SeqCst);
        let event = self.word(REQ_EVENT).load(Ordering::Relaxed);
        new.wrapping_sub(event) < new.wrapping_sub(old)
    }

    /// How many responses wait.
    pub fn responses(&self) -> Result<u32, BrokenRing> {
        let waiting = self
            .word(RSP_PROD)
            .load(Ordering::Acquire)
            .wrapping_sub(self.rsp_cons);
        if waiting > self.outstanding() {
            Err(BrokenRing)
        } else {
            Ok(waiting)
        }
    }

    /// Takes the next response. The caller has seen that one waits.
    pub fn take(&mut self) -> [u32; W] {
        let start = self.entry(self.rsp_cons);
        let mut response = [0; W];
        for (offset, word) in response.iter_mut().enumerate() {
            *word = self.word(start + offset).load(Ordering::Relaxed);
        }
        self.rsp_cons = self.rsp_cons.wrapping_add(1);
        response
    }

    /// Asks to be notified after `more` further responses, and says whether some came meanwhile: then nobody
    /// will notify of these, and they must be looked at now.
    pub fn ask_for_notification(&mut self, more: u32) -> Result<bool, BrokenRing> {
        let wish = self.rsp_cons.wrapping_add(more.max(1));
        self.word(RSP_EVENT).store(wish, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Ok(self.responses()? >= more.max(1))
    }
}

/// The backend's end, for tests.
#[cfg(test)]
pub mod fake {
    use super::*;

    /// A backend on the page of a `FrontRing<W>`.
    #[derive(Default)]
    pub struct BackRing<const W: usize> {
        req_cons: u32,
        rsp_prod: u32,
    }

    impl<const W: usize> BackRing<W> {
        /// Takes the next request, if one is published.
        pub fn take(&mut self, ring: &FrontRing<W>) -> Option<[u32; W]> {
            if self.req_cons == ring.word(REQ_PROD).load(Ordering::Acquire) {
                ring.word(REQ_EVENT)
                    .store(self.req_cons.wrapping_add(1), Ordering::Relaxed);
                return None;
            }
            let start = ring.entry(self.req_cons);
            self.req_cons = self.req_cons.wrapping_add(1);
            Some(core::array::from_fn(|offset| {
                ring.word(start + offset).load(Ordering::Relaxed)
            }))
        }

        /// Publishes a response; whether the frontend wants to be notified.
        pub fn put(&mut self, ring: &FrontRing<W>, response: &[u32; W]) -> bool {
            let start = ring.entry(self.rsp_prod);
            for (offset, &word) in response.iter().enumerate() {
                ring.word(start + offset).store(word, Ordering::Relaxed);
            }
            let old = self.rsp_prod;
            self.rsp_prod = old.wrapping_add(1);
            ring.word(RSP_PROD).store(self.rsp_prod, Ordering::Release);
            let event = ring.word(RSP_EVENT).load(Ordering::Relaxed);
            self.rsp_prod.wrapping_sub(event) < self.rsp_prod.wrapping_sub(old)
        }

        /// Claims responses that it never wrote.
        pub fn lie(&mut self, ring: &FrontRing<W>, responses: u32) {
            ring.word(RSP_PROD)
                .store(self.rsp_prod.wrapping_add(responses), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::BackRing;
    use super::*;

    #[test]
    fn sizes_are_those_of_xen() {
        assert_eq!(FrontRing::<3>::ENTRIES, 256); // netif TX
        assert_eq!(FrontRing::<2>::ENTRIES, 256); // netif RX
        assert_eq!(FrontRing::<28>::ENTRIES, 32); // blkif
    }

    #[test]
    fn requests_and_responses_go_round_many_times() {
        let mut front = FrontRing::<2>::new().unwrap();
        let mut back = BackRing::<2>::default();
        for round in 0..1000u32 {
            while front.room() > 0 {
                front.put(&[round, front.room()]);
            }
            let _ = front.publish();
            while let Some([number, room]) = back.take(&front) {
                assert_eq!(number, round);
                back.put(&front, &[room, number]);
            }
            while front.responses().unwrap() > 0 {
                assert_eq!(front.take()[1], round);
            }
            assert_eq!(front.outstanding(), 0);
        }
    }

    #[test]
    fn a_busy_backend_is_notified_once() {
        let mut front = FrontRing::<2>::new().unwrap();
        let mut back = BackRing::<2>::default();
        front.put(&[1, 0]);
        assert!(
            front.publish(),
            "an idle backend asked for the first request"
        );
        front.put(&[2, 0]);
        assert!(!front.publish(), "it has not looked yet");
        while back.take(&front).is_some() {}
        front.put(&[3, 0]);
        assert!(
            front.publish(),
            "it looked, found nothing more and asked again"
        );
    }

    #[test]
    fn responses_that_come_while_asking_are_noticed() {
        let mut front = FrontRing::<2>::new().unwrap();
        let mut back = BackRing::<2>::default();
        for number in 0..4 {
            front.put(&[number, 0]);
        }
        let _ = front.publish();
        assert_eq!(front.ask_for_notification(2), Ok(false));
        back.take(&front);
        assert!(!back.put(&front, &[0, 0]));
        assert!(back.put(&front, &[0, 0]), "the second one was asked for");
        assert_eq!(front.ask_for_notification(1), Ok(true));
    }

    #[test]
    fn a_lying_backend_is_noticed() {
        let mut front = FrontRing::<2>::new().unwrap();
        let mut back = BackRing::<2>::default();
        front.put(&[1, 0]);
        let _ = front.publish();
        back.lie(&front, 2);
        assert_eq!(front.responses(), Err(BrokenRing));
        assert_eq!(front.ask_for_notification(1), Err(BrokenRing));
    }
}
