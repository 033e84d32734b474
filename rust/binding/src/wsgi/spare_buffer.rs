//! One buffer for each thread, so that answers that follow each other need no memory of their own.
use std::cell::Cell;

/// A larger one is given back to the system.
const MAX_KEPT_BYTES: usize = 8 * 1024;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty buffer, with memory if there is a spare one.
pub fn take() -> Vec<u8> {
    SPARE.take()
}

/// Keep the memory of `buffer` for the next.
pub fn keep(mut buffer: Vec<u8>) {
    if buffer.capacity() <= MAX_KEPT_BYTES {
        buffer.clear();
        SPARE.set(buffer);
    }
}
