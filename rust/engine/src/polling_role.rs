//! `PollingRole`: who turns a loop, its own thread or the workers.
//!
//! Strategy: a loop begins on a thread of its own, which hands what is ready to workers and has to wake
//! them. When a lot comes in and each of it is short, waking costs more than the work; then the thread
//! *lends* the loop: it lies in a slot, an idle worker takes it out, polls, puts it back, and serves what
//! it has queued. So polling, parsing, serving and sending stay on one thread as long as that is fast
//! enough. The loop's own thread looks on at every `TICK`: when nobody has polled since the last one, or
//! single items take long, a slow request is at work; it takes the loop back and wakes workers for what
//! waits, as it does when so little comes in that looking on would cost more than waking. After a failure
//! lending is tried again later and later (`Pace`).
//! Must not know what a worker is (`duty`), nor what an event means (`channel_driver`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::channel_driver::ChannelDriver;
use crate::duty::Duty;
use crate::log_event::Level;
use crate::poll_loop::LoopHandle;
use crate::server_core::{Host, Message, ServerCore};
use crate::thread_state::{self, SystemThread};

/// How often the loop's own thread looks on while the loop is lent,
const TICK: Duration = Duration::from_millis(1);
/// and how often once it has seen that it is used well for so many ticks.
const LONG_TICK: Duration = Duration::from_millis(2);
const TRUSTED_TICKS: u32 = 50;
/// Fewer pieces of work than this in a `TICK`, while somebody serves: each of them takes long.
const SLOW_BELOW: u64 = 8;
/// So many slow ticks in a row end a loan, if the worker waits for something;
const SLOW_TICKS: u32 = 2;
/// so many, if it runs, or would if a processor were free: waking others would hardly help.
const BUSY_TICKS: u32 = 4;
/// Fewer pieces of work than this in a tick, while somebody waits for more: waking would cost less.
const QUIET_BELOW: u64 = 4;
/// So many quiet ticks in a row end a loan.
const QUIET_TICKS: u32 = 8;
/// Lending is considered after each span of this length,
const SPAN_MS: u64 = 2;
/// in which at least so many pieces of work were begun.
const LENT_FROM: u64 = 8;
/// How long lending waits after it has failed for the first time; then twice as long, and so on.
const FIRST_PAUSE_MS: u64 = 5;
/// How long it waits at most.
const LONGEST_PAUSE_MS: u64 = 640;
/// A loan that lasted as long as this was no failure.
const GOOD_LOAN_MS: u64 = 50;

/// One loop and the right to turn it.
pub(crate) struct PollingRole<H: Host> {
    core: Arc<ServerCore<H>>,
    handle: Arc<LoopHandle<Message<H>>>,
    /// The loop, while it is lent and nobody turns it.
    slot: Mutex<Option<Box<ChannelDriver<H>>>>,
    is_polled: AtomicBool,
    /// Who polled last.
    poller: AtomicI32,
    turns: AtomicU64,
    is_recalled: AtomicBool,
    owner: OnceLock<Thread>,
}

/// Why a loan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// What was served took long, or nobody polled.
    Slow,
    /// Little came in.
    Quiet,
    /// The server stops.
    Stopped,
}

impl<H: Host> PollingRole<H> {
    /// The role of the loop behind `handle`.
    pub(crate) fn new(core: Arc<ServerCore<H>>, handle: Arc<LoopHandle<Message<H>>>) -> Self {
        Self {
            core,
            handle,
            slot: Mutex::new(None),
            is_polled: AtomicBool::new(false),
            poller: AtomicI32::new(0),
            turns: AtomicU64::new(0),
            is_recalled: AtomicBool::new(false),
            owner: OnceLock::new(),
        }
    }

    /// Turns the loop, or has it turned, until it is stopped. Called once, on the loop's own thread.
    pub(crate) fn run(self: &Arc<Self>, driver: ChannelDriver<H>) {
        let _is_first = self.owner.set(thread::current());
        let mut driver = Box::new(driver);
        let mut pace = Pace::default();
        let always = || false;
        while !driver.is_stopped() {
            driver.turn(&always);
            if !driver.is_stopped() && pace.should_lend(self.core.begun(), || self.core.now_ms()) {
                driver = self.lend(driver, &mut pace);
            }
            self.core.wake_workers();
        }
        driver.finish();
    }

