//! Whether a queue keeps climbing, and when the operator is to be told.
//!
//! Strategy: a pure function over samples (depth, oldest wait, time), with hysteresis: one notice when the depth has
//! grown over a whole window, another only after a long while, one when it has fallen to half. Must not know a
//! clock, a queue or a logger. Source: ITaskDispatcher.getPendingTasksEstimate ("the operator should be told").
use std::time::Duration;

/// When a queue counts as climbing.
#[derive(Clone, Copy, Debug)]
pub struct OverloadPolicy {
    /// Below this depth nothing is said.
    pub min_depth: usize,
    /// For so long the depth must have grown without falling below where it began.
    pub window: Duration,
    /// As long as the oldest has waited less than this, a queue climbs only if it has grown by half: one that a
    /// steady load fills goes up and down a little.
    pub short_wait: Duration,
    /// So long nothing more is said about a queue that keeps climbing.
    pub repeat_after: Duration,
}

impl Default for OverloadPolicy {
    fn default() -> Self {
        Self {
            min_depth: 32,
            window: Duration::from_secs(5),
            short_wait: Duration::from_secs(1),
            repeat_after: Duration::from_secs(60),
        }
    }
}

/// What to tell the operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Notice {
    /// The queue keeps climbing.
    Climbing {
        /// Items that wait.
        depth: usize,
        /// How many more than when the climb began, or than at the notice before.
        growth: usize,
        /// For how long the oldest has waited.
        oldest_wait_seconds: f64,
    },
    /// It has fallen to half of what it was.
    Recovered {
        /// Items that wait.
        depth: usize,
    },
}

#[derive(Clone, Copy, Debug)]
struct Start {
    depth: usize,
    at: Duration,
}

/// The memory of one queue's watch.
#[derive(Debug, Default)]
pub struct OverloadWatch {
    policy: OverloadPolicy,
    /// Where the climb began.
    start: Option<Start>,
    /// The greatest depth since the operator was told; `None`: not told.
    told_depth: Option<usize>,
}

impl OverloadWatch {
    /// A watch that has seen nothing.
    #[must_use]
    pub fn new(policy: OverloadPolicy) -> Self {
        Self { policy, start: None, told_depth: None }
    }

    /// Take one sample and return what to tell the operator, if anything. `now` is on any monotonic clock.
    pub fn sample(&mut self, depth: usize, oldest_wait: Duration, now: Duration) -> Option<Notice> {
        if let Some(told) = self.told_depth {
            if depth <= told / 2 {
                *self = Self::new(self.policy);
                return Some(Notice::Recovered { depth });
            }
            self.told_depth = Some(told.max(depth));
        }
        let Some(start) = self.start.filter(|start| depth > start.depth) else {
            self.start = Some(Start { depth, at: now });
            return None;
        };
        let wanted = if self.told_depth.is_some() { self.policy.repeat_after } else { self.policy.window };
        if depth < self.policy.min_depth || now.saturating_sub(start.at) < wanted {
            return None;
        }
        let growth = depth - start.depth;
        if growth < start.depth / 2 && oldest_wait < self.policy.short_wait {
            return None;
        }
        self.start = Some(Start { depth, at: now });
        self.told_depth = Some(depth);
        let oldest_wait_seconds = oldest_wait.as_secs_f64();
        Some(Notice::Climbing { depth, growth, oldest_wait_seconds })
    }

    /// Whether the operator has been told of a climb and not of its end.
    #[must_use]
    pub fn is_alarmed(&self) -> bool {
        self.told_depth.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Notice, OverloadPolicy, OverloadWatch};

    #[test]
    fn queue_of_a_steady_load_with_short_waits_is_no_climb() {
        let mut watch = OverloadWatch::new(OverloadPolicy::default());
        for second in 0..60 {
            let depth = if second == 0 { 44 } else { 45 + second % 4 };
            let now = Duration::from_secs(second as u64);
            assert_eq!(watch.sample(depth, Duration::from_millis(5), now), None);
        }
        let notice = watch.sample(66, Duration::from_millis(5), Duration::from_secs(60));
        assert!(matches!(notice, Some(Notice::Climbing { growth: 22, .. })), "{notice:?}");
    }

    fn run(depths: impl IntoIterator<Item = usize>) -> Vec<(usize, Notice)> {
        let mut watch = OverloadWatch::new(OverloadPolicy::default());
        let samples = depths.into_iter().enumerate();
        samples
            .filter_map(|(second, depth)| {
                let now = Duration::from_secs(second as u64);
                watch.sample(depth, Duration::from_millis(1500), now).map(|notice| (second, notice))
            })
            .collect()
    }

    #[test]
    fn steady_climb_is_told_once_then_recovery_once() {
        let climb = (0..20).map(|second| 40 + 10 * second);
        let fall = (0..20).map(|second| 200 - 10 * second);
        let told = run(climb.chain(fall));
        let climbing = Notice::Climbing { depth: 90, growth: 50, oldest_wait_seconds: 1.5 };
        assert_eq!(told, [(5, climbing), (29, Notice::Recovered { depth: 110 })]);
    }

    #[test]
    fn burst_that_is_worked_off_is_not_told() {
        assert_eq!(run([5000, 4000, 3000, 2000, 1000, 500, 200, 100, 50, 0]), []);
    }

    #[test]
    fn level_queue_is_not_told_however_long() {
        assert_eq!(run(std::iter::repeat_n(500, 600)), []);
    }

    #[test]
    fn shallow_queue_is_not_told() {
        assert_eq!(run(0..30), []);
    }

    #[test]
    fn endless_climb_is_told_once_a_minute() {
        let told: Vec<usize> = run((0..600).map(|second| 100 + second)).iter().map(|(at, _)| *at).collect();
        assert_eq!(told, [5, 65, 125, 185, 245, 305, 365, 425, 485, 545]);
    }

    #[test]
    fn wobble_near_the_height_says_nothing_more() {
        let climb = (0..=5).map(|second| 100 * (second + 1));
        let wobble = (0..50).map(|second| if second % 2 == 0 { 580 } else { 560 });
        assert_eq!(run(climb.chain(wobble)).len(), 1);
    }

    #[test]
    fn second_climb_after_recovery_is_told_again() {
        let climb = || (0..=6).map(|second| 100 * (second + 1));
        let told = run(climb().chain([0]).chain(climb()));
        assert_eq!(told.len(), 3);
        assert_eq!(told[1].1, Notice::Recovered { depth: 0 });
    }
}
