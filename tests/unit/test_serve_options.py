"""Command line and configuration file become settings; each mistake is one line with a remedy."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from pathlib import Path

import pytest

from wiretask import __version__
from wiretask.command_line import main
from wiretask.command_line.banner import banner
from wiretask.command_line.configuration import Configuration, ConfigurationError, read_configuration
from wiretask.command_line.options import UsageError
from wiretask.wsgi import WSGIAdjustments

PROG = "wiretask serve"


def configured(*arguments: str) -> Configuration:
    return read_configuration(PROG, list(arguments))


def written(folder: Path, text: str) -> str:
    path = folder / "wiretask.toml"
    path.write_text(text)
    return str(path)


# ---- options -------------------------------------------------------------------------------------


def test_options_are_settings() -> None:
    found = configured(
        "shop:app", "--threads", "8", "--no-ipv6", "--port=0", "--channel-timeout", "none", "--expose-tracebacks"
    )
    assert found.application == "shop:app"
    assert found.adj == WSGIAdjustments(threads=8, ipv6=False, port=0, channel_timeout=None, expose_tracebacks=True)
    assert (found.is_check, found.is_quiet, found.app_dir, found.log_level) == (False, False, None, "info")


def test_the_application_may_stand_anywhere() -> None:
    for arguments in (["--no-ipv6", "shop:app"], ["shop:app", "--no-ipv6"], ["--threads", "8", "shop:app", "--ipv4"]):
        assert configured(*arguments).application == "shop:app"


def test_some_options_may_be_given_several_times() -> None:
    found = configured(
        "a", "--listen", "127.0.0.1:80", "--listen=[::1]:81", "--trusted-proxy", "10.0.0.1", "--trusted-proxy", "unix"
    )
    assert found.adj.listen == ("127.0.0.1:80", "[::1]:81")
    assert found.adj.trusted_proxy == ("10.0.0.1", "unix")


def test_there_is_an_option_for_every_setting_that_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        configured("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    names = {field.name for field in dataclasses.fields(WSGIAdjustments)} - {"socket_options"}
    missing = [name for name in names if not re.search(rf"--(\[no-\])?{name.replace('_', '-')}\b", text)]
    assert missing == []
    explained = re.findall(r"^  --\S+(?: \S+)?\s+\S", text, re.MULTILINE)
    assert len(explained) >= len(names)


def test_without_an_application_the_demonstration_is_for_this_machine_only() -> None:
    assert [str(place) for place in configured().adj.listen_addresses] == ["127.0.0.1:8080"]
    assert [str(place) for place in configured("--port", "0").adj.listen_addresses] == ["127.0.0.1:0"]
    assert [str(place) for place in configured("--listen", "*:80").adj.listen_addresses] == ["*:80"]
    assert [str(place) for place in configured("--host", "0.0.0.0").adj.listen_addresses] == ["0.0.0.0:8080"]
    assert [str(place) for place in configured("shop").adj.listen_addresses] == ["0.0.0.0:8080"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--thread", "8"], "there is no option --thread; did you mean '--threads'?"),
        (["--thread=8"], "there is no option --thread; did you mean '--threads'?"),
        (["--max_pending", "8"], "did you mean '--max-pending'?"),
        (["--no-thread"], "there is no option --no-thread"),
        (["--reload"], "there is no option --reload; restart it from outside"),
        (["--worse"], "there is no option --worse$"),
        (["-p", "80"], "there is no option -p; write --port"),
        (["--unix-socket="], "^--unix-socket is the path of a Unix socket, .*, not ''"),
        (["--listen", ""], "^--listen: there is no address in ''; leave it out for 8080 of every interface"),
        (["--graceful-timeout", "-1"], r"^--graceful-timeout is .* or None \(shutdown_timeout_seconds\), not -1"),
        (["-b", "127.0.0.1:80", "shop:app"], "there is no option -b; write --listen"),
        (["--call", "shop:make"], r"there is no option --call; write the call: module:make\(\)"),
        (["--workers=4"], "there is no option --workers; start several processes, with --reuse-port"),
        (["a:b", "c:d"], "one application at a time: 'c:d'"),
        (["--threads"], "argument --threads: expected one argument"),
        (["--threads", "many"], "^--threads is an int from 1 to 4096, not 'many'"),
        (["--threads", "0"], "^--threads is an int from 1 to 4096, not 0"),
        (["--listen", "a", "--listen", "b:c"], "^--listen: .*the port is a number"),
        (["--listen", "*:80", "--port", "81"], "^--listen and --port exclude each other"),
        (["--access-log-format", "jsn"], "did you mean 'json'?"),
        (["--no-ipv4", "--no-ipv6"], "^--ipv4 and --ipv6 are both False"),
        (["--log-level", "loud"], "argument --log-level: invalid choice"),
    ],
)
def test_a_wrong_command_line_is_answered_in_one_line(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=reason):
        configured(*arguments)
    assert main(["serve", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"wiretask serve: .*; see wiretask serve --help\n", captured.err)


# ---- configuration file --------------------------------------------------------------------------


def test_a_file_says_what_the_command_line_does_not(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [serve]
        application = "shop:app"
        app_dir = "src"
        log_level = "debug"
        threads = 8
        channel_timeout = 2.5
        max_pending = "none"
        ipv6 = false
        trusted_proxy = ["10.0.0.0/8", "unix"]
        trusted_proxy_headers = ["x-forwarded-for"]
        listen = ["127.0.0.1:80", "[::1]:80"]
        socket_options = [[6, 1, 1]]
        """,
    )
    found = configured("--config", path, "--threads", "2")
    assert (found.application, found.app_dir, found.log_level) == ("shop:app", "src", "debug")
    assert (found.adj.threads, found.adj.channel_timeout, found.adj.ipv6) == (2, 2.5, False)
    assert found.adj.trusted_proxy == ("10.0.0.0/8", "unix")
    assert found.adj.socket_options == ((6, 1, 1),)
    assert found.adj.listen == ("127.0.0.1:80", "[::1]:80")
    assert configured("other:app", "--config", path, "--log-level", "error").application == "other:app"


