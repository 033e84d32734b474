//! Checks for descriptors that were closed though they are watched, which no poll reports.
//!
//! The loop sleeps in short pieces at first: when it has been quiet for a moment, those that had events are asked
//! whether they are open, for whoever closes one mostly does so upon an event; when it has been for longer, all are,
//! and then it sleeps without an end. A loop that is never quiet asks all of them now and then, the more seldom the
//! more there are. Must not know how a closed one is reported: that is for `registrations`.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::registrations::{Arming, Registrations};
use crate::token::Token;

/// For so long the loop is quiet before those who had events are checked for having been closed.
const QUIET_BEFORE_CHECK: Duration = Duration::from_millis(50);
/// For so long it is quiet before all are checked.
const QUIET_BEFORE_SWEEP: Duration = Duration::from_secs(1);
/// A loop that is never quiet checks all now and then: after so long, or this long for each that it watches.
const BUSY_BETWEEN_SWEEPS: Duration = Duration::from_secs(5);
const BUSY_BETWEEN_SWEEPS_EACH: Duration = Duration::from_micros(20);

impl Registrations {
    /// How long to sleep now, and whether the wait is over after that.
    pub(super) fn pause(
        &mut self,
        timeout: Option<Duration>,
        begun: Instant,
        is_ready: bool,
    ) -> (Option<Duration>, bool) {
        if is_ready || timeout == Some(Duration::ZERO) {
            return (Some(Duration::ZERO), true);
        }
        let quiet = begun.elapsed();
        let left = timeout.map(|timeout| timeout.saturating_sub(quiet));
        let until_check = if !self.touched.is_empty() {
            QUIET_BEFORE_CHECK
        } else if self.needs_sweep {
            QUIET_BEFORE_SWEEP
        } else {
            return (left, true);
        };
        let pause = until_check.saturating_sub(quiet);
        match left {
            Some(left) if left <= pause => (Some(left), true),
            _ => (Some(pause), false),
        }
    }

    /// Looks for descriptors that were closed though they are watched: of those that had events, when the loop has
    /// been quiet for a moment; of all, when it has been for longer, or busy for long.
    pub(super) fn check_open(&mut self, is_busy: bool) {
        if is_busy {
            let interval = BUSY_BETWEEN_SWEEPS.max(BUSY_BETWEEN_SWEEPS_EACH * clamp(self.watches.len()));
            if self.needs_sweep && self.swept_at.elapsed() >= interval {
                self.sweep();
            }
        } else if self.touched.is_empty() {
            self.sweep();
        } else {
            for token in std::mem::take(&mut self.touched) {
                self.check(token);
            }
        }
    }

    fn sweep(&mut self) {
        self.touched.clear();
        for token in self.watches.tokens() {
            self.check(token);
        }
        self.needs_sweep = false;
        self.swept_at = Instant::now();
    }

    fn check(&mut self, token: Token) {
        let Some(watch) = self.watches.get_mut(token) else { return };
        watch.is_touched = false;
        if matches!(watch.arming, Arming::Polled(_)) && !is_open(watch.descriptor) {
            watch.arming = Arming::Closed;
            self.unpolled.push(token);
        }
    }
}

fn is_open(descriptor: RawFd) -> bool {
    // SAFETY: the call takes no pointer; a descriptor that is not open is an error and nothing else.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) >= 0 }
}

fn clamp(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
