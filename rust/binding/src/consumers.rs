//! The native stream consumers as Python classes, and the factories that a server's `parser_class` may be.
//!
//! One base class holds a `NativeConsumer` behind a mutex and has all methods; each kind is a subclass that adds its
//! constructor. The mutex is held for parsing and for copying a value only, never while Python code could run, so
//! that it cannot be part of a dead-lock, with a GIL or without. The classes are immutable: a patched method would
//! not be seen by a server that parses natively. Must not know servers, tasks or sockets.
use crate::errors::{Fault, to_exception};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyFloat, PyInt, PyMemoryView, PySlice, PyString, PyType};
use pyo3::{PyClass, PyTypeInfo};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wiretask_protocol::consumer::StreamConsumer as _;
use wiretask_protocol::length_prefix::{ByteOrder, LengthFormat};
use wiretask_protocol::limits::{MAX_DELIMITED_BYTES, MAX_LINE_BYTES, MAX_PREFIXED_BYTES};
use wiretask_protocol::native::{ConsumerSpec, NativeConsumer, SpecError};

// The text signatures below spell these out.
const _: () =
    assert!(MAX_LINE_BYTES == 65_536 && MAX_DELIMITED_BYTES == 65_536 && MAX_PREFIXED_BYTES == 1_048_576);

/// How much of a buffer that may change under our hands is copied at a time.
const PIECE_BYTES: usize = 4096;

/// How much of a delimiter is shown.
const SHOWN_DELIMITER_BYTES: usize = 16;

/// From this size on, a refused allocation of a value becomes a MemoryError (for one more pass over the memory).
const LARGE_VALUE_BYTES: usize = 1 << 20;

/// The native consumer that `parser_class` stands for, or `None` if it is a Python parser.
///
/// Native are exactly the classes that need no arguments (`Line`, `LengthPrefixed`) and every factory that
/// `configured()` made. A subclass is a Python parser: it may override anything.
///
/// # Errors
/// `TypeError` for `FixedStream` and `Delimiter` themselves, which cannot be called with an `Adjustments` alone.
pub fn native_spec(parser_class: &Bound<'_, PyAny>) -> PyResult<Option<ConsumerSpec>> {
    let py = parser_class.py();
    if let Ok(factory) = parser_class.cast_exact::<ConsumerFactory>() {
        return Ok(Some(factory.get().spec.clone()));
    }
    if parser_class.is(Line::type_object(py)) {
        return Ok(Some(ConsumerSpec::Line { max_bytes: MAX_LINE_BYTES }));
    }
    if parser_class.is(LengthPrefixed::type_object(py)) {
        return Ok(Some(default_length_prefixed()));
    }
    for (class, example) in [
        (FixedStream::type_object(py), "FixedStream.configured(n)"),
        (Delimiter::type_object(py), "Delimiter.configured(delimiter)"),
    ] {
        if parser_class.is(&class) {
            return Err(PyTypeError::new_err(format!("parser_class needs arguments: say {example}")));
        }
    }
    Ok(None)
}

/// The Python object around a consumer that was fed in Rust. Its value is copied once, when it is asked for.
///
/// # Errors
/// `MemoryError`.
pub fn wrap(py: Python<'_>, consumer: NativeConsumer) -> PyResult<Py<PyAny>> {
    let make = match &consumer {
        NativeConsumer::Fixed(_) => new_object::<FixedStream>,
        NativeConsumer::Line(_) => new_object::<Line>,
        NativeConsumer::Delimiter(_) => new_object::<Delimiter>,
        NativeConsumer::LengthPrefixed(_) => new_object::<LengthPrefixed>,
    };
    make(py, consumer)
}

