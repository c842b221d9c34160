"""Where the reading commands get their answers: an API over HTTP, or a state folder with no API at all.

Both give the same documents, because the folder is read through the API's own routes, in this process. So a command is
written once, and a laptop without a running server shows what a cluster shows.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import Request, urlopen

from reconciler.cli.failure import Failure
from reconciler.cli.options import DEFAULT_STATE

PAGE = 500
TOKEN_VARIABLE = "RECONCILER_API_TOKEN_FILE"  # noqa: S105 - the name of a variable that names a file
SERVER_VARIABLE = "RECONCILER_SERVER"
STATE_VARIABLE = "RECONCILER_STATE"
_PATIENCE = 10.0

Value = str | int | Sequence[str] | None
Query = Mapping[str, Value]
Answer = dict[str, Any]


class NotFound(Failure):
    """What was asked for is not there."""


class Client(Protocol):
    """Answers of the API below `/api/v1`."""

    def fetch(self, path: str, query: Query) -> bytes:
        """The body for `path`; raises NotFound, and Failure for every other answer than a good one."""
        ...

    def ready(self) -> bytes:
        """The body of `/readyz`, whatever its status; raises Failure where nobody answers."""
        ...


def open_client(server: str | None, state: Path | None) -> Client:
    """The API at `server`, else the state folder, else what the environment names; raises Failure when there is neither."""
    if server and state:
        raise Failure("--server and --state are two places to read from; give one of them")
    server = server or (None if state else os.environ.get(SERVER_VARIABLE))
    if server:
        return HttpClient(server)
    folder = state or Path(os.environ.get(STATE_VARIABLE) or DEFAULT_STATE)
    if not folder.is_dir():
        raise Failure(
            f"there is no state folder {folder}; give --state DIR or --server URL, or start `reconciler run` here"
        )
    return StateClient(folder)


class HttpClient:
    """An API over HTTP. A token for one that wants it is read from a file, so that no shell remembers it."""

    def __init__(self, server: str) -> None:
        if urlsplit(server).scheme not in {"http", "https"}:
            raise Failure(f"{server!r} is not the address of a server; write http://127.0.0.1:8080")
        self.address = server.rstrip("/")

    def fetch(self, path: str, query: Query) -> bytes:
        try:
            return self._answer(_target(path, query))
        except HTTPError as error:
            raise _refused(error.code, error.read()) from None

    def ready(self) -> bytes:
        try:
            return self._answer("/readyz")
        except HTTPError as error:
            return error.read()

    def _answer(self, target: str) -> bytes:
        headers = {"Authorization": f"Bearer {token}"} if (token := _token()) else {}
        request = Request(f"{self.address}{target}", headers=headers)  # noqa: S310 - http(s) only, see above
        try:
            with urlopen(request, timeout=_PATIENCE) as response:  # noqa: S310
                body: bytes = response.read()
                return body
        except HTTPError:
            raise
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise Failure(
                f"cannot read from {self.address}: {reason}; is `reconciler run` or `serve` running there?"
            ) from None


def _token() -> str | None:
    file = os.environ.get(TOKEN_VARIABLE)
    if not file:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Failure(f"cannot read the token file {file} of {TOKEN_VARIABLE}: {error.strerror}") from None


class StateClient:
    """A state folder, read through the API's routes without a network."""

    def __init__(self, folder: Path) -> None:
        from reconciler.api.app import create

        self._app = create(folder)

    def fetch(self, path: str, query: Query) -> bytes:
        status, body = asyncio.run(_ask(self._app, _target(path, query)))
        if status >= 400:
            raise _refused(status, body)
        return body

    def ready(self) -> bytes:
        return asyncio.run(_ask(self._app, "/readyz"))[1]


async def _ask(app: Any, target: str) -> tuple[int, bytes]:
    """One GET of an ASGI application: its status and whole body."""
    status, body = 500, bytearray()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)
        body.extend(message.get("body", b""))

    path, _, text = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": text.encode(),
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return status, bytes(body)


def _target(path: str, query: Query) -> str:
    given = {key: value for key, value in query.items() if value is not None}
    return f"/api/v1{quote(path)}" + (f"?{urlencode(given, doseq=True)}" if given else "")


def _refused(status: int, body: bytes) -> Failure:
    """The problem document of a refusal as one line."""
    try:
        problem = json.loads(body)
        text = str(problem.get("detail") or problem.get("title"))
    except (ValueError, AttributeError):
        text = body[:200].decode(errors="replace") or f"status {status}"
    if status == 404:
        return NotFound(text)
    if status == 503:  # the state folder behind the API cannot be read now; the text says why
        return Failure(text)
    if status in {401, 403}:
        return Failure(f"{text}; name the file of the API's token in {TOKEN_VARIABLE}")
    return Failure(f"the API answered {status}: {text}")