@pytest.mark.parametrize(
    ("file", "arguments", "places"),
    [
        ('listen = "127.0.0.1:80"', ["--port", "81"], ["0.0.0.0:81"]),
        ('host = "127.0.0.1"', ["--port", "81"], ["127.0.0.1:81"]),
        ('host = "127.0.0.1"\nport = 80', ["--listen", "[::1]:81"], ["[::1]:81"]),
        ('unix_socket = "/run/a"', ["--host", "::1"], ["[::1]:8080"]),
        ("port = 80", ["--unix-socket", "/run/a"], ["unix:/run/a"]),
    ],
)
def test_where_the_command_line_listens_takes_the_place_of_where_the_file_does(
    tmp_path: Path, file: str, arguments: list[str], places: list[str]
) -> None:
    found = configured("a:b", "--config", written(tmp_path, f"[serve]\n{file}"), *arguments)
    assert [str(place) for place in found.adj.listen_addresses] == places


def test_both_names_of_the_time_to_stop_take_the_place_of_both(tmp_path: Path) -> None:
    path = written(tmp_path, "[serve]\ngraceful_timeout = 7")
    assert configured("--config", path).adj.graceful_timeout == 7
    assert configured("--config", path, "--shutdown-timeout-seconds", "3").adj.graceful_timeout == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[serve]\nthread = 8", "a key 'thread'; did you mean 'threads'?"),
        ("[serve]\nmax-pending = 8", "a key 'max-pending'; did you mean 'max_pending'?"),
        ("[serve]\naplication = 'a'", "did you mean 'application'?"),
        ("[server]\nthreads = 8", "a table 'server'; did you mean 'serve'?"),
        ("threads = 8", r"a key 'threads'; settings stand below \[serve\]"),
        ("serve = 8", r"serve is a table: write \[serve\]"),
        ("[serve]\nthreads = 'x'", "threads is an int from 1 to 4096, not 'x'"),
        ("[serve]\nthreads = 1.5", "threads is an int from 1 to 4096, not 1.5"),
        ("[serve]\napplication = 8", "application is a string, not 8"),
        ("[serve]\nlog_level = 'loud'", "log_level is debug, info, warning or error, not 'loud'"),
        ("[serve]\nport = 1\nlisten = '*:80'", "listen and port exclude each other"),
        ("[serve", "is not TOML: "),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(
    tmp_path: Path, text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        configured("--config", path)
    assert str(caught.value).startswith(path)
    assert main(["serve", "--config", path, "--check"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert configured("--config", written(tmp_path, "\ufeff[serve]\r\nthreads = 8\r\n")).adj.threads == 8


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*nowhere.toml: No such file.*see --config"):
        configured("--config", str(tmp_path / "nowhere.toml"))


# ---- check, other commands, banner -----------------------------------------------------------------


def test_check_says_what_would_be_served_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "front_checked.py").write_text("def app(environ, start_response): return []\n")
    arguments = ["serve", "front_checked:app", "--check", "--app-dir", str(tmp_path), "--port", "81"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert "would serve front_checked:app on http://127.0.0.1:81/" in said.out
    assert said.err == ""
    assert main(["serve", "front_checked:ap", "--check", "--app-dir", str(tmp_path)]) == 1
    assert "did you mean 'app'?" in capsys.readouterr().err


@pytest.mark.parametrize("sockets", ["systemd", "fd:1000"])
def test_check_needs_no_inherited_sockets(
    tmp_path: Path, sockets: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd passes them to ExecStart, not to ExecStartPre."""
    monkeypatch.delenv("LISTEN_PID", raising=False)
    path = written(tmp_path, f'[serve]\nsockets = "{sockets}"')
    assert main(["serve", "--check", "--config", path]) == 0
    assert "on the sockets that it inherits with" in capsys.readouterr().out
    assert main(["serve", "--check", "--sockets", sockets]) == 0
    capsys.readouterr()
    assert main(["serve", "--check", "--sockets", sockets, "--port", "1"]) == 2
    assert "exclude each other" in capsys.readouterr().err
    assert main(["serve", "--check", "--sockets", "upstart"]) == 2
    assert main(["serve", "--config", path]) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 0, "wiretask serve shop:app"),
        (["--help"], 0, "wiretask serve shop:app"),
        (["--version"], 0, f"wiretask {__version__}\n"),
        (["sreve"], 2, "no command 'sreve'; did you mean 'serve'?"),
        (["shop:app"], 2, "did you mean: wiretask serve shop:app"),
    ],
)
def test_other_commands(arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == status
    captured = capsys.readouterr()
    assert said in (captured.err if status else captured.out)


def test_the_banner_has_links_that_work_on_this_machine() -> None:
    adj = WSGIAdjustments(threads=1, url_prefix="/shop")
    text = banner("1.2", "shop:app", ["0.0.0.0:80", "[::]:80", "127.0.0.1:81", "[::1]:82", "unix:/run/a b"], adj)
    assert text.splitlines() == [
        "wiretask 1.2 serves shop:app",
        "  http://127.0.0.1:80/shop (and every other interface)",
        "  http://[::1]:80/shop (and every other interface)",
        "  http://127.0.0.1:81/shop",
        "  http://[::1]:82/shop",
        "  unix:/run/a b",
        f"  1 worker thread, process {os.getpid()}; Ctrl-C stops it",
    ]
