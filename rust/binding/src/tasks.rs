//! The task queue, as Python's `ThreadedTaskDispatcher` uses them.
//!
//! Strategy: thin classes over the engine's pool. No method runs Python code or drops the last reference to an object
//! (see `gil`). What the pool cannot do becomes a chore of the housekeeper. The queue is a root for the garbage
//! collector: what is in it lives until it is served or cancelled; cycles through it end when the dispatcher is shut
//! or dropped.
//! Source: design, sections 2 and 3; ITaskDispatcher, ITask.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use wiretask_engine::MAX_WORKERS;
use wiretask_engine::overload::{Notice, OverloadPolicy, OverloadWatch};
use wiretask_engine::worker_pool::{PoolListener, PoolState, Refusal, WorkerPool};

use crate::channel;
use crate::gil::{self, Section};
use crate::host::PythonConnection;
use crate::housekeeper::{Chore, post};
use crate::workers::{Orphans, Worker, works_for};

/// What waits for a worker.
pub enum QueuedTask {
    /// A Python ITask.
    Object(Py<PyAny>),
    /// A connection of a server, whose channel is the ITask.
    Connection(Arc<PythonConnection>),
}

impl QueuedTask {
    /// The ITask that Python serves or cancels. Must not run Python code.
    pub(crate) fn into_task(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Object(task) => Ok(task),
            Self::Connection(connection) => channel::task_of(py, &connection),
        }
    }
}

/// What queue, workers and listener share; lives as long as any of them.
pub(crate) struct Core {
    pub(crate) pool: Arc<WorkerPool<QueuedTask>>,
    pub(crate) alarm: Arc<Alarm>,
    generation: u64,
}

impl Core {
    /// Whether this is the queue of a parent process: nobody may touch it.
    pub(crate) fn is_foreign(&self) -> bool {
        self.generation != gil::generation()
    }
}

/// How the pool reaches its dispatcher, without keeping it alive.
pub(crate) struct Alarm {
    pub(crate) name: String,
    /// A weak reference to the dispatcher.
    dispatcher: OnceLock<Py<PyAny>>,
    /// The next `push` is to report that workers have to be looked after.
    needs_care: AtomicBool,
    pub(crate) errors: AtomicU64,
}

/// Turns what the pool cannot deal with into chores.
struct Listener {
    alarm: Arc<Alarm>,
    pool: std::sync::Weak<WorkerPool<QueuedTask>>,
}

impl PoolListener<QueuedTask> for Listener {
    fn handle_orphan(&self, item: QueuedTask) {
        post(Chore::Made(Box::new(move |py| {
            Ok(("cancel", item.into_task(py)?).into_pyobject(py)?.unbind())
        })));
    }

    fn handle_missing_worker(&self) {
        self.alarm.needs_care.store(true, Ordering::Relaxed);
        let alarm = Arc::clone(&self.alarm);
        post(Chore::Made(Box::new(move |py| {
            Ok(("mend", alarm.dispatcher.get()).into_pyobject(py)?.unbind())
        })));
    }

    fn handle_backlog(&self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let watch = QueueWatch {
            pool,
            name: self.alarm.name.clone(),
            watch: Mutex::new(OverloadWatch::new(OverloadPolicy::default())),
        };
        post(Chore::Made(Box::new(move |py| Ok(("watch", Py::new(py, watch)?).into_pyobject(py)?.unbind()))));
    }
}

/// A queue of tasks and the seats of its workers.
#[pyclass(frozen, module = "wiretask._native")]
pub struct TaskQueue {
    core: Arc<Core>,
}

impl TaskQueue {
    /// The pool itself, for a server that feeds it without Python.
    pub fn pool(&self) -> Arc<WorkerPool<QueuedTask>> {
        Arc::clone(&self.core.pool)
    }

    fn is_foreign(&self) -> bool {
        self.core.is_foreign()
    }
}

