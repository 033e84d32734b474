//! Model check of the wake-up protocol: every interleaving of a few threads, on the pool's own code.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test -p wiretask-engine --release --test loom_worker_pool`.
//! Only the queue is a stand-in (loom cannot run crossbeam's); it has no fence of its own, so that the protocol's
//! fences are what is tested: without either of them `sleeping_worker_gets_the_item` dead-locks.
#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::panic)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use loom::thread;
use std::sync::Arc as StdArc;
use wiretask_engine::duty::Duty;
use wiretask_engine::task_queue::{ItemQueue, Stamped};
use wiretask_engine::worker_pool::{Next, PoolListener, PoolState, Refusal, Seat, WorkerPool};

const CELLS: usize = 2;

/// Up to two items, first in first out, with plain acquire/release hand-over.
struct StandIn<T> {
    cells: [(AtomicUsize, std::sync::Mutex<Option<T>>); CELLS],
    tail: AtomicUsize,
}

impl<T: Send> ItemQueue<T> for StandIn<T> {
    fn new() -> Self {
        let cells = std::array::from_fn(|_| (AtomicUsize::new(0), std::sync::Mutex::new(None)));
        Self { cells, tail: AtomicUsize::new(0) }
    }

    fn push(&self, item: T) {
        let (is_full, cell) = &self.cells[self.tail.fetch_add(1, Ordering::Relaxed)];
        *cell.lock().unwrap() = Some(item);
        is_full.store(1, Ordering::Release);
    }

