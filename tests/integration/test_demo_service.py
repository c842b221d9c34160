"""The demo service over real HTTP: what its APIs answer, and that it counts honestly."""

import json
import threading
from collections.abc import Callable, Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from reconciler import demo_service
from reconciler.errors import SettingsError

Ask = Callable[..., dict]


@pytest.fixture
def ask() -> Iterator[Ask]:
    server = demo_service.start("127.0.0.1:0", not_ready=2)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def get(path: str, key: str = "") -> dict:
        request = Request(
            f"http://127.0.0.1:{server.server_port}{path}", headers={"Idempotency-Key": key} if key else {}
        )
        with urlopen(request, timeout=5) as response:
            return json.load(response)

    yield get
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_six_apis_answer_as_in_the_example(ask):
    assert ask("/api1?name=%E4%B8%8A") == {"name": "上"}
    assert ask("/api3?name=a") == {"sex": "m"}
    assert ask("/api4?age=30") == {"isold": True}
    assert ask("/api4?age=29") == {"isold": False}
    assert ask("/api5?name=a&age=30&sex=m") == {"grade": "A"}
    assert ask("/api6?name=a&isold=true") == {"msg": "ok"}
    assert ask("/hello?name=world") == {"message": "hello, world"}


def test_api1_is_out_of_order_for_one_name_until_it_is_mended(ask):
    with pytest.raises(HTTPError) as refused:
        ask("/api1?name=dave")
    assert (refused.value.code, ask("/api1?name=alice")) == (503, {"name": "alice"})

    ask("/mend")

    assert ask("/api1?name=dave") == {"name": "dave"}


def test_api2_is_not_ready_for_the_first_polls_of_each_attempt(ask):
    ages = [ask("/api2?name=a", f"uid/step2.api2/-/1/{number}")["age"] for number in (1, 2, 3)]
    other = ask("/api2?name=a", "uid/step2.api2/-/2/1")["age"]

    assert ages == [0, 0, 30]
    assert other == 0


def test_calls_are_counted_by_path_and_by_idempotency_key(ask):
    ask("/api1?name=a", "k/1")
    ask("/api1?name=a", "k/1")
    ask("/api3")

    assert ask("/counts") == {"paths": {"/api1": 2, "/api3": 1}, "keys": {"/api1 k/1": 2}}


def test_an_unknown_path_is_not_found_and_not_counted(ask):
    with pytest.raises(HTTPError, match="404"):
        ask("/nonsense")

    assert ask("/counts")["paths"] == {}


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9999", "192.0.2.1:80", "example.org:80", "127.0.0.1", "127.0.0.1:99999", "::1:80"]
)
def test_only_loopback_addresses_are_listened_on(listen):
    with pytest.raises(SettingsError):
        demo_service.start(listen)


def test_a_busy_port_is_a_foreseen_error():
    server = demo_service.start("127.0.0.1:0")

    with pytest.raises(SettingsError, match="--listen"):
        demo_service.start(f"127.0.0.1:{server.server_port}")
    server.server_close()
