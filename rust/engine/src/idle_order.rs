//! `IdleOrder`: which slot of a loop has been idle the longest, found without looking at all of them.
//!
//! Lazy, like `TimerQueue`: a slot is listed once, by the time at which it was last seen to become idle,
//! which is never later than the truth. Nothing is done when it works and comes to rest again. Who asks looks at
//! the first in the list: if the truth is later it is put back by the truth, so that what is found at last is
//! the right one. A slot that is busy is put back by the time of the look and not looked at again
//! before it could have been idle for long enough. So a slot is looked at once for each time it was
//! busy, and at most once in the time that makes one idle enough; the list is never longer than the slab.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What the owner of a slot says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody lives there.
    Empty,
    /// It has something to do.
    Busy,
    /// It has had nothing to do since this time in milliseconds.
    IdleSince(u64),
}

/// Slots by the time at which they became idle, at the earliest.
#[derive(Debug, Default)]
pub(crate) struct IdleOrder {
    entries: BinaryHeap<Reverse<(u64, u32)>>,
    is_listed: Vec<bool>,
}

impl IdleOrder {
    /// Lists a slot that somebody moved into at `now_ms`.
    pub(crate) fn list(&mut self, index: u32, now_ms: u64) {
        let place = index as usize;
        if self.is_listed.len() <= place {
            self.is_listed.resize(place + 1, false);
        }
        if let Some(is_listed) = self.is_listed.get_mut(place)
            && !std::mem::replace(is_listed, true)
        {
            self.entries.push(Reverse((now_ms, index)));
        }
    }

    /// Takes out the slot that has been idle the longest, if that is since `by_ms` or longer.
    ///
    /// # Errors
    /// There is none: the earliest time since which one may have been idle when it is asked again.
    pub(crate) fn take_oldest(
        &mut self,
        by_ms: u64,
        now_ms: u64,
        look: impl Fn(u32) -> Standing,
    ) -> Result<u32, Option<u64>> {
        while let Some(&Reverse((since_ms, index))) = self.entries.peek() {
            if since_ms > by_ms {
                return Err(Some(since_ms));
            }
            self.entries.pop();
            match look(index) {
                Standing::IdleSince(true_ms) if true_ms <= since_ms => {
                    self.forget(index);
                    return Ok(index);
                }
                Standing::IdleSince(true_ms) => self.entries.push(Reverse((true_ms, index))),
                Standing::Busy => self.entries.push(Reverse((now_ms.max(by_ms + 1), index))),
                Standing::Empty => self.forget(index),
            }
        }
        Err(None)
    }

    fn forget(&mut self, index: u32) {
        if let Some(is_listed) = self.is_listed.get_mut(index as usize) {
            *is_listed = false;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slot_is_listed_once_whoever_lives_there() {
        let mut order = IdleOrder::default();
        for now_ms in 0..100 {
            order.list(3, now_ms);
        }
        assert_eq!(order.entries.len(), 1);
        assert_eq!(order.take_oldest(50, 100, |_| Standing::Empty), Err(None));
        order.list(3, 60);
        assert_eq!(order.take_oldest(70, 100, |_| Standing::IdleSince(60)), Ok(3));
    }

    #[test]
    fn who_is_busy_is_not_looked_at_again_before_it_could_be_idle_for_long_enough() {
        let mut order = IdleOrder::default();
        for index in 0..1000 {
            order.list(index, 0);
        }
        let looks = Cell::new(0);
        let look = |_| {
            looks.set(looks.get() + 1);
            Standing::Busy
        };
        for now_ms in 1000..2000 {
            assert_eq!(order.take_oldest(now_ms - 1000, now_ms, look), Err(Some(1000)));
        }
        assert_eq!(looks.get(), 1000);
    }

    #[test]
    fn asking_without_any_patience_ends() {
        let mut order = IdleOrder::default();
        order.list(1, 5);
        assert_eq!(order.take_oldest(9, 9, |_| Standing::Busy), Err(Some(10)));
    }

    proptest! {
        #[test]
        fn the_oldest_of_those_that_are_idle_long_enough_is_found(
            slots in prop::collection::vec((0u64..50, prop::option::of(0u64..50)), 1..30),
            by_ms in 0u64..60,
        ) {
            let mut order = IdleOrder::default();
            for (index, (listed_ms, _)) in slots.iter().enumerate() {
                order.list(u32::try_from(index).unwrap(), *listed_ms);
            }
            // Nobody can have become idle before it was listed.
            let truth = |index: u32| {
                let (listed_ms, idle_ms) = slots[index as usize];
                idle_ms.map(|idle_ms| idle_ms.max(listed_ms))
            };
            let look = |index| truth(index).map_or(Standing::Busy, Standing::IdleSince);
            let expected = (0..u32::try_from(slots.len()).unwrap()).filter_map(truth).filter(|at| *at <= by_ms).min();
            let found = order.take_oldest(by_ms, 60, look);
            prop_assert_eq!(found.ok().and_then(truth), expected);
        }
    }
}