fn new_object<C>(py: Python<'_>, consumer: NativeConsumer) -> PyResult<Py<PyAny>>
where
    C: PyClass<BaseType = StreamConsumer> + Default,
{
    Ok(Py::new(py, StreamConsumer::initializer::<C>(consumer))?.into_any())
}

/// What every native stream consumer does; made only as one of its subclasses.
#[pyclass(module = "wiretask.consumers", subclass, frozen, immutable_type)]
pub struct StreamConsumer {
    state: Mutex<State>,
}

struct State {
    consumer: NativeConsumer,
    /// The value once it was asked for; the consumer's own copy is gone then.
    value: Option<Py<PyBytes>>,
}

impl StreamConsumer {
    fn initializer<C>(consumer: NativeConsumer) -> PyClassInitializer<C>
    where
        C: PyClass<BaseType = Self> + Default,
    {
        let state = Mutex::new(State { consumer, value: None });
        PyClassInitializer::from(Self { state }).add_subclass(C::default())
    }

    /// # Locks
    /// The caller runs no Python code until the guard is gone; so a plain lock is enough, and short.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Feed any bytes-like object that is not `bytes`: copied in pieces, as another thread may write to it, and so
    /// that a short message at the head of a long buffer does not cost the copy of all of it.
    fn received_from_buffer(&self, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = data.py();
        let mut piece = [0; PIECE_BYTES];
        if let Ok(buffer) = PyBuffer::<u8>::get(data)
            && buffer.len_bytes() <= PIECE_BYTES
            && buffer.is_c_contiguous()
        {
            return self.received_copy(py, buffer, &mut piece);
        }
        let view = byte_view(data)?;
        let len = view.len()?;
        let mut consumed = 0;
        for start in (0..len).step_by(PIECE_BYTES) {
            let end = len.min(start + PIECE_BYTES);
            let slice = PySlice::new(py, start as isize, end as isize, 1);
            let taken = self.received_copy(py, PyBuffer::get(&view.get_item(slice)?)?, &mut piece)?;
            consumed += taken;
            if taken < end - start {
                break;
            }
        }
        Ok(consumed)
    }

    /// Feed a buffer that fits into `piece`, by way of it.
    fn received_copy(&self, py: Python<'_>, buffer: PyBuffer<u8>, piece: &mut [u8]) -> PyResult<usize> {
        let piece = &mut piece[..buffer.len_bytes()];
        buffer.copy_to_slice(py, piece)?;
        drop(buffer);
        Ok(self.state().consumer.received(piece))
    }
}

#[pymethods]
impl StreamConsumer {
    /// Take bytes from the stream and return how many were consumed.
    ///
    /// Args:
    ///     data: the next bytes, in order; may be empty; any length. It may be re-used after the call.
    /// Returns:
    ///     0..len(data) bytes. Less than len(data) only once `completed` is true.
    /// Raises:
    ///     TypeError: data is not bytes-like or not contiguous. A peer's error never raises: see `error`.
    fn received(&self, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        if let Ok(data) = data.cast::<PyBytes>() {
            return Ok(self.state().consumer.received(data.as_bytes()));
        }
        self.received_from_buffer(data)
    }

    /// Whether it has all it needs, or has failed.
    #[getter]
    fn completed(&self) -> bool {
        self.state().consumer.is_completed()
    }

    /// The peer's fault as a `ProtocolError` (a new object each time), or `None`.
    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let error = self.state().consumer.error().copied()?;
        Some(to_exception(py, Fault::Protocol(&error)).into_value(py).into_any())
    }

    /// The message's content, without terminator or prefix. RuntimeError: there is none, or an `error`.
    #[getter]
    fn value(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        let mut state = self.state();
        if let Some(value) = &state.value {
            return Ok(value.clone_ref(py));
        }
        if !state.consumer.is_completed() {
            return Err(PyRuntimeError::new_err("there is no value yet: the message is not complete"));
        }
        if let Some(error) = state.consumer.error() {
            return Err(PyRuntimeError::new_err(format!("there is no value: {error}")));
        }
        // Under the lock, so that two threads cannot both move it; making a bytes object runs no Python code.
        let value = new_bytes(py, state.consumer.value())?.unbind();
        drop(state.consumer.take_value());
        state.value = Some(value.clone_ref(py));
        Ok(value)
    }

    /// Whether the completed message asks for nothing: a blank line.
    #[getter]
    fn empty(&self) -> bool {
        self.state().consumer.is_empty()
    }

    /// Tell it that the peer will send nothing more.
    fn end_of_input(&self) {
        self.state().consumer.end_of_input();
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.get_type().name()?;
        let state = slf.get().state();
        let arguments = arguments(&state.consumer.spec());
        let progress = match state.consumer.error() {
            Some(error) => error.kind.name(),
            None if state.consumer.is_completed() => "completed",
            None if state.consumer.is_started() => "started",
            None => "fresh",
        };
        drop(state);
        Ok(format!("<{name}({arguments}) {progress}>"))
    }
}

