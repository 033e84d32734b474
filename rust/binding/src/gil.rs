//! The one file in which threads leave the interpreter and come back.
//!
//! Strategy: every stay outside is a named `Section` and is counted in one word, together with whether coming back is
//! still allowed. CPython 3.11-3.13 ends a thread that comes back while the interpreter finalises by unwinding its
//! stack, and a Rust frame on it aborts the process. So an exit hook first tells everybody (`begin_exit`), waits a
//! bounded time until nobody is outside, then closes the door (`finish_exit`): who is still outside stays there for
//! ever, and nobody goes out any more. Rules for callers: no engine lock is held when entering or leaving; nothing
//! that waits is done attached; and Rust called from a worker runs no Python code, not even a destructor.
//! Must not know what the sections do. Source: needs R40-R43; design, section 3.
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// Why a thread is outside. Nobody holds an engine lock on the way out or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// A worker waits for a task: any time. Woken by its pool.
    WorkerSleep,
    /// The housekeeper waits for a chore: any time. Woken by the mailbox.
    HousekeeperSleep,
    /// Any thread waits in `shutdown` for workers to leave: slices of a fraction of a second.
    ShutdownWait,
    /// Any thread sends on a socket that does not block: one or a few system calls.
    Send,
    /// Any thread waits for its peer to take output: looks at `exiting` a few times a second.
    OutputWait,
    /// The starting thread makes loop threads.
    ServerStart,
    /// A thread that runs a loop of dispatchers waits for their descriptors: any time. Woken by its loop's wake-up.
    DispatcherWait,
    /// The stopping thread waits for connections and loop threads to end: bounded by its caller.
    ServerStop,
}

/// One thread outside.
const OUTSIDE: u64 = 1;
/// One thread on its way back, waiting for the interpreter.
const RETURNING: u64 = 1 << 31;
const COUNT: u64 = RETURNING - 1;
/// The way back is closed.
const CLOSED: u64 = 1 << 63;
/// How long `finish_exit` sleeps between two looks at the counts.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

static DOOR: AtomicU64 = AtomicU64::new(0);
static EXITING: AtomicBool = AtomicBool::new(false);
static HAS_HOOK: AtomicBool = AtomicBool::new(false);
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Whether the exit hook has begun: whoever waits must stop waiting.
pub fn exiting() -> bool {
    EXITING.load(Ordering::Acquire)
}

/// Refuse to be imported by a sub-interpreter, which would share threads, mailbox and exit hook with the main one.
///
/// # Errors
/// `ImportError`, in any interpreter but the first.
pub fn refuse_sub_interpreters(_py: Python<'_>) -> PyResult<()> {
    // SAFETY: the token proves that this thread is attached, so there is a current interpreter, which outlives it.
    let number = unsafe { pyo3::ffi::PyInterpreterState_GetID(pyo3::ffi::PyInterpreterState_Get()) };
    if number == 0 {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "wiretask cannot be imported in a sub-interpreter: its threads belong to the main interpreter of the process",
    ))
}

/// How many forks lie between the first process and this one. What was made in another generation must be leaked:
/// its locks may be held, and its threads do not exist.
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Run something short outside the interpreter and return its result; attached, once the exit hook has begun.
///
/// # Blocking
/// As `work` does, which must be bounded. A panic in `work` goes on in the caller, attached.
pub fn detached<R: Send>(py: Python<'_>, section: Section, work: impl FnOnce() -> R + Send) -> R {
    if exiting() { work() } else { try_detached(py, section, work).unwrap_or_else(|work| work()) }
}

/// Wait for something outside the interpreter; `None`, and no wait, once the exit hook has begun.
///
/// # Blocking
/// As `work` does; whoever calls this must be woken by what the exit hook does.
pub fn wait<R: Send>(py: Python<'_>, section: Section, work: impl FnOnce() -> R + Send) -> Option<R> {
    if exiting() { None } else { try_detached(py, section, work).ok() }
}

/// Run `work` with the token of a thread that is attached already: for destructors, which get none.
///
/// `None`: the interpreter is finalising, or its collector is at work.
pub fn while_attached<R>(work: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    Python::try_attach(work)
}

/// Run `work` outside and come back; it is given back if going out is not possible any more.
fn try_detached<R: Send, W: FnOnce() -> R + Send>(
    py: Python<'_>,
    _section: Section,
    work: W,
) -> Result<R, W> {
    let go_out = |door: u64| (door & CLOSED == 0).then_some(door + OUTSIDE);
    if DOOR.fetch_update(Ordering::SeqCst, Ordering::SeqCst, go_out).is_err() {
        return Err(work);
    }
    let result = py.detach(|| {
        let result = catch_unwind(AssertUnwindSafe(work));
        let come_back = |door: u64| (door & CLOSED == 0).then_some(door - OUTSIDE + RETURNING);
        while DOOR.fetch_update(Ordering::SeqCst, Ordering::SeqCst, come_back).is_err() {
            std::thread::park();
        }
        result
    });
    DOOR.fetch_sub(RETURNING, Ordering::SeqCst);
    match result {
        Ok(result) => Ok(result),
        Err(panic) => resume_unwind(panic),
    }
}

/// True for the first caller in the process, who registers the exit hook.
#[pyfunction]
pub fn claim_exit_hook() -> bool {
    !HAS_HOOK.swap(true, Ordering::SeqCst)
}

/// Whether `begin_exit` was called: nothing new must be started.
#[pyfunction]
pub fn is_exiting() -> bool {
    exiting()
}

/// Begin the exit: from now on nobody starts to wait. The caller then wakes those who wait.
#[pyfunction]
pub fn begin_exit() {
    EXITING.store(true, Ordering::SeqCst);
    crate::housekeeper::close_mailbox();
}

/// Wait until no thread is outside, for `timeout_seconds` at most, and let nobody back after that.
///
/// Returns how many were left outside; they never run again. Called by the exit hook, on the thread that finalises.
#[pyfunction]
pub fn finish_exit(py: Python<'_>, timeout_seconds: f64) -> u64 {
    let limit = Duration::try_from_secs_f64(timeout_seconds).unwrap_or_default();
    py.detach(|| {
        let start = Instant::now();
        while DOOR.load(Ordering::SeqCst) & !CLOSED != 0 && start.elapsed() < limit {
            std::thread::sleep(LOOK_AGAIN);
        }
        DOOR.fetch_or(CLOSED, Ordering::SeqCst);
        // Those who were let back need nothing but the interpreter, which this thread has given up.
        while (DOOR.load(Ordering::SeqCst) / RETURNING) & COUNT != 0 {
            std::thread::sleep(LOOK_AGAIN);
        }
    });
    DOOR.load(Ordering::SeqCst) & COUNT
}

/// Forget, in the child of a fork, the threads of the parent. Called before any other thread is there.
#[pyfunction]
pub fn reset_after_fork() {
    GENERATION.fetch_add(1, Ordering::SeqCst);
    DOOR.store(0, Ordering::SeqCst);
    EXITING.store(false, Ordering::SeqCst);
    crate::housekeeper::make_mailbox();
}
