//! Bytes in, values out: the stream consumers and the per-connection state machine of wiretask.
//!
//! This crate knows no socket, clock, thread or interpreter, and holds no unsafe code.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
