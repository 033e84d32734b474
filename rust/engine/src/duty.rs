//! `Duty`: what an idle worker may do instead of sleeping.
//!
//! A seam between the workers and whatever brings them work: it knows neither queue nor socket.

/// Something that one worker at a time may stand, and that brings items into the queue.
pub trait Duty: Send + Sync {
    /// Stand the duty until something was queued, perhaps, or `is_called` says that the worker is
    /// wanted; false: somebody else stands it, or nobody may.
    ///
    /// Whoever calls the worker publishes that first and then calls `nudge`; so `is_called` is asked
    /// again after it was made known that a nudge is needed from now on.
    ///
    /// # Blocking
    /// Yes; never while attached to the interpreter.
    fn stand(&self, is_called: &dyn Fn() -> bool) -> bool;

    /// Have whoever stands the duty ask `is_called` again. Any thread; never blocks.
    fn nudge(&self);
}