#[pymethods]
impl TaskQueue {
    /// `push`: queued, and the workers need care (`ThreadedTaskDispatcher._mend`).
    #[classattr]
    const NEEDS_CARE: u8 = 1;
    /// `push`: not queued, as many tasks wait as may.
    #[classattr]
    const FULL: u8 = 2;
    /// `push`: not queued, the queue is shut.
    #[classattr]
    const CLOSED: u8 = 3;
    /// The greatest number of workers.
    #[classattr]
    const MAX_WORKERS: usize = MAX_WORKERS;

    #[new]
    #[pyo3(signature = (name, max_pending=None))]
    fn new(name: String, max_pending: Option<usize>) -> Self {
        let pool = Arc::new(WorkerPool::new(max_pending));
        let alarm = Arc::new(Alarm {
            name,
            dispatcher: OnceLock::new(),
            needs_care: AtomicBool::new(false),
            errors: AtomicU64::new(0),
        });
        pool.listen(Box::new(Listener { alarm: Arc::clone(&alarm), pool: Arc::downgrade(&pool) }));
        Self { core: Arc::new(Core { pool, alarm, generation: gil::generation() }) }
    }

    /// Name the dispatcher, by a weak reference, that looks after the workers.
    fn belong_to(&self, dispatcher: Py<PyAny>) {
        // A second owner is ignored: the first call comes from the constructor.
        if self.core.alarm.dispatcher.set(dispatcher).is_err() {
            self.core.alarm.needs_care.store(true, Ordering::Relaxed);
        }
    }

    /// Queue a task: None when all is well, else one of the three numbers above.
    fn push(&self, task: Py<PyAny>) -> Option<u8> {
        if self.is_foreign() {
            std::mem::forget(task);
            return Some(Self::CLOSED);
        }
        match self.core.pool.push(QueuedTask::Object(task)) {
            Ok(_) => self.core.alarm.needs_care.load(Ordering::Relaxed).then_some(Self::NEEDS_CARE),
            Err(refused) => match refused.reason {
                Refusal::Full => Some(Self::FULL),
                Refusal::Closed => Some(Self::CLOSED),
            },
        }
    }

    /// Have the next `push` report `NEEDS_CARE`, and each one until `take_care`.
    fn ask_for_care(&self) {
        self.core.alarm.needs_care.store(true, Ordering::Relaxed);
    }

    /// Stop `push` reporting `NEEDS_CARE`; True if it did.
    fn take_care(&self) -> bool {
        self.core.alarm.needs_care.swap(false, Ordering::Relaxed)
    }

    /// Set how many workers there shall be; more than 0 opens a queue that was shut, unless the process ends.
    fn set_target(&self, count: usize) {
        if !self.is_foreign() && (count == 0 || !gil::exiting()) {
            self.core.pool.set_target(count);
        }
    }

    /// A seat for one more worker, or None when none is missing.
    fn claim(&self, py: Python<'_>) -> PyResult<Option<Worker>> {
        if self.is_foreign() { Ok(None) } else { Worker::claim(py, &self.core) }
    }

    /// Take no more tasks: workers leave, now or (`drain`) when the queue is empty. See also `orphans`.
    #[pyo3(signature = (*, drain))]
    fn close(&self, drain: bool) {
        if !self.is_foreign() {
            self.core.pool.close(if drain { PoolState::Draining } else { PoolState::Closed });
        }
    }

    /// The tasks of a closed queue, to be cancelled by the caller.
    fn orphans(&self, py: Python<'_>) -> PyResult<Orphans> {
        Orphans::new(py, &self.core)
    }

    /// Wait until at most `rest` workers are left or the time is over; returns how many are left.
    fn wait_for_workers(&self, py: Python<'_>, rest: usize, timeout_seconds: f64) -> usize {
        if self.is_foreign() {
            return 0;
        }
        let pool = &self.core.pool;
        let limit = Duration::try_from_secs_f64(timeout_seconds).unwrap_or_default();
        let deadline = Instant::now().checked_add(limit);
        gil::wait(py, Section::ShutdownWait, || pool.wait_for_workers(rest, deadline))
            .unwrap_or_else(|| pool.stats().workers_alive)
    }

