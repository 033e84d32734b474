//! The queue that tasks wait in: lock-free, first in first out, bounded or not, and countable.
//!
//! Strategy: crossbeam's segmented queue for the items, and beside it a count in which a place is reserved *before*
//! the item goes in, so that the bound holds exactly and the count is exact whenever nothing moves. Each item carries
//! a coarse stamp; the stamp of the last one taken bounds how long the oldest has waited. Must not know who takes the
//! items, nor sleep or wake anybody.
use crossbeam_queue::SegQueue;

use crate::clock::coarse_millis;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// A multi-producer, multi-consumer, first-in-first-out queue without a bound.
///
/// A seam for the model checker, which cannot run crossbeam's queue. No fence may be expected of an implementation
/// beyond this: what was written before `push` is seen by whoever `pop`s the item.
pub trait ItemQueue<T>: Send + Sync {
    /// An empty queue.
    fn new() -> Self;
    /// Add at the end. Never blocks.
    fn push(&self, item: T);
    /// Take from the front. Never blocks.
    fn pop(&self) -> Option<T>;
    /// Whether nothing is there, as far as this thread can see.
    fn is_empty(&self) -> bool;
}

impl<T: Send> ItemQueue<T> for SegQueue<T> {
    fn new() -> Self {
        Self::new()
    }

    fn push(&self, item: T) {
        self.push(item);
    }

    fn pop(&self) -> Option<T> {
        self.pop()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// An item and when it was queued.
#[derive(Debug)]
pub struct Stamped<T> {
    item: T,
    since_millis: u64,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct TaskQueue<Q> {
    items: Q,
    pending: AtomicUsize,
    highest: AtomicUsize,
    /// The oldest item that waits was queued at this moment or later.
    oldest_since_millis: AtomicU64,
    limit: usize,
}

impl<Q> TaskQueue<Q> {
    /// An empty queue that takes up to `limit` items (`None`: any number).
    pub(crate) fn new<T>(limit: Option<usize>) -> Self
    where
        Q: ItemQueue<Stamped<T>>,
    {
        Self {
            items: Q::new(),
            pending: AtomicUsize::new(0),
            highest: AtomicUsize::new(0),
            oldest_since_millis: AtomicU64::new(0),
            limit: limit.unwrap_or(usize::MAX),
        }
    }

    /// Queue an item and return how many wait now, it included.
    ///
    /// # Errors
    /// The item comes back when `limit` items wait already; nothing has changed then.
    pub(crate) fn push<T>(&self, item: T) -> Result<usize, T>
    where
        Q: ItemQueue<Stamped<T>>,
    {
        let pending = self.pending.fetch_add(1, Ordering::Relaxed) + 1;
        if pending > self.limit {
            self.pending.fetch_sub(1, Ordering::Relaxed);
            return Err(item);
        }
        Ok(self.store(item, pending))
    }

    /// Queue an item that had been taken and was not started, whatever the limit; returns how many wait now.
    pub(crate) fn put_back<T>(&self, item: T) -> usize
    where
        Q: ItemQueue<Stamped<T>>,
    {
        let pending = self.pending.fetch_add(1, Ordering::Relaxed) + 1;
        self.store(item, pending)
    }

    /// Take the oldest item. Never blocks.
    pub(crate) fn pop<T>(&self) -> Option<T>
    where
        Q: ItemQueue<Stamped<T>>,
    {
        let Stamped { item, since_millis } = self.items.pop()?;
        self.pending.fetch_sub(1, Ordering::Relaxed);
        self.raise_oldest(since_millis);
        Some(item)
    }

    /// Whether nothing waits, as far as the calling thread can see.
    pub(crate) fn is_empty<T>(&self) -> bool
    where
        Q: ItemQueue<Stamped<T>>,
    {
        self.items.is_empty()
    }

    /// How many wait: exact when nothing moves, else about (a push under way may be counted already).
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed).min(self.limit)
    }

    /// The most that ever waited at once.
    pub(crate) fn highest_pending(&self) -> usize {
        self.highest.load(Ordering::Relaxed)
    }

    /// At most so many milliseconds has the oldest item waited; 0 when none waits. Too long by the time between two
    /// arrivals at worst, since the item at the front cannot be looked at.
    pub(crate) fn oldest_wait_millis(&self) -> u64 {
        if self.pending() == 0 {
            return 0;
        }
        coarse_millis().saturating_sub(self.oldest_since_millis.load(Ordering::Relaxed))
    }

    fn store<T>(&self, item: T, pending: usize) -> usize
    where
        Q: ItemQueue<Stamped<T>>,
    {
        let since_millis = coarse_millis();
        if pending == 1 {
            self.raise_oldest(since_millis);
        }
        if pending > self.highest.load(Ordering::Relaxed) {
            self.highest.fetch_max(pending, Ordering::Relaxed);
        }
        self.items.push(Stamped { item, since_millis });
        pending
    }

    fn raise_oldest(&self, since_millis: u64) {
        if self.oldest_since_millis.load(Ordering::Relaxed) < since_millis {
            self.oldest_since_millis.store(since_millis, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Stamped, TaskQueue};
    use crossbeam_queue::SegQueue;

    type Queue = TaskQueue<SegQueue<Stamped<u32>>>;

    #[test]
    fn first_in_first_out() {
        let queue = Queue::new(None);
        for item in 0..100 {
            queue.push(item).unwrap();
        }
        assert_eq!(
            (0..100).map(|_| queue.pop().unwrap()).collect::<Vec<u32>>(),
            (0..100).collect::<Vec<_>>()
        );
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn limit_refuses_and_gives_the_item_back() {
        let queue = Queue::new(Some(2));
        assert_eq!((queue.push(1), queue.push(2), queue.push(3)), (Ok(1), Ok(2), Err(3)));
        assert_eq!(queue.pending(), 2);
        assert_eq!(queue.pop(), Some(1));
        assert_eq!(queue.push(4), Ok(2));
    }

    #[test]
    fn put_back_ignores_the_limit() {
        let queue = Queue::new(Some(1));
        queue.push(1).unwrap();
        queue.put_back(2);
        assert_eq!((queue.pop(), queue.pop(), queue.pending()), (Some(1), Some(2), 0));
    }

    #[test]
    fn highest_pending_is_remembered() {
        let queue = Queue::new(None);
        (0..5).for_each(|item| {
            queue.push(item).unwrap();
        });
        while queue.pop().is_some() {}
        assert_eq!((queue.pending(), queue.highest_pending(), queue.oldest_wait_millis()), (0, 5, 0));
    }

    #[test]
    fn oldest_wait_grows_while_nothing_is_taken() {
        let queue = Queue::new(None);
        queue.push(1).unwrap();
        while queue.oldest_wait_millis() < 12 {
            std::thread::yield_now();
        }
        queue.push(2).unwrap();
        assert!(queue.oldest_wait_millis() >= 12);
    }
}
