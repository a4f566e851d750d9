//! How a domain ends.
//!
//! Exit code 0 is poweroff (or reboot, when the toolstack asked for that), anything else a crash, so that
//! `on_crash` in the domain's configuration acts; the code is in the console, in the hypervisor's log, and
//! in xenstore at `data/exit-code` for as long as the domain is there.

use super::{console, devices, hypercall, memory, report, store};
use crate::Global;
use crate::signals::{Signal, Signals};
use crate::threads::{self, Wake, scheduler::MAIN};
use crate::xen::ShutdownReason;

/// The program's signals.
pub static SIGNALS: Global<Signals> = Global::new(Signals::new());
static REBOOT: Global<bool> = Global::new(false);

/// The toolstack asked for something by `control/shutdown`.
pub fn asked(request: &[u8]) {
    match request {
        b"poweroff" | b"halt" => send(Signal::TERM),
        b"reboot" => {
            *REBOOT.borrow() = true;
            send(Signal::TERM);
        }
        other => {
            let other = alloc::string::String::from_utf8_lossy(other);
            report::warning(format_args!(
                "the toolstack asked for {other:?}, which this domain cannot do"
            ));
        }
    }
}

/// Sends the program a signal: a waiting thread is interrupted to handle it, the main one if it waits.
pub fn send(signal: Signal) {
    SIGNALS.borrow().raise(signal);
    threads::with(|threads| {
        let scheduler = &mut threads.scheduler;
        let current = scheduler.current();
        if !scheduler.wake(MAIN, Wake::Interrupted) {
            // The main thread is ready, gone, or this very one: it or this one will see the signal.
            scheduler.wake(current, Wake::Interrupted);
        }
    });
}

/// Ends the domain as the program wants.
pub fn exit(code: i32) -> ! {
    devices::linger();
    if code == 0 {
        let reboot = *REBOOT.borrow();
        console::drain_if_possible();
        hypercall::shutdown(if reboot {
            ShutdownReason::Reboot
        } else {
            ShutdownReason::Poweroff
        })
    }
    report::line(format_args!("exit code {code}"));
    store::tell_exit_code(code);
    report::crash()
}

/// Ends the domain because a signal says so. SIGTERM without a handler is what `xl shutdown` asks for, and
/// a poweroff; the others are crashes.
pub fn terminate(signal: Signal) -> ! {
    if signal == Signal::TERM {
        exit(0)
    }
    report::line(format_args!("ended by signal {}", signal.number()));
    store::tell_exit_code(128 + signal.number());
    report::crash()
}

/// Ends the domain in distress (abort(3)).
pub fn abort() -> ! {
    report::line(format_args!("aborted"));
    if let Some((asked, free)) = memory::last_failure() {
        let total = memory::usage().total;
        report::line(format_args!(
            "out of memory: {asked} bytes were asked for, {free} of {total} were left; give the domain \
             more (memory= in its configuration)"
        ));
    }
    store::tell_exit_code(128 + 6);
    report::backtrace_from_here();
    report::crash()
}