/// A consumer of exactly n bytes; with n = 0 it is completed from the start.
///
/// Args:
///     n: the length in bytes, 0..2**64-1. Memory follows what arrives.
/// Raises:
///     TypeError, ValueError: n is no such number.
#[pyclass(module = "wiretask.consumers", extends = StreamConsumer, subclass, frozen, immutable_type)]
#[derive(Default)]
pub struct FixedStream;

#[pymethods]
impl FixedStream {
    #[new]
    #[pyo3(signature = (n), text_signature = "(n)")]
    fn new(n: Length) -> PyClassInitializer<Self> {
        // Unlike a server's messages, a stream of no bytes makes sense on its own.
        StreamConsumer::initializer(ConsumerSpec::Fixed { length_bytes: n.0 }.new_consumer())
    }

    /// A native factory of such consumers, for use as `parser_class`.
    ///
    /// Raises:
    ///     ValueError: n is less than 1: there would be messages without end between two bytes.
    #[classmethod]
    #[pyo3(signature = (n), text_signature = "($cls, n)")]
    fn configured(cls: &Bound<'_, PyType>, n: Length) -> PyResult<ConsumerFactory> {
        ConsumerFactory::new::<Self>(cls, ConsumerSpec::fixed(n.0))
    }
}

/// A consumer of one line: a line feed ends it, one carriage return before that is not content either.
///
/// A blank line is `empty`. A line too long is the error "line_too_long" as soon as max_bytes have come.
///
/// Args:
///     adj: what a server passes to its `parser_class`; ignored.
///     max_bytes: the longest line in bytes of the stream, terminator included; at least 1.
/// Raises:
///     TypeError: a number, str or bytes was given as `adj`: meant as a limit, no doubt.
///     ValueError: max_bytes is out of range.
#[pyclass(module = "wiretask.consumers", extends = StreamConsumer, subclass, frozen, immutable_type)]
#[derive(Default)]
pub struct Line;

#[pymethods]
impl Line {
    #[new]
    #[pyo3(signature = (adj=None, /, *, max_bytes=MaxBytes(MAX_LINE_BYTES)))]
    #[pyo3(text_signature = "(adj=None, /, *, max_bytes=65536)")]
    fn new(adj: Option<&Bound<'_, PyAny>>, max_bytes: MaxBytes) -> PyResult<PyClassInitializer<Self>> {
        refuse_limit_as_adj(adj, "Line(max_bytes=...)")?;
        let spec = ConsumerSpec::line(max_bytes.0).map_err(spec_error)?;
        Ok(StreamConsumer::initializer(spec.new_consumer()))
    }

    /// A native factory of such consumers, for use as `parser_class`.
    #[classmethod]
    #[pyo3(signature = (*, max_bytes=MaxBytes(MAX_LINE_BYTES)), text_signature = "($cls, *, max_bytes=65536)")]
    fn configured(cls: &Bound<'_, PyType>, max_bytes: MaxBytes) -> PyResult<ConsumerFactory> {
        ConsumerFactory::new::<Self>(cls, ConsumerSpec::line(max_bytes.0))
    }
}

