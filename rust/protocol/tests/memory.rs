//! Law 4 of the stream consumers, measured at the allocator: nothing for a fresh consumer, one allocation for a
//! message that is whole in one call, never more than twice what was received, whatever a length announces.
//!
//! The counts are per thread, as tests run side by side.
#![allow(clippy::unwrap_used)]
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use wiretask_protocol::consumer::StreamConsumer;
use wiretask_protocol::http::response_head::Asked;
use wiretask_protocol::length_prefix::{ByteOrder, LengthFormat};
use wiretask_protocol::limits::HttpLimits;
use wiretask_protocol::message_reader::MessageReader;
use wiretask_protocol::native::ConsumerSpec;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static HELD_BYTES: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged, which keeps the contract; the counters are
// plain cells of this thread, without destructors and without heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        HELD_BYTES.set(HELD_BYTES.get().wrapping_add(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.set(HELD_BYTES.get().wrapping_sub(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`, and the block came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocations of this thread during `run`.
fn allocations<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATIONS.get();
    let result = run();
    (ALLOCATIONS.get() - before, result)
}

/// How much more heap is held than at a former reading of `HELD_BYTES` (which wraps below zero when a block of
/// another thread is freed here).
fn held_since(before: usize) -> usize {
    HELD_BYTES.get().wrapping_sub(before)
}

fn all_specs() -> Vec<(ConsumerSpec, Vec<u8>)> {
    let text = [b'x'; 1000];
    let mut cases = vec![
        ConsumerSpec::fixed(1000).unwrap(),
        ConsumerSpec::line(1 << 16).unwrap(),
        ConsumerSpec::delimiter(b"\r\n.\r\n", 1 << 16).unwrap(),
    ];
    for format in
        [LengthFormat::U16(ByteOrder::Big), LengthFormat::U64(ByteOrder::Little), LengthFormat::Varint]
    {
        cases.push(ConsumerSpec::length_prefixed(format, 1 << 16).unwrap());
    }
    cases
        .into_iter()
        .map(|spec| {
            let mut stream = Vec::new();
            spec.encode(&text, &mut stream).unwrap();
            (spec, stream)
        })
        .collect()
}

/// The consumers that are so large that they live on the heap from their first byte on.
fn http_specs() -> Vec<(ConsumerSpec, Vec<u8>)> {
    let limits = HttpLimits::DEFAULT;
    let specs = [
        ConsumerSpec::chunked(limits).unwrap(),
        ConsumerSpec::http_request(limits).unwrap(),
        ConsumerSpec::http_response(limits, Asked::Other).unwrap(),
    ];
    specs
        .into_iter()
        .map(|spec| {
            let mut stream = Vec::new();
            spec.encode(&[b'x'; 1000], &mut stream).unwrap();
            (spec, stream)
        })
        .collect()
}

/// What such a consumer takes by itself, at most.
const STATE_BYTES: usize = 600;

#[test]
fn an_http_message_holds_twice_what_was_received_and_a_little_state() {
    for (spec, stream) in http_specs() {
        let before = HELD_BYTES.get();
        let mut consumer = spec.new_consumer();
        for (index, byte) in stream.iter().enumerate() {
            consumer.received(&[*byte]);
            assert!(held_since(before) <= 2 * (index + 1) + STATE_BYTES, "{spec:?} after {index}");
        }
        assert!(consumer.is_completed());
        assert_eq!(consumer.value().len(), 1000);
    }
}

#[test]
fn a_whole_http_message_is_an_allocation_for_each_part_of_it() {
    for (spec, stream) in http_specs() {
        let mut consumer = spec.new_consumer();
        let (count, taken) = allocations(|| consumer.received(&stream));
        // State, head or trailers, body.
        assert_eq!((count, taken), (3, stream.len()), "{spec:?}");
        let (count, value) = allocations(|| consumer.take_value());
        assert_eq!((count, value.len()), (0, 1000), "taking the value must not copy it");
    }
}

#[test]
fn a_body_that_is_taken_as_it_comes_is_not_held() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut consumer = ConsumerSpec::http_request(HttpLimits::DEFAULT).unwrap().new_consumer();
    consumer.received(head);
    let before = HELD_BYTES.get();
    let piece = [&b"1000\r\n"[..], &[b'x'; 0x1000], b"\r\n"].concat();
    for _ in 0..100 {
        consumer.received(&piece);
        assert_eq!(consumer.take_value().len(), 0x1000);
        assert_eq!(held_since(before), piece.capacity());
    }
}

