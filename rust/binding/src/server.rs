//! The native server: what `wiretask.Server` starts, asks and stops.
//!
//! Settings come checked from Python. Every wait is done detached, and no lock is held over it.

use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyType, PyWeakrefReference};
use wiretask_engine::access_log::AccessLog;
use wiretask_engine::channel_run::{forget_running, is_server_run_by_caller};
use wiretask_engine::open_descriptors;
use wiretask_engine::server::Server as EngineServer;
use wiretask_engine::server_core::{LoopAnswers, ServerConfig};
use wiretask_protocol::channel::{ChannelLimits, ChannelMode, OutputLimits};
use wiretask_protocol::limits::MAX_LINE_BYTES;
use wiretask_protocol::native::ConsumerSpec;

use crate::channel::Connection;
use crate::consumers;
use crate::errors::{Fault, to_exception};
use crate::gil::{self, Section};
use crate::host::PythonHost;
use crate::loop_answers::HttpAnswers;
use crate::tasks::TaskQueue;
use crate::wsgi::WsgiSettings;

/// Raw input is read up to this many bytes ahead of the worker.
const MAX_WAITING_BYTES: usize = 64 * 1024;

/// Output is sent, and moved to a temporary file, in pieces of this size.
const OUTPUT_PIECE_BYTES: usize = 128 * 1024;

/// The loop threads of one server. They run as soon as it is made.
#[pyclass(frozen, immutable_type, module = "wiretask._native")]
pub struct Server {
    server: Arc<EngineServer<PythonHost>>,
    accepts: AtomicU64,
    is_abandoned: AtomicBool,
}

impl Server {
    /// The access log, unless it belongs to the parent of this process.
    fn own_access_log(&self) -> Option<&Arc<AccessLog>> {
        let is_abandoned = self.is_abandoned.load(Ordering::Relaxed);
        let wsgi = self.server.core().host.wsgi.as_ref().filter(|_| !is_abandoned)?;
        wsgi.access_log.as_ref()
    }
}

#[pymethods]
impl Server {
    /// Start loops that accept from `descriptors`, which they take over whatever happens.
    #[new]
    #[pyo3(signature = (server, opening_class, queue, descriptors, settings, /))]
    fn new(
        py: Python<'_>,
        server: &Bound<'_, PyAny>,
        opening_class: Py<PyType>,
        queue: Option<&Bound<'_, TaskQueue>>,
        descriptors: Vec<i32>,
        settings: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        // SAFETY: the caller made these descriptors with os.dup for this call and gives them away.
        let listeners = descriptors.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect();
        let wsgi = wsgi_settings(settings, server)?;
        let access_log = wsgi.as_ref().and_then(|wsgi| wsgi.access_log.clone());
        let config = config(settings, access_log)?;
        let host = PythonHost {
            server: PyWeakrefReference::new(server)?.unbind(),
            opening_class,
            pool: queue.map(|queue| queue.get().pool()),
            generation: gil::generation(),
            wsgi,
        };
        let started =
            gil::detached(py, Section::ServerStart, || EngineServer::start(config, listeners, host));
        let server = started.map_err(|error| to_exception(py, Fault::Io(&error)))?;
        Ok(Self {
            server: Arc::new(server),
            accepts: AtomicU64::new(0),
            is_abandoned: AtomicBool::new(false),
        })
    }

    /// Close the listeners, let connections come to their end.
    fn drain(&self) {
        if !self.is_abandoned.load(Ordering::Relaxed) {
            self.server.drain();
        }
    }

    /// Whether all connections have ended within `seconds`.
    #[pyo3(signature = (seconds, /))]
    fn wait_drained(&self, py: Python<'_>, seconds: f64) -> bool {
        let deadline = Instant::now() + duration(seconds);
        gil::detached(py, Section::ServerStop, || self.server.wait_drained(deadline))
    }

    /// Close everything and end the loops; whether they have ended within `seconds`.
    #[pyo3(signature = (seconds, /))]
    fn stop(&self, py: Python<'_>, seconds: f64) -> bool {
        if self.is_abandoned.load(Ordering::Relaxed) {
            return true;
        }
        gil::detached(py, Section::ServerStop, || self.server.stop(duration(seconds)))
    }

    /// Whether the calling thread runs a channel of this server.
    fn is_run_by_caller(&self) -> bool {
        is_server_run_by_caller(self.server.core())
    }

