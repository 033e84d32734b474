//! Messages that end with one of a few delimiters: overlapping themselves, long, of one byte.
#![no_main]
use wiretask_fuzz::check_consumer;
use wiretask_protocol::native::ConsumerSpec;

const DELIMITERS: [&[u8]; 8] =
    [b"\r\n.\r\n", b"\n", b"aa", b"aabaa", b"ab", b"abababac", b"\0\0\0\0", b"aaaaaaaaaaaaaaaaaaaaaaab"];

libfuzzer_sys::fuzz_target!(|input: &[u8]| check_consumer(input, |choice| {
    let limit_bytes = if choice < 128 { 64 * 1024 } else { u64::from(choice / 8) };
    ConsumerSpec::delimiter(DELIMITERS[usize::from(choice % 8)], limit_bytes)
}));
