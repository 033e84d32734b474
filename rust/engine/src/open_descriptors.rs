//! Which descriptors the engine has open, noted without a lock: for the child of a fork.
//!
//! The child has copies of its parent's sockets and none of the threads that own them. It must close
//! the copies, or peers would never see the parent close; and it must not touch anything else of the
//! parent's, whose locks may be held by threads that do not exist in the child. So the numbers stand
//! in a bitmap of atomics. A process-wide room: descriptors are.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

const WORDS_PER_CHUNK: usize = 512;
const DESCRIPTORS_PER_CHUNK: usize = WORDS_PER_CHUNK * 64;
/// Up to 16 million descriptors; those above are not noted, and a child would keep them open.
const CHUNKS: usize = 512;

type Chunk = Box<[AtomicU64]>;

static OPEN: [OnceLock<Chunk>; CHUNKS] = [const { OnceLock::new() }; CHUNKS];

/// A descriptor of ours is open from now on.
pub(crate) fn note_open(descriptor: &impl AsRawFd) {
    if let Some((chunk, word, bit)) = place(descriptor.as_raw_fd()) {
        let new_chunk = || (0..WORDS_PER_CHUNK).map(|_| AtomicU64::new(0)).collect();
        if let Some(word) = OPEN.get(chunk).and_then(|chunk| chunk.get_or_init(new_chunk).get(word)) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }
}

/// A descriptor of ours is about to be closed, or given away.
pub(crate) fn note_closed(descriptor: &impl AsRawFd) {
    if let Some((chunk, word, bit)) = place(descriptor.as_raw_fd())
        && let Some(word) = OPEN.get(chunk).and_then(OnceLock::get).and_then(|chunk| chunk.get(word))
    {
        word.fetch_and(!bit, Ordering::Relaxed);
    }
}

fn place(descriptor: RawFd) -> Option<(usize, usize, u64)> {
    let number = usize::try_from(descriptor).ok()?;
    let within = number % DESCRIPTORS_PER_CHUNK;
    Some((number / DESCRIPTORS_PER_CHUNK, within / 64, 1 << (within % 64)))
}

/// Closes every descriptor noted, with a plain close(2).
///
/// # Safety
/// Only in the child of a fork, before it uses this crate: the owners of the descriptors must not
/// exist in this process, and must never be dropped in it.
pub unsafe fn close_all_in_child() {
    for (index, chunk) in OPEN.iter().enumerate() {
        for (position, word) in chunk.get().into_iter().flatten().enumerate() {
            let mut bits = word.swap(0, Ordering::Relaxed);
            while bits != 0 {
                let number = index * DESCRIPTORS_PER_CHUNK + position * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Ok(descriptor) = RawFd::try_from(number) {
                    // SAFETY: the caller promises that the owner who noted it does not exist here.
                    unsafe { close_copy(descriptor) };
                }
            }
        }
    }
}

/// Closes a descriptor that may not be open.
///
/// The system copies the table of descriptors before it copies the memory: what another thread of the
/// parent opened and noted between the two is noted here, but not open. So no `OwnedFd`, which takes
/// that for a bug and aborts where debug assertions are on.
///
/// # Safety
/// Nobody in this process owns it.
unsafe fn close_copy(descriptor: RawFd) {
    // SAFETY: as the caller promises. The result does not matter: either it is closed, or it never was open.
    unsafe { libc::close(descriptor) };
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::IntoRawFd;

    use super::*;

    struct Number(RawFd);

    impl AsRawFd for Number {
        fn as_raw_fd(&self) -> RawFd {
            self.0
        }
    }

    fn is_noted(descriptor: RawFd) -> bool {
        place(descriptor).is_some_and(|(chunk, word, bit)| {
            OPEN[chunk].get().is_some_and(|chunk| chunk[word].load(Ordering::Relaxed) & bit != 0)
        })
    }

    #[test]
    fn a_descriptor_is_noted_from_open_to_close() {
        for number in [10_000_001, 10_000_063, 10_000_064] {
            note_open(&Number(number));
            assert!(is_noted(number));
            note_closed(&Number(number));
            assert!(!is_noted(number));
        }
        note_open(&Number(-1));
        assert!(!is_noted(-1));
    }

    #[test]
    fn a_copy_is_closed_and_one_that_is_not_open_is_let_be() {
        let (left, mut right) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        let descriptor = left.into_raw_fd();
        // SAFETY: it was just taken out of its owner.
        unsafe { close_copy(descriptor) };
        assert_eq!(right.read(&mut [0; 1]).expect("the end of input"), 0);
        // SAFETY: no process can have so many descriptors, so nobody owns this one.
        unsafe { close_copy(RawFd::MAX) };
    }
}
