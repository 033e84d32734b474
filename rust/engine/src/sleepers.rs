//! Who sleeps, and how one of them is woken.
//!
//! Strategy: one bit a worker in 64-bit words, and a count of the set bits as a summary. A worker announces itself,
//! fences, looks again at what it waits for, and parks until its bit is gone. A waker publishes its news, fences,
//! and takes one bit away: the lowest, so that the worker with the warmest caches works and the rest stay asleep.
//! The two fences (sequentially consistent) make it certain that the waker sees the sleeper or the sleeper the news.
//! Whoever clears a bit owns that wake-up: no sleeper is woken twice. Must not know what is waited for.
//! Source: design, section 3; the protocol is model-checked by `tests/loom_worker_pool.rs`.
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::duty::Duty;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, Thread, current, fence, lock, park_until};

/// How many workers one pool can have at most.
pub const MAX_WORKERS: usize = 4096;
const WORDS: usize = MAX_WORKERS / 64;
/// How many slots of a chunk are there; fewer under the model checker, which tracks each one.
const SLOTS: usize = if cfg!(loom) { 4 } else { 64 };

/// How a sleeper is reached: parked, or standing a duty.
#[derive(Default)]
struct Reach {
    thread: Option<Thread>,
    duty: Option<Arc<dyn Duty>>,
}

impl Reach {
    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
        if let Some(duty) = &self.duty {
            duty.nudge();
        }
    }
}

/// 64 sleepers: their bits, and how each is reached.
struct Chunk {
    asleep: AtomicU64,
    reach: [Mutex<Reach>; SLOTS],
}

impl Chunk {
    fn new() -> Self {
        Self { asleep: AtomicU64::new(0), reach: std::array::from_fn(|_| Mutex::new(Reach::default())) }
    }
}

/// The set of sleeping workers.
pub(crate) struct Sleepers {
    /// Bits that are set, or are about to be: never fewer than are set.
    announced: AtomicUsize,
    wakeups: AtomicU64,
    chunks: [OnceLock<Box<Chunk>>; WORDS],
}

impl Sleepers {
    pub(crate) fn new() -> Self {
        Self {
            announced: AtomicUsize::new(0),
            wakeups: AtomicU64::new(0),
            chunks: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    /// How many sleep, about.
    pub(crate) fn count(&self) -> usize {
        self.announced.load(Ordering::Relaxed)
    }

    /// How many were woken so far.
    pub(crate) fn wakeups(&self) -> u64 {
        self.wakeups.load(Ordering::Relaxed)
    }

    /// Make room for worker `index`, below `MAX_WORKERS`. Idempotent; any thread.
    pub(crate) fn make_room(&self, index: usize) {
        if let Some(chunk) = self.chunks.get(index / 64) {
            chunk.get_or_init(|| Box::new(Chunk::new()));
        }
    }

    /// Name the calling thread as the one that sleeps as `index`; before its first `announce`.
    pub(crate) fn name_thread(&self, index: usize) {
        if let Some((chunk, slot, _)) = self.find(index) {
            lock(&chunk.reach[slot]).thread = Some(current());
        }
    }

    /// Name the duty that `index` may stand while it is announced; before it does.
    pub(crate) fn name_duty(&self, index: usize, duty: Option<Arc<dyn Duty>>) {
        if let Some((chunk, slot, _)) = self.find(index) {
            let former = std::mem::replace(&mut lock(&chunk.reach[slot]).duty, duty);
            drop(former);
        }
    }

    /// Whether a waker has claimed `index`, which had announced itself.
    pub(crate) fn is_called(&self, index: usize) -> bool {
        self.find(index).is_some_and(|(chunk, _, bit)| chunk.asleep.load(Ordering::Acquire) & bit == 0)
    }

    /// Say that `index` is about to sleep. It must look again at what it waits for before it parks.
    pub(crate) fn announce(&self, index: usize) {
        if let Some((chunk, _, bit)) = self.find(index) {
            self.announced.fetch_add(1, Ordering::Relaxed);
            chunk.asleep.fetch_or(bit, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
    }

    /// Take the announcement back; false when a waker was faster and spent its wake-up on `index`.
    pub(crate) fn withdraw(&self, index: usize) -> bool {
        let Some((chunk, _, bit)) = self.find(index) else { return true };
        self.claim(chunk, bit)
    }

    /// Sleep until a waker has claimed `index` (true), or the deadline has passed (false, announcement withdrawn).
    ///
    /// # Blocking
    /// Yes. Must be called by the thread that announced itself.
    pub(crate) fn sleep(&self, index: usize, deadline: Option<Instant>) -> bool {
        let Some((chunk, _, bit)) = self.find(index) else { return true };
        while chunk.asleep.load(Ordering::Acquire) & bit != 0 {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return !self.claim(chunk, bit);
            }
            park_until(deadline);
        }
        true
    }

    /// Wake the sleeper with the lowest index; false when there is none.
    ///
    /// The news must be published and a `SeqCst` fence passed before. Any thread; never blocks.
    pub(crate) fn wake_one(&self) -> bool {
        self.count() != 0 && self.wake_from(0, 1) == 1
    }

    /// Wake up to `limit` sleepers whose index is at least `first`; returns how many. Fence as for `wake_one`.
    pub(crate) fn wake_from(&self, first: usize, limit: usize) -> usize {
        let mut woken = 0;
        for (word, chunk) in self.chunks.iter().enumerate().skip(first / 64) {
            let Some(chunk) = chunk.get() else { continue };
            let floor = if word == first / 64 { u64::MAX << (first % 64) } else { u64::MAX };
            let mut seen = chunk.asleep.load(Ordering::Relaxed) & floor;
            while seen != 0 && woken < limit {
                let slot = seen.trailing_zeros() as usize;
                let bit = 1 << slot;
                if self.claim(chunk, bit) {
                    woken += 1;
                    self.wakeups.fetch_add(1, Ordering::Relaxed);
                    lock(&chunk.reach[slot]).wake();
                }
                seen &= !bit;
            }
            if woken == limit {
                break;
            }
        }
        woken
    }

    /// Clear one bit; true for the one caller that found it set.
    fn claim(&self, chunk: &Chunk, bit: u64) -> bool {
        let claimed = chunk.asleep.fetch_and(!bit, Ordering::AcqRel) & bit != 0;
        if claimed {
            self.announced.fetch_sub(1, Ordering::Relaxed);
        }
        claimed
    }

    fn find(&self, index: usize) -> Option<(&Chunk, usize, u64)> {
        let slot = index % 64;
        self.chunks.get(index / 64)?.get().map(|chunk| (&**chunk, slot, 1 << slot))
    }
}
