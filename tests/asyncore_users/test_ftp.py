"""pyftpdlib on `wiretask.asyncore`, asked by real clients: ftplib, curl and lftp. Issue 6, point 6.

Long tier: `.ci/long`, or `pytest -m long tests/asyncore_users` where `pip install '.[asyncore-users]'` has been done.
curl and lftp are Debian's. Each test runs on pyftpdlib's own loop, which uses our dispatchers, and on ours.
"""

from __future__ import annotations

import contextlib
import ftplib
import io
import os
import random
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
CERTIFICATES = HERE.parent / "wire"
START_SECONDS = 60.0
DEADLINE_SECONDS = 60.0
LARGE = random.Random(1).randbytes(20_000_003)
SESSIONS = 500


class FTPSite:
    """A server that runs: of `folder`, at `port`; its output is in `log`."""

    def __init__(self, directory: Path, loop: str, certificate: Path | None = None) -> None:
        self.folder, self.log, self.certificate = directory / "home", directory / "log", certificate
        self.folder.mkdir()
        command = [sys.executable, str(HERE / "ftp_server.py"), str(self.folder), "--loop", loop]
        if certificate:
            command += ["--certificate", str(certificate)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.port = int(line)

    @property
    def url(self) -> str:
        return f"ftp://user:password@127.0.0.1:{self.port}"

    def login(self, is_passive: bool = True) -> ftplib.FTP:
        if self.certificate:
            context = ssl.create_default_context(cafile=str(self.certificate))
            context.check_hostname = False
            ftp: ftplib.FTP = ftplib.FTP_TLS(context=context, timeout=DEADLINE_SECONDS)
        else:
            ftp = ftplib.FTP(timeout=DEADLINE_SECONDS)
        ftp.connect("127.0.0.1", self.port)
        ftp.login("user", "password")
        if isinstance(ftp, ftplib.FTP_TLS):
            ftp.prot_p()
        ftp.set_pasv(is_passive)
        return ftp

    def open_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self) -> None:
        """Send SIGTERM, and see that the server ends well and that nothing went wrong in it."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log.read_text()[-3000:]
        said = self.log.read_text()
        assert "Traceback" not in said, said[-5000:]
        assert "uncaptured" not in said, said[-5000:]


@contextlib.contextmanager
def running(directory: Path, loop: str, certificate: Path | None = None) -> Iterator[FTPSite]:
    site = FTPSite(directory, loop, certificate)
    try:
        yield site
        site.stop()
    finally:
        if site.process.poll() is None:
            site.process.kill()
        site.process.wait()
        assert site.process.stdout is not None
        site.process.stdout.close()


@pytest.fixture(params=["own", "wiretask"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FTPSite]:
    with running(tmp_path, request.param) as site:
        yield site


@pytest.fixture(params=["own", "wiretask"])
def tls_site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FTPSite]:
    monkeypatch.syspath_prepend(str(CERTIFICATES))
    import certificates

    certificates.server_context(tmp_path)
    with running(tmp_path, request.param, tmp_path / "certificate.pem") as site:
        yield site


@pytest.fixture(scope="session")
def _many_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8 * SESSIONS
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def tool(*command: str) -> bytes:
    """Return what a client prints; fails where the client does."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here")
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=DEADLINE_SECONDS).stdout


def curl(*arguments: str) -> bytes:
    return tool("curl", "--silent", "--show-error", "--max-time", "120", *arguments)


def retrieved(ftp: ftplib.FTP, name: str) -> bytes:
    taken = io.BytesIO()
    ftp.retrbinary(f"RETR {name}", taken.write)
    return taken.getvalue()


def put_get_list(ftp: ftplib.FTP, name: str, content: bytes) -> None:
    """Store, list, fetch and delete a file, and see that all of it is right."""
    ftp.storbinary(f"STOR {name}", io.BytesIO(content))
    assert ftp.size(name) == len(content)
    assert name in ftp.nlst()
    facts = dict(ftp.mlsd())
    assert int(facts[name]["size"]) == len(content)
    is_same = retrieved(ftp, name) == content
    assert is_same
    ftp.delete(name)
    assert name not in ftp.nlst()


@pytest.mark.parametrize("is_passive", [True, False], ids=["passive", "active"])
@pytest.mark.parametrize("content", [b"", b"x", LARGE], ids=["empty", "byte", "large"])
def test_ftplib_stores_lists_and_fetches(site: FTPSite, is_passive: bool, content: bytes) -> None:
    with site.login(is_passive) as ftp:
        for number in range(3):
            put_get_list(ftp, f"file{number}", content)


def test_ftplib_goes_on_where_a_transfer_stopped(site: FTPSite) -> None:
    (site.folder / "large").write_bytes(LARGE)
    with site.login() as ftp:
        taken = io.BytesIO()
        ftp.retrbinary("RETR large", taken.write, rest=19_999_000)
        assert taken.getvalue() == LARGE[19_999_000:]
        # A transfer that the client breaks off leaves the session usable.
        data = ftp.transfercmd("RETR large")
        data.recv(1000)
        data.close()
        with pytest.raises(ftplib.error_temp, match="426"):
            ftp.voidresp()
        ftp.mkd("folder")
        ftp.cwd("folder")
        put_get_list(ftp, "inside", b"x" * 100_000)
        with pytest.raises(ftplib.error_perm, match="550"):
            ftp.size("nothing")


