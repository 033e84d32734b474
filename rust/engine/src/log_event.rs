//! One line for the operator, made where no Python is at hand.
//!
//! Strategy: the engine says what happened to a `LogSink`; the binding's sink puts it into the housekeeper's mailbox,
//! which is bounded and counts what it had to leave out. Must not know Python, nor block, nor format peer bytes raw.

/// How grave; the numbers are those of Python's `logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// Per connection.
    Debug = 10,
    /// Life cycle.
    Info = 20,
    /// Degraded.
    Warning = 30,
    /// The operator must act.
    Error = 40,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// How grave.
    pub level: Level,
    /// The Python logger's name, e.g. `wiretask.server`.
    pub logger: &'static str,
    /// One line; bytes of a peer stand in it escaped only.
    pub message: String,
}

/// Takes log events on any thread.
pub trait LogSink: Send + Sync {
    /// Take one event. Never blocks; may drop it when the sink is full, but then counts it.
    fn log(&self, event: LogEvent);
}

/// Drops everything: for tests and for an engine that nobody listens to.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl LogSink for NoLog {
    fn log(&self, _event: LogEvent) {}
}
