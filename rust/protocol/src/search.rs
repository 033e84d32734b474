//! Resumable search for a delimiter that may straddle reads.
//!
//! Knuth, Morris and Pratt: what is remembered between two calls is only how much of the delimiter the end of the
//! stream so far matches, so no byte that went by is ever needed again. Far from a match, `memchr` looks for the
//! delimiter's first byte. Work: each byte is looked at once by `memchr` and at most twice by the automaton.
//! Source: Knuth, Morris, Pratt, "Fast pattern matching in strings", SIAM J. Comput. 6 (1977).
use alloc::{boxed::Box, vec};
use memchr::memchr;

/// A delimiter made ready for searching; shared by all searches for it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Needle {
    bytes: Box<[u8]>,
    /// `fallback[i]`: the length of the longest proper prefix of the delimiter that ends `bytes[..=i]`.
    fallback: Box<[usize]>,
}

impl Needle {
    /// Make a delimiter ready; `None` if it is empty, for then it would be everywhere.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let mut fallback = vec![0; bytes.len()];
        let mut matched = 0;
        for i in 1..bytes.len() {
            while matched > 0 && bytes[i] != bytes[matched] {
                matched = fallback[matched - 1];
            }
            if bytes[i] == bytes[matched] {
                matched += 1;
            }
            fallback[i] = matched;
        }
        Some(Self { bytes: bytes.into(), fallback: fallback.into() })
    }

    /// The delimiter itself; never empty.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A search under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search {
    /// How many bytes of the needle the stream so far ends with.
    matched: usize,
    #[cfg(feature = "count-work")]
    examined_bytes: u64,
}

impl Search {
    /// Go through the next bytes of the stream; return how many of them reach to the end of the needle's first
    /// occurrence, or `None` if it has not ended yet.
    ///
    /// Every call must come with the same needle and with bytes that follow those of the call before.
    pub fn find_end(&mut self, needle: &Needle, data: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if self.matched == 0 {
                match memchr(needle.bytes[0], &data[at..]) {
                    Some(skipped) => {
                        self.count(skipped + 1);
                        at += skipped + 1;
                        self.matched = 1;
                    }
                    None => {
                        self.count(data.len() - at);
                        return None;
                    }
                }
            } else {
                let byte = *data.get(at)?;
                self.count(1);
                if byte == needle.bytes[self.matched] {
                    self.matched += 1;
                    at += 1;
                } else {
                    // The same byte is tried again, on a shorter match: at most as often as the match had grown.
                    self.matched = needle.fallback[self.matched - 1];
                    continue;
                }
            }
            if self.matched == needle.bytes.len() {
                self.matched = 0;
                return Some(at);
            }
        }
    }

    /// Forget what was matched, for a search in another stream.
    pub fn restart(&mut self) {
        self.matched = 0;
    }

    /// Look for a single byte, which needs no memory between calls.
    pub fn find_byte(&mut self, byte: u8, data: &[u8]) -> Option<usize> {
        let found = memchr(byte, data);
        self.count(found.map_or(data.len(), |index| index + 1));
        found
    }

    /// The places of a single byte. All of `data` counts as looked at twice: what is in vain in a block is done again.
    pub fn occurrences<'d>(&mut self, byte: u8, data: &'d [u8]) -> Occurrences<'d> {
        self.count(2 * data.len());
        Occurrences { byte, data, at: 0, block_start: 0, found: 0, is_dense: true }
    }

    /// How often a byte was looked at since the search began: what the linear-work law bounds.
    #[cfg(feature = "count-work")]
    pub fn examined_bytes(&self) -> u64 {
        self.examined_bytes
    }

    #[cfg(feature = "count-work")]
    fn count(&mut self, bytes: usize) {
        self.examined_bytes += bytes as u64;
    }

    #[cfg(not(feature = "count-work"))]
    #[inline(always)]
    fn count(&mut self, _bytes: usize) {}
}