    /// Let everything go as it is: in the child of a fork, where the loops do not exist.
    fn abandon(&self) {
        if !self.is_abandoned.swap(true, Ordering::Relaxed) {
            // One count too many: never dropped, so that nothing of the parent's is touched.
            std::mem::forget(Arc::clone(&self.server));
        }
    }

    /// A new connection of a listener, or None if none waits.
    #[pyo3(signature = (listener_index, /))]
    fn accept(&self, py: Python<'_>, listener_index: usize) -> PyResult<Option<Connection>> {
        let accepted = self.server.accept(listener_index);
        let connection = accepted.map_err(|error| to_exception(py, Fault::Io(&error)))?;
        self.accepts.fetch_add(1, Ordering::Relaxed);
        Ok(connection.map(|connection| Connection { connection }))
    }

    /// How often `accept` succeeded, or found that nothing waits.
    #[getter]
    fn accepts(&self) -> u64 {
        self.accepts.load(Ordering::Relaxed)
    }

    /// Report a listener again if connections wait: at once, or a little later.
    #[pyo3(signature = (listener_index, at_once, /))]
    fn listen_again(&self, listener_index: usize, at_once: bool) {
        if !self.is_abandoned.load(Ordering::Relaxed) {
            self.server.listen_again(listener_index, at_once);
        }
    }

    /// The server's counters by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = &self.server.core().stats;
        let figures = PyDict::new(py);
        figures.set_item("connections", stats.connections.load(Ordering::Relaxed))?;
        figures.set_item("spooled_bytes", stats.spooled_bytes.load(Ordering::Relaxed))?;
        for (name, counter) in [
            ("accepted", &stats.accepted),
            ("accept_errors", &stats.accept_errors),
            ("bytes_received", &stats.bytes_received),
            ("bytes_sent", &stats.bytes_sent),
            ("dispatched", &stats.dispatched),
            ("requests", &stats.begun),
            ("refused", &stats.refused),
            ("protocol_errors", &stats.protocol_errors),
            ("timeouts", &stats.timeouts),
            ("connections_lost", &stats.connections_lost),
            ("spool_failures", &stats.spool_failures),
            ("evicted", &stats.evicted),
            ("file_failures", &stats.file_failures),
            ("bodies_in_files", &stats.bodies_in_files),
        ] {
            figures.set_item(name, counter.load(Ordering::Relaxed))?;
        }
        if let Some(log) = self.own_access_log() {
            let counted = log.figures();
            figures.set_item("access_log_records", counted.records)?;
            figures.set_item("access_log_dropped", counted.dropped)?;
            figures.set_item("access_log_errors", counted.errors)?;
        }
        Ok(figures)
    }

    /// Have the file of the access log opened anew by its name.
    fn reopen_access_log(&self) {
        if let Some(log) = self.own_access_log() {
            log.reopen();
        }
    }

    /// The lines that wait for a logger, oldest first, without their ends.
    fn take_access_lines<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let taken = self.own_access_log().map(|log| log.take_lines()).unwrap_or_default();
        // Lines are ASCII, whatever a client sends.
        let lines = std::str::from_utf8(&taken).unwrap_or_default().lines();
        PyList::new(py, lines.collect::<Vec<_>>())
    }

    /// Write what there is and log no more; whether that was done within `seconds`.
    #[pyo3(signature = (seconds, /))]
    fn end_access_log(&self, py: Python<'_>, seconds: f64) -> bool {
        let Some(log) = self.own_access_log() else { return true };
        let deadline = Instant::now() + duration(seconds);
        gil::detached(py, Section::ServerStop, || log.close(deadline))
    }
}

/// Whether a parser class runs on the loop.
///
/// # Errors
/// `TypeError` for a native class that cannot be made from settings alone.
#[pyfunction]
#[pyo3(signature = (parser_class, /))]
pub fn is_native_parser(parser_class: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(consumers::native_spec(parser_class)?.is_some())
}

/// Close the copies of the engine's descriptors that the child of a fork has got.
///
/// To be called in the child only, once, when all servers have been abandoned.
#[pyfunction]
pub fn close_descriptors_after_fork() {
    forget_running();
    // SAFETY: `abandon` was called for every server, so nothing that owns one of the descriptors is
    // ever dropped or used here; their threads do not exist in the child.
    unsafe { open_descriptors::close_all_in_child() }
}

