"""Who may read, which part of a log is meant, and what is harmless to show."""

import base64

import pytest
from fastapi import HTTPException

from reconciler.api.gate import matches, names_this_machine
from reconciler.api.inert import inert, inert_bytes
from reconciler.api.listen import is_loopback, parse_listen
from reconciler.api.logs import Part, asked_part
from reconciler.api.queries import LogQuery
from reconciler.errors import SettingsError


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "LOCALHOST.", "a.localhost:1", "127.0.0.1:1", "127.9.9.9", "[::1]:80", "[::1]"],
)
def test_a_name_of_this_machine_is_answered(host):
    assert names_this_machine(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "10.0.0.1:8080", "localhost.evil.example", "127.0.0.1.evil.example", "[2001:db8::1]"]
)
def test_another_name_that_points_here_is_not(host):
    assert not names_this_machine(host)


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("header", ["Bearer s3cret", "bearer  s3cret ", basic("me:s3cret"), basic(":s3cret")])
def test_the_token_is_taken_as_bearer_or_as_a_browser_sends_it(header):
    assert matches(header, "s3cret")


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer s3cre", "Bearer s3crett", "Digest s3cret", "Basic !!!", basic("s3cret"), "Basic 4pyT"],
)
def test_anything_else_is_not_the_token(header):
    assert not matches(header, "s3cret")


@pytest.mark.parametrize(
    ("header", "query", "part"),
    [
        (None, {}, None),
        ("bytes=0-9", {}, Part(0, 10)),
        ("bytes=90-", {}, Part(90, 100)),
        ("bytes=90-900", {}, Part(90, 100)),
        ("bytes=-10", {}, Part(90, 100)),
        ("bytes=-1000", {}, Part(0, 100)),
        ("bytes=-", {}, None),
        ("bytes=0-1,4-5", {}, None),
        ("lines=1-2", {}, None),
        (None, {"offset": 40}, Part(40, 100)),
        (None, {"offset": 40, "limit": 5}, Part(40, 45)),
        (None, {"offset": 400}, Part(100, 100)),
    ],
)
def test_a_range_names_a_part_of_a_log_of_100_bytes(header, query, part):
    assert asked_part(header, LogQuery(**query), 100) == part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=5-4", "bytes=200-300"])
def test_a_range_that_does_not_exist_is_refused_with_the_size(header):
    with pytest.raises(HTTPException) as refused:
        asked_part(header, LogQuery(), 100)

    assert refused.value.status_code == 416
    assert refused.value.headers == {"Content-Range": "bytes */100"}


def test_escape_sequences_and_reversed_text_are_shown_and_do_not_act():
    assert inert("\x1b[31mred\x07\u202egnp\t\r\nok\x9b") == "␛[31mred␇\ufffdgnp\t\nok\ufffd"
    assert inert_bytes(b"\xff\x1b]52;c;aGk=\x07") == "\ufffd␛]52;c;aGk=␇"


@pytest.mark.parametrize(
    ("listen", "found"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("0.0.0.0:8080", ("0.0.0.0", 8080))],
)
def test_an_address_is_a_host_and_a_port(listen, found):
    assert parse_listen(listen) == found


@pytest.mark.parametrize("listen", ["8080", ":8080", "localhost", "localhost:", "localhost:http", "localhost:65536"])
def test_anything_else_is_not_an_address(listen):
    with pytest.raises(SettingsError, match="host:port"):
        parse_listen(listen)


def test_only_loopback_is_loopback():
    assert [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "::", "example.org")] == [
        True
    ] * 3 + [False] * 3