/// A consumer of everything up to the first occurrence of a delimiter, which is not part of the value.
///
/// A message too long is the error "message_too_long" as soon as max_bytes have come. An empty message counts.
///
/// Args:
///     delimiter: 1 to 1024 bytes.
///     max_bytes: the longest message in bytes of the stream, delimiter included; at least its length.
/// Raises:
///     TypeError, ValueError: an argument is not that.
#[pyclass(module = "wiretask.consumers", extends = StreamConsumer, subclass, frozen, immutable_type)]
#[derive(Default)]
pub struct Delimiter;

#[pymethods]
impl Delimiter {
    #[new]
    #[pyo3(signature = (delimiter, *, max_bytes=MaxBytes(MAX_DELIMITED_BYTES)))]
    #[pyo3(text_signature = "(delimiter, *, max_bytes=65536)")]
    fn new(delimiter: &Bound<'_, PyAny>, max_bytes: MaxBytes) -> PyResult<PyClassInitializer<Self>> {
        let spec = delimiter_spec(delimiter, max_bytes)?.map_err(spec_error)?;
        Ok(StreamConsumer::initializer(spec.new_consumer()))
    }

    /// A native factory of such consumers, for use as `parser_class`.
    #[classmethod]
    #[pyo3(signature = (delimiter, *, max_bytes=MaxBytes(MAX_DELIMITED_BYTES)))]
    #[pyo3(text_signature = "($cls, delimiter, *, max_bytes=65536)")]
    fn configured(
        cls: &Bound<'_, PyType>,
        delimiter: &Bound<'_, PyAny>,
        max_bytes: MaxBytes,
    ) -> PyResult<ConsumerFactory> {
        ConsumerFactory::new::<Self>(cls, delimiter_spec(delimiter, max_bytes)?)
    }
}

/// A consumer of a length and that many bytes; the length is not part of the value.
///
/// A length above the limit is the error "length_too_large" before any content is taken; a varint must be in
/// its shortest form ("length_overlong") and fit into 64 bits ("length_overflow").
///
/// Args:
///     adj: what a server passes to its `parser_class`; ignored.
///     size: how many bytes the length has: 1, 2, 4 or 8, or "varint" for unsigned LEB128 of at most 10 bytes.
///     byteorder: "big" or "little": the byte order of the length; means nothing for 1 byte and for a varint.
///     max_bytes: the longest message in bytes of the stream, length included; at least the length's own.
/// Raises:
///     TypeError: a number, str or bytes was given as `adj`: meant as a size, no doubt.
///     ValueError: an argument is not that.
#[pyclass(module = "wiretask.consumers", extends = StreamConsumer, subclass, frozen, immutable_type)]
#[derive(Default)]
pub struct LengthPrefixed;

#[pymethods]
impl LengthPrefixed {
    #[new]
    #[pyo3(signature = (adj=None, /, *, size=None, byteorder="big", max_bytes=MaxBytes(MAX_PREFIXED_BYTES)))]
    #[pyo3(text_signature = "(adj=None, /, *, size=4, byteorder='big', max_bytes=1048576)")]
    fn new(
        adj: Option<&Bound<'_, PyAny>>,
        size: Option<&Bound<'_, PyAny>>,
        byteorder: &str,
        max_bytes: MaxBytes,
    ) -> PyResult<PyClassInitializer<Self>> {
        refuse_limit_as_adj(adj, "LengthPrefixed(size=..., max_bytes=...)")?;
        let format = length_format(size, byteorder)?;
        let spec = ConsumerSpec::length_prefixed(format, max_bytes.0).map_err(spec_error)?;
        Ok(StreamConsumer::initializer(spec.new_consumer()))
    }

    /// A native factory of such consumers, for use as `parser_class`.
    #[classmethod]
    #[pyo3(signature = (*, size=None, byteorder="big", max_bytes=MaxBytes(MAX_PREFIXED_BYTES)))]
    #[pyo3(text_signature = "($cls, *, size=4, byteorder='big', max_bytes=1048576)")]
    fn configured(
        cls: &Bound<'_, PyType>,
        size: Option<&Bound<'_, PyAny>>,
        byteorder: &str,
        max_bytes: MaxBytes,
    ) -> PyResult<ConsumerFactory> {
        let format = length_format(size, byteorder)?;
        ConsumerFactory::new::<Self>(cls, ConsumerSpec::length_prefixed(format, max_bytes.0))
    }
}

