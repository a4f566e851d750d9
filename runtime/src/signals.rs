//! Signals: which are pending, which are blocked, what shall happen (sigaction(2), signal(7)).
//!
//! A domain knows one asynchronous signal, SIGTERM, which the toolstack's `xl shutdown` becomes; a
//! program can send itself others. Handlers run where a thread would block, on that thread's stack.
//! Faults are not signals here: they end the domain with a report.

/// Number of signals.
pub const SIGNALS: usize = 64;
/// "Do the usual" (SIG_DFL).
pub const SIG_DFL: usize = 0;
/// "Do nothing" (SIG_IGN).
pub const SIG_IGN: usize = 1;
/// Calls that a handler interrupts go on afterwards.
pub const SA_RESTART: i32 = 0x1000_0000;
/// The handler takes three arguments.
pub const SA_SIGINFO: i32 = 4;
/// The disposition returns to the default when the handler is called.
pub const SA_RESETHAND: i32 = 0x8000_0000_u32 as i32;
/// The signal is not blocked while its handler runs.
pub const SA_NODEFER: i32 = 0x4000_0000;

/// A signal's number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signal(u8);

impl Signal {
    /// Orderly end of the program.
    pub const TERM: Signal = Signal(15);

    /// The signal of this number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=SIGNALS as i32)
            .contains(&number)
            .then_some(Signal(number as u8))
    }

    /// Its number.
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }

    fn bit(self) -> u64 {
        1 << (self.0 - 1)
    }

    /// Whether it cannot be caught, blocked or ignored (SIGKILL, SIGSTOP).
    pub fn is_final(self) -> bool {
        matches!(self.0, 9 | 19)
    }

    /// Whether doing the usual means doing nothing (SIGCHLD, SIGCONT, SIGURG, SIGWINCH, and the stops,
    /// since nobody could continue a stopped domain).
    fn is_ignored_by_default(self) -> bool {
        matches!(self.0, 17 | 18 | 20 | 21 | 22 | 23 | 28)
    }
}

/// What shall happen on a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Action {
    /// [`SIG_DFL`], [`SIG_IGN`] or a function's address.
    pub handler: usize,
    /// Signals blocked while the handler runs; bit 0 is signal 1.
    pub mask: u64,
    /// `SA_*`.
    pub flags: i32,
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Call the handler, with these signals blocked meanwhile besides those that are.
    Handle {
        /// Which signal.
        signal: Signal,
        /// What was asked for.
        action: Action,
        /// To be blocked while the handler runs.
        block: u64,
    },
    /// End the program, as by this signal.
    Terminate(Signal),
}

/// The program's signals.
pub struct Signals {
    actions: [Action; SIGNALS],
    pending: u64,
}

impl Default for Signals {
    fn default() -> Self {
        Self::new()
    }
}

impl Signals {
    /// Nothing pending, everything as usual.
    pub const fn new() -> Self {
        Self {
            actions: [Action {
                handler: SIG_DFL,
                mask: 0,
                flags: 0,
            }; SIGNALS],
            pending: 0,
        }
    }

    /// What shall happen on `signal`.
    pub fn action(&self, signal: Signal) -> Action {
        self.actions[usize::from(signal.0 - 1)]
    }

    /// Says what shall happen on `signal`. A pending signal that is ignored now is forgotten.
    pub fn set_action(&mut self, signal: Signal, action: Action) {
        self.actions[usize::from(signal.0 - 1)] = action;
        if self.ignores(signal) {
            self.pending &= !signal.bit();
        }
    }

    /// A signal has been sent.
    pub fn raise(&mut self, signal: Signal) {
        if !self.ignores(signal) {
            self.pending |= signal.bit();
        }
    }

    /// Whether a signal that `blocked` lets through is pending.
    pub fn is_deliverable(&self, blocked: u64) -> bool {
        self.pending & !blocked != 0
    }

    /// Takes the next signal that `blocked` lets through, lowest number first.
    pub fn deliver(&mut self, blocked: u64) -> Option<Delivery> {
        let deliverable = self.pending & !blocked;
        if deliverable == 0 {
            return None;
        }
        let signal = Signal(deliverable.trailing_zeros() as u8 + 1);
        self.pending &= !signal.bit();
        let action = self.action(signal);
        if action.handler == SIG_DFL || signal.is_final() {
            return Some(Delivery::Terminate(signal));
        }
        if action.flags & SA_RESETHAND != 0 {
            self.actions[usize::from(signal.0 - 1)].handler = SIG_DFL;
        }
        let own = if action.flags & SA_NODEFER == 0 {
            signal.bit()
        } else {
            0
        };
        Some(Delivery::Handle {
            signal,
            action,
            block: action.mask | own,
        })
    }

    fn ignores(&self, signal: Signal) -> bool {
        match self.action(signal).handler {
            _ if signal.is_final() => false,
            SIG_IGN => true,
            SIG_DFL => signal.is_ignored_by_default(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLER: Action = Action {
        handler: 0x1000,
        mask: 0b1,
        flags: 0,
    };

    fn signal(number: i32) -> Signal {
        Signal::from_number(number).unwrap()
    }

    #[test]
    fn by_default_termination_ends_and_a_child_is_ignored() {
        let mut signals = Signals::new();
        signals.raise(signal(17));
        assert!(!signals.is_deliverable(0));
        signals.raise(Signal::TERM);
        assert_eq!(signals.deliver(0), Some(Delivery::Terminate(Signal::TERM)));
        assert_eq!(signals.deliver(0), None);
    }

    #[test]
    fn a_handler_is_called_once_with_its_signal_blocked() {
        let mut signals = Signals::new();
        signals.set_action(Signal::TERM, HANDLER);
        signals.raise(Signal::TERM);
        signals.raise(Signal::TERM);
        let block = 0b1 | 1 << 14;
        let expected = Delivery::Handle {
            signal: Signal::TERM,
            action: HANDLER,
            block,
        };
        assert_eq!(signals.deliver(0), Some(expected));
        assert_eq!(signals.deliver(0), None);
    }

    #[test]
    fn a_blocked_signal_stays_pending() {
        let mut signals = Signals::new();
        signals.raise(Signal::TERM);
        assert_eq!(signals.deliver(1 << 14), None);
        assert!(signals.is_deliverable(0));
        signals.set_action(
            Signal::TERM,
            Action {
                handler: SIG_IGN,
                ..HANDLER
            },
        );
        assert!(!signals.is_deliverable(0), "ignoring forgets it");
    }

    #[test]
    fn reset_hand_and_kill() {
        let mut signals = Signals::new();
        signals.set_action(
            signal(10),
            Action {
                flags: SA_RESETHAND,
                ..HANDLER
            },
        );
        signals.raise(signal(10));
        assert!(matches!(signals.deliver(0), Some(Delivery::Handle { .. })));
        signals.raise(signal(10));
        assert_eq!(signals.deliver(0), Some(Delivery::Terminate(signal(10))));
        signals.set_action(signal(9), HANDLER);
        signals.raise(signal(9));
        assert_eq!(signals.deliver(0), Some(Delivery::Terminate(signal(9))));
        assert_eq!(
            (Signal::from_number(0), Signal::from_number(65)),
            (None, None)
        );
    }
}