/// How many bytes are looked at together.
const BLOCK_BYTES: usize = 64;

/// The places of a byte, in order: a block at a time where it is frequent, which costs less than a call of `memchr` for
/// each, and by `memchr` where it is not.
#[derive(Debug)]
pub struct Occurrences<'d> {
    byte: u8,
    data: &'d [u8],
    /// Everything before is done with, or in `found`.
    at: usize,
    block_start: usize,
    /// A bit for each place in the block that was not told yet.
    found: u64,
    /// Whether the next block is likely to have one.
    is_dense: bool,
}

impl Iterator for Occurrences<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.found == 0 {
            let rest = self.data.get(self.at..)?;
            if let (true, Some(block)) = (self.is_dense, rest.first_chunk()) {
                self.found = places_in_block(self.byte, block);
                self.is_dense = self.found != 0;
                self.block_start = self.at;
                self.at += if self.is_dense { BLOCK_BYTES } else { 0 };
            }
            if self.found == 0 {
                let skipped = memchr(self.byte, rest)?;
                self.is_dense = skipped < BLOCK_BYTES / 2;
                let place = self.at + skipped;
                self.at = place + 1;
                return Some(place);
            }
        }
        let place = self.block_start + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(place)
    }
}

/// A bit for each place of the byte, the first one lowest. Written for the compiler to do 16 comparisons at a time.
fn places_in_block(byte: u8, block: &[u8; BLOCK_BYTES]) -> u64 {
    let mut bits = [0u8; BLOCK_BYTES];
    for (index, bit) in bits.iter_mut().enumerate() {
        *bit = if block[index] == byte { 1 << (index % 8) } else { 0 };
    }
    let (eights, _) = bits.as_chunks::<8>();
    eights.iter().rev().fold(0, |places, eight| {
        // Each byte has a bit of its own, so their sum, which arrives in the highest byte, is all of them.
        places << 8 | u64::from_le_bytes(*eight).wrapping_mul(0x0101_0101_0101_0101) >> 56
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn naive_end(needle: &[u8], haystack: &[u8]) -> Option<usize> {
        haystack.windows(needle.len()).position(|window| window == needle).map(|start| start + needle.len())
    }

    fn small_alphabet(len: core::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b')], len)
    }

    proptest! {
        #[test]
        fn finds_what_a_naive_search_finds(needle in small_alphabet(1..6), haystack in small_alphabet(0..60)) {
            let prepared = Needle::new(&needle).unwrap();
            prop_assert_eq!(Search::default().find_end(&prepared, &haystack), naive_end(&needle, &haystack));
        }

        #[test]
        fn a_needle_is_found_across_any_cut(needle in small_alphabet(1..6), haystack in small_alphabet(0..60)) {
            let prepared = Needle::new(&needle).unwrap();
            let mut search = Search::default();
            let found = haystack.iter().position(|byte| search.find_end(&prepared, &[*byte]).is_some());
            prop_assert_eq!(found.map(|index| index + 1), naive_end(&needle, &haystack));
        }
    }

    proptest! {
        #[test]
        fn occurrences_are_those_of_a_naive_search(gaps in proptest::collection::vec(0..200usize, 0..20)) {
            let mut data = Vec::new();
            for gap in gaps {
                data.resize(data.len() + gap, b'a');
                data.push(b'b');
            }
            let expected: Vec<_> = (0..data.len()).filter(|place| data[*place] == b'b').collect();
            prop_assert_eq!(Search::default().occurrences(b'b', &data).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn occurrences_among_any_bytes(data in proptest::collection::vec(any::<u8>(), 0..2000), byte in any::<u8>()) {
            let expected: Vec<_> = (0..data.len()).filter(|place| data[*place] == byte).collect();
            prop_assert_eq!(Search::default().occurrences(byte, &data).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_empty_needle_is_refused() {
        assert_eq!(Needle::new(b""), None);
    }
}
