//! Takes the answers of an HTTP server apart, and checks them: 200, a Content-Length, and one of two bodies.
//!
//! Must not know: sockets, time. Source: RFC 9112, as far as the servers that are measured use it.

/// What is asked, and which answers are right.
pub struct Exchange {
    /// One request, whole.
    pub request: Vec<u8>,
    pub body: Vec<u8>,
    /// The body of an answer that was slow on purpose; what it took is counted apart.
    pub slow_body: Vec<u8>,
}

impl Exchange {
    pub fn new(path: &str, body: &str, slow_body: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes();
        Self { request, body: body.into(), slow_body: slow_body.into() }
    }
}

/// The answers of one connection.
#[derive(Default)]
pub struct Answers {
    held: Vec<u8>,
    /// Whether one of the answers was slow on purpose, since this was last reset.
    pub is_slow: bool,
}

impl Answers {
    /// Takes the next bytes; returns how many answers they complete.
    ///
    /// # Errors
    /// Text that says what is wrong with an answer.
    pub fn take(&mut self, data: &[u8], exchange: &Exchange) -> Result<usize, String> {
        self.held.extend_from_slice(data);
        let mut completed = 0;
        while let Some(length) = self.check_first(exchange)? {
            self.held.drain(..length);
            completed += 1;
        }
        Ok(completed)
    }

    /// Checks the first answer and returns its length, or `None` while it is not whole.
    fn check_first(&mut self, exchange: &Exchange) -> Result<Option<usize>, String> {
        let Some(end) = self.held.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(self.held.get(..end).unwrap_or_default());
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        if !(status.starts_with("HTTP/1.1 200") || status.starts_with("HTTP/1.0 200")) {
            return Err(format!("not the right status: {status:?}"));
        }
        let length: usize = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .ok_or_else(|| format!("no Content-Length: {head:?}"))?;
        let Some(body) = self.held.get(end + 4..end + 4 + length) else { return Ok(None) };
        if body == exchange.slow_body.as_slice() {
            self.is_slow = true;
        } else if body != exchange.body.as_slice() {
            return Err(format!("not the right body: {:?}", String::from_utf8_lossy(body)));
        }
        Ok(Some(end + 4 + length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nhello";

    fn exchange() -> Exchange {
        Exchange::new("/", "hello", "nap")
    }

    #[test]
    fn answers_in_any_cut_are_counted() {
        let twice = [GOOD, GOOD].concat();
        for cut in 0..twice.len() {
            let mut answers = Answers::default();
            let (first, second) = twice.split_at(cut);
            let count =
                answers.take(first, &exchange()).unwrap() + answers.take(second, &exchange()).unwrap();
            assert_eq!(count, 2);
            assert!(!answers.is_slow);
        }
    }

    #[test]
    fn a_slow_answer_is_known_by_its_body() {
        let mut answers = Answers::default();
        assert_eq!(answers.take(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnap", &exchange()), Ok(1));
        assert!(answers.is_slow);
    }

    #[test]
    fn what_is_wrong_is_an_error() {
        for wrong in [
            &b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhullo",
            b"HTTP/1.1 200 OK\r\n\r\nhello",
        ] {
            assert!(Answers::default().take(wrong, &exchange()).is_err());
        }
    }
}
