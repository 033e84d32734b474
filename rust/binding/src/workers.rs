//! Those who take tasks out of the queue: workers, to serve them, and whoever cancels what is left.
//!
//! Strategy: what is taken is put into a one-element list (the *cell*) that Python empties at the moment it starts the
//! task, so that an asynchronous exception between the two loses nothing: `next` gives a task in the cell out again,
//! and a worker that dies puts it back. No method runs Python code or drops the last reference to an object (`gil`).
//! Source: design, section 3; ITask.service ("exactly one of service() and cancel()").
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use wiretask_engine::worker_pool::{Next, Seat, WorkerPool};

use crate::gil::{self, Section};
use crate::host::PythonConnection;
use crate::tasks::{Core, QueuedTask};

thread_local! {
    /// The address of the pool the calling thread works for, 0 if for none.
    static WORKS_FOR: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Whether the calling thread is a worker of this pool.
pub(crate) fn works_for(pool: &Arc<WorkerPool<QueuedTask>>) -> bool {
    WORKS_FOR.get() == Arc::as_ptr(pool).addr()
}

/// One worker's end of the queue. Used by one thread.
#[pyclass(frozen, module = "wiretask._native")]
pub struct Worker {
    seat: Mutex<Option<Seat<QueuedTask>>>,
    /// The connection given out last, with the number of that run.
    run: Mutex<Option<(Arc<PythonConnection>, u64)>>,
    /// There is something in `run`.
    has_run: AtomicBool,
    /// The thread that is to use this has been told whom it works for.
    is_begun: AtomicBool,
    /// How often the task in the cell has been given out.
    attempts: AtomicU32,
    /// The task at hand, until Python has started it.
    #[pyo3(get)]
    cell: Py<PyList>,
    /// The worker's number.
    #[pyo3(get)]
    index: usize,
    core: Arc<Core>,
}

impl Worker {
    /// A worker for the lowest free seat; None if none is free.
    pub(crate) fn claim(py: Python<'_>, core: &Arc<Core>) -> PyResult<Option<Self>> {
        let cell = PyList::new(py, [py.None()])?.unbind();
        let Some(seat) = core.pool.claim_seat() else { return Ok(None) };
        let (index, core) = (seat.index(), Arc::clone(core));
        let (run, has_run, is_begun) = (Mutex::new(None), AtomicBool::new(false), AtomicBool::new(false));
        let (seat, attempts) = (Mutex::new(Some(seat)), AtomicU32::new(0));
        Ok(Some(Self { seat, run, has_run, is_begun, attempts, cell, index, core }))
    }

    fn take_run(&self) -> Option<(Arc<PythonConnection>, u64)> {
        if !self.has_run.load(Ordering::Relaxed) {
            return None;
        }
        self.has_run.store(false, Ordering::Relaxed);
        self.run.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Nothing may stay half done when `service` was left in the middle, or never entered: by an
    /// asynchronous exception, or because a subclass forgot to call its base.
    fn end_run(&self) {
        if let Some((connection, run)) = self.take_run() {
            connection.give_up_run(run);
        }
    }
}

#[pymethods]
impl Worker {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The next task; it is in `cell[0]` too. The end: the worker must leave.
    ///
    /// A task that is still in the cell is given out again. None after a wait, in which nothing is taken: a task that
    /// was would wait for this thread until it has the interpreter, while another that has it could serve it.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let cell = self.cell.bind(py);
        if self.core.is_foreign() {
            return Ok(None);
        }
        let left = cell.get_item(0)?;
        if !left.is_none() {
            self.attempts.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(left.unbind()));
        }
        self.attempts.store(1, Ordering::Relaxed);
        let Ok(mut seat) = self.seat.try_lock() else {
            return Err(PyRuntimeError::new_err("this worker is another thread's"));
        };
        self.end_run();
        let Some(seat) = seat.as_mut() else { return Ok(None) };
        if !self.is_begun.load(Ordering::Relaxed) {
            self.is_begun.store(true, Ordering::Relaxed);
            WORKS_FOR.set(Arc::as_ptr(&self.core.pool).addr());
        }
        let item = match seat.try_next() {
            Some(Next::Item(item)) => item,
            Some(Next::Leave | Next::TimedOut) => return Ok(None),
            None => {
                let has_waited = gil::wait(py, Section::WorkerSleep, || seat.wait(None)).is_some();
                return Ok(has_waited.then(|| py.None()));
            }
        };
        if let QueuedTask::Connection(connection) = &item {
            let run = connection.current_run().map(|run| (Arc::clone(connection), run));
            *self.run.lock().unwrap_or_else(PoisonError::into_inner) = run;
            self.has_run.store(true, Ordering::Relaxed);
        }
        let task = item.into_task(py)?;
        cell.set_item(0, &task)?;
        Ok(Some(task))
    }

    /// How often the task in the cell has been given out.
    #[getter]
    fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Give the seat back, and a task that was not started to the queue. A second call does nothing.
    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        let cell = self.cell.bind(py);
        if self.core.is_foreign() {
            return Ok(());
        }
        let task = cell.get_item(0)?;
        if !task.is_none() {
            cell.set_item(0, py.None())?;
            self.core.pool.put_back(QueuedTask::Object(task.unbind()));
            drop(self.take_run());
        }
        self.end_run();
        WORKS_FOR.set(0);
        let seat = self.seat.try_lock().ok().and_then(|mut seat| seat.take());
        drop(seat);
        Ok(())
    }

    /// Give the seat back because no thread can be started; `requested` is the number of workers that was
    /// wanted: if it still is, it falls to the number that there are.
    #[pyo3(signature = (requested=None))]
    fn give_up(&self, requested: Option<usize>) {
        if let Some(seat) = self.seat.try_lock().ok().and_then(|mut seat| seat.take()) {
            seat.give_up(requested);
        }
    }

    /// Count an exception that came out of a task.
    fn count_error(&self) {
        self.core.alarm.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// The dispatcher's name.
    #[getter]
    fn name(&self) -> &str {
        &self.core.alarm.name
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.core.is_foreign() || gil::exiting() {
            let seat = self.seat.get_mut().unwrap_or_else(PoisonError::into_inner).take();
            std::mem::forget((seat, self.take_run(), Arc::clone(&self.core)));
            return;
        }
        if let Some(Err(error)) = gil::while_attached(|py| self.leave(py)) {
            std::mem::forget(error);
        }
    }
}

