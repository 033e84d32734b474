//! The few synchronisation primitives that the wake-up protocol is written with.
//!
//! Strategy: the standard library's, or loom's under `cfg(loom)`, so that what the model checker explores is the
//! code that runs. Must not know what is queued or who sleeps. Nothing here may be called while a lock is held.
#[cfg(loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
    sync::{Condvar, Mutex, MutexGuard},
    thread::{Thread, current, park},
};
#[cfg(not(loom))]
pub(crate) use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
    sync::{Condvar, Mutex, MutexGuard},
    thread::{Thread, current, park},
};

use std::time::Instant;

/// Lock, also after a panic in another holder: every section here leaves its data whole at each step.
///
/// # Blocking
/// For the few instructions of another holder.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Wait on `condition` until it is notified or `deadline` passes (`None`: no deadline); may wake for no reason.
///
/// # Blocking
/// Yes; the lock is free meanwhile.
pub(crate) fn wait_until<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> MutexGuard<'a, T> {
    #[cfg(not(loom))]
    if let Some(deadline) = deadline {
        let rest = deadline.saturating_duration_since(Instant::now());
        return condition.wait_timeout(guard, rest).unwrap_or_else(std::sync::PoisonError::into_inner).0;
    }
    #[cfg(loom)]
    let _ = deadline;
    condition.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Park the calling thread until it is unparked or `deadline` passes; may return for no reason.
///
/// Under loom there is no clock: the deadline is ignored, so that a lost wake-up shows as a dead-lock.
pub(crate) fn park_until(deadline: Option<Instant>) {
    #[cfg(not(loom))]
    if let Some(deadline) = deadline {
        std::thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
        return;
    }
    #[cfg(loom)]
    let _ = deadline;
    park();
}
