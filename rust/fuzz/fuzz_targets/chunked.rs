//! Chunked bodies, with trailers.
#![no_main]
use wiretask_fuzz::{check_consumer, http_limits};
use wiretask_protocol::native::ConsumerSpec;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check_consumer(input, |choice| ConsumerSpec::chunked(
    http_limits(choice)
)));