    /// Whether the calling thread is one of the queue's workers.
    fn is_worker_thread(&self) -> bool {
        works_for(&self.core.pool)
    }

    /// Whether tasks are taken.
    fn is_open(&self) -> bool {
        self.core.pool.state() == PoolState::Open
    }

    /// How many workers there shall be.
    fn target(&self) -> usize {
        self.core.pool.target()
    }

    /// How many tasks wait.
    fn pending(&self) -> usize {
        self.core.pool.pending()
    }

    /// Count an exception that came out of a task.
    fn count_error(&self) {
        self.core.alarm.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// All counters.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.core.pool.stats();
        let counters = PyDict::new(py);
        counters.set_item("added", stats.added)?;
        counters.set_item("started", stats.taken)?;
        counters.set_item("cancelled", stats.cancelled)?;
        counters.set_item("refused", stats.refused)?;
        counters.set_item("errors", self.core.alarm.errors.load(Ordering::Relaxed))?;
        counters.set_item("pending", stats.pending)?;
        counters.set_item("highest_pending", stats.highest_pending)?;
        counters
            .set_item("oldest_wait_seconds", Duration::from_millis(stats.oldest_wait_millis).as_secs_f64())?;
        counters.set_item("threads_target", stats.workers_target)?;
        counters.set_item("threads_alive", stats.workers_alive)?;
        counters.set_item("threads_idle", stats.workers_idle)?;
        counters.set_item("threads_busy", stats.workers_alive - stats.workers_idle)?;
        counters.set_item("threads_lost", stats.workers_lost)?;
        counters.set_item("wakeups", stats.wakeups)?;
        Ok(counters)
    }

    /// The watch that tells whether the queue keeps climbing; the housekeeper gets one by itself.
    fn watch(&self) -> QueueWatch {
        QueueWatch {
            pool: Arc::clone(&self.core.pool),
            name: self.core.alarm.name.clone(),
            watch: Mutex::new(OverloadWatch::new(OverloadPolicy::default())),
        }
    }
}

impl Drop for TaskQueue {
    fn drop(&mut self) {
        if self.is_foreign() || gil::exiting() {
            // A count that is never given back: pool and tasks are leaked.
            std::mem::forget(Arc::clone(&self.core));
            return;
        }
        self.core.pool.close(PoolState::Closed);
        while let Some(item) = self.core.pool.take_orphan() {
            self.core.pool.return_orphan(item);
        }
    }
}

/// Tells whether a queue keeps climbing.
#[pyclass(frozen, module = "wiretask._native")]
pub struct QueueWatch {
    pool: Arc<WorkerPool<QueuedTask>>,
    /// The dispatcher's name.
    #[pyo3(get)]
    name: String,
    watch: Mutex<OverloadWatch>,
}

#[pymethods]
impl QueueWatch {
    /// Look at the queue: None, or what to tell: (depth, growth, oldest wait in seconds); growth 0 means recovered.
    fn sample(&self, now_seconds: f64) -> Option<(usize, usize, f64)> {
        let mut watch = self.watch.try_lock().ok()?;
        let oldest = Duration::from_millis(self.pool.oldest_wait_millis());
        let now = Duration::try_from_secs_f64(now_seconds).unwrap_or_default();
        watch.sample(self.pool.pending(), oldest, now).map(|notice| match notice {
            Notice::Climbing { depth, growth, oldest_wait_seconds } => (depth, growth, oldest_wait_seconds),
            Notice::Recovered { depth } => (depth, 0, 0.0),
        })
    }

    /// Whether the watch may end: the queue is short and the operator owed nothing. It begins anew by itself.
    fn try_end(&self) -> bool {
        let is_alarmed = self.watch.try_lock().is_ok_and(|watch| watch.is_alarmed());
        !is_alarmed
            && self.pool.pending() < wiretask_engine::worker_pool::BACKLOG_DEPTH
            && !self.pool.end_watch()
    }
}
