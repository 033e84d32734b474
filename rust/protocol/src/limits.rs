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

/// The sizes of an HTTP message. The head and its request line count everything up to their end, the body its content
/// only (chunks have at most sixteen digits more each), extensions and trailers are counted over the whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HttpLimits {
    /// The longest head, from its first byte to the end of the empty line.
    pub max_head_bytes: u64,
    /// The longest request line, its end included.
    pub max_request_line_bytes: u64,
    /// The most field lines of a head, and of trailers.
    pub max_fields: u64,
    /// The longest body.
    pub max_body_bytes: u64,
    /// The most that the extensions of all chunks of a body may take.
    pub max_chunk_extension_bytes: u64,
    /// The longest trailers, the empty line included.
    pub max_trailer_bytes: u64,
}

impl HttpLimits {
    /// What a server begins with.
    pub const DEFAULT: Self = Self {
        max_head_bytes: 256 * 1024,
        max_request_line_bytes: 16 * 1024,
        max_fields: 128,
        max_body_bytes: 1024 * 1024 * 1024,
        max_chunk_extension_bytes: 16 * 1024,
        max_trailer_bytes: 16 * 1024,
    };
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The shortest head there is: `A / HTTP/1.0`, or `HTTP/1.1 200`, and two line ends.
pub const MIN_HEAD_BYTES: u64 = 16;

/// The shortest request line there is, its end included.
pub const MIN_REQUEST_LINE_BYTES: u64 = 14;

/// The end of trailers that are none.
pub const MIN_TRAILER_BYTES: u64 = 2;