fn config(settings: &Bound<'_, PyDict>, access_log: Option<Arc<AccessLog>>) -> PyResult<ServerConfig> {
    let parser = item(settings, "parser")?;
    let spec = if parser.is_none() { None } else { consumers::native_spec(&parser)? };
    let output = OutputLimits {
        piece_bytes: OUTPUT_PIECE_BYTES,
        max_memory_bytes: item(settings, "output_memory_bytes")?.extract()?,
        max_spooled_bytes: item(settings, "output_spool_bytes")?.extract()?,
    };
    let mut high_watermark_bytes: usize = item(settings, "high_watermark_bytes")?.extract()?;
    let mut max_unsent_bytes = high_watermark_bytes;
    if output.max_spooled_bytes > 0 {
        max_unsent_bytes = output.max_memory_bytes.saturating_add(output.max_spooled_bytes);
        high_watermark_bytes = high_watermark_bytes.min(max_unsent_bytes);
    }
    let spool_directory: Option<PathBuf> = item(settings, "spool_directory")?.extract()?;
    Ok(ServerConfig {
        name: item(settings, "name")?.extract()?,
        mode: ChannelMode {
            raw: spec.is_none(),
            report_open: item(settings, "reports_open")?.extract()?,
            report_close: item(settings, "reports_close")?.extract()?,
            streams_bodies: item(settings, "streams_bodies")?.extract()?,
            finishes_begun: !item(settings, "http")?.is_none(),
            ..ChannelMode::PLAIN
        },
        loop_answers: loop_answers(settings, access_log)?,
        parser: spec.unwrap_or(ConsumerSpec::Line { max_bytes: MAX_LINE_BYTES }),
        limits: ChannelLimits {
            max_ready_requests: item(settings, "max_pipelined_requests")?.extract()?,
            max_ready_bytes: item(settings, "max_pipelined_bytes")?.extract()?,
            max_waiting_bytes: MAX_WAITING_BYTES,
            max_piece_bytes: item(settings, "recv_bytes")?.extract()?,
            high_watermark_bytes,
            low_watermark_bytes: high_watermark_bytes / 2,
            max_unsent_bytes,
            max_body_memory_bytes: item(settings, "body_memory_bytes")?.extract()?,
            output,
            idle_timeout_ms: milliseconds(&item(settings, "idle_timeout_seconds")?)?,
            request_timeout_ms: milliseconds(&item(settings, "request_timeout_seconds")?)?,
            write_timeout_ms: milliseconds(&item(settings, "write_timeout_seconds")?)?,
        },
        send_bytes: item(settings, "send_bytes")?.extract()?,
        writer_patience: duration(item(settings, "writer_patience_seconds")?.extract()?),
        spool_directory: spool_directory.unwrap_or_else(std::env::temp_dir),
        connection_limit: item(settings, "connection_limit")?.extract()?,
        evict_idle_ms: item(settings, "evict_idle_seconds")?
            .extract::<Option<f64>>()?
            .map(whole_milliseconds),
        io_threads: item(settings, "io_threads")?.extract()?,
        accepts_by_host: item(settings, "accepts_by_host")?.extract()?,
        log_socket_errors: item(settings, "log_socket_errors")?.extract()?,
    })
}

fn wsgi_settings(settings: &Bound<'_, PyDict>, server: &Bound<'_, PyAny>) -> PyResult<Option<WsgiSettings>> {
    let wsgi = item(settings, "wsgi")?;
    if wsgi.is_none() { Ok(None) } else { WsgiSettings::new(wsgi.cast::<PyDict>()?, server).map(Some) }
}

/// The words of the loops of an HTTP server; `None`: it is none.
fn loop_answers(
    settings: &Bound<'_, PyDict>,
    access_log: Option<Arc<AccessLog>>,
) -> PyResult<Option<Arc<dyn LoopAnswers>>> {
    let http = item(settings, "http")?;
    if http.is_none() {
        return Ok(None);
    }
    Ok(Some(Arc::new(HttpAnswers::from_settings(http.cast::<PyDict>()?, access_log)?)))
}

fn item<'py>(settings: &Bound<'py, PyDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    settings.get_item(name)?.ok_or_else(|| PyKeyError::new_err(name.to_owned()))
}

fn milliseconds(seconds: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
    let Some(seconds) = seconds.extract::<Option<f64>>()? else { return Ok(None) };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) => Ok(Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1))),
        Err(_) => Err(PyValueError::new_err(format!("a time-out cannot be {seconds} seconds"))),
    }
}

fn whole_milliseconds(seconds: f64) -> u64 {
    u64::try_from(duration(seconds).as_millis()).unwrap_or(u64::MAX)
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}