/// Makes native consumers that are all alike; the value of `configured()`, callable as `parser_class(adj)`.
#[pyclass(module = "wiretask.consumers", frozen, eq, hash, immutable_type)]
#[derive(PartialEq, Eq, Hash)]
pub struct ConsumerFactory {
    spec: ConsumerSpec,
}

impl ConsumerFactory {
    fn new<C: PyTypeInfo>(cls: &Bound<'_, PyType>, spec: Result<ConsumerSpec, SpecError>) -> PyResult<Self> {
        if !cls.is(C::type_object(cls.py())) {
            let text = format!("configured() makes native consumers only, and {} is a subclass", cls.name()?);
            return Err(PyTypeError::new_err(text));
        }
        spec.map(|spec| Self { spec }).map_err(spec_error)
    }
}

#[pymethods]
impl ConsumerFactory {
    /// A fresh consumer; `adj` is ignored.
    #[pyo3(signature = (adj=None, /))]
    fn __call__(&self, py: Python<'_>, adj: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let _ignored = adj;
        wrap(py, self.spec.new_consumer())
    }

    /// The bytes from which one of its consumers reads `value` back.
    fn encode<'py>(&self, py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let mut encoded = Vec::new();
        let result = match value.cast::<PyBytes>() {
            Ok(bytes) => self.spec.encode(bytes.as_bytes(), &mut encoded),
            Err(_) => self.spec.encode(&PyBuffer::get(&byte_view(value)?)?.to_vec(py)?, &mut encoded),
        };
        result.map_err(|error| PyValueError::new_err(error.to_string()))?;
        new_bytes(py, &encoded)
    }

    fn __repr__(&self) -> String {
        let name = match self.spec {
            ConsumerSpec::Fixed { .. } => "FixedStream",
            ConsumerSpec::Line { .. } => "Line",
            ConsumerSpec::Delimiter { .. } => "Delimiter",
            ConsumerSpec::LengthPrefixed { .. } => "LengthPrefixed",
        };
        format!("{name}.configured({})", arguments(&self.spec))
    }
}

/// The argument `max_bytes`.
struct MaxBytes(u64);

impl FromPyObject<'_, '_> for MaxBytes {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        whole_number("max_bytes", &value).map(Self)
    }
}

/// The argument `n`.
struct Length(u64);

impl FromPyObject<'_, '_> for Length {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        whole_number("n", &value).map(Self)
    }
}

fn whole_number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    value.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(value.py()) {
            return PyValueError::new_err(format!("{name} must be between 0 and 2**64 - 1, not {value}"));
        }
        match value.get_type().name() {
            Ok(kind) => PyTypeError::new_err(format!("{name} must be an int, not {kind}")),
            Err(failure) => failure,
        }
    })
}

fn delimiter_spec(
    delimiter: &Bound<'_, PyAny>,
    max_bytes: MaxBytes,
) -> PyResult<Result<ConsumerSpec, SpecError>> {
    if let Ok(bytes) = delimiter.cast::<PyBytes>() {
        Ok(ConsumerSpec::delimiter(bytes.as_bytes(), max_bytes.0))
    } else if let Ok(bytes) = delimiter.cast::<PyByteArray>() {
        Ok(ConsumerSpec::delimiter(&bytes.to_vec(), max_bytes.0))
    } else {
        let text = format!("delimiter must be bytes, not {}", delimiter.get_type().name()?);
        Err(PyTypeError::new_err(text))
    }
}

fn default_length_prefixed() -> ConsumerSpec {
    ConsumerSpec::LengthPrefixed { format: LengthFormat::U32(ByteOrder::Big), max_bytes: MAX_PREFIXED_BYTES }
}

