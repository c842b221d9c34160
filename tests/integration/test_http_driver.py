"""The http driver against a real server that misbehaves: what is proof, what is an answer, what nobody knows."""

import asyncio
import gzip
import json
import logging
import resource
import ssl
import threading
import time
from typing import ClassVar

import pytest

from reconciler.drivers.http import HttpDriver
from reconciler.drivers.protocol import Ended, NotStarted, Unknown
from reconciler.drivers.request import GatheredLog, LogWriter
from tests.calls import KEY, Log, answered, make_call
from tests.loopback import (
    Loopback,
    answer,
    drip,
    endless_body,
    endless_headers,
    gzip_bomb,
    reset,
    silence,
    truncate,
)

SECRET = "c4nary s3cret/+value"


@pytest.fixture
def server():
    with Loopback() as running:
        yield running


@pytest.fixture
async def driver():
    made = HttpDriver(connect_timeout=1)
    yield made
    await made.close()


async def test_every_field_of_the_block_reaches_the_wire(server, driver) -> None:
    server.routes["/api"] = answer(201, {"ok": True})
    call = make_call(
        {
            "method": "PUT",
            "url": f"{server.url}/api?fixed=1#part",
            "query": {"name": "上 线&x", "many": [1, "b"], "none": None, "yes": True, "n": 2},
            "headers": {"X-Id": 7, "X-None": None, "X-Name": "上线"},
            "json": {"a": [1, None], "b": "é"},
            "timeout": "5s",
        },
        key="uid/步骤/-/2",
        number=3,
    )

    ended = await driver.start(call, None)

    assert isinstance(ended, Ended) and ended.succeeded and ended.code == 201
    [request] = server.requests
    assert request.method == "PUT"
    assert request.query == {"fixed": ["1"], "name": ["上 线&x"], "many": ["1", "b"], "yes": ["true"], "n": ["2"]}
    assert json.loads(request.body) == {"a": [1, None], "b": "é"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-id"] == "7" and "x-none" not in request.headers
    assert request.headers["x-name"] == "上线"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["user-agent"] == "reconciler"
    assert request.key == '"uid/%E6%AD%A5%E9%AA%A4/-/2/3"'


@pytest.mark.parametrize(
    ("block", "body", "kind"),
    [
        ({"form": {"a": 1, "b": "x y"}}, b"a=1&b=x+y", "application/x-www-form-urlencoded"),
        ({"body": "plain"}, b"plain", "text/plain; charset=utf-8"),
        ({"body": "a: 1", "headers": {"content-type": "application/yaml"}}, b"a: 1", "application/yaml"),
    ],
)
async def test_a_form_and_a_text_are_sent_as_they_should(server, driver, block, body, kind) -> None:
    server.routes["/"] = answer(200)

    await driver.start(make_call({"method": "POST", "url": server.url, **block}), None)

    assert server.requests[0].body == body
    assert server.requests[0].headers["content-type"] == kind


@pytest.mark.parametrize(
    "block",
    [
        {"json": {}, "body": "x"},
        {"headers": {"Host": "other"}},
        {"headers": {"Idempotency-Key": "mine"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": {"X-A": "a\r\nX-B: b"}},
        {"headers": {"X A": "a"}},
        {"method": "BREW"},
    ],
)
async def test_a_request_that_cannot_be_built_is_never_sent(server, driver, block) -> None:
    server.routes["/"] = answer(200)

    ended = await driver.start(make_call({"url": server.url, **block}), None)

    assert isinstance(ended, Ended) and not ended.succeeded and not ended.repeatable
    assert server.requests == []


async def test_a_status_that_was_not_expected_fails_the_call_with_an_excerpt(server, driver) -> None:
    server.routes["/"] = answer(503, body=b"<b>\x1b[31mbusy\nnow</b>" + b"x" * 1000)

    ended = await driver.start(make_call({"url": server.url}), None)

    assert isinstance(ended, Ended) and not ended.succeeded and ended.code == 503 and ended.repeatable
    assert ended.message.startswith("status 503: <b> [31mbusy now</b>xxx")
    assert len(ended.message) < 220


async def test_expect_status_decides_what_is_a_success(server, driver) -> None:
    server.routes["/"] = answer(404, {"there": False})

    ended = await driver.start(make_call({"url": server.url, "expectStatus": [200, 404]}, uses_result=True), None)

    assert isinstance(ended, Ended) and ended.succeeded
    assert ended.result == {"there": False}


async def test_an_answer_that_is_not_json_fails_only_where_json_is_used(server, driver) -> None:
    server.routes["/"] = answer(200, body=b"hello")

    unused = await driver.start(make_call({"url": server.url}), None)
    used = await driver.start(make_call({"url": server.url}, uses_result=True), None)

    assert isinstance(unused, Ended) and unused.succeeded and unused.result == "hello"
    assert isinstance(used, Ended) and not used.succeeded and "not JSON" in used.message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (json.dumps({"a": "x" * 70_000}).encode(), "OutputTooLarge"),
        (b"[" * 10_000 + b"]" * 10_000, "OutputInvalid"),
        (b"[" * 200_000 + b"]" * 200_000, "OutputInvalid"),
        (b'{"a": "\\ud800"}', "OutputInvalid"),
        (b'{"a": NaN}', "NotJson"),
        (b"1" * 10_000, "NotJson"),
        (b'"' + b"x" * (2 << 20) + b'"', "ResponseTooLarge"),
    ],
)
async def test_a_hostile_result_fails_the_call_and_nothing_else(server, driver, body, code) -> None:
    server.routes["/"] = answer(200, body=body)

    ended = await driver.start(make_call({"url": server.url}, uses_result=True), None)

    assert isinstance(ended, Ended) and not ended.succeeded
    assert ended.message.startswith(code)


async def test_what_looks_like_an_expression_in_an_answer_stays_data(server, driver) -> None:
    server.routes["/"] = answer(200, {"x": "${{ secrets.x }}"})

    ended = await driver.start(make_call({"url": server.url}, uses_result=True), None)

    assert isinstance(ended, Ended)
    assert ended.result == {"x": "${{ secrets.x }}"}


@pytest.mark.parametrize("route", [reset(), truncate(), drip(), silence(), endless_headers()])
async def test_a_reply_that_is_lost_or_cut_is_unknown_and_in_time(server, driver, route) -> None:
    server.routes["/"] = route
    began = time.monotonic()

    seen = await driver.start(make_call({"method": "POST", "url": server.url, "timeout": 0.3}), None)

    assert isinstance(seen, Unknown)
    assert "was sent" in seen.evidence
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("endless", [gzip_bomb, endless_body])
async def test_a_body_without_end_is_too_large_and_takes_no_memory(server, driver, endless) -> None:
    server.routes["/"] = endless()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    ended = await driver.start(make_call({"url": server.url, "timeout": 5}), None)

    assert isinstance(ended, Ended) and not ended.succeeded and ended.code == 200
    assert ended.message.startswith("ResponseTooLarge")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


async def test_an_answer_packed_with_gzip_is_read(server, driver) -> None:
    packed = gzip.compress(b'{"a": 1}')
    server.routes["/"] = answer(200, body=packed, headers={"Content-Encoding": "gzip"})
    server.routes["/cut"] = answer(200, body=packed[:-4], headers={"Content-Encoding": "gzip"})

    whole = await driver.start(make_call({"url": server.url}, uses_result=True), None)
    cut = await driver.start(make_call({"url": f"{server.url}/cut"}, uses_result=True), None)

    assert isinstance(whole, Ended) and whole.result == {"a": 1}
    assert isinstance(cut, Ended) and cut.message.startswith("OutputInvalid")


async def test_the_deadline_of_the_attempt_is_shorter_than_that_of_the_call(server, driver) -> None:
    server.routes["/"] = silence()
    began = time.monotonic()

    seen = await driver.start(make_call({"url": server.url, "timeout": 20}, remaining=0.2), None)

    assert isinstance(seen, Unknown)
    assert "TimedOut" in seen.evidence
    assert time.monotonic() - began < 2


async def test_a_redirect_is_a_result_and_is_not_followed(server, driver) -> None:
    server.routes["/"] = answer(302, headers={"Location": "http://169.254.169.254/"})

    ended = await driver.start(make_call({"url": server.url}), None)

    assert isinstance(ended, Ended) and ended.code == 302 and not ended.succeeded
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://0177.0.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://168.63.129.16/",
        "http://ok\\@169.254.169.254/",
        "http://user:word@127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http:///",
        "http://127.0.0.1:99999/",
        "http://a b/",
    ],
)
async def test_a_forbidden_url_is_refused_before_a_connection(driver, url) -> None:
    ended = await driver.start(make_call({"url": url}), None)

    assert isinstance(ended, Ended) and not ended.succeeded and not ended.repeatable
    assert ended.message.startswith("E-HTTP-HOST")


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "::ffff:169.254.169.254"])
async def test_a_name_with_one_forbidden_address_is_refused(address) -> None:
    driver = HttpDriver(lookup=lambda _host, _port: ("127.0.0.1", address))

    ended = await driver.start(make_call({"url": "http://rebind.example/"}), None)

    assert isinstance(ended, Ended) and ended.message.startswith("E-HTTP-HOST")
    await driver.close()


