//! Threads that get no signals: those are for the program's main thread, whose interpreter handles them.

use std::io;
use std::thread::{self, JoinHandle};

/// Starts a thread in which all signals are blocked.
///
/// # Errors
/// The system has no threads left.
pub(crate) fn spawn_without_signals(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let mask = SignalMask::block_all();
    let thread = thread::Builder::new().name(name.into()).spawn(run);
    drop(mask);
    thread
}

/// All signals blocked in this thread, and so in those it starts; restored when dropped.
struct SignalMask(libc::sigset_t);

impl SignalMask {
    fn block_all() -> Self {
        // SAFETY: both sets are owned locals, filled by sigfillset and pthread_sigmask before they
        // are read; neither call fails for valid pointers and SIG_SETMASK.
        unsafe {
            let mut all = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for SignalMask {
    fn drop(&mut self) {
        // SAFETY: the set was filled by `block_all`; the old one is not asked for.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut());
        }
    }
}
