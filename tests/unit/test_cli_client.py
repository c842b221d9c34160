"""How reading commands find a task, and what they say when there is none, several, or no answer at all."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from reconciler.cli import client
from reconciler.cli.failure import Failure


class Canned:
    """A client that answers `/tasks` with these names, two to a page."""

    def __init__(self, *names: str) -> None:
        self._items = [{"metadata": dict(zip(("namespace", "name"), name.split("/"), strict=True))} for name in names]

    def fetch(self, path: str, query: client.Query) -> bytes:
        start = int(str(query.get("cursor") or 0))
        size = min(2, int(str(query["limit"])))
        after = start + size
        more = str(after) if after < len(self._items) else None
        return json.dumps({"items": self._items[start:after], "next": more}).encode()


def test_pages_follow_the_cursor_to_the_end_or_the_limit():
    canned = Canned("a/1", "a/2", "a/3", "a/4", "a/5")

    assert [each["metadata"]["name"] for each in client.pages(canned, "/tasks")] == ["1", "2", "3", "4", "5"]
    assert [each["metadata"]["name"] for each in client.pages(canned, "/tasks", limit=3)] == ["1", "2", "3"]


def test_a_name_that_one_namespace_has_is_found_there():
    assert client.task_path(Canned("demo/grade", "default/other"), "grade") == "/tasks/demo/grade"


def test_a_name_with_its_namespace_is_taken_as_it_is():
    assert client.task_path(Canned(), "demo/上线") == "/tasks/demo/上线"


def test_a_name_in_several_namespaces_lists_the_candidates():
    with pytest.raises(Failure, match="a/grade, b/grade"):
        client.task_path(Canned("b/grade", "a/grade"), "grade")


def test_an_unknown_name_suggests_what_was_meant():
    with pytest.raises(client.NotFound, match="did you mean grade-alice"):
        client.task_path(Canned("demo/grade-alice"), "grade-alic")


def test_without_a_state_folder_it_says_what_to_give(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Failure, match="--server URL"):
        client.open_client(None, None)


def test_two_places_to_read_from_are_refused(tmp_path):
    with pytest.raises(Failure, match="one of them"):
        client.open_client("http://127.0.0.1:1", tmp_path)


def test_the_environment_names_the_server(monkeypatch):
    monkeypatch.setenv("RECONCILER_SERVER", "http://127.0.0.1:1")

    found = client.open_client(None, None)

    assert isinstance(found, client.HttpClient)
    with pytest.raises(Failure, match="is `reconciler run` or `serve` running there"):
        found.fetch("/tasks", {})


def test_a_server_must_be_an_http_address():
    with pytest.raises(Failure, match="http://127"):
        client.open_client("file:///etc/passwd", None)


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """Answers 401 without the right token, else 404 with a problem document."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == "Bearer s3cret"
            body = json.dumps(
                {"title": "no", "detail": f"nothing at {self.path}" if known else "a token is needed"}
            ).encode()
            self.send_response(404 if known else 401)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    found = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def test_an_answer_with_a_problem_becomes_its_text(server, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("s3cret\n")
    monkeypatch.setenv("RECONCILER_API_TOKEN_FILE", str(tmp_path / "token"))
    found = client.HttpClient(f"http://127.0.0.1:{server.server_port}/")

    with pytest.raises(client.NotFound, match=r"nothing at /api/v1/tasks/demo/%E4%B8%8A\?run=2$"):
        found.fetch("/tasks/demo/上", {"run": 2, "cursor": None})


def test_a_missing_token_is_explained(server):
    found = client.HttpClient(f"http://127.0.0.1:{server.server_port}")

    with pytest.raises(Failure, match="RECONCILER_API_TOKEN_FILE"):
        found.fetch("/tasks", {})