async def test_a_name_is_looked_up_one_time_and_the_checked_address_is_called(server) -> None:
    server.routes["/x"] = answer(200, {"ok": 1})
    lookups = []

    def rebinding(host: str, port: int) -> tuple[str, ...]:
        lookups.append((host, port))
        return ("127.0.0.1",) if len(lookups) == 1 else ("169.254.169.254",)

    driver = HttpDriver(lookup=rebinding)
    ended = await driver.start(make_call({"url": f"http://Service.Example:{server.port}/x"}), None)

    assert isinstance(ended, Ended) and ended.succeeded
    assert lookups == [("service.example", server.port)]
    assert server.requests[0].headers["host"] == f"service.example:{server.port}"
    await driver.close()


async def test_the_next_address_is_tried_only_when_no_connection_came_about(server) -> None:
    server.routes["/"] = answer(200)
    driver = HttpDriver(lookup=lambda _host, _port: ("127.0.0.2", "127.0.0.1"), connect_timeout=1)

    ended = await driver.start(make_call({"url": f"http://two.example:{server.port}/"}), None)

    assert isinstance(ended, Ended) and ended.succeeded
    await driver.close()


async def test_without_loopback_this_machine_is_out_of_reach(server) -> None:
    driver = HttpDriver(loopback=False)

    literal = await driver.start(make_call({"url": server.url}), None)
    named = await driver.start(make_call({"url": f"http://localhost:{server.port}"}), None)

    for seen in (literal, named):
        assert isinstance(seen, Ended) and "drivers.http.loopback" in seen.message
    assert server.requests == []
    await driver.close()


