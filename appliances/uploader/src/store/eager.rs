//! A device that begins to make durable what was written before anybody asks for it, so that a long upload
//! is nearly durable when its last byte comes.
//!
//! An error of a flush is told once by the system, to whoever flushes then. So whoever asks for durability
//! waits for the flush that is under way, and hears of its error too, for ever.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::limits::EAGER_BYTES;
use crate::store::device::Device;

/// The device.
#[derive(Debug)]
pub(crate) struct Eager {
    device: Arc<dyn Device>,
    state: Arc<(Mutex<State>, Condvar)>,
    begin: SyncSender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that were written since a flush began.
    written: u64,
    is_flushing: bool,
    has_failed: bool,
}

impl Eager {
    /// In front of a device.
    pub(crate) fn over(device: Arc<dyn Device>) -> io::Result<Eager> {
        let (begin, begun) = sync_channel(1);
        let state = Arc::<(Mutex<State>, Condvar)>::default();
        let (flushing, shared) = (Arc::clone(&device), Arc::clone(&state));
        let thread = std::thread::Builder::new().name("flush".to_owned());
        thread.spawn(move || flush_when_told(flushing.as_ref(), &shared, &begun))?;
        Ok(Eager {
            device,
            state,
            begin,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends with the device.
fn flush_when_told(device: &dyn Device, shared: &(Mutex<State>, Condvar), begun: &Receiver<()>) {
    while begun.recv().is_ok() {
        let flushed = device.flush();
        let mut state = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_flushing = false;
        state.has_failed |= flushed.is_err();
        drop(state);
        shared.1.notify_all();
    }
}

impl Device for Eager {
    fn size(&self) -> u64 {
        self.device.size()
    }

    fn read_at(&self, place: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.device.read_at(place, bytes)
    }

    fn write_at(&self, place: u64, bytes: &[u8]) -> io::Result<()> {
        self.device.write_at(place, bytes)?;
        let mut state = self.state();
        state.written += bytes.len() as u64;
        if state.written < EAGER_BYTES || state.is_flushing {
            return Ok(());
        }
        match self.begin.try_send(()) {
            Ok(()) => {
                state.is_flushing = true;
                state.written = 0;
                Ok(())
            }
            Err(TrySendError::Full(())) => Ok(()),
            Err(TrySendError::Disconnected(())) => Err(io::Error::other("no thread flushes")),
        }
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state();
        while state.is_flushing {
            let waited = self.state.1.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if state.has_failed {
            return Err(io::Error::other("a flush failed before"));
        }
        state.written = 0;
        drop(state);
        let flushed = self.device.flush();
        self.state().has_failed |= flushed.is_err();
        flushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::power::Faulty;

    #[test]
    fn an_error_that_nobody_waited_for_is_told_for_ever() {
        let disk = Arc::new(Faulty::of_size(32 << 20));
        let eager = Eager::over(disk.clone()).expect("a thread");
        let piece = vec![7; EAGER_BYTES as usize];
        eager.write_at(0, &piece).expect("written");
        eager.flush().expect("flushed");
        disk.fail_flushes();
        eager.write_at(0, &piece).expect("written");
        assert!(eager.flush().is_err());
        assert!(eager.flush().is_err());
    }

    #[test]
    fn what_was_flushed_is_durable() {
        let disk = Arc::new(Faulty::of_size(32 << 20));
        let eager = Eager::over(disk.clone()).expect("a thread");
        let piece = vec![7; 3 * EAGER_BYTES as usize / 2];
        for place in [0, 8 << 20, 16 << 20] {
            eager.write_at(place, &piece).expect("written");
        }
        eager.flush().expect("flushed");
        let after = disk.after_cut(&mut crate::store::power::Random::of(1));
        let mut read = vec![0; piece.len()];
        after.read_at(16 << 20, &mut read).expect("read");
        assert!(read == piece);
    }
}
