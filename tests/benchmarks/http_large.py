"""`http_large`: a large file down, beside nginx's sendfile, and a large body up, with the memory it takes.

Strategy: curl at the other end. The file is in the page cache, so that nothing but the servers is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from .accounting import peak_bytes, resident_bytes
from .http_servers import WebServer, available, serve_http
from .machinery import BUILD
from .results import Case, Metric, Report
from .settings import Settings, measure_rounds

__all__ = ["bench_http_large"]

METRICS = [
    Metric("mib_per_second", "MiB/s"),
    Metric("cpu_seconds", "server CPU, s/GiB", 2),
    Metric("peak_mib", "memory on top, MiB", 1),
]
BLOCK = 1 << 20


def bench_http_large(settings: Settings) -> Report:
    """Measure a download and an upload of `settings.large_mib` MiB."""
    report = Report("http_large", "Large files", METRICS, ["mib_per_second"], "mib_per_second")
    if shutil.which("curl") is None:
        report.notes.append("curl is not installed: left out.")
        return report
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=BUILD) as file:
        for _ in range(settings.large_mib):
            file.write(os.urandom(BLOCK))
        file.flush()
        path = Path(file.name)
        names = available(report.notes, ["wiretask", "nginx", "waitress", "granian", "gunicorn"])
        sides = [(name, partial(measure_download, name, path)) for name in names]
        case = Case(f"download of {settings.large_mib:,} MiB")
        report.cases.append(measure_rounds(case, settings.slow_rounds, sides))
        names = available(report.notes, ["wiretask", "waitress", "gunicorn", "granian"])
        sides = [(name, partial(measure_upload, name, path)) for name in names]
        case = Case(f"upload of {settings.large_mib:,} MiB")
        report.cases.append(measure_rounds(case, settings.slow_rounds, sides))
    return report


def measure_download(name: str, path: Path) -> dict[str, float]:
    """Return the figures of a download by the server's own means for files."""
    with serve_http(name, application="file", environment={"BENCHMARK_FILE": str(path)}) as server:
        return _moved(server, path, "size_download", ["-o", "/dev/null"])


def measure_upload(name: str, path: Path) -> dict[str, float]:
    """Return the figures of an upload that the application reads to its end."""
    with serve_http(name, application="upload") as server:
        return _moved(server, path, "size_upload", ["-o", "/dev/null", "-H", "Expect:", "-T", str(path)])


def _moved(server: WebServer, path: Path, size: str, arguments: list[str]) -> dict[str, float]:
    url = f"http://127.0.0.1:{server.port}/file"
    before, memory = server.cpu_ns(), {pid: resident_bytes(pid) for pid in server.pids()}
    command = ["curl", "--silent", "--fail", "--write-out", "%{json}", *arguments, url]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600)
    spent = server.cpu_ns() - before
    peak = max(peak_bytes(pid) - had for pid, had in memory.items())
    said = json.loads(done.stdout)
    if said[size] != path.stat().st_size:
        raise RuntimeError(f"{said[size]} bytes were moved, not {path.stat().st_size}")
    mib = said[size] / BLOCK
    return {
        "mib_per_second": mib / said["time_total"],
        "cpu_seconds": spent / 1e9 / mib * 1024,
        "peak_mib": peak / BLOCK,
    }
