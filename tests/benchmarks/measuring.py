"""A whole run: measures the benchmarks that are asked for, prints their tables and says what was measured on what.

Strategy: everything is measured against the wiretask that this Python has installed, which must be a release build.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib import metadata

from .access_log import bench_access_log
from .accounting import processors
from .dispatching import bench_tasks
from .echo import bench_echo, bench_pipelined
from .hello import bench_hello, bench_http_one, bench_http_pipelined
from .http_crowds import bench_http_dripping, bench_http_idle
from .http_large import bench_http_large
from .http_waiting import bench_http_waiting
from .idle import bench_idle
from .keyvalue import bench_keyvalue
from .loops import bench_loops
from .machinery import build_load_client
from .pages import bench_pages
from .parsers import bench_parsers
from .results import Report, Results
from .settings import QUICK, Settings
from .slow import bench_slow
from .tables import as_text, rows_of

__all__ = ["BENCHMARKS", "measure_all", "release_build"]

PEERS = (
    "pyasyncore",
    "uvloop",
    "waitress",
    "zope.server",
    "httptools",
    "h11",
    "bjoern-binary",
    "fastpysgi",
    "granian",
    "gunicorn",
    "cheroot",
    "flask",
    "django",
)
BENCHMARKS: dict[str, Callable[[Settings], Report]] = {
    "tasks": bench_tasks,
    "echo": bench_echo,
    "pipelined": bench_pipelined,
    "idle": bench_idle,
    "loops": bench_loops,
    "keyvalue": bench_keyvalue,
    "slow": bench_slow,
    "hello": bench_hello,
    "http_pipelined": bench_http_pipelined,
    "http_one": bench_http_one,
    "http_waiting": bench_http_waiting,
    "http_idle": bench_http_idle,
    "http_dripping": bench_http_dripping,
    "http_large": bench_http_large,
    "access_log": bench_access_log,
    "pages": bench_pages,
    "parsers": bench_parsers,
}


def measure_all(
    names: Iterable[str], settings: Settings, remark: str | None, keep: Callable[[Results], None]
) -> None:
    """Measure the named benchmarks and print a table of each; after each of them `keep` gets all there is.

    Raises:
        SystemExit: wiretask is not installed, or no release build.
    """
    build = release_build()
    build_load_client()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load_before, begun = os.getloadavg()[0], time.monotonic()
    machine = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}, {platform.machine()}"
    about = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "wiretask": build,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "peers": ", ".join(versions()) or "none installed",
        "machine": f"{machine}, {processors()} processors, load average before the run {load_before:.1f}",
    }
    if remark:
        about["remark"] = remark
    reports = []
    for name in names:
        print(f"{name}:", file=sys.stderr, flush=True)
        load = os.getloadavg()[0]
        report = BENCHMARKS[name](settings)
        kind = "quick" if settings == QUICK else "full"
        report.notes.append(f"Measured on {about['date']}, a {kind} run; load average before it {load:.1f}.")
        reports.append(report)
        print(f"\n{report.title} ({name})\n")
        if report.cases:
            print(as_text(rows_of(report)))
        print("".join(f"\n{note}" for note in dict.fromkeys(report.notes)), flush=True)
        minutes = (time.monotonic() - begun) / 60
        about["run"] = f"{'quick' if settings == QUICK else 'full'}, {minutes:.1f} minutes"
        keep(Results(about, reports))
    print("\n" + "\n".join(f"{name}: {value}" for name, value in about.items()))


def release_build() -> str:
    """Return version and build of the wiretask that is installed.

    Raises:
        SystemExit: it is no release build, or there is none.
    """
    try:
        import wiretask
        from wiretask import _native
    except ImportError as error:
        raise SystemExit(f"wiretask is not installed for this Python ({error}): pip install .") from None
    profile = getattr(_native, "__build_profile__", "unknown")
    if profile != "release":
        raise SystemExit(f"the installed wiretask is a {profile} build, which says nothing: pip install .")
    return f"{wiretask.__version__}, {profile} build"


def versions() -> list[str]:
    """Return the peers that are installed, with their versions."""
    found = []
    for name in PEERS:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    for command in ("nginx", "wrk"):
        if shutil.which(command):
            said = subprocess.run([command, "-v"], capture_output=True, text=True, check=False)
            found += [line.split(" [")[0] for line in (said.stdout + said.stderr).splitlines()[:1]]
    return found
