//! Sockets, threads and queues of wiretask. Knows no Python.
mod clock;
pub mod log_event;
pub mod overload;
mod seats;
mod sleepers;
mod sync;
pub mod task_queue;
pub mod worker_pool;

pub use sleepers::MAX_WORKERS;
