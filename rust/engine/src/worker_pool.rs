//! Workers that take items from one queue, and sleep when there is none.
//!
//! Strategy: pushing and taking are lock-free (`task_queue`, `sleepers`); only seats (which worker numbers are taken,
//! how many there shall be) stand behind a small lock, which nobody holds while calling out. A worker is whatever
//! thread holds a `Seat` and calls `next`; the pool starts no thread. Every item that was accepted comes out exactly
//! once: from `next`, from `take_orphan` after `close`, or through `PoolListener::handle_orphan`.
//! Must not know Python, sockets, or what an item is. Source: design, section 3; `tests/loom_worker_pool.rs`.
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crossbeam_queue::SegQueue;

use crate::duty::Duty;
pub use crate::seat::Seat;
use crate::seats::Seats;
use crate::sleepers::{MAX_WORKERS, Sleepers};
use crate::sync::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Condvar, Mutex, Ordering, fence, lock, wait_until,
};
use crate::task_queue::{ItemQueue, Stamped, TaskQueue};

/// Whether a pool takes items and gives them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PoolState {
    /// Takes items and gives them out.
    Open = 0,
    /// Takes none; workers finish what waits, then leave.
    Draining = 1,
    /// Takes none; workers leave at once; what waits is to be cancelled.
    Closed = 2,
}

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many wait as may.
    Full,
    /// The pool is draining or closed.
    Closed,
}

/// An item that was not taken: it is the caller's again.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused<T> {
    /// The item.
    pub item: T,
    /// Why.
    pub reason: Refusal,
}

/// What `next` found.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// An item to serve.
    Item(T),
    /// The worker has lost its seat and must end.
    Leave,
    /// The deadline has passed.
    TimedOut,
}

/// Is told what the pool cannot deal with itself. Called on any thread, with no lock held; must not block.
pub trait PoolListener<T>: Send + Sync {
    /// An accepted item that nobody will take any more, because the pool was closed meanwhile: cancel it.
    fn handle_orphan(&self, item: T);
    /// A worker is gone though it should not be: start another one.
    fn handle_missing_worker(&self);
    /// The queue has become longer than `BACKLOG_DEPTH`: watch it until `WorkerPool::end_watch`.
    fn handle_backlog(&self);
}

/// From this depth on a queue is watched.
pub const BACKLOG_DEPTH: usize = 32;

/// All counters of a pool at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Items accepted.
    pub added: u64,
    /// Items given to workers.
    pub taken: u64,
    /// Items that were accepted and cancelled.
    pub cancelled: u64,
    /// Items refused.
    pub refused: u64,
    /// Items that wait.
    pub pending: usize,
    /// The most that ever waited at once.
    pub highest_pending: usize,
    /// How long the oldest has waited, at most.
    pub oldest_wait_millis: u64,
    /// Workers there shall be.
    pub workers_target: usize,
    /// Workers there are.
    pub workers_alive: usize,
    /// Workers that sleep.
    pub workers_idle: usize,
    /// Workers that died without being asked to.
    pub workers_lost: u64,
    /// Sleeping workers that were woken.
    pub wakeups: u64,
}

/// The pool; shared as `Arc<WorkerPool<T>>`.
pub struct WorkerPool<T, Q = SegQueue<Stamped<T>>> {
    pub(crate) queue: TaskQueue<Q>,
    pub(crate) sleepers: Sleepers,
    state: AtomicU8,
    pub(crate) target: AtomicUsize,
    pub(crate) seats: Mutex<Seats>,
    pub(crate) seat_freed: Condvar,
    pub(crate) listener: OnceLock<Box<dyn PoolListener<T>>>,
    is_watched: AtomicBool,
    duty: Mutex<Option<Arc<dyn Duty>>>,
    /// Changes whenever the duty does; 0: there is none.
    duty_number: AtomicU64,
    duties: AtomicU64,
    pub(crate) taken: AtomicU64,
    cancelled: AtomicU64,
    refused: AtomicU64,
    pub(crate) lost: AtomicU64,
}

