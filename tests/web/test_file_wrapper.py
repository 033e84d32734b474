"""`wsgi.file_wrapper`: whatever kind of file, the right bytes, and closed exactly once. Source: PEP 3333."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sites import Site, until

from wiretask.wsgi.file_wrapper import FileWrapper

Serve = Callable[..., Site]
BODY = bytes(range(256)) * 1200  # 300 KiB: more than the kernel takes at once


class Counting:
    """A file that counts its closes."""

    def __init__(self, file: Any) -> None:
        self.file, self.closes = file, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def close(self) -> None:
        self.closes += 1
        self.file.close()


class OnlyRead:
    """A file that can do nothing but read and close."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed


def on_disk(data: bytes) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 (the server closes it)
    file.write(data)
    file.seek(0)
    return file


def unbuffered(data: bytes) -> Any:
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
    file.write(data)
    file.seek(0)
    return file


KINDS = {"disk": on_disk, "unbuffered": unbuffered, "BytesIO": io.BytesIO, "only read": OnlyRead}


class Files:
    """An application that wraps files: `/seek/N` begins there, `/length/N` gives a Content-Length."""

    def __init__(self, make: Any, body: bytes = BODY, block_bytes: int | None = None) -> None:
        self.make, self.body, self.block_bytes = make, body, block_bytes
        self.files: list[Counting] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        file = Counting(self.make(self.body))
        self.files.append(file)
        headers = [("Content-Type", "text/plain")]
        words = environ["PATH_INFO"].split("/")[1:]
        for name, number in zip(words[::2], words[1::2], strict=False):
            if name == "seek":
                file.seek(int(number))
            elif name == "read":
                file.read(int(number))
            elif name == "length":
                headers.append(("Content-Length", number))
        start_response("200 OK", headers)
        if self.block_bytes is None:
            return environ["wsgi.file_wrapper"](file)
        return environ["wsgi.file_wrapper"](file, self.block_bytes)

    def are_closed_once(self) -> bool:
        until(lambda: all(file.closes for file in self.files), "the files to be closed")
        time.sleep(0.02)
        return all(file.closes == 1 for file in self.files)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("validated", [True, False], ids=["validated", "bare"])
def test_r55_any_kind_of_file_is_sent_whole_and_closed_once(serving: Serve, kind: str, validated: bool) -> None:
    files = Files(KINDS[kind])
    with serving(files, validated=validated).connect() as peer:
        for _ in range(3):
            answer = peer.ask()
            assert answer.body == BODY
            assert not answer.ends_connection
    assert len(files.files) == 3
    assert files.are_closed_once()


@pytest.mark.parametrize("kind", ["disk", "unbuffered", "BytesIO"])
def test_a_file_that_tells_its_size_gets_a_length_and_others_get_chunks(serving: Serve, kind: str) -> None:
    site = serving(Files(KINDS[kind]), validated=False)
    assert site.ask().get("content-length") == str(len(BODY))
    assert site.ask("GET", "/seek/1000").get("content-length") == str(len(BODY) - 1000)
    assert serving(Files(OnlyRead), validated=False).ask().framing == "chunked"


@pytest.mark.parametrize("kind", ["disk", "unbuffered", "BytesIO"])
@pytest.mark.parametrize("target", ["/seek/1000", "/read/1000"])
def test_a_file_is_sent_from_where_it_stands(serving: Serve, kind: str, target: str) -> None:
    files = Files(KINDS[kind])
    assert serving(files, validated=False).ask("GET", target).body == BODY[1000:]
    assert files.are_closed_once()


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_of_a_file_is_sent_than_its_content_length(serving: Serve, kind: str) -> None:
    files = Files(KINDS[kind])
    with serving(files, validated=False).connect() as peer:
        for _ in range(2):
            answer = peer.ask("GET", "/length/1000")
            assert (answer.framing, answer.body) == ("length", BODY[:1000])
            assert not answer.ends_connection
    assert files.are_closed_once()


