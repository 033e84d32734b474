//! Every size limit of the protocol crate, in one place. All are defaults that a caller may change; all count bytes
//! of the stream, terminators and prefixes included.

/// The longest line, its terminator included.
pub const MAX_LINE_BYTES: u64 = 64 * 1024;

/// The longest message that ends with a delimiter, the delimiter included.
pub const MAX_DELIMITED_BYTES: u64 = 64 * 1024;

/// The longest length-prefixed message, the prefix included.
pub const MAX_PREFIXED_BYTES: u64 = 1024 * 1024;

/// The longest delimiter.
pub const MAX_DELIMITER_BYTES: usize = 1024;

/// The most bytes a 64-bit varint can have in its shortest form.
pub const MAX_VARINT_BYTES: u8 = 10;
