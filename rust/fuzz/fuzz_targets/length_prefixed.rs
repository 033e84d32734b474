//! Messages behind their length, in every form it can be written.
#![no_main]
use wiretask_fuzz::check_consumer;
use wiretask_protocol::length_prefix::{ByteOrder, LengthFormat};
use wiretask_protocol::native::ConsumerSpec;

const FORMATS: [LengthFormat; 8] = [
    LengthFormat::U8,
    LengthFormat::U16(ByteOrder::Big),
    LengthFormat::U16(ByteOrder::Little),
    LengthFormat::U32(ByteOrder::Big),
    LengthFormat::U32(ByteOrder::Little),
    LengthFormat::U64(ByteOrder::Big),
    LengthFormat::U64(ByteOrder::Little),
    LengthFormat::Varint,
];

libfuzzer_sys::fuzz_target!(|input: &[u8]| check_consumer(input, |choice| {
    let limit_bytes = if choice < 128 { 1024 * 1024 } else { u64::from(choice / 4) };
    ConsumerSpec::length_prefixed(FORMATS[usize::from(choice % 8)], limit_bytes)
}));