async def test_a_host_without_an_address_is_proof_that_nothing_was_sent(driver) -> None:
    seen = await driver.start(make_call({"url": "http://nowhere.invalid/"}), None)

    assert isinstance(seen, NotStarted) and seen.refused


async def test_a_lookup_that_hangs_ends_by_the_deadline_and_nothing_was_sent() -> None:
    def hanging(_host: str, _port: int) -> tuple[str, ...]:
        time.sleep(1)
        return ("127.0.0.1",)

    driver = HttpDriver(lookup=hanging)

    seen = await driver.start(make_call({"url": "http://slow.example/", "timeout": 0.1}), None)

    assert isinstance(seen, NotStarted) and seen.refused
    await driver.close()


async def test_https_to_a_server_without_tls_is_proof_that_nothing_was_sent(server, driver) -> None:
    seen = await driver.start(make_call({"url": f"https://127.0.0.1:{server.port}/", "timeout": 2}), None)

    assert isinstance(seen, NotStarted) and seen.refused
    assert server.requests == []


async def test_already_exists_adopts_whatever_the_status(server, driver) -> None:
    server.routes["/"] = answer(409, {"msg": "task name is duplicate"})
    block = {"method": "POST", "url": server.url, "alreadyExists": "'duplicate' in result.msg"}

    ended = await driver.start(make_call(block), None)

    assert isinstance(ended, Ended) and ended.succeeded
    assert ended.result == {"msg": "task name is duplicate"}


async def test_already_exists_asks_verify_where_there_is_one(server, driver) -> None:
    server.routes["/"] = answer(200, {"msg": "duplicate"})
    server.routes["/status"] = answer(200, {"id": 7, "state": "done"})
    verify = {"url": f"{server.url}/status", "found": "result.id != None", "result": "result.state"}
    block = {"method": "POST", "url": server.url, "alreadyExists": "result.msg == 'duplicate'", "verify": verify}

    ended = await driver.start(make_call(block), None)

    assert isinstance(ended, Ended) and ended.succeeded and ended.result == "done"
    assert "idempotency-key" not in server.requests[1].headers


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        (answer(200, {"found": True, "value": 5}), Ended),
        (answer(200, {"found": False}), NotStarted),
        (answer(404), NotStarted),
        (answer(500), Unknown),
        (answer(200, body=b"<html>please log in</html>"), Unknown),
        (answer(200), Unknown),
        (answer(200, {"found": True, "value": 5, "more": "x" * 70_000}), Ended),
        (answer(200, {"found": True, "value": "x" * 70_000}), Unknown),
        (reset(), Unknown),
    ],
)
async def test_verify_finds_out_what_became_of_a_call(server, driver, route, kind) -> None:
    server.routes["/status"] = route
    verify = {"url": f"{server.url}/status", "found": "result.found", "result": "result.value"}

    seen = await driver.observe(make_call({"method": "POST", "url": server.url, "verify": verify}), None)

    assert isinstance(seen, kind)
    assert not isinstance(seen, Ended) or seen.result == 5


async def test_without_verify_nobody_knows_what_became_of_a_call(server, driver) -> None:
    seen = await driver.observe(make_call({"url": server.url}), None)

    assert isinstance(seen, Unknown)
    assert server.requests == []


async def test_cancel_calls_the_url_of_the_block_under_a_key_of_its_own(server, driver) -> None:
    server.routes["/stop"] = answer(204)
    block = {"url": server.url, "cancel": {"method": "DELETE", "url": f"{server.url}/stop"}}

    ended = await driver.cancel(make_call(block), None)

    assert isinstance(ended, Ended) and ended.cancelled
    assert server.requests[0].method == "DELETE"
    assert server.requests[0].key == f'"{KEY}/1/cancel"'


