//! The consumers of HTTP/1.1: requests, answers, chunked bodies.
//!
//! What a head says is asked of the native consumer each time; only the two mappings are kept.
mod chunked;
mod common_names;
mod face;
mod headers;
mod request;
mod response;

pub use chunked::Chunked;
pub use headers::HTTPHeaders;
pub use request::HTTPRequest;
pub use response::HTTPResponse;

use wiretask_protocol::limits::HttpLimits;

const USUAL: HttpLimits = HttpLimits::DEFAULT;

// The text signatures of the classes spell these out.
const _: () = assert!(
    USUAL.max_head_bytes == 262_144
        && USUAL.max_request_line_bytes == 16_384
        && USUAL.max_fields == 128
        && USUAL.max_body_bytes == 1_073_741_824
        && USUAL.max_chunk_extension_bytes == 16_384
        && USUAL.max_trailer_bytes == 16_384
);