#[test]
fn a_body_of_many_chunks_is_seldom_moved() {
    let mut consumer = ConsumerSpec::chunked(HttpLimits::DEFAULT).unwrap().new_consumer();
    let chunks = b"1\r\nx\r\n".repeat(1 << 14);
    let (count, ()) = allocations(|| {
        for chunk in chunks.chunks(6) {
            consumer.received(chunk);
        }
    });
    assert_eq!(consumer.value().len(), 1 << 14);
    assert!(count <= 16, "{count} allocations: each may copy all that is held");
}

#[test]
fn an_announced_body_allocates_nothing() {
    for framing in ["Content-Length: 1073741824\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3fffffff\r\n"] {
        let stream = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}");
        let mut consumer = ConsumerSpec::http_request(HttpLimits::DEFAULT).unwrap().new_consumer();
        let before = HELD_BYTES.get();
        assert_eq!(consumer.received(stream.as_bytes()), stream.len());
        assert!(held_since(before) <= stream.len() + STATE_BYTES);
        assert!(!consumer.is_completed());
    }
}

#[test]
fn a_fresh_consumer_holds_no_heap() {
    for (spec, _) in all_specs().into_iter().chain(http_specs()) {
        let (count, consumer) = allocations(|| spec.new_consumer());
        assert_eq!(count, 0, "{consumer:?}");
    }
}

#[test]
fn a_whole_message_in_one_call_is_one_allocation_of_its_size() {
    for (spec, stream) in all_specs() {
        let before = HELD_BYTES.get();
        let mut consumer = spec.new_consumer();
        let (count, taken) = allocations(|| consumer.received(&stream));
        assert_eq!((count, taken), (1, stream.len()), "{spec:?}");
        assert_eq!(held_since(before), 1000, "{spec:?}");
        let (count, value) = allocations(|| consumer.take_value());
        assert_eq!((count, value.len()), (0, 1000), "taking the value must not copy it");
    }
}

#[test]
fn never_more_than_twice_of_what_was_received_is_held() {
    for (spec, stream) in all_specs() {
        let before = HELD_BYTES.get();
        let mut consumer = spec.new_consumer();
        for (index, byte) in stream.iter().enumerate() {
            consumer.received(&[*byte]);
            assert!(held_since(before) <= 2 * (index + 1), "{spec:?} after {index}");
        }
        assert!(consumer.is_completed());
    }
}

#[test]
fn a_reader_holds_what_is_begun_and_nothing_else() {
    for (spec, stream) in all_specs() {
        let before = HELD_BYTES.get();
        let mut reader = MessageReader::new(&spec).unwrap();
        let mut lengths = [0; 8];
        let mut seen = 0;
        let block = stream.repeat(8);
        let (count, ()) = allocations(|| {
            reader.received(&block, |content| {
                lengths[seen] = content.len();
                seen += 1;
                Ok(())
            });
        });
        assert_eq!(
            (count, lengths),
            (0, [1000; 8]),
            "{spec:?}: a message that is whole in a block is not copied"
        );
        let before_the_rest = HELD_BYTES.get();
        for (index, byte) in stream.iter().enumerate() {
            reader.received(&[*byte], |_| Ok(()));
            assert!(held_since(before_the_rest) <= 2 * (index + 1), "{spec:?} after {index}");
        }
        assert_eq!(held_since(before) - block.capacity(), 0, "{spec:?}: what was read is not held");
    }
}

#[test]
fn the_length_that_was_announced_allocates_nothing() {
    let spec = ConsumerSpec::length_prefixed(LengthFormat::U64(ByteOrder::Big), u64::MAX).unwrap();
    let mut consumer = spec.new_consumer();
    let prefix = (1u64 << 60).to_be_bytes();
    let (count, taken) = allocations(|| consumer.received(&prefix));
    assert_eq!((count, taken, consumer.is_completed()), (0, 8, false));
    let before = HELD_BYTES.get();
    consumer.received(b"abc");
    assert_eq!(held_since(before), 3);
}

#[test]
fn an_error_gives_the_memory_back() {
    let before = HELD_BYTES.get();
    let mut consumer = ConsumerSpec::line(100).unwrap().new_consumer();
    consumer.received(&[b'x'; 50]);
    consumer.end_of_input();
    assert!(consumer.error().is_some());
    assert_eq!(held_since(before), 0);
}