    /// Lends the loop, looks on, and takes it back; at once if nobody wants it.
    fn lend(self: &Arc<Self>, driver: Box<ChannelDriver<H>>, pace: &mut Pace) -> Box<ChannelDriver<H>> {
        let duty: Arc<dyn Duty> = Arc::clone(self) as Arc<dyn Duty>;
        self.is_recalled.store(false, Ordering::SeqCst);
        *self.lock_slot() = Some(driver);
        if !self.core.offer_duty(&duty) {
            pace.note_end(End::Slow, self.core.now_ms());
            return self.take_back();
        }
        pace.note_begin(self.core.now_ms());
        self.core.held.open();
        self.core.wake_workers();
        let (driver, end) = self.look_on();
        self.core.held.close();
        self.core.end_duty(&duty);
        pace.note_end(end, self.core.now_ms());
        driver
    }

    /// Sees that what is lent is used well, and returns it, and why, when it is not.
    fn look_on(&self) -> (Box<ChannelDriver<H>>, End) {
        let (mut begun, mut turns) = (self.core.begun(), self.turns.load(Ordering::Relaxed));
        let mut held_before = None;
        let (mut good_ticks, mut slow_ticks, mut busy_ticks, mut quiet_ticks) = (0, 0, 0, 0);
        loop {
            let tick = if good_ticks < TRUSTED_TICKS { TICK } else { LONG_TICK };
            thread::park_timeout(tick);
            if let Some(driver) = self.lock_slot().take_if(|driver| driver.is_stopped()) {
                return (driver, End::Stopped);
            }
            let held = self.core.held.waiting();
            if held.is_some() && held == held_before {
                self.core.held.flush();
            }
            held_before = held;
            let begun_before = std::mem::replace(&mut begun, self.core.begun());
            let turns_before = std::mem::replace(&mut turns, self.turns.load(Ordering::Relaxed));
            let count = begun.wrapping_sub(begun_before);
            if self.is_polled.load(Ordering::Relaxed) {
                (slow_ticks, busy_ticks) = (0, 0);
                quiet_ticks = if count < QUIET_BELOW { quiet_ticks + 1 } else { 0 };
                if quiet_ticks >= QUIET_TICKS {
                    return (self.take_back(), End::Quiet);
                }
            } else if is_slow(count, tick) {
                quiet_ticks = 0;
                let is_over = if self.is_poller_running() {
                    busy_ticks += 1;
                    busy_ticks >= BUSY_TICKS
                } else {
                    slow_ticks += 1;
                    slow_ticks >= SLOW_TICKS || turns == turns_before
                };
                // Not if a worker is about to poll.
                if is_over && let Some(driver) = self.lock_slot().take() {
                    return (driver, End::Slow);
                }
            } else {
                good_ticks += 1;
                (slow_ticks, busy_ticks, quiet_ticks) = (0, 0, 0);
            }
        }
    }

    fn is_poller_running(&self) -> bool {
        thread_state::is_running(SystemThread(self.poller.load(Ordering::Relaxed)))
    }

    /// Waits until the loop is in its slot, and takes it out. Whoever turns it puts it there soon.
    fn take_back(&self) -> Box<ChannelDriver<H>> {
        self.is_recalled.store(true, Ordering::SeqCst);
        loop {
            if let Some(driver) = self.lock_slot().take() {
                return driver;
            }
            self.handle.nudge();
            thread::park_timeout(TICK);
        }
    }

