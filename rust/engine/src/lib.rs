//! Sockets, threads and queues of wiretask. Knows no Python.
//!
//! `poll_loop` tells readiness, `channel_driver` drives each connection's state with it and hands
//! channels to a `Host`; `worker_pool` and its queue know nothing of sockets. `reactor` is for loops in Python.
mod accepting;
pub mod access_log;
pub mod body_files;
mod channel_driver;
pub mod channel_run;
mod clock;
mod closing;
pub mod connection;
mod deadlines;
pub mod duty;
mod ending;
mod farewells;
mod held_answers;
mod idle_order;
mod level_trigger;
mod linger;
pub mod log_event;
pub mod open_descriptors;
pub mod output;
pub mod overload;
pub mod poll_loop;
mod polling_role;
pub mod reactor;
mod reading;
mod seat;
mod seats;
pub mod sent_file;
pub mod server;
pub mod server_core;
mod signal_mask;
mod sleepers;
pub mod socket;
mod spool;
mod streamed_body;
mod sync;
pub mod task_queue;
mod thread_state;
pub mod timer;
pub mod token;
pub mod waiting_writers;
mod wakeup;
pub mod worker_pool;

pub use sleepers::MAX_WORKERS;
