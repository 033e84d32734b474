//! Messages of a fixed length, which the first byte says.
#![no_main]
use wiretask_fuzz::check_consumer;
use wiretask_protocol::native::ConsumerSpec;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check_consumer(input, |choice| ConsumerSpec::fixed(
    choice.into()
)));
