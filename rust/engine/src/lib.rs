//! Sockets, threads and queues of wiretask. Knows no Python.
//!
//! `poll_loop` tells readiness, `channel_driver` drives each connection's state with it and hands
//! channels to a `Host`; the task queue and its workers know nothing of sockets.

mod channel_driver;
pub mod connection;
pub mod poll_loop;
pub mod server;
pub mod server_core;
pub mod socket;
pub mod timer;
pub mod token;
