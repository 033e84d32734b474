//! Bytes in, values out: the stream consumers and the per-connection state machine of wiretask.
//!
//! This crate knows no socket, clock, thread or interpreter, and holds no unsafe code.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod channel;
pub mod consumer;
pub mod delimiter;
pub mod error;
pub mod fixed;
mod held_input;
pub mod http;
pub mod lazy;
pub mod length_prefix;
pub mod limits;
pub mod line;
pub mod message_reader;
pub mod native;
pub mod output;
pub mod search;
mod unfinished;