fn length_format(size: Option<&Bound<'_, PyAny>>, byteorder: &str) -> PyResult<LengthFormat> {
    let order = match byteorder {
        "big" => ByteOrder::Big,
        "little" => ByteOrder::Little,
        other => {
            return Err(PyValueError::new_err(format!("byteorder must be 'big' or 'little', not {other:?}")));
        }
    };
    let Some(size) = size else { return Ok(LengthFormat::U32(order)) };
    if let Ok(text) = size.cast::<PyString>() {
        if text == "varint" {
            return Ok(LengthFormat::Varint);
        }
    } else {
        match size.cast::<PyInt>().map(|number| number.extract::<u8>()) {
            Ok(Ok(1)) => return Ok(LengthFormat::U8),
            Ok(Ok(2)) => return Ok(LengthFormat::U16(order)),
            Ok(Ok(4)) => return Ok(LengthFormat::U32(order)),
            Ok(Ok(8)) => return Ok(LengthFormat::U64(order)),
            _ => {}
        }
    }
    Err(PyValueError::new_err(format!("size must be 1, 2, 4, 8 or 'varint', not {}", size.repr()?)))
}

/// A limit given by position would silently be taken for the `adj` that a server passes.
fn refuse_limit_as_adj(adj: Option<&Bound<'_, PyAny>>, spelling: &str) -> PyResult<()> {
    let Some(adj) = adj else { return Ok(()) };
    if adj.is_instance_of::<PyInt>()
        || adj.is_instance_of::<PyFloat>()
        || adj.is_instance_of::<PyString>()
        || adj.is_instance_of::<PyBytes>()
    {
        let text =
            format!("limits are given by keyword: {spelling}; the first argument is a server's Adjustments");
        return Err(PyTypeError::new_err(text));
    }
    Ok(())
}

fn spec_error(error: SpecError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The memory of a contiguous bytes-like object as a one-dimensional memoryview of bytes.
fn byte_view<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let view = PyMemoryView::from(data).map_err(|refusal| {
        if !refusal.is_instance_of::<PyTypeError>(data.py()) {
            return refusal;
        }
        match data.get_type().name() {
            Ok(name) => PyTypeError::new_err(format!("bytes, bytearray or memoryview expected, not {name}")),
            Err(failure) => failure,
        }
    })?;
    // Fails with a TypeError of its own if the memory is not contiguous.
    view.call_method1(intern!(data.py(), "cast"), (intern!(data.py(), "B"),))
}

/// A bytes object; `MemoryError` instead of a panic where an allocation is likely to be refused.
fn new_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    if bytes.len() < LARGE_VALUE_BYTES {
        return Ok(PyBytes::new(py, bytes));
    }
    PyBytes::new_with(py, bytes.len(), |target| {
        target.copy_from_slice(bytes);
        Ok(())
    })
}

/// The arguments that make such a consumer, as they would be written in Python.
fn arguments(spec: &ConsumerSpec) -> String {
    match spec {
        ConsumerSpec::Fixed { length_bytes } => format!("n={length_bytes}"),
        ConsumerSpec::Line { max_bytes } => format!("max_bytes={max_bytes}"),
        ConsumerSpec::Delimiter { needle, max_bytes } => {
            let bytes = needle.as_bytes();
            let shown = &bytes[..bytes.len().min(SHOWN_DELIMITER_BYTES)];
            let cut = if shown.len() < bytes.len() { "..." } else { "" };
            format!("delimiter=b'{}'{cut}, max_bytes={max_bytes}", shown.escape_ascii())
        }
        ConsumerSpec::LengthPrefixed { format, max_bytes } => {
            let (size, order) = match format {
                LengthFormat::U8 => ("1", None),
                LengthFormat::U16(order) => ("2", Some(order)),
                LengthFormat::U32(order) => ("4", Some(order)),
                LengthFormat::U64(order) => ("8", Some(order)),
                LengthFormat::Varint => ("'varint'", None),
            };
            let order = match order {
                Some(ByteOrder::Big) => "byteorder='big', ",
                Some(ByteOrder::Little) => "byteorder='little', ",
                None => "",
            };
            format!("size={size}, {order}max_bytes={max_bytes}")
        }
    }
}
