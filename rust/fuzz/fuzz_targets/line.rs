//! Lines, their limit given by the first byte.
#![no_main]
use wiretask_fuzz::check_consumer;
use wiretask_protocol::native::ConsumerSpec;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check_consumer(input, |choice| ConsumerSpec::line(choice.into())));