    fn lock_slot(&self) -> MutexGuard<'_, Option<Box<ChannelDriver<H>>>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether so few pieces of work in a tick of that length mean that each of them takes long.
fn is_slow(count: u64, tick: Duration) -> bool {
    u128::from(count) * TICK.as_micros() < u128::from(SLOW_BELOW) * tick.as_micros()
}

impl<H: Host> Duty for PollingRole<H> {
    fn stand(&self, is_called: &dyn Fn() -> bool) -> bool {
        self.core.held.flush();
        let Some(mut driver) = self.lock_slot().take() else { return false };
        self.is_polled.store(true, Ordering::Relaxed);
        self.poller.store(thread_state::current().0, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
        let is_wanted = || is_called() || self.is_recalled.load(Ordering::SeqCst);
        if catch_unwind(AssertUnwindSafe(|| driver.turn(&is_wanted))).is_err() {
            self.core.log(Level::Error, "a bug: a turn of the loop panicked".into());
        }
        let is_over = driver.is_stopped() || self.is_recalled.load(Ordering::SeqCst);
        self.is_polled.store(false, Ordering::Relaxed);
        *self.lock_slot() = Some(driver);
        if is_over {
            self.owner.get().into_iter().for_each(Thread::unpark);
        }
        true
    }

    fn nudge(&self) {
        self.handle.nudge();
    }
}

/// When to lend.
#[derive(Debug, Default)]
struct Pace {
    span_ends_ms: u64,
    begun_at_span: u64,
    pause_ms: u64,
    not_before_ms: u64,
    loan_began_ms: u64,
}

impl Pace {
    /// Whether so much is begun, counted from the server's start, that lending is worth it.
    fn should_lend(&mut self, begun: u64, now_ms: impl Fn() -> u64) -> bool {
        if begun == self.begun_at_span {
            return false;
        }
        let now_ms = now_ms();
        if now_ms < self.span_ends_ms {
            return false;
        }
        let is_fresh = now_ms < self.span_ends_ms + SPAN_MS;
        let count = begun - self.begun_at_span;
        self.begun_at_span = begun;
        self.span_ends_ms = now_ms + SPAN_MS;
        is_fresh && count >= LENT_FROM && now_ms >= self.not_before_ms
    }

    fn note_begin(&mut self, now_ms: u64) {
        self.loan_began_ms = now_ms;
    }

    fn note_end(&mut self, end: End, now_ms: u64) {
        self.span_ends_ms = now_ms + SPAN_MS;
        if now_ms.saturating_sub(self.loan_began_ms) >= GOOD_LOAN_MS || end != End::Slow {
            self.pause_ms = 0;
        }
        if end == End::Slow {
            self.pause_ms = (self.pause_ms * 2).clamp(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
            self.not_before_ms = now_ms + self.pause_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        End, FIRST_PAUSE_MS, GOOD_LOAN_MS, LENT_FROM, LONG_TICK, LONGEST_PAUSE_MS, Pace, SLOW_BELOW, SPAN_MS,
        TICK, is_slow,
    };

    /// A pace that has seen one span's beginning at `at`.
    fn begun_at(at: u64) -> Pace {
        let mut pace = Pace::default();
        assert!(!pace.should_lend(1, || at));
        pace
    }

    #[test]
    fn what_is_slow_in_a_tick_is_slow_in_a_long_one() {
        let long_ticks = u64::try_from(LONG_TICK.as_micros() / TICK.as_micros()).unwrap();
        for (tick, enough) in [(TICK, SLOW_BELOW), (LONG_TICK, SLOW_BELOW * long_ticks)] {
            assert!(is_slow(enough - 1, tick));
            assert!(!is_slow(enough, tick));
        }
    }

    #[test]
    fn much_in_one_span_is_worth_lending() {
        let mut pace = begun_at(1000);
        assert!(!pace.should_lend(1 + LENT_FROM, || 1000 + SPAN_MS - 1));
        assert!(pace.should_lend(1 + LENT_FROM, || 1000 + SPAN_MS));
    }

    #[test]
    fn little_in_a_span_is_not() {
        let mut pace = begun_at(1000);
        assert!(!pace.should_lend(LENT_FROM, || 1000 + SPAN_MS));
    }

    #[test]
    fn much_over_a_long_time_is_not() {
        let mut pace = begun_at(1000);
        assert!(!pace.should_lend(1 + LENT_FROM, || 1000 + 3 * SPAN_MS));
    }

    #[test]
    fn after_failures_lending_waits_longer_and_longer() {
        let mut pace = begun_at(1000);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            pace.note_begin(1000);
            pace.note_end(End::Slow, 1000);
            pauses.push(pace.not_before_ms - 1000);
        }
        assert_eq!(pauses[..3], [FIRST_PAUSE_MS, 2 * FIRST_PAUSE_MS, 4 * FIRST_PAUSE_MS]);
        assert_eq!(pauses[9], LONGEST_PAUSE_MS);
    }

    #[test]
    fn a_good_loan_or_a_quiet_end_forgives() {
        for (end, length) in [(End::Slow, GOOD_LOAN_MS), (End::Quiet, 0)] {
            let mut pace = begun_at(1000);
            pace.pause_ms = LONGEST_PAUSE_MS;
            pace.note_begin(2000);
            pace.note_end(end, 2000 + length);
            pace.note_begin(4000);
            pace.note_end(End::Slow, 4000);
            assert!(pace.not_before_ms <= 4000 + 2 * FIRST_PAUSE_MS, "{end:?}");
        }
    }
}