@pytest.mark.parametrize("options", [[], ["--ftp-port", "127.0.0.1"]], ids=["passive", "active"])
def test_curl_uploads_lists_and_downloads(site: FTPSite, tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "upload"
    file.write_bytes(LARGE)
    curl(*options, "-T", str(file), f"{site.url}/new/sent", "--ftp-create-dirs")
    is_same = (site.folder / "new" / "sent").read_bytes() == LARGE
    assert is_same
    assert curl(*options, "--list-only", f"{site.url}/new/").split() == [b"sent"]
    is_same = curl(*options, f"{site.url}/new/sent") == LARGE
    assert is_same
    assert curl(*options, "-r", "5-9", f"{site.url}/new/sent") == LARGE[5:10]


# One active transfer at a time: see `sessions_at_once`.
@pytest.mark.parametrize(("passive", "parallel"), [("on", 8), ("off", 1)], ids=["passive", "active"])
def test_lftp_mirrors_a_tree_there_and_back(site: FTPSite, tmp_path: Path, passive: str, parallel: int) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    for number in range(60):
        folder = there / f"folder{number % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{number}").write_bytes(LARGE[: number * number * 100])
    # Its host name and address are those of the machine, unless it is told.
    orders = [
        f"set ftp:passive-mode {passive}; set ftp:port-ipv4 127.0.0.1; set ftp:ssl-allow no; set net:max-retries 2",
        "set cmd:fail-exit yes; set net:timeout 60; set ftp:prefer-epsv no",
        f"open -u user,password -p {site.port} 127.0.0.1",
        f"mirror --reverse --parallel={parallel} {there} copy",
        f"mirror --parallel={parallel} copy {back}",
        "rm -r copy; bye",
    ]
    tool("lftp", "--norc", "-c", "; ".join(orders))
    names = sorted(path.relative_to(there) for path in there.rglob("*"))
    assert sorted(path.relative_to(back) for path in back.rglob("*")) == names
    for name in names:
        if (there / name).is_file():
            is_same = (there / name).read_bytes() == (back / name).read_bytes()
            assert is_same, name
    assert list(site.folder.iterdir()) == []


def sessions_at_once(site: FTPSite, sessions: int, content_bytes: int) -> None:
    """Log so many in, and have each store, list and fetch, 32 at a time; then all leave.

    Every tenth does it again actively, one after the other: with several at once pyftpdlib 2.2.0 leaves transfers
    waiting, on the standard library's asyncore just the same.
    """
    with site.login():
        # The loop has its own by now; one is the session's.
        at_rest = site.open_descriptors() - 1

    def work(number: int) -> None:
        content = random.Random(number).randbytes(content_bytes + number)
        put_get_list(logged_in[number], f"file{number}", content)

    logged_in: list[ftplib.FTP] = []
    with contextlib.ExitStack() as all_of_them, ThreadPoolExecutor(32) as clients:
        for ftp in clients.map(lambda _: site.login(), range(sessions)):
            logged_in.append(all_of_them.enter_context(ftp))
        assert site.open_descriptors() >= at_rest + sessions
        for turn in range(2):
            list(clients.map(work, range(sessions)))
            assert site.open_descriptors() >= at_rest + sessions, turn
        for number in range(0, sessions, 10):
            logged_in[number].set_pasv(False)
            work(number)
    assert list(site.folder.iterdir()) == []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while site.open_descriptors() > at_rest:
        assert time.monotonic() < deadline, "connections are left"
        time.sleep(0.05)


@pytest.mark.usefixtures("_many_descriptors")
def test_500_sessions_at_once(site: FTPSite) -> None:
    sessions_at_once(site, SESSIONS, 20_000)


@pytest.mark.usefixtures("_many_descriptors")
def test_500_transfers_at_once(site: FTPSite) -> None:
    """All data connections are open, and half of each file is fetched, before one goes on."""
    content = LARGE[:3_000_000]
    (site.folder / "large").write_bytes(content)
    with contextlib.ExitStack() as all_of_them:
        transfers = []
        for _ in range(SESSIONS):
            ftp = all_of_them.enter_context(site.login())
            ftp.voidcmd("TYPE I")
            transfers.append((ftp, all_of_them.enter_context(ftp.transfercmd("RETR large"))))
        halves = []
        for _, data in transfers:
            half = b""
            while len(half) < 10_000:
                half += data.recv(10_000 - len(half))
            halves.append(half)
        assert site.open_descriptors() >= 3 * SESSIONS  # for each: control, data, the file
        for (ftp, data), half in zip(transfers, halves, strict=True):
            rest = bytearray(half)
            while piece := data.recv(1_000_000):
                rest += piece
            is_same = rest == content
            assert is_same
            data.close()
            assert ftp.voidresp().startswith("226")


def test_ftplib_over_tls(tls_site: FTPSite) -> None:
    with tls_site.login() as ftp:
        for content in (b"", b"x", LARGE):
            put_get_list(ftp, "file", content)


def test_curl_over_tls(tls_site: FTPSite, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(LARGE)
    options = ["--ssl-reqd", "--insecure"]
    curl(*options, "-T", str(file), f"{tls_site.url}/sent")
    is_same = curl(*options, f"{tls_site.url}/sent") == LARGE
    assert is_same


@pytest.mark.usefixtures("_many_descriptors")
def test_100_sessions_at_once_over_tls(tls_site: FTPSite) -> None:
    sessions_at_once(tls_site, 100, 20_000)