    fn pop(&self) -> Option<T> {
        let taken = self.cells.iter().find(|(state, _)| {
            state.load(Ordering::Relaxed) == 1
                && state.compare_exchange(1, 2, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        taken.and_then(|(_, cell)| cell.lock().unwrap().take())
    }

    fn is_empty(&self) -> bool {
        self.cells.iter().all(|(state, _)| state.load(Ordering::Relaxed) != 1)
    }
}

type Pool = WorkerPool<usize, StandIn<Stamped<usize>>>;
type Worker = Seat<usize, StandIn<Stamped<usize>>>;

/// How often each item came out, and which way.
#[derive(Default)]
struct Outcomes {
    served: [AtomicUsize; CELLS],
    cancelled: [AtomicUsize; CELLS],
}

impl Outcomes {
    fn count(&self, item: usize) -> usize {
        self.served[item].load(Ordering::SeqCst) + self.cancelled[item].load(Ordering::SeqCst)
    }
}

struct Listener(Arc<Outcomes>);

impl PoolListener<usize> for Listener {
    fn handle_orphan(&self, item: usize) {
        self.0.cancelled[item].fetch_add(1, Ordering::SeqCst);
    }
    fn handle_missing_worker(&self) {}
    fn handle_backlog(&self) {}
}

fn model(check: impl Fn(StdArc<Pool>, Arc<Outcomes>) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || {
        let outcomes = Arc::new(Outcomes::default());
        let pool = StdArc::new(Pool::new(None));
        pool.listen(Box::new(Listener(Arc::clone(&outcomes))));
        check(pool, outcomes);
    });
}

fn start(pool: &StdArc<Pool>, outcomes: &Arc<Outcomes>) -> thread::JoinHandle<()> {
    let mut seat: Worker = pool.claim_seat().unwrap();
    let outcomes = Arc::clone(outcomes);
    thread::spawn(move || {
        while let Next::Item(item) = seat.next(None) {
            outcomes.served[item].fetch_add(1, Ordering::SeqCst);
        }
    })
}

/// Wait for one item without leaving afterwards, so that nothing but the wake-up can end the sleep.
fn serve_one(pool: &StdArc<Pool>, outcomes: &Arc<Outcomes>) -> thread::JoinHandle<Worker> {
    let mut seat: Worker = pool.claim_seat().unwrap();
    let outcomes = Arc::clone(outcomes);
    thread::spawn(move || {
        if let Next::Item(item) = seat.next(None) {
            outcomes.served[item].fetch_add(1, Ordering::SeqCst);
        }
        seat
    })
}

#[test]
fn sleeping_worker_gets_the_item() {
    model(|pool, outcomes| {
        pool.set_target(1);
        let worker = serve_one(&pool, &outcomes);
        pool.push(0).unwrap();
        drop(worker.join().unwrap());
        assert_eq!((outcomes.count(0), pool.pending()), (1, 0));
    });
}

/// A worker that was woken and takes nothing after all: it ended while it waited for the interpreter.
#[test]
fn what_a_woken_worker_leaves_reaches_another() {
    model(|pool, outcomes| {
        pool.set_target(2);
        let mut first: Worker = pool.claim_seat().unwrap();
        let worker = serve_one(&pool, &outcomes);
        let leaving = thread::spawn(move || {
            if first.wait(None) {
                drop(first);
            }
        });
        pool.push(0).unwrap();
        let seat = worker.join().unwrap();
        // Whoever still waits for news has some now.
        pool.push(1).unwrap();
        leaving.join().unwrap();
        assert_eq!((outcomes.count(0), outcomes.count(1), pool.pending()), (1, 0, 1));
        drop(seat);
    });
}

#[test]
fn two_items_reach_two_sleepers() {
    model(|pool, outcomes| {
        pool.set_target(2);
        let workers = [serve_one(&pool, &outcomes), serve_one(&pool, &outcomes)];
        pool.push(0).unwrap();
        pool.push(1).unwrap();
        let seats = workers.map(|worker| worker.join().unwrap());
        assert_eq!((outcomes.count(0), outcomes.count(1)), (1, 1));
        drop(seats);
    });
}

#[test]
fn one_wake_pass_serves_a_batch() {
    model(|pool, outcomes| {
        pool.set_target(2);
        let workers = [serve_one(&pool, &outcomes), serve_one(&pool, &outcomes)];
        pool.push_quietly(0).unwrap();
        pool.push_quietly(1).unwrap();
        pool.wake();
        let seats = workers.map(|worker| worker.join().unwrap());
        assert_eq!((outcomes.count(0), outcomes.count(1)), (1, 1));
        drop(seats);
    });
}

#[test]
fn item_pushed_while_the_pool_closes_has_one_outcome() {
    model(|pool, outcomes| {
        pool.set_target(1);
        let worker = start(&pool, &outcomes);
        let pusher = {
            let (pool, outcomes) = (StdArc::clone(&pool), Arc::clone(&outcomes));
            thread::spawn(move || {
                if let Err(refused) = pool.push(0) {
                    assert_eq!(refused.reason, Refusal::Closed);
                    outcomes.cancelled[refused.item].fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        pool.close(PoolState::Closed);
        while let Some(item) = pool.take_orphan() {
            outcomes.cancelled[item].fetch_add(1, Ordering::SeqCst);
        }
        pusher.join().unwrap();
        worker.join().unwrap();
        assert_eq!((outcomes.count(0), pool.pending()), (1, 0));
    });
}

#[test]
fn item_accepted_before_a_drain_is_served_or_stays() {
    model(|pool, outcomes| {
        pool.set_target(1);
        let worker = start(&pool, &outcomes);
        let pusher = {
            let pool = StdArc::clone(&pool);
            thread::spawn(move || usize::from(pool.push(0).is_ok()))
        };
        pool.close(PoolState::Draining);
        worker.join().unwrap();
        let accepted = pusher.join().unwrap();
        assert_eq!(outcomes.count(0) + pool.pending(), accepted);
    });
}

#[test]
fn item_pushed_while_a_worker_retires_reaches_the_one_that_stays() {
    model(|pool, outcomes| {
        pool.set_target(2);
        let stays = serve_one(&pool, &outcomes);
        let retires = start(&pool, &outcomes);
        pool.push(0).unwrap();
        pool.set_target(1);
        retires.join().unwrap();
        if outcomes.count(0) == 1 {
            pool.close(PoolState::Closed);
        }
        drop(stays.join().unwrap());
        assert_eq!(outcomes.count(0), 1);
    });
}

#[test]
fn count_down_and_up_again_never_miscounts() {
    model(|pool, outcomes| {
        pool.set_target(2);
        let first = pool.claim_seat();
        let second = start(&pool, &outcomes);
        pool.set_target(1);
        pool.set_target(2);
        let third = pool.claim_seat();
        assert_eq!(pool.stats().workers_alive, 2);
        drop((first, third));
        pool.close(PoolState::Closed);
        second.join().unwrap();
        assert_eq!(pool.stats().workers_alive, 0);
    });
}

/// A duty that brings nothing: whoever stands it sleeps as a loop does, until it is called.
struct Watch {
    is_stood: AtomicBool,
    is_asleep: AtomicBool,
    thread: loom::sync::Mutex<Option<thread::Thread>>,
}

impl Duty for Watch {
    fn stand(&self, is_called: &dyn Fn() -> bool) -> bool {
        if self.is_stood.swap(true, Ordering::AcqRel) {
            return false;
        }
        *self.thread.lock().unwrap() = Some(thread::current());
        self.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !is_called() {
            while self.is_asleep.load(Ordering::Acquire) {
                thread::park();
            }
        }
        self.is_asleep.store(false, Ordering::Relaxed);
        self.is_stood.store(false, Ordering::Release);
        true
    }

    fn nudge(&self) {
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::Relaxed) && self.is_asleep.swap(false, Ordering::AcqRel) {
            let thread = self.thread.lock().unwrap();
            thread.iter().for_each(thread::Thread::unpark);
        }
    }
}

fn watch() -> StdArc<dyn Duty> {
    StdArc::new(Watch {
        is_stood: AtomicBool::new(false),
        is_asleep: AtomicBool::new(false),
        thread: loom::sync::Mutex::new(None),
    })
}

#[test]
fn worker_on_duty_gets_the_item() {
    model(|pool, outcomes| {
        pool.set_target(1);
        assert!(pool.offer_duty(&watch()));
        let worker = serve_one(&pool, &outcomes);
        pool.push(0).unwrap();
        drop(worker.join().unwrap());
        assert_eq!((outcomes.count(0), pool.pending()), (1, 0));
    });
}

#[test]
fn worker_on_duty_leaves_when_the_pool_closes() {
    model(|pool, outcomes| {
        pool.set_target(1);
        assert!(pool.offer_duty(&watch()));
        let worker = start(&pool, &outcomes);
        pool.close(PoolState::Closed);
        worker.join().unwrap();
        assert_eq!(pool.stats().workers_alive, 0);
    });
}

#[test]
fn item_queued_quietly_is_served_when_the_duty_ends() {
    model(|pool, outcomes| {
        pool.set_target(1);
        let duty = watch();
        assert!(pool.offer_duty(&duty));
        let worker = serve_one(&pool, &outcomes);
        pool.push_quietly(0).unwrap();
        pool.end_duty(&duty);
        duty.nudge();
        drop(worker.join().unwrap());
        assert_eq!(outcomes.count(0), 1);
    });
}
