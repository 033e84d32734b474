//! Which worker numbers are taken, and how many there shall be. Plain data behind the pool's lock; knows no thread.
use crate::sleepers::MAX_WORKERS;

/// The seats of a pool.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    /// One bit a seat, lowest first; grows with the highest seat ever taken.
    taken: Vec<u64>,
    /// How many seats are taken.
    pub(crate) alive: usize,
    /// How many workers there shall be: seats below this number may be taken.
    pub(crate) target: usize,
}

impl Seats {
    /// Whether a seat below the target is free.
    pub(crate) fn has_vacancy(&self) -> bool {
        self.lowest_free() < self.target
    }

    /// Take the lowest free seat below the target; `None` when none is free.
    pub(crate) fn claim(&mut self) -> Option<usize> {
        let index = self.lowest_free();
        if index >= self.target.min(MAX_WORKERS) {
            return None;
        }
        if index / 64 == self.taken.len() {
            self.taken.push(0);
        }
        self.taken[index / 64] |= 1 << (index % 64);
        self.alive += 1;
        Some(index)
    }

    /// Free a seat that was taken; nothing happens to one that was not.
    pub(crate) fn free(&mut self, index: usize) {
        if let Some(word) = self.taken.get_mut(index / 64)
            && *word & (1 << (index % 64)) != 0
        {
            *word &= !(1 << (index % 64));
            self.alive -= 1;
        }
    }

    fn lowest_free(&self) -> usize {
        for (word, bits) in self.taken.iter().enumerate() {
            if *bits != u64::MAX {
                return word * 64 + bits.trailing_ones() as usize;
            }
        }
        self.taken.len() * 64
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_WORKERS, Seats};

    #[test]
    fn lowest_free_seat_is_taken_first() {
        let mut seats = Seats { target: 200, ..Seats::default() };
        assert_eq!(
            (0..200).map(|_| seats.claim().unwrap()).collect::<Vec<_>>(),
            (0..200).collect::<Vec<_>>()
        );
        assert_eq!((seats.claim(), seats.alive), (None, 200));
        seats.free(130);
        seats.free(7);
        assert_eq!((seats.claim(), seats.claim(), seats.claim()), (Some(7), Some(130), None));
    }

    #[test]
    fn freeing_twice_counts_once() {
        let mut seats = Seats { target: 2, ..Seats::default() };
        seats.claim().unwrap();
        seats.free(0);
        seats.free(0);
        seats.free(MAX_WORKERS);
        assert_eq!(seats.alive, 0);
    }

    #[test]
    fn seats_above_the_target_are_no_vacancy() {
        let mut seats = Seats { target: 3, ..Seats::default() };
        (0..3).for_each(|_| assert!(seats.claim().is_some()));
        seats.target = 1;
        seats.free(1);
        assert!(!seats.has_vacancy());
        seats.free(0);
        assert!(seats.has_vacancy());
    }

    #[test]
    fn never_more_than_the_greatest_number() {
        let mut seats = Seats { target: usize::MAX, ..Seats::default() };
        assert_eq!(std::iter::from_fn(|| seats.claim()).count(), MAX_WORKERS);
    }
}