/// The tasks of a closed queue, one after the other; used by one thread.
#[pyclass(frozen, module = "wiretask._native")]
pub struct Orphans {
    /// The task at hand, until Python has begun to cancel it.
    #[pyo3(get)]
    cell: Py<PyList>,
    core: Arc<Core>,
}

impl Orphans {
    pub(crate) fn new(py: Python<'_>, core: &Arc<Core>) -> PyResult<Self> {
        Ok(Self { cell: PyList::new(py, [py.None()])?.unbind(), core: Arc::clone(core) })
    }
}

#[pymethods]
impl Orphans {
    /// Put the next task into `cell[0]`: True. False: none is left. A task still in the cell is given out again.
    fn next(&self, py: Python<'_>) -> PyResult<bool> {
        let cell = self.cell.bind(py);
        if !cell.get_item(0)?.is_none() {
            return Ok(true);
        }
        if self.core.is_foreign() {
            return Ok(false);
        }
        let Some(item) = self.core.pool.take_orphan() else { return Ok(false) };
        cell.set_item(0, item.into_task(py)?)?;
        Ok(true)
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        if self.core.is_foreign() || gil::exiting() {
            std::mem::forget(Arc::clone(&self.core));
            return;
        }
        gil::while_attached(|py| {
            if let Ok(task) = self.cell.bind(py).get_item(0)
                && !task.is_none()
            {
                self.core.pool.return_orphan(QueuedTask::Object(task.unbind()));
            }
        });
    }
}
