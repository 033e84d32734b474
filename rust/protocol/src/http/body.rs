//! A body behind its head, however it is framed. Shared by requests and answers.
use super::chunked::ChunkedDecoder;
use super::framing::BodyFraming;
use crate::error::ErrorKind;
use crate::limits::HttpLimits;
use crate::unfinished::Unfinished;

/// How much of the body is still to come.
#[derive(Debug)]
pub(super) enum BodyReader {
    /// So many bytes.
    Length(u64),
    /// As many as the chunks say.
    Chunked(ChunkedDecoder),
    /// Until the stream ends; so many bytes may come.
    UntilClose(u64),
}

impl BodyReader {
    /// The reader of a body that is framed so.
    ///
    /// # Errors
    /// [`ErrorKind::BodyTooLarge`] if it is known beforehand to be.
    pub(super) fn new(framing: BodyFraming, limits: HttpLimits) -> Result<Self, ErrorKind> {
        let limit_bytes = limits.max_body_bytes;
        match framing {
            BodyFraming::Length(length) if length > limit_bytes => {
                Err(ErrorKind::BodyTooLarge { limit_bytes })
            }
            BodyFraming::Length(length) => Ok(Self::Length(length)),
            BodyFraming::Chunked => Ok(Self::Chunked(ChunkedDecoder::new(limits))),
            BodyFraming::UntilClose => Ok(Self::UntilClose(limit_bytes)),
        }
    }

    /// Whether there is nothing to come.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// Take bytes, add what they hold to `content`; return how many, and whether the body has ended.
    pub(super) fn received(
        &mut self,
        data: &[u8],
        content: &mut Unfinished,
        limits: &HttpLimits,
    ) -> (usize, Result<bool, ErrorKind>) {
        let missing = match self {
            Self::Chunked(decoder) => return decoder.received(data, content),
            Self::Length(missing) | Self::UntilClose(missing) => missing,
        };
        let len = usize::try_from(*missing).map_or(data.len(), |missing| missing.min(data.len()));
        let held = content.as_slice().len() as u64;
        if content.extend(&data[..len], held + *missing).is_err() {
            return (len, Err(ErrorKind::OutOfMemory { limit_bytes: held }));
        }
        *missing -= len as u64;
        match self {
            Self::UntilClose(_) if len < data.len() => {
                // The byte that is one too many is taken, as the fault is not certain without it.
                (len + 1, Err(ErrorKind::BodyTooLarge { limit_bytes: limits.max_body_bytes }))
            }
            Self::UntilClose(_) => (len, Ok(false)),
            _ => (len, Ok(self.is_nothing())),
        }
    }

    /// The bytes of the trailers, with the empty line that ends them; empty for a body without chunks.
    pub(super) fn trailer_bytes(&self) -> &[u8] {
        match self {
            Self::Chunked(decoder) => decoder.trailer_bytes(),
            _ => b"",
        }
    }

    pub(super) fn clear(&mut self) {
        if let Self::Chunked(decoder) = self {
            decoder.clear();
        }
    }

    #[cfg(feature = "count-work")]
    pub(super) fn examined_bytes(&self) -> u64 {
        match self {
            Self::Chunked(decoder) => decoder.examined_bytes(),
            _ => 0,
        }
    }
}
