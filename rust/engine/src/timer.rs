//! `TimerQueue`: the next time at which each slot of a loop is to be looked at.
//!
//! Lazy: an entry is not moved when its slot's deadline moves; when it comes up the owner looks at
//! the real deadline and puts a new one in. So a message costs no timer work, and the queue is never
//! longer than the slab. Times are milliseconds of the owner's steady clock, rounded up to a
//! granularity, so that many idle connections cost one wake-up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Slots by the time at which they are to be looked at.
#[derive(Debug)]
pub struct TimerQueue {
    entries: BinaryHeap<Reverse<(u64, u32)>>,
    granularity_ms: u64,
}

impl TimerQueue {
    /// A queue whose times are rounded up to multiples of `granularity_ms` (0 counts as 1).
    #[must_use]
    pub fn new(granularity_ms: u64) -> Self {
        Self { entries: BinaryHeap::new(), granularity_ms: granularity_ms.max(1) }
    }

    /// Puts in an entry for a slot.
    pub fn schedule(&mut self, at_ms: u64, index: u32) {
        let rounded = at_ms.div_ceil(self.granularity_ms).saturating_mul(self.granularity_ms);
        self.entries.push(Reverse((rounded, index)));
    }

    /// The time of the first entry.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.entries.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out an entry whose time has come.
    pub fn pop_expired(&mut self, now_ms: u64) -> Option<u32> {
        if self.next_ms()? > now_ms {
            return None;
        }
        self.entries.pop().map(|Reverse((_, index))| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_up_in_order_and_not_early() {
        let mut timers = TimerQueue::new(10);
        timers.schedule(25, 1);
        timers.schedule(11, 2);
        assert_eq!(timers.next_ms(), Some(20));
        assert_eq!(timers.pop_expired(19), None);
        assert_eq!(timers.pop_expired(30), Some(2));
        assert_eq!(timers.pop_expired(30), Some(1));
        assert_eq!(timers.pop_expired(u64::MAX), None);
    }
}