def get(client: Client, path: str, **query: Value) -> Answer:
    """One JSON document."""
    answer: Answer = json.loads(client.fetch(path, query))
    return answer


def notice(client: Client) -> str:
    """What is said before an answer: that the controller does not work, or calls nothing new; "" if all is well."""
    try:
        found = json.loads(client.ready())
    except (ValueError, Failure):
        return ""
    if closed := found.get("closed"):
        return f"the controller makes no new call: {closed}"
    return "" if found.get("ready") else f"{found.get('detail') or 'the controller is not ready'}: this is how it stood"


def task(client: Client, text: str, **query: Value) -> Answer:
    """The task that `text` names; raises Failure with what is to be said of its file where only that names it."""
    try:
        return get(client, task_path(client, text), **query)
    except NotFound as error:
        if said := _said_of_file(client, text):
            raise Failure(said) from None
        if still := stillness(client):
            raise Failure(f"{error}; no later commit is in force: {still}") from None
        raise


def _said_of_file(client: Client, text: str) -> str:
    """Why there is no such task although a file names it; "" if none does."""
    found = next(_files(client, text), None)
    if found is None:
        return ""
    file, task = found["status"]["source"]["path"], f"{found['metadata']['namespace']}/{found['metadata']['name']}"
    if not found["status"]["accepted"]:
        return f"the file of the task {task} is rejected: {_problems(found)}"
    if found["spec"]:
        return f"nothing is known any more of the task {task}, which {file} asks for: `reconciler plan` says why"
    return f"{file} controls the task {task}, and no trigger has made one of this name yet"


def rejection(client: Client, task: Answer) -> str:
    """What is wrong with the file of a task, whose last good version counts while it is rejected; "" if it is not."""
    title = f"{task['metadata']['namespace']}/{task['metadata']['name']}"
    found = next(_files(client, title, "false"), None)
    return _problems(found) if found else ""


def stillness(client: Client) -> str:
    """Why no newer revision of the source is in force, so that later commits do not count; "" if nothing is wrong."""
    conditions = (each for source in get(client, "/sources")["items"] for each in source["status"]["conditions"])
    wrong = (each for each in conditions if (each["type"], each["status"]) == ("Ready", "False"))
    return next((": ".join(filter(None, (each["reason"], each["message"]))) for each in wrong), "")


def _files(client: Client, text: str, accepted: str | None = None) -> Iterator[Answer]:
    """The definitions of the task that `text` names; `accepted` only those that are, or are not."""
    namespace, _, name = text.rpartition("/")
    for each in pages(client, "/definitions", kind="Task", accepted=accepted):
        if each["metadata"]["name"] == name and namespace in {"", each["metadata"]["namespace"]}:
            yield each


def _problems(definition: Answer) -> str:
    """What is wrong with it, each problem with its place; at least the file."""
    status = definition["status"]
    file = status["source"]["path"]
    said = (
        f"{file}:{problem['line']}:{problem['column']} {problem['code']} {problem['message']}"
        for problem in status["problems"]
    )
    return "; ".join(said) or file


def pages(client: Client, path: str, limit: int | None = None, **query: Value) -> Iterator[Answer]:
    """The items of a list, page after page, `limit` of them at the most."""
    left, cursor = limit, None
    while left is None or left > 0:
        page = get(client, path, limit=PAGE if left is None else min(PAGE, left), cursor=cursor, **query)
        yield from page["items"]
        left = None if left is None else left - len(page["items"])
        cursor = page["next"]
        if cursor is None:
            return


def task_path(client: Client, text: str) -> str:
    """The API's path of the task that `text` names: `namespace/name`, or a name that one namespace only has.

    Raises NotFound, which lists what was meant perhaps, and Failure, which lists the candidates.
    """
    return _path(client, "task", text)


def trigger_path(client: Client, text: str) -> str:
    """The same for a trigger."""
    return _path(client, "trigger", text)


def _path(client: Client, kind: str, text: str) -> str:
    if "/" in text:
        return f"/{kind}s/{text}"
    known = [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in pages(client, f"/{kind}s")]
    found = sorted({namespace for namespace, name in known if name == text})
    if len(found) > 1:
        raise Failure(
            f"several {kind}s are named {text}: {', '.join(f'{each}/{text}' for each in found)}; write one of these"
        )
    if not found:
        close = get_close_matches(text, {name for _, name in known}, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"`reconciler get {kind}s` lists what there is"
        raise NotFound(f"there is no {kind} {text}; {hint}")
    return f"/{kind}s/{found[0]}/{text}"
