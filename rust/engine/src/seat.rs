//! One worker's place in a pool: how it gets items, sleeps, and goes.
//!
//! Strategy: look, announce, look again, sleep (see `sleepers`); leaving is decided under the lock of the seats, and a
//! wake-up that reached a worker which leaves is passed on. Must not know what an item is, nor start a thread.
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_queue::SegQueue;

use crate::duty::Duty;
use crate::sync::{Ordering, fence, lock};
use crate::task_queue::{ItemQueue, Stamped};
use crate::worker_pool::{Next, PoolState, WorkerPool};

/// One worker's place in the pool. Dropping it frees the place; if the worker had not been told to leave, it counts
/// as lost and the listener hears of it.
pub struct Seat<T: Send, Q: ItemQueue<Stamped<T>> = SegQueue<Stamped<T>>> {
    pool: Arc<WorkerPool<T, Q>>,
    index: usize,
    is_named: bool,
    is_held: bool,
    /// The duty as it was last seen, with its number.
    duty: (u64, Option<Arc<dyn Duty>>),
}

impl<T: Send, Q: ItemQueue<Stamped<T>>> Seat<T, Q> {
    /// A seat that was taken in the pool's lock.
    pub(crate) fn new(pool: Arc<WorkerPool<T, Q>>, index: usize) -> Self {
        Self { pool, index, is_named: false, is_held: true, duty: (0, None) }
    }

    /// The worker's number: the lowest that was free.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &Arc<WorkerPool<T, Q>> {
        &self.pool
    }

    /// The next item or the word to leave, if there is either now. Never blocks (but for the seats, when leaving).
    pub fn try_next(&mut self) -> Option<Next<T>> {
        if !self.is_held || (self.pool.must_leave(self.index, false) && self.leave()) {
            return Some(Next::Leave);
        }
        if let Some(item) = self.pool.queue.pop() {
            self.pool.taken.fetch_add(1, Ordering::Relaxed);
            // While a worker brings the work in itself, nobody else is woken for it: that costs more.
            if !self.pool.queue.is_empty() && !self.pool.has_duty() {
                self.pool.sleepers.wake_one();
            }
            return Some(Next::Item(item));
        }
        (self.pool.must_leave(self.index, true) && self.leave()).then_some(Next::Leave)
    }

    /// The next item; sleeps until there is one, until the worker has to leave, or until the deadline.
    ///
    /// # Blocking
    /// Yes; not while attached to the interpreter. Always by the same thread.
    pub fn next(&mut self, deadline: Option<Instant>) -> Next<T> {
        loop {
            if let Some(next) = self.try_next() {
                return next;
            }
            if !self.wait(deadline) {
                return self.try_next().unwrap_or(Next::TimedOut);
            }
        }
    }

    /// After `try_next` found nothing: sleep until it is likely to find something; false: the deadline has passed.
    ///
    /// Nothing is taken. Who has yet to wait for something else before it can serve, as for the interpreter, takes the
    /// item after that, and until then anybody else may have it.
    /// # Blocking
    /// As `next`.
    pub fn wait(&mut self, deadline: Option<Instant>) -> bool {
        if !self.is_named {
            self.pool.sleepers.name_thread(self.index);
            self.is_named = true;
        }
        loop {
            if deadline.is_some() || !self.stand_duty() {
                self.pool.sleepers.announce(self.index);
                if self.has_news() {
                    self.pool.sleepers.withdraw(self.index);
                } else if !self.pool.sleepers.sleep(self.index, deadline) {
                    return false;
                }
            }
            if self.has_news() {
                return true;
            }
        }
    }

    /// Whether an item waits, or the worker has to leave.
    fn has_news(&self) -> bool {
        !self.is_held || !self.pool.queue.is_empty() || self.pool.must_leave(self.index, true)
    }

    /// Stand the pool's duty, if there is one and nobody stands it; whether to look at the queue again then.
    fn stand_duty(&mut self) -> bool {
        let number = self.pool.duty_number();
        if number != self.duty.0 {
            self.duty = (number, self.pool.duty());
            self.pool.sleepers.name_duty(self.index, self.duty.1.clone());
        }
        let Some(duty) = &self.duty.1 else { return false };
        let pool = &self.pool;
        pool.sleepers.announce(self.index);
        if self.has_news() {
            pool.sleepers.withdraw(self.index);
            return true;
        }
        let has_stood = duty.stand(&|| pool.sleepers.is_called(self.index));
        pool.sleepers.withdraw(self.index);
        has_stood
    }

    /// Give the seat back because no thread could be started for it: nobody is lost, and nobody is missing either.
    ///
    /// If the target still is what was `requested`, it falls to the number of workers there are.
    pub fn give_up(mut self, requested: Option<usize>) {
        self.is_held = false;
        let mut seats = lock(&self.pool.seats);
        seats.free(self.index);
        if Some(seats.target) == requested {
            seats.target = seats.alive;
            self.pool.target.store(seats.target, Ordering::Relaxed);
        }
        drop(seats);
        self.pool.seat_freed.notify_all();
    }

    /// Free the seat if the worker still has to leave; decided under the lock, so that no count is ever wrong.
    fn leave(&mut self) -> bool {
        let mut seats = lock(&self.pool.seats);
        let is_over = self.index >= seats.target
            || (self.pool.state() == PoolState::Draining && self.pool.queue.is_empty());
        if is_over {
            seats.free(self.index);
            self.is_held = false;
        }
        drop(seats);
        if is_over {
            self.pool.seat_freed.notify_all();
            self.pass_wake_up_on();
        }
        is_over
    }

    /// A wake-up that was spent on this worker must not be lost with it.
    fn pass_wake_up_on(&self) {
        fence(Ordering::SeqCst);
        self.pool.wake();
    }
}

impl<T: Send, Q: ItemQueue<Stamped<T>>> Drop for Seat<T, Q> {
    fn drop(&mut self) {
        if !self.is_held {
            return;
        }
        let is_missing = {
            let mut seats = lock(&self.pool.seats);
            seats.free(self.index);
            seats.has_vacancy()
        };
        self.pool.seat_freed.notify_all();
        self.pass_wake_up_on();
        self.pool.lost.fetch_add(1, Ordering::Relaxed);
        if is_missing && let Some(listener) = self.pool.listener.get() {
            listener.handle_missing_worker();
        }
    }
}

impl<T: Send, Q: ItemQueue<Stamped<T>>> fmt::Debug for Seat<T, Q> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Seat").field("index", &self.index).field("is_held", &self.is_held).finish()
    }
}
