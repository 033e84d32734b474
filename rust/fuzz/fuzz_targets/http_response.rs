//! HTTP answers, with their bodies, to requests of any method.
#![no_main]
use wiretask_fuzz::{check_consumer, http_limits};
use wiretask_protocol::http::response_head::Asked;
use wiretask_protocol::native::ConsumerSpec;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check_consumer(input, |choice| {
    let asked = match choice % 8 {
        6 => Asked::Head,
        7 => Asked::Connect,
        _ => Asked::Other,
    };
    ConsumerSpec::http_response(http_limits(choice), asked)
}));
