//! Milliseconds on a monotonic clock, cheap enough to stamp every queued item with.
//!
//! Strategy: on Linux the coarse clock, which is a memory read (a few milliseconds of resolution); elsewhere the
//! ordinary monotonic one. Never the wall clock: a step of that must not look like a long wait.

/// Milliseconds since some fixed moment; never goes back. Resolution about 4 ms. Any thread; never blocks.
#[cfg(all(target_os = "linux", not(loom)))]
pub(crate) fn coarse_millis() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid, writable timespec for the duration of the call, which keeps no pointer to it.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    debug_assert_eq!(status, 0, "CLOCK_MONOTONIC_COARSE is there since Linux 2.6.32");
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Milliseconds since the first call; never goes back. Any thread; never blocks.
#[cfg(all(not(target_os = "linux"), not(loom)))]
pub(crate) fn coarse_millis() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let elapsed = START.get_or_init(std::time::Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// No time passes in a model: what depends on the clock could not be explored twice.
#[cfg(loom)]
pub(crate) fn coarse_millis() -> u64 {
    0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::coarse_millis;

    #[test]
    fn never_goes_back() {
        let stamps: Vec<u64> = (0..10_000).map(|_| coarse_millis()).collect();
        assert!(stamps.is_sorted());
    }

    #[test]
    fn keeps_pace_with_the_precise_clock() {
        let (coarse, precise) = (coarse_millis(), std::time::Instant::now());
        while coarse_millis() < coarse + 20 {
            std::thread::yield_now();
        }
        assert!(precise.elapsed().as_millis() >= 12);
    }
}
