//! Whether a thread of this process waits for something, or runs (or would, if a processor were free).
//!
//! Strategy: on Linux, ask the kernel (`/proc/self/task/N/stat`); elsewhere nothing is known.

use std::cell::Cell;

/// The number under which the system knows a thread; 0: unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SystemThread(pub(crate) i32);

thread_local! {
    static CURRENT: Cell<i32> = const { Cell::new(0) };
}

/// The calling thread.
#[cfg(target_os = "linux")]
pub(crate) fn current() -> SystemThread {
    let mut number = CURRENT.get();
    if number == 0 {
        // SAFETY: the call takes nothing, and never fails.
        number = unsafe { libc::gettid() };
        CURRENT.set(number);
    }
    SystemThread(number)
}

/// The calling thread: unknown here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn current() -> SystemThread {
    SystemThread(CURRENT.get())
}

/// Whether the thread runs or could run; false: it waits for something, is gone, or nothing is known.
pub(crate) fn is_running(thread: SystemThread) -> bool {
    let stat = std::fs::read(format!("/proc/self/task/{}/stat", thread.0)).unwrap_or_default();
    // The name, in brackets, may hold anything.
    let end_of_name = stat.iter().rposition(|&byte| byte == b')');
    end_of_name.and_then(|end| stat.get(end + 2)) == Some(&b'R')
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{SystemThread, current, is_running};
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn who_asks_is_running() {
        assert!(is_running(current()));
    }

    #[test]
    fn who_waits_is_not() {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            tell.send(current()).unwrap();
            let _end = ended.recv();
        });
        let number = told.recv().unwrap();
        while is_running(number) {
            thread::yield_now();
        }
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn nobody_is_not() {
        assert!(!is_running(SystemThread(0)));
    }
}