def test_a_part_in_the_middle_of_a_file_can_be_sent(serving: Serve) -> None:
    for kind in (on_disk, unbuffered, io.BytesIO):
        answer = serving(Files(kind), validated=False).ask("GET", "/seek/5/length/10")
        assert (answer.framing, answer.body) == ("length", BODY[5:15])


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_shorter_than_its_content_length_cuts_the_answer(serving: Serve, kind: str, caplog: Any) -> None:
    files = Files(KINDS[kind], b"short")
    with serving(files, validated=False).connect() as peer:
        peer.send_request("GET", "/length/1000")
        assert peer.read_head().get("content-length") == "1000"
        assert peer.read_to_end() == b"short"
    assert files.are_closed_once()


def test_an_empty_file_is_an_empty_answer(serving: Serve) -> None:
    for kind in KINDS.values():
        with serving(Files(kind, b""), validated=False).connect() as peer:
            assert [peer.ask().body for _ in range(2)] == [b""] * 2


def test_head_of_a_file_has_its_length_and_none_of_it(serving: Serve) -> None:
    files = Files(on_disk)
    with serving(files, validated=False).connect() as peer:
        assert peer.ask("HEAD").get("content-length") == str(len(BODY))
        assert peer.ask("GET").body == BODY
    assert files.are_closed_once()


def test_http_1_0_gets_a_file_too(serving: Serve) -> None:
    for kind in KINDS.values():
        with serving(Files(kind), validated=False).connect() as peer:
            peer.send(b"GET / HTTP/1.0\r\n\r\n")
            assert peer.read_answer().body == BODY


@pytest.mark.parametrize("kind", KINDS)
def test_r55_a_file_is_closed_once_when_the_client_has_gone(serving: Serve, kind: str) -> None:
    files = Files(KINDS[kind], BODY * 40)
    with serving(files, validated=False).connect(receive_buffer_bytes=4096) as peer:
        peer.send_request()
        peer.read_head()
        peer.reset()
    until(lambda: files.files, "the file")
    assert files.are_closed_once()


def test_r55_a_file_is_closed_once_when_the_answer_cannot_begin(serving: Serve) -> None:
    made: list[Counting] = []

    def never_started(environ: dict[str, Any], start_response: Any) -> Any:
        made.append(Counting(on_disk(BODY)))
        return environ["wsgi.file_wrapper"](made[-1])

    assert serving(never_started, validated=False).ask().status == 500
    until(lambda: made[0].closes, "the close")
    assert made[0].closes == 1


def test_a_file_that_grows_meanwhile_is_not_sent_beyond_its_length(serving: Serve) -> None:
    with tempfile.NamedTemporaryFile() as shared:
        shared.write(b"x" * 1000)
        shared.flush()

        def application(environ: dict[str, Any], start_response: Any) -> Any:
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1000")])
            wrapper = environ["wsgi.file_wrapper"](open(shared.name, "rb"))  # noqa: SIM115
            with open(shared.name, "ab") as more:
                more.write(b"y" * 1000)
            return wrapper

        with serving(application, validated=False).connect() as peer:
            assert [peer.ask().body for _ in range(2)] == [b"x" * 1000] * 2