impl<T: Send, Q: ItemQueue<Stamped<T>>> WorkerPool<T, Q> {
    /// An open pool with no worker, whose queue takes up to `limit` items (`None`: any number).
    #[must_use]
    pub fn new(limit: Option<usize>) -> Self {
        Self {
            queue: TaskQueue::new(limit),
            sleepers: Sleepers::new(),
            state: AtomicU8::new(PoolState::Open as u8),
            target: AtomicUsize::new(0),
            seats: Mutex::new(Seats::default()),
            seat_freed: Condvar::new(),
            listener: OnceLock::new(),
            is_watched: AtomicBool::new(false),
            duty: Mutex::new(None),
            duty_number: AtomicU64::new(0),
            duties: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// Name who is told about orphans, lost workers and backlog; false when somebody was named before.
    pub fn listen(&self, listener: Box<dyn PoolListener<T>>) -> bool {
        self.listener.set(listener).is_ok()
    }

    /// Queue an item and wake one sleeping worker; returns how many items wait now.
    ///
    /// Any thread; never blocks.
    /// # Errors
    /// `Refused` with the item when the queue is full or the pool not open.
    pub fn push(&self, item: T) -> Result<usize, Refused<T>> {
        let pending = self.push_quietly(item)?;
        self.sleepers.wake_one();
        Ok(pending)
    }

    /// Queue an item and wake nobody: the caller pushes a batch, then calls `wake`. Otherwise as `push`.
    ///
    /// # Errors
    /// As `push`.
    pub fn push_quietly(&self, item: T) -> Result<usize, Refused<T>> {
        if self.state() != PoolState::Open {
            return Err(self.refuse(item, Refusal::Closed));
        }
        let pending = match self.queue.push(item) {
            Ok(pending) => pending,
            Err(item) => return Err(self.refuse(item, Refusal::Full)),
        };
        self.settle(pending);
        Ok(pending)
    }

    /// Wake one sleeping worker if items wait; it wakes the next one if more wait than it takes. Any thread.
    pub fn wake(&self) {
        if !self.queue.is_empty() {
            self.sleepers.wake_one();
        }
    }

    /// Queue an item again that `next` gave out and nobody started. Any thread; never blocks, never refuses.
    pub fn put_back(&self, item: T) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        let pending = self.queue.put_back(item);
        self.settle(pending);
        self.sleepers.wake_one();
    }

    /// Take one item of a closed pool, to cancel it; `None` when none is left or the pool is not closed.
    pub fn take_orphan(&self) -> Option<T> {
        if self.state() != PoolState::Closed {
            return None;
        }
        let item = self.queue.pop()?;
        self.cancelled.fetch_add(1, Ordering::Relaxed);
        Some(item)
    }

    /// Give an item that `take_orphan` gave out to the listener, which sees to its end.
    pub fn return_orphan(&self, item: T) {
        if let Some(listener) = self.listener.get() {
            listener.handle_orphan(item);
        }
    }

    /// Set how many workers there shall be, up to `MAX_WORKERS`; more than none re-opens a pool that was shut.
    ///
    /// Workers above the new number leave when they next ask for an item. The caller starts those that are missing
    /// (`claim_seat`). Returns whether seats are free now.
    /// # Locks
    /// The seats, for a moment.
    pub fn set_target(&self, target: usize) -> bool {
        let target = target.min(MAX_WORKERS);
        let is_vacant = {
            let mut seats = lock(&self.seats);
            seats.target = target;
            self.target.store(target, Ordering::Relaxed);
            if target > 0 {
                self.state.store(PoolState::Open as u8, Ordering::Release);
            }
            seats.has_vacancy()
        };
        fence(Ordering::SeqCst);
        self.sleepers.wake_from(target, MAX_WORKERS);
        is_vacant
    }

    /// How many workers there shall be.
    pub fn target(&self) -> usize {
        self.target.load(Ordering::Relaxed)
    }

    /// Whether a worker is missing.
    pub fn has_vacancy(&self) -> bool {
        lock(&self.seats).has_vacancy()
    }

    /// Take the lowest free seat, for a thread that the caller starts then; `None` when no worker is missing.
    ///
    /// # Locks
    /// The seats, for a moment.
    pub fn claim_seat(self: &Arc<Self>) -> Option<Seat<T, Q>> {
        let index = lock(&self.seats).claim()?;
        self.sleepers.make_room(index);
        Some(Seat::new(Arc::clone(self), index))
    }

    /// Stop taking items. `Draining`: workers finish what waits; `Closed`: they leave now, and the caller empties the
    /// queue by `take_orphan`. Idempotent; `Open` is ignored (see `set_target`).
    ///
    /// # Locks
    /// The seats, for a moment.
    pub fn close(&self, state: PoolState) {
        {
            let mut seats = lock(&self.seats);
            if state == PoolState::Open || (state == PoolState::Draining && self.state() == PoolState::Closed)
            {
                return;
            }
            if state == PoolState::Closed {
                seats.target = 0;
                self.target.store(0, Ordering::Relaxed);
            }
            self.state.store(state as u8, Ordering::Release);
        }
        fence(Ordering::SeqCst);
        self.sleepers.wake_from(0, MAX_WORKERS);
    }

    /// Whether the pool takes items.
    pub fn state(&self) -> PoolState {
        match self.state.load(Ordering::Acquire) {
            0 => PoolState::Open,
            1 => PoolState::Draining,
            _ => PoolState::Closed,
        }
    }

    /// Offer a duty, which one idle worker at a time stands instead of sleeping; one of them is woken for it.
    ///
    /// From now on a worker that takes an item wakes nobody for those behind it. False: there is a duty already,
    /// or no worker.
    /// # Locks
    /// The duty, for a moment.
    pub fn offer_duty(&self, duty: &Arc<dyn Duty>) -> bool {
        if self.target() == 0 || self.state() != PoolState::Open {
            return false;
        }
        let mut place = lock(&self.duty);
        if place.is_some() {
            return false;
        }
        *place = Some(Arc::clone(duty));
        let number = self.duties.fetch_add(1, Ordering::Relaxed) + 1;
        self.duty_number.store(number, Ordering::Release);
        drop(place);
        fence(Ordering::SeqCst);
        self.sleepers.wake_one();
        true
    }

    /// Take the duty back, if it is this one, and wake a worker for what waits. Whoever stands it goes on until it
    /// is called or the duty lets it go.
    ///
    /// # Locks
    /// The duty, for a moment.
    pub fn end_duty(&self, duty: &Arc<dyn Duty>) {
        let mut place = lock(&self.duty);
        let former = place.take_if(|place| Arc::ptr_eq(place, duty));
        if former.is_some() {
            self.duty_number.store(0, Ordering::Release);
        }
        drop(place);
        drop(former);
        fence(Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn has_duty(&self) -> bool {
        self.duty_number.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn duty_number(&self) -> u64 {
        self.duty_number.load(Ordering::Acquire)
    }

    pub(crate) fn duty(&self) -> Option<Arc<dyn Duty>> {
        lock(&self.duty).clone()
    }

    /// Wait until at most `rest` workers are left, or until the deadline; returns how many are left.
    ///
    /// # Blocking
    /// Yes; not while attached to the interpreter.
    pub fn wait_for_workers(&self, rest: usize, deadline: Option<Instant>) -> usize {
        let mut seats = lock(&self.seats);
        while seats.alive > rest && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            seats = wait_until(&self.seat_freed, seats, deadline);
        }
        seats.alive
    }

    /// How many items wait: exact when nothing moves.
    pub fn pending(&self) -> usize {
        self.queue.pending()
    }

    /// How long the oldest item has waited, at most, in milliseconds; 0 when none waits.
    pub fn oldest_wait_millis(&self) -> u64 {
        self.queue.oldest_wait_millis()
    }

    /// All counters; each exact when nothing moves.
    pub fn stats(&self) -> PoolStats {
        let (target, alive) = {
            let seats = lock(&self.seats);
            (seats.target, seats.alive)
        };
        let (taken, cancelled) = (self.taken.load(Ordering::Relaxed), self.cancelled.load(Ordering::Relaxed));
        let pending = self.queue.pending();
        PoolStats {
            // What came in is what came out and what is there: a push has enough to do without counting itself.
            added: taken + cancelled + pending as u64,
            taken,
            cancelled,
            refused: self.refused.load(Ordering::Relaxed),
            pending,
            highest_pending: self.queue.highest_pending(),
            oldest_wait_millis: self.queue.oldest_wait_millis(),
            workers_target: target,
            workers_alive: alive,
            workers_idle: self.sleepers.count().min(alive),
            workers_lost: self.lost.load(Ordering::Relaxed),
            wakeups: self.sleepers.wakeups(),
        }
    }

    /// Say that nobody watches the queue any more; true when it has become long again meanwhile and is still watched.
    pub fn end_watch(&self) -> bool {
        self.is_watched.store(false, Ordering::SeqCst);
        self.pending() >= BACKLOG_DEPTH && !self.is_watched.swap(true, Ordering::SeqCst)
    }

    /// After an item went in: see that it comes out though the pool was closed meanwhile, and that a backlog is seen.
    fn settle(&self, pending: usize) {
        fence(Ordering::SeqCst);
        if self.state() == PoolState::Closed {
            while let Some(item) = self.take_orphan() {
                self.return_orphan(item);
            }
        } else if pending >= BACKLOG_DEPTH
            && !self.is_watched.load(Ordering::Relaxed)
            && !self.is_watched.swap(true, Ordering::SeqCst)
            && let Some(listener) = self.listener.get()
        {
            listener.handle_backlog();
        }
    }

    fn refuse(&self, item: T, reason: Refusal) -> Refused<T> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Refused { item, reason }
    }

    /// Whether worker `index` has to leave, given that the queue is empty or not asked.
    pub(crate) fn must_leave(&self, index: usize, is_idle: bool) -> bool {
        index >= self.target.load(Ordering::Relaxed) || (is_idle && self.state() == PoolState::Draining)
    }
}

impl<T, Q> fmt::Debug for WorkerPool<T, Q> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WorkerPool")
            .field("queue.pending", &self.queue.pending())
            .finish_non_exhaustive()
    }
}
