"""The API as a process: where it listens, when it ends, and what a client may cost it."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from time import monotonic, sleep
from urllib.request import urlopen

import pytest

from reconciler.api import connections
from reconciler.api.listen import DEFAULT_LISTEN, parse_listen
from reconciler.api.serve import bind, main
from reconciler.errors import SettingsError
from state.errors import Damaged
from state.store import Store
from tests.read_side import grade_class, served


@contextmanager
def process(state, *arguments, parent_fd=None):
    """`python -m reconciler.api.serve` over `state`, ended at the latest here."""
    command = [sys.executable, "-m", "reconciler.api.serve", "--state", str(state), *arguments]
    child = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, pass_fds=() if parent_fd is None else (parent_fd,)
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def address(state, child, patience=20.0):
    deadline = monotonic() + patience
    while monotonic() < deadline and child.poll() is None:
        try:
            found = json.loads((state / "api.json").read_text())
        except FileNotFoundError:
            sleep(0.05)
            continue
        if found["pid"] == child.pid:
            return found["address"]
    raise AssertionError(f"no address: {child.stderr.read() if child.poll() is not None else 'silence'}")


@pytest.fixture
def state(tmp_path):
    world = grade_class(tmp_path)
    world.close()
    return tmp_path


def test_it_says_where_it_listens_and_ends_when_the_pipe_to_its_parent_closes(state):
    reading, writing = os.pipe()
    with process(state, "--listen", "127.0.0.1:0", "--parent-fd", str(reading), parent_fd=reading) as child:
        os.close(reading)
        with urlopen(address(state, child) + "/api/v1/tasks?limit=1") as answer:
            assert json.load(answer)["items"][0]["metadata"]["name"] == "grade-dave"

        os.close(writing)

        assert child.wait(10) == 0


def test_what_a_controller_refuses_to_act_upon_can_still_be_read(state):
    with closing(sqlite3.connect(state / "state.db", isolation_level=None)) as connection:
        connection.execute("UPDATE events SET message = 'another' WHERE sequence = 2")
    with pytest.raises(Damaged):
        Store.open(state)

    with process(state, "--listen", "127.0.0.1:0") as child, urlopen(address(state, child) + "/api/v1/tasks") as answer:
        assert {each["metadata"]["name"] for each in json.load(answer)["items"]} >= {"grade-dave"}


def test_it_ends_with_a_follower_connected(state):
    with (
        process(state, "--listen", "127.0.0.1:0") as child,
        urlopen(address(state, child) + "/api/v1/events?follow=true") as stream,
    ):
        assert stream.readline() == b"retry: 2000\n"
        child.terminate()
        assert child.wait(10) is not None


def test_an_open_address_needs_a_token_and_a_wrong_one_is_one_line(state, tmp_path, capsys):
    empty = tmp_path / "token"
    empty.write_text("\n")
    for arguments, said in (
        (("--listen", "0.0.0.0:0"), "token"),
        (("--listen", "nowhere"), "host:port"),
        (("--listen", "127.0.0.1:0", "--token-file", str(empty)), "is empty"),
        (("--listen", "127.0.0.1:0", "--token-file", str(tmp_path / "none")), "cannot be read"),
    ):
        assert main(["--state", str(state), *arguments]) == 1

        text = capsys.readouterr().err
        assert text.startswith("error: ")
        assert text.count("\n") == 1
        assert said in text


def test_a_busy_default_port_makes_room_for_the_next_free_one():
    host, _ = parse_listen(DEFAULT_LISTEN)
    with bind(host, 0) as first:
        port = first.getsockname()[1]
        with bind(host, port, tries=50) as second:
            assert port < second.getsockname()[1] < port + 50
        with pytest.raises(SettingsError, match="cannot listen"):
            bind(host, port)


def test_it_never_imports_what_acts(state):
    code = "import reconciler.api.serve, sys; print([m for m in sys.modules if m.startswith(('reconciler.drivers', 'reconciler.secrets', 'definitions.sources', 'git', 'docker', 'kubernetes', 'httpx'))])"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


# --- what a client may cost


@pytest.fixture
def talk(state, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)

    def talking(*pieces, pause=0.0):
        with socket.create_connection((host, int(port)), timeout=5) as client:
            answer = b""
            try:
                for piece in pieces:
                    client.sendall(piece)
                    sleep(pause)
                while data := client.recv(65536):
                    answer += data
            except (ConnectionResetError, BrokenPipeError):
                pass
            return answer.split(b"\r\n")[0]

    with served(state) as where:
        host, _, port = where.removeprefix("http://").rpartition(":")
        yield talking


GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
END = b"Connection: close\r\n\r\n"


def test_a_plain_request_is_answered_also_in_pieces(talk):
    assert talk(GET + END) == b"HTTP/1.1 200 OK"
    assert talk(GET, END, pause=0.05) == b"HTTP/1.1 200 OK"
    assert talk(GET + b"\r\n" + GET + END) == b"HTTP/1.1 200 OK"


def test_a_head_that_drips_in_is_cut_off(talk):
    begun = monotonic()

    assert talk(*[b"X"] * 8, pause=0.1) in {b"HTTP/1.1 408 Request Timeout", b"HTTP/1.1 400 Bad Request", b""}
    assert talk(GET, *[b"X-A: b\r\n"] * 8, pause=0.1) in {b"HTTP/1.1 408 Request Timeout", b""}
    assert talk() in {b"HTTP/1.1 408 Request Timeout", b""}
    assert monotonic() - begun < 5


def test_an_endless_or_crowded_head_is_refused(talk):
    large = b"HTTP/1.1 431 Request Header Fields Too Large"

    assert talk(GET + b"X-A: " + b"b" * 40_000) in {large, b""}
    assert talk(GET + b"X-A: b\r\n" * 200 + END) in {large, b""}
    assert talk(GET, *[b"X-A: " + b"b" * 1000 + b"\r\n"] * 60) in {large, b""}


def test_what_is_not_http_is_refused_and_the_server_goes_on(talk):
    assert b"400" in talk(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert talk(GET + END) == b"HTTP/1.1 200 OK"


def test_a_body_where_none_belongs_is_not_waited_for(talk):
    assert talk(GET + b"Content-Length: 100000000\r\n" + END, b"x" * 1000) == b"HTTP/1.1 200 OK"
