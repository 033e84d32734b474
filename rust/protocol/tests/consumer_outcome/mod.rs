//! Feeding a consumer and seeing what it made of it: for `laws.rs` and the fuzzing of consumers.
use wiretask_protocol::consumer::StreamConsumer;
use wiretask_protocol::error::ProtocolError;
use wiretask_protocol::http::framing::BodyFraming;
use wiretask_protocol::message_reader::MessageReader;
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer};

/// All that can be seen of a consumer after a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub consumed: usize,
    pub is_completed: bool,
    pub is_started: bool,
    pub is_empty: bool,
    pub error: Option<ProtocolError>,
    pub value: Option<Vec<u8>>,
    /// What else can be asked, in words.
    pub facts: String,
    pub first_line: Vec<u8>,
}

/// Head and trailers of an HTTP message.
fn facts(consumer: &NativeConsumer) -> String {
    match consumer {
        NativeConsumer::HttpRequest(request) => {
            let Some(request) = request.get() else { return String::new() };
            let head = request.head();
            let fields: Vec<_> = head.fields().chain(request.trailers()).collect();
            let parts =
                [head.method(), head.target(), head.path(), head.query().unwrap_or(b"-"), head.host()];
            let flags = [head.is_whole(), request.keep_alive(), head.expects_continue()];
            format!("{parts:?} {:?} {:?} {flags:?} {fields:?}", head.version(), head.framing())
        }
        NativeConsumer::HttpResponse(response) => {
            let Some(response) = response.get() else { return String::new() };
            let head = response.head();
            let fields: Vec<_> = head.fields().chain(response.trailers()).collect();
            let flags = [head.is_whole(), response.keep_alive()];
            format!(
                "{} {:?} {:?} {:?} {flags:?} {fields:?}",
                head.status(),
                head.reason(),
                head.version(),
                head.framing()
            )
        }
        NativeConsumer::Chunked(chunked) => {
            format!("{:?}", chunked.get().map(|chunked| chunked.trailers().collect::<Vec<_>>()))
        }
        _ => String::new(),
    }
}

/// What can be seen of it now.
pub fn outcome(consumer: &NativeConsumer, consumed: usize) -> Outcome {
    let is_whole = consumer.is_completed() && consumer.error().is_none();
    Outcome {
        consumed,
        is_completed: consumer.is_completed(),
        is_started: consumer.is_started(),
        is_empty: consumer.is_empty(),
        error: consumer.error().copied(),
        value: is_whole.then(|| consumer.value().to_vec()),
        facts: facts(consumer),
        first_line: consumer.first_line().to_vec(),
    }
}

/// Feed the pieces in order, checking laws 2 and 3 at every call.
pub fn deliver<'a>(consumer: &mut NativeConsumer, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut consumed = 0;
    for piece in pieces {
        let was_completed = consumer.is_completed();
        let taken = consumer.received(piece);
        assert!(taken <= piece.len(), "took more than was given");
        if was_completed {
            assert_eq!(taken, 0, "law 2: consumed after completion");
        } else {
            assert!(taken == piece.len() || consumer.is_completed(), "left bytes without being completed");
            assert!(taken > 0 || piece.is_empty(), "law 3: no progress");
        }
        consumed += taken;
    }
    outcome(consumer, consumed)
}

/// Whether the end of the stream is the end of the message: an answer of no announced length.
pub fn ends_with_the_stream(consumer: &NativeConsumer) -> bool {
    match consumer {
        NativeConsumer::HttpResponse(response) => {
            response.get().is_some_and(|response| response.head().framing() == BodyFraming::UntilClose)
        }
        _ => false,
    }
}

/// All that can be seen of a stream of messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub messages: Vec<Vec<u8>>,
    pub consumed: u64,
    pub error: Option<ProtocolError>,
    /// What is held of a message that is not whole.
    pub held: Vec<u8>,
}

/// What a consumer for each message makes of the stream: what a reader must make of it.
pub fn one_after_another(spec: &ConsumerSpec, stream: &[u8], is_ended: bool) -> Reading {
    let mut reading = Reading::default();
    loop {
        let mut consumer = spec.new_consumer();
        reading.consumed += consumer.received(&stream[reading.consumed as usize..]) as u64;
        if is_ended {
            consumer.end_of_input();
        }
        if consumer.is_completed() && consumer.error().is_none() {
            reading.messages.push(consumer.take_value());
        } else {
            reading.error = consumer.error().copied();
            reading.held = consumer.take_value();
            return reading;
        }
    }
}

/// What a reader makes of the stream in these pieces; each byte that it is given is looked at three times at most.
pub fn read_messages<'a>(
    spec: &ConsumerSpec,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    is_ended: bool,
) -> Option<Reading> {
    let mut reader = MessageReader::new(spec)?;
    let mut messages = Vec::new();
    let mut given = 0;
    for piece in pieces {
        if reader.error().is_none() {
            given += piece.len() as u64;
        }
        reader.received(piece, |content| {
            messages.push(content.to_vec());
            Ok(())
        });
    }
    if is_ended {
        reader.end_of_input();
    }
    let consumed = reader.consumed_bytes();
    assert!(reader.examined_bytes() <= 3 * given, "law 5: bytes were looked at too often");
    Some(Reading { messages, consumed, error: reader.error().copied(), held: reader.held().to_vec() })
}
