"""The hands of the loop alone: a driver of the test's own, and what is reported of it."""

import asyncio
from dataclasses import replace

import pytest
import structlog

from reconciler.actions import Order, Verb
from reconciler.cli.run import _log_to_stderr
from reconciler.dispatch import Dispatch
from reconciler.drivers.fake import FakeDriver, FakeTarget
from reconciler.drivers.protocol import Unknown
from reconciler.judgement import Report
from reconciler.secrets.provider import SecretChain
from tests.calls import FixedSecrets, Log
from tests.histories import START, attempt, task

SECRET = "canary-7f3a"
ORDER = Order(Verb.START, attempt(task().uid, driver="fake"), "demo/alice", "jobs/api.yaml")


class Failing(FakeDriver):
    """A driver with a fault of its own, whose exceptions quote what they were working on."""

    def __init__(self, method: str) -> None:
        super().__init__(FakeTarget())
        self.method = method

    async def start(self, call, handle):
        self.fail("start", call)

    async def observe(self, call, handle):
        self.fail("observe", call)

    async def cancel(self, call, handle):
        self.fail("cancel", call)

    async def prepare(self, call):
        if self.method == "prepare":
            self.fail("prepare", call)

    def fail(self, method, call):
        assert method == self.method
        raise ValueError(f"cannot send Authorization: {call.secrets.resolve('db/password')}")


@pytest.fixture
def restored_logs():
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("method", ["prepare", "start", "observe"])
async def test_the_text_of_an_exception_is_never_logged(method, capfd, restored_logs):
    _log_to_stderr()
    reports: list[Report] = []
    secrets = SecretChain([FixedSecrets({"db/password": SECRET})])
    dispatch = Dispatch({"fake": Failing(method)}, reports.append, lambda _: None, secrets, lambda _: Log())

    dispatch.begin([replace(ORDER, verb=Verb.OBSERVE if method == "observe" else Verb.START)], START)
    async with asyncio.timeout(5):
        while not reports:
            await asyncio.sleep(0)
    await dispatch.close()

    said = capfd.readouterr()
    assert SECRET not in said.err + said.out + repr(reports)
    assert '"error": "ValueError"' in said.err
    assert f"test_dispatch.py:{Failing.fail.__code__.co_firstlineno + 2} fail" in said.err, "where to look"


@pytest.mark.parametrize("verb", [Verb.START, Verb.OBSERVE, Verb.CANCEL])
async def test_the_text_of_an_exception_never_becomes_evidence(verb):
    reports: list[Report] = []
    secrets = SecretChain([FixedSecrets({"db/password": SECRET})])
    dispatch = Dispatch({"fake": Failing(verb.value)}, reports.append, lambda _: None, secrets, lambda _: Log())

    dispatch.begin([replace(ORDER, verb=verb)], START)
    async with asyncio.timeout(5):
        while not reports:
            await asyncio.sleep(0)
    await dispatch.close()

    assert isinstance(reports[0].observation, Unknown)
    assert "ValueError" in reports[0].observation.evidence
    assert SECRET not in repr(reports)
