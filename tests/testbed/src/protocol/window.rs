//! Flow control: how much of a stream may be sent before the receiver has used some of it.

use super::WINDOW;

/// The sender's view of one stream's window.
#[derive(Debug)]
pub struct Window {
    left: u64,
}

impl Window {
    /// A window that nothing was sent into.
    pub fn new() -> Self {
        Self { left: WINDOW }
    }

    /// The bytes that may be sent now.
    pub fn left(&self) -> usize {
        self.left as usize
    }

    /// Notes that `bytes` were sent. The caller asked [`Window::left`] first.
    pub fn sent(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
    }

    /// Notes that the receiver has used `bytes`; a receiver that gives back more than it got
    /// cannot widen the window.
    pub fn credit(&mut self, bytes: u32) {
        self.left = (self.left + u64::from(bytes)).min(WINDOW);
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shrinks_and_never_grows_past_its_size() {
        let mut window = Window::new();
        window.sent(1000);
        assert_eq!(window.left() as u64, WINDOW - 1000);
        window.credit(600);
        assert_eq!(window.left() as u64, WINDOW - 400);
        window.credit(u32::MAX);
        assert_eq!(window.left() as u64, WINDOW);
        window.sent(WINDOW as usize);
        assert_eq!(window.left(), 0);
    }
}
