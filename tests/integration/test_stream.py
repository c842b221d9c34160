"""Following: events and logs as they come, through a real server."""

import json
import threading
from contextlib import contextmanager

import httpx
import pytest

from state.logs import Logs
from tests.read_side import grade_class, served

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def world(tmp_path):
    made = grade_class(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(world):
    with served(world.folder) as address, httpx.Client(base_url=address, trust_env=False, timeout=10) as client:
        yield client


@contextmanager
def followed(client, path, **headers):
    """The events of a stream as an iterator of {id, event, data}."""
    with client.stream("GET", path, headers=STREAM | headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield parsed(answer.iter_lines())


def parsed(lines):
    event: dict[str, str] = {}
    for line in lines:
        if not line and "data" in event:
            yield event | {"data": json.loads(event["data"])}
            event = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


def later(action, *arguments):
    thread = threading.Timer(0.3, action, arguments)
    thread.start()
    return thread


def test_a_follower_sees_what_happens_from_now_on(world, client):
    with followed(client, "/api/v1/events") as events:
        writer = later(world.admit, "grade-erin")
        first = next(events)
    writer.join()

    assert (first["event"], first["data"]["task"], first["data"]["after"]) == ("task", "grade-erin", "created")
    assert int(first["id"]) == first["data"]["sequence"]


def test_a_follower_that_comes_back_continues_behind_its_last_event(client):
    known = client.get("/api/v1/events").json()["items"]
    with followed(client, "/api/v1/events", **{"Last-Event-ID": str(known[2]["sequence"])}) as events:
        again = [next(events)["data"] for _ in known[3:]]

    assert again == known[3:]


def test_a_follower_of_one_task_gets_its_history_and_nothing_of_others(world, client):
    own = client.get("/api/v1/tasks/demo/grade-alice/events").json()["items"]
    with followed(client, "/api/v1/tasks/demo/grade-alice/events") as events:
        seen = [next(events)["data"] for _ in own]
        world.admit("grade-erin")
        world.attempt(world.store.live()[0], "step3")
        following = next(events)["data"]

    assert seen == own
    assert (following["task"], following["path"]) == ("grade-alice", "step3")


def test_a_wrong_last_event_id_and_an_unknown_task_are_refused(client):
    assert client.get("/api/v1/events", headers=STREAM | {"Last-Event-ID": "x"}).status_code == 400
    assert client.get("/api/v1/tasks/demo/nobody/events?follow=true").status_code == 404


def test_a_quiet_stream_says_that_it_is_still_there(world, monkeypatch):
    import asyncio
    from datetime import UTC, datetime

    from reconciler.api.stream import followed as stream
    from reconciler.api.view import View

    async def first_two():
        pieces = stream(View(world.folder, lambda: datetime.now(UTC)), None, 10**6, look=0.01, heartbeat=0.02)
        return [await anext(pieces), await anext(pieces)]

    assert asyncio.run(first_two()) == [b"retry: 2000\n\n", b": still here\n\n"]


def test_a_log_is_followed_until_its_attempt_ends(world, client):
    uid = world.store.live()[0]
    log = Logs(world.folder / "logs").log(uid, "step1", 1)
    log.write(b"one\n")

    def rest():
        log.write(b"two\n")
        world.succeed(uid, "step1", {"name": "x"})

    with client.stream("GET", "/api/v1/tasks/demo/grade-alice/log?follow=true") as answer:
        writer = later(rest)
        text = "".join(answer.iter_text())
    writer.join()

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert text == "one\ntwo\n"


def test_a_log_as_events_continues_at_its_place_and_tells_the_end(world, client):
    uid = world.store.live()[0]
    Logs(world.folder / "logs").log(uid, "step1", 1).write(b"one\n\x1b[31mtwo\n")
    world.succeed(uid, "step1", {"name": "x"})

    with followed(client, "/api/v1/tasks/demo/grade-alice/log", **{"Last-Event-ID": "4"}) as events:
        pieces = list(events)

    assert pieces[0] == {"id": "13", "event": "log", "data": {"end": 13, "text": "␛[31mtwo\n"}}
    assert pieces[1]["event"] == "end"


def test_followers_that_read_nothing_keep_nobody_from_reading(world, client):
    with followed(client, "/api/v1/events"), followed(client, "/api/v1/events"):
        for number in range(50):
            world.admit(f"more-{number}")
        assert client.get("/api/v1/tasks", params={"limit": 1}).status_code == 200
        assert world.store.checkpoint(above=0)