def test_a_file_is_read_and_sent_where_no_descriptor_is_left(serving: Serve) -> None:
    """The head was sent alone, and the next answer stood where its body should have been."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    class Restoring(Counting):
        def close(self) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            super().close()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        file = Restoring(on_disk(BODY))
        start_response("200 OK", [("Content-Type", "text/plain")])
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        return environ["wsgi.file_wrapper"](file)

    with serving(application, validated=False).connect() as peer:
        for _ in range(2):
            answer = peer.ask()
            assert (answer.status, answer.framing, answer.body) == (200, "length", BODY)


def test_a_slow_reader_of_a_file_holds_no_worker(serving: Serve) -> None:
    body = BODY * 80  # 24 MB
    site = serving(Files(on_disk, body), validated=False, threads=1)
    slow = [site.connect(receive_buffer_bytes=4096) for _ in range(4)]
    for peer in slow:
        peer.send_request()
        assert peer.read_head().status == 200
    assert site.ask("GET", "/length/5").body == body[:5]
    assert slow[0]._take(len(body)) == body


class Handing:
    """Passes `read` on as it is, as a file of Django does."""

    def __init__(self, file: Any) -> None:
        self.file = file

    read = property(lambda self: self.file.read)
    close = property(lambda self: self.file.close)


class Masking(Handing):
    """Has a `read` of its own."""

    def read(self, size: int) -> bytes:  # type: ignore[override]
        return bytes(byte ^ 255 for byte in self.file.read(size))


class MaskingByName(Counting):
    read = Masking.read


class MaskingRaw(io.FileIO):
    def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        return bytes(byte ^ 255 for byte in super().read(-1 if size is None else size) or b"")


class MaskingBuffered(io.BufferedReader):
    def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        return bytes(byte ^ 255 for byte in super().read(size))


@pytest.mark.parametrize(
    "opened",
    [
        lambda path: Masking(open(path, "rb")),  # noqa: SIM115
        lambda path: MaskingByName(open(path, "rb")),  # noqa: SIM115
        MaskingRaw,
        lambda path: MaskingBuffered(io.FileIO(path)),
        lambda path: io.BufferedReader(MaskingRaw(path)),  # its own `read` may go by another way
        lambda path: codecs.EncodedFile(open(path, "rb"), "latin-1", "latin-1"),  # noqa: SIM115
        gzip.open,
    ],
    ids=["wrapper", "delegating", "raw", "buffered", "buffered over raw", "recoded", "unzipped"],
)
def test_what_is_sent_is_what_the_objects_own_read_gives(serving: Serve, tmp_path: Path, opened: Any) -> None:
    """Going round it would give away what it hides: the rest of a file, or what it decrypts."""
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(BODY))
    file = opened(path)
    expected = b"".join(iter(lambda: file.read(100_000), b""))
    file.close()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](opened(path))

    assert serving(application, validated=False).ask().body == expected


@pytest.mark.parametrize(
    "wrap",
    [lambda file: file, Handing, Counting, lambda file: tempfile._TemporaryFileWrapper(file, file.name, False)],
)
def test_a_file_and_what_passes_its_read_on_are_sent_by_the_system(tmp_path: Path, wrap: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(BODY)
    with open(path, "rb") as file:
        file.seek(1000)
        assert FileWrapper(wrap(file)).rest_of_file() == (file.fileno(), 1000, len(BODY) - 1000)


def test_a_file_that_the_system_makes_up_is_sent_whole(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](open("/proc/self/status", "rb"))

    if not os.path.exists("/proc/self/status"):
        pytest.skip("there is no /proc")
    assert serving(application, validated=False).ask().body.startswith(b"Name:")


def test_the_wrapper_is_iterable_and_can_be_closed(serving: Serve) -> None:
    seen: list[Any] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        file = Counting(io.BytesIO(BODY))
        wrapper = environ["wsgi.file_wrapper"](file, 1000)
        blocks = list(wrapper)
        wrapper.close()
        seen.append((b"".join(blocks) == BODY, len(blocks), max(map(len, blocks)), file.closes))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []

    serving(application).ask()
    assert seen == [(True, -(-len(BODY) // 1000), 1000, 1)]


def test_a_wrapped_file_may_be_wrapped_again_by_middleware(serving: Serve) -> None:
    files = Files(on_disk)

    def middleware(environ: dict[str, Any], start_response: Any) -> Any:
        inner = files(environ, start_response)
        try:
            yield from inner
        finally:
            inner.close()

    assert serving(middleware, validated=False).ask().body == BODY
    assert files.are_closed_once()


def test_special_files_are_read_and_not_sent_as_disk_files(serving: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        reading, writing = os.pipe()

        def feed() -> None:
            with open(writing, "wb") as pipe:
                pipe.write(BODY)

        threading.Thread(target=feed).start()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](open(reading, "rb"))

    assert serving(application, validated=False).ask().body == BODY


def test_text_files_are_an_error_of_the_application(serving: Serve, caplog: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](io.StringIO("text"))

    assert serving(application, validated=False).ask().status == 500
