//! Lives of a channel: any order of what peer, kernel, worker, timer and application can do.
#![no_main]
use wiretask_fuzz::check_channel;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check_channel(input));