@pytest.mark.parametrize("block", [{}, {"cancel": {"url": "http://127.0.0.1:1/"}}])
async def test_a_cancel_that_proves_nothing_says_what_may_still_run(server, driver, block) -> None:
    seen = await driver.cancel(make_call({"url": server.url, "method": "POST", **block}), None)

    assert isinstance(seen, Unknown)
    assert "may still run" in seen.evidence and server.url in seen.evidence


async def test_a_secret_reaches_the_target_and_nothing_else(server, driver, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    server.routes["/"] = lambda request, connection: answer(
        200, {"raw": request.headers["x-token"], "query": request.target, "json": request.body.decode()}
    )(request, connection)
    log = Log()
    call = make_call(
        {
            "method": "POST",
            "url": server.url,
            "headers": {"X-Token": "***"},
            "query": {"t": "***"},
            "json": {"a/b": ["***"]},
        },
        secrets={"app/token": SECRET},
        references={"/headers/X-Token": "app/token", "/query/t": "app/token", "/json/a~1b/0": "app/token"},
        log=log,
        uses_result=True,
    )

    ended = await driver.start(call, None)

    assert server.requests[0].headers["x-token"] == SECRET
    assert server.requests[0].query["t"] == [SECRET]
    assert json.loads(server.requests[0].body) == {"a/b": [SECRET]}
    kept = repr(ended) + log.text() + caplog.text
    assert "s3cret" not in kept and "c4nary" not in kept
    assert isinstance(ended, Ended) and answered(ended)["raw"] == "***"
    assert call.request["headers"] == {"X-Token": "***"}


async def test_the_log_holds_a_line_of_the_driver_and_the_body(server, driver) -> None:
    server.routes["/"] = answer(200, {"a": 1})
    log = Log()

    await driver.start(make_call({"url": server.url}, log=log), None)

    assert log.text("driver").startswith(f"GET {server.url}/ -> 200, 8 bytes, ")
    assert log.text("stdout") == '{"a": 1}'


async def test_many_calls_that_run_out_of_time_do_not_wedge_the_next_one(server, driver) -> None:
    server.routes |= {"/slow": silence(), "/": answer(200)}
    slow = [driver.start(make_call({"url": f"{server.url}/slow", "timeout": 0.1}), None) for _ in range(30)]

    await asyncio.gather(*slow)
    ended = await driver.start(make_call({"url": server.url}), None)

    assert isinstance(ended, Ended) and ended.succeeded


async def test_environment_proxies_are_not_used(server, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server.routes["/"] = answer(200)
    driver = HttpDriver(context=ssl.create_default_context())

    ended = await driver.start(make_call({"url": server.url}), None)

    assert isinstance(ended, Ended) and ended.succeeded
    await driver.close()


async def test_logs_that_come_while_one_is_written_are_written_together_and_one_that_fails_is_one() -> None:
    class Kept(Log):
        threads: ClassVar[list[int]] = []

        def write(self, data: bytes, stream: str = "stdout") -> None:
            self.threads.append(threading.get_ident())
            time.sleep(0.05)
            super().write(data, stream)

    class Broken(Kept):
        def write(self, data: bytes, stream: str = "stdout") -> None:
            raise RuntimeError("broken")

    writer, logs = LogWriter(), [Kept(), Kept(), Broken(), Kept()]

    async def said(log: Kept) -> None:
        gathered = GatheredLog(log)
        gathered.write(b"hello")
        await writer.write(gathered)

    first = asyncio.ensure_future(said(logs[0]))
    await asyncio.sleep(0.01)
    first.cancel()
    ended = await asyncio.gather(*map(said, logs[1:]), return_exceptions=True)

    assert [str(each or "") for each in ended] == ["", "broken", ""]
    assert [log.text("stdout") for log in logs] == ["hello", "hello", "", "hello"]
    assert threading.get_ident() not in Kept.threads


async def test_a_log_that_waits_for_the_disk_keeps_nobody_else_waiting(server, driver) -> None:
    server.routes["/api"] = answer(200, {"ok": True})
    loop, reached, went_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    class Slow(Log):
        def write(self, data: bytes, stream: str = "stdout") -> None:
            loop.call_soon_threadsafe(reached.set)
            assert went_on.wait(10), "the loop stood still"
            super().write(data, stream)

    log = Slow()
    call = make_call({"method": "GET", "url": f"{server.url}/api"}, log=log)

    start = asyncio.ensure_future(driver.start(call, None))
    await reached.wait()
    went_on.set()

    assert answered(await start) == {"ok": True}
    assert "ok" in log.text("stdout")
