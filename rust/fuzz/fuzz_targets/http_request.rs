//! HTTP requests, with their bodies.
#![no_main]
use wiretask_fuzz::{check_consumer, http_limits};
use wiretask_protocol::native::ConsumerSpec;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check_consumer(input, |choice| ConsumerSpec::http_request(
    http_limits(choice)
)));
