//! One line for the operator, made where no Python is at hand.
//!
//! Strategy: the engine tells its `Host`; the binding's puts it into the housekeeper's mailbox, which is bounded and
//! counts what it had to leave out. Must not know Python, nor format peer bytes raw.

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
