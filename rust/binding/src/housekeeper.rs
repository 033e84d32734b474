//! The housekeeper's mailbox: what native threads want done in Python.
//!
//! Strategy: any thread posts a chore, without the interpreter and without waiting; the housekeeper, one Python
//! thread, waits for it asleep and does it in Python. The mailbox is a worker pool with one worker. Log events are
//! bounded: what does not fit is counted, and told. One mailbox a process generation, never freed, so that the child
//! of a fork never touches its parent's. Must not know servers or tasks: a chore says itself what it becomes.
//! Source: design, section 3 (Housekeeper, Fork).
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use wiretask_engine::log_event::{Level, LogEvent};
use wiretask_engine::worker_pool::{Next, PoolState, Seat, WorkerPool};

use crate::gil::{self, Section};

/// How many log events may wait.
const LOG_LIMIT: usize = 1000;

/// Makes a chore's tuple.
pub type MakeChore = dyn FnOnce(Python<'_>) -> PyResult<Py<PyTuple>> + Send;

/// Something to do in Python. Reaches `wiretask.housekeeper` as a tuple: the kind, then what belongs to it.
pub enum Chore {
    /// `("log", level, logger, message)`
    Log(LogEvent),
    /// `("drop", objects)`: let go of references.
    Drop(Vec<Py<PyAny>>),
    /// A chore of any kind that `wiretask.housekeeper` knows, made when it is about to be done: for threads that
    /// cannot touch a Python object. Runs attached on the housekeeper; must not run Python code itself.
    Made(Box<MakeChore>),
}

struct Mailbox {
    chores: Arc<WorkerPool<Chore>>,
    log_events: AtomicUsize,
    lost_log_events: AtomicU64,
}

/// A mailbox, and that of the child of a fork.
struct Generation {
    mailbox: Mailbox,
    next: OnceLock<Box<Generation>>,
}

impl Generation {
    fn new() -> Self {
        let chores = Arc::new(WorkerPool::new(None));
        chores.set_target(1);
        let mailbox = Mailbox { chores, log_events: AtomicUsize::new(0), lost_log_events: AtomicU64::new(0) };
        Self { mailbox, next: OnceLock::new() }
    }
}

fn mailbox() -> &'static Mailbox {
    static FIRST: OnceLock<Generation> = OnceLock::new();
    let mut generation = FIRST.get_or_init(Generation::new);
    for _ in 0..gil::generation() {
        generation = generation.next.get_or_init(|| Box::new(Generation::new()));
    }
    &generation.mailbox
}

/// Make this process's mailbox while no other thread is there.
pub fn make_mailbox() {
    mailbox();
}

/// Let the housekeeper finish what is there and leave; later chores are leaked.
pub fn close_mailbox() {
    mailbox().chores.close(PoolState::Draining);
}

/// Have something done by the housekeeper. Any thread; never blocks, never attaches.
///
/// Log events are dropped, and counted, when `LOG_LIMIT` of them wait. Nothing else ever is.
pub fn post(chore: Chore) {
    let mailbox = mailbox();
    if matches!(chore, Chore::Log(_)) {
        let add = |count: usize| (count < LOG_LIMIT).then_some(count + 1);
        if mailbox.log_events.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_err() {
            mailbox.lost_log_events.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
    if let Err(refused) = mailbox.chores.push(chore) {
        // The interpreter is about to go: its objects must not be touched any more.
        std::mem::forget(refused.item);
    }
}

/// The housekeeper's end of the mailbox; one a process.
#[pyclass(frozen, module = "wiretask._native")]
pub struct Mailroom {
    seat: Mutex<Option<Seat<Chore>>>,
    /// The chore at hand, until the housekeeper has begun with it.
    #[pyo3(get)]
    cell: Py<PyList>,
    generation: u64,
}

#[pymethods]
impl Mailroom {
    /// The mailbox's one end, or None while somebody else holds it.
    #[staticmethod]
    fn claim(py: Python<'_>) -> PyResult<Option<Self>> {
        let Some(seat) = mailbox().chores.claim_seat() else { return Ok(None) };
        let cell = PyList::new(py, [py.None()])?.unbind();
        Ok(Some(Self { seat: Mutex::new(Some(seat)), cell, generation: gil::generation() }))
    }

    /// Wait for a chore and put it into `cell[0]`: True. False when the time is over or the housekeeper must leave.
    #[pyo3(signature = (timeout_seconds=None))]
    fn wait(&self, py: Python<'_>, timeout_seconds: Option<f64>) -> PyResult<bool> {
        let cell = self.cell.bind(py);
        if self.generation != gil::generation() {
            return Ok(false);
        }
        if !cell.get_item(0)?.is_none() {
            return Ok(true);
        }
        let Ok(mut seat) = self.seat.try_lock() else {
            return Err(PyRuntimeError::new_err("the mailbox has one reader, which is another thread"));
        };
        let Some(seat) = seat.as_mut() else { return Ok(false) };
        let next = match seat.try_next() {
            Some(next) => next,
            None => {
                let limit =
                    timeout_seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
                let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
                gil::wait(py, Section::HousekeeperSleep, || seat.next(deadline)).unwrap_or(Next::Leave)
            }
        };
        let Next::Item(chore) = next else { return Ok(false) };
        cell.set_item(0, chore_tuple(py, chore)?)?;
        Ok(true)
    }

    /// How many chores wait.
    #[staticmethod]
    fn pending() -> usize {
        mailbox().chores.pending()
    }
}

impl Drop for Mailroom {
    fn drop(&mut self) {
        if self.generation != gil::generation() {
            // The seat is in the parent's pool, whose lock nobody may touch.
            std::mem::forget(self.seat.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

fn chore_tuple(py: Python<'_>, chore: Chore) -> PyResult<Py<PyTuple>> {
    match chore {
        Chore::Log(event) => {
            let mailbox = mailbox();
            mailbox.log_events.fetch_sub(1, Ordering::Relaxed);
            let lost = mailbox.lost_log_events.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let message = format!("{lost} log messages did not fit into the mailbox and are lost");
                post(Chore::Log(LogEvent { level: Level::Warning, logger: event.logger, message }));
            }
            Ok(("log", event.level as u8, event.logger, event.message).into_pyobject(py)?.unbind())
        }
        Chore::Drop(objects) => Ok(("drop", objects).into_pyobject(py)?.unbind()),
        Chore::Made(make) => make(py),
    }
}

/// Put a log event into the mailbox, as native threads do. For tests.
#[pyfunction]
pub fn post_log(level: u8, message: String) {
    let level = match level {
        0..15 => Level::Debug,
        15..25 => Level::Info,
        25..35 => Level::Warning,
        _ => Level::Error,
    };
    post(Chore::Log(LogEvent { level, logger: "wiretask.server", message }));
}
